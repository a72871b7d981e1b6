//! Where the time of a launch goes: the receipts of its steps, in groups.

use std::time::Duration;

use belljar_plan::{Plan, Source, Step, step::OwnedStep};

use crate::{
    client::Client,
    floor::Start,
    output::{Row, Section, Verdict},
    sample::{Samples, Summary},
};

/// Groups in the order in which a launch comes to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Detach,
    Clone,
    Maps,
    Identity,
    Root,
    Files,
    Scratch,
    Binds,
    Proc,
    Masks,
    Dev,
    Names,
    Caps,
    Fork,
    Guest,
    Rlimits,
    Landlock,
    Filter,
}

impl Group {
    const ALL: [(Self, &'static str); 18] = [
        (Self::Detach, "detached grants, by the launcher"),
        (Self::Clone, "clone, by the launcher"),
        (Self::Maps, "id maps, by the launcher"),
        (Self::Identity, "identity: ids, oom score, death signal"),
        (Self::Root, "root: made, entered, machine left"),
        (Self::Files, "files: directories, links, own files"),
        (Self::Scratch, "scratch and its binds"),
        (Self::Binds, "binds"),
        (Self::Proc, "proc"),
        (Self::Masks, "proc masked, read-only"),
        (Self::Dev, "dev: devices, devpts"),
        (Self::Names, "hostname, sysctls, loopback, keyring"),
        (Self::Caps, "caps, securebits, no_new_privs"),
        (Self::Fork, "fork"),
        (Self::Guest, "guest: session, streams, workdir, …"),
        (Self::Rlimits, "rlimits"),
        (Self::Landlock, "Landlock, with its canary"),
        (Self::Filter, "filter, with its listener"),
    ];

    /// None for exec, which leaves no receipt.
    const fn of(step: &OwnedStep) -> Option<Self> {
        Some(match step {
            Step::Exec { .. } => return None,
            Step::Detach { .. } => Self::Detach,
            Step::Cgroup { .. } | Step::Clone { .. } => Self::Clone,
            Step::Sysctls { .. } => Self::Names,
            Step::MapIds { .. } => Self::Maps,
            Step::DropGroups {}
            | Step::TakeIds { .. }
            | Step::OomScore { .. }
            | Step::Undumpable {}
            | Step::DieWithLauncher {} => Self::Identity,
            Step::PrivateMounts {}
            | Step::Root { .. }
            | Step::LeaveMachine {}
            | Step::SealRoot {} => Self::Root,
            Step::Directory { .. }
            | Step::Symlink { .. }
            | Step::File { .. }
            | Step::PluginFile { .. } => Self::Files,
            Step::Scratch { .. }
            | Step::Bind {
                source: Source::Scratch { .. },
                ..
            } => Self::Scratch,
            Step::Bind { .. } => Self::Binds,
            Step::Proc { .. } => Self::Proc,
            Step::Mask { .. } | Step::ReadOnly { .. } => Self::Masks,
            Step::Devpts { .. } | Step::Device { .. } => Self::Dev,
            Step::Hostname { .. }
            | Step::Loopback {}
            | Step::Keyring {}
            | Step::Terminal { .. } => Self::Names,
            Step::NoNewPrivs {} | Step::Securebits {} | Step::Capabilities { .. } => Self::Caps,
            Step::Fork {} => Self::Fork,
            Step::Adopt {}
            | Step::DieWithFirst {}
            | Step::MachineRoot {}
            | Step::Session { .. }
            | Step::Streams {}
            | Step::CloseDescriptors {}
            | Step::Workdir { .. }
            | Step::Umask { .. }
            | Step::Signals {} => Self::Guest,
            Step::Rlimit { .. } => Self::Rlimits,
            Step::Filter { .. } | Step::FixedCode {} => Self::Filter,
            Step::Canary {}
            | Step::Queues {}
            | Step::Ruleset { .. }
            | Step::AllowPath { .. }
            | Step::AllowQueues { .. }
            | Step::Restrict { .. } => Self::Landlock,
        })
    }
}

/// Measures the launches of a client.
pub(crate) fn run(
    rounds: usize,
    plan: &Result<Plan, String>,
    client: &mut Result<Client, String>,
) -> Section {
    let mut section = Section {
        name: "steps",
        title: "where a launch's time goes, by its steps' receipts".into(),
        unit: "us",
        compared_to: Some("request to exec".into()),
        rows: Vec::new(),
        verdicts: Vec::new(),
        notes: Vec::new(),
    };
    match measured(rounds, plan, client) {
        Ok((rows, both)) => {
            section.rows = rows;
            section.verdicts.push(Verdict::at_most(
                "filter and Landlock, us",
                350.0,
                both.map(|both| both.p50),
            ));
        }
        Err(reason) => section.rows.push(Row::new("steps", Err(reason))),
    }
    section
}

fn measured(
    rounds: usize,
    plan: &Result<Plan, String>,
    client: &mut Result<Client, String>,
) -> Result<(Vec<Row>, Option<Summary>), String> {
    let plan = plan.as_ref().map_err(Clone::clone)?;
    let client = client.as_mut().map_err(|reason| reason.clone())?;
    let groups: Vec<Option<Group>> = plan.steps.iter().map(Group::of).collect();
    let mut sums: Vec<Samples> = vec![Samples::default(); Group::ALL.len()];
    let mut singles: Vec<Samples> = vec![Samples::default(); plan.steps.len()];
    let (mut rest, mut whole, mut both) = <(Samples, Samples, Samples)>::default();
    for _ in 0..rounds {
        let launched = client.launch(Start::Fresh)?;
        let mut sum = vec![Duration::ZERO; Group::ALL.len()];
        for done in &launched.steps {
            let index = usize::from(done.step);
            let time = Duration::from_nanos(done.nanoseconds.into());
            if let Some(Some(group)) = groups.get(index) {
                sum[*group as usize] += time;
                singles[index].push(time);
            }
        }
        rest.push(launched.exec.saturating_sub(sum.iter().sum()));
        whole.push(launched.exec);
        both.push(sum[Group::Landlock as usize] + sum[Group::Filter as usize]);
        for (samples, time) in sums.iter_mut().zip(sum) {
            samples.push(time);
        }
    }
    let mut rows = Vec::new();
    for (group, name) in Group::ALL {
        let steps = groups.iter().filter(|other| **other == Some(group)).count();
        if steps > 0 {
            rows.push(Row::new(
                format!("{name} ({steps})"),
                Ok(sums[group as usize].summary()),
            ));
        }
    }
    rows.push(Row::new(
        "the rest: messages, wake-ups, exec",
        Ok(rest.summary()),
    ));
    let whole = whole.summary();
    rows.push(Row::new("request to exec", Ok(whole)));
    rows.extend(dearest(plan, &singles));
    for row in &mut rows {
        row.compare(whole.map(|whole| whole.p50));
    }
    Ok((rows, both.summary()))
}

/// The steps that take longest, each by itself.
fn dearest(plan: &Plan, singles: &[Samples]) -> Vec<Row> {
    const TOLD: usize = 10;
    let mut rows: Vec<Row> = singles
        .iter()
        .enumerate()
        .filter_map(|(index, samples)| {
            let mut name: String = plan.describe_step(index).chars().take(36).collect();
            name.insert_str(0, "- ");
            samples
                .summary()
                .map(|summary| Row::new(name, Ok(Some(summary))))
        })
        .collect();
    let p50 = |row: &Row| row.summary.map_or(0.0, |summary| summary.p50);
    rows.sort_by(|a, b| p50(b).total_cmp(&p50(a)));
    rows.truncate(TOLD);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_listed_in_their_own_order() {
        for (index, (group, _)) in Group::ALL.iter().enumerate() {
            assert_eq!(*group as usize, index);
        }
    }
}
