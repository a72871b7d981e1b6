//! Answers for a plan: what becomes of one attempt in the jar that it makes, which
//! rule decides, by whose word, and the smallest grant that would change it.
//!
//! A plan's own steps are what is walked here: the mounts in their order, the
//! Landlock rules, and the filter by the evaluator that answers for the kernel's
//! program. What the machine has at a path is asked of a [`Machine`], so that this
//! stays without I/O and a recorded plan can be asked about later.

mod calls;
mod files;
mod grant;
mod question;
mod view;

use belljar_plan::{
    Answer, Plan, Rule, Step, answer::Verdict, plan::PlannedRule, report::Violation,
};

use crate::{path::UnixPath, policy::Right, seccomp::Call};

pub(crate) use self::grant::quoted;
pub use self::{
    grant::{Grant, Surroundings},
    question::{Question, QuestionError},
    view::{Entry, EntryKind, Machine, Start},
};

/// What the guest takes for its home, where the plan says so.
pub(crate) fn home(plan: &Plan) -> Option<UnixPath> {
    files::home_inside(plan)
}

/// Where the guest starts.
pub(crate) fn start(plan: &Plan) -> Option<UnixPath> {
    let path = plan.steps.iter().find_map(|step| match step {
        Step::Workdir { path } => Some(path),
        _ => None,
    })?;
    UnixPath::new(std::str::from_utf8(&path.0).ok()?).ok()
}

/// Says what becomes of an attempt in the jar of a plan; where it is denied, with the
/// smallest grant that would allow it, as the answer tells it.
#[must_use]
pub fn why(
    plan: &Plan,
    question: &Question,
    machine: &dyn Machine,
    around: &Surroundings,
) -> (Answer, Option<Grant>) {
    Answers::of(plan, machine, around).to(question)
}

/// Answers to many questions about one plan: its jar is made of its steps once.
pub struct Answers<'a> {
    plan: &'a Plan,
    machine: &'a dyn Machine,
    around: &'a Surroundings,
    view: view::View<'a>,
}

impl<'a> Answers<'a> {
    /// For this plan.
    #[must_use]
    pub fn of(plan: &'a Plan, machine: &'a dyn Machine, around: &'a Surroundings) -> Self {
        Self {
            plan,
            machine,
            around,
            view: view::View::of(plan, machine),
        }
    }

    /// Whether a path of the jar lies in its own scratch, empty at first, and below the
    /// place where that begins.
    pub(crate) fn in_scratch(&self, path: &UnixPath) -> bool {
        self.view.walk(path, true).is_ok_and(|spot| {
            let mount = self.view.mount_of(&spot);
            mount.is_some_and(|mount| {
                matches!(mount.shows, view::Shows::Scratch) && mount.at != spot.path
            })
        })
    }

    /// The answer to one question, as [`why`] gives it.
    #[must_use]
    pub fn to(&self, question: &Question) -> (Answer, Option<Grant>) {
        let plan = self.plan;
        let found = match question {
            Question::Read(path) => files::read(self, path),
            Question::Write(path) => files::write(self, path),
            Question::Exec(path) => files::exec(self, path),
            Question::Connect { host, .. } => calls::connect(plan, host),
            Question::Call { name, arguments } => calls::call(plan, name, arguments),
        };
        found.told(plan, question.to_string(), self.around)
    }
}

/// Answers for a denied call that a report has, by the plan that it ran under.
#[must_use]
pub fn of_violation(plan: &Plan, violation: &Violation, around: &Surroundings) -> Answer {
    of_refused(plan, violation, around).0
}

