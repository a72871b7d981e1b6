//! The supervision of one jar, from its launch to its report.

use std::{sync::Arc, time::Duration};

use belljar_plan::{
    Limit, Namespaces, Outcome, Report, Step,
    event::{Termination, What},
    outcome::StoppedBy,
    report::UNWRITTEN,
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Attempt, Failure, Grants, Handles, Job, PATIENCE,
    conclude::conclude,
    decide::Cause,
    denials::Denials,
    growth::Growth,
    setup::{self, Up},
    watched::Watched,
};
use crate::{
    launch::{Again, Ahead, Begun, Link, News, parking},
    report,
    streams::{Connected, Hands},
    sys::{
        self, Lease, Reachable,
        cgroup::{OwnCgroup, Whose},
    },
};

/// Supervises one jar.
pub(crate) async fn supervise(mut job: Job, begun: Begun) {
    let Begun {
        link,
        number,
        mut news,
        asked,
    } = begun;
    // While the launcher works. Afterwards it would be too late to say that there are none.
    let helpers = job
        .three
        .hands(job.plan.terminal)
        .and_then(|hands| Ok((hands, job.grants.take().map(Grants::watch).transpose()?)));
    // A box of its own for each stage, so that a jar that runs does not hold
    // the buffers of its start for all its life.
    let up = match helpers {
        Ok((hands, growth)) => match Box::pin(begin(&mut job, &mut news, asked)).await {
            Ok(up) => Ok((up, (hands, growth))),
            Err(failed) => {
                // What was set for it is as it was, when whoever waits goes on.
                if let Some(mut growth) = growth {
                    growth.last(GIVEN_BACK).await;
                }
                Err(failed)
            }
        },
        Err(error) => {
            // Its first process ends where nobody hears it.
            drop(job.progress.take());
            setup::give_up(&mut news).await;
            Err((before(&error), None))
        }
    };
    match up {
        Ok((up, helpers)) => Box::pin(run(job, &link, number, news, up, helpers)).await,
        Err((failure, receipts)) => {
            let failure = match job.cgroup.as_deref().and_then(OwnCgroup::out_of_memory) {
                // Whatever was missing then, this is why.
                Some((_, Whose::Own | Whose::OfAll)) => Failure::Limit(Limit::Memory),
                Some((_, Whose::Above)) | None => failure,
            };
            tracing::debug!(target: "belljar", jar = job.id, ?failure, "launch failed");
            drop(job.lease.take());
            drop(job.cgroup.take());
            failed(job, failure, receipts).await;
        }
    }
    link.leave(number);
}

/// Whoever launched it tells of it, and may try again. Where they gave the launch up, its
/// end is told here.
pub(super) async fn failed(mut job: Job, failure: Failure, receipts: Option<super::Receipts>) {
    let (nobody, _) = tokio::sync::oneshot::channel();
    let three = std::mem::take(&mut job.three);
    let failed = Attempt::Failed {
        failure,
        three,
        receipts,
    };
    if std::mem::replace(&mut job.reply, nobody)
        .send(failed)
        .is_err()
    {
        let outcome = Outcome::Stopped {
            by: StoppedBy::Host,
            // As for any jar that is killed at once.
            grace_used: true,
        };
        let task = job.task.as_deref();
        let report = report::of_plan(&job.id, task, &job.plan, &job.digest, outcome);
        finish(job, report).await;
    }
}

async fn begin(
    job: &mut Job,
    news: &mut mpsc::UnboundedReceiver<News>,
    asked: Instant,
) -> Result<Up, (Failure, Option<super::Receipts>)> {
    let Some(progress) = job.progress.take() else {
        return Err((Failure::Lost, None));
    };
    setup::set_up(&job.plan, news, &progress, (asked, &mut job.asked))
        .await
        .map_err(|(failure, receipts)| (failure, Some(receipts)))
}

/// A last look at granted directories takes no longer, with what was set for the jar
/// set back.
const GIVEN_BACK: Duration = Duration::from_secs(8);

/// The jar could not be had what it takes beside its processes.
fn before(error: &std::io::Error) -> Failure {
    Failure::Before {
        what: "connect streams and watches".to_owned(),
        errno: error.raw_os_error().unwrap_or(0),
    }
}

