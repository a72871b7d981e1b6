//! Python and its standard library.

use belljar_tests::{Need, need};

use crate::room::{Room, says};

pub(crate) const SOURCE: &str = include_str!("sources/work.py");

/// What each part of the source prints.
pub(crate) const PROCESSES: &[&str] = &[
    "pool: 285",
    "queue: 4950",
    "manager: [1, 2]",
    "shared memory: 42",
];
pub(crate) const LOOPS: &[&str] = &[
    "asyncio subprocess: through cat 0",
    "asyncio server: OVER LOOPBACK",
    "asyncio executor: 144",
];
pub(crate) const THREADS: &[&str] = &["threads: 328350", "lock: 4000"];
pub(crate) const LIBRARIES: &[&str] = &[
    "sqlite3: 45",
    "gzip: 100000",
    "hash: f9cd1ac0",
    "uuid: 36",
    "signal: alarm",
    "sigwait: True",
];
pub(crate) const SOCKETS: &[&str] = &[
    "epoll: 1 pair",
    "unix socket: unix",
    "udp: datagram",
    "interfaces: True",
    "resolve: 127.0.0.1",
    "ipv6: six",
];
pub(crate) const CALLBACKS: &[&str] = &["ctypes callback: [1, 2, 3, 4, 5]"];

fn part(names: &[&str], lines: &[&[&str]]) {
    if !need(Need::Python) {
        return;
    }
    let room = Room::new(&[("work.py", SOURCE)]);
    let words = ["/usr/bin/python3".to_owned(), room.at("work.py")];
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
fn python_starts_processes_by_fork() {
    part(&["processes-fork"], &[PROCESSES]);
}

#[test]
fn python_starts_processes_anew_and_from_a_server() {
    part(
        &["processes-spawn", "processes-forkserver"],
        &[PROCESSES, PROCESSES],
    );
}

#[test]
fn python_runs_an_event_loop_with_a_server_and_a_child() {
    part(&["loops"], &[LOOPS]);
}

#[test]
fn python_runs_other_programs() {
    part(
        &["children"],
        &[&[
            "run: a b",
            "pipeline: a b",
            "terminated: -15",
            "timeout: seen",
            "posix_spawn: 0",
            "popen: popen",
            "pty: True",
        ]],
    );
}

#[test]
fn python_s_threads_and_libraries_work() {
    part(
        &["threads", "libraries", "sockets", "callbacks", "maps"],
        &[THREADS, LIBRARIES, SOCKETS, CALLBACKS, &["mmap: mapped"]],
    );
}
