//! Where a host has events brought to: its own code, which may be slow, on a thread that
//! nothing else waits for.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    task::{Context, Poll, Wake, Waker},
};

use belljar_plan::Event;

use super::{Events, Telling};
use crate::sys;

/// A place for events: a log, an audit trail, a metric.
///
/// It is brought every event of each jar that was told of it, in order, the last of them
/// [`What::Terminated`](belljar_plan::event::What), which comes for launches too that were
/// refused or failed. All jars of a process bring theirs on one thread, which no jar waits
/// for: while a sink is slow, alike events are put together, as for
/// [`Events`](crate::Events), and those of other jars are late.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use belljar::{Event, EventSink, Jar};
///
/// #[derive(Default)]
/// struct Trail(Mutex<Vec<String>>);
///
/// impl EventSink for Trail {
///     fn event(&self, event: &Event) {
///         let line = serde_json::to_string(event).expect("an event is data");
///         self.0.lock().expect("a list").push(line);
///     }
/// }
///
/// let trail = Arc::new(Trail::default());
/// let jar = Jar::program("true").events_to(trail);
/// ```
pub trait EventSink: Send + Sync {
    /// Something happened. A panic is logged, and the next event comes all the same.
    fn event(&self, event: &Event);
}

/// The sinks of one jar.
#[derive(Clone, Default)]
pub(crate) struct Sinks(Vec<Arc<dyn EventSink>>);

impl fmt::Debug for Sinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sinks", self.0.len())
    }
}

impl Sinks {
    pub(crate) fn add(&mut self, sink: Arc<dyn EventSink>) {
        self.0.push(sink);
    }

    /// What is to be brought to them from now on; none where there are none.
    pub(crate) fn hear(self, telling: &Telling) -> Option<Bringing> {
        (!self.0.is_empty()).then(|| Bringing(telling.listen(), self))
    }

    fn bring(&self, event: &Event) {
        for sink in &self.0 {
            let brought = catch_unwind(AssertUnwindSafe(|| sink.event(event)));
            if brought.is_err() {
                tracing::error!(target: "belljar", jar = event.jar, id = event.id, "a sink of events panicked");
            }
        }
    }
}

/// Events on their way to a jar's sinks.
#[derive(Debug)]
pub(crate) struct Bringing(Events, Sinks);

impl Bringing {
    /// Brings one event, where there is one; says what comes then.
    fn one(&self, context: &mut Context<'_>) -> Then {
        match self.0.poll(context) {
            Poll::Ready(Some(event)) => {
                self.1.bring(&event);
                Then::More
            }
            Poll::Ready(None) => Then::End,
            Poll::Pending => Then::Wait,
        }
    }

    /// Brings what was told by now, where there is no thread that does it.
    pub(crate) fn now(self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Then::More = self.one(&mut context) {}
    }
}

enum Then {
    /// There may be another one.
    More,
    /// There is none yet.
    Wait,
    /// There will be none.
    End,
}

/// How the thread that brings events is given more to bring.
#[derive(Debug)]
pub(crate) struct Pump(Sender<Arc<Turn>>);

/// One jar's turn.
#[derive(Debug)]
pub(crate) struct Turn {
    bringing: Bringing,
    turns: Sender<Arc<Turn>>,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        let turns = self.turns.clone();
        // With its thread there is nobody left to bring anything.
        let _ = turns.send(self);
    }
}

impl Pump {
    /// Starts a thread that brings events until nobody can have more to bring.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (turns, queue) = channel::<Arc<Turn>>();
        std::thread::Builder::new()
            .name("belljar-events".to_owned())
            .spawn(move || {
                sys::block_signals();
                for turn in queue {
                    let waker = Waker::from(Arc::clone(&turn));
                    let mut context = Context::from_waker(&waker);
                    // One at a time: a jar with many keeps those of others waiting, and no more.
                    if let Then::More = turn.bringing.one(&mut context) {
                        turn.wake();
                    }
                }
            })?;
        Ok(Self(turns))
    }

    /// Has events brought as they come.
    pub(crate) fn bring(&self, bringing: Bringing) {
        let turns = self.0.clone();
        Arc::new(Turn { bringing, turns }).wake();
    }
}
