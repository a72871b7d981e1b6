//! A jar while its program runs: limits, timers, stops, until its end.

use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use belljar_plan::{
    Limit,
    event::{Sample, Violation, What},
    message::{Event as Record, Request, event, request, signal as whom},
    outcome::StoppedBy,
    report::{Edge, LimitChange, LimitHit, denial_id},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::{
    Asked, Job, PATIENCE,
    change::{Done, UnderWay, Update},
    conclude::{Ending, tell_limit},
    decide::{Arbiter, Cause, Proof},
    denials::{Denials, Denied},
    flood::Flood,
    growth::Growth,
    look::{Look, Sight, Subject, look, processors},
    pause::{Pause, Step},
    setup::Up,
    signs::{Glimpse, Signs},
    watch::{Seen, Watch},
};
use crate::{
    launch::{Link, News},
    sys::{self, Grown},
};

/// So many looks in a row at a jar that lives may see nothing.
const BLIND: u32 = 5;

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;

/// How many jars this host watches.
static RUNNING: AtomicU32 = AtomicU32::new(0);

/// One of them.
struct One;

impl One {
    fn more() -> Self {
        RUNNING.fetch_add(1, Relaxed);
        Self
    }
}

impl Drop for One {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Relaxed);
    }
}

/// A jar that runs.
pub(super) struct Watched<'a> {
    watch: Watch,
    signs: Signs,
    arbiter: Arbiter,
    job: &'a Job,
    link: &'a Arc<Link>,
    number: u64,
    pid: i32,
    pidfd: &'a OwnedFd,
    scratch: Option<Arc<OwnedFd>>,
    started: Instant,
    /// For how long the limit `wall` has stood still; none while it does.
    wall_off: Option<Duration>,
    /// The jar stands still.
    paused: bool,
    /// For how long it has, known at its end.
    stood: Duration,
    /// When a stop's grace ends.
    grace: Option<Instant>,
    blind: u32,
    /// When the last look was taken.
    looked_at: Instant,
    denials: Option<Denials>,
    flood: Flood,
    pause: Pause<'a>,
    /// Who waits for the next look.
    asks: Vec<oneshot::Sender<Sample>>,
    /// What the host wants changed, in order.
    updates: VecDeque<Update>,
    /// The one of them that is carried out.
    under_way: UnderWay,
    /// What it has changed.
    changes: Vec<LimitChange>,
    /// It is one of those that run.
    _one: One,
}

impl<'a> Watched<'a> {
    pub(super) fn new(
        job: &'a Job,
        link: &'a Arc<Link>,
        number: u64,
        up: &'a Up,
        denials: Option<Denials>,
    ) -> Self {
        let scratch = up.scratch.as_ref();
        Self {
            watch: Watch::new(&job.plan),
            signs: Signs::default(),
            arbiter: Arbiter::default(),
            looked_at: up.started,
            job,
            link,
            number,
            pid: up.pid,
            pidfd: &up.pidfd,
            scratch: scratch.and_then(|fd| fd.try_clone().ok()).map(Arc::new),
            started: up.started,
            wall_off: Some(Duration::ZERO),
            paused: false,
            stood: Duration::ZERO,
            grace: None,
            blind: 0,
            denials,
            flood: Flood::none(up.started),
            pause: Pause::new(),
            asks: Vec::new(),
            updates: VecDeque::new(),
            under_way: UnderWay::default(),
            changes: Vec::new(),
            _one: One::more(),
        }
    }