async fn run(
    mut job: Job,
    link: &Arc<Link>,
    number: u64,
    mut news: mpsc::UnboundedReceiver<News>,
    mut up: Up,
    (hands, mut growth): (Hands, Option<Growth>),
) {
    for (index, nanoseconds) in up.receipts.timings() {
        let took = Duration::from_nanos(nanoseconds.into());
        tracing::debug!(target: "belljar", jar = job.id, step = job.plan.describe_step(index), ?took, "done");
    }
    tracing::debug!(target: "belljar", jar = job.id, pid = up.pid, "running");
    let three = std::mem::take(&mut job.three);
    let ours = std::mem::take(&mut job.ours);
    let runtime = tokio::runtime::Handle::current();
    let connected = three.connect(hands, ours, up.terminal.take(), &job.meter, &runtime);
    let denials = match up.listener.take() {
        Some(listener) => reachable(&job, &up)
            .and_then(|reachable| Denials::listen(listener, &job.plan, reachable)),
        None => Ok(None),
    };
    let ready = connected.and_then(|connected| Ok((connected, denials?)));
    let (mut connected, denials) = match ready {
        Ok(ready) => ready,
        Err(error) => {
            setup::end(&up.pidfd, up.ended.is_some(), &mut news).await;
            return failed(job, before(&error), Some(up.receipts)).await;
        }
    };
    let (nobody, _) = tokio::sync::oneshot::channel();
    let reply = std::mem::replace(&mut job.reply, nobody);
    let running = Attempt::Running {
        pid: up.pid,
        streams: take_handles(&mut connected),
    };
    let (_, nobody) = mpsc::unbounded_channel();
    let mut asked = std::mem::replace(&mut job.asked, nobody);
    let (order, already) = (up.stop.take(), up.ended.take());
    // Whoever waits goes on at once; nothing is watched for in the first moments.
    let given_up = reply.send(running).is_err();
    let again = job.again.take();
    // However this ends, those who listen hear that nothing more comes.
    let _ends = job.events.ends();
    let mut watched = Watched::new(&job, link, number, &up, denials);
    if given_up {
        watched.stop(Cause::Stop(StoppedBy::Host));
    }
    if let Some(order) = order {
        watched.obey(order);
    }
    park(&job, again, link);
    let last = match already {
        Some(last) => Some(last),
        None => {
            watched
                .until_the_end(&mut asked, &mut news, &mut growth)
                .await
        }
    };
    let wall = up.started.elapsed();
    watched.last_words();
    if last.is_none() {
        if !namespaces(&job.plan).pid {
            // Its first process has learnt of it, and ends what it adopted.
            sys::wait_until_gone(&up.pidfd, PATIENCE).await;
        }
        setup::end(&up.pidfd, true, &mut news).await;
        sys::wait_until_gone(&up.pidfd, setup::GONE_WITHIN).await;
    }
    watched.last_change().await;
    if let Some(growth) = &mut growth {
        watched.grew(growth.last(GIVEN_BACK).await);
    }
    let ending = watched.ending(last, wall);
    let report = conclude(&job, &mut asked, &up, &mut connected, ending).await;
    finish(job, report).await;
}

/// The namespaces that the jar has of its own.
pub(super) fn namespaces(plan: &belljar_plan::Plan) -> Namespaces {
    let made = plan.steps.iter().find_map(|step| match step {
        Step::Clone { namespaces } => Some(*namespaces),
        _ => None,
    });
    made.unwrap_or_default()
}

/// What the jar's unix sockets may be connected to.
fn reachable(job: &Job, up: &Up) -> std::io::Result<Reachable> {
    Ok(Reachable {
        scratch: up.scratch.as_ref().map(sys::device).transpose()?,
        granted: job
            .plan
            .sockets
            .iter()
            .map(|socket| (socket.device, socket.inode))
            .collect(),
        names: namespaces(&job.plan).network,
        ids: job.lease.as_ref().map(Lease::id),
    })
}

fn take_handles(connected: &mut Connected) -> Handles {
    Handles {
        stdin: connected.stdin.take(),
        stdout: connected.stdout.take(),
        stderr: connected.stderr.take(),
        terminal: connected.terminal.take(),
    }
}

/// Has the launcher make the beginning of the next jar while nobody waits.
fn park(job: &Job, again: Option<Again>, link: &Link) {
    // The next launch may be another launcher's.
    let child = (parking() && link.has_room())
        .then(|| Ahead::like(&job.plan))
        .flatten()
        .and_then(|ahead| ahead.request(&job.parked));
    match (child, again) {
        (Some(asked), Some(again)) => {
            let (asked, descriptors) = again.begin(asked);
            link.send(asked, descriptors);
        }
        (Some(asked), None) => link.send(asked, Vec::new()),
        (None, _) => {}
    }
}

/// Everything is gone: tells so, and only then lets others have what it held.
async fn finish(mut job: Job, mut report: Report) {
    tracing::debug!(target: "belljar", jar = job.id, outcome = ?report.outcome, "ended");
    drop(job.lease.take());
    drop(job.cgroup.take());
    let termination = Termination::of(&report);
    job.events.tell(What::Terminated(Box::new(termination)));
    job.events.end();
    if job.sink.may_block() {
        let sink = job.sink.clone();
        let copy = report.clone();
        let (done, waiter) = tokio::sync::oneshot::channel();
        let writer = std::thread::Builder::new().spawn(move || {
            sys::block_signals();
            // Where it took too long, nobody waits any more.
            let _ = done.send(sink.finish(&copy));
        });
        let unwritten = match writer {
            Err(error) => Some(format!("{UNWRITTEN}: no thread for it: {error}")),
            Ok(_) => match tokio::time::timeout(PATIENCE, waiter).await {
                Ok(written) => written.unwrap_or(None),
                Err(_) => Some(format!("{UNWRITTEN}: its descriptor: nobody reads it")),
            },
        };
        report.symptoms.extend(unwritten);
    } else {
        report.symptoms.extend(job.sink.finish(&report));
    }
    job.ended.send_replace(Some(Arc::new(report)));
}
