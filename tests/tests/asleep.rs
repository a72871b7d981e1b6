//! A machine that is suspended to memory while jars run: `CLOCK_MONOTONIC` stands still, and
//! whoever waits is interrupted. Only the machines of the kernel lane let tests do that.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{self, ErrorKind},
    thread::sleep,
    time::{Duration, Instant},
};

use belljar_plan::{Limit, Outcome, outcome::StoppedBy};
use belljar_tests::{Need, Started, alive, descendants, jar, need, wait_until};
use rustix::process::Signal;

/// `CLOCK_BOOTTIME`, which goes on in a machine that sleeps; proc_uptime(5).
fn since_boot() -> Duration {
    let text = fs::read_to_string("/proc/uptime").expect("a file");
    let (seconds, _) = text.split_once(' ').expect("two numbers");
    Duration::from_secs_f64(seconds.parse().expect("a number"))
}

/// Suspends the machine until an alarm of its clock, which counts whole seconds; the
/// kernel's admin-guide/pm/sleep-states.rst and admin-guide/rtc.rst. The error is the
/// kernel's, which may not suspend it.
fn suspend_for(seconds: u64) -> io::Result<()> {
    let (before, awake) = (since_boot(), Instant::now());
    let alarm = format!("+{seconds}");
    for (file, word) in [
        ("/sys/power/mem_sleep", "deep"),
        // One that there is has to be taken back.
        ("/sys/class/rtc/rtc0/wakealarm", "0"),
        ("/sys/class/rtc/rtc0/wakealarm", &alarm),
    ] {
        fs::write(file, word).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    // It is written once the machine is awake again.
    fs::write("/sys/power/state", "mem")?;
    let slept = (since_boot() - before).saturating_sub(awake.elapsed());
    println!("the machine slept {slept:?}");
    assert!(slept >= Duration::from_secs(seconds - 2), "{slept:?}");
    Ok(())
}

/// More than what may have been on its way.
fn goes_on(started: &Started) {
    let before = started.said().len();
    wait_until("it to go on", || {
        (started.said().len() > before + 10).then_some(())
    });
}

fn is_stopped(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// How often a task gave its processor up or lost it; proc_pid_status(5).
fn switches(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a task");
    let (_, switches) = status.split_once("voluntary_ctxt").expect("its switches");
    switches.to_owned()
}

#[test]
fn times_stand_still_with_the_machine_and_paused_jars_stay_paused() {
    if !need(Need::Sleep) {
        return;
    }
    let awake = Instant::now();
    let spread = || jar().guest("spread", [] as [&str; 0]);
    let paused = [spread().start(), spread().start()];
    let stopped = jar()
        .flags(["--grace", "12s"])
        .shell("trap 'echo asked' TERM; while :; do echo on; sleep 0.1; done")
        .start();
    paused.iter().chain([&stopped]).for_each(goes_on);
    for started in &paused {
        started.signal(Signal::TSTP);
        wait_until("it to stop", || is_stopped(started.pid()).then_some(()));
    }
    let limited = spread().preset("strict").flags(["--wall", "12s"]).start();
    goes_on(&limited);
    stopped.signal(Signal::TERM);
    stopped.wait_for("asked");

    // Longer than either has left.
    suspend_for(16).expect("it sleeps");
    goes_on(&stopped);
    goes_on(&limited);
    for started in &paused {
        assert!(is_stopped(started.pid()));
        let before = switches(started.guest());
        sleep(Duration::from_millis(400));
        assert_eq!(switches(started.guest()), before);
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
    let by_signal = |grace_used| Outcome::Stopped {
        by: StoppedBy::Signal(15),
        grace_used,
    };
    let ends = [
        (goes.end(), by_signal(false)),
        (stopped.end(), by_signal(true)),
        (limited.end(), Outcome::Limit { limit: Limit::Wall }),
    ];
    for (ended, outcome) in &ends {
        assert_eq!(ended.outcome(), outcome, "{ended:#?}");
        let usage = &ended.report().usage;
        for figure in [usage.wall_ns, usage.paused_ns] {
            let figure = Duration::from_nanos(figure.expect("a time"));
            assert!(figure <= awake.elapsed(), "{ended:#?}");
        }
    }
    let [.., (limited, _)] = ends;
    assert!(limited.report().usage.wall_ns >= Some(12_000_000_000));
}

/// Who waits for an answer of the supervisor can be killed then, and not frozen.
#[test]
fn a_connect_that_waits_keeps_the_machine_awake_until_it_ends() {
    if !need(Need::Sleep) || !need(Need::Python) {
        return;
    }
    let script = "
import socket, time
full = socket.socket(socket.AF_UNIX); full.bind('/tmp/full'); full.listen(0)
socket.socket(socket.AF_UNIX).connect('/tmp/full')
print('full', flush=True)
time.sleep(1)
socket.socket(socket.AF_UNIX).connect('/tmp/full')
";
    let room = tempfile::tempdir().expect("a directory");
    let started = jar()
        .flags(["--read".as_ref(), room.path().as_os_str()])
        .program(["/usr/bin/python3", "-c", script])
        .start();
    started.wait_for("full");
    sleep(Duration::from_millis(500));
    wait_until("the other connect", || {
        let threads = fs::read_dir(format!("/proc/{}/task", started.pid())).ok()?;
        let names = threads.flatten().map(|task| task.path().join("comm"));
        names
            .filter_map(|name| fs::read_to_string(name).ok())
            .find(|name| name == "belljar-connect\n")
    });
    // Milliseconds, instead of 20 seconds.
    let timeout = "/sys/power/pm_freeze_timeout";
    let before = fs::read_to_string(timeout).expect("a setting");
    fs::write(timeout, "2000").expect("a setting");
    let refused = suspend_for(10).expect_err("it slept");
    fs::write(timeout, before).expect("a setting");
    assert_eq!(refused.kind(), ErrorKind::ResourceBusy);
    started.signal(Signal::TERM);
    let ended = started.end();
    assert_eq!(ended.status.code(), Some(143), "{ended:#?}");
    suspend_for(10).expect("it sleeps");
}