    /// Watches until the launcher says that all is gone; none where the
    /// launcher is lost.
    pub(super) async fn until_the_end(
        &mut self,
        asked: &mut mpsc::UnboundedReceiver<Asked>,
        news: &mut mpsc::UnboundedReceiver<News>,
        growth: &mut Option<Growth>,
    ) -> Option<Record> {
        let mut look = self.look(None, Duration::ZERO);
        let mut listening = true;
        // Out of the way of everything else that has to do with `self`.
        let mut denials = self.denials.take();
        let mut under_way = std::mem::take(&mut self.under_way);
        let mut pause = std::mem::replace(&mut self.pause, Pause::new());
        let last = loop {
            under_way.begin(&mut self.updates, self.job, &self.watch, self.pid);
            self.wall_off = pause.wall_off();
            self.paused = pause.is_still();
            let timer = self.next_timer();
            tokio::select! {
                biased;
                heard = news.recv() => match heard {
                    Some(news) if news.0.kind == event::ENDED => break Some(news.0),
                    Some(_) => {}
                    None => break None,
                },
                order = asked.recv(), if listening => match order {
                    Some(Asked::Look(reply)) => {
                        self.asks.extend(reply);
                        // One that has begun is not begun again: whoever asks without end
                        // would have none come to its end.
                        if !look.has_begun() {
                            look = self.look_after(Duration::ZERO);
                        }
                    }
                    Some(Asked::Pause(wall, reply)) => {
                        let jar = (self.link, self.number, self.pid);
                        pause.begin(wall, reply, self.job, jar);
                    }
                    Some(Asked::Resume(reply)) => {
                        self.resume(&mut pause);
                        // Nobody may wait any more.
                        let _ = reply.send(());
                    }
                    // It has to go on to obey.
                    Some(order @ Asked::Stop { grace, .. }) if !grace.is_zero() => {
                        self.resume(&mut pause);
                        self.obey(order);
                    }
                    Some(order) => self.obey(order),
                    None => {
                        listening = false;
                        // Whoever lets go of a jar has it killed, but where its launch was given
                        // up in the very moment that it succeeded.
                        if self.arbiter.cause().is_none() {
                            self.stop(Cause::Stop(StoppedBy::Host));
                        }
                    }
                },
                () = self.job.meter.crossed() => self.crossed(),
                () = wait(timer) => self.timers(),
                seen = grown(growth) => self.grew(seen),
                calls = heard(&mut denials) => self.denied(calls),
                step = pause.next() => match step {
                    Step::Nudge => {
                        if let Some(denials) = &mut denials {
                            denials.let_go();
                        }
                    }
                    Step::Still(by) => self.job.events.tell(What::Paused { by }),
                    Step::Unwanted => drop(pause.end(self.link, self.number)),
                    Step::Failed => {}
                },
                done = under_way.done() => {
                    self.changed(done);
                    look = self.look(None, Duration::ZERO);
                }
                (sight, took) = &mut look => {
                    pause.hold_on(self.link, self.number);
                    let seen = self.saw(sight);
                    look = self.look(seen, took);
                }
            }
        };
        self.denials = denials;
        self.under_way = under_way;
        self.pause = pause;
        last
    }

    /// What was being changed at the end is known before the report is made: less memory
    /// than is in use ends a jar while the kernel takes it in.
    pub(super) async fn last_change(&mut self) {
        if let Some(done) = self.under_way.last(PATIENCE).await {
            self.changed(done);
        }
    }

    /// What happened just before the end, and was not heard of yet.
    pub(super) fn last_words(&mut self) {
        self.stood = self.pause.total();
        self.wall_off = Some(self.pause.wall_off_until_now());
        if self.job.meter.over_soft() {
            self.hit(Limit::Output, Edge::Soft);
        }
        for (what, count) in self.flood.rest() {
            self.tell_denied(what, count);
        }
    }

    /// What there is to conclude from.
    pub(super) fn ending(self, last: Option<Record>, wall: Duration) -> Ending {
        let heard = self.denials.is_some();
        let (tally, observations) = self.denials.map(Denials::told).unwrap_or_default();
        Ending {
            last,
            wall,
            paused: self.stood,
            wall_off: self.wall_off.unwrap_or_default(),
            arbiter: self.arbiter,
            watch: self.watch,
            signs: self.signs,
            tally,
            heard,
            observations,
            changes: self.changes,
        }
    }

    fn denied(&mut self, calls: Vec<Denied>) {
        for call in calls {
            if call.ends {
                self.stop(Cause::Violation(call.rule));
            }
            let what = What::Violation(Box::new(Violation {
                denial: call.row.map(|row| denial_id(&self.job.id, row)),
                pid: call.pid,
                rule: call.rule,
                action: call.action.to_owned(),
                syscall: call.syscall,
                arguments: call.arguments,
                answer: call.answer.to_owned(),
            }));
            let told = match call.ends {
                true => Some(what),
                false => self.flood.take(what, Instant::now()),
            };
            if let Some(what) = told {
                self.tell_denied(what, 1);
            }
        }
    }

    fn tell_denied(&self, what: What, count: u64) {
        tracing::debug!(target: "belljar", jar = self.job.id, count, ?what, "sandbox.violation");
        self.job.events.tell_of(what, count);
    }

