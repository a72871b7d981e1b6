//! A jar while its program runs: limits, timers, stops, until its end.

use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use belljar_plan::{
    Event, Limit,
    event::{LimitChanged, LimitReached, Violation},
    message::{Event as Record, Request, event, request},
    observation::Observations,
    report::{Edge, LimitChange, LimitHit, denial_id},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Asked, Job,
    change::{Done, UnderWay, Update},
    decide::Cause,
    denials::{Denials, Denied, Tally},
    growth::Growth,
    setup::Up,
    watch::{Seen, Watch},
};
use crate::{
    launch::{Link, News},
    sys::{
        self, Grown,
        cgroup::{Counted, OwnCgroup},
    },
};

/// A change of limits may take so long when the jar has ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many looks in a row at a jar that lives may see nothing.
const BLIND: u32 = 5;

/// Room that violations leave for events that are fewer.
const KEPT_FREE: usize = 64;

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

/// A look at a jar after a pause: what was seen, and how long it took.
type Look = Pin<Box<dyn Future<Output = (Sight, Duration)> + Send>>;

/// What a look has to tell.
enum Sight {
    Seen(Seen),
    /// This time there was nothing to be seen.
    Nothing,
    /// What held a limit is gone.
    Lost,
}

/// A jar that runs.
pub(super) struct Watched<'a> {
    pub(super) watch: Watch,
    /// What Belljar did first.
    pub(super) cause: Option<Cause>,
    pub(super) killed: bool,
    job: &'a Job,
    link: &'a Link,
    number: u64,
    pid: i32,
    pidfd: &'a OwnedFd,
    scratch: Option<Arc<OwnedFd>>,
    started: Instant,
    /// When a stop's grace ends.
    grace: Option<Instant>,
    blind: u32,
    denials: Option<Denials>,
    /// What the host wants changed, in order.
    updates: VecDeque<Update>,
    /// The one of them that is carried out.
    under_way: UnderWay,
    /// What it has changed.
    pub(super) changes: Vec<LimitChange>,
    /// The id of the last event.
    told: u64,
    /// It is one of those that run.
    _one: One,
}

