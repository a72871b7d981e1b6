//! Guests that come to a limit. Each is told by whoever counts it, and by nothing that
//! the guest itself can do.

use belljar_plan::Limit;

use super::row::{MIB, MS, Row, S, hold, program, row};

#[test]
fn time_that_is_up_is_told_whatever_the_guest_does_meanwhile() {
    hold(time());
}

#[test]
fn memory_of_all_tasks_ends_a_jar_and_that_of_one_alike() {
    hold(memory());
}

#[test]
fn output_is_counted_over_both_streams_to_the_byte() {
    hold(output());
}

#[test]
fn what_is_refused_to_a_guest_is_told_without_ending_it() {
    hold(refused());
}

const SOFT_WALL: &str = "[limits]\nwall = { soft = '50ms', hard = '60s' }\n";
const SOFT_CPU: &str = "[limits]\ncpu_time = { soft = '50ms', hard = '60s' }\n";
const SOFT_MEMORY: &str = "[limits]\nmemory = { soft = '16MiB', hard = '1GiB' }\n";
const SOFT_OUTPUT: &str = "[limits]\noutput = { soft = '1KiB', hard = '1MiB' }\n";
const SOFT_PROCESSES: &str = "[limits]\nprocesses = { soft = 3, hard = 100 }\n";
const SOFT_DISK: &str = "[limits]\ndisk = { soft = '1MiB', hard = '64MiB' }\n";
const STOP_PROCESSES: &str = "[limits]\nprocesses = { hard = 10, action = 'stop' }\n";

fn time() -> Vec<Row> {
    let wall = |name, words: &[&'static str]| {
        row(name, words)
            .flags(&["--wall", "300ms"])
            .ends("limit wall", 124)
            .hits(&["wall hard"])
            .used(Limit::Wall, 300 * MS..=60 * S)
    };
    let cpu = |name, words: &[&'static str]| {
        row(name, words)
            .flags(&["--cpu-time", "400ms"])
            .ends("limit cpu_time", 124)
            .hits(&["cpu_time hard"])
            .used(Limit::CpuTime, 400 * MS..=60 * S)
    };
    vec![
        wall("sleeps, deaf to signals", &["sleep", "60"]),
        wall("has stopped itself", &["stop_itself"]),
        wall("waits in a vfork", &["wait_in_vfork"]),
        wall("is busy", &["burn", "1", "60000"]),
        row("has hardly begun", &["sleep", "60"])
            .flags(&["--wall", "1ms"])
            .ends("limit wall", 124)
            .hits(&["wall hard"])
            .used(Limit::Wall, MS..=60 * S),
        program("goes over a soft wall", &["sleep", "0.4"])
            .policy(SOFT_WALL)
            .ends("exited 0", 0)
            .hits(&["wall soft"])
            .used(Limit::Wall, 400 * MS..=60 * S),
        cpu("one process burns", &["burn", "1", "60000"]),
        cpu("four processes burn together", &["burn", "4", "60000"]),
        row("goes over a soft cpu_time", &["burn", "1", "1000"])
            .policy(SOFT_CPU)
            .ends("exited 0", 0)
            .hits(&["cpu_time soft"])
            .used(Limit::CpuTime, 50 * MS..=60 * S),
        // The kernel's own limit is another's, who started belljar with it.
        row(
            "is killed by the kernel for a limit of another's",
            &["burn_here", "60000"],
        )
        .under(&["prlimit", "--cpu=1:1", "--"])
        .flags(&["--cpu-time", "60s"])
        .ends("signaled 9 KILL", 137)
        .symptoms(&["oom_kill?"])
        .used(Limit::CpuTime, 500 * MS..=20 * S),
    ]
}

fn memory() -> Vec<Row> {
    let memory = |name, words: &[&'static str]| {
        row(name, words)
            .flags(&["--memory", "32MiB"])
            .ends("limit memory", 124)
            .hits(&["memory hard"])
            .used(Limit::Memory, 30 * MIB..=400 * MIB)
    };
    vec![
        memory("takes too much memory", &["hold_memory", "200", "60000"]),
        memory(
            "a grandchild takes too much while main waits",
            &["hold_memory_in_child", "200", "60000"],
        ),
        row("goes over a soft memory", &["hold_memory", "40", "1500"])
            .policy(SOFT_MEMORY)
            .ends("exited 0", 0)
            .hits(&["memory soft"])
            .used(Limit::Memory, 40 * MIB..=400 * MIB),
        row("forges the end of memory", &["raise", "9"])
            .flags(&["--memory", "64MiB"])
            .ends("signaled 9 KILL", 137)
            .symptoms(&["oom_kill?"]),
        row("forges the status of memory", &["exit", "137"])
            .flags(&["--memory", "64MiB"])
            .ends("exited 137", 137),
    ]
}

