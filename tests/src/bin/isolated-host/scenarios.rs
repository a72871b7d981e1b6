//! What is claimed, one scenario each.

use std::{
    future::IntoFuture as _,
    io::Read as _,
    net::TcpListener,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use belljar::{
    Jar, Limit, Outcome, Policy, Preset, Stdio,
    isolated::{AnswerError, CallError, Function as _},
    policy::manifest::Bound,
    why::Question,
};
use belljar_tests::{children, descendants};
use tokio::task::JoinSet;

use crate::{functions::*, hostile};

pub(crate) async fn run(scenario: &str, word: &str) {
    match scenario {
        "answers" => answers().await,
        "threads" => threads().await,
        "any-executor" => any_executor(),
        "big" => big().await,
        "prints" => prints().await,
        "panics" => panics_are_typed().await,
        "endings" => endings().await,
        "forgeries" => hostile::forgeries().await,
        "stays" => hostile::stays().await,
        "types" => types().await,
        "surroundings" => sees_nothing_of_the_host().await,
        "policy" => policies().await,
        "no-init" => no_init().await,
        "not-served" => hostile::not_served(word).await,
        "deaf" => hostile::deaf().await,
        "answers-unasked" => hostile::answers_unasked().await,
        "dropped" => dropped().await,
        "replaced" => replaced(word).await,
        other => panic!("no scenario {other}"),
    }
}

pub(crate) fn hard(limit: Limit, value: u64) -> Policy {
    let bound = Bound {
        hard: Some(value),
        ..Bound::default()
    };
    Policy::strict().limit(limit, bound).expect("a bound")
}

pub(crate) const SECOND: u64 = 1_000_000_000;

async fn answers() {
    let jar = Jar::isolated();
    let called = jar.call(add, (2, 40)).task("sum").await.expect("an answer");
    assert_eq!(called.output, 42);
    let report = called.report;
    assert_eq!(report.outcome, Outcome::Exited { code: 0 });
    assert_eq!(report.task.as_deref(), Some("sum"));
    assert!(report.usage.wall_ns.is_some_and(|wall| wall > 0));
    assert_eq!(jar.plan().expect("a plan").preset, Preset::Strict);
    // The same jar again, and the function without one.
    assert_eq!(jar.call(countdown, 5).await.expect("an answer").output, 5);
    assert_eq!(countdown::run(3), 3);
}

async fn threads() {
    let busy = thread::spawn(|| {
        let held = std::io::stdout().lock();
        thread::sleep(Duration::from_secs(2));
        drop(held);
    });
    let jar = Arc::new(Jar::isolated());
    let mut calls = JoinSet::new();
    for number in 0..24_i64 {
        let jar = Arc::clone(&jar);
        calls.spawn(async move {
            jar.call(add, (number, number))
                .await
                .expect("an answer")
                .output
        });
    }
    let mut sums = calls.join_all().await;
    sums.sort_unstable();
    assert_eq!(sums, (0..24).map(|number| 2 * number).collect::<Vec<i64>>());
    busy.join().expect("a thread");
}

fn any_executor() {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    // A thread that no runtime knows.
    let output = thread::spawn(|| {
        let jar = Jar::isolated();
        let mut call = jar.call(echo, "alone".to_owned()).into_future();
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(called) = call.as_mut().poll(&mut context) {
                return called.expect("an answer").output;
            }
            thread::park();
        }
    });
    assert_eq!(output.join().expect("a thread"), "alone");
}

async fn big() {
    let text = "x".repeat(3 << 20);
    let called = Jar::isolated()
        .call(echo, text.clone())
        .await
        .expect("an answer");
    assert!(called.output == text, "it came back otherwise");
}

async fn prints() {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let jar = Jar::isolated();
    let call = jar.call(chatter, "hello".to_owned());
    let called = call
        .stderr(Stdio::relay(writer.into()))
        .await
        .expect("an answer");
    assert_eq!(called.output, 5);
    let mut printed = String::new();
    reader.read_to_string(&mut printed).expect("text");
    assert_eq!(printed, "out hello\nerr hello\nunfinished");
}

