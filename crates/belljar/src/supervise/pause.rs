//! A jar that stands still for a while: every task of it, by the freezer of its cgroup, else
//! by pid 1, which stops all others.

use std::{fmt, io, pin::Pin, sync::Arc, time::Duration};

use belljar_plan::{
    event::Freezer,
    message::{Request, request, signal},
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

use super::{Job, task::namespaces};
use crate::{
    launch::Link,
    sys::{
        self,
        cgroup::{Frozen, OwnCgroup},
    },
};

/// Whoever does not stand still by then waits in the kernel for something that does not come.
const PATIENCE: Duration = Duration::from_secs(5);
/// Calls that are made in the guest's stead have so long before they are given up.
const NUDGE_AFTER: Duration = Duration::from_millis(50);
/// Between two looks whether all stand still, at first.
const AGAIN: Duration = Duration::from_millis(2);
/// And at most.
const LONGEST: Duration = Duration::from_millis(250);

const SIGCONT: u32 = 18;
const SIGSTOP: u32 = 19;

/// What the limit `wall` does while a jar is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wall {
    /// It goes on, and can end a paused jar.
    Runs,
    /// It stops with the jar.
    Stops,
}

/// Why a jar is not paused, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// The jar has ended, or ended before it stood still.
    #[error("the jar has ended")]
    Ended,
    /// It has no pid namespace.
    #[error(
        "nothing can pause this jar: it has no pid namespace of its own; run it where the machine gives it one"
    )]
    Unsupported,
    /// Some of its tasks wait in the kernel. It goes on.
    #[error(
        "tasks of the jar did not stand still within {} s, since they wait in the kernel; it goes on, and can be paused later",
        PATIENCE.as_secs()
    )]
    NotStill,
    /// The kernel refuses.
    #[error("cannot pause the jar")]
    Refused(#[source] io::Error),
}

pub(crate) type Paused = Result<Freezer, PauseError>;

/// What has it stand still.
enum Hold {
    /// As long as this lives.
    Frozen(Frozen),
    /// Until they are told to go on.
    Stopped,
}

type UnderWay<'a> = Pin<Box<dyn Future<Output = Result<Hold, PauseError>> + Send + 'a>>;

enum State<'a> {
    Goes,
    /// It is on its way to stand still.
    Slows {
        under_way: UnderWay<'a>,
        by: Freezer,
        since: Instant,
        nudged: bool,
    },
    Still {
        hold: Hold,
        since: Instant,
    },
}

/// Whether a jar goes or stands still.
pub(super) struct Pause<'a> {
    state: State<'a>,
    waiting: Vec<oneshot::Sender<Paused>>,
    /// Since when the limit `wall` stands still too.
    wall_stopped: Option<Instant>,
    /// How long it did before.
    wall_off: Duration,
    /// How long the jar stood still before.
    total: Duration,
}

/// What has become of a pause.
pub(super) enum Step {
    /// Calls that somebody else makes for the jar keep it from standing still.
    Nudge,
    /// It stands still, by this.
    Still(Freezer),
    /// It stands still, and nobody waits for that any more.
    Unwanted,
    /// It goes on.
    Failed,
}

impl fmt::Debug for Pause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "paused {:?} before", self.total)
    }
}

impl<'a> Pause<'a> {
    pub(super) fn new() -> Self {
        Self {
            state: State::Goes,
            waiting: Vec::new(),
            wall_stopped: None,
            wall_off: Duration::ZERO,
            total: Duration::ZERO,
        }
    }

