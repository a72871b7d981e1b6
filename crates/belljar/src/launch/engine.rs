//! The thread `belljar`: one in each host process. It starts the launcher, lives
//! as long as the host, and supervises every jar.
//!
//! A host may call fork(2) at any time: the child has no such thread, and gets
//! one of its own at first use. No lock of the parent's is waited for there.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use belljar_plan::message::Request;
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
};

use super::link::{Begun, Link, NoScope, Scope};
use crate::{
    events::{Bringing, Pump},
    supervise::{All, Job, supervise},
    sys::{self, Lease, Packets},
};

/// Whether the launcher keeps a child with its namespaces made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parking {
    /// Every launch makes its own.
    None,
    /// One child waits for the next launch that fits: a launch is faster, and
    /// a process sleeps meanwhile.
    One,
}

static PARKING: AtomicBool = AtomicBool::new(false);

/// Tells this process's launcher whether to keep a child ready after a launch.
pub fn set_parking(parking: Parking) {
    PARKING.store(parking == Parking::One, Relaxed);
}

pub(crate) fn parking() -> bool {
    PARKING.load(Relaxed)
}

/// What the thread is asked.
pub(crate) enum Command {
    /// Have a launcher ready, and a child of it if so asked.
    Warm(Option<Wanted>),
    /// Supervise a jar, and launch it where that has not begun.
    Launch(Box<Job>, Option<Begun>),
    /// Have the launcher in a scope of systemd's.
    Scope(oneshot::Sender<Scope>),
}

/// A child that is wanted ahead, and what goes along.
pub(crate) type Wanted = (Request, Vec<OwnedFd>);

/// How the rest of the process talks to the thread.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    commands: mpsc::UnboundedSender<Command>,
    /// The launcher that runs, started by the thread.
    link: Arc<Mutex<Option<Arc<Link>>>>,
    /// The thread's runtime, which wakes whoever waits, on any executor.
    pub(crate) runtime: runtime::Handle,
    /// The lease of the parked child.
    pub(crate) parked: Arc<Mutex<Option<Lease>>>,
    /// A child waits in a cgroup of its own for its launch.
    pub(crate) early: Arc<AtomicBool>,
    all: Arc<Mutex<All>>,
    /// The thread that brings events to the host's sinks, once there are any.
    pump: Arc<Mutex<Option<Pump>>>,
}

/// One process's thread; a fork's is the next in the list.
#[derive(Debug)]
struct Process {
    pid: u32,
    engine: Mutex<Option<Engine>>,
    next: OnceLock<Box<Process>>,
}

impl Process {
    fn current() -> Self {
        Self {
            pid: std::process::id(),
            engine: Mutex::new(None),
            next: OnceLock::new(),
        }
    }
}

static FIRST: OnceLock<Process> = OnceLock::new();

impl Engine {
    /// This process's thread, started at first use.
    pub(crate) fn get() -> io::Result<Self> {
        let mut process = FIRST.get_or_init(Process::current);
        let pid = std::process::id();
        while process.pid != pid {
            process = process.next.get_or_init(|| Box::new(Process::current()));
        }
        let mut engine = lock(&process.engine);
        match &*engine {
            Some(engine) if !engine.commands.is_closed() => Ok(engine.clone()),
            _ => Ok(engine.insert(Self::start()?).clone()),
        }
    }

    /// This process's thread, where it was started and runs.
    pub(crate) fn started() -> Option<Self> {
        let pid = std::process::id();
        let mut process = FIRST.get();
        while let Some(known) = process {
            if known.pid == pid {
                let engine = lock(&known.engine).clone();
                return engine.filter(|engine| !engine.commands.is_closed());
            }
            process = known.next.get().map(Box::as_ref);
        }
        None
    }

