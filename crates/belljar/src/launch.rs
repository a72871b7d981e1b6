//! From a plan to a running jar: asks the launcher for what is decided, plans again where
//! the machine turns out to hold less, and explains a failure.

mod ahead;
mod engine;
mod job;
mod link;
mod trial;

use std::{
    io,
    sync::{Arc, Mutex, Weak, atomic::AtomicU64, atomic::Ordering::Relaxed},
    time::Instant,
};

use belljar_plan::{
    Outcome, Plan, Report, Step,
    event::{Termination, What},
};
use belljar_policy::{HostFacts, Policy, Refusal, Verified};

pub use self::engine::{Parking, set_parking};
pub(crate) use self::{
    ahead::{Again, Ahead, Early},
    engine::{Engine, lock, parking},
    link::{Begun, Link, News, NoScope},
    trial::Came,
};
use crate::{
    error::LaunchError,
    events::{Sinks, Telling},
    facts,
    report::{self, ReportTo, Sink},
    streams::Three,
    supervise::{Attempt, Failure, Job, Receipts, Running},
    sys,
    verify::Image,
};

/// A plan that fits better is tried this often, where a machine turns out to
/// hold less than it seemed to.
pub(crate) const ATTEMPTS: usize = 4;

/// A program that was looked at and planned: everything but the launch.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) basis: Arc<Basis>,
    pub(crate) facts: Arc<HostFacts>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) digest: Arc<str>,
    /// Whether a plan that fits better may take this one's place.
    pub(crate) fixed: Fixed,
}

/// What follows where a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fixed {
    /// What that teaches about the machine may lead to another plan.
    No,
    /// This plan or none: it is not what the basis alone gives.
    Yes,
}

/// What a plan was made of and can be made of again, for other facts.
#[derive(Debug)]
pub(crate) struct Basis {
    pub(crate) verified: Verified,
    pub(crate) image: Option<Image>,
    pub(crate) policy: Policy,
}

/// What a launch is told besides.
#[derive(Debug, Default)]
pub(crate) struct Around {
    pub(crate) task: Option<String>,
    pub(crate) three: Three,
    pub(crate) report_to: Option<ReportTo>,
    pub(crate) sinks: Sinks,
}

/// A plan and its digest, in one copy for all jars of this host that have it.
pub(crate) fn shared(plan: Plan) -> (Arc<Plan>, Arc<str>) {
    static KNOWN: Mutex<Vec<(Weak<Plan>, Weak<str>)>> = Mutex::new(Vec::new());
    let digest = belljar_policy::digest(&plan);
    let mut known = lock(&KNOWN);
    let mut found = None;
    known.retain(|(plan, name)| {
        let (Some(plan), Some(name)) = (plan.upgrade(), name.upgrade()) else {
            return false;
        };
        if *name == *digest {
            found = Some((plan, name));
        }
        true
    });
    // The digest finds it; equality decides.
    if let Some(found) = found.filter(|(found, _)| **found == plan) {
        return found;
    }
    let (plan, digest) = (Arc::new(plan), Arc::from(digest));
    known.push((Arc::downgrade(&plan), Arc::downgrade(&digest)));
    (plan, digest)
}

/// An unguessable name.
pub(crate) fn new_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // Without a source of randomness the names of one host still differ.
    let bytes = sys::random().unwrap_or_else(|_| {
        let count = COUNT.fetch_add(1, Relaxed);
        u128::from(count).to_le_bytes()
    });
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("jar-{text}")
}

/// Starts the thread `belljar` and its launcher, which the first launch of a
/// process does otherwise. It returns at once, so that they start while the host does
/// something else; that they can't is told by a launch.
pub fn warm() {
    if sys::SUPPORTED
        && let Ok(engine) = Engine::get()
    {
        engine.warm(None);
    }
}

