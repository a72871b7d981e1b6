//! What is made of a jar that is gone: what is left of its output is delivered, the verdict
//! decided, and the report put together.

use std::time::Duration;

use belljar_plan::{
    Limit, Plan, Report,
    event::What,
    message::Event as Record,
    observation::Observations,
    report::{Edge, LimitChange, LimitHit, denial_id},
    usage::Source,
};
use tokio::sync::mpsc;

use super::{
    Asked, Job, PATIENCE,
    decide::{Arbiter, MainEnd, Proof},
    denials::Tally,
    setup::Up,
    signs::{Glimpse, Signs},
    usage::{Known, processor, usage},
    watch::{Seen, Watch},
};
use crate::{
    report,
    streams::{Connected, Meter, Stream},
    sys::{
        self,
        cgroup::{OwnCgroup, Whose},
    },
};

/// What the end left to conclude from.
pub(super) struct Ending {
    /// The launcher's last word; none where it was lost.
    pub(super) last: Option<Record>,
    pub(super) wall: Duration,
    pub(super) paused: Duration,
    /// For how long the limit `wall` stood still.
    pub(super) wall_off: Duration,
    pub(super) arbiter: Arbiter,
    pub(super) watch: Watch,
    pub(super) signs: Signs,
    pub(super) tally: Tally,
    /// Denied calls could be heard.
    pub(super) heard: bool,
    pub(super) observations: Option<Observations>,
    pub(super) changes: Vec<LimitChange>,
}

/// Drains what is left, decides, and puts the report together.
pub(super) async fn conclude(
    job: &Job,
    asked: &mut mpsc::UnboundedReceiver<Asked>,
    up: &Up,
    connected: &mut Connected,
    mut ending: Ending,
) -> Report {
    let undelivered = drain(
        asked,
        connected,
        ending.arbiter.cause().is_some() || ending.last.is_none(),
    )
    .await;
    let written = written(&job.meter, connected);
    let cgroup = job.cgroup.as_deref();
    let out_of_memory = cgroup.and_then(OwnCgroup::out_of_memory);
    last_look(job, up, &mut ending, written, out_of_memory);
    let Ending {
        last,
        wall,
        paused,
        wall_off,
        mut arbiter,
        watch,
        tally,
        heard,
        observations,
        changes,
        ..
    } = ending;
    if let Some(last) = &last {
        arbiter.hear(Proof::Init(last.init_status));
        let main = (last.has_main == 1)
            .then(|| MainEnd::from_record(last.main_code, last.main_status))
            .flatten();
        if let Some(main) = main {
            arbiter.hear(Proof::Main(main));
        }
    }
    if let Some((_, whose)) = out_of_memory {
        arbiter.hear(Proof::OutOfMemory(whose));
    }
    let outcome = arbiter.verdict();
    let mut symptoms = arbiter.symptoms(&outcome);
    symptoms.extend(undelivered);
    let usage = usage(&Known {
        watch: &watch,
        cgroup,
        counted: cgroup.map(OwnCgroup::counted).unwrap_or_default(),
        last: last.as_ref(),
        wall,
        paused,
        written,
        denied: heard.then_some(tally.counts.told),
    });
    let plan: &Plan = &job.plan;
    // The limit counts neither what is Belljar's own in a cgroup nor files that are mapped.
    let memory = match usage.sources.get("memory_peak") {
        Some(Source::Cgroup) => usage.memory_peak.map(|peak| watch.of_guest(peak)),
        Some(Source::RusageAndSamples) => Some(watch.peak.memory),
        _ => usage.memory_peak,
    };
    let mut report = report::of_plan(&job.id, job.task.as_deref(), plan, &job.digest, outcome);
    let counted = report::Counted {
        memory,
        wall_off: u64::try_from(wall_off.as_nanos()).unwrap_or(u64::MAX),
    };
    report.limits = report::limits(plan, &usage, counted, &changes);
    report.limit_changes = changes;
    report.limits_hit = watch.hits;
    report.usage = usage;
    report.enforcement = up.receipts.enforcement(plan);
    report.landlock = up.receipts.landlock(plan);
    report.dropped.extend(up.receipts.dropped(plan));
    report.symptoms = symptoms;
    report.violations = tally.rows;
    for (at, row) in report.violations.iter_mut().enumerate() {
        row.id = denial_id(&job.id, at);
    }
    report.denials = tally.counts;
    report.observations = observations;
    report
}

