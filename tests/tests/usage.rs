//! What a report says was used, held against guests that use exactly what they are told to.
//! The errors that are allowed here are those that docs/usage.md states.
#![cfg(target_os = "linux")]

use std::path::PathBuf;

use belljar_plan::usage::{Source, Usage};
use belljar_tests::{Ended, jar};

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000_000_000;

fn spend(words: &[&str]) -> Ended {
    let ended = jar()
        .flags(["--memory", "400MiB"])
        .guest("spend", words)
        .end()
        .clean();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    ended
}

fn usage(ended: &Ended) -> &Usage {
    &ended.report().usage
}

#[track_caller]
fn between(figure: Option<u64>, least: u64, most: u64) {
    assert!(
        figure.is_some_and(|figure| (least..=most).contains(&figure)),
        "{figure:?} is not in {least}..={most}"
    );
}

/// A tenth more, half a second, and what the start of each process takes here: an emulated
/// machine takes longer for that the busier the real one is.
fn cpu_of(seconds: u64) -> (u64, u64) {
    let start = usage(&spend(&["stay=1"])).cpu_ns().expect("it is counted");
    let beside = SECOND / 2 + 5 * start;
    (seconds * SECOND, seconds * SECOND * 11 / 10 + beside)
}

#[test]
fn processor_time_of_four_processes_is_all_of_it() {
    let ended = spend(&["cpu=2000,4"]);
    let used = usage(&ended);
    let (least, most) = cpu_of(2);
    between(used.cpu_ns(), least, most);
    // It was burnt in a program.
    between(used.user_ns, least * 8 / 10, most);
    // Two processors take a second for it, whatever else they do.
    between(used.wall_ns, SECOND / 4, 120 * SECOND);
    assert_eq!(used.paused_ns, Some(0));
    // pid 1, the main process and the four.
    between(used.tasks_peak, 5, 6);
}

#[test]
fn processor_time_of_what_nobody_waited_for_counts_too() {
    let ended = spend(&["orphans=1000"]);
    let (least, most) = cpu_of(1);
    between(usage(&ended).cpu_ns(), least, most);
}

#[test]
fn memory_that_is_touched_and_given_back_at_once_is_the_peak() {
    let ended = spend(&["touch=100"]);
    let used = usage(&ended);
    // And the program's own files and libraries, as far as they are in memory.
    between(used.memory_peak, 100 * MIB, 116 * MIB);
    between(used.rss_peak, 100 * MIB, 116 * MIB);
    // A page of 4 KiB each, where pages are not larger.
    between(used.faults, 100 * MIB / 4096, 2 * 100 * MIB / 4096);
}

#[test]
fn mean_memory_is_that_of_the_time_that_it_was_held() {
    let ended = spend(&["touch=100", "stay=3000"]);
    let used = usage(&ended);
    // It was held for 3 s, however long it took to touch it; a fifth for looks that came late.
    let wall = used.wall_ns.expect("it ran");
    let held = 100 * MIB * (3 * SECOND) / wall;
    between(used.memory_average, held * 8 / 10, 110 * MIB);
}

/// A directory on a disk: where temporary files are only in memory, that of the machine of
/// the kernel lane.
fn on_a_disk() -> PathBuf {
    match PathBuf::from("/disk") {
        disk if disk.is_dir() => disk,
        _ => std::env::temp_dir(),
    }
}

#[test]
fn what_is_written_to_a_disk_is_counted() {
    let room = tempfile::tempdir_in(on_a_disk()).expect("a directory");
    let file = room.path().join("file");
    let grant = room.path().to_str().expect("text").to_owned();
    let word = format!("writes={},10", file.display());
    let ended = jar()
        .flags(["--write", &grant])
        .guest("spend", [word])
        .end()
        .clean();
    let used = usage(&ended);
    // With what the file system writes about it.
    between(used.io_written, 10 * MIB, 11 * MIB + MIB / 2);
    if used.sources["io_written"] == Source::Cgroup {
        between(used.io_writes, 1, 10_000);
    } else {
        assert_eq!(used.io_writes, None);
    }
}

#[test]
fn what_lies_in_scratch_is_counted() {
    let ended = spend(&["writes=/tmp/file,10"]);
    let used = usage(&ended);
    between(used.disk_peak, 10 * MIB, 10 * MIB + MIB / 4);
    // It went to no disk.
    between(used.io_written, 0, MIB / 4);
}

#[test]
fn switches_and_output_are_counted() {
    let ended = spend(&["switches=1000", "prints=12345"]);
    let used = usage(&ended);
    // Each way there and back is one of each process at least.
    between(used.voluntary_switches, 1000, 6000);
    assert!(used.involuntary_switches.is_some());
    assert_eq!((used.stdout, used.stderr), (12_345, 0));
}

#[test]
fn denied_calls_are_counted() {
    let unshare = "call=272,268435456";
    let ended = jar().guest("try_all", [unshare; 3]).end().clean();
    if ended.report().violations.is_empty() {
        // Nobody hears them here.
        assert_eq!(usage(&ended).denied_calls, None);
        return;
    }
    assert_eq!(usage(&ended).denied_calls, Some(3));
}

#[test]
fn each_figure_names_its_source() {
    let ended = spend(&["touch=1"]);
    let used = usage(&ended);
    for (figure, source) in [
        ("wall_ns", Source::Supervisor),
        ("stdout", Source::Supervisor),
        ("rss_peak", Source::Rusage),
        ("voluntary_switches", Source::Rusage),
    ] {
        assert_eq!(used.sources[figure], source);
    }
    let counted = used.throttled_ns.is_some();
    let of_processor = used.sources["system_ns"];
    assert_eq!(of_processor == Source::Cgroup, counted, "{used:#?}");
}
