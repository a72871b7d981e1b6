//! What a run that was observed teaches: [`belljar_policy::learn`], with this machine
//! to look at, and with each proposal tried.

use std::time::{Duration, Instant};

use belljar_plan::{Outcome, Plan, Report, answer::Verdict, outcome::Unmet};
pub use belljar_policy::learn::{
    Change, Lesson, Make, Proposal, Refused, SCHEMA, Used, schema, written,
};
use belljar_policy::{
    Manifest, Policy,
    learn::{self, asked},
    why::{Answers, Question, Surroundings},
};

use crate::why::ThisMachine;

/// More requests than these are not tried one by one.
const REQUESTS: usize = 32;

/// So long proposals are tried: a plugin of many megabytes is read for each. What is
/// left then is told as it is.
const TRYING: Duration = Duration::from_secs(10);
/// So many grants of those that one needs further are proposed.
const FURTHER: usize = 6;

/// Draws the lesson, and keeps of its proposals those with which a plan is made
/// that answers otherwise, each with what it needs further.
pub(crate) fn lesson(
    plan: &Plan,
    report: &Report,
    around: &Surroundings,
    policy: &Policy,
    decide: impl Fn(Policy) -> Result<Plan, String>,
) -> Lesson {
    let mut lesson = learn::learn(plan, report, &ThisMachine, around);
    let mut trial = Trial {
        policy: policy.clone(),
        kept: Vec::new(),
        around,
        decide,
    };
    let begun = Instant::now();
    for proposal in std::mem::take(&mut lesson.proposals) {
        if begun.elapsed() > TRYING {
            trial.kept.push(proposal);
            continue;
        }
        if let Err(reason) = trial.add(proposal.clone()) {
            lesson.refused.push(Refused {
                question: subject(&proposal),
                reason: format!("{}; and no grant helps: {reason}", proposal.reason),
                count: proposal.names,
            });
        }
    }
    lesson.proposals = trial.kept;
    if plan.plugin.is_none() {
        lesson
            .proposals
            .iter_mut()
            .for_each(|proposal| for_program(proposal, policy));
    }
    lesson
}

/// A bare program asks by no manifest, and gets paths and more of a limit by flags alone;
/// a policy's line does something where a policy bounds the flags.
fn for_program(proposal: &mut Proposal, policy: &Policy) {
    let lines = &mut proposal.lines;
    lines.manifest.clear();
    let needed = match &proposal.change {
        Change::Path { .. } => policy.bounds_paths(),
        Change::Limit { limit, .. } => policy
            .ceilings
            .as_ref()
            .is_some_and(|file| file.limits.contains_key(limit)),
        Change::Right(_) | Change::Call(_) => true,
    };
    if !needed {
        lines.policy.clear();
    }
}

/// Proposals, each tried with those before it.
struct Trial<'a, D> {
    policy: Policy,
    kept: Vec<Proposal>,
    around: &'a Surroundings,
    decide: D,
}

impl<D: Fn(Policy) -> Result<Plan, String>> Trial<'_, D> {
    fn add(&mut self, proposal: Proposal) -> Result<(), String> {
        // What is not there yet can be in no plan.
        if proposal.make.is_some() {
            self.kept.push(proposal);
            return Ok(());
        }
        let mut policy = self.policy.clone();
        proposal.change.add_to(&mut policy);
        let mut plan = (self.decide)(policy.clone())?;
        let mut helped = proposal.questions.is_empty();
        let mut refused = None;
        let mut further: Vec<Proposal> = Vec::new();
        for question in &proposal.questions {
            match self.follow(question, &proposal, &mut policy, &mut plan, &mut further) {
                Ok(()) => helped = true,
                Err(reason) => refused = Some(reason),
            }
        }
        if !helped {
            return Err(refused.unwrap_or_else(|| "it is refused all the same".to_owned()));
        }
        self.policy = policy;
        self.kept.push(proposal);
        for one in further {
            if self.kept.iter().all(|kept| kept.change != one.change) {
                self.kept.push(one);
            }
        }
        Ok(())
    }

    /// Sees that a question is answered otherwise, with what that takes further.
    fn follow(
        &self,
        question: &Question,
        of: &Proposal,
        policy: &mut Policy,
        plan: &mut Plan,
        further: &mut Vec<Proposal>,
    ) -> Result<(), String> {
        let mut added = 0;
        loop {
            let (answer, next) = Answers::of(plan, &ThisMachine, self.around).to(question);
            if answer.verdict != Verdict::Denied {
                return Ok(());
            }
            let one = next
                .filter(|_| added < FURTHER)
                .map(|grant| learn::further(grant, of, plan, &ThisMachine, self.around))
                .filter(|one| {
                    one.change != of.change
                        && further.iter().all(|known| known.change != one.change)
                });
            let Some(one) = one else {
                return Err(answer.reason);
            };
            one.change.add_to(policy);
            *plan = (self.decide)(policy.clone())?;
            further.push(one);
            added += 1;
        }
    }
}

fn subject(proposal: &Proposal) -> String {
    match proposal.questions.first() {
        Some(question) => question.to_string(),
        None => proposal.reason.clone(),
    }
}

/// The lesson of a launch that was refused: what of the manifest's requests would
/// have to be granted for it.
pub(crate) fn of_refused(
    manifest: Option<&Manifest>,
    unmet: &[Unmet],
    around: &Surroundings,
    policy: &Policy,
    decide: impl Fn(Policy) -> Result<Plan, String>,
) -> Lesson {
    let mut refused: Vec<Refused> = Vec::new();
    let mut proposals = Vec::new();
    if let Some(manifest) = manifest {
        match decide(learn::granting(manifest, policy, &ThisMachine)) {
            Ok(plan) => proposals = asked(manifest, &plan, &ThisMachine, around),
            Err(reason) => refused.push(Refused {
                question: "all that the manifest asks for".to_owned(),
                reason,
                count: 1,
            }),
        }
    }
    let without = |left_out: usize| {
        let mut policy = policy.clone();
        for (index, proposal) in proposals.iter().enumerate() {
            if index != left_out {
                proposal.change.add_to(&mut policy);
            }
        }
        decide(policy).is_ok()
    };
    if proposals.len() <= REQUESTS {
        let needed: Vec<bool> = (0..proposals.len()).map(|index| !without(index)).collect();
        let mut needed = needed.into_iter();
        proposals.retain(|_| needed.next().unwrap_or(true));
    }
    if proposals.is_empty() {
        refused.extend(unmet.iter().map(|unmet| Refused {
            question: format!("rule {}", unmet.rule),
            reason: format!("{}; {}", unmet.reason, unmet.remedy),
            count: 1,
        }));
    }
    Lesson {
        schema: SCHEMA,
        outcome: Outcome::Refused {
            unmet: unmet.to_vec(),
        },
        used: Vec::new(),
        refused,
        proposals,
        absent: Vec::new(),
        unused: Vec::new(),
        unlisted: 0,
    }
}
