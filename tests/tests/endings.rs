//! Contract section 4: every way to end, with its exit status and its report.
#![cfg(target_os = "linux")]

#[path = "endings/alone.rs"]
mod alone;
#[path = "endings/cores.rs"]
mod cores;
#[path = "endings/counted.rs"]
mod counted;
#[path = "endings/launched.rs"]
mod launched;
#[path = "endings/limited.rs"]
mod limited;
#[path = "endings/row.rs"]
mod row;
#[path = "endings/stopped.rs"]
mod stopped;
#[path = "endings/told.rs"]
mod told;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use belljar_plan::{Limit, Outcome, Report, outcome::StoppedBy};
use belljar_tests::{both_presets, jar, spawn};
use rustix::process::Signal;

fn exited(code: u8) -> Outcome {
    Outcome::Exited { code }
}

fn signaled(signal: i32, name: &str) -> Outcome {
    Outcome::Signaled {
        signal,
        name: name.into(),
        core: false,
    }
}

#[test]
fn exit_codes_are_the_program_s_own() {
    both_presets(|preset| {
        for code in [0, 1, 42, 124, 125, 126, 127, 137, 255_u8] {
            let ended = jar().preset(preset).guest("exit", [code.to_string()]).end();
            assert_eq!(ended.status.code(), Some(code.into()));
            // A program's own 137 is no signal, its own 124 no limit.
            assert_eq!(ended.outcome(), &exited(code));
            assert_eq!(ended.stderr, "");
        }
    });
}

#[test]
fn signals_are_128_and_the_signal() {
    both_presets(|preset| {
        for (signal, name) in [
            (1, "HUP"),
            (6, "ABRT"),
            (9, "KILL"),
            (11, "SEGV"),
            (13, "PIPE"),
            (15, "TERM"),
        ] {
            let ended = jar()
                .preset(preset)
                .guest("raise", [signal.to_string()])
                .end();
            assert_eq!(ended.outcome(), &signaled(signal, name));
            assert_eq!(ended.status.code(), Some(128 + signal));
        }
    });
}

#[test]
fn file_size_ends_with_a_signal_and_a_symptom() {
    let ended = jar()
        .flags(["--file-size", "1MiB"])
        .guest("fill_disk", ["4"])
        .end();
    assert_eq!(ended.outcome(), &signaled(25, "XFSZ"));
    assert_eq!(ended.status.code(), Some(153));
    assert!(
        ended
            .report()
            .symptoms
            .iter()
            .any(|symptom| symptom.contains("file_size?")),
        "{ended:#?}"
    );
}

#[test]
fn wall_is_124() {
    let ended = jar().flags(["--timeout", "200ms"]).shell("sleep 20").end();
    assert_eq!(ended.outcome(), &Outcome::Limit { limit: Limit::Wall });
    assert_eq!(ended.status.code(), Some(124));
}

#[test]
fn cpu_time_is_124_by_the_alias_too() {
    let ended = jar()
        .flags(["--cpu-limit", "500ms"])
        .shell("while :; do :; done")
        .end();
    assert_eq!(
        ended.outcome(),
        &Outcome::Limit {
            limit: Limit::CpuTime
        }
    );
    assert_eq!(ended.status.code(), Some(124));
}

#[test]
fn memory_is_124() {
    let ended = jar()
        .flags(["--memory", "32MiB"])
        .guest("take_memory", ["200"])
        .end();
    assert_eq!(
        ended.outcome(),
        &Outcome::Limit {
            limit: Limit::Memory
        }
    );
    assert_eq!(ended.status.code(), Some(124));
}

#[test]
fn output_is_124_and_counts_both_streams() {
    let ended = jar()
        .flags(["--output", "64KiB"])
        .shell("while :; do echo 0123456789abcdef; echo 0123456789abcdef >&2; done")
        .end();
    assert_eq!(
        ended.outcome(),
        &Outcome::Limit {
            limit: Limit::Output
        }
    );
    assert_eq!(ended.status.code(), Some(124));
    assert!(!ended.stdout.is_empty());
    assert!(ended.stderr.matches("0123456789abcdef").count() > 1);
}

