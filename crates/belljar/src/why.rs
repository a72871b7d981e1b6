//! Why something is denied in a jar, or is not: the evaluator of
//! [`belljar_policy::why`], with this machine to look at.

use belljar_plan::{
    Answer, Bytes, Plan,
    answer::{SmallestGrant, Verdict},
    report::Violation,
};
pub use belljar_policy::why::{Question, QuestionError};
use belljar_policy::{
    UnixPath,
    why::{self, Entry, Grant, Machine, Start, Surroundings},
};

use crate::{
    sys::look,
    verify::{elf, places::Places, script, survey},
};

/// The machine that this runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThisMachine;

impl Machine for ThisMachine {
    fn entry(&self, path: &UnixPath) -> Result<Entry, i32> {
        look::entry(path)
    }

    fn start(&self, path: &UnixPath) -> Start {
        let Ok(opened) = Places::machine().open(path) else {
            return Start::Nothing;
        };
        let named = match elf::read(&opened.bytes) {
            Ok(Some(elf)) => match elf.loader {
                Some(loader) => loader,
                None => return Start::Itself,
            },
            _ => {
                let head = opened.bytes.read(0, script::HEAD).unwrap_or_default();
                match script::parse(&head) {
                    Ok(Some(line)) => line.interpreter,
                    Ok(None) | Err(_) => return Start::Nothing,
                }
            }
        };
        let path = std::str::from_utf8(&named).map(UnixPath::new);
        match path {
            Ok(Ok(path)) => Start::By(path),
            _ => Start::Nothing,
        }
    }
}

/// Answers for a plan that was made before, by what this machine has at paths
/// now. Whether a grant would be given is not tried: the policy that it was made
/// with is not known.
#[must_use]
pub fn why(plan: &Plan, question: &Question) -> Answer {
    let around = Surroundings::of(&survey::caller());
    why::why(plan, question, &ThisMachine, &around).0
}

/// Answers for a denied call that a report has, by the plan that it ran under.
#[must_use]
pub fn of_violation(plan: &Plan, violation: &Violation) -> Answer {
    why::of_violation(plan, violation, &Surroundings::of(&survey::caller()))
}

/// What giving grants came to.
pub(crate) enum Tried {
    /// They are not given: why, in one sentence.
    Refused(String),
    /// They are, and this is what the plan with them answers, and what would help further.
    Planned(Box<Answer>, Option<Grant>),
}

/// So many grants are tried together.
const GRANTS: usize = 6;

/// Answers for a plan, and tries the grants that would change the answer, so that
/// none is proposed that does not help.
pub(crate) fn tried(
    plan: &Plan,
    question: &Question,
    around: &Surroundings,
    give: impl Fn(&[Grant]) -> Tried,
) -> Answer {
    let (mut answer, mut next) = why::why(plan, question, &ThisMachine, around);
    if answer.verdict != Verdict::Denied {
        return answer;
    }
    let mut grants: Vec<Grant> = Vec::new();
    while let Some(grant) = next.take().filter(|grant| !grants.contains(grant)) {
        grants.push(grant);
        match give(&grants) {
            Tried::Planned(with, _) if with.verdict != Verdict::Denied => {
                let told = grants.iter().map(|grant| grant.told(plan, around));
                answer.grant = told.reduce(SmallestGrant::and);
                return answer;
            }
            Tried::Planned(_, further) if further.is_some() && grants.len() < GRANTS => {
                next = further;
            }
            Tried::Planned(with, _) => {
                answer.reason = format!("{}; no grant helps: {}", answer.reason, with.reason);
            }
            Tried::Refused(reason) => {
                let reason = Bytes::from(reason).escaped();
                answer.reason = format!("{}; and it can't be granted: {reason}", answer.reason);
            }
        }
    }
    answer.grant = None;
    answer
}