    /// The jars that it supervises.
    pub(crate) fn all(&self) -> MutexGuard<'_, All> {
        lock(&self.all)
    }

    fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let (commands, queue) = mpsc::unbounded_channel();
        let engine = Self {
            commands,
            link: Arc::default(),
            runtime: runtime.handle().clone(),
            parked: Arc::default(),
            early: Arc::default(),
            all: Arc::default(),
            pump: Arc::default(),
        };
        let link = Arc::clone(&engine.link);
        // Where no thread can be had, the caller may be a task of another runtime,
        // which must not drop one; so it stays at hand.
        let runtime = Arc::new(Mutex::new(Some(runtime)));
        let taken = Arc::clone(&runtime);
        let started = std::thread::Builder::new()
            .name("belljar".to_owned())
            .spawn(move || {
                sys::block_signals();
                sys::sweep_projects();
                let runtime = lock(&taken).take();
                if let Some(runtime) = runtime {
                    runtime.block_on(serve(queue, &link));
                }
            });
        if let Err(error) = started {
            if let Some(runtime) = lock(&runtime).take() {
                runtime.shutdown_background();
            }
            return Err(error);
        }
        Ok(engine)
    }

    /// Has a launcher ready, and a child of it if so asked.
    pub(crate) fn warm(&self, child: Option<Wanted>) {
        match (self.living(), child) {
            (Some(link), Some((asked, descriptors))) => link.send(asked, descriptors),
            (Some(_), None) => {}
            (None, child) => self.ask(Command::Warm(child)),
        }
    }

    /// Launches a jar. A launcher that runs is asked from here, so that it works
    /// while the thread wakes up; the thread supervises.
    pub(crate) fn launch(&self, mut job: Box<Job>) {
        let begun = self.living().and_then(|link| Begun::ask(link, &mut job));
        self.ask(Command::Launch(job, begun));
    }

    /// Has the thread's runtime listen to a socket.
    pub(crate) fn listen(&self, socket: OwnedFd) -> io::Result<Packets> {
        let _inside = self.runtime.enter();
        Packets::new(socket)
    }

    /// Has events brought to sinks, and takes what was to be brought.
    pub(crate) fn bring(&self, bringing: &mut Option<Bringing>) -> io::Result<()> {
        if bringing.is_some() {
            let mut running = lock(&self.pump);
            let pump = match &*running {
                Some(pump) => pump,
                None => running.insert(Pump::start()?),
            };
            if let Some(bringing) = bringing.take() {
                pump.bring(bringing);
            }
        }
        Ok(())
    }

    /// Has the launcher in a scope of systemd's, which it is put into once.
    pub(crate) async fn scope(&self) -> Scope {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Scope(reply));
        answer.await.unwrap_or(Err(NoScope::Ended))
    }

    fn living(&self) -> Option<Arc<Link>> {
        lock(&self.link).clone().filter(|link| link.has_room())
    }

    fn ask(&self, command: Command) {
        // A thread that has ended drops a job, and who waits for it hears that;
        // its launcher and all jars have ended with it.
        let _ = self.commands.send(command);
    }
}

async fn serve(mut queue: mpsc::UnboundedReceiver<Command>, living: &Mutex<Option<Arc<Link>>>) {
    while let Some(command) = queue.recv().await {
        match command {
            Command::Warm(child) => match ready_with(living, child) {
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(target: "belljar", %error, "cannot start the launcher");
                }
            },
            Command::Scope(reply) => match ready(living) {
                Ok(link) => {
                    tokio::spawn(async move {
                        // Nobody waits where the launch was given up.
                        let _ = reply.send(link.scope().await);
                    });
                }
                Err(error) => {
                    tracing::warn!(target: "belljar", %error, "cannot start the launcher");
                    let _ = reply.send(Err(NoScope::Ended));
                }
            },
            Command::Launch(job, Some(begun)) => {
                tokio::spawn(supervise(*job, begun));
            }
            Command::Launch(mut job, None) => match ready(living) {
                Ok(link) => match Begun::ask(link, &mut job) {
                    Some(begun) => {
                        tokio::spawn(supervise(*job, begun));
                    }
                    None => {
                        tokio::spawn(job.lost());
                    }
                },
                Err(error) => {
                    tokio::spawn(job.refuse(error));
                }
            },
        }
    }
}

/// The launcher that runs, or a new one; where that has enough jars too. Only on the thread.
fn ready(living: &Mutex<Option<Arc<Link>>>) -> io::Result<Arc<Link>> {
    ready_with(living, None)
}

/// The same, and a child asked for before anybody else can ask for anything.
fn ready_with(living: &Mutex<Option<Arc<Link>>>, child: Option<Wanted>) -> io::Result<Arc<Link>> {
    let mut living = lock(living);
    let link = match &*living {
        Some(link) if link.has_room() => Arc::clone(link),
        Some(full) if full.lives() => match Link::start() {
            Ok(link) => {
                full.retire();
                link
            }
            Err(error) => {
                // Slower, but there is one.
                tracing::warn!(target: "belljar", %error, "cannot start another launcher");
                Arc::clone(full)
            }
        },
        _ => Link::start()?,
    };
    if let Some((asked, descriptors)) = child {
        link.send(asked, descriptors);
    }
    Ok(Arc::clone(living.insert(link)))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