    /// Ends the jar at once, for the first cause.
    pub(super) fn stop(&mut self, cause: Cause) {
        self.arbiter.hear(Proof::Cause(cause));
        self.arbiter.hear(Proof::Killed);
        self.grace = None;
        if let Err(error) = sys::kill(self.pidfd) {
            tracing::error!(target: "belljar", jar = self.job.id, %error, "cannot kill a jar");
        }
    }

    pub(super) fn obey(&mut self, order: Asked) {
        match order {
            Asked::Signal(signal) => self.signal(signal),
            // They are taken up where there is something to look at or to pause.
            Asked::Look(_) | Asked::Pause(..) | Asked::Resume(_) => {}
            Asked::Limits(update) => self.updates.push_back(update),
            Asked::Kill => self.stop(Cause::Stop(StoppedBy::Host)),
            Asked::Stop { by, signal, grace } => {
                let again = self.arbiter.cause().is_some();
                self.arbiter.hear(Proof::Cause(Cause::Stop(by)));
                match Instant::now().checked_add(grace) {
                    Some(end) if !again && !grace.is_zero() => {
                        self.signal(signal);
                        self.grace = Some(end);
                    }
                    // A grace beyond all time never ends.
                    None if !again => self.signal(signal),
                    _ => self.stop(Cause::Stop(by)),
                }
            }
        }
    }

    fn resume(&self, pause: &mut Pause<'_>) {
        if let Some(stood) = pause.end(self.link, self.number) {
            let paused_ns = u64::try_from(stood.as_nanos()).unwrap_or(u64::MAX);
            self.job.events.tell(What::Resumed { paused_ns });
        }
    }

    fn signal(&self, signal: i32) {
        let Ok(value) = u32::try_from(signal) else {
            return;
        };
        let asked = Request {
            kind: request::SIGNAL,
            jar: self.number,
            value,
            flag: match signal {
                SIGHUP | SIGINT => whom::GROUP,
                _ => whom::MAIN,
            },
            ..Request::default()
        };
        self.link.send(asked, Vec::new());
    }

    /// What holds other limits now is watched for them, and tells of it.
    fn changed(&mut self, done: Done) {
        let wall = self.started.elapsed().as_nanos();
        for change in &done.changed {
            let change = LimitChange {
                wall_ns: u64::try_from(wall).unwrap_or(u64::MAX),
                ..*change
            };
            tracing::info!(target: "belljar", jar = self.job.id, limit = %change.limit, after = ?change.after, "limit changed");
            self.watch.change(change.limit, change.after);
            if change.limit == Limit::Output {
                self.job.meter.change(change.after.soft, change.after.hard);
            }
            self.job.events.tell(What::LimitChanged { change });
            self.changes.push(change);
        }
        done.answer();
    }

    fn hit(&mut self, limit: Limit, at: Edge) {
        if self.watch.hit(limit, at) {
            tell_limit(self.job, LimitHit { limit, at });
        }
    }

    fn crossed(&mut self) {
        if self.job.meter.over_soft() {
            self.hit(Limit::Output, Edge::Soft);
        }
        if self.job.meter.over_hard() {
            self.hit(Limit::Output, Edge::Hard);
            self.stop(Cause::Limit(Limit::Output));
        }
    }

    pub(super) fn grew(&mut self, seen: Grown) {
        for hit in self.watch.grew(seen) {
            tell_limit(self.job, hit);
        }
        if seen.bytes > self.watch.hard(Limit::Disk) {
            self.stop(Cause::Limit(Limit::Disk));
        }
    }

    fn wall(&self, at: Edge) -> Option<Instant> {
        let nanoseconds = match at {
            Edge::Soft => self.watch.soft(Limit::Wall),
            Edge::Hard => self.watch.hard(Limit::Wall),
        };
        if nanoseconds == u64::MAX || self.watch.has_told(Limit::Wall, at) {
            return None;
        }
        // While it stands still there is no time to wait for.
        let off = self.wall_off?;
        self.started
            .checked_add(Duration::from_nanos(nanoseconds))?
            .checked_add(off)
    }

