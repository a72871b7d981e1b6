//! One look at a jar that runs: what its cgroup counts, else what its tasks say of
//! themselves.

use std::{
    os::fd::OwnedFd,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use belljar_plan::event::Resource;
use tokio::time::{Instant, sleep};

use super::{signs::Glimpse, watch::Seen};
use crate::sys::{
    self,
    cgroup::{Counted, OwnCgroup},
};

/// A look at a jar after a pause: what was seen, and how long it took.
pub(super) struct Look {
    looking: Pin<Box<dyn Future<Output = (Sight, Duration)> + Send>>,
    begun: Arc<AtomicBool>,
}

impl Look {
    /// The pause before it is over.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Relaxed)
    }
}

impl Future for Look {
    type Output = (Sight, Duration);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.looking.as_mut().poll(context)
    }
}

/// What a look has to tell.
pub(super) enum Sight {
    Seen(Seen, Glimpse),
    /// This time there was nothing to be seen.
    Nothing,
    /// What held a limit is gone.
    Lost,
}

/// What is looked at of a jar.
pub(super) struct Subject {
    pub(super) pid: i32,
    pub(super) scratch: Option<Arc<OwnedFd>>,
    pub(super) cgroup: Option<Arc<OwnCgroup>>,
    /// Memory is looked at closely beyond so many bytes.
    pub(super) near: u64,
    /// How long tasks waited is wanted too.
    pub(super) pressure: bool,
}

/// Looks at it after a pause.
pub(super) fn look(pause: Duration, subject: Subject) -> Look {
    let begun = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&begun);
    let looking = Box::pin(async move {
        sleep(pause).await;
        mark.store(true, Relaxed);
        let begun = Instant::now();
        let sight = match &subject.cgroup {
            Some(cgroup) if cgroup.has_lost_a_limit() => Sight::Lost,
            _ => seen(subject).await,
        };
        (sight, begun.elapsed())
    });
    Look { looking, begun }
}

async fn seen(subject: Subject) -> Sight {
    let Subject {
        pid,
        scratch,
        cgroup,
        near,
        pressure,
    } = subject;
    let counted = cgroup.as_ref().map(|cgroup| cgroup.counted());
    let disk = scratch.and_then(|scratch| sys::taken(&scratch).ok());
    let disk = disk.map(|taken| (taken.bytes, taken.full));
    let counted = counted.unwrap_or_default();
    let glimpse = cgroup.as_ref().map(|cgroup| Glimpse {
        killed: cgroup.out_of_memory(),
        throttled: counted.throttled,
        pressure: pressure.then(|| Resource::ALL.map(|of| cgroup.pressure(of.word()))),
    });
    let glimpse = glimpse.unwrap_or_default();
    if let Counted {
        memory: Some(memory),
        cpu: Some(cpu),
        tasks: Some(tasks),
        ..
    } = counted
    {
        // The kernel counts, and nothing has to be looked for among tasks.
        let seen = Seen {
            memory,
            cpu,
            tasks,
            disk,
        };
        return Sight::Seen(seen, glimpse);
    }
    let seen = match sampled(pid, near).await {
        // What limits rest on is known without looking at tasks.
        None if counted.cpu.is_some() && (counted.memory.is_some() || near == u64::MAX) => {
            Some(Seen::default())
        }
        seen => seen,
    };
    match seen {
        Some(seen) => {
            let seen = Seen {
                memory: counted.memory.unwrap_or(seen.memory),
                cpu: counted.cpu.unwrap_or(seen.cpu),
                tasks: counted.tasks.unwrap_or(seen.tasks),
                disk,
            };
            Sight::Seen(seen, glimpse)
        }
        None => Sight::Nothing,
    }
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

/// How many processors a jar can keep busy. Asking takes dozens of calls, so
/// it is done once; it only says how often to look.
pub(super) fn processors() -> u64 {
    static PROCESSORS: OnceLock<u64> = OnceLock::new();
    *PROCESSORS
        .get_or_init(|| std::thread::available_parallelism().map_or(1, |count| count.get() as u64))
}