fn output() -> Vec<Row> {
    const KIB: u64 = 1024;
    let limited = |name, words: &[&'static str]| row(name, words).flags(&["--output", "8KiB"]);
    let over = |name, words: &[&'static str]| {
        limited(name, words)
            .ends("limit output", 124)
            .hits(&["output hard"])
    };
    vec![
        limited("writes all that it may", &["say", "8192", "0"])
            .ends("exited 0", 0)
            .stdout(8 * KIB..=8 * KIB)
            .used(Limit::Output, 8 * KIB..=8 * KIB),
        limited("writes all that it may to both", &["say", "4000", "4192"])
            .ends("exited 0", 0)
            .stdout(4000..=4000)
            .stderr(4192..=4192)
            .used(Limit::Output, 8 * KIB..=8 * KIB),
        over("writes one byte more", &["say", "8193", "0"])
            .stdout(8193..=8193)
            .used(Limit::Output, 8193..=8193)
            .symptoms(&["main process exited 0"])
            .or_symptoms(&[]),
        over("writes one byte more to both", &["say", "4000", "4193"])
            .stdout(4000..=4000)
            .stderr(4193..=4193)
            .symptoms(&["main process exited 0"])
            .or_symptoms(&[]),
        over("writes too much to stderr", &["say", "0", "20000"])
            .stderr(20_000..=20_000)
            .symptoms(&["main process exited 0"])
            .or_symptoms(&[]),
        over(
            "writes too much, and kills itself",
            &["say", "9000", "0", "9"],
        )
        .stdout(9000..=9000)
        .symptoms(&["oom_kill?", "main process ended by KILL"])
        .or_symptoms(&[]),
        over("writes without end", &["flood_on"])
            .stdout(8 * KIB + 1..=4 * MIB)
            .used(Limit::Output, 8 * KIB + 1..=4 * MIB),
        row("goes over a soft output", &["say", "2000", "10"])
            .policy(SOFT_OUTPUT)
            .ends("exited 0", 0)
            .hits(&["output soft"])
            .stdout(2000..=2000)
            .stderr(10..=10),
    ]
}

fn refused() -> Vec<Row> {
    vec![
        row(
            "has as many processes as it may",
            &["hold_children", "50", "1500"],
        )
        .flags(&["--processes", "10"])
        .ends("exited 0", 0)
        .hits(&["processes hard"])
        .used(Limit::Processes, 9..=11),
        row(
            "has so many processes that it is ended",
            &["hold_children", "50", "60000"],
        )
        .policy(STOP_PROCESSES)
        .ends("limit processes", 124)
        .hits(&["processes hard"])
        .used(Limit::Processes, 9..=11),
        row("goes over soft processes", &["hold_children", "6", "1500"])
            .policy(SOFT_PROCESSES)
            .ends("exited 0", 0)
            .hits(&["processes soft"])
            .used(Limit::Processes, 7..=9),
        row("opens as many files as it may", &["open_many", "500"])
            .flags(&["--open-files", "64"])
            .ends("exited 0", 0)
            .stdout(20..=120),
        row("ends by a file that is too large", &["fill_disk", "4"])
            .flags(&["--file-size", "1MiB"])
            .ends("signaled 25 XFSZ", 153)
            .symptoms(&["file_size?"]),
        row(
            "goes on with a file that is too large",
            &["fill_file", "/tmp/file", "4", "0"],
        )
        .flags(&["--file-size", "1MiB"])
        .ends("exited 3", 3),
        row(
            "fills its scratch",
            &["fill_file", "/tmp/file", "4", "1500"],
        )
        .flags(&["--disk", "2MiB"])
        .ends("exited 3", 3)
        .hits(&["disk hard"])
        .used(Limit::Disk, MIB..=2 * MIB),
        row(
            "goes over a soft disk",
            &["fill_file", "/tmp/file", "4", "0"],
        )
        .policy(SOFT_DISK)
        .ends("exited 0", 0)
        .hits(&["disk soft"])
        .used(Limit::Disk, 4 * MIB..=6 * MIB),
        row(
            "grows a granted directory",
            &["fill_file", "ROOM/given/file", "8", "60000"],
        )
        .directory("given")
        .flags(&["--disk", "2MiB", "--write", "ROOM/given"])
        .ends("limit disk", 124)
        .hits(&["disk hard"])
        .used(Limit::Disk, 2 * MIB..=16 * MIB),
        row("is ended for a violation", &["unshare_each"])
            .flags(&["--end-on", "nesting"])
            .ends("violation nesting", 124),
        row("violates what ends nobody", &["find_key", "x"])
            .flags(&["--end-on", "nesting"])
            .ends("exited 0", 0)
            .stdout(1..=400),
    ]
}
