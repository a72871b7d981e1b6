//! Node.

use crate::room::{Room, programs, says, system};

pub(crate) const SOURCE: &str = include_str!("sources/work.js");

/// What each part of the source prints.
pub(crate) const THREADS: &[&str] = &["workers: 40 40 40 40", "shared: 80"];
pub(crate) const CHILDREN: &[&str] = &[
    "spawn: through cat",
    "exec: b",
    "spawnSync: sync",
    "fork: 42",
    "kill: SIGTERM",
];
pub(crate) const GROUP: &[&str] = &["cluster: from a worker"];
pub(crate) const FILES: &[&str] = &[
    "watch: file",
    "files: file file3 link 100000",
    "zlib: 100000",
    "sha256: f9cd1ac0",
    "scrypt: 16",
];
pub(crate) const NETWORK: &[&str] = &[
    "http: /PATH",
    "unix socket: unix",
    "udp: datagram",
    "interfaces: true",
    "lookup: 127.0.0.1",
];
pub(crate) const COMPUTE: &[&str] = &["compute: 998763", "wasm: 42"];

fn part(names: &[&str], lines: &[&[&str]]) {
    if !programs(&["node"]) {
        return;
    }
    let room = Room::new(&[("work.js", SOURCE)]);
    let words = [system("node"), room.path("work.js")];
    let ended = room
        .jar()
        .program(
            words
                .into_iter()
                .chain(names.iter().map(|&name| name.into())),
        )
        .end();
    says(ended, &lines.concat());
}

#[test]
fn node_s_workers_share_memory() {
    part(&["threads"], &[THREADS]);
}

#[test]
fn node_runs_other_programs_and_itself() {
    part(&["children", "group"], &[CHILDREN, GROUP]);
}

#[test]
fn node_works_with_files_and_sockets() {
    part(&["files", "network"], &[FILES, NETWORK]);
}

#[test]
fn node_compiles_what_it_runs_often() {
    part(&["compute"], &[COMPUTE]);
}