#[test]
fn output_at_the_limit_is_not_over_it() {
    let ended = jar()
        .flags(["--output", "64KiB"])
        .guest("echo", ["x".repeat(65_536)])
        .end()
        .clean();
    assert_eq!(ended.stdout.len(), 65_536);
}

#[test]
fn sigterm_and_sigint_and_sighup_reach_the_plugin() {
    both_presets(|preset| {
        for (signal, number) in [(Signal::TERM, 15), (Signal::INT, 2), (Signal::HUP, 1)] {
            let started = jar()
                .preset(preset)
                .input_open()
                .guest("catch_signal", [number.to_string()])
                .start();
            started.wait_for("ready");
            started.signal(signal);
            let ended = started.end();
            assert_eq!(
                ended.outcome(),
                &Outcome::Stopped {
                    by: StoppedBy::Signal(number),
                    grace_used: false
                },
                "{ended:#?}"
            );
            assert_eq!(ended.status.code(), Some(128 + number));
        }
    });
}

#[test]
fn plugin_that_ignores_signals_is_destroyed_after_the_grace() {
    let started = jar()
        .flags(["--grace", "500ms"])
        .input_open()
        .guest("ignore_signals", ["60"])
        .start();
    started.wait_for("ready");
    let start = Instant::now();
    started.signal(Signal::TERM);
    let ended = started.end();
    let took = start.elapsed();
    assert_eq!(
        ended.outcome(),
        &Outcome::Stopped {
            by: StoppedBy::Signal(15),
            grace_used: true
        }
    );
    assert_eq!(ended.status.code(), Some(143));
    assert!(
        (Duration::from_millis(450)..Duration::from_secs(4)).contains(&took),
        "{took:?}"
    );
}

#[test]
fn grace_is_five_seconds_where_not_said() {
    let started = jar().input_open().guest("ignore_signals", ["60"]).start();
    started.wait_for("ready");
    let start = Instant::now();
    started.signal(Signal::INT);
    let ended = started.end();
    let took = start.elapsed();
    assert_eq!(ended.status.code(), Some(130), "{ended:#?}");
    assert!(
        (Duration::from_millis(4800)..Duration::from_secs(9)).contains(&took),
        "{took:?}"
    );
}

#[test]
fn program_that_is_not_there_is_127_with_where_it_was_looked_for() {
    both_presets(|preset| {
        let ended = jar().preset(preset).program(["no-such-program"]).end();
        let Outcome::NotFound { path, searched } = ended.outcome() else {
            panic!("{ended:#?}");
        };
        assert_eq!(path.escaped(), "no-such-program");
        assert!(!searched.is_empty());
        assert_eq!(ended.status.code(), Some(127));

        let ended = jar().preset(preset).program(["/no/such/program"]).end();
        assert!(matches!(ended.outcome(), Outcome::NotFound { .. }));
        assert_eq!(ended.status.code(), Some(127));
    });
}

#[test]
fn program_that_cannot_be_started_is_126_with_why() {
    let room = tempfile::tempdir().expect("a directory");
    let cases: [(&str, &[u8], u32, i32); 4] = [
        ("no-mode", b"#!/bin/sh\nexit 0\n", 0o644, 13),
        ("no-format", b"\x01\x02\x03\x04 no program at all", 0o755, 8),
        ("empty", b"", 0o755, 8),
        ("no-interpreter", b"#!/no/such/interpreter\n", 0o755, 2),
    ];
    for (name, bytes, mode, errno) in cases {
        let path = room.path().join(name);
        fs::write(&path, bytes).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        both_presets(|preset| {
            let ended = jar().preset(preset).program([&path]).end();
            let Outcome::NotRunnable { errno: found, .. } = ended.outcome() else {
                panic!("{name}: {ended:#?}");
            };
            assert_eq!(*found, errno, "{name}: {ended:#?}");
            assert_eq!(ended.status.code(), Some(126));
        });
    }
    let ended = jar().program([room.path()]).end();
    assert!(
        matches!(ended.outcome(), Outcome::NotRunnable { .. }),
        "{ended:#?}"
    );
}

