//! What a host hears of its jars: events, each of them, and samples while it listens.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use belljar::{
    Event, EventSink, Jar, LaunchError, Limit, Outcome, Policy, Reading, Report, ReportTo, Stdio,
    event::{Resource, Short, Termination, What},
    policy::{
        data::{outcome::StoppedBy, report::Edge},
        manifest::Bound,
    },
};
use belljar_tests::{Need, guest, need};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// Notes what it is brought.
#[derive(Default)]
struct Notes {
    brought: Mutex<Vec<Event>>,
    more: Condvar,
    /// What it does before it notes one.
    first: Option<fn(&Event)>,
}

impl Notes {
    fn doing(first: fn(&Event)) -> Arc<Self> {
        Arc::new(Self {
            first: Some(first),
            ..Self::default()
        })
    }

    /// Everything, once the last has come.
    fn all(&self) -> Vec<Event> {
        let mut brought = self.brought.lock().expect("a list");
        let begun = Instant::now();
        while !brought.last().is_some_and(is_last) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{brought:#?}");
            (brought, _) = self
                .more
                .wait_timeout(brought, Duration::from_secs(1))
                .expect("a list");
        }
        std::mem::take(&mut *brought)
    }
}

fn is_last(event: &Event) -> bool {
    matches!(event.what, What::Terminated(_))
}

/// What a busy machine has in store for any jar.
fn is_busy(event: &Event) -> bool {
    matches!(event.what, What::Pressure { .. })
}

impl EventSink for Notes {
    fn event(&self, event: &Event) {
        if let Some(first) = self.first {
            first(event);
        }
        self.brought.lock().expect("a list").push(event.clone());
        self.more.notify_all();
    }
}

fn limited(limit: Limit, soft: Option<u64>, hard: u64) -> Policy {
    let bound = Bound {
        soft,
        hard: Some(hard),
        stop: false,
    };
    Policy::standard().limit(limit, bound).expect("a limit")
}

fn ended(jar: Jar) -> Report {
    block_on(async {
        match jar.launch().await {
            Ok(mut running) => running.wait().await,
            Err(LaunchError::Ended { report }) => *report,
            Err(error) => panic!("{error:?}"),
        }
    })
}

#[test]
fn every_ending_is_brought_to_a_sink_and_those_before_a_launch_too() {
    let wall = limited(Limit::Wall, None, 100_000_000);
    let jars = [
        (Jar::program("true"), "exited"),
        (Jar::program("sleep").arg("60").policy(wall), "limit: wall"),
        (
            Jar::program("sh").args(["-c", "kill -SEGV $$"]),
            "signaled: SEGV",
        ),
        (Jar::program("/nowhere/at-all"), "not_found"),
        (Jar::program("/etc/passwd"), "not_runnable"),
    ];
    for (jar, reason) in jars {
        let notes = Arc::new(Notes::default());
        let report = ended(jar.task("night").events_to(notes.clone()));
        assert_eq!(report.reason, reason);
        assert_eq!(report.outcome.reason(), reason);
        let events = notes.all();
        let last = events.last().expect("the end");
        assert_eq!(last.jar, report.jar);
        assert_eq!(last.task.as_deref(), Some("night"));
        assert_eq!(last.id, events.iter().map(|event| event.count).sum::<u64>());
        let What::Terminated(termination) = &last.what else {
            panic!("{last:?}");
        };
        assert_eq!(**termination, Termination::of(&report));
        if reason == "limit: wall" {
            assert!(termination.wall_ns >= Some(100_000_000), "{termination:?}");
            assert!(termination.cpu_ns.is_some(), "{termination:?}");
            let wall = termination
                .limits
                .iter()
                .find(|limit| limit.limit == Limit::Wall)
                .expect("its limit");
            assert_eq!(
                (wall.hard, wall.used),
                (Some(100_000_000), termination.wall_ns)
            );
        }
    }
}

/// Whoever drops a launch has its jar ended, however far it had come.
#[test]
fn a_launch_that_is_given_up_has_an_end_too() {
    let room = tempfile::tempdir().expect("a directory");
    let mut begun = 0;
    for wait in (0..40).map(|step| Duration::from_micros(step * 250)) {
        let file = room.path().join(format!("{}.json", wait.as_micros()));
        let notes = Arc::new(Notes::default());
        let launch = Jar::program("sleep")
            .arg("60")
            .report_to(ReportTo::File(file.clone()))
            .events_to(notes.clone())
            .launch();
        block_on(async { drop(tokio::time::timeout(wait, launch).await) });
        if !file.exists() {
            // It was dropped before there was anything.
            continue;
        }
        begun += 1;
        let events = notes.all();
        let What::Terminated(end) = &events.last().expect("the end").what else {
            panic!("{events:?}");
        };
        let by_host = Outcome::Stopped {
            by: StoppedBy::Host,
            grace_used: true,
        };
        assert_eq!(end.outcome, by_host);
        belljar_tests::wait_until("its report", || {
            let report: Report = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
            (report.outcome == by_host).then_some(())
        });
    }
    assert!(begun > 20, "{begun}");
}

#[test]
fn a_sink_that_panics_is_brought_the_next_event() {
    let panics = Notes::doing(|event| assert!(is_last(event), "a fault of the host's"));
    let well = Arc::new(Notes::default());
    let jar = Jar::program("sleep")
        .arg("0.3")
        .policy(limited(Limit::Wall, Some(50_000_000), 60_000_000_000))
        .events_to(panics.clone())
        .events_to(well.clone());
    ended(jar);
    let told = well.all().iter().filter(|event| !is_busy(event)).count();
    assert_eq!(told, 2);
    assert_eq!(panics.all().len(), 1);
}

