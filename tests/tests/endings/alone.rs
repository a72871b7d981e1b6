//! Guests that end by themselves. Nothing that one does by itself is told as what
//! Belljar does.

use super::row::{MS, Row, S, hold, row};
use belljar_plan::Limit;

#[test]
fn a_guest_that_exits_is_told_with_its_own_code() {
    hold(exits());
}

#[test]
fn a_guest_that_ends_by_a_signal_is_told_with_it_and_forges_no_limit() {
    hold(signals());
}

#[test]
fn whoever_of_a_guest_s_tasks_ends_it_there_is_one_ending() {
    hold(tasks());
}

fn exits() -> Vec<Row> {
    vec![
        row("exits 0", &["exit", "0"]).ends("exited 0", 0),
        row("exits 1", &["exit", "1"]).ends("exited 1", 1),
        row("exits 124, as for a limit", &["exit", "124"]).ends("exited 124", 124),
        row("exits 125, as for a refusal", &["exit", "125"]).ends("exited 125", 125),
        row("exits 126, as what cannot be run", &["exit", "126"]).ends("exited 126", 126),
        row("exits 127, as what is not there", &["exit", "127"]).ends("exited 127", 127),
        row("exits 137, as if killed", &["exit", "137"]).ends("exited 137", 137),
        row("exits 255", &["exit", "255"]).ends("exited 255", 255),
    ]
}

fn signals() -> Vec<Row> {
    vec![
        row("hangs itself up", &["raise", "1"]).ends("signaled 1 HUP", 129),
        row("interrupts itself", &["raise", "2"]).ends("signaled 2 INT", 130),
        row("aborts", &["raise", "6"]).ends("signaled 6 ABRT", 134),
        row("aborts and asks for a core", &["dump_core"]).ends("signaled 6 ABRT", 134),
        row(
            "kills itself, as a kernel without memory would",
            &["raise", "9"],
        )
        .ends("signaled 9 KILL", 137)
        .symptoms(&["oom_kill?"]),
        row("faults", &["raise", "11"]).ends("signaled 11 SEGV", 139),
        row("has nobody to write to", &["raise", "13"]).ends("signaled 13 PIPE", 141),
        row("terminates itself", &["raise", "15"]).ends("signaled 15 TERM", 143),
        row("forges SIGXCPU", &["raise", "24"])
            .flags(&["--cpu-time", "60s"])
            .ends("signaled 24 XCPU", 152)
            .symptoms(&["cpu_time?"])
            .used(Limit::CpuTime, 0..=20 * S),
        row("forges SIGXFSZ", &["raise", "25"])
            .flags(&["--file-size", "1GiB"])
            .ends("signaled 25 XFSZ", 153)
            .symptoms(&["file_size?"]),
        row(
            "raises SIGXCPU and handles it",
            &["survive_signal", "24", "5"],
        )
        .ends("exited 5", 5),
        row(
            "raises SIGXFSZ and handles it",
            &["survive_signal", "25", "6"],
        )
        .ends("exited 6", 6),
        row("writes, then kills itself", &["say", "70", "7", "9"])
            .ends("signaled 9 KILL", 137)
            .symptoms(&["oom_kill?"])
            .stdout(70..=70)
            .stderr(7..=7),
    ]
}

fn tasks() -> Vec<Row> {
    vec![
        row("a thread exits while main waits", &["leave_by_thread", "3"]).ends("exited 3", 3),
        row(
            "main ends, and a thread goes on and exits",
            &["leave_main", "4"],
        )
        .flags(&["--wall", "60s"])
        .ends("exited 4", 4)
        .used(Limit::Wall, 250 * MS..=50 * S),
        row(
            "becomes another program",
            &["become", "/bin/sh", "-c", "exit 9"],
        )
        .ends("exited 9", 9),
        row(
            "becomes what kills itself",
            &["become", "/bin/sh", "-c", "kill -9 $$"],
        )
        .ends("signaled 9 KILL", 137)
        .symptoms(&["oom_kill?"]),
        // What it leaves is ended with it, before it says a word.
        row(
            "exits while a child in a session of its own goes on",
            &["leave_child"],
        )
        .flags(&["--wall", "60s"])
        .ends("exited 0", 0)
        .used(Limit::Wall, 0..=50 * S),
        row(
            "a child kills itself, and nobody minds",
            &["lose_child", "9"],
        )
        .ends("exited 0", 0),
        row("a child faults, and nobody minds", &["lose_child", "11"]).ends("exited 0", 0),
        row(
            "a child forges SIGXFSZ, and nobody minds",
            &["lose_child", "25"],
        )
        .ends("exited 0", 0),
    ]
}