    fn next_timer(&self) -> Option<Instant> {
        let told = self.flood.next(Instant::now());
        [
            self.grace,
            self.wall(Edge::Soft),
            self.wall(Edge::Hard),
            told,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn timers(&mut self) {
        let now = Instant::now();
        let over = |end: Option<Instant>| end.is_some_and(|end| end <= now);
        if over(self.wall(Edge::Soft)) {
            self.hit(Limit::Wall, Edge::Soft);
        }
        if over(self.wall(Edge::Hard)) {
            self.hit(Limit::Wall, Edge::Hard);
            self.stop(Cause::Limit(Limit::Wall));
        }
        if over(self.grace)
            && let Some(cause) = self.arbiter.cause()
        {
            self.stop(cause);
        }
        while let Some((what, count)) = self.flood.turn(now) {
            self.tell_denied(what, count);
        }
    }

    fn saw(&mut self, sight: Sight) -> Option<Seen> {
        // Its number may be another's by now.
        if sys::gone(self.pidfd) {
            return None;
        }
        let (seen, glimpse) = match sight {
            Sight::Seen(seen, glimpse) => (seen, glimpse),
            Sight::Nothing => {
                // Whoever waits learns that there is nothing to be seen.
                self.asks.clear();
                self.blind += 1;
                if self.blind >= BLIND && self.watch.must_see() {
                    self.stop(Cause::Blind);
                }
                return None;
            }
            // What holds no more is not watched instead.
            Sight::Lost => {
                self.stop(Cause::Blind);
                return None;
            }
        };
        self.blind = 0;
        let now = Instant::now();
        let since = now.saturating_duration_since(self.looked_at);
        self.looked_at = now;
        self.watch.weigh(seen.memory, since);
        let (hits, end) = self.watch.take(seen);
        for hit in hits {
            tell_limit(self.job, hit);
        }
        let at = now.saturating_duration_since(self.started);
        for what in self.signs.take(at, &glimpse) {
            self.job.events.tell(what);
        }
        self.show(&seen, &glimpse, at);
        if let Some(limit) = end {
            self.stop(Cause::Limit(limit));
        }
        Some(seen)
    }

    /// Shows a sample to whoever wants one.
    fn show(&mut self, seen: &Seen, glimpse: &Glimpse, at: Duration) {
        let (stdout, stderr) = self.job.meter.counted();
        let [cpu, memory, io] = glimpse.pressure.unwrap_or_default();
        let sample = Sample {
            wall_ns: u64::try_from(at.as_nanos()).unwrap_or(u64::MAX),
            cpu_ns: seen.cpu,
            memory: self.watch.of_guest(seen.memory),
            tasks: seen.tasks,
            disk: seen.disk.map(|(bytes, _)| bytes),
            stdout,
            stderr,
            throttled_ns: glimpse.throttled,
            cpu_pressure_ns: cpu,
            memory_pressure_ns: memory,
            io_pressure_ns: io,
            paused: self.paused,
        };
        self.job.events.show(sample);
        for ask in self.asks.drain(..) {
            // Nobody may wait any more.
            let _ = ask.send(sample);
        }
    }

    fn look(&self, last: Option<Seen>, took: Duration) -> Look {
        // Not asked for before there was a first look: most jars end sooner.
        let processors = last.map_or(1, |_| processors());
        let jars = RUNNING.load(Relaxed);
        let pause = self.watch.pause(last, took, processors, jars);
        let pause = match self.job.events.every() {
            // Whoever wants to know pays for no more than a tenth of a processor either.
            Some(every) => pause.min(every.max(took * 10)),
            None => pause,
        };
        self.look_after(pause)
    }

    fn look_after(&self, pause: Duration) -> Look {
        let near = self
            .watch
            .soft(Limit::Memory)
            .min(self.watch.hard(Limit::Memory));
        let at = self.started.elapsed() + pause;
        let subject = Subject {
            pid: self.pid,
            scratch: self.scratch.clone(),
            cgroup: self.job.cgroup.clone(),
            near,
            pressure: self.job.events.every().is_some() || self.signs.wants_pressure(at),
        };
        look(pause, subject)
    }
}

/// How much granted directories have grown, at each look.
async fn grown(growth: &mut Option<Growth>) -> Grown {
    if let Some(looked) = growth {
        if let Some(seen) = looked.seen.recv().await {
            return seen;
        }
        *growth = None;
    }
    std::future::pending().await
}

/// Denied calls, as they come.
async fn heard(denials: &mut Option<Denials>) -> Vec<Denied> {
    match denials {
        Some(denials) => denials.heard().await,
        None => std::future::pending().await,
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}