#[test]
fn a_slow_sink_holds_up_no_jar() {
    const SLOW: Duration = Duration::from_secs(2);
    let slow = Notes::doing(|_| std::thread::sleep(SLOW));
    let begun = Instant::now();
    for _ in 0..3 {
        let report = ended(Jar::program("true").events_to(slow.clone()));
        assert_eq!(report.outcome, Outcome::Exited { code: 0 });
    }
    assert!(begun.elapsed() < 2 * SLOW, "{:?}", begun.elapsed());
    slow.all();
}

#[test]
fn a_monitor_gives_samples_and_events_and_says_what_it_left_out() {
    const MIB: u64 = 1 << 20;
    block_on(async {
        let mut running = Jar::program(guest())
            .args(["spend", "touch=40", "stay=3000"])
            .policy(limited(Limit::Wall, Some(400_000_000), 60_000_000_000))
            .launch()
            .await
            .expect("a jar");
        let mut monitor = running.watch(Duration::from_millis(20));
        let mut another = running.watch(Duration::from_millis(20));
        // It does not ask for a second.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (mut samples, mut left_out, mut most, mut events) = (0, 0, 0, Vec::new());
        let mut walls = Vec::new();
        while let Some(reading) = monitor.next().await {
            match reading {
                Reading::Event(event) if is_busy(&event) => {}
                Reading::Event(event) => events.push(event.what),
                Reading::Sample { sample, missed } => {
                    samples += 1;
                    left_out += missed;
                    most = most.max(sample.memory);
                    walls.push(sample.wall_ns);
                }
                _ => {}
            }
        }
        let report = running.wait().await;
        assert!(walls.is_sorted(), "{walls:?}");
        assert!(samples > 10, "{samples}");
        // A slow machine looks less often.
        assert!(left_out > 0, "{left_out}");
        // In a cgroup less the room that the limit has for what is Belljar's own.
        assert!(most >= 34 * MIB, "{most}");
        assert_eq!(events.len(), 2, "{events:?}");
        assert!(matches!(events[0], What::Limit(hit) if hit.limit == Limit::Wall));
        assert_eq!(
            events[1],
            What::Terminated(Box::new(Termination::of(&report)))
        );
        // The second one came after the launch, and has the rest all the same.
        let mut told = 0;
        while let Some(reading) = another.next().await {
            told += usize::from(matches!(reading, Reading::Event(event) if !is_busy(&event)));
        }
        assert_eq!(told, 2);
    });
}

/// The end is heard before what was written just before it is counted.
#[test]
fn what_is_reached_at_the_very_end_is_an_event_still() {
    let notes = Arc::new(Notes::default());
    let report = block_on(async {
        let mut running = Jar::program(guest())
            .args(["spend", "prints=30"])
            .stdout(Stdio::piped())
            .policy(limited(Limit::Output, Some(20), 1 << 20))
            .events_to(notes.clone())
            .launch()
            .await
            .expect("a jar");
        // What nobody reads is counted when nothing more can come.
        let _unread = running.stdout().expect("a pipe");
        running.wait().await
    });
    let told: Vec<_> = notes.all().iter().filter_map(Event::limit).collect();
    assert_eq!(told, [(Limit::Output, Edge::Soft)]);
    assert_eq!(report.limits_hit.len(), 1);
}

#[test]
fn what_the_kernel_does_to_a_jar_is_an_event() {
    if !need(Need::Controllers) {
        return;
    }
    let events_of = |policy: Policy, words: &[&str]| {
        let notes = Arc::new(Notes::default());
        let jar = Jar::program(guest())
            .args(words)
            .policy(policy)
            .events_to(notes.clone());
        let report = ended(jar);
        let all: Vec<What> = notes.all().into_iter().map(|event| event.what).collect();
        (report, all)
    };
    const MIB: u64 = 1 << 20;
    let memory = limited(Limit::Memory, None, 64 * MIB);
    let (report, events) = events_of(memory, &["spend", "touch=200", "stay=60000"]);
    assert_eq!(report.reason, "limit: memory");
    let killed = |what: &What| {
        matches!(
            what,
            What::OutOfMemory {
                killed: 1..,
                of: Short::Jar
            }
        )
    };
    assert_eq!(
        events.iter().filter(|what| killed(what)).count(),
        1,
        "{events:?}"
    );
    let hard = |what: &What| matches!(what, What::Limit(hit) if hit.limit == Limit::Memory);
    assert!(events.iter().any(hard), "{events:?}");

    // A fifth of a processor, for which two processes work.
    let share = limited(Limit::Cpu, None, 200);
    let (report, events) = events_of(share, &["spend", "cpu=600,2"]);
    assert_eq!(report.outcome, Outcome::Exited { code: 0 });
    let throttled = |what: &What| matches!(what, What::Throttled { throttled_ns: 1.. });
    assert!(events.iter().any(throttled), "{events:?}");
    let waits = |what: &What| {
        matches!(what, What::Pressure { of: Resource::Cpu, stalled_ns, within_ns }
            if *stalled_ns >= within_ns / 10)
    };
    assert!(events.iter().any(waits), "{events:?}");
    let usage = &report.usage;
    assert!(usage.throttled_ns >= Some(500_000_000), "{usage:?}");
    assert!(usage.cpu_pressure_ns >= Some(500_000_000), "{usage:?}");
}
