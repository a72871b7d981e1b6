//! The library against the real launcher: endings, limits, streams, faults.
//!
//! Needs what a jar needs (user namespaces); where `BELLJAR_TEST_HAS` names
//! `userns`, a machine that refuses them fails these tests.
#![cfg(target_os = "linux")]

use std::{
    io::{Read as _, Seek as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
    sync::OnceLock,
    time::{Duration, Instant},
};

use belljar::{
    Jar, LaunchError, Limit, Outcome, Policy, Report, ReportTo, Stdio, StoppedBy, Strength,
    event::{Termination, What},
    policy::manifest::Bound,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Jars can be launched here. Where not, and nobody said so, a test has nothing to test.
fn jars() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| match on(Jar::program("true").output()) {
        Ok(_) => true,
        Err(error) => {
            let said = std::env::var("BELLJAR_TEST_HAS").unwrap_or_default();
            assert!(!said.split(',').any(|word| word == "userns"), "{error:?}");
            eprintln!("skipped: {error}");
            false
        }
    })
}

macro_rules! need_jars {
    () => {
        if !jars() {
            return;
        }
    };
}

fn sh(script: &str) -> Jar {
    Jar::program("/bin/sh").args(["-c", script])
}

fn limited(limits: &[(Limit, Option<u64>, u64)]) -> Policy {
    let mut policy = Policy::default();
    for (limit, soft, hard) in limits {
        let bound = Bound {
            soft: *soft,
            hard: Some(*hard),
            stop: false,
        };
        policy.flags.limits.insert(*limit, bound);
    }
    policy
}

fn outcome(jar: Jar) -> Report {
    on(async { jar.launch().await.unwrap().wait().await })
}

fn alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_program_reads_and_answers_through_pipes() {
    need_jars!();
    on(async {
        let mut running = Jar::program("wc")
            .arg("-c")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .launch()
            .await
            .unwrap();
        let mut stdin = running.stdin().unwrap();
        let mut stdout = running.stdout().unwrap();
        let writer = tokio::spawn(async move {
            stdin.write_all(&vec![b'x'; 1_000_000]).await.unwrap();
        });
        let mut answer = String::new();
        stdout.read_to_string(&mut answer).await.unwrap();
        writer.await.unwrap();
        assert_eq!(answer.trim(), "1000000");
        let report = running.wait().await;
        assert_eq!(report.outcome, Outcome::Exited { code: 0 });
        assert_eq!(report.usage.stdout, 8);
        assert_eq!(running.wait().await, report, "the same report each time");
    });
}

#[test]
fn endings_by_itself_are_told_as_they_are() {
    need_jars!();
    for (script, expected) in [
        ("exit 3", Outcome::Exited { code: 3 }),
        ("exit 137", Outcome::Exited { code: 137 }),
        (
            "kill -9 $$",
            Outcome::Signaled {
                signal: 9,
                name: "KILL".into(),
                core: false,
            },
        ),
        (
            "kill -TERM $$",
            Outcome::Signaled {
                signal: 15,
                name: "TERM".into(),
                core: false,
            },
        ),
    ] {
        assert_eq!(outcome(sh(script)).outcome, expected, "{script}");
    }
}

#[test]
fn every_rule_with_a_mechanism_is_applied_in_a_jar_that_runs() {
    need_jars!();
    let report = outcome(Jar::program("true"));
    for rule in &report.enforcement {
        assert_eq!(rule.applied, rule.planned.strength, "{rule:?}");
    }
    assert!(
        report
            .enforcement
            .iter()
            .any(|rule| rule.applied == Strength::Kernel)
    );
    assert!(report.symptoms.is_empty(), "{:?}", report.symptoms);
}

