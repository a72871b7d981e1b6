//! Endings that only a host of the library can bring about: what it planned is not there
//! any more when it launches, and it ends a jar itself. This process launches jars, so it
//! has this binary for itself, and its tests take turns.
#![cfg(target_os = "linux")]

#[path = "endings/told.rs"]
mod told;

use std::{
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use belljar::{
    Jar, LaunchError, Policy, Report, Running, Stdio, StoppedBy,
    policy::{UnixPath, manifest::Place},
};
use belljar_tests::{guest, is_root};
use tokio::io::AsyncReadExt;

use told::{hit, outcome};

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async {
            tokio::time::timeout(Duration::from_secs(90), future)
                .await
                .expect("it ends")
        })
}

/// Outcome, and symptoms. No limit is hit, and nobody but `ready` is heard.
fn assert_told(name: &str, report: &Report, expected: (&str, &[&str])) {
    let hits: Vec<String> = report.limits_hit.iter().map(hit).collect();
    let symptoms: Vec<&str> = report.symptoms.iter().map(String::as_str).collect();
    let outcome = outcome(&report.outcome);
    let told: (&str, &[&str]) = (&outcome, &symptoms);
    assert_eq!(told, expected, "{name}");
    assert_eq!(hits, [""; 0], "{name}");
    assert_eq!(report.usage.stderr, 0, "{name}");
}

const LONG: Duration = Duration::from_secs(60);

/// A guest, what the host does once it has said `ready`, and what is told of it.
struct Row {
    name: &'static str,
    words: &'static [&'static str],
    does: fn(&Running),
    outcome: &'static str,
    symptoms: &'static [&'static str],
}

const DEAF: &[&str] = &["ignore_signals", "60"];

const ROWS: &[Row] = &[
    Row {
        name: "the host kills it",
        words: DEAF,
        does: Running::kill,
        outcome: "stopped by the host, by force",
        symptoms: &[],
    },
    Row {
        name: "the host asks it to end, and it does",
        words: &["catch_signal", "15"],
        does: |jar| jar.stop(StoppedBy::Host, 15, LONG),
        outcome: "stopped by the host",
        symptoms: &["main process exited 7"],
    },
    Row {
        name: "the host asks it to end by SIGKILL",
        words: DEAF,
        does: |jar| jar.stop(StoppedBy::Host, 9, LONG),
        outcome: "stopped by the host",
        symptoms: &["oom_kill?", "main process ended by KILL"],
    },
    Row {
        name: "the host gives it no time",
        words: &["catch_signal", "15"],
        does: |jar| jar.stop(StoppedBy::Host, 15, Duration::ZERO),
        outcome: "stopped by the host, by force",
        symptoms: &[],
    },
    Row {
        name: "the host gives it too little time",
        words: DEAF,
        does: |jar| jar.stop(StoppedBy::Host, 15, Duration::from_millis(200)),
        outcome: "stopped by the host, by force",
        symptoms: &[],
    },
    Row {
        name: "the host kills it after the operator has asked",
        words: DEAF,
        does: |jar| {
            jar.stop(StoppedBy::Operator, 15, LONG);
            jar.kill();
        },
        outcome: "stopped by the operator, by force",
        symptoms: &["then a stop by host"],
    },
    Row {
        name: "the host signals it, which is no stop",
        words: &["catch_signal", "15"],
        does: |jar| jar.signal(15),
        outcome: "exited 7",
        symptoms: &[],
    },
    Row {
        name: "the host kills it by a signal, which is no stop",
        words: DEAF,
        does: |jar| jar.signal(9),
        outcome: "signaled 9 KILL",
        symptoms: &["oom_kill?"],
    },
];

#[test]
fn what_a_host_does_to_a_jar_is_told_as_that() {
    let _turn = turn();
    block_on(async {
        for row in ROWS {
            let mut running = Jar::program(guest())
                .args(row.words)
                .stdout(Stdio::piped())
                .launch()
                .await
                .expect("a jar");
            let mut said = [0; 6];
            let mut stdout = running.stdout().expect("it is piped");
            stdout.read_exact(&mut said).await.expect("a word");
            assert_eq!(&said, b"ready\n");
            (row.does)(&running);
            let report = running.wait().await;
            assert_told(row.name, &report, (row.outcome, row.symptoms));
            assert_eq!(report.usage.stdout, 6, "{}", row.name);
        }
    });
}

#[test]
fn a_jar_that_is_killed_as_it_begins_has_one_ending() {
    let _turn = turn();
    block_on(async {
        for _ in 0..20 {
            let mut running = Jar::program(guest())
                .args(DEAF)
                .launch()
                .await
                .expect("a jar");
            running.kill();
            let report = running.wait().await;
            assert_told(
                "killed at once",
                &report,
                ("stopped by the host, by force", &[]),
            );
        }
    });
}

fn place(path: &Path) -> Place {
    Place {
        path: UnixPath::new(path.to_str().expect("text")).expect("a path"),
        at: None,
    }
}

/// What comes of a launch when something of its plan has gone meanwhile.
fn after(policy: Policy, program: &Path, goes: impl FnOnce()) -> Report {
    let prepared = Jar::program(program)
        .args(["exit", "0"])
        .policy(policy)
        .prepare()
        .expect("a plan");
    goes();
    match block_on(prepared.start().output()) {
        Err(LaunchError::Ended { report }) => *report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_goes_between_plan_and_launch_fails_the_set_up_by_its_step() {
    let _turn = turn();
    // Not below /tmp, which a jar has of its own.
    let room = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let [granted, below, program, other] =
        ["granted", "granted/below", "program", "other"].map(|name| room.path().join(name));
    let made = || {
        fs::create_dir_all(&below).expect("directories");
        let mut policy = Policy::default();
        policy.flags.read.push(place(&granted));
        policy
    };
    let copied = |to: &Path| {
        fs::copy(guest(), to).expect("a copy");
    };
    // Root's supervisor opens what it grants; a user's jar binds it.
    let place_of_grants = if is_root() { "open" } else { "bind" };
    let assert_failed = |name: &str, report: &Report, step: &str, errno: i32| {
        let expected = format!("setup_failed {step} {errno}");
        assert_told(name, report, (&expected, &[]));
        assert_eq!(report.usage.stdout, 0, "{name}");
    };
    const ENOENT: i32 = 2;
    const ESTALE: i32 = 116;

    let report = after(made(), guest(), || {
        fs::remove_dir_all(&granted).expect("it goes");
    });
    assert_failed("a grant goes", &report, place_of_grants, ENOENT);

    let mut policy = made();
    policy.flags.workdir = Some(place(&below).path);
    let report = after(policy, guest(), || {
        fs::remove_dir(&below).expect("it goes");
    });
    assert_failed("the working directory goes", &report, "workdir", ENOENT);

    copied(&program);
    let report = after(Policy::default(), &program, || {
        fs::remove_file(&program).expect("it goes");
    });
    assert_failed("the program goes", &report, place_of_grants, ENOENT);

    copied(&program);
    // Beside the first, so that it is another file.
    copied(&other);
    let report = after(Policy::default(), &program, || {
        fs::rename(&other, &program).expect("it takes its place");
    });
    assert_failed("the program is another", &report, place_of_grants, ESTALE);
}
