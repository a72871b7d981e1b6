//! What all jars of one host have together, beside what each has by itself.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use belljar::{Jar, LaunchError, Limit, Outcome, Policy};
use belljar_tests::guest;

use super::obedient::{MIB, Obedient, block_on, hard};

/// What all jars of this process have together is one: a test that has some is alone.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cgroup that can be made here has all that this takes; the lane's machines have.
fn is_held() -> bool {
    let known = belljar::facts().jar_cgroups.controllers;
    let held = ["memory", "pids", "cpu"]
        .iter()
        .all(|wanted| known.iter().any(|name| name == wanted));
    if !held {
        println!("skipped: no cgroup here has memory, pids and cpu");
    }
    held
}

fn together(limit: Limit, most: u64) -> Policy {
    let policy = Policy::standard().together(limit, most).expect("a limit");
    policy
        .limit(Limit::Memory, hard(250 * MIB))
        .expect("a limit")
}

/// The cgroup of a jar's first process, as the machine shows it.
fn cgroup(jar: &Obedient) -> PathBuf {
    let pid = jar.running.pid();
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroups");
    let path = text.trim().strip_prefix("0::/").expect("version 2");
    PathBuf::from("/sys/fs/cgroup").join(path)
}

fn said(at: PathBuf) -> String {
    fs::read_to_string(at)
        .expect("it is there")
        .trim()
        .to_owned()
}

#[test]
fn it_is_refused_where_nothing_holds_it() {
    if belljar::facts()
        .jar_cgroups
        .controllers
        .iter()
        .any(|name| name == "memory")
    {
        println!("skipped: a cgroup here has memory");
        return;
    }
    let plan = Jar::program(guest())
        .policy(together(Limit::Memory, 200 * MIB))
        .plan();
    let Err(LaunchError::Ended { report }) = plan else {
        panic!("{plan:?}");
    };
    let Outcome::Refused { unmet } = &report.outcome else {
        panic!("{:?}", report.outcome);
    };
    assert!(unmet[0].reason.contains("[host] memory"), "{unmet:?}");
    assert!(unmet[0].remedy.contains("take that line out"), "{unmet:?}");
}

#[test]
fn two_jars_that_each_have_enough_do_not_have_more_than_both_may() {
    if !is_held() {
        return;
    }
    let _alone = alone();
    block_on(async {
        for (most, both) in [(1000, true), (200, false)] {
            let mut first = Obedient::under(together(Limit::Memory, most * MIB)).await;
            let mut second = Obedient::under(together(Limit::Memory, most * MIB)).await;
            assert_eq!(first.tries("hold 120").await, Some(120 * MIB));
            second.tries("hold 120").await;
            let mut lived = Vec::new();
            for mut jar in [first, second] {
                let lives = jar.tries("hold 0").await.is_some();
                lived.push(lives);
                let report = if lives {
                    jar.end().await
                } else {
                    jar.ended().await
                };
                let expected = match lives {
                    true => Outcome::Exited { code: 0 },
                    false => Outcome::Limit {
                        limit: Limit::Memory,
                    },
                };
                assert_eq!(report.outcome, expected, "{report:?}");
                // Its own limit was never met.
                assert_eq!(report.limits_hit, []);
                let told = report.symptoms.iter().any(|said| said.contains("all jars"));
                assert_eq!(told, !lives, "{report:?}");
            }
            let of_them = lived.iter().filter(|lives| **lives).count();
            assert_eq!(of_them, if both { 2 } else { 1 });
        }
    });
}

#[test]
fn tasks_are_counted_over_all() {
    if !is_held() {
        return;
    }
    let _alone = alone();
    block_on(async {
        // Where all may have many, each gets what it asks for.
        let mut alone = Obedient::under(together(Limit::Processes, 400)).await;
        assert_eq!(alone.tries("fork 100").await, Some(100));
        alone.end().await;

        let mut first = Obedient::under(together(Limit::Processes, 30)).await;
        let mut second = Obedient::under(together(Limit::Processes, 30)).await;
        // Two of each are there already.
        let forked = first.tries("fork 100").await.expect("it lives");
        assert!((20..30).contains(&forked), "{forked}");
        let forked = second.tries("fork 10").await.expect("it lives");
        assert_eq!(forked, 10);
        for jar in [first, second] {
            assert_eq!(jar.end().await.outcome, Outcome::Exited { code: 0 });
        }
    });
}

#[test]
fn the_lowest_word_holds_for_all_and_nothing_stays_when_the_last_has_ended() {
    if !is_held() {
        return;
    }
    let _alone = alone();
    block_on(async {
        let first = Obedient::under(together(Limit::Cpu, 900)).await;
        let above = cgroup(&first).parent().expect("one above").to_owned();
        assert_eq!(said(above.join("cpu.max")), "90000 100000");
        let second = Obedient::under(together(Limit::Cpu, 500)).await;
        assert_eq!(cgroup(&second).parent(), Some(above.as_path()));
        assert_eq!(said(above.join("cpu.max")), "50000 100000");
        let third = Obedient::under(together(Limit::Cpu, 700)).await;
        assert_eq!(said(above.join("cpu.max")), "50000 100000");
        // Who does not say it has no part in it.
        let alone = Obedient::with(&[(Limit::Memory, 200 * MIB)]).await;
        assert_ne!(cgroup(&alone).parent(), Some(above.as_path()));
        for jar in [first, second] {
            jar.end().await;
            assert!(above.exists());
        }
        let report = third.end().await;
        assert!(!above.exists());
        let note = "all jars of this host have together no more than cpu 70%";
        assert!(
            report.notes.iter().any(|said| said.starts_with(note)),
            "{report:?}"
        );
        alone.end().await;
    });
}