impl<'a> Watched<'a> {
    pub(super) fn new(
        job: &'a Job,
        link: &'a Link,
        number: u64,
        up: &'a Up,
        denials: Option<Denials>,
    ) -> Self {
        let scratch = up.scratch.as_ref();
        Self {
            watch: Watch::new(&job.plan),
            cause: None,
            killed: false,
            job,
            link,
            number,
            pid: up.pid,
            pidfd: &up.pidfd,
            scratch: scratch.and_then(|fd| fd.try_clone().ok()).map(Arc::new),
            started: up.started,
            grace: None,
            blind: 0,
            denials,
            updates: VecDeque::new(),
            under_way: UnderWay::default(),
            changes: Vec::new(),
            told: 0,
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
        let last = loop {
            under_way.begin(&mut self.updates, self.job, &self.watch, self.pid);
            let timer = self.next_timer();
            tokio::select! {
                biased;
                heard = news.recv() => match heard {
                    Some(news) if news.0.kind == event::ENDED => break Some(news.0),
                    Some(_) => {}
                    None => break None,
                },
                order = asked.recv(), if listening => match order {
                    Some(order) => self.obey(order),
                    None => listening = false,
                },
                () = self.job.meter.crossed() => self.crossed(),
                () = wait(timer) => self.timers(),
                seen = grown(growth) => self.grew(seen),
                calls = heard(&mut denials) => self.denied(calls),
                done = under_way.done() => {
                    self.changed(done);
                    look = self.look(None, Duration::ZERO);
                }
                (sight, took) = &mut look => {
                    let seen = self.saw(sight);
                    look = self.look(seen, took);
                }
            }
        };
        self.denials = denials;
        self.under_way = under_way;
        last
    }

    /// What was being changed at the end is known before the report is made: less memory
    /// than is in use ends a jar while the kernel takes it in.
    pub(super) async fn last_change(&mut self) {
        if let Some(done) = self.under_way.last(PATIENCE).await {
            self.changed(done);
        }
    }

    /// What was denied and told of, and what was observed.
    pub(super) fn told(&mut self) -> (Tally, Option<Observations>) {
        self.denials.take().map(Denials::told).unwrap_or_default()
    }

    fn denied(&mut self, calls: Vec<Denied>) {
        for call in calls {
            self.told += 1;
            tracing::debug!(
                target: "belljar",
                jar = self.job.id,
                rule = %call.rule,
                action = call.action,
                syscall = call.syscall,
                arguments = call.arguments.join(", "),
                pid = call.pid,
                "sandbox.violation"
            );
            if call.ends {
                self.stop(Cause::Violation(call.rule));
            }
            if self.job.events.capacity() > KEPT_FREE {
                let violation = Violation {
                    id: self.told,
                    jar: self.job.id.clone(),
                    task: self.job.task.clone(),
                    plugin: self.job.plan.plugin.clone(),
                    denial: call.row.map(|row| denial_id(&self.job.id, row)),
                    pid: call.pid,
                    rule: call.rule,
                    action: call.action.to_owned(),
                    syscall: call.syscall,
                    arguments: call.arguments,
                    answer: call.answer.to_owned(),
                };
                // Not every host listens.
                let _ = self
                    .job
                    .events
                    .try_send(Event::Violation(Box::new(violation)));
            }
        }
    }

    /// Ends the jar at once, for the first cause.
    pub(super) fn stop(&mut self, cause: Cause) {
        self.cause.get_or_insert(cause);
        self.killed = true;
        self.grace = None;
        if let Err(error) = sys::kill(self.pidfd) {
            tracing::error!(target: "belljar", jar = self.job.id, %error, "cannot kill a jar");
        }
    }

    pub(super) fn obey(&mut self, order: Asked) {
        use belljar_plan::outcome::StoppedBy;
        match order {
            Asked::Signal(signal) => self.signal(signal),
            Asked::Limits(update) => self.updates.push_back(update),
            Asked::Kill => self.stop(Cause::Stop(StoppedBy::Host)),
            Asked::Stop { by, signal, grace } => {
                let again = self.cause.is_some();
                self.cause.get_or_insert(Cause::Stop(by));
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

    fn signal(&self, signal: i32) {
        let Ok(value) = u32::try_from(signal) else {
            return;
        };
        let asked = Request {
            kind: request::SIGNAL,
            jar: self.number,
            value,
            flag: u32::from(matches!(signal, SIGHUP | SIGINT)),
            ..Request::default()
        };
        self.link.send(asked, Vec::new());
    }

    fn tell(&mut self, hit: LimitHit) {
        tracing::info!(target: "belljar", jar = self.job.id, limit = %hit.limit, at = ?hit.at, "limit reached");
        self.told += 1;
        let reached = LimitReached {
            id: self.told,
            jar: self.job.id.clone(),
            task: self.job.task.clone(),
            plugin: self.job.plan.plugin.clone(),
            limit: hit.limit,
            at: hit.at,
        };
        // Not every host listens.
        let _ = self.job.events.try_send(Event::Limit(reached));
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
            self.told += 1;
            let told = LimitChanged {
                id: self.told,
                jar: self.job.id.clone(),
                task: self.job.task.clone(),
                plugin: self.job.plan.plugin.clone(),
                change,
            };
            // Not every host listens.
            let _ = self.job.events.try_send(Event::LimitChanged(told));
            self.changes.push(change);
        }
        done.answer();
    }

    fn hit(&mut self, limit: Limit, at: Edge) {
        if self.watch.hit(limit, at) {
            self.tell(LimitHit { limit, at });
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

    fn grew(&mut self, seen: Grown) {
        for hit in self.watch.grew(seen) {
            self.tell(hit);
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
        self.started.checked_add(Duration::from_nanos(nanoseconds))
    }

    fn next_timer(&self) -> Option<Instant> {
        [self.grace, self.wall(Edge::Soft), self.wall(Edge::Hard)]
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
            && let Some(cause) = self.cause
        {
            self.stop(cause);
        }
    }

    fn saw(&mut self, sight: Sight) -> Option<Seen> {
        // Its number may be another's by now.
        if sys::gone(self.pidfd) {
            return None;
        }
        let seen = match sight {
            Sight::Seen(seen) => seen,
            Sight::Nothing => {
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
        let (hits, end) = self.watch.take(seen);
        for hit in hits {
            self.tell(hit);
        }
        if let Some(limit) = end {
            self.stop(Cause::Limit(limit));
        }
        Some(seen)
    }

    fn look(&self, last: Option<Seen>, took: Duration) -> Look {
        // Not asked for before there was a first look: most jars end sooner.
        let processors = last.map_or(1, |_| processors());
        let jars = RUNNING.load(Relaxed);
        let pause = self.watch.pause(last, took, processors, jars);
        let near = self
            .watch
            .soft(Limit::Memory)
            .min(self.watch.hard(Limit::Memory));
        let jar = Jar {
            pid: self.pid,
            scratch: self.scratch.clone(),
            cgroup: self.job.cgroup.clone(),
        };
        Box::pin(look(pause, jar, near))
    }
}

/// How many processors a jar can keep busy. Asking takes dozens of calls, so
/// it is done once; it only says how often to look.
fn processors() -> u64 {
    static PROCESSORS: OnceLock<u64> = OnceLock::new();
    *PROCESSORS
        .get_or_init(|| std::thread::available_parallelism().map_or(1, |count| count.get() as u64))
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

/// What is looked at of a jar.
struct Jar {
    pid: i32,
    scratch: Option<Arc<OwnedFd>>,
    cgroup: Option<Arc<OwnCgroup>>,
}

async fn look(pause: Duration, jar: Jar, near: u64) -> (Sight, Duration) {
    sleep(pause).await;
    let begun = Instant::now();
    let sight = match &jar.cgroup {
        Some(cgroup) if cgroup.has_lost_a_limit() => Sight::Lost,
        _ => seen(jar, near).await.map_or(Sight::Nothing, Sight::Seen),
    };
    (sight, begun.elapsed())
}

async fn seen(jar: Jar, near: u64) -> Option<Seen> {
    let counted = jar.cgroup.as_ref().map(|cgroup| cgroup.counted());
    let disk = jar.scratch.and_then(|scratch| sys::taken(&scratch).ok());
    let disk = disk.map(|taken| (taken.bytes, taken.full));
    let counted = match counted {
        // The kernel counts, and nothing has to be looked for among tasks.
        Some(Counted {
            memory: Some(memory),
            cpu: Some(cpu),
            tasks: Some(tasks),
            ..
        }) => {
            return Some(Seen {
                memory,
                cpu,
                tasks,
                disk,
            });
        }
        counted => counted.unwrap_or_default(),
    };
    let seen = match sampled(jar.pid, near).await {
        // What limits rest on is known without looking at tasks.
        None if counted.cpu.is_some() && (counted.memory.is_some() || near == u64::MAX) => {
            Some(Seen::default())
        }
        seen => seen,
    };
    seen.map(|seen| Seen {
        memory: counted.memory.unwrap_or(seen.memory),
        cpu: counted.cpu.unwrap_or(seen.cpu),
        tasks: counted.tasks.unwrap_or(seen.tasks),
        disk,
    })
}

/// What the jar's tasks say of themselves.
async fn sampled(pid: i32, near: u64) -> Option<Seen> {
    let sample = sys::sample(pid).await?;
    let mut memory = sample.private;
    if memory > near && sample.processes.len() > 1 {
        memory = memory.min(sys::shared_once(&sample.processes).await);
    }
    Some(Seen {
        memory,
        cpu: sample.cpu,
        tasks: sample.tasks,
        disk: None,
    })
}