/// What was not delivered of what the guest wrote, in words.
async fn drain(
    asked: &mut mpsc::UnboundedReceiver<Asked>,
    connected: &mut Connected,
    ended_by_us: bool,
) -> Vec<String> {
    let patience = ended_by_us.then_some(PATIENCE);
    let delivered = tokio::select! {
        symptoms = connected.relays.finish(patience) => Some(symptoms),
        () = asked_to_end(asked) => None,
    };
    match delivered {
        Some(symptoms) => symptoms,
        None => {
            let little = Duration::from_millis(50);
            connected.relays.finish(Some(little)).await
        }
    }
}

/// What the last look missed is in the report and told as well, though it ends nothing
/// any more, but for output: what was written came before the end of whoever wrote it.
fn last_look(
    job: &Job,
    up: &Up,
    ending: &mut Ending,
    (stdout, stderr): (u64, u64),
    out_of_memory: Option<(u64, Whose)>,
) {
    let watch = &mut ending.watch;
    let mut reached = Vec::new();
    let mut hit = |watch: &mut Watch, limit, at| {
        if watch.hit(limit, at) {
            reached.push(LimitHit { limit, at });
        }
    };
    let written = stdout.saturating_add(stderr);
    if written > watch.soft(Limit::Output) {
        hit(watch, Limit::Output, Edge::Soft);
    }
    if job.meter.over_hard() || written > watch.hard(Limit::Output) {
        hit(watch, Limit::Output, Edge::Hard);
        ending.arbiter.hear(Proof::OutputOver);
    }
    if matches!(out_of_memory, Some((_, Whose::Own))) {
        hit(watch, Limit::Memory, Edge::Hard);
    }
    let cgroup = job.cgroup.as_deref();
    // pid 1 of the jar is one of those that were seen.
    if cgroup.is_some_and(|cgroup| cgroup.out_of_tasks(watch.peak.tasks)) {
        hit(watch, Limit::Processes, Edge::Hard);
    }
    let counted = cgroup.map(OwnCgroup::counted).unwrap_or_default();
    let cpu = processor(&counted, ending.last.as_ref())
        .map_or(0, |(user, system, _)| user.saturating_add(system));
    let disk = up
        .scratch
        .as_ref()
        .and_then(|scratch| sys::taken(scratch).ok())
        .map(|taken| (taken.bytes, taken.full));
    let looked = watch.looked;
    let (hits, _) = watch.take(Seen {
        cpu,
        disk,
        ..Seen::default()
    });
    watch.looked = looked;
    reached.extend(hits);
    let glimpse = Glimpse {
        killed: out_of_memory,
        throttled: counted.throttled,
        pressure: None,
    };
    for hit in reached {
        tell_limit(job, hit);
    }
    for what in ending.signs.take(ending.wall, &glimpse) {
        job.events.tell(what);
    }
}

/// Tells that a limit was reached.
pub(super) fn tell_limit(job: &Job, hit: LimitHit) {
    tracing::info!(target: "belljar", jar = job.id, limit = %hit.limit, at = ?hit.at, "limit reached");
    job.events.tell(What::Limit(hit));
}

/// Returns when somebody wants the end now; never where nobody can ask any more.
async fn asked_to_end(asked: &mut mpsc::UnboundedReceiver<Asked>) {
    loop {
        match asked.recv().await {
            Some(Asked::Stop { .. } | Asked::Kill) => return,
            // Whoever waits for an answer learns that there is no jar any more.
            Some(_) => {}
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