async fn panics_are_typed() {
    let jar = Jar::isolated();
    let error = jar
        .call(panics, "a \x1b[31mred\u{202e} word".to_owned())
        .await
        .expect_err("a panic");
    let CallError::Panicked { message, report } = &error else {
        panic!("{error:?}");
    };
    assert!(
        message.starts_with("a \\u{1b}[31mred\\u{202e} word, at tests/src/bin/"),
        "{message}"
    );
    assert_eq!(report.outcome, Outcome::Exited { code: 101 });
    assert!(error.to_string().starts_with("the function panicked: a "));

    let error = jar
        .call(panics, "x".repeat(1 << 20))
        .await
        .expect_err("a panic");
    assert!(
        error.to_string().len() < 5000,
        "unbounded: {}",
        error.to_string().len()
    );

    let error = jar.call(panics_mutely, ()).await.expect_err("a panic");
    let said = error.to_string();
    assert!(said.contains("no text, at tests/src/bin/"), "{said}");
}

async fn endings() {
    let ended = async |jar: &belljar::isolated::IsolatedJar, how: &str| match jar
        .call(ends, how.to_owned())
        .await
    {
        Err(CallError::Ended { report }) => (
            report.outcome.clone(),
            CallError::Ended { report }.to_string(),
        ),
        other => panic!("{how}: {other:?}"),
    };
    let jar = Jar::isolated().policy(hard(Limit::Memory, 64 << 20));
    let (outcome, said) = ended(&jar, "exit 3").await;
    assert_eq!(outcome, Outcome::Exited { code: 3 });
    assert_eq!(
        said,
        "the function ended its process with status 3 before it returned"
    );
    let (outcome, _) = ended(&jar, "exit 0").await;
    assert_eq!(outcome, Outcome::Exited { code: 0 });
    let (outcome, said) = ended(&jar, "abort").await;
    assert!(
        matches!(&outcome, Outcome::Signaled { name, .. } if name == "ABRT"),
        "{outcome:?}"
    );
    assert_eq!(said, "the function was ended by signal ABRT");
    let (outcome, _) = ended(&jar, "memory").await;
    assert_eq!(
        outcome,
        Outcome::Limit {
            limit: Limit::Memory
        }
    );
    // What leads nowhere is not counted.
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let reader = thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let call = jar.call(ends, "output".to_owned());
    let called = call.stderr(Stdio::relay(writer.into())).await;
    let Err(CallError::Ended { report }) = called else {
        panic!("{called:?}");
    };
    assert_eq!(
        report.outcome,
        Outcome::Limit {
            limit: Limit::Output
        }
    );
    reader.join().expect("a thread").expect("a pipe");

    let jar = Jar::isolated().policy(hard(Limit::CpuTime, SECOND));
    let (outcome, said) = ended(&jar, "spin").await;
    assert_eq!(
        outcome,
        Outcome::Limit {
            limit: Limit::CpuTime
        }
    );
    assert_eq!(said, "the function was ended by its limit `cpu_time`");
    let jar = Jar::isolated().policy(hard(Limit::Wall, SECOND));
    let (outcome, _) = ended(&jar, "sleep").await;
    assert_eq!(outcome, Outcome::Limit { limit: Limit::Wall });
}

async fn types() {
    let jar = Jar::isolated();
    let pairs_in = jar.call(takes_pairs, Pairs::from([((1, 2), 3)])).await;
    assert!(
        matches!(pairs_in, Err(CallError::Input { function, .. }) if function.ends_with("functions::takes_pairs"))
    );
    let pairs_out = jar
        .call(pairs, ())
        .await
        .expect_err("keys that are no strings");
    assert!(
        matches!(&pairs_out, CallError::Answer { source: AnswerError::Unwritten { message }, .. } if message.contains("key")),
        "{pairs_out:?}"
    );
    let unread = jar
        .call(one_way, OneWay(7))
        .await
        .expect_err("it does not read back");
    assert!(
        matches!(&unread, CallError::InputUnread { message, .. } if message.contains("seven")),
        "{unread:?}"
    );
    assert_eq!(
        jar.call(tree, 100).await.expect("an answer").output,
        tree::run(100)
    );
    let deep = jar.call(tree, 200).await.expect_err("too deep");
    assert!(
        matches!(
            deep,
            CallError::Answer {
                source: AnswerError::Output { .. },
                ..
            }
        ),
        "{deep:?}"
    );
}

