//! Dying together: whoever of belljar, the launcher and pid 1 is killed by
//! force, at any moment, nothing of the jar lives on and the report is true.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use belljar_plan::{Limit, Outcome};
use belljar_tests::{
    Ended, Started, alive, both_presets, children, descendants, jar, kill, wait_until,
};
use rustix::process::Signal;

/// A delay that differs from trial to trial, to 10 ms.
fn delay(trial: u64) -> Duration {
    Duration::from_micros(trial.wrapping_mul(2_654_435_761) % 10_000)
}

#[test]
fn killed_supervisor_leaves_nothing_and_a_true_report() {
    both_presets(|preset| {
        for trial in 0..25 {
            let started = jar()
                .preset(preset)
                .input_open()
                .guest("stay_behind", ["lifeline"])
                .start();
            std::thread::sleep(delay(trial));
            let below = descendants(started.pid());
            started.signal(Signal::KILL);
            // Ending also holds that nothing is left: no process, mount or file.
            let ended = started.end();
            // On a slow machine all may have ended before.
            if ended.status.code() != Some(42) {
                assert_eq!(ended.status.code(), None, "{ended:#?}");
            }
            // None where it was not launched yet; and on a slow machine the guest may have ended.
            if let Some(report) = ended.report {
                assert!(
                    matches!(report.outcome, Outcome::Lost | Outcome::Exited { code: 42 }),
                    "{report:#?}"
                );
            }
            for pid in below {
                assert!(!alive(pid), "{pid} lives on");
            }
        }
    });
}

#[test]
fn killed_supervisor_takes_a_running_jar_along_at_once() {
    both_presets(|preset| {
        let started = jar()
            .preset(preset)
            .input_open()
            .guest("ignore_signals", ["60"])
            .start();
        started.wait_for("ready");
        let below = descendants(started.pid());
        assert!(below.len() >= 3, "launcher, pid 1 and guest: {below:?}");
        let start = Instant::now();
        started.signal(Signal::KILL);
        wait_until("their end", || {
            below.iter().all(|pid| !alive(*pid)).then_some(())
        });
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
        let ended = started.end();
        assert_eq!(ended.outcome(), &Outcome::Lost);
    });
}

#[test]
fn killed_launcher_is_lost_and_leaves_nothing() {
    both_presets(|preset| {
        let started = jar()
            .preset(preset)
            .input_open()
            .guest("ignore_signals", ["60"])
            .start();
        started.wait_for("ready");
        let below = descendants(started.pid());
        kill(started.launcher(), Signal::KILL);
        let ended = started.end();
        assert_eq!(ended.status.code(), Some(125), "{ended:#?}");
        assert_eq!(ended.outcome(), &Outcome::Lost);
        assert!(below.iter().all(|pid| !alive(*pid)), "{below:?}");
    });
}

/// A jar whose guest ends by nothing but force, or its wall limit.
fn stubborn(preset: &str) -> Started {
    jar()
        .preset(preset)
        .flags(["--wall", "2s"])
        .input_open()
        .guest("ignore_signals", ["60"])
        .start()
}

/// Whoever is killed before a jar uses it is replaced, and the jar runs to its limit.
fn lost_or_replaced(ended: &Ended) {
    assert!(
        matches!(
            ended.outcome(),
            Outcome::Lost | Outcome::SetupFailed { .. } | Outcome::Limit { limit: Limit::Wall }
        ),
        "{ended:#?}"
    );
}

#[test]
fn launcher_killed_at_any_moment_leaves_nothing() {
    both_presets(|preset| {
        for trial in 0..25 {
            let started = stubborn(preset);
            let launcher = started.launcher();
            std::thread::sleep(delay(trial));
            kill(launcher, Signal::KILL);
            let ended = started.end();
            // Killed before it was asked for a jar, it is replaced, and the jar runs to its limit.
            lost_or_replaced(&ended);
        }
    });
}

#[test]
fn killed_first_process_is_lost_and_leaves_nothing() {
    both_presets(|preset| {
        let started = jar()
            .preset(preset)
            .input_open()
            .guest("ignore_signals", ["60"])
            .start();
        started.wait_for("ready");
        let guest = started.guest();
        kill(started.first(), Signal::KILL);
        let ended = started.end();
        assert_eq!(ended.status.code(), Some(125), "{ended:#?}");
        assert_eq!(ended.outcome(), &Outcome::Lost);
        assert!(!alive(guest));
    });
}

#[test]
fn first_process_killed_at_any_moment_leaves_nothing() {
    both_presets(|preset| {
        for trial in 0..10 {
            let started = stubborn(preset);
            let first = started.first();
            std::thread::sleep(delay(trial));
            kill(first, Signal::KILL);
            let ended = started.end();
            // A child made ahead that is killed before its use is not used, and the
            // jar of another runs to its limit.
            lost_or_replaced(&ended);
        }
    });
}

#[test]
fn stopped_supervisor_that_is_killed_leaves_nothing() {
    let started = jar().input_open().guest("ignore_signals", ["60"]).start();
    started.wait_for("ready");
    started.signal(Signal::STOP);
    started.signal(Signal::KILL);
    let ended = started.end();
    assert_eq!(ended.outcome(), &Outcome::Lost);
}

#[test]
fn killed_guest_ends_the_jar_with_its_signal() {
    let started = jar().input_open().guest("ignore_signals", ["60"]).start();
    started.wait_for("ready");
    kill(started.guest(), Signal::KILL);
    let ended = started.end();
    assert_eq!(ended.status.code(), Some(137));
    assert!(matches!(
        ended.outcome(),
        Outcome::Signaled { signal: 9, .. }
    ));
}

#[test]
fn terminal_s_signals_reach_neither_launcher_nor_first() {
    let started = jar().input_open().guest("cat", [""; 0]).start();
    let guest = started.guest();
    let launcher = started.launcher();
    for signal in [Signal::INT, Signal::QUIT, Signal::HUP, Signal::TERM] {
        kill(launcher, signal);
        kill(started.first(), signal);
    }
    std::thread::sleep(Duration::from_millis(100));
    assert!(alive(launcher) && alive(guest));
    assert_eq!(children(started.pid()), [launcher]);
    kill(guest, Signal::KILL);
    let _ = started.end();
}

#[test]
fn first_process_cannot_be_attached_to_by_its_own_user() {
    let started = jar().input_open().guest("ignore_signals", ["60"]).start();
    started.wait_for("ready");
    let first = started.first();
    let environ = std::fs::read(format!("/proc/{first}/environ"));
    if belljar_tests::is_root() {
        // Root may look; what was inherited has been wiped.
        assert_eq!(environ.unwrap_or_default(), b"");
    } else {
        assert!(environ.is_err());
    }
    let descriptors = std::fs::read_dir(format!("/proc/{first}/fd")).map(Iterator::count);
    assert!(
        descriptors.unwrap_or(0) <= 3,
        "lifeline, control socket, signals"
    );
    kill(started.guest(), Signal::KILL);
    let _ = started.end();
}
