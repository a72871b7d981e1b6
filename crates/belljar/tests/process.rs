//! What concerns the whole process: descriptors, the launcher's death, a fork
//! of the host, a parked child. One test, since each part would disturb others.
#![cfg(target_os = "linux")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use belljar::{Jar, Outcome, Parking, set_parking};

fn sh(script: &str) -> Jar {
    Jar::program("/bin/sh").args(["-c", script])
}

fn on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The process whose parent we are: the launcher.
fn launcher() -> i32 {
    let mut found = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let list = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap();
        found.extend(
            list.split_whitespace()
                .map(|pid| pid.parse::<i32>().unwrap()),
        );
    }
    assert_eq!(found.len(), 1, "one launcher, and nothing else: {found:?}");
    found[0]
}

fn run(jar: Jar) -> Outcome {
    on(async { jar.launch().await.unwrap().wait().await.outcome })
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn one_process_s_jars_leave_nothing_and_survive_the_launcher_s_death_and_a_fork() {
    if let Err(error) = on(Jar::program("true").output()) {
        let said = std::env::var("BELLJAR_TEST_HAS").unwrap_or_default();
        assert!(!said.split(',').any(|word| word == "userns"), "{error:?}");
        eprintln!("skipped: {error}");
        return;
    }
    let before = descriptors();
    for _ in 0..20 {
        assert_eq!(run(sh("exit 1")), Outcome::Exited { code: 1 });
    }
    // The first jar's may still have been there when they were counted.
    until("no descriptor is left", || descriptors() <= before);

    // A parked child is used, and makes no difference but for time.
    set_parking(Parking::One);
    for code in 0..10 {
        assert_eq!(run(sh(&format!("exit {code}"))), Outcome::Exited { code });
    }
    set_parking(Parking::None);
    assert_eq!(run(sh("exit 1")), Outcome::Exited { code: 1 });

    // The launcher's death ends every jar as lost, and the next one gets a new launcher.
    let old = launcher();
    let (outcome, init) = on(async {
        let mut running = sh("sleep 1000").launch().await.unwrap();
        let init = running.pid();
        let pid = rustix::process::Pid::from_raw(old).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        (running.wait().await.outcome, init)
    });
    assert_eq!(outcome, Outcome::Lost);
    until("the jar is gone with its launcher", || {
        !Path::new(&format!("/proc/{init}")).exists()
    });
    assert_eq!(run(sh("exit 2")), Outcome::Exited { code: 2 });
    assert_ne!(launcher(), old);

    // A fork of the host has a thread and a launcher of its own.
    // SAFETY: what the child does is what the test is about; it never returns
    // to the test's harness.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let outcome = run(sh("exit 7"));
        std::process::exit(i32::from(outcome != Outcome::Exited { code: 7 }));
    }
    let mut status = 0;
    // SAFETY: `child` is a child of ours, and `status` an int of ours.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
    assert_eq!(run(sh("exit 3")), Outcome::Exited { code: 3 });
}