/// Launches what is decided. `decide` is only called once it is known that
/// the report can be written; meanwhile the launcher makes a child as `ahead` says.
pub(crate) async fn launch(
    decide: impl FnOnce() -> Result<Decided, Undecided> + Send,
    ahead: Option<Ahead>,
    around: Around,
) -> Result<Running, LaunchError> {
    if !sys::SUPPORTED {
        return Err(LaunchError::Unsupported);
    }
    let Around {
        task,
        mut three,
        report_to,
        sinks,
    } = around;
    let id = new_id();
    let begun = Instant::now();
    // Held until the launch takes it, whatever comes between.
    let mut early: Option<Early> = None;
    let engine = Engine::get().inspect(|engine| {
        // The launcher starts while we look; that it can't is told by the launch.
        let child = ahead.and_then(|ahead| ahead.ask(engine));
        engine.warm(child.map(|(asked, descriptors, cgroup)| {
            early = cgroup;
            (asked, descriptors)
        }));
    });
    let sink = Sink::open(report_to, &id)
        .map_err(|(path, source)| LaunchError::Report { path, source })?;
    let decided = decide();
    let plugin = decided
        .as_ref()
        .ok()
        .and_then(|decided| decided.plan.plugin.as_ref());
    let telling = Arc::new(Telling::of(&id, task.as_deref(), plugin));
    let mut bringing = sinks.hear(&telling);
    let engine = engine.and_then(|engine| {
        engine.bring(&mut bringing)?;
        Ok(engine)
    });
    let mut ended = |mut report: Report| {
        report.symptoms.extend(sink.finish(&report));
        telling.tell(What::Terminated(Box::new(Termination::of(&report))));
        telling.end();
        if let Some(bringing) = bringing.take() {
            bringing.now();
        }
        LaunchError::Ended {
            report: Box::new(report),
        }
    };
    let mut decided = match decided {
        Ok(decided) => decided,
        Err(Undecided::Error(error)) => return Err(error),
        Err(Undecided::Outcome(outcome)) => {
            return Err(ended(report::without_plan(&id, task.as_deref(), outcome)));
        }
    };
    tracing::debug!(
        target: "belljar",
        jar = id,
        digest = %decided.digest,
        steps = decided.plan.steps.len(),
        took = ?begun.elapsed(),
        "decided"
    );
    let engine = match engine {
        Ok(engine) => engine,
        Err(error) => {
            let failure = before("start the thread `belljar`", &error);
            let outcome = decided.outcome(&failure);
            return Err(ended(decided.report(&id, task.as_deref(), None, outcome)));
        }
    };
    for attempt in 1.. {
        let begin = |outcome| {
            sink.begin(&decided.report(&id, task.as_deref(), None, outcome))
                .map_err(|(path, source)| LaunchError::Report { path, source })
        };
        let made = match decided.place(&engine).await {
            Ok(place) => {
                let early = early.as_mut().and_then(Early::take_cgroup);
                let cgroup = (place.as_path(), early);
                {
                    let tell = (&sink, &telling);
                    decided.job(&id, task.clone(), cgroup, &three, tell, &engine)
                }
            }
            Err(failure) => Err(failure),
        };
        let (failure, receipts) = match made {
            Err(failure) => (failure, None),
            Ok((job, half, reply)) => {
                begin(Outcome::Lost)?;
                let job = Job {
                    three: std::mem::take(&mut three),
                    ..job
                };
                engine.launch(Box::new(job));
                early = None;
                match reply.await {
                    Ok(Attempt::Running { pid, streams }) => {
                        engine.all().add(&half);
                        return Ok(Running::new(
                            id,
                            task,
                            decided.plan,
                            decided.digest,
                            (pid, streams),
                            half,
                            engine,
                        ));
                    }
                    Ok(Attempt::Failed {
                        failure,
                        three: back,
                        receipts,
                    }) => {
                        three = back;
                        (failure, receipts)
                    }
                    Err(_) => (Failure::Lost, None),
                }
            }
        };
        if let Failure::Step { index, errno } = failure
            && attempt < ATTEMPTS
            && decided.fixed == Fixed::No
            && let Some(step) = decided.plan.steps.get(index).map(Step::word)
        {
            match decided.learn(step, errno) {
                Learnt::Nothing => {}
                Learnt::BetterPlan => continue,
                Learnt::Refusal(outcome) => {
                    return Err(ended(decided.report(
                        &id,
                        task.as_deref(),
                        receipts,
                        outcome,
                    )));
                }
            }
        }
        let outcome = decided.outcome(&failure);
        return Err(ended(decided.report(
            &id,
            task.as_deref(),
            receipts,
            outcome,
        )));
    }
    unreachable!("the loop returns at its last attempt")
}

fn before(what: &str, error: &io::Error) -> Failure {
    Failure::Before {
        what: what.to_owned(),
        errno: error.raw_os_error().unwrap_or(0),
    }
}

/// Why nothing could be decided: with an outcome, or without any report.
#[derive(Debug)]
pub(crate) enum Undecided {
    Error(LaunchError),
    Outcome(Outcome),
}

impl Undecided {
    /// Why, in words.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Error(error) => error.to_string(),
            Self::Outcome(Outcome::Refused { unmet }) => {
                let all: Vec<String> = unmet.iter().map(ToString::to_string).collect();
                all.join("; ")
            }
            Self::Outcome(_) => "there is no such program, or it cannot be run".to_owned(),
        }
    }
}

