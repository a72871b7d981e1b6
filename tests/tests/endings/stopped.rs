//! Guests that somebody ends: by a signal to belljar, which is passed on, or by force to
//! one of the run's processes. The first cause is told; what comes later is a symptom.

use std::{collections::BTreeSet, time::Duration};

use belljar_plan::Limit;
use belljar_tests::jar;
use rustix::process::Signal;

use super::{
    row::{Done, MS, Row, S, Whom, hold, row},
    told::outcome,
};

#[test]
fn a_signal_to_belljar_is_told_as_that_however_the_guest_takes_it() {
    hold(signals());
}

#[test]
fn of_two_causes_the_first_is_told() {
    hold(twice());
}

#[test]
fn whoever_of_a_run_is_killed_the_report_says_no_more_than_is_known() {
    hold(killed());
}

#[test]
fn a_run_that_is_stopped_while_it_is_launched_has_one_ending() {
    let mut seen = BTreeSet::new();
    for trial in 0..40_u64 {
        let started = jar()
            .flags(["--grace", "10s"])
            .input_open()
            .guest("die_on_signal", ["1"])
            .start();
        std::thread::sleep(Duration::from_micros(trial * 700));
        started.signal(Signal::TERM);
        let ended = started.end();
        let told = ended.report.as_ref().map(|report| {
            let symptoms = report.symptoms.join("; ");
            (outcome(&report.outcome), symptoms)
        });
        let told = told
            .as_ref()
            .map(|(told, symptoms)| (told.as_str(), symptoms.as_str()));
        match (ended.status.code(), told) {
            // belljar did not listen yet, and nothing was launched.
            (None, None | Some(("lost", ""))) => {}
            (Some(143), Some(("stopped by signal 15", "" | "main process ended by TERM"))) => {}
            _ => panic!("{trial}: {ended:#?}"),
        }
        seen.insert(told.map(|(told, symptoms)| format!("{told}; {symptoms}")));
    }
    eprintln!("{seen:?}");
    assert!(seen.len() > 1, "each in the same moment: {seen:?}");
}

fn signals() -> Vec<Row> {
    vec![
        row("obeys SIGTERM by its default", &["die_on_signal", "1"])
            .done(Done::Signals(&[Signal::TERM]))
            .ends("stopped by signal 15", 143)
            .symptoms(&["main process ended by TERM"]),
        row("obeys SIGTERM and exits 0", &["catch_signal", "15", "0"])
            .done(Done::Signals(&[Signal::TERM]))
            .ends("stopped by signal 15", 143)
            .symptoms(&["main process exited 0"]),
        row(
            "obeys SIGTERM and exits 137",
            &["catch_signal", "15", "137"],
        )
        .done(Done::Signals(&[Signal::TERM]))
        .ends("stopped by signal 15", 143)
        .symptoms(&["main process exited 137"]),
        row("obeys SIGINT", &["catch_signal", "2"])
            .done(Done::Signals(&[Signal::INT]))
            .ends("stopped by signal 2", 130)
            .symptoms(&["main process exited 7"]),
        row("obeys SIGHUP", &["catch_signal", "1"])
            .done(Done::Signals(&[Signal::HUP]))
            .ends("stopped by signal 1", 129)
            .symptoms(&["main process exited 7"]),
        row(
            "kills itself when it is told to end",
            &["die_on_signal", "15"],
        )
        .done(Done::Signals(&[Signal::TERM]))
        .ends("stopped by signal 15", 143)
        .symptoms(&["oom_kill?", "main process ended by KILL"]),
        row("is deaf to SIGTERM", &["ignore_signals", "60"])
            .flags(&["--grace", "300ms"])
            .done(Done::Signals(&[Signal::TERM]))
            .ends("stopped by signal 15, by force", 143),
        row("is deaf to SIGINT", &["ignore_signals", "60"])
            .flags(&["--grace", "300ms"])
            .done(Done::Signals(&[Signal::INT]))
            .ends("stopped by signal 2, by force", 130),
    ]
}

fn twice() -> Vec<Row> {
    vec![
        row("is hung up twice", &["ignore_signals", "60"])
            .flags(&["--grace", "60s", "--wall", "90s"])
            .done(Done::Signals(&[Signal::HUP, Signal::HUP]))
            .ends("stopped by signal 1, by force", 129)
            .used(Limit::Wall, 100 * MS..=50 * S),
        row("is terminated, then interrupted", &["ignore_signals", "60"])
            .flags(&["--grace", "60s", "--wall", "90s"])
            .done(Done::Signals(&[Signal::TERM, Signal::INT]))
            .ends("stopped by signal 15, by force", 143)
            .symptoms(&["then a stop by signal 2"])
            .used(Limit::Wall, 100 * MS..=50 * S),
        row("its wall is up in the grace", &["ignore_signals", "60"])
            .flags(&["--grace", "60s", "--wall", "2s"])
            .done(Done::Signals(&[Signal::TERM]))
            .ends("stopped by signal 15, by force", 143)
            .hits(&["wall hard"])
            .symptoms(&["then the limit wall"])
            .used(Limit::Wall, 2 * S..=50 * S),
        row("writes too much in the grace", &["flood_on_signal", "15"])
            .flags(&["--grace", "60s", "--output", "8KiB"])
            .done(Done::Signals(&[Signal::TERM]))
            .ends("stopped by signal 15, by force", 143)
            .hits(&["output hard"])
            .symptoms(&["then the limit output"])
            .stdout(8193..=1 << 22),
        row(
            "takes too much processor time in the grace",
            &["burn_on_signal", "15"],
        )
        .flags(&["--grace", "60s", "--cpu-time", "500ms"])
        .done(Done::Signals(&[Signal::TERM]))
        .ends("stopped by signal 15, by force", 143)
        .hits(&["cpu_time hard"])
        .symptoms(&["then the limit cpu_time"])
        .used(Limit::CpuTime, 500 * MS..=50 * S),
    ]
}

fn killed() -> Vec<Row> {
    vec![
        row("somebody kills the guest", &["ignore_signals", "60"])
            .done(Done::Kill(Whom::Guest))
            .ends("signaled 9 KILL", 137)
            .symptoms(&["oom_kill?"]),
        row(
            "somebody kills the first process",
            &["ignore_signals", "60"],
        )
        .done(Done::Kill(Whom::First))
        .ends("lost", 125)
        .symptoms(&["pid 1 ended without a record; oom_kill?"]),
        row("somebody kills the launcher", &["ignore_signals", "60"])
            .done(Done::Kill(Whom::Launcher))
            .ends("lost", 125)
            .symptoms(&["launcher lost"]),
        // Nobody is left to count.
        row("somebody kills belljar", &["ignore_signals", "60"])
            .done(Done::Kill(Whom::Belljar))
            .stdout(0..=0)
            .leaves("lost"),
    ]
}
