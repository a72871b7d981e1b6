//! Limits of a jar that runs, changed by its host: looked at, told to whatever holds
//! them, and only then taken for what holds.

use std::{collections::VecDeque, io, pin::Pin, sync::Arc, time::Duration};

use belljar_plan::{
    Limit, Plan,
    report::{LimitChange, LimitValues},
};
use belljar_policy::{
    Change,
    effective::changed,
    manifest::Bound,
    units::{UnitError, Whose, check_bound, format_value},
};
use tokio::{sync::oneshot, time::timeout};

use super::{Job, watch::Watch};
use crate::sys::{self, cgroup::OwnCgroup};

/// Why a limit of a running jar is not changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The jar has ended, or ended before it was done.
    #[error("the jar has ended")]
    Ended,
    /// No such limit can be.
    #[error(transparent)]
    Value(#[from] UnitError),
    /// It was not set at the launch, so that nothing holds it.
    #[error(
        "`{limit}` has no hard limit in this jar, and nothing that would hold one; launch it with a high one that is lowered later"
    )]
    NotSet {
        /// Which.
        limit: Limit,
    },
    /// The policy's ceiling holds for hosts too.
    #[error("`{limit}` of {} is above the policy's {} ({origin}); lower it, or raise the policy's", format_value(*limit, *wanted), format_value(*limit, *most))]
    AbovePolicy {
        /// Which.
        limit: Limit,
        /// What was wanted.
        wanted: u64,
        /// What the policy lets a jar have.
        most: u64,
        /// Where it says so.
        origin: String,
    },
    /// The size of a scratch is decided when it is made.
    #[error("`{limit}` is the size of what the jar was given at its launch, and stays")]
    Fixed {
        /// Which.
        limit: Limit,
    },
    /// Each process holds it by a bound that only CAP_SYS_RESOURCE raises.
    #[error(
        "`{limit}` can only be lowered: its bound of each process is raised by CAP_SYS_RESOURCE alone; launch with a higher limit"
    )]
    OnlyLowered {
        /// Which.
        limit: Limit,
    },
    /// What holds it does not take the value.
    #[error("cannot change `{limit}`")]
    Refused {
        /// Which.
        limit: Limit,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What a host wants changed, and where it is told how that went.
#[derive(Debug)]
pub(crate) struct Update {
    limits: Vec<(Limit, Bound)>,
    reply: oneshot::Sender<Result<(), UpdateError>>,
}

type Answer = oneshot::Receiver<Result<(), UpdateError>>;

impl Update {
    /// Refuses what can never be.
    pub(super) fn new(limits: &[(Limit, Bound)]) -> Result<(Self, Answer), UpdateError> {
        for (limit, bound) in limits {
            check_bound(*limit, bound, Whose::Key(limit.word()))?;
        }
        let (reply, done) = oneshot::channel();
        let limits = limits.to_vec();
        Ok((Self { limits, reply }, done))
    }
}

/// One limit on its way.
struct Wanted {
    limit: Limit,
    before: LimitValues,
    after: LimitValues,
    change: Change,
    /// The jar has a pid namespace of its own.
    numbered: bool,
}

/// How an update went: what holds now, though it may not be all.
pub(super) struct Done {
    pub(super) changed: Vec<LimitChange>,
    result: Result<(), UpdateError>,
    reply: oneshot::Sender<Result<(), UpdateError>>,
}

impl Done {
    /// Tells the host, once what holds is what is watched for.
    pub(super) fn answer(self) {
        // It may not wait any more.
        let _ = self.reply.send(self.result);
    }
}

/// The update of a jar that is under way: there is one at a time.
#[derive(Default)]
pub(super) struct UnderWay(Option<Pin<Box<dyn Future<Output = Done> + Send>>>);

impl UnderWay {
    /// Begins the next one where none is under way.
    pub(super) fn begin(
        &mut self,
        waiting: &mut VecDeque<Update>,
        job: &Job,
        watch: &Watch,
        pid: i32,
    ) {
        if self.0.is_some() {
            return;
        }
        let Some(update) = waiting.pop_front() else {
            return;
        };
        let wanted: Result<Vec<Wanted>, UpdateError> = update
            .limits
            .iter()
            .map(|(limit, bound)| wanted(job, watch, *limit, *bound))
            .collect();
        let cgroup = job.cgroup.clone();
        self.0 = Some(Box::pin(carry_out(wanted, update.reply, pid, cgroup)));
    }

    /// How the one under way went; never where none is.
    pub(super) async fn done(&mut self) -> Done {
        match &mut self.0 {
            Some(under_way) => {
                let done = under_way.await;
                self.0 = None;
                done
            }
            None => std::future::pending().await,
        }
    }

    /// How the one under way went, where the jar has ended meanwhile.
    pub(super) async fn last(&mut self, patience: Duration) -> Option<Done> {
        let under_way = self.0.take()?;
        let mut done = timeout(patience, under_way).await.ok()?;
        // Nothing is left that could have refused it.
        done.result = done.result.map_err(|_| UpdateError::Ended);
        Some(done)
    }
}

fn wanted(job: &Job, watch: &Watch, limit: Limit, said: Bound) -> Result<Wanted, UpdateError> {
    let plan: &Plan = &job.plan;
    let before = watch
        .holds(limit)
        .filter(|values| values.hard.is_some())
        .ok_or(UpdateError::NotSet { limit })?;
    if limit == Limit::Disk {
        return Err(UpdateError::Fixed { limit });
    }
    let holds = Bound {
        soft: before.soft,
        hard: before.hard,
        stop: false,
    };
    let to = changed(limit, said, holds);
    if let Some(wanted) = to.hard
        && let Some(ceiling) = job.most.get(&limit)
        && let Some(most) = ceiling.value.hard
        && wanted > most
    {
        return Err(UpdateError::AbovePolicy {
            limit,
            wanted,
            most,
            origin: ceiling.origin.clone(),
        });
    }
    let change = belljar_policy::change(plan, limit, &to);
    Ok(Wanted {
        limit,
        before,
        after: LimitValues {
            soft: to.soft,
            hard: to.hard,
        },
        change,
        numbered: super::task::namespaces(plan).pid,
    })
}

async fn carry_out(
    wanted: Result<Vec<Wanted>, UpdateError>,
    reply: oneshot::Sender<Result<(), UpdateError>>,
    pid: i32,
    cgroup: Option<Arc<OwnCgroup>>,
) -> Done {
    let mut changed = Vec::new();
    let all = async || {
        for one in wanted? {
            tell(&one, pid, cgroup.as_ref()).await?;
            changed.push(LimitChange {
                limit: one.limit,
                before: one.before,
                after: one.after,
                wall_ns: 0,
            });
        }
        Ok(())
    };
    let result = all().await;
    Done {
        changed,
        result,
        reply,
    }
}

/// Tells what holds a limit.
async fn tell(one: &Wanted, pid: i32, cgroup: Option<&Arc<OwnCgroup>>) -> Result<(), UpdateError> {
    let limit = one.limit;
    let refused = |source| UpdateError::Refused { limit, source };
    if let Some((resource, soft, hard)) = one.change.bound {
        sys::bound_all(pid, one.numbered, cgroup, resource, (soft, hard))
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => UpdateError::OnlyLowered { limit },
                _ => refused(error),
            })?;
    }
    for setting in &one.change.settings {
        let Some(cgroup) = cgroup else {
            return Err(UpdateError::NotSet { limit });
        };
        let (cgroup, setting) = (Arc::clone(cgroup), setting.clone());
        // Less memory than is in use is taken back before the write returns.
        let written = tokio::task::spawn_blocking(move || {
            sys::block_signals();
            cgroup.change(&setting).map(drop)
        });
        written
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(refused)?;
    }
    Ok(())
}