impl From<Refusal> for Undecided {
    fn from(refusal: Refusal) -> Self {
        match (refusal.outcome(), refusal) {
            (Some(outcome), _) => Self::Outcome(outcome),
            (None, Refusal::Invalid { reason }) => Self::Error(LaunchError::Invalid { reason }),
            (None, other) => Self::Error(LaunchError::Invalid {
                reason: other.to_string(),
            }),
        }
    }
}

/// What a failed step taught about the machine.
pub(crate) enum Learnt {
    Nothing,
    /// The policy accepts less, and there is a plan for that.
    BetterPlan,
    Refusal(Outcome),
}

impl Decided {
    /// Finds out why a step failed, and plans again with that knowledge.
    pub(crate) fn learn(&mut self, step: &str, errno: i32) -> Learnt {
        if step == "exec" || errno == 0 {
            return Learnt::Nothing;
        }
        // What was known of the machine may be old; else the failure itself
        // tells something.
        let mut facts = facts::refreshed(self.plan.preset);
        if facts == *self.facts {
            facts = facts::after_failure(&self.facts, step, errno);
            facts::remember(&facts);
        }
        if facts == *self.facts {
            return Learnt::Nothing;
        }
        self.facts = Arc::new(facts);
        match belljar_policy::plan(&self.basis.verified, &self.basis.policy, &self.facts) {
            Ok(plan) if plan != *self.plan => {
                (self.plan, self.digest) = shared(plan);
                Learnt::BetterPlan
            }
            Ok(_) => Learnt::Nothing,
            Err(refusal) => refusal.outcome().map_or(Learnt::Nothing, Learnt::Refusal),
        }
    }

    fn outcome(&self, failure: &Failure) -> Outcome {
        match failure {
            Failure::Lost => Outcome::Lost,
            Failure::Limit(limit) => Outcome::Limit { limit: *limit },
            Failure::Before { what, errno } => Outcome::SetupFailed {
                step: what.clone(),
                errno: *errno,
            },
            Failure::Step { index, errno } => {
                let step = self.plan.steps.get(*index);
                exec_outcome(&self.plan, step, *errno).unwrap_or_else(|| Outcome::SetupFailed {
                    step: self.plan.describe_step(*index),
                    errno: *errno,
                })
            }
        }
    }

    pub(crate) fn report(
        &self,
        id: &str,
        task: Option<&str>,
        receipts: Option<Receipts>,
        outcome: Outcome,
    ) -> Report {
        let mut report = report::of_plan(id, task, &self.plan, &self.digest, outcome);
        if let Some(receipts) = receipts {
            report.enforcement = receipts.enforcement(&self.plan);
            report.landlock = receipts.landlock(&self.plan);
            report.dropped.extend(receipts.dropped(&self.plan));
        }
        report
    }
}

/// The program itself could not be started. What the machine ran out of is a
/// failure of the set-up instead.
fn exec_outcome(
    plan: &Plan,
    step: Option<&belljar_plan::step::OwnedStep>,
    errno: i32,
) -> Option<Outcome> {
    const ENOENT: i32 = 2;
    const EAGAIN: i32 = 11;
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    let Some(Step::Exec { path, .. }) = step else {
        return None;
    };
    match errno {
        0 | EAGAIN | ENOMEM | ENFILE | EMFILE => None,
        ENOENT => Some(Outcome::NotFound {
            path: plan.program.clone(),
            searched: vec![path.escaped()],
        }),
        errno => Some(Outcome::NotRunnable {
            path: path.clone(),
            errno,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec() -> belljar_plan::step::OwnedStep {
        Step::Exec {
            path: "/bin/x".into(),
            arguments: Vec::new(),
            variables: Vec::new(),
        }
    }

    #[test]
    fn a_failed_exec_is_told_as_the_contract_says() {
        let plan = crate::supervise::test_plan(vec![exec()]);
        let outcome = |errno| exec_outcome(&plan, plan.steps.first(), errno);
        assert!(matches!(outcome(2), Some(Outcome::NotFound { .. })));
        assert!(matches!(
            outcome(13),
            Some(Outcome::NotRunnable { errno: 13, .. })
        ));
        assert!(matches!(
            outcome(8),
            Some(Outcome::NotRunnable { errno: 8, .. })
        ));
        assert_eq!(outcome(12), None);
        assert_eq!(exec_outcome(&plan, None, 2), None);
    }

    #[test]
    fn no_two_jars_have_one_id() {
        let (one, two) = (new_id(), new_id());
        assert_ne!(one, two);
        assert_eq!(one.len(), "jar-".len() + 32);
    }
}
