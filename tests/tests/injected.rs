//! Faults in the launcher, in pid 1 and in the guest's process before its program: each
//! system call fails in turn, and each process is killed there. Nothing is left, the
//! report is true, and the next launch works.
//!
//! The faults are of a build of its own, `faulty-host`; this process counts what is below
//! it, so it has this binary for itself, and its tests take turns.
#![cfg(target_os = "linux")]

#[path = "injected/campaign.rs"]
mod campaign;
#[path = "injected/judge.rs"]
mod judge;
#[path = "injected/killed.rs"]
mod killed;

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use belljar_tests::{Need, belljar, faulty_belljar, jar, need, output};

use campaign::{Campaign, Extent};

/// One test at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a campaign of each kind, and fails for whatever is wrong in any.
fn run(kinds: &[&[&str]], campaign: impl Fn(Campaign) -> (usize, Vec<String>)) -> usize {
    let (mut count, mut wrong) = (0, Vec::new());
    for words in kinds {
        let (more, found) = campaign(Campaign::new(words));
        count += more;
        wrong.extend(found);
    }
    let lines = wrong.join("\n");
    assert!(
        wrong.is_empty(),
        "{} of {count} faults:\n{lines}",
        wrong.len()
    );
    count
}

#[test]
fn a_call_that_fails_leaves_nothing_and_a_true_report() {
    let _turn = turn();
    if !need(Need::UserNamespaces) {
        return;
    }
    let kinds = [
        &["strict"][..],
        &["park", "standard"],
        &["tty", "minimal"],
        &["lower", "standard"],
    ];
    run(&kinds, |kind| kind.errnos(Extent::Some(90)));
}

/// Who builds Belljar without the feature has nothing of it.
#[test]
fn an_ordinary_build_knows_of_no_faults() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    file.as_file().set_len(1 << 20).expect("its length");
    let ended = jar()
        .caller_env("BELLJAR_FAULTS", file.path())
        .guest("exit", ["7"])
        .end();
    assert_eq!(ended.status.code(), Some(7), "{ended:#?}");
    let bytes = fs::read(file.path()).expect("the file");
    assert!(bytes.iter().all(|byte| *byte == 0), "it was looked at");
    let has = |program: &Path| {
        let bytes = fs::read(program).expect("a program");
        let name = b"BELLJAR_FAULTS";
        bytes.windows(name.len()).any(|window| window == name)
    };
    assert!(!has(belljar()));
    assert!(has(faulty_belljar()), "the name is looked for in vain");
    let listed = output(Command::new(belljar()).arg("--points"));
    assert_eq!(listed.status.code(), Some(125), "{listed:?}");
}

/// A control: without it, to kill somebody at a point might be to kill them anywhere.
#[test]
fn a_process_that_is_held_at_a_call_stays_there_until_it_is_let_go() {
    let _turn = turn();
    if !need(Need::UserNamespaces) {
        return;
    }
    Campaign::new(&["standard"]).holds();
}

#[test]
fn whoever_is_killed_at_a_call_leaves_nothing_and_a_true_report() {
    let _turn = turn();
    if !need(Need::UserNamespaces) {
        return;
    }
    let kinds = [&["strict"][..], &["park", "standard"]];
    run(&kinds, |kind| kind.kills(Extent::Some(60)));
}

#[test]
#[ignore = "some thousand kills"]
fn long_whoever_is_killed_at_any_call_leaves_nothing_and_a_true_report() {
    let _turn = turn();
    if !need(Need::UserNamespaces) {
        return;
    }
    let kinds = [
        &["strict"][..],
        &["park", "strict"],
        &["park", "standard"],
        &["tty", "minimal"],
        &["lower", "standard"],
    ];
    run(&kinds, |kind| kind.kills(Extent::All));
}

#[test]
#[ignore = "more than ten thousand faults"]
fn long_every_call_that_fails_leaves_nothing_and_a_true_report() {
    let _turn = turn();
    if !need(Need::UserNamespaces) {
        return;
    }
    let kinds = [
        &["strict"][..],
        &["park", "strict"],
        &["standard"],
        &["park", "standard"],
        &["tty", "standard"],
        &["minimal"],
        &["park", "tty", "minimal"],
        &["lower", "standard"],
    ];
    let count = run(&kinds, |kind| kind.errnos(Extent::All));
    assert!(count >= 10_000, "{count} faults");
}
