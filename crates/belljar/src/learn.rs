//! What a run that was observed teaches: [`belljar_policy::learn`], with this machine
//! to look at, and with each proposal tried.

use belljar_plan::{Outcome, Plan, Report, answer::Verdict, outcome::Unmet};
pub use belljar_policy::learn::{Change, Lesson, Make, Proposal, Refused, SCHEMA, Used, schema};
use belljar_policy::{
    Manifest, Policy,
    learn::{self, asked},
    why::{Answers, Surroundings},
};

use crate::why::ThisMachine;

/// More requests than these are not tried one by one.
const REQUESTS: usize = 32;

/// Draws the lesson, and keeps of its proposals those with which a plan is made
/// that answers otherwise.
pub(crate) fn lesson(
    plan: &Plan,
    report: &Report,
    around: &Surroundings,
    policy: &Policy,
    decide: impl Fn(Policy) -> Result<Plan, String>,
) -> Lesson {
    let mut lesson = learn::learn(plan, report, &ThisMachine, around);
    let mut policy = policy.clone();
    let mut kept = Vec::new();
    for proposal in std::mem::take(&mut lesson.proposals) {
        // What is not there yet can be in no plan.
        if proposal.make.is_some() {
            kept.push(proposal);
            continue;
        }
        let mut with = policy.clone();
        proposal.change.add_to(&mut with);
        match decide(with.clone()).and_then(|plan| helps(&plan, &proposal, around)) {
            Ok(()) => {
                policy = with;
                kept.push(proposal);
            }
            Err(reason) => lesson.refused.push(Refused {
                question: subject(&proposal),
                reason: format!("{}; and no grant helps: {reason}", proposal.reason),
                count: proposal.names,
            }),
        }
    }
    lesson.proposals = kept;
    lesson
}

fn helps(plan: &Plan, proposal: &Proposal, around: &Surroundings) -> Result<(), String> {
    let Some(question) = &proposal.question else {
        return Ok(());
    };
    let (answer, _) = Answers::of(plan, &ThisMachine, around).to(question);
    match answer.verdict {
        Verdict::Denied if answer.rule == Some(belljar_plan::Rule::Exec) => Ok(()),
        Verdict::Denied => Err(answer.reason),
        _ => Ok(()),
    }
}

fn subject(proposal: &Proposal) -> String {
    match &proposal.question {
        Some(question) => question.to_string(),
        None => proposal
            .lines
            .policy
            .clone()
            .unwrap_or_else(|| "a grant".to_owned()),
    }
}

/// The lesson of a launch that was refused: what of the manifest's requests would
/// have to be granted for it.
pub(crate) fn of_refused(
    manifest: Option<&Manifest>,
    unmet: &[Unmet],
    around: &Surroundings,
    policy: &Policy,
    decide: impl Fn(Policy) -> bool,
) -> Lesson {
    let mut proposals =
        manifest.map_or_else(Vec::new, |manifest| asked(manifest, &ThisMachine, around));
    let without = |proposals: &[Proposal], left_out: Option<usize>| {
        let mut policy = policy.clone();
        for (index, proposal) in proposals.iter().enumerate() {
            if Some(index) != left_out {
                proposal.change.add_to(&mut policy);
            }
        }
        decide(policy)
    };
    if !without(&proposals, None) {
        proposals.clear();
    } else if proposals.len() <= REQUESTS {
        let needed: Vec<bool> = (0..proposals.len())
            .map(|index| !without(&proposals, Some(index)))
            .collect();
        let mut needed = needed.into_iter();
        proposals.retain(|_| needed.next().unwrap_or(true));
    }
    Lesson {
        schema: SCHEMA,
        outcome: Outcome::Refused {
            unmet: unmet.to_vec(),
        },
        used: Vec::new(),
        refused: unmet
            .iter()
            .map(|unmet| Refused {
                question: format!("rule {}", unmet.rule),
                reason: format!("{}; {}", unmet.reason, unmet.remedy),
                count: 1,
            })
            .collect(),
        proposals,
        absent: Vec::new(),
        unused: Vec::new(),
        unlisted: 0,
    }
}