    /// Has it stand still, and tells whoever asked once it does.
    pub(super) fn begin(
        &mut self,
        wall: Wall,
        reply: oneshot::Sender<Paused>,
        job: &Job,
        (link, number, pid): (&'a Arc<Link>, u64, i32),
    ) {
        if wall == Wall::Stops {
            self.wall_stopped.get_or_insert_with(Instant::now);
        }
        match &self.state {
            State::Still { hold, .. } => {
                // Nobody may wait any more, here and below.
                let _ = reply.send(Ok(hold.freezer()));
            }
            State::Slows { .. } => self.waiting.push(reply),
            State::Goes => {
                let cgroup = job.cgroup.clone().filter(|cgroup| cgroup.can_freeze());
                // Without a pid namespace a first process that stands still could not end the
                // rest where its launcher is lost, and a signal to all would be the machine's.
                let numbered = namespaces(&job.plan).pid;
                let (by, under_way): (_, UnderWay<'a>) = match cgroup.filter(|_| numbered) {
                    Some(cgroup) => (Freezer::Cgroup, Box::pin(freeze(cgroup))),
                    None if numbered => (Freezer::Signals, Box::pin(stop(link, number, pid))),
                    None => {
                        let _ = reply.send(Err(PauseError::Unsupported));
                        self.wall_goes_on();
                        return;
                    }
                };
                self.waiting.push(reply);
                self.state = State::Slows {
                    under_way,
                    by,
                    since: Instant::now(),
                    nudged: false,
                };
            }
        }
    }

    /// Waits for what becomes of one that is under way; never where none is. Dropping
    /// the future loses nothing.
    pub(super) async fn next(&mut self) -> Step {
        let State::Slows {
            under_way,
            since,
            nudged,
            ..
        } = &mut self.state
        else {
            return std::future::pending().await;
        };
        let came = tokio::select! {
            came = &mut *under_way => came,
            () = sleep_until(*since + NUDGE_AFTER), if !*nudged => {
                *nudged = true;
                return Step::Nudge;
            }
        };
        match came {
            Ok(hold) => {
                let freezer = hold.freezer();
                let since = Instant::now();
                self.state = State::Still { hold, since };
                let mut is_heard = false;
                for waiting in self.waiting.drain(..) {
                    is_heard |= waiting.send(Ok(freezer)).is_ok();
                }
                match is_heard {
                    true => Step::Still(freezer),
                    // Whoever gave the wait up does not know that there is something to resume.
                    false => Step::Unwanted,
                }
            }
            Err(error) => {
                self.state = State::Goes;
                // It went on all the while.
                self.wall_stopped = None;
                let mut waiting = self.waiting.drain(..);
                if let Some(first) = waiting.next() {
                    let _ = first.send(Err(error));
                }
                for other in waiting {
                    let _ = other.send(Err(PauseError::NotStill));
                }
                Step::Failed
            }
        }
    }

    /// Has it go on; gives how long it stood still, where it did.
    pub(super) fn end(&mut self, link: &Link, number: u64) -> Option<Duration> {
        self.wall_goes_on();
        let was = std::mem::replace(&mut self.state, State::Goes);
        // Whoever waits for a pause that is ended before it began learns that.
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(Err(PauseError::NotStill));
        }
        match was {
            State::Goes => None,
            State::Slows { under_way, by, .. } => {
                // With it goes what has a cgroup's tasks stand still.
                drop(under_way);
                if by == Freezer::Signals {
                    link.send(to_all(number, SIGCONT), Vec::new());
                }
                None
            }
            State::Still { hold, since } => {
                let stood = since.elapsed();
                self.total += stood;
                match hold {
                    Hold::Frozen(frozen) => drop(frozen),
                    Hold::Stopped => link.send(to_all(number, SIGCONT), Vec::new()),
                }
                Some(stood)
            }
        }
    }

    /// It stands still.
    pub(super) fn is_still(&self) -> bool {
        matches!(self.state, State::Still { .. })
    }

    /// Signals alone have it stand still: a timer of the guest's own can send it another.
    pub(super) fn hold_on(&self, link: &Link, number: u64) {
        if let State::Still {
            hold: Hold::Stopped,
            ..
        } = self.state
        {
            link.send(to_all(number, SIGSTOP), Vec::new());
        }
    }

    fn wall_goes_on(&mut self) {
        if let Some(since) = self.wall_stopped.take() {
            self.wall_off += since.elapsed();
        }
    }

    /// For how long the limit `wall` has stood still; none while it does.
    pub(super) fn wall_off(&self) -> Option<Duration> {
        self.wall_stopped.is_none().then_some(self.wall_off)
    }

    /// The same up to now, where it does.
    pub(super) fn wall_off_until_now(&self) -> Duration {
        let now = self.wall_stopped.map(|since| since.elapsed());
        self.wall_off + now.unwrap_or_default()
    }

    /// How long the jar has stood still, all in all.
    pub(super) fn total(&self) -> Duration {
        match self.state {
            State::Still { since, .. } => self.total + since.elapsed(),
            _ => self.total,
        }
    }
}

impl Hold {
    fn freezer(&self) -> Freezer {
        match self {
            Self::Frozen(_) => Freezer::Cgroup,
            Self::Stopped => Freezer::Signals,
        }
    }
}

async fn freeze(cgroup: Arc<OwnCgroup>) -> Result<Hold, PauseError> {
    let frozen = cgroup.freeze().map_err(PauseError::Refused)?;
    let end = Instant::now() + PATIENCE;
    while !frozen.is_still() {
        too_late(end)?;
        sleep(AGAIN).await;
    }
    Ok(Hold::Frozen(frozen))
}

async fn stop(link: &Link, number: u64, pid: i32) -> Result<Hold, PauseError> {
    let end = Instant::now() + PATIENCE;
    let mut again = AGAIN;
    loop {
        link.send(to_all(number, SIGSTOP), Vec::new());
        sleep(again).await;
        // A first process that gets no processor takes no more of them for that.
        again = (again * 2).min(LONGEST);
        let came = match sys::all_stopped(pid).await {
            Some(true) => return Ok(Hold::Stopped),
            Some(false) => too_late(end),
            None => Err(PauseError::Ended),
        };
        if let Err(error) = came {
            link.send(to_all(number, SIGCONT), Vec::new());
            return Err(error);
        }
    }
}

fn too_late(end: Instant) -> Result<(), PauseError> {
    match Instant::now() < end {
        true => Ok(()),
        false => Err(PauseError::NotStill),
    }
}

fn to_all(jar: u64, number: u32) -> Request {
    Request {
        kind: request::SIGNAL,
        jar,
        value: number,
        flag: signal::ALL,
        ..Request::default()
    }
}
