//! The supervision of one jar, from its launch to its report.

use std::{sync::Arc, time::Duration};

use belljar_plan::{
    Limit, Namespaces, Plan, Report, Step,
    message::Event as Record,
    observation::Observations,
    outcome::StoppedBy,
    report::{Edge, LimitChange, UNWRITTEN, Usage, denial_id},
};
use tokio::sync::mpsc;

use super::{
    Asked, Attempt, Failure, Grants, Handles, Job,
    decide::{Cause, Evidence, MainEnd, decide, symptoms},
    denials::{Denials, Tally},
    growth::Growth,
    setup::{self, Up},
    watch::{Seen, Watch},
    watched::Watched,
};
use crate::{
    launch::{Again, Ahead, Begun, Link, News, parking},
    report,
    streams::{Connected, Hands, Meter, Stream},
    sys::{
        self, Lease, Reachable,
        cgroup::{OwnCgroup, Whose},
    },
};

/// Output that nobody reads is given up after so long, where Belljar ended the jar.
const PATIENCE: Duration = Duration::from_secs(2);

/// Supervises one jar.
pub(crate) async fn supervise(mut job: Job, begun: Begun) {
    let Begun {
        link,
        number,
        mut news,
    } = begun;
    // While the launcher works. Afterwards it would be too late to say that there are none.
    let helpers = job
        .three
        .hands(job.plan.terminal)
        .and_then(|hands| Ok((hands, job.grants.take().map(Grants::watch).transpose()?)));
    // A box of its own for each stage, so that a jar that runs does not hold
    // the buffers of its start for all its life.
    let up = match helpers {
        Ok((hands, growth)) => match Box::pin(begin(&mut job, &mut news)).await {
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
                Some(_) => Failure::Limit(Limit::Memory),
                None => failure,
            };
            tracing::debug!(target: "belljar", jar = job.id, ?failure, "launch failed");
            drop(job.lease.take());
            drop(job.cgroup.take());
            // Nobody waits where the launch was given up.
            let _ = job.reply.send(Attempt::Failed {
                failure,
                three: job.three,
                receipts,
            });
        }
    }
    link.leave(number);
}

async fn begin(
    job: &mut Job,
    news: &mut mpsc::UnboundedReceiver<News>,
) -> Result<Up, (Failure, Option<super::Receipts>)> {
    let Some(progress) = job.progress.take() else {
        return Err((Failure::Lost, None));
    };
    setup::set_up(&job.plan, news, &progress, &mut job.asked)
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
    link: &Link,
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
            let failure = before(&error);
            // Nobody waits where the launch was given up.
            let _ = job.reply.send(Attempt::Failed {
                failure,
                three: crate::streams::Three::default(),
                receipts: Some(up.receipts),
            });
            return;
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
    if last.is_none() {
        if !namespaces(&job.plan).pid {
            // Its first process has learnt of it, and ends what it adopted.
            sys::wait_until_gone(&up.pidfd, PATIENCE).await;
        }
        setup::end(&up.pidfd, true, &mut news).await;
        sys::wait_until_gone(&up.pidfd, setup::GONE_WITHIN).await;
    }
    watched.last_change().await;
    let (tally, observations) = watched.told();
    let (mut watch, cause, killed) = (watched.watch, watched.cause, watched.killed);
    let changes = watched.changes;
    if let Some(growth) = &mut growth {
        watch.grew(growth.last(GIVEN_BACK).await);
    }
    let ending = Ending {
        last,
        wall,
        cause,
        killed,
        tally,
        observations,
        changes,
    };
    let report = conclude(&job, &mut asked, &up, &mut connected, watch, ending).await;
    finish(job, report).await;
}