/// The same, with the grant.
pub(crate) fn of_refused(
    plan: &Plan,
    violation: &Violation,
    around: &Surroundings,
) -> (Answer, Option<Grant>) {
    let arguments = violation.arguments.join(", ");
    let question = format!("call {}({arguments})", violation.syscall);
    let decided_by = match violation.rule {
        Rule::Exec => plan.said.get("process.subprocesses"),
        Rule::WritableCode => plan.said.get("process.jit"),
        _ => plan
            .said
            .get(&format!("seccomp.deny {}", violation.syscall)),
    };
    let grant = match (violation.rule, decided_by) {
        (Rule::Exec, _) => Some(Grant::Right(Right::Subprocesses)),
        (Rule::WritableCode, _) => Some(Grant::Right(Right::Jit)),
        (Rule::Sockets, _) if violation.syscall == "connect" => socket(violation),
        // What a policy denies, no grant allows.
        (_, Some(_)) => None,
        (_, None) => Call::named(&violation.syscall).map(|call| Grant::Call(call.name)),
    };
    let finding = Finding {
        verdict: Verdict::Denied,
        rule: Some(violation.rule),
        errno: None,
        decided_by: decided_by.cloned(),
        reason: format!("rule {} refuses {}", violation.rule, violation.action),
        grant,
    };
    let (answer, grant) = finding.told(plan, question, around);
    let answer = Answer {
        errno: Some(violation.answer.clone()),
        ..answer
    };
    (answer, grant)
}

/// The socket that a guest wanted to be connected to, as a grant of it.
fn socket(violation: &Violation) -> Option<Grant> {
    let path = violation
        .arguments
        .iter()
        .find_map(|argument| argument.strip_prefix("path="))?;
    Grant::of_path(&UnixPath::new(path).ok()?, None, true)
}

/// What was found out, before it is dressed with what the plan says of its rule.
struct Finding {
    verdict: Verdict,
    rule: Option<Rule>,
    errno: Option<&'static str>,
    /// Where a word of its own decides, and not the rule's.
    decided_by: Option<String>,
    reason: String,
    grant: Option<Grant>,
}

impl Finding {
    fn new(verdict: Verdict, rule: Rule, reason: impl Into<String>) -> Self {
        Self {
            verdict,
            rule: Some(rule),
            errno: None,
            decided_by: None,
            reason: reason.into(),
            grant: None,
        }
    }

    fn allowed(rule: Rule, reason: impl Into<String>) -> Self {
        Self::new(Verdict::Allowed, rule, reason)
    }

    fn denied(rule: Rule, errno: &'static str, reason: impl Into<String>) -> Self {
        Self {
            errno: Some(errno),
            ..Self::new(Verdict::Denied, rule, reason)
        }
    }

    fn not_there(errno: &'static str, reason: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::NotThere,
            rule: None,
            errno: Some(errno),
            decided_by: None,
            reason: reason.into(),
            grant: None,
        }
    }

    fn by(self, origin: impl Into<String>) -> Self {
        Self {
            decided_by: Some(origin.into()),
            ..self
        }
    }

    fn with(self, grant: Option<Grant>) -> Self {
        Self { grant, ..self }
    }

    fn told(self, plan: &Plan, question: String, around: &Surroundings) -> (Answer, Option<Grant>) {
        let planned: Option<&PlannedRule> = self
            .rule
            .and_then(|rule| plan.rules.iter().find(|planned| planned.rule == rule));
        let answer = Answer {
            question,
            verdict: self.verdict,
            rule: self.rule,
            errno: self.errno.map(str::to_owned),
            mechanism: planned.map(|planned| planned.planned.mechanism.clone()),
            strength: planned.map(|planned| planned.planned.strength),
            decided_by: self
                .decided_by
                .or_else(|| planned.map(|planned| word_of(plan, planned))),
            reason: self.reason,
            grant: self.grant.as_ref().map(|grant| grant.told(plan, around)),
        };
        (answer, self.grant)
    }
}

/// The word that asks for a rule: the preset by its name where nothing more was said.
fn word_of(plan: &Plan, rule: &PlannedRule) -> String {
    match rule.origin.as_str() {
        "default" => format!("preset {}, by default", plan.preset),
        "--preset" => format!("--preset {}", plan.preset),
        origin if origin.starts_with("--") => origin.to_owned(),
        origin => format!("preset {} ({origin})", plan.preset),
    }
}

#[cfg(test)]
pub(crate) mod tests;
