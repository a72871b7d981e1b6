//! Limits of a jar that runs, changed by its host: each is seen to hold by a guest
//! that tries it before and after.

use std::time::Duration;

use belljar::{
    Limit, Outcome, Policy, UpdateError,
    event::What,
    policy::{manifest::Bound, policy::Format},
};

use super::obedient::{MIB, Obedient, block_on, hard};

const SECOND: u64 = 1_000_000_000;

/// May raise what each process is bounded by; capabilities(7).
fn may_raise() -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = u64::from_str_radix(line.expect("capabilities").trim(), 16).expect("bits");
    bits >> CAP_SYS_RESOURCE & 1 == 1
}

#[test]
fn what_holds_each_process_holds_those_that_run_too() {
    block_on(async {
        let mut jar = Obedient::with(&[
            (Limit::OpenFiles, 300),
            (Limit::Processes, 50),
            (Limit::FileSize, MIB),
        ])
        .await;
        assert_eq!(jar.tries("open 200").await, Some(200));
        assert_eq!(jar.tries("fork 20").await, Some(20));
        assert_eq!(jar.tries("write 100").await, Some(100));
        jar.running
            .update_limits(&[
                (Limit::OpenFiles, hard(40)),
                (Limit::Processes, hard(8)),
                (Limit::FileSize, hard(10 * 1024)),
            ])
            .await
            .expect("they come down");
        let opened = jar.tries("open 200").await.expect("it lives");
        assert!((30..40).contains(&opened), "{opened}");
        let forked = jar.tries("fork 20").await.expect("it lives");
        assert!((5..8).contains(&forked), "{forked}");
        assert_eq!(jar.tries("write 100").await, Some(10));
        let report = jar.end().await;
        assert_eq!(report.outcome, Outcome::Exited { code: 0 });
        let changed: Vec<_> = report
            .limit_changes
            .iter()
            .map(|change| (change.limit, change.before.hard, change.after.hard))
            .collect();
        assert_eq!(
            changed,
            [
                (Limit::OpenFiles, Some(300), Some(40)),
                (Limit::Processes, Some(50), Some(8)),
                (Limit::FileSize, Some(MIB), Some(10 * 1024)),
            ]
        );
        let files = report
            .limits
            .iter()
            .find(|row| row.limit == Limit::OpenFiles)
            .expect("it is set");
        assert_eq!(files.hard, Some(40));
        assert_eq!(files.decided_by, "the host, while it ran");
    });
}

#[test]
fn what_holds_each_process_is_raised_by_whoever_may_and_by_nobody_else() {
    block_on(async {
        let mut jar = Obedient::with(&[(Limit::OpenFiles, 40), (Limit::FileSize, 1024)]).await;
        let files = jar.set(Limit::OpenFiles, hard(200)).await;
        let size = jar.set(Limit::FileSize, hard(MIB)).await;
        if may_raise() {
            files.expect("it is raised");
            size.expect("it is raised");
            assert_eq!(jar.tries("open 100").await, Some(100));
            assert_eq!(jar.tries("write 100").await, Some(100));
        } else {
            for result in [files, size] {
                let error = result.expect_err("it is not raised");
                assert!(
                    matches!(error, UpdateError::OnlyLowered { .. }),
                    "{error:?}"
                );
            }
            assert!(jar.tries("open 100").await.is_some_and(|got| got < 40));
            assert_eq!(jar.tries("write 100").await, Some(1));
        }
        let report = jar.end().await;
        let expected = if may_raise() { 2 } else { 0 };
        assert_eq!(report.limit_changes.len(), expected);
    });
}

#[test]
fn memory_goes_both_ways_and_ends_a_jar_that_has_more() {
    block_on(async {
        let control = async || Obedient::with(&[(Limit::Memory, 96 * MIB)]).await;
        let mut held = control().await;
        assert_eq!(held.tries("hold 40").await, Some(40 * MIB));
        assert_eq!(held.tries("hold 120").await, None);
        let memory = Outcome::Limit {
            limit: Limit::Memory,
        };
        assert_eq!(held.ended().await.outcome, memory);

        let mut jar = control().await;
        let mut events = jar.running.events().expect("not taken yet");
        jar.set(Limit::Memory, hard(300 * MIB))
            .await
            .expect("it is raised");
        assert_eq!(jar.tries("hold 40").await, Some(40 * MIB));
        assert_eq!(jar.tries("hold 120").await, Some(160 * MIB));
        // More than a look or two.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(jar.tries("hold 0").await, Some(160 * MIB));
        jar.set(Limit::Memory, hard(100 * MIB))
            .await
            .expect("it comes down");
        let report = jar.ended().await;
        assert_eq!(report.outcome, memory);
        assert_eq!(report.limit_changes.len(), 2);
        let mut told = Vec::new();
        while let Some(event) = events.next().await {
            if let What::LimitChanged { change } = event.what {
                told.push(change);
            }
        }
        assert_eq!(told, report.limit_changes);
    });
}

#[test]
fn time_that_has_passed_already_ends_the_jar_at_once() {
    block_on(async {
        for limit in [Limit::Wall, Limit::Output] {
            let mut jar = Obedient::with(&[(limit, 1000 * SECOND)]).await;
            assert_eq!(jar.tries("hold 1").await, Some(MIB));
            jar.set(limit, hard(1)).await.expect("it comes down");
            assert_eq!(jar.ended().await.outcome, Outcome::Limit { limit });
        }
    });
}

