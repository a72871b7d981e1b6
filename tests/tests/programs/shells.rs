//! Shells and the languages of scripts.

use crate::room::{Room, programs, says};

#[test]
fn bash_substitutes_processes_and_controls_jobs() {
    if !programs(&["bash"]) {
        return;
    }
    let room = Room::new(&[("work.bash", include_str!("sources/work.bash"))]);
    says(
        room.jar().program(["/bin/bash", "work.bash"]).end(),
        &[
            "process substitution: 2",
            "output substitution: y",
            "coproc: THROUGH A COPROCESS",
            "job control: stopped",
            "job: 143",
            "trap: seen",
            "wait: 3",
            "here string",
            "ulimit: 100",
            "fifo",
            "umask: 0077",
        ],
    );
}

#[test]
fn plain_shells_run_scripts() {
    let shells: &[&[&str]] = &[&["/bin/sh"], &["/bin/busybox", "sh"]];
    for shell in shells {
        if shell.len() > 1 && !programs(&["busybox"]) {
            return;
        }
        let room = Room::new(&[("work.sh", include_str!("sources/work.sh"))]);
        says(
            room.jar().program(shell.iter().chain([&"work.sh"])).end(),
            &[
                "arithmetic: 42",
                "here document: inside",
                "subshell: 3",
                "function: 1 two",
                "getopts: a value",
                "trap: seen",
                "pipe: 3",
                "wait: 5",
                "redirect: descriptor",
                "umask: 0027",
                "command: found",
            ],
        );
    }
}

#[test]
fn perl_forks_and_opens_pipes() {
    if !programs(&["perl"]) {
        return;
    }
    let room = Room::new(&[("work.pl", include_str!("sources/work.pl"))]);
    says(
        room.jar().program(["/usr/bin/perl", "work.pl"]).end(),
        &[
            "fork: 7",
            "open pipe: read",
            "TO A CHILD",
            "backticks: from a shell",
            "implicit fork: implicit",
            "signal: caught",
            "temporary file: text",
        ],
    );
}