/// The namespaces that the jar has of its own.
pub(super) fn namespaces(plan: &Plan) -> Namespaces {
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
    let child = parking()
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

/// What the end left to conclude from.
struct Ending {
    /// The launcher's last word; none where it was lost.
    last: Option<Record>,
    wall: Duration,
    cause: Option<Cause>,
    killed: bool,
    tally: Tally,
    observations: Option<Observations>,
    changes: Vec<LimitChange>,
}

/// Drains what is left, decides, and puts the report together.
async fn conclude(
    job: &Job,
    asked: &mut mpsc::UnboundedReceiver<Asked>,
    up: &Up,
    connected: &mut Connected,
    mut watch: Watch,
    ending: Ending,
) -> Report {
    let patience = ending.cause.map(|_| PATIENCE);
    let undelivered = tokio::select! {
        symptoms = connected.relays.finish(patience) => Some(symptoms),
        () = asked_to_end(asked) => None,
    };
    let undelivered = match undelivered {
        Some(symptoms) => symptoms,
        None => {
            connected
                .relays
                .finish(Some(Duration::from_millis(50)))
                .await
        }
    };
    let (stdout, stderr) = written(&job.meter, connected);
    let written = stdout.saturating_add(stderr);
    let output_over = job.meter.over_hard() || written > watch.hard(Limit::Output);
    if written > watch.soft(Limit::Output) {
        watch.hit(Limit::Output, Edge::Soft);
    }
    if output_over {
        watch.hit(Limit::Output, Edge::Hard);
    }
    let cgroup = job.cgroup.as_deref();
    let out_of_memory = cgroup.and_then(OwnCgroup::out_of_memory);
    if out_of_memory == Some(Whose::Own) {
        watch.hit(Limit::Memory, Edge::Hard);
    }
    // pid 1 of the jar is one of those that were seen.
    if cgroup.is_some_and(|cgroup| cgroup.out_of_tasks(watch.peak.tasks)) {
        watch.hit(Limit::Processes, Edge::Hard);
    }
    let usage = usage(&mut watch, up, &ending, (stdout, stderr), cgroup);
    let evidence = Evidence {
        cause: ending.cause,
        killed: ending.killed,
        main: ending
            .last
            .filter(|last| last.has_main == 1)
            .and_then(|last| MainEnd::from_record(last.main_code, last.main_status)),
        init: ending.last.map(|last| last.init_status),
        out_of_memory,
        output_over,
    };
    let outcome = decide(&evidence);
    let mut symptoms = symptoms(&evidence, &outcome);
    symptoms.extend(undelivered);
    let plan: &Plan = &job.plan;
    let mut report = report::of_plan(&job.id, job.task.as_deref(), plan, &job.digest, outcome);
    report.limits = report::limits(plan, &usage, &ending.changes);
    report.limit_changes = ending.changes;
    report.limits_hit = watch.hits;
    report.usage = usage;
    report.enforcement = up.receipts.enforcement(plan);
    report.landlock = up.receipts.landlock(plan);
    report.dropped.extend(up.receipts.dropped(plan));
    report.symptoms = symptoms;
    report.violations = ending.tally.rows;
    for (at, row) in report.violations.iter_mut().enumerate() {
        row.id = denial_id(&job.id, at);
    }
    report.denials = ending.tally.counts;
    report.observations = ending.observations;
    report
}

/// Returns when somebody wants the end now; never where nobody can ask any more.
async fn asked_to_end(asked: &mut mpsc::UnboundedReceiver<Asked>) {
    loop {
        match asked.recv().await {
            Some(Asked::Signal(_) | Asked::Limits(_)) => {}
            Some(Asked::Stop { .. } | Asked::Kill) => return,
            None => std::future::pending().await,
        }
    }
}

/// Everything that the guest wrote, read or not. It is gone, so no more comes.
fn written(meter: &Meter, connected: &Connected) -> (u64, u64) {
    for _ in 0..8 {
        let counted = meter.counted();
        let (mut stdout, mut stderr) = counted;
        for reader in &connected.piped {
            match reader.unread() {
                (Stream::Stdout, unread) => stdout += unread,
                (Stream::Stderr, unread) => stderr += unread,
            }
        }
        // Else somebody read in between, and the sum is of two moments.
        if meter.counted() == counted {
            return (stdout, stderr);
        }
    }
    meter.counted()
}

fn usage(
    watch: &mut Watch,
    up: &Up,
    ending: &Ending,
    (stdout, stderr): (u64, u64),
    cgroup: Option<&OwnCgroup>,
) -> Usage {
    let counted = cgroup.map(OwnCgroup::counted).unwrap_or_default();
    let nanoseconds = |microseconds: u64| microseconds.saturating_mul(1000);
    let waited = ending
        .last
        .map(|last| (nanoseconds(last.init_user), nanoseconds(last.init_system)));
    // A cgroup knows of children too that nobody waited for.
    let waited = counted.user.zip(counted.system).or(waited);
    let cpu = waited.map_or(0, |(user, system)| user.saturating_add(system));
    let disk = up
        .scratch
        .as_ref()
        .and_then(|scratch| sys::taken(scratch).ok())
        .map(|taken| (taken.bytes, taken.full));
    let looked = watch.looked;
    // What the last look missed counts as well, though it ends nothing any more.
    watch.take(Seen {
        cpu,
        disk,
        ..Seen::default()
    });
    let peak = watch.peak;
    // A sample may know of time that nobody waited for.
    let user = waited.map(|(user, system)| peak.cpu.saturating_sub(system).max(user));
    let pressure = |of| cgroup.and_then(|cgroup| cgroup.pressure(of));
    Usage {
        throttled_ns: counted.throttled,
        cpu_pressure_ns: pressure("cpu"),
        memory_pressure_ns: pressure("memory"),
        io_pressure_ns: pressure("io"),
        wall_ns: u64::try_from(ending.wall.as_nanos()).ok(),
        user_ns: user,
        system_ns: waited.map(|(_, system)| system),
        memory_peak: cgroup
            .and_then(OwnCgroup::memory_peak)
            .map(|peak| watch.of_guest(peak))
            .or(looked.then_some(peak.memory)),
        rss_peak: ending
            .last
            .map(|last| last.init_peak.max(last.main_peak).saturating_mul(1024)),
        tasks_peak: looked.then_some(peak.tasks),
        stdout,
        stderr,
        disk_peak: match (peak.disk, watch.grown) {
            (Some((scratch, _)), grown) => Some(scratch.max(grown)),
            (None, 0) => None,
            (None, grown) => Some(grown),
        },
    }
}

/// Everything is gone: tells so, and only then lets others have what it held.
async fn finish(mut job: Job, mut report: Report) {
    tracing::debug!(target: "belljar", jar = job.id, outcome = ?report.outcome, "ended");
    drop(job.lease.take());
    drop(job.cgroup.take());
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
