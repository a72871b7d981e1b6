//! What happens in a jar, on its way to whoever wants to hear it. Whoever tells never
//! waits: what was not heard yet is kept for each listener, alike events put together
//! once there are many of them, and of samples the last one.

mod sink;

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use belljar_plan::{
    Event,
    event::{Sample, What},
    plan::PluginName,
};
use futures_core::Stream;

pub use self::sink::EventSink;
pub(crate) use self::sink::{Bringing, Pump, Sinks};

/// So many events wait for a listener one by one. Beyond, alike ones are put together,
/// and there are not many kinds: a guest cannot make a queue grow.
const ONE_BY_ONE: usize = 256;

/// What happens in a jar, in order, to its end. A host that is slow to ask misses nothing:
/// once 256 events wait, alike ones are put together, and `count` says how many.
#[derive(Debug)]
pub struct Events(Arc<Queue>);

impl Events {
    /// The next event; none when the jar has ended and all was told.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll(context).map(|reading| match reading {
            Some(Reading::Event(event)) => Some(event),
            // This one asks for no samples.
            Some(Reading::Sample { .. }) | None => None,
        })
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll(context)
    }
}

/// Events and samples of a jar that runs, to its end. Whoever is slow to ask loses samples,
/// and is told how many, but no events.
#[derive(Debug)]
pub struct Monitor(Arc<Queue>);

/// What a [`Monitor`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reading {
    /// Something happened.
    Event(Event),
    /// What the last look at the jar saw.
    Sample {
        /// It.
        sample: Sample,
        /// So many before it were not asked for in time, and are lost.
        missed: u64,
    },
}

impl Monitor {
    /// The next event or sample; none when the jar has ended and all was told.
    pub async fn next(&mut self) -> Option<Reading> {
        poll_fn(|context| self.0.poll(context)).await
    }
}

impl Stream for Monitor {
    type Item = Reading;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Reading>> {
        self.0.poll(context)
    }
}

