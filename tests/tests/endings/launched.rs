//! Launches that do not come to a guest: what is missing is told, and nothing ran.

use belljar_tests::Need;

use super::row::{GUEST, Row, hold, program, row};

#[test]
fn what_the_machine_cannot_hold_is_refused_rule_by_rule() {
    hold(refusals());
}

#[test]
fn a_program_that_does_not_start_is_told_with_why() {
    hold(programs());
}

/// The number of a system call that a filter around belljar answers in the kernel's stead
/// with success: a step that is only said to be done is none.
const SAID_TO_BE_DONE: &str = "446";

#[test]
fn a_step_of_the_set_up_that_fails_is_told_by_its_name() {
    hold(vec![
        row("Landlock is only said to hold", &["exit", "0"])
            .needs(Need::Landlock)
            .under(&[GUEST, "answered_host", SAID_TO_BE_DONE, "0"])
            .ends("setup_failed restrict 125", 125),
    ]);
}

fn refusals() -> Vec<Row> {
    vec![
        row("one rule is unmet", &["exit", "0"])
            .flags(&["--require", "wall=kernel"])
            .ends("refused wall", 125),
        row("several rules are unmet", &["exit", "0"])
            .flags(&["--require", "output=kernel", "--require", "wall=kernel"])
            .ends("refused wall output", 125),
        row("a violation that nobody sees is to end it", &["exit", "0"])
            .flags(&["--end-on", "wall"])
            .ends("refused wall", 125),
    ]
}

fn programs() -> Vec<Row> {
    let room = |name| program(name, &["ROOM/program"]);
    vec![
        program("no program of that name", &["no-such-program"]).ends("not_found", 127),
        program("no program at that place", &["/no/such/program"]).ends("not_found", 127),
        room("may not be executed")
            .file("program", b"#!/bin/sh\nexit 0\n", 0o644)
            .ends("not_runnable 13", 126),
        room("is no program")
            .file("program", b"\x01\x02\x03\x04 no program at all", 0o755)
            .ends("not_runnable 8", 126),
        room("is empty")
            .file("program", b"", 0o755)
            .ends("not_runnable 8", 126),
        room("has an interpreter that is not there")
            .file("program", b"#!/no/such/interpreter\n", 0o755)
            .ends("not_runnable 2", 126),
        room("is a directory")
            .directory("program")
            .ends("not_runnable 13", 126),
        room("is a script, and exits")
            .file("program", b"#!/bin/sh\nexit 126\n", 0o755)
            .ends("exited 126", 126),
    ]
}
