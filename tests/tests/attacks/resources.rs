//! Attacks on what there is only so much of.

use std::{
    fs,
    time::{Duration, Instant},
};

use belljar_plan::{Limit, Outcome};
use belljar_tests::{Ended, bare, both_presets, guest, jar};

/// Holds a jar to have been ended by a limit, and its guest so to have been held.
fn ended_by(limit: Limit, ended: Ended) -> Ended {
    assert_eq!(ended.outcome(), &Outcome::Limit { limit }, "{ended:#?}");
    assert_eq!(ended.status.code(), Some(124));
    assert!(
        ended
            .report()
            .limits_hit
            .iter()
            .any(|hit| hit.limit == limit),
        "{ended:#?}"
    );
    assert!(!ended.stdout.contains("ESCAPED"), "{ended:#?}");
    ended.held()
}

/// The number after the word `after` of a guest that was stopped.
pub(crate) fn after(ended: &Ended) -> u64 {
    ended
        .stdout
        .split("after ")
        .nth(1)
        .and_then(|rest| {
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or_else(|| panic!("no number: {ended:#?}"))
}

#[test]
pub(crate) fn memory_bomb_is_bounded() {
    both_presets(|preset| {
        let ended = jar()
            .preset(preset)
            .flags(["--memory", "64MiB"])
            .guest("take_memory", ["300"])
            .end();
        ended_by(Limit::Memory, ended);
    });
    bare(["take_memory", "300"]).escapes();
}

#[test]
fn memory_bomb_is_bounded_by_strict_itself() {
    let ended = jar().preset("strict").guest("take_memory", ["300"]).end();
    ended_by(Limit::Memory, ended);
}

#[test]
pub(crate) fn fork_bomb_is_bounded() {
    both_presets(|preset| {
        let ended = jar()
            .preset(preset)
            .flags(["--processes", "20"])
            .guest("fork", ["200"])
            .stops();
        assert!(after(&ended) <= 20, "{ended:#?}");
    });
    bare(["fork", "200"]).escapes();
}

#[test]
pub(crate) fn output_flood_is_bounded() {
    both_presets(|preset| {
        let ended = jar()
            .preset(preset)
            .flags(["--output", "1MiB"])
            .guest("flood", ["50000000"])
            .end();
        let ended = ended_by(Limit::Output, ended);
        assert!(
            ended.stdout.len() <= 1 << 20,
            "{} bytes",
            ended.stdout.len()
        );
    });
    bare(["flood", "50000000"]).escapes();
}

#[test]
pub(crate) fn busy_loop_ends_at_cpu_time() {
    for (preset, seconds) in [("standard", 5), ("strict", 1)] {
        let start = Instant::now();
        let ended = jar()
            .preset(preset)
            .flags(["--cpu-time", &format!("{seconds}s")])
            .guest("spin", ["60"])
            .end();
        let ended = ended_by(Limit::CpuTime, ended);
        assert!(start.elapsed() < Duration::from_secs(50));
        let usage = &ended.report().usage;
        let used = usage.user_ns.unwrap_or(0) + usage.system_ns.unwrap_or(0);
        assert!(used < (seconds + 2) * 1_000_000_000, "{ended:#?}");
    }
    bare(["spin", "1"]).escapes();
}

#[test]
pub(crate) fn sleeper_ends_at_wall() {
    both_presets(|preset| {
        let start = Instant::now();
        let ended = jar()
            .preset(preset)
            .flags(["--wall", "1s"])
            .guest("sleep", ["30"])
            .end();
        ended_by(Limit::Wall, ended);
        let took = start.elapsed();
        assert!(
            (Duration::from_secs(1)..Duration::from_secs(5)).contains(&took),
            "{took:?}"
        );
    });
    bare(["sleep", "1"]).escapes();
}

#[test]
pub(crate) fn empty_files_are_bounded() {
    both_presets(|preset| {
        let ended = jar()
            .preset(preset)
            .flags(["--disk", "16MiB"])
            .guest("make_files", ["100000"])
            .stops();
        assert!(after(&ended) <= 20_000, "{ended:#?}");
    });
    bare(["make_files", "2000"]).escapes();
}

#[test]
pub(crate) fn scratch_is_bounded() {
    let places = [
        "64",
        "/dev/shm",
        "/var/tmp",
        "/run",
        "/home/plugin",
        "/workspace",
        "/",
        "/dev",
    ];
    both_presets(|preset| {
        let ended = jar()
            .preset(preset)
            .flags(["--disk", "8MiB"])
            .guest("fill_disk", places)
            .stops();
        assert!(after(&ended) <= 8, "{ended:#?}");
    });
    bare(["fill_disk", "20"]).escapes();
}

#[test]
pub(crate) fn open_files_are_bounded() {
    both_presets(|preset| {
        let ended = jar()
            .preset(preset)
            .flags(["--open-files", "64"])
            .guest("open_many", ["400"])
            .stops();
        assert!(after(&ended) < 64, "{ended:#?}");
    });
    bare(["open_many", "400"]).escapes();
}

/// `standard` lets programs have more sockets than there is memory for: the plan
/// says of its rule `memory` what escapes it.
#[test]
pub(crate) fn buffers_are_bounded() {
    let words = ["200"];
    jar()
        .preset("standard")
        .guest("fill_buffers", words)
        .escapes();
    let ended = jar().preset("strict").guest("fill_buffers", words).stops();
    assert!(after(&ended) <= 64, "{ended:#?}");
}

#[test]
pub(crate) fn no_core_is_dumped() {
    both_presets(|preset| {
        let room = tempfile::tempdir().expect("a directory");
        let place = room.path().to_string_lossy().into_owned();
        let ended = jar()
            .host(["with_core_limit"])
            .preset(preset)
            .flags(["--write", &place, "--workdir", &place])
            .guest("dump_core", [""; 0])
            .end();
        assert_eq!(
            ended.outcome(),
            &Outcome::Signaled {
                signal: 6,
                name: "ABRT".into(),
                core: false
            }
        );
        assert_eq!(fs::read_dir(room.path()).expect("it").count(), 0);
        ended.held();
    });
    // Where the kernel pipes cores to a program, a bare crash leaves one with that program.
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let hard = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let unlimited = hard
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .is_some_and(|line| line.split_whitespace().nth(5) == Some("unlimited"));
    if unlimited && !pattern.starts_with(['|', '/']) {
        use std::os::unix::process::ExitStatusExt;
        let control = bare([
            "with_core_limit".as_ref(),
            guest().as_os_str(),
            "dump_core".as_ref(),
        ]);
        assert!(control.status.core_dumped(), "{control:?}");
    }
}
