//! The tools that scripts are made of.

use crate::room::{Room, programs, says};

#[test]
fn ordinary_tools_do_their_work() {
    if !programs(&["xz", "openssl", "ssh-keygen", "ps"]) {
        return;
    }
    let room = Room::new(&[("tools.sh", include_str!("sources/tools.sh"))]);
    says(
        room.jar().program(["/bin/sh", "tools.sh"]).end(),
        &[
            "sort: 20000",
            "cp: same",
            "dd: 32768",
            "find: 4",
            "xargs: a b c hard",
            "tar: 640 1048576 ../a sparse",
            "tar -z: 8",
            "xz: 20000",
            "gzip: 20000",
            "awk: 200010000",
            "sed -i: one",
            "openssl: f9cd1ac0",
            "openssl key: -----BEGIN",
            "ssh-keygen: ssh-ed25519 belljar",
            "env: A=b",
            "timeout: 124",
            "nice: 5",
            "nohup: kept",
            "split: same",
            "install: runs",
            "flock: held",
            "mktemp: 1",
            "tail: 20000",
            "date: 1970",
            "id: plugin",
            "df: 2",
            "ps: itself",
            "script: /dev/pts/0 0 0",
        ],
    );
}

#[test]
fn busybox_s_tools_do_their_work() {
    if !programs(&["busybox"]) {
        return;
    }
    let room = Room::new(&[("busybox.sh", include_str!("sources/busybox.sh"))]);
    says(
        room.jar()
            .program(["/bin/busybox", "sh", "busybox.sh"])
            .end(),
        &[
            "awk: 5050",
            "1",
            "b9e68e1b",
            "changed",
            "wget: 1",
            "ps: seen",
            "timeout: 143",
        ],
    );
}

#[test]
fn two_processes_of_sqlite_write_one_database() {
    if !programs(&["sqlite3"]) {
        return;
    }
    let room = Room::new(&[("sqlite.sh", include_str!("sources/sqlite.sh"))]);
    says(
        room.jar().program(["/bin/sh", "sqlite.sh"]).end(),
        &["wal", "2000|2001000", "ok", "0|0|0", "files: data.db"],
    );
}

#[test]
fn rsync_copies_a_tree_and_deletes_what_is_gone() {
    if !programs(&["rsync"]) {
        return;
    }
    let room = Room::new(&[("letter", "text")]);
    let script = "mkdir -p from/deep && cp letter from/deep/ && ln -s deep from/link && chmod 640 from/deep/letter
        rsync -a from/ to/ && rm from/link && echo more >> from/deep/letter
        rsync -a --delete --checksum from/ to/ && diff -r from to && stat -c %a to/deep/letter && ls to";
    says(
        room.jar().program(["/bin/sh", "-ec", script]).end(),
        &["640", "deep"],
    );
}

#[test]
fn curl_fails_cleanly_where_there_is_no_network() {
    if !programs(&["curl"]) {
        return;
    }
    let room = Room::new(&[]);
    let script = "for to in http://127.0.0.1:9/ https://192.0.2.1/ http://name.invalid/ file:///etc/hostname; do
            curl -sS --max-time 60 $to > out; echo $?
        done";
    let ended = says(
        room.jar().program(["/bin/sh", "-c", script]).end(),
        &["7", "7", "6", "0"],
    );
    assert!(
        ended.stderr.contains("Could not resolve host"),
        "{ended:#?}"
    );
}

#[test]
fn script_makes_a_terminal_within_the_jar_s_own() {
    let room = Room::new(&[]);
    let script = "script -q -e -c 'tty; stty -echo; stty -a | grep -c -w -- -echo' /dev/null; tty";
    says(
        room.jar()
            .host(["with_terminal"])
            .flags(["--tty"])
            .program(["/bin/sh", "-c", script])
            .end(),
        &["/dev/pts/1", "1", "/dev/pts/0"],
    );
}