#[test]
fn the_wall_ends_a_jar_and_all_that_it_started() {
    need_jars!();
    let begun = Instant::now();
    let report = outcome(
        sh("(setsid sleep 1000 &) ; trap '' TERM HUP INT; sleep 1000").policy(limited(&[(
            Limit::Wall,
            None,
            SECOND / 2,
        )])),
    );
    assert_eq!(report.outcome, Outcome::Limit { limit: Limit::Wall });
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn processor_time_of_all_tasks_counts_and_ends_the_jar() {
    need_jars!();
    let report = outcome(
        sh("for i in 1 2 3; do (while :; do :; done) & done; wait").policy(limited(&[(
            Limit::CpuTime,
            Some(SECOND / 10),
            SECOND / 2,
        )])),
    );
    assert_eq!(
        report.outcome,
        Outcome::Limit {
            limit: Limit::CpuTime
        }
    );
    let used = report.usage.user_ns.unwrap() + report.usage.system_ns.unwrap();
    // An emulated processor that others want too is looked at seconds late.
    assert!(used > SECOND / 2 && used < 10 * SECOND, "{used}");
    assert_eq!(report.limits_hit.len(), 2, "{:?}", report.limits_hit);
}

#[test]
fn memory_over_the_limit_ends_the_jar() {
    need_jars!();
    let report = outcome(
        sh("head -c 250000000 /dev/zero | tail; sleep 10").policy(limited(&[(
            Limit::Memory,
            None,
            64 << 20,
        )])),
    );
    assert_eq!(
        report.outcome,
        Outcome::Limit {
            limit: Limit::Memory
        },
        "{report:?}"
    );
    assert!(report.usage.memory_peak.unwrap() > 60 << 20);
}

#[test]
fn memory_cannot_hide_behind_a_first_thread_that_has_ended() {
    need_jars!();
    let script = "\
import ctypes, os, threading, time
def grow():
    kept = []
    while True:
        kept.append(bytearray(8 << 20))
        time.sleep(0.02)
threading.Thread(target=grow).start()
ctypes.CDLL(None).syscall(60 if os.uname().machine == 'x86_64' else 93, 0)
";
    let policy = limited(&[
        (Limit::Memory, None, 128 << 20),
        (Limit::Wall, None, 20 * SECOND),
    ]);
    let python = Jar::program("python3").args(["-c", script]).policy(policy);
    let report = match on(python.launch()) {
        Ok(mut running) => on(running.wait()),
        Err(error) => {
            eprintln!("skipped: {error}");
            return;
        }
    };
    assert_eq!(
        report.outcome,
        Outcome::Limit {
            limit: Limit::Memory
        }
    );
}

#[test]
fn output_is_delivered_to_the_last_byte_of_the_limit_and_no_further() {
    need_jars!();
    let policy = limited(&[(Limit::Output, Some(10), 1000)]);
    for script in ["head -c 1001 /dev/zero", "cat /dev/zero"] {
        let output = on(sh(script).policy(policy.clone()).output()).unwrap();
        assert_eq!(
            output.report.outcome,
            Outcome::Limit {
                limit: Limit::Output
            }
        );
        assert_eq!(output.stdout.len(), 1000);
    }
    let output = on(sh("head -c 1000 /dev/zero").policy(policy).output()).unwrap();
    assert_eq!(output.report.outcome, Outcome::Exited { code: 0 });
}

#[test]
fn output_that_nobody_has_read_yet_counts() {
    need_jars!();
    on(async {
        let mut running = sh("head -c 3000 /dev/zero")
            .policy(limited(&[(Limit::Output, None, 1000)]))
            .stdout(Stdio::piped())
            .launch()
            .await
            .unwrap();
        let stdout = running.stdout();
        let report = running.wait().await;
        assert_eq!(report.usage.stdout, 3000);
        assert_eq!(
            report.outcome,
            Outcome::Limit {
                limit: Limit::Output
            }
        );
        drop(stdout);
    });
}

#[test]
fn a_soft_limit_is_an_event_and_ends_nothing() {
    need_jars!();
    on(async {
        let mut running = sh("sleep 0.3")
            .policy(limited(&[(Limit::Wall, Some(SECOND / 10), 20 * SECOND)]))
            .launch()
            .await
            .unwrap();
        let mut events = running.events().unwrap();
        let event = events.next().await.unwrap();
        let What::Limit(hit) = event.what else {
            panic!("{event:?}");
        };
        assert_eq!((event.id, event.jar.as_str()), (1, running.id()));
        assert_eq!(hit.limit, Limit::Wall);
        let report = running.wait().await;
        assert_eq!(report.outcome, Outcome::Exited { code: 0 });
        assert_eq!(report.limits_hit, [hit]);
        let mut last = events.next().await.unwrap();
        while let What::Pressure { .. } = last.what {
            // What a busy machine has in store for any jar.
            last = events.next().await.unwrap();
        }
        let What::Terminated(termination) = last.what else {
            panic!("{last:?}");
        };
        assert_eq!(*termination, Termination::of(&report));
        assert_eq!(events.next().await, None);
    });
}

#[test]
fn a_stop_is_obeyed_or_the_grace_ends_it() {
    need_jars!();
    for (script, grace_used) in [
        ("exec sleep 1000", false),
        ("trap '' TERM; echo; sleep 1000 & wait; sleep 1000", true),
    ] {
        let report = on(async {
            let mut running = sh(&format!("echo ready; {script}"))
                .stdout(Stdio::piped())
                .launch()
                .await
                .unwrap();
            let mut byte = [0; 7];
            let length = if grace_used { 7 } else { 6 };
            let mut stdout = running.stdout().unwrap();
            stdout.read_exact(&mut byte[..length]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            running.stop(StoppedBy::Signal(15), 15, Duration::from_millis(300));
            running.wait().await
        });
        assert_eq!(
            report.outcome,
            Outcome::Stopped {
                by: StoppedBy::Signal(15),
                grace_used
            }
        );
    }
}

#[test]
fn a_second_stop_destroys_the_jar_at_once() {
    need_jars!();
    let begun = Instant::now();
    let report = on(async {
        let mut running = sh("trap '' TERM; sleep 1000").launch().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        running.stop(StoppedBy::Host, 15, Duration::from_secs(1000));
        running.stop(StoppedBy::Operator, 15, Duration::from_secs(1000));
        running.wait().await
    });
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(
        report.outcome,
        Outcome::Stopped {
            by: StoppedBy::Host,
            grace_used: true
        }
    );
}

#[test]
fn a_jar_that_is_dropped_is_gone() {
    need_jars!();
    let pid = on(async {
        let running = sh("sleep 1000").launch().await.unwrap();
        running.pid()
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    while alive(pid) {
        assert!(Instant::now() < deadline, "pid 1 still lives");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_report_file_says_lost_until_the_end_and_then_the_truth() {
    need_jars!();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.json");
    let read = || serde_json::from_slice::<Report>(&std::fs::read(&path).unwrap()).unwrap();
    let report = on(async {
        let mut running = sh("sleep 0.2; exit 4")
            .task("mine")
            .report_to(ReportTo::File(path.clone()))
            .launch()
            .await
            .unwrap();
        assert_eq!(read().outcome, Outcome::Lost);
        assert_eq!(read().jar, running.id());
        running.wait().await
    });
    assert_eq!(report.outcome, Outcome::Exited { code: 4 });
    assert_eq!(report.task.as_deref(), Some("mine"));
    assert_eq!(read(), report);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_report_that_cannot_be_written_stops_the_launch_before_it_begins() {
    need_jars!();
    let missing = Path::new("/nowhere/at/all/report.json").to_owned();
    let result = on(Jar::program("true")
        .report_to(ReportTo::File(missing))
        .launch());
    assert!(
        matches!(result, Err(LaunchError::Report { .. })),
        "{result:?}"
    );
}

#[test]
fn a_report_descriptor_is_written_once_at_the_end() {
    need_jars!();
    let mut file = tempfile::tempfile().unwrap();
    let to = ReportTo::Descriptor(OwnedFd::from(file.try_clone().unwrap()));
    let report = outcome(Jar::program("true").report_to(to));
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}

#[test]
fn what_is_not_there_or_no_program_is_told_with_a_report() {
    need_jars!();
    let ended = |jar: Jar| match on(jar.launch()) {
        Err(LaunchError::Ended { report }) => report.outcome,
        other => panic!("{other:?}"),
    };
    assert!(matches!(
        ended(Jar::program("no-such-program-anywhere")),
        Outcome::NotFound { .. }
    ));
    assert!(matches!(
        ended(Jar::program("/etc/passwd")),
        Outcome::NotRunnable { .. }
    ));
}

#[test]
fn a_relay_copies_both_ways_and_closes_what_breaks() {
    need_jars!();
    let mut source = tempfile::tempfile().unwrap();
    source.write_all(b"one two\n").unwrap();
    source.rewind().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let report = outcome(
        Jar::program("cat")
            .stdin(Stdio::relay(source.into()))
            .stdout(Stdio::relay(writer.into())),
    );
    assert_eq!(report.outcome, Outcome::Exited { code: 0 });
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one two\n");

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let report = outcome(
        sh("while echo x; do :; done 2>/dev/null; exit 5").stdout(Stdio::relay(writer.into())),
    );
    assert!(
        matches!(
            report.outcome,
            Outcome::Signaled { signal: 13, .. } | Outcome::Exited { code: 5 }
        ),
        "{:?}",
        report.outcome
    );
}

#[test]
fn a_full_target_does_not_hold_up_a_jar_that_was_ended() {
    need_jars!();
    let (_reader, writer) = std::io::pipe().unwrap();
    let begun = Instant::now();
    let report = outcome(
        Jar::program("cat")
            .arg("/dev/zero")
            .policy(limited(&[(Limit::Wall, None, SECOND / 5)]))
            .stdout(Stdio::relay(writer.into())),
    );
    assert_eq!(report.outcome, Outcome::Limit { limit: Limit::Wall });
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(report.symptoms, ["stdout not delivered: nobody reads it"]);
}

/// An executor that knows nothing of tokio.
fn without_runtime<T>(future: impl Future<Output = T>) -> T {
    use std::task::{Context, Poll, Wake, Waker};
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn no_runtime_is_needed() {
    need_jars!();
    let output = without_runtime(sh("cat; echo answer").output()).unwrap();
    assert_eq!(output.stdout, b"answer\n");
    assert_eq!(output.report.outcome, Outcome::Exited { code: 0 });
}

#[test]
fn many_jars_at_once_end_each_by_itself() {
    need_jars!();
    on(async {
        let jars = (0..16_u8).map(|code| {
            tokio::spawn(async move {
                let mut running = sh(&format!("sleep 0.1; exit {code}"))
                    .launch()
                    .await
                    .unwrap();
                (code, running.wait().await.outcome)
            })
        });
        for jar in jars.collect::<Vec<_>>() {
            let (code, outcome) = jar.await.unwrap();
            assert_eq!(outcome, Outcome::Exited { code });
        }
    });
}

#[test]
fn a_granted_directory_that_grows_over_the_limit_ends_the_jar() {
    use belljar::policy::{UnixPath, manifest::Place};
    need_jars!();
    let directory = tempfile::tempdir().unwrap();
    let path = UnixPath::new(directory.path().canonicalize().unwrap().to_str().unwrap()).unwrap();
    let mut policy = limited(&[(Limit::Disk, None, 1 << 20)]);
    policy.flags.write.push(Place {
        path: path.clone(),
        at: None,
    });
    let script = format!("head -c 4000000 /dev/zero > {path}/big && sleep 60");
    let report = outcome(sh(&script).policy(policy.clone()));
    assert_eq!(report.outcome, Outcome::Limit { limit: Limit::Disk });
    assert!(report.usage.disk_peak.unwrap() >= 4_000_000);
    // What was there before is not the guest's.
    let report = outcome(sh(&format!("echo x > {path}/small")).policy(policy));
    assert_eq!(report.outcome, Outcome::Exited { code: 0 });
    assert!(report.limits_hit.is_empty(), "{:?}", report.limits_hit);
}

#[test]
fn a_jar_s_terminal_is_a_terminal_and_its_output_counts() {
    need_jars!();
    on(async {
        let mut policy = Policy::default();
        policy.flags.terminal = Some((24, 80));
        let mut running = sh("test -t 0 && test -t 1 && stty size; read line; echo \"<$line>\"")
            .policy(policy)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .launch()
            .await
            .unwrap();
        let mut terminal = running.terminal().unwrap();
        let mut text = String::new();
        terminal.write_all(b"typed\n").await.unwrap();
        terminal.read_to_string(&mut text).await.unwrap();
        assert!(
            text.contains("24 80") && text.contains("<typed>"),
            "{text:?}"
        );
        let report = running.wait().await;
        assert_eq!(report.outcome, Outcome::Exited { code: 0 });
        assert_eq!(report.usage.stdout, text.len() as u64);
    });
}

#[test]
fn what_is_prepared_once_runs_many_times_and_side_by_side() {
    need_jars!();
    let prepared = sh("read line; echo got $line").prepare().unwrap();
    on(async {
        let mut jars = Vec::new();
        for number in 0..4 {
            let mut running = prepared
                .start()
                .task(format!("task {number}"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .launch()
                .await
                .unwrap();
            assert_eq!(running.plan(), prepared.plan());
            let mut stdin = running.stdin().unwrap();
            stdin
                .write_all(format!("{number}\n").as_bytes())
                .await
                .unwrap();
            jars.push(running);
        }
        for (number, mut running) in jars.into_iter().enumerate() {
            let mut said = String::new();
            let mut stdout = running.stdout().unwrap();
            stdout.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, format!("got {number}\n"));
            let report = running.wait().await;
            assert_eq!(report.outcome, Outcome::Exited { code: 0 });
            assert_eq!(report.task, Some(format!("task {number}")));
        }
    });
}

#[test]
fn a_program_replaced_after_it_was_prepared_never_runs() {
    need_jars!();
    // Not below /tmp, which a jar has of its own.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let program = directory.path().join("program");
    std::fs::copy("/bin/true", &program).unwrap();
    let prepared = Jar::program(&program).prepare().unwrap();
    let first = on(prepared.start().output()).unwrap();
    assert_eq!(first.report.outcome, Outcome::Exited { code: 0 });

    let other = directory.path().join("other");
    std::fs::copy("/bin/false", &other).unwrap();
    std::fs::rename(&other, &program).unwrap();
    match on(prepared.start().output()) {
        Err(LaunchError::Ended { report }) => {
            assert!(
                matches!(report.outcome, Outcome::SetupFailed { .. }),
                "{:?}",
                report.outcome
            );
        }
        other => panic!("{other:?}"),
    }
}
