//! Parts of a report as the rows say them: in a line each, with all that is exact.

use belljar_plan::{
    Outcome,
    outcome::StoppedBy,
    report::{Edge, LimitHit},
};

/// An outcome as the rows say it: its word, and what is exact about it.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code } => format!("exited {code}"),
        Outcome::Signaled { signal, name, core } => {
            let core = if *core { ", with a core" } else { "" };
            format!("signaled {signal} {name}{core}")
        }
        Outcome::Limit { limit } => format!("limit {limit}"),
        Outcome::Violation { rule } => format!("violation {rule}"),
        Outcome::Stopped { by, grace_used } => {
            let by = match by {
                StoppedBy::Signal(signal) => format!("signal {signal}"),
                StoppedBy::Host => "the host".to_owned(),
                StoppedBy::Operator => "the operator".to_owned(),
            };
            let grace = if *grace_used { ", by force" } else { "" };
            format!("stopped by {by}{grace}")
        }
        Outcome::Refused { unmet } => {
            let rules: Vec<&str> = unmet.iter().map(|unmet| unmet.rule.word()).collect();
            format!("refused {}", rules.join(" "))
        }
        Outcome::SetupFailed { step, errno } => {
            let step = step.split(' ').next().unwrap_or_default();
            format!("setup_failed {step} {errno}")
        }
        Outcome::Lost => "lost".to_owned(),
        Outcome::NotRunnable { errno, .. } => format!("not_runnable {errno}"),
        Outcome::NotFound { .. } => "not_found".to_owned(),
    }
}

pub(crate) fn hit(hit: &LimitHit) -> String {
    let edge = match hit.at {
        Edge::Soft => "soft",
        Edge::Hard => "hard",
    };
    format!("{} {edge}", hit.limit)
}
