//! What the filter of system calls and Landlock add to a launch: the launcher
//! alone with a plan, and with the same plan without their steps, in turn.

use std::path::{Path, PathBuf};

use belljar_plan::{Plan, Step, step::OwnedStep};

use crate::{
    client::Client,
    floor::Start,
    output::{Row, Section, Verdict},
    sample::{Summary, round_robin},
};

const ALL: &str = "the whole plan";
const NEITHER: &str = "without both";

/// Which steps a plan keeps.
type Keeps = fn(&OwnedStep) -> bool;

const KINDS: [(&str, Keeps); 4] = [
    (ALL, |_| true),
    ("without Landlock", |step| !of_landlock(step)),
    ("without the filter", |step| !of_filter(step)),
    (NEITHER, |step| !of_landlock(step) && !of_filter(step)),
];

const fn of_landlock(step: &OwnedStep) -> bool {
    matches!(
        step,
        Step::Canary {}
            | Step::Queues {}
            | Step::Ruleset { .. }
            | Step::AllowPath { .. }
            | Step::AllowQueues { .. }
            | Step::Restrict { .. }
    )
}

const fn of_filter(step: &OwnedStep) -> bool {
    matches!(step, Step::Filter { .. } | Step::FixedCode {})
}

/// The plan with the steps that are kept.
pub(crate) fn keeping(plan: &Plan, keeps: Keeps) -> Plan {
    let mut plan = plan.clone();
    plan.steps.retain(keeps);
    plan
}

/// Without the domain of Landlock.
pub(crate) fn without_landlock(plan: &Plan) -> Plan {
    keeping(plan, |step| !of_landlock(step))
}

/// Without it and the filter.
pub(crate) fn without_both(plan: &Plan) -> Plan {
    keeping(plan, |step| !of_landlock(step) && !of_filter(step))
}

/// Measures the launches of clients of their own.
pub(crate) fn run(
    rounds: usize,
    plan: &Result<Plan, String>,
    launcher: &Result<PathBuf, String>,
) -> Section {
    let start = |keeps: Keeps| {
        let launcher: &Path = launcher.as_ref().map_err(Clone::clone)?;
        let plan = plan.as_ref().map_err(Clone::clone)?;
        Client::start(launcher, &keeping(plan, keeps))
    };
    let mut clients = KINDS.map(|(_, keeps)| start(keeps));
    let results = round_robin(rounds, &mut clients, |client| {
        let client = client.as_mut().map_err(|reason| reason.clone())?;
        Ok(vec![client.launch(Start::Fresh)?.exec])
    });
    let mut rows: Vec<Row> = KINDS
        .iter()
        .zip(results)
        .map(|((name, _), result)| Row::new(*name, result.map(|samples| samples[0].summary())))
        .collect();
    let of = |name: &str| {
        rows.iter()
            .find(|row| row.name == name)
            .and_then(|row| row.summary)
    };
    let (all, neither) = (of(ALL), of(NEITHER));
    let added = |of: fn(Summary) -> f64| all.zip(neither).map(|(all, none)| of(all) - of(none));
    for row in &mut rows {
        row.compare(neither.map(|neither| neither.p50));
    }
    Section {
        name: "layers",
        title: "what filter and Landlock add: request to exec, launcher alone".into(),
        unit: "us",
        compared_to: Some(NEITHER.into()),
        rows,
        verdicts: vec![
            Verdict::at_most("they add, us", 350.0, added(|summary| summary.p50)),
            Verdict::beside("they add, of minima, us", added(|summary| summary.min)),
        ],
        notes: Vec::new(),
    }
}
