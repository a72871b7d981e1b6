//! A machine that is suspended to memory while jars run: `CLOCK_MONOTONIC` stands still, and
//! whoever waits is interrupted. Only the machines of the kernel lane let tests do that.
#![cfg(target_os = "linux")]

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use belljar_plan::{Limit, Outcome, outcome::StoppedBy};
use belljar_tests::{Ended, Jar, Need, Started, alive, descendants, jar, need, wait_until};
use rustix::process::Signal;

const A_WHILE: Duration = Duration::from_millis(400);

/// `CLOCK_BOOTTIME`, which goes on in a machine that sleeps; proc_uptime(5).
fn since_boot() -> Duration {
    let text = fs::read_to_string("/proc/uptime").expect("a file");
    let (seconds, _) = text.split_once(' ').expect("two numbers");
    Duration::from_secs_f64(seconds.parse().expect("a number"))
}

/// Suspends the machine until an alarm of its clock, which counts whole seconds; the
/// kernel's admin-guide/pm/sleep-states.rst and admin-guide/rtc.rst.
fn suspend_for(seconds: u64) {
    let (before, awake) = (since_boot(), Instant::now());
    let alarm = format!("+{seconds}");
    for (file, word) in [
        ("/sys/power/mem_sleep", "deep"),
        ("/sys/class/rtc/rtc0/wakealarm", &alarm),
        // It is written once the machine is awake again.
        ("/sys/power/state", "mem"),
    ] {
        fs::write(file, word).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    let slept = (since_boot() - before).saturating_sub(awake.elapsed());
    println!("the machine slept {slept:?}");
    assert!(slept >= Duration::from_secs(seconds - 2), "{slept:?}");
}

/// A jar that says something ten times a second, and does so.
fn says(jar: Jar, script: &str) -> Started {
    let started = jar
        .shell(&format!("{script} while :; do echo on; sleep 0.1; done"))
        .start();
    goes_on(&started);
    started
}

fn goes_on(started: &Started) {
    let before = started.said().len();
    wait_until("it to go on", || {
        (started.said().len() > before + 10).then_some(())
    });
}

/// Its own clock cannot have seen more than one that stands still with the machine.
fn no_longer_than(awake: Instant, ended: &Ended) {
    let usage = &ended.report().usage;
    for figure in [usage.wall_ns, usage.paused_ns] {
        let figure = Duration::from_nanos(figure.expect("a time"));
        assert!(figure <= awake.elapsed(), "{ended:#?}");
    }
}

#[test]
fn limits_of_time_and_graces_stand_still_with_the_machine() {
    if !need(Need::Sleep) {
        return;
    }
    let awake = Instant::now();
    let limited = ["standard", "strict"]
        .map(|preset| says(jar().preset(preset).flags(["--wall", "12s"]), ""));
    let stopped = says(jar().flags(["--grace", "6s"]), "trap 'echo asked' TERM;");
    stopped.signal(Signal::TERM);
    stopped.wait_for("asked");
    // Longer than any of the times that they have left.
    suspend_for(13);
    limited.iter().chain([&stopped]).for_each(goes_on);

    let ended = stopped.end();
    let killed = Outcome::Stopped {
        by: StoppedBy::Signal(15),
        grace_used: true,
    };
    assert_eq!(ended.outcome(), &killed, "{ended:#?}");
    no_longer_than(awake, &ended);
    for started in limited {
        let ended = started.end();
        let wall = Outcome::Limit { limit: Limit::Wall };
        assert_eq!(ended.outcome(), &wall, "{ended:#?}");
        assert!(ended.report().usage.wall_ns >= Some(12_000_000_000));
        no_longer_than(awake, &ended);
    }
}

fn is_stopped(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('T'))
}

#[test]
fn a_paused_jar_stays_paused_and_can_go_on_or_be_killed() {
    if !need(Need::Sleep) {
        return;
    }
    let awake = Instant::now();
    let paused = [says(jar(), ""), says(jar(), "")];
    for started in &paused {
        started.signal(Signal::TSTP);
        wait_until("it to stop", || is_stopped(started.pid()).then_some(()));
    }
    suspend_for(4);
    for started in &paused {
        assert!(is_stopped(started.pid()));
        let before = started.said();
        sleep(A_WHILE);
        assert_eq!(started.said(), before);
    }

    let [killed, goes] = paused;
    let below = descendants(killed.pid());
    killed.signal(Signal::KILL);
    assert_eq!(killed.end().outcome(), &Outcome::Lost);
    for pid in below {
        assert!(!alive(pid), "{pid} lives on");
    }
    goes.signal(Signal::CONT);
    goes_on(&goes);
    goes.signal(Signal::TERM);
    let ended = goes.end();
    assert_eq!(ended.status.code(), Some(143), "{ended:#?}");
    no_longer_than(awake, &ended);
}
