//! Why something is denied in a jar, or is not: the evaluator of
//! [`belljar_policy::why`], with this machine to look at.

use belljar_plan::{Answer, Bytes, Plan, answer::Verdict};
pub use belljar_policy::why::{Question, QuestionError};
use belljar_policy::{
    UnixPath,
    why::{self, Entry, Grant, Machine, Surroundings},
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

    fn started_by(&self, path: &UnixPath) -> Option<UnixPath> {
        let opened = Places::machine().open(path).ok()?;
        let named = match elf::read(&opened.bytes) {
            Ok(Some(elf)) => elf.loader?,
            _ => {
                let head = opened.bytes.read(0, script::HEAD).ok()?;
                script::parse(&head).ok()??.interpreter
            }
        };
        UnixPath::new(std::str::from_utf8(&named).ok()?).ok()
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

/// What giving a grant came to.
pub(crate) enum Tried {
    /// It is not given: why, in one sentence.
    Refused(String),
    /// It is, and this is what the plan with it answers.
    Planned(Answer),
}

/// Answers for a plan, and tries the grant that would change the answer, so that
/// none is proposed that does not help.
pub(crate) fn tried(
    plan: &Plan,
    question: &Question,
    around: &Surroundings,
    give: impl FnOnce(&Grant) -> Tried,
) -> Answer {
    let (mut answer, grant) = why::why(plan, question, &ThisMachine, around);
    let Some(grant) = grant.filter(|_| answer.verdict == Verdict::Denied) else {
        return answer;
    };
    match give(&grant) {
        Tried::Planned(with) if with.verdict != Verdict::Denied => {}
        Tried::Planned(with) => {
            answer.grant = None;
            answer.reason = format!(
                "{}; to grant it would not help: {}",
                answer.reason, with.reason
            );
        }
        Tried::Refused(reason) => {
            answer.grant = None;
            let reason = Bytes::from(reason).escaped();
            answer.reason = format!("{}; and it can't be granted: {reason}", answer.reason);
        }
    }
    answer
}