#[test]
fn a_soft_limit_is_an_event_again_once_it_was_changed() {
    block_on(async {
        let soft = |value| Bound {
            soft: Some(value),
            ..Bound::default()
        };
        let policy = Policy::standard().limit(
            Limit::Output,
            Bound {
                soft: Some(1),
                hard: Some(MIB),
                stop: false,
            },
        );
        let mut jar = Obedient::under(policy.expect("a limit")).await;
        let mut events = jar.running.events().expect("not taken yet");
        assert_eq!(jar.tries("hold 0").await, Some(0));
        jar.set(Limit::Output, soft(20)).await.expect("it changes");
        for _ in 0..10 {
            assert_eq!(jar.tries("hold 0").await, Some(0));
        }
        let report = jar.end().await;
        let mut told = Vec::new();
        while let Some(event) = events.next().await {
            told.push(match event.what {
                What::Limit(reached) => format!("{:?}", reached.at),
                What::LimitChanged { change } => format!("{:?}", change.after.soft),
                What::Terminated(termination) => termination.reason,
                // What a busy machine has in store for any jar.
                What::Pressure { .. } => continue,
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(told, ["Soft", "Some(20)", "Soft", "exited"]);
        assert_eq!(report.limits_hit.len(), 1);
        assert_eq!(report.limit_changes[0].after.hard, Some(MIB));
    });
}

#[test]
fn what_cannot_be_changed_is_told_and_changes_nothing() {
    let refusing = r#"
        preset = "standard"
        [limits]
        output = "1MiB"
    "#;
    let policy = Policy::parse(refusing, Format::Toml, "policy.toml", None).expect("a policy");
    block_on(async {
        let mut jar = Obedient::under(policy).await;
        let above = jar.set(Limit::Output, hard(2 * MIB)).await;
        let above = above.expect_err("it is above the policy's").to_string();
        assert!(
            above.contains("policy.toml") && above.contains("2 MiB"),
            "{above}"
        );
        let fixed = jar.set(Limit::Disk, hard(MIB)).await;
        assert!(matches!(fixed, Err(UpdateError::Fixed { .. })), "{fixed:?}");
        for limit in [Limit::Wall, Limit::Cpu, Limit::IoRead] {
            let unset = jar.set(limit, hard(MIB)).await;
            assert!(
                matches!(unset, Err(UpdateError::NotSet { .. })),
                "{unset:?}"
            );
        }
        let zero = jar.set(Limit::Output, hard(0)).await;
        assert!(matches!(zero, Err(UpdateError::Value(_))), "{zero:?}");
        // The first would be possible, and is not done.
        let half = jar
            .running
            .update_limits(&[(Limit::Output, hard(MIB / 2)), (Limit::Disk, hard(MIB))])
            .await;
        assert!(matches!(half, Err(UpdateError::Fixed { .. })), "{half:?}");
        assert_eq!(jar.tries("hold 1").await, Some(MIB));
        let control = jar.running.control();
        let report = jar.end().await;
        assert_eq!(report.limit_changes, []);
        assert_eq!(report.outcome, Outcome::Exited { code: 0 });
        let late = control.update_limits(&[(Limit::Output, hard(5))]).await;
        assert!(matches!(late, Err(UpdateError::Ended)), "{late:?}");
    });
}

#[test]
fn many_updates_at_once_are_all_answered_and_the_last_one_holds() {
    block_on(async {
        let jar = Obedient::with(&[(Limit::Output, 1000)]).await;
        let control = jar.running.control();
        let all = (0..200_u64).map(|at| {
            let control = control.clone();
            tokio::spawn(async move {
                control
                    .update_limits(&[(Limit::Output, hard(2000 + at))])
                    .await
            })
        });
        for done in all.collect::<Vec<_>>() {
            done.await.expect("it ran").expect("it changes");
        }
        let report = jar.end().await;
        assert_eq!(report.limit_changes.len(), 200);
        let last = report.limit_changes.last().expect("there are some").after;
        let row = report
            .limits
            .iter()
            .find(|row| row.limit == Limit::Output)
            .expect("it is set");
        assert_eq!(row.hard, last.hard);
    });
}

/// A share of the processor is the kernel's to hold, and there is one only in a cgroup.
#[test]
fn a_share_of_the_processor_is_written_where_the_kernel_reads_it() {
    let known = belljar::facts().jar_cgroups;
    if !known.controllers.iter().any(|name| name == "cpu") {
        println!("skipped: no cgroup here has the controller cpu");
        return;
    }
    block_on(async {
        let jar = Obedient::with(&[(Limit::Cpu, 1000)]).await;
        jar.set(Limit::Cpu, hard(200)).await.expect("it changes");
        let of_jar = std::fs::read_to_string(format!("/proc/{}/cgroup", jar.running.pid()))
            .expect("its cgroups");
        let path = of_jar.trim().strip_prefix("0::").expect("version 2");
        let quota = std::fs::read_to_string(format!("/sys/fs/cgroup{path}/cpu.max"));
        assert_eq!(quota.expect("it is there").trim(), "20000 100000");
        let report = jar.end().await;
        assert_eq!(report.limit_changes.len(), 1);
    });
}