/// What waits for one listener.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    /// A sample is wanted so often, in nanoseconds; 0 for never.
    every: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    sample: Option<Sample>,
    missed: u64,
    ended: bool,
    waker: Option<Waker>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what waits, and wakes whoever waits for it.
    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        let waker = {
            let mut waiting = self.lock();
            change(&mut waiting);
            waiting.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn event(&self, event: Event) {
        self.change(|waiting| {
            if waiting.events.len() >= ONE_BY_ONE
                && let Some(alike) = waiting
                    .events
                    .iter_mut()
                    .find(|other| other.what.is_like(&event.what))
            {
                alike.count += event.count;
                alike.what.update(event.what);
                return;
            }
            waiting.events.push_back(event);
        });
    }

    fn sample(&self, sample: Sample) {
        if self.every.load(Relaxed) == 0 {
            return;
        }
        self.change(|waiting| {
            waiting.missed += u64::from(waiting.sample.replace(sample).is_some());
        });
    }

    fn end(&self) {
        self.change(|waiting| waiting.ended = true);
    }

    /// Events come before samples: they are why whoever is slow asks at all.
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Reading>> {
        let mut waiting = self.lock();
        if let Some(event) = waiting.events.pop_front() {
            return Poll::Ready(Some(Reading::Event(event)));
        }
        if let Some(sample) = waiting.sample.take() {
            let missed = std::mem::take(&mut waiting.missed);
            return Poll::Ready(Some(Reading::Sample { sample, missed }));
        }
        if waiting.ended {
            return Poll::Ready(None);
        }
        waiting.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// What one jar tells, and who listens.
#[derive(Debug)]
pub(crate) struct Telling {
    jar: String,
    task: Option<String>,
    plugin: Option<PluginName>,
    told: AtomicU64,
    listeners: Mutex<Listeners>,
}

#[derive(Debug, Default)]
struct Listeners {
    /// Those who have gone are forgotten when something is told.
    queues: Vec<Weak<Queue>>,
    ended: bool,
}

impl Telling {
    /// Nobody listens yet.
    pub(crate) fn of(jar: &str, task: Option<&str>, plugin: Option<&PluginName>) -> Self {
        Self {
            jar: jar.to_owned(),
            task: task.map(str::to_owned),
            plugin: plugin.cloned(),
            told: AtomicU64::new(0),
            listeners: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody who hears all that is told from now on.
    pub(crate) fn listen(&self) -> Events {
        Events(self.queue(Duration::ZERO))
    }

    /// The same with a sample so often.
    pub(crate) fn monitor(&self, every: Duration) -> Monitor {
        Monitor(self.queue(every.max(Duration::from_nanos(1))))
    }

    /// Has somebody who heard events get samples too.
    pub(crate) fn sampled(events: Events, every: Duration) -> Monitor {
        let Events(queue) = events;
        queue.every.store(nanoseconds(every).max(1), Relaxed);
        Monitor(queue)
    }

    fn queue(&self, every: Duration) -> Arc<Queue> {
        let queue = Arc::new(Queue::default());
        queue.every.store(nanoseconds(every), Relaxed);
        let mut listeners = self.lock();
        match listeners.ended {
            true => queue.end(),
            false => listeners.queues.push(Arc::downgrade(&queue)),
        }
        queue
    }

    /// Tells everybody.
    pub(crate) fn tell(&self, what: What) {
        self.tell_of(what, 1);
    }

    /// Tells everybody of something that stands for so many.
    pub(crate) fn tell_of(&self, what: What, count: u64) {
        let id = self.told.fetch_add(count, Relaxed) + 1;
        for queue in self.present() {
            queue.event(Event {
                id,
                jar: self.jar.clone(),
                task: self.task.clone(),
                plugin: self.plugin.clone(),
                count,
                what: what.clone(),
            });
        }
    }

    /// Shows everybody who wants samples.
    pub(crate) fn show(&self, sample: Sample) {
        for queue in self.present() {
            queue.sample(sample);
        }
    }

    /// How often a sample is wanted; none where nobody wants any.
    pub(crate) fn every(&self) -> Option<Duration> {
        let each = |queue: Arc<Queue>| match queue.every.load(Relaxed) {
            0 => None,
            every => Some(Duration::from_nanos(every)),
        };
        self.present().into_iter().filter_map(each).min()
    }

    /// Nothing more comes once this is dropped.
    pub(crate) fn ends(self: &Arc<Self>) -> Ends {
        Ends(Arc::clone(self))
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) {
        let queues = {
            let mut listeners = self.lock();
            listeners.ended = true;
            std::mem::take(&mut listeners.queues)
        };
        for queue in queues.iter().filter_map(Weak::upgrade) {
            queue.end();
        }
    }

    fn present(&self) -> Vec<Arc<Queue>> {
        let mut present = Vec::new();
        self.lock().queues.retain(|queue| {
            let queue = queue.upgrade();
            let there = queue.is_some();
            present.extend(queue);
            there
        });
        present
    }
}

/// Where a launch is given up, or never was one, whoever listens is not left waiting.
impl Drop for Telling {
    fn drop(&mut self) {
        self.end();
    }
}

/// The end of what is told, however it comes.
pub(crate) struct Ends(Arc<Telling>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use belljar_plan::{
        Limit, Rule,
        event::{Resource, Violation},
        report::{Edge, LimitHit},
    };

    use super::*;

    fn telling() -> Telling {
        Telling::of("jar-1", Some("task"), None)
    }

    fn violation(row: Option<usize>, rule: Rule) -> What {
        What::Violation(Box::new(Violation {
            denial: row.map(|row| format!("jar-1.{row}")),
            pid: 1,
            rule,
            action: "x".to_owned(),
            syscall: "bpf".to_owned(),
            arguments: Vec::new(),
            answer: "EPERM".to_owned(),
        }))
    }

    fn now<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Option<T> {
        match poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn all(events: &Events) -> Vec<Event> {
        std::iter::from_fn(|| now(|context| events.poll(context)).flatten()).collect()
    }

    #[test]
    fn a_host_that_asks_in_time_hears_each_with_its_number() {
        let telling = telling();
        let events = telling.listen();
        for _ in 0..3 {
            telling.tell(violation(Some(1), Rule::Syscalls));
        }
        let heard = all(&events);
        assert_eq!(
            heard.iter().map(|event| event.id).collect::<Vec<_>>(),
            [1, 2, 3]
        );
        assert!(heard.iter().all(|event| event.count == 1));
        assert_eq!(now(|context| events.poll(context)), None);
        telling.end();
        assert_eq!(now(|context| events.poll(context)), Some(None));
        // Who comes later is not left waiting.
        let late = telling.listen();
        assert_eq!(now(|context| late.poll(context)), Some(None));
    }

    #[test]
    fn of_a_flood_nothing_is_lost_and_little_is_kept() {
        const FLOOD: u64 = 100_000;
        let telling = telling();
        let events = telling.listen();
        for number in 0..FLOOD {
            let row = usize::try_from(number % 200).unwrap();
            let (row, rule) = match number % 3 {
                0 => (Some(row), Rule::Syscalls),
                1 => (None, Rule::Nesting),
                _ => (None, Rule::Syscalls),
            };
            telling.tell(violation(row, rule));
            telling.tell(What::Pressure {
                of: Resource::ALL[usize::try_from(number % 3).unwrap()],
                stalled_ns: number,
                within_ns: 1,
            });
        }
        telling.tell(What::Limit(LimitHit {
            limit: Limit::Wall,
            at: Edge::Hard,
        }));
        telling.end();
        let heard = all(&events);
        assert!(heard.len() < ONE_BY_ONE + 256, "{}", heard.len());
        let count: u64 = heard.iter().map(|event| event.count).sum();
        assert_eq!(count, 2 * FLOOD + 1);
        let last = heard.last().unwrap();
        assert_eq!((last.id, last.limit().is_some()), (2 * FLOOD + 1, true));
        // What stands for many tells the last of it.
        let most = heard.iter().filter_map(|event| match event.what {
            What::Pressure { stalled_ns, .. } => Some(stalled_ns),
            _ => None,
        });
        assert_eq!(most.max(), Some(FLOOD - 1));
    }

    #[test]
    fn who_is_slow_loses_samples_and_is_told_how_many() {
        let telling = telling();
        assert_eq!(telling.every(), None);
        let events = telling.listen();
        assert_eq!(telling.every(), None);
        let monitor = telling.monitor(Duration::from_millis(100));
        let quick = telling.monitor(Duration::from_millis(50));
        assert_eq!(telling.every(), Some(Duration::from_millis(50)));
        drop(quick);
        assert_eq!(telling.every(), Some(Duration::from_millis(100)));
        let sample = |tasks| Sample {
            tasks,
            ..Sample::default()
        };
        for tasks in 0..5 {
            telling.show(sample(tasks));
            telling.tell(violation(Some(1), Rule::Syscalls));
        }
        let mut heard = Vec::new();
        while let Some(reading) = now(|context| monitor.0.poll(context)).flatten() {
            heard.push(reading);
        }
        let (last, before) = heard.split_last().unwrap();
        assert!(
            before
                .iter()
                .all(|one| matches!(one, Reading::Event(event) if event.count == 1))
        );
        assert_eq!(before.len(), 5);
        assert_eq!(
            *last,
            Reading::Sample {
                sample: sample(4),
                missed: 4
            }
        );
        assert_eq!(all(&events).len(), 5);
    }
}