#[test]
fn rule_that_cannot_be_held_is_125_with_every_one_and_its_remedy() {
    let ended = jar()
        .flags(["--require", "memory=kernel", "--require", "wall=kernel"])
        .shell("exit 0")
        .end();
    let Outcome::Refused { unmet } = ended.outcome() else {
        panic!("{ended:#?}");
    };
    assert_eq!(unmet.len(), 2, "{unmet:#?}");
    for unmet in unmet {
        assert!(
            !unmet.reason.is_empty() && !unmet.remedy.is_empty(),
            "{unmet:#?}"
        );
    }
    assert_eq!(ended.status.code(), Some(125));
    assert!(ended.stderr.contains("belljar: refused: "), "{ended:#?}");
}

#[test]
fn bad_usage_is_125_without_a_report() {
    let _ = jar()
        .flags(["--no-such-option"])
        .shell("exit 0")
        .end()
        .bad_usage("no-such-option");
    let _ = jar()
        .flags(["--memory", "12"])
        .shell("exit 0")
        .end()
        .bad_usage("--memory");
    let _ = jar().end().bad_usage("nothing to run");
}

#[test]
fn first_cause_decides_and_later_ones_are_symptoms() {
    // Both the clock and the signal end it: the clock was first.
    let started = jar()
        .flags(["--wall", "300ms"])
        .input_open()
        .guest("ignore_signals", ["60"])
        .start();
    started.wait_for("ready");
    std::thread::sleep(Duration::from_millis(400));
    started.signal(Signal::TERM);
    let ended = started.end();
    assert_eq!(ended.outcome(), &Outcome::Limit { limit: Limit::Wall });
}

#[test]
fn report_file_says_lost_until_the_end() {
    let mut started = jar().input_open().guest("cat", [""; 0]).start();
    let _ = started.guest();
    let bytes = fs::read(started.report_path()).expect("a report from launch on");
    let early: Report = serde_json::from_slice(&bytes).expect("its form");
    assert_eq!(early.outcome, Outcome::Lost);
    started.close_input();
    let ended = started.end().clean();
    assert_eq!(ended.report().jar, early.jar);
}

#[test]
fn report_by_descriptor_is_written_once() {
    let room = tempfile::tempdir().expect("a directory");
    let file = room.path().join("report");
    let script = format!(
        "exec {} run --report fd:7 --task t -- /bin/sh -c 'exit 3' 7>{}",
        belljar_tests::belljar().display(),
        file.display()
    );
    let status = spawn(
        Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::null()),
    )
    .wait()
    .expect("a child");
    assert_eq!(status.code(), Some(3));
    let bytes = fs::read(&file).expect("a report");
    let report: Report = serde_json::from_slice(&bytes).expect("one report");
    assert_eq!(report.outcome, exited(3));
    assert_eq!(report.task.as_deref(), Some("t"));
}

#[test]
fn report_has_every_rule_and_what_was_used() {
    let ended = jar().preset("strict").guest("spin", ["1"]).end();
    let report = ended.report();
    assert_eq!(report.schema, belljar_plan::report::SCHEMA);
    assert!(!report.jar.is_empty() && report.plan_digest.is_some());
    for rule in belljar_plan::Rule::ALL {
        let of_rule = report.enforcement.iter().filter(|line| line.rule == *rule);
        assert!(of_rule.count() <= 1, "{rule} twice");
    }
    for line in &report.enforcement {
        assert!(line.applied >= line.requested, "less than asked: {line:#?}");
        assert_eq!(line.applied, line.planned.strength, "{line:#?}");
    }
    let usage = &report.usage;
    assert!(usage.wall_ns.expect("wall") >= 900_000_000, "{usage:#?}");
    let cpu = usage.user_ns.expect("user") + usage.system_ns.expect("system");
    // A busy machine gives a guest that spins only a part of each second.
    assert!(cpu >= 100_000_000, "{usage:#?}");
    assert_eq!(usage.stdout, ended.stdout.len() as u64);
}
