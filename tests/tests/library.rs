//! The library in a host of many threads. This process counts its own children
//! and kills its own launcher, so it has this binary for itself, and its tests
//! take turns.
#![cfg(target_os = "linux")]

use std::{
    fs::File,
    net::TcpListener,
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use belljar::{
    Jar, Limit, Outcome, Policy, Preset, Running, Stdio, StoppedBy, policy::policy::Format,
};
use belljar_tests::{Need, Plugin, alive, children, descendants, guest, kill, need, wait_until};
use rustix::process::Signal;
use tokio::{io::AsyncReadExt, task::JoinSet};

/// One test at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn on_threads<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

fn guest_jar(preset: Preset, words: &[&str]) -> Jar {
    let mut policy = Policy::default();
    policy.flags.preset = Some(preset);
    Jar::program(guest()).args(words).policy(policy)
}

async fn ready(preset: Preset) -> Running {
    let mut running = guest_jar(preset, &["ignore_signals", "60"])
        .stdout(Stdio::piped())
        .launch()
        .await
        .expect("a jar");
    let mut said = [0; 5];
    let mut stdout = running.stdout().expect("it is piped");
    stdout.read_exact(&mut said).await.expect("a word");
    assert_eq!(&said, b"ready");
    running
}

/// Children that live: where the harness made this process a subreaper, it
/// gets what a killed launcher leaves, ended.
fn living() -> Vec<i32> {
    let all = children(std::process::id() as i32);
    all.into_iter().filter(|pid| alive(*pid)).collect()
}

fn launcher() -> i32 {
    let all = living();
    assert_eq!(all.len(), 1, "one launcher per host: {all:?}");
    all[0]
}

#[test]
fn grant_that_goes_between_plan_and_launch_is_skipped_with_its_rule() {
    // Root's supervisor opens what it grants, before there is a jar to do without.
    if !need(Need::User) {
        return;
    }
    let _turn = turn();
    let room = tempfile::tempdir().expect("a directory");
    let going = room.path().join("going");
    std::fs::create_dir(&going).expect("a directory");
    let path = going.display();
    let plugin = Plugin::new(&format!(
        "[filesystem]\nread = [{{ path = '{path}', optional = true }}]"
    ));
    let policy = format!("[filesystem]\nread = ['{path}']");
    let policy = Policy::parse(&policy, Format::Toml, "p", None).expect("a policy");
    let prepared = Jar::plugin(plugin.path())
        .args(["echo", "ran"])
        .policy(policy)
        .prepare()
        .expect("a plan");
    std::fs::remove_dir(&going).expect("it goes");
    let output = on_threads(prepared.start().output()).expect("a jar");
    assert_eq!(output.stdout, b"ran");
    let [dropped] = output.report.dropped.as_slice() else {
        panic!("{:?}", output.report.dropped);
    };
    assert!(dropped.request.starts_with("bind "), "{dropped:?}");
}

#[test]
fn fifty_jars_at_once_have_one_launcher_and_end_each_by_itself() {
    let _turn = turn();
    on_threads(async {
        let mut set = JoinSet::new();
        for number in 0..50_u8 {
            set.spawn(async move {
                let preset = if number % 2 == 0 {
                    Preset::Standard
                } else {
                    Preset::Strict
                };
                let code = number.to_string();
                let output = guest_jar(preset, &["exit", &code])
                    .output()
                    .await
                    .expect("a jar");
                assert_eq!(output.report.outcome, Outcome::Exited { code: number });
            });
        }
        while let Some(done) = set.join_next().await {
            done.expect("no panic");
        }
    });
    let left = descendants(launcher());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn dropping_a_running_jar_kills_all_of_it() {
    let _turn = turn();
    on_threads(async {
        for preset in [Preset::Standard, Preset::Strict] {
            let running = ready(preset).await;
            let first = running.pid();
            let below = descendants(first);
            assert!(!below.is_empty());
            drop(running);
            wait_until("their end", || {
                (!alive(first) && below.iter().all(|pid| !alive(*pid))).then_some(())
            });
        }
    });
}

#[test]
fn killed_launcher_is_lost_and_the_next_jar_has_a_new_one() {
    let _turn = turn();
    on_threads(async {
        let mut running = ready(Preset::Standard).await;
        let mut other = ready(Preset::Strict).await;
        let old = launcher();
        let below = descendants(old);
        kill(old, Signal::KILL);
        assert_eq!(running.wait().await.outcome, Outcome::Lost);
        assert_eq!(other.wait().await.outcome, Outcome::Lost);
        wait_until("their end", || {
            below.iter().all(|pid| !alive(*pid)).then_some(())
        });
        let output = guest_jar(Preset::Standard, &["exit", "7"])
            .output()
            .await
            .expect("a jar");
        assert_eq!(output.report.outcome, Outcome::Exited { code: 7 });
        wait_until("the old one to be gone", || {
            (living().len() == 1).then_some(())
        });
        assert_ne!(launcher(), old);
    });
}

#[test]
fn thread_that_launches_may_end_before_its_jar() {
    let _turn = turn();
    let mut running = std::thread::spawn(|| on_threads(ready(Preset::Standard)))
        .join()
        .expect("a thread");
    std::thread::sleep(Duration::from_millis(200));
    let first = running.pid();
    assert!(alive(first), "the parent-death signal is the thread's");
    on_threads(async {
        running.stop(StoppedBy::Host, 15, Duration::from_millis(100));
        let report = running.wait().await;
        assert_eq!(
            report.outcome,
            Outcome::Stopped {
                by: StoppedBy::Host,
                grace_used: true
            }
        );
        assert_eq!(report.outcome.exit_status(), 137);
    });
}

#[test]
fn descriptors_of_the_host_do_not_reach_a_jar() {
    let _turn = turn();
    let room = tempfile::tempdir().expect("a directory");
    std::fs::write(room.path().join("canary"), "sings").expect("a canary");
    let directory = File::open(room.path()).expect("it");
    // Not close-on-exec, as a host in C may leave it.
    rustix::io::fcntl_setfd(&directory, rustix::io::FdFlags::empty()).expect("a flag");
    on_threads(async {
        for preset in [Preset::Standard, Preset::Strict] {
            let output = guest_jar(preset, &["find_descriptors", "canary"])
                .output()
                .await
                .expect("a jar");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.starts_with("stopped: "), "{said}");
        }
    });
    // The control: a program that this host starts itself has it.
    assert!(directory.as_raw_fd() > 2);
    let control = Command::new(guest())
        .args(["find_descriptors", "canary"])
        .output()
        .expect("a guest");
    assert_eq!(control.status.code(), Some(42), "{control:?}");
}

#[test]
fn jars_of_many_threads_keep_their_limits_while_the_host_is_busy() {
    let _turn = turn();
    on_threads(async {
        let mut policy = Policy::default();
        policy.flags.limits.insert(
            Limit::Wall,
            belljar::policy::manifest::Bound {
                hard: Some(300_000_000),
                ..Default::default()
            },
        );
        let mut running = Jar::program(guest())
            .args(["ignore_signals", "60"])
            .policy(policy)
            .launch()
            .await
            .expect("a jar");
        let first = running.pid();
        // The host's own thread does nothing for its jar.
        std::thread::sleep(Duration::from_millis(1500));
        assert!(!alive(first), "the limit waited for the host");
        assert_eq!(
            running.wait().await.outcome,
            Outcome::Limit { limit: Limit::Wall }
        );
    });
}

#[test]
fn host_that_reads_nothing_is_not_held_up() {
    let _turn = turn();
    on_threads(async {
        let mut running = guest_jar(Preset::Standard, &["flood", "100000000"])
            .stdout(Stdio::piped())
            .launch()
            .await
            .expect("a jar");
        let untouched = running.stdout();
        tokio::time::sleep(Duration::from_millis(200)).await;
        running.kill();
        let report = running.wait().await;
        assert!(
            matches!(report.outcome, Outcome::Stopped { .. }),
            "{report:?}"
        );
        drop(untouched);
    });
}

/// A jar in which sockets of the machine may be seen, so that the host connects
/// what the jar asks to be connected.
fn connecting_jar(room: &std::path::Path, script: &str) -> Jar {
    std::fs::set_permissions(room, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let policy = Policy::of(Preset::Standard)
        .allow_read(room.to_str().expect("it is UTF-8"))
        .expect("a path");
    Jar::program("/usr/bin/python3")
        .args(["-c", script])
        .policy(policy)
}

fn connecting_threads() -> usize {
    std::fs::read_dir("/proc/self/task")
        .expect("this process")
        .flatten()
        .filter(|task| {
            std::fs::read_to_string(task.path().join("comm"))
                .is_ok_and(|name| name.trim_end() == "belljar-connect")
        })
        .count()
}

/// A guest can make a connection wait for hours: nobody answers, and it says
/// itself how often to ask.
#[test]
fn a_connection_that_never_comes_about_ends_with_its_jar() {
    let _turn = turn();
    if !need(Need::Python) {
        return;
    }
    // Somebody on the machine who lives on, and never takes what comes.
    let busy = TcpListener::bind("127.0.0.1:0").expect("a listener");
    rustix::net::listen(&busy, 0).expect("listen(2)");
    let port = busy.local_addr().expect("its address").port();
    let script = format!(
        "
import os, socket, threading, time
own = socket.socket(socket.AF_UNIX); own.bind('/run/tmp/own'); own.listen(0)
def tcp():
    s = socket.socket(); s.setsockopt(socket.IPPROTO_TCP, 7, 127)
    s.connect(('127.0.0.1', {port})); time.sleep(60)
def unix():
    s = socket.socket(socket.AF_UNIX); s.connect('/run/tmp/own'); time.sleep(60)
for what in [tcp, unix] * 6: threading.Thread(target=what, daemon=True).start()
time.sleep(1)
os._exit(0)
"
    );
    on_threads(async {
        let output = Jar::program("/usr/bin/python3")
            .args(["-c", &script])
            .policy(Policy::of(Preset::Minimal))
            .output()
            .await
            .expect("a jar");
        let report = output.report;
        assert_eq!(report.outcome, Outcome::Exited { code: 0 }, "{report:?}");
        wait_until("the threads' end", || {
            (connecting_threads() == 0).then_some(())
        });
    });
}

/// Ids are changed in threads of the host's, many at a time.
#[test]
fn a_host_that_connects_for_a_jar_stays_as_dumpable_as_it_was() {
    let _turn = turn();
    if !need(Need::Python) {
        return;
    }
    let before = rustix::process::dumpable_behavior().expect("prctl(2)");
    let room = tempfile::tempdir().expect("a directory");
    let script = "
import socket, threading
own = socket.socket(); own.bind(('127.0.0.1', 0)); own.listen(4096)
def connect():
    for _ in range(60): socket.create_connection(own.getsockname()).close()
threads = [threading.Thread(target=connect) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
";
    on_threads(async {
        let output = connecting_jar(room.path(), script)
            .output()
            .await
            .expect("a jar");
        let report = output.report;
        assert_eq!(report.outcome, Outcome::Exited { code: 0 }, "{report:?}");
    });
    let after = rustix::process::dumpable_behavior().expect("prctl(2)");
    assert_eq!(after, before);
}
