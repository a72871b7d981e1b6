//! Scenarios of jars that do not do what they are asked.

use std::time::{Duration, Instant};

use belljar::{
    Jar, Limit, Outcome, Policy,
    isolated::{AnswerError, CallError},
    policy::manifest::Bound,
};

use crate::{
    functions::*,
    scenarios::{SECOND, hard},
};

pub(crate) async fn forgeries() {
    let jar = Jar::isolated();
    let forged = async |answer: Vec<u8>, status: i32| {
        let called = jar.call(forges, (answer, status)).await;
        match called {
            Err(CallError::Answer { source, .. }) => source,
            other => panic!("{other:?}"),
        }
    };
    let whole = frame(1, b"[]");
    // The control: this one is an answer, and only such a one.
    let called = jar
        .call(forges, (whole.clone(), 0))
        .await
        .expect("an answer");
    assert_eq!(called.output, Tree(Vec::new()));

    assert_eq!(
        forged(whole[..whole.len() - 1].to_vec(), 0).await,
        AnswerError::Cut
    );
    assert_eq!(forged(whole[..4].to_vec(), 0).await, AnswerError::Cut);
    let mut long = whole.clone();
    long[1..9].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(forged(long, 0).await, AnswerError::Cut);
    assert_eq!(
        forged([&whole[..], &whole].concat(), 0).await,
        AnswerError::Trailing
    );
    assert_eq!(forged(frame(9, b"[]"), 0).await, AnswerError::Form);
    assert_eq!(forged(frame(5, b""), 1).await, AnswerError::Unknown);
    for not_it in [&b""[..], b"[] []", b"{}", b"[[1]]", b"\xff", b"[["] {
        let error = forged(frame(1, not_it), 0).await;
        assert!(
            matches!(error, AnswerError::Output { .. }),
            "{not_it:?}: {error:?}"
        );
    }
    // What would overflow the stack of who reads it without a bound.
    let deep = [vec![b'['; 1 << 20], vec![b']'; 1 << 20]].concat();
    let error = forged(frame(1, &deep), 0).await;
    assert!(
        matches!(&error, AnswerError::Output { message } if message.contains("recursion limit")),
        "{error:?}"
    );
    // Words that a guest puts into an error.
    let error = forged(frame(4, b"\x1b]0;owned\x07"), 0).await;
    assert_eq!(
        error.to_string(),
        "the output cannot be handed over: \\u{1b}]0;owned\\u{7}"
    );

    // An answer is none from a jar that ended otherwise.
    let called = jar.call(forges, (whole.clone(), 3)).await;
    assert!(matches!(called, Err(CallError::Ended { .. })), "{called:?}");

    let flood = jar.call(floods, ()).await.expect_err("too much");
    let CallError::Ended { report } = flood else {
        panic!("{flood:?}");
    };
    assert_eq!(
        report.outcome,
        Outcome::Limit {
            limit: Limit::Output
        }
    );
    // Without that limit a bound of the library's own holds.
    let unbounded = Bound::default();
    let policy = Policy::strict()
        .limit(Limit::Output, unbounded)
        .expect("a bound");
    let flood = Jar::isolated()
        .policy(policy)
        .call(floods, ())
        .await
        .expect_err("too much");
    assert!(
        matches!(flood, CallError::Answer { source: AnswerError::TooLong { limit }, .. } if limit >= 64 << 20),
        "{flood:?}"
    );
}

pub(crate) async fn stays() {
    let jar = Jar::isolated().policy(hard(Limit::Wall, SECOND));
    let called = jar.call(answers_and_stays, ()).await;
    let Err(CallError::Ended { report }) = called else {
        panic!("{called:?}");
    };
    assert_eq!(report.outcome, Outcome::Limit { limit: Limit::Wall });
}

pub(crate) async fn not_served(said: &str) {
    let begun = Instant::now();
    let jar = Jar::isolated().served_within(Duration::from_secs(3));
    // Longer than any pipe takes.
    let called = jar.call(echo, "x".repeat(1 << 20)).await;
    match called {
        Err(CallError::NotServed { said: words, .. }) => {
            assert!(
                words.starts_with(said) && words.is_empty() == said.is_empty(),
                "{words}"
            );
        }
        Err(CallError::Ended { report }) if said == "crash" => {
            assert!(matches!(report.outcome, Outcome::Signaled { .. }));
        }
        other => panic!("{other:?}"),
    }
    assert!(begun.elapsed() < Duration::from_secs(30));
}

pub(crate) async fn deaf() {
    let jar = Jar::isolated()
        .policy(hard(Limit::Wall, SECOND))
        .served_within(Duration::from_millis(500));
    let called = jar.call(echo, "x".repeat(1 << 20)).await;
    let Err(CallError::Ended { report }) = called else {
        panic!("{called:?}");
    };
    assert_eq!(report.outcome, Outcome::Limit { limit: Limit::Wall });
}

pub(crate) async fn answers_unasked() {
    let called = Jar::isolated().call(ends, "x".repeat(1 << 20)).await;
    // It is the guest's word, and of the right type.
    assert_eq!(called.expect("an answer").output, 1);
}
