//! A jar that is paused, goes on, is stopped and killed by its host.
#![cfg(target_os = "linux")]

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use belljar::{
    GuestStdout, Jar, Limit, Outcome, PauseError, Policy, Running, Stdio, StoppedBy, Wall,
    event::{Freezer, What},
    policy::{data::filter::Unix, manifest::Bound},
};
use belljar_tests::{Need, guest, need};
use tokio::io::AsyncReadExt;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// A jar whose tasks are spread as far as they can be.
struct Spread {
    running: Running,
    says: GuestStdout,
}

/// What each of its tasks says.
const ALL: &str = "cmotv";
/// Long enough for each to say it, on a slow machine too.
const A_WHILE: Duration = Duration::from_millis(400);

impl Spread {
    async fn under(policy: Policy) -> Self {
        let mut running = Jar::program(guest())
            .arg("spread")
            .policy(policy)
            .stdout(Stdio::piped())
            .launch()
            .await
            .expect("a jar");
        let says = running.stdout().expect("a pipe");
        let mut spread = Self { running, says };
        spread.all_go().await;
        spread
    }

    /// Those that say something within a time, each once.
    async fn heard(&mut self, within: Duration) -> BTreeSet<char> {
        let mut heard = BTreeSet::new();
        let mut bytes = [0; 4096];
        let listen = async {
            loop {
                match self.says.read(&mut bytes).await {
                    // Nothing more comes.
                    Ok(0) | Err(_) => std::future::pending().await,
                    Ok(count) => heard.extend(bytes[..count].iter().map(|byte| *byte as char)),
                }
            }
        };
        let _ = tokio::time::timeout(within, listen).await;
        heard
    }

    /// Until each of these was heard, however slow the machine is.
    async fn all_of(&mut self, wanted: &str) {
        let begun = Instant::now();
        let mut heard = BTreeSet::new();
        while !wanted.chars().all(|one| heard.contains(&one)) {
            assert!(begun.elapsed() < Duration::from_secs(60), "only {heard:?}");
            heard.extend(self.heard(A_WHILE).await);
        }
    }

    async fn all_go(&mut self) {
        self.all_of(ALL).await;
    }

    /// What was said before is heard first.
    async fn none_goes(&mut self) {
        self.heard(Duration::from_millis(100)).await;
        let heard = self.heard(A_WHILE).await;
        assert!(heard.is_empty(), "{heard:?}");
    }
}

fn wall(limit: Duration) -> Policy {
    let bound = Bound {
        hard: Some(u64::try_from(limit.as_nanos()).expect("a time")),
        ..Bound::default()
    };
    Policy::standard()
        .limit(Limit::Wall, bound)
        .expect("a limit")
}

fn alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn every_task_of_a_paused_jar_stands_still_and_goes_on_when_it_may() {
    block_on(async {
        for (preset, policy) in [
            ("standard", Policy::standard()),
            // It starts other processes, and that is no other program.
            ("strict", Policy::strict()),
        ] {
            let mut jar = Spread::under(policy).await;
            let mut events = jar.running.events().expect("not taken yet");
            let mut by = None;
            for _ in 0..3 {
                let begun = Instant::now();
                let freezer = jar.running.pause(Wall::Runs).await.expect("it is paused");
                println!("{preset}: {freezer:?} in {:?}", begun.elapsed());
                by = Some(freezer);
                jar.none_goes().await;
                // Another time changes nothing.
                assert_eq!(jar.running.pause(Wall::Runs).await.ok(), by);
                jar.none_goes().await;
                jar.running.resume().await.expect("it goes on");
                jar.all_go().await;
                jar.running.resume().await.expect("it does already");
            }
            jar.running.kill();
            let report = jar.running.wait().await;
            let stopped = Outcome::Stopped {
                by: StoppedBy::Host,
                grace_used: true,
            };
            assert_eq!(report.outcome, stopped);
            let paused = report.usage.paused_ns.expect("a time");
            let least = 6 * u64::try_from(A_WHILE.as_nanos()).expect("a time");
            assert!(paused >= least, "{paused}");
            assert!(report.usage.wall_ns > Some(paused));
            let mut told = Vec::new();
            while let Some(event) = events.next().await {
                told.push(match event.what {
                    What::Paused { by } => format!("{by:?}"),
                    What::Resumed { .. } => "goes on".to_owned(),
                    What::Terminated(_) => "end".to_owned(),
                    // What a busy machine has in store.
                    What::Pressure { .. } | What::Throttled { .. } | What::Limit(_) => continue,
                    other => panic!("{other:?}"),
                });
            }
            let by = format!("{:?}", by.expect("it was paused"));
            let once = [by.as_str(), "goes on"];
            assert_eq!(told, [&once[..], &once, &once, &["end"]].concat());
        }
    });
}

#[test]
fn a_paused_jar_can_be_killed() {
    block_on(async {
        let mut jar = Spread::under(Policy::standard()).await;
        let pid = jar.running.pid();
        jar.running.pause(Wall::Runs).await.expect("it is paused");
        let begun = Instant::now();
        jar.running.kill();
        let report = jar.running.wait().await;
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!(report.reason, "stopped: host");
        assert!(!alive(pid));
        assert!(matches!(
            jar.running.pause(Wall::Runs).await,
            Err(PauseError::Ended)
        ));
        assert!(matches!(jar.running.resume().await, Err(PauseError::Ended)));
    });
}

#[test]
fn a_stop_with_a_grace_has_a_paused_jar_go_on_to_obey() {
    block_on(async {
        let mut running = Jar::program("sleep")
            .arg("60")
            .launch()
            .await
            .expect("a jar");
        running.pause(Wall::Runs).await.expect("it is paused");
        running.stop(StoppedBy::Host, 15, Duration::from_secs(30));
        let report = running.wait().await;
        let obeyed = Outcome::Stopped {
            by: StoppedBy::Host,
            grace_used: false,
        };
        assert_eq!(report.outcome, obeyed, "{report:#?}");
    });
}