async fn sees_nothing_of_the_host() {
    let jar = Jar::isolated();
    let (arguments, variables, descriptors) =
        jar.call(surroundings, ()).await.expect("an answer").output;
    assert_eq!(arguments.len(), 2, "{arguments:?}");
    assert_eq!(arguments[1], "--belljar-isolated");
    assert!(
        !variables.iter().any(|name| name == "ISOLATED_SECRET"),
        "{variables:?}"
    );
    assert!(std::env::var_os("ISOLATED_SECRET").is_some(), "the control");
    // 0, 1, 2, the answer's, and the directory that is read.
    assert_eq!(descriptors, 5);

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    assert_eq!(connects::run(address.clone()), Ok(()), "the control");
    assert!(
        jar.call(connects, address)
            .await
            .expect("an answer")
            .output
            .is_err()
    );
    assert!(
        reads::run("/etc/machine-id".to_owned()).is_ok()
            || reads::run("/etc/os-release".to_owned()).is_ok()
    );
    for path in ["/etc/machine-id", "/etc/os-release", "/etc/shadow"] {
        let read = jar
            .call(reads, path.to_owned())
            .await
            .expect("an answer")
            .output;
        assert!(read.is_err(), "{path}: {read:?}");
    }
    // There is one, and it is the jar's own.
    let passwd = jar
        .call(reads, "/etc/passwd".to_owned())
        .await
        .expect("an answer")
        .output;
    assert_ne!(passwd, reads::run("/etc/passwd".to_owned()));
}

async fn policies() {
    let room = tempfile::tempdir().expect("a directory");
    let file = room
        .path()
        .canonicalize()
        .expect("a path")
        .join("granted.txt");
    std::fs::write(&file, "granted").expect("a file");
    let path = file.to_str().expect("UTF-8").to_owned();

    let jar = Jar::isolated();
    assert!(
        jar.call(reads, path.clone())
            .await
            .expect("an answer")
            .output
            .is_err()
    );
    let question = Question::parse(&["read", &path]).expect("a question");
    let answer = jar.why(&question).expect("an answer");
    assert_eq!(answer.rule, Some(belljar::Rule::Files));

    for policy in [
        Policy::strict(),
        Policy::standard(),
        Policy::of(Preset::Minimal),
    ] {
        let preset = policy.preset.as_ref().map(|said| said.value);
        let policy = policy.allow_read(&path).expect("a path");
        let called = Jar::isolated()
            .policy(policy)
            .call(reads, path.clone())
            .await;
        assert_eq!(
            called.expect("an answer").output,
            Ok("granted".to_owned()),
            "{preset:?}"
        );
    }
    let nowhere = Policy::strict()
        .allow_read("/not/there/at/all")
        .expect("a path");
    let refused = Jar::isolated().policy(nowhere).call(add, (1, 1)).await;
    assert!(matches!(refused, Err(CallError::Launch(_))), "{refused:?}");
}

async fn no_init() {
    let called = Jar::isolated().call(add, (1, 1)).await;
    assert!(matches!(called, Err(CallError::NoInit)), "{called:?}");
    let own = std::process::id() as i32;
    assert_eq!(children(own), Vec::<i32>::new(), "something was launched");
}

async fn dropped() {
    let own = std::process::id() as i32;
    let jar = Jar::isolated();
    let call = jar.call(ends, "sleep".to_owned()).into_future();
    let cut = tokio::time::timeout(Duration::from_secs(2), call).await;
    assert!(cut.is_err(), "it ended by itself");
    let end = Instant::now() + Duration::from_secs(10);
    // The launcher stays, and perhaps a child that it keeps ready is none of ours.
    while descendants(own).len() > 1 {
        assert!(Instant::now() < end, "still there: {:?}", descendants(own));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn replaced(how: &str) {
    let own = std::env::current_exe().expect("a path");
    let jar = Jar::isolated();
    if how != "before" {
        assert_eq!(jar.call(add, (1, 1)).await.expect("an answer").output, 2);
        assert_eq!(jar.plan().expect("a plan").image, None);
    }
    match how {
        "gone" => std::fs::remove_file(&own).expect("it is ours"),
        _ => {
            // As an upgrade does: another file of that name.
            let other = own.with_extension("new");
            std::fs::write(&other, "#!/bin/false\n").expect("a file");
            std::fs::rename(&other, &own).expect("it is ours");
        }
    }
    assert_eq!(jar.call(add, (2, 2)).await.expect("an answer").output, 4);
    assert!(jar.plan().expect("a plan").image.is_some(), "it is no copy");
    let policies = [Policy::standard(), Policy::of(Preset::Minimal)];
    for policy in policies {
        let jar = Jar::isolated().policy(policy);
        assert_eq!(jar.call(add, (3, 3)).await.expect("an answer").output, 6);
    }
}
