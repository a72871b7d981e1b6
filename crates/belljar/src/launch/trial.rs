//! A launch of a program that is not there: every step of its plan is done by
//! the real launcher, and at the last there is nothing to start.

use std::sync::Arc;

use belljar_plan::Step;

use super::{Decided, Engine, before, new_id};
use crate::{
    events::Telling,
    report::Sink,
    streams::Three,
    supervise::{Attempt, Failure, Running},
};

/// What was seen of a trial.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) came: Came,
    /// Kinds of steps that left a receipt.
    pub(crate) done: Vec<&'static str>,
}

/// How far a trial came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// Every step is done, as each one's receipt says, and nothing is left of it.
    Through,
    /// Not to the end.
    Short(Failure),
}

impl Decided {
    /// Tries the plan. The program that it starts must not be there.
    pub(crate) async fn try_out(&self) -> Trial {
        let short = |failure| Trial {
            came: Came::Short(failure),
            done: Vec::new(),
        };
        let engine = match Engine::get() {
            Ok(engine) => engine,
            Err(error) => return short(before("start the thread `belljar`", &error)),
        };
        let id = new_id();
        let telling = Arc::new(Telling::of(&id, None, None));
        let made = match self.place(&engine).await {
            Ok(place) => self.job(
                &id,
                None,
                (&place, None),
                &Three::default(),
                (&Sink::default(), &telling),
                &engine,
            ),
            Err(failure) => Err(failure),
        };
        let (job, half, reply) = match made {
            Ok(made) => made,
            Err(failure) => return short(failure),
        };
        engine.launch(Box::new(job));
        // `half` lives until the answer: where it is dropped, a launch is given up.
        match reply.await {
            Ok(Attempt::Failed {
                failure, receipts, ..
            }) => {
                let Some(receipts) = receipts else {
                    return short(failure);
                };
                let all = receipts.first_missing(&self.plan).is_none();
                let came = if all && self.reached_its_end(&failure) {
                    Came::Through
                } else {
                    Came::Short(failure)
                };
                let done = receipts
                    .timings()
                    .filter_map(|(index, _)| self.plan.steps.get(index).map(Step::word))
                    .collect();
                Trial { came, done }
            }
            // There is a program after all. It ends here, and nothing was learnt.
            Ok(Attempt::Running { pid, streams }) => {
                let mut running = Running::new(
                    id,
                    None,
                    Arc::clone(&self.plan),
                    Arc::clone(&self.digest),
                    (pid, streams),
                    half,
                    engine,
                );
                running.kill();
                running.wait().await;
                short(Failure::Step {
                    index: self.plan.steps.len().saturating_sub(1),
                    errno: 0,
                })
            }
            Err(_) => short(Failure::Lost),
        }
    }

    /// It failed for nothing but that the program is missing.
    fn reached_its_end(&self, failure: &Failure) -> bool {
        const ENOENT: i32 = 2;
        let Failure::Step { index, errno } = *failure else {
            return false;
        };
        errno == ENOENT && matches!(self.plan.steps.get(index), Some(Step::Exec { .. }))
    }
}