#[test]
fn the_limit_of_time_stands_still_with_the_jar_where_that_is_asked_for() {
    const LIMIT: Duration = Duration::from_secs(5);
    block_on(async {
        let mut jar = Spread::under(wall(LIMIT)).await;
        jar.running.pause(Wall::Stops).await.expect("it is paused");
        tokio::time::sleep(LIMIT + Duration::from_millis(500)).await;
        jar.none_goes().await;
        jar.running.resume().await.expect("it goes on");
        assert!(!jar.heard(A_WHILE).await.is_empty());
        let report = jar.running.wait().await;
        assert_eq!(report.reason, "limit: wall");
        let used = Duration::from_nanos(report.usage.wall_ns.expect("a time"));
        let paused = Duration::from_nanos(report.usage.paused_ns.expect("a time"));
        assert!(used >= LIMIT + paused, "{used:?} of which {paused:?}");

        let mut jar = Spread::under(wall(LIMIT)).await;
        jar.running.pause(Wall::Runs).await.expect("it is paused");
        let report = jar.running.wait().await;
        assert_eq!(report.reason, "limit: wall");
        let used = Duration::from_nanos(report.usage.wall_ns.expect("a time"));
        assert!(used < 3 * LIMIT, "{used:?}");
    });
}

/// What changes limits has tasks stand still for a moment itself.
#[test]
fn a_limit_that_is_changed_lets_no_paused_jar_go_on() {
    block_on(async {
        let bound = |hard| Bound {
            hard: Some(hard),
            ..Bound::default()
        };
        let policy = Policy::standard()
            .limit(Limit::OpenFiles, bound(500))
            .expect("a limit");
        let mut jar = Spread::under(policy).await;
        jar.running.pause(Wall::Runs).await.expect("it is paused");
        let lowered = [(Limit::OpenFiles, bound(400))];
        jar.running
            .update_limits(&lowered)
            .await
            .expect("it is lowered");
        jar.none_goes().await;
        jar.running.resume().await.expect("it goes on");
        jar.all_go().await;
    });
}

/// Its connect is made in its stead, and waits for room that nobody makes.
#[test]
fn a_call_that_is_held_for_a_jar_keeps_it_from_nothing() {
    if !need(Need::Python) {
        return;
    }
    let script = "\
import ctypes, socket, struct, threading, time
libc = ctypes.CDLL(None, use_errno=True)
place = struct.pack('=H108s', socket.AF_UNIX, b'/tmp/s')
server = socket.socket(socket.AF_UNIX)
server.bind('/tmp/s')
server.listen(0)
def connect():
    client = socket.socket(socket.AF_UNIX)
    if libc.connect(client.fileno(), place, len(place)) == -1 and ctypes.get_errno() == 4:
        print('interrupted', flush=True)
    time.sleep(100)
for _ in range(3):
    threading.Thread(target=connect, daemon=True).start()
time.sleep(0.5)
while True:
    print('on', flush=True)
    time.sleep(0.01)
";
    block_on(async {
        let shared = tempfile::tempdir().expect("a directory");
        // Then connects are made by the supervisor.
        let path = shared.path().to_str().expect("text");
        let policy = Policy::standard().allow_path_prefix(path).expect("a path");
        let mut running = Jar::program("/usr/bin/python3")
            .args(["-c", script])
            .policy(policy)
            .stdout(Stdio::piped())
            .launch()
            .await
            .expect("a jar");
        let says = running.stdout().expect("a pipe");
        let mut jar = Spread { running, says };
        jar.all_of("o").await;
        let begun = Instant::now();
        let by = jar.running.pause(Wall::Runs).await.expect("it is paused");
        println!("{by:?} in {:?}", begun.elapsed());
        jar.none_goes().await;
        jar.running.resume().await.expect("it goes on");
        // The freezer has no task stand still that the supervisor keeps waiting.
        let performs = jar.running.plan().filter.as_ref();
        let performs = performs.is_some_and(|filter| filter.unix == Unix::Performed);
        println!("performs {performs}");
        match performs && by == Freezer::Cgroup {
            true => jar.all_of("oi").await,
            false => jar.all_of("o").await,
        }
        jar.running.kill();
        jar.running.wait().await;
    });
}

/// A jar that never pauses is the same as before: the freezer that this machine has.
#[test]
fn root_has_a_freezer_where_there_is_a_cgroup() {
    block_on(async {
        let running = Jar::program("sleep")
            .arg("60")
            .launch()
            .await
            .expect("a jar");
        let in_cgroup = running
            .plan()
            .steps
            .iter()
            .any(|step| step.word() == "cgroup");
        let by = running.pause(Wall::Runs).await.expect("it is paused");
        assert_eq!(by == Freezer::Cgroup, in_cgroup);
    });
}

/// A first process that ends with signals that it has not read yet has told all the same how
/// the main one ended.
#[test]
fn a_signal_that_comes_as_the_program_ends_takes_no_word_of_its_end_along() {
    const WINCH: i32 = 28;
    block_on(async {
        for _ in 0..100 {
            let mut running = Jar::program(guest())
                .args(["exit", "7"])
                .launch()
                .await
                .expect("a jar");
            for _ in 0..200 {
                running.signal(WINCH);
            }
            let report = running.wait().await;
            assert_eq!(
                report.outcome,
                Outcome::Exited { code: 7 },
                "{:?}",
                report.symptoms
            );
        }
    });
}
