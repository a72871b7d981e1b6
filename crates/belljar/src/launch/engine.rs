//! The thread `belljar`: one in each host process. It starts the launcher, lives
//! as long as the host, and supervises every jar.
//!
//! A host may call fork(2) at any time: the child has no such thread, and gets
//! one of its own at first use. No lock of the parent's is waited for there.

use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use belljar_plan::message::{DESCRIPTORS_PER_PACKET, Event, Request, request};
use tokio::{
    runtime,
    sync::{Mutex as AsyncMutex, OnceCell, mpsc, oneshot},
    time::Instant,
};

use crate::{
    events::{Bringing, Pump},
    supervise::{All, Job, supervise},
    sys::{self, LauncherProcess, Lease, Packets, cgroup::ScopeError},
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

/// The cgroup of a launcher's scope, or why there is none.
pub(crate) type Scope = Result<PathBuf, NoScope>;

/// Why there is no scope.
#[derive(Clone, Debug)]
pub(crate) enum NoScope {
    /// The launcher, or what asks for it, has ended, which says nothing of the machine.
    Ended,
    /// The machine gives none.
    Refused(String),
}

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
        let begun = self.living().map(|link| Begun::ask(link, &mut job));
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
        lock(&self.link).clone().filter(|link| link.lives())
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
                Ok(link) => {
                    let begun = Begun::ask(link, &mut job);
                    tokio::spawn(supervise(*job, begun));
                }
                Err(error) => {
                    tokio::spawn(job.refuse(error));
                }
            },
        }
    }
}

/// The launcher that runs, or a new one. Only on the thread.
fn ready(living: &Mutex<Option<Arc<Link>>>) -> io::Result<Arc<Link>> {
    ready_with(living, None)
}

/// The same, and a child asked for before anybody else can ask for anything.
fn ready_with(living: &Mutex<Option<Arc<Link>>>, child: Option<Wanted>) -> io::Result<Arc<Link>> {
    let mut living = lock(living);
    let link = match living.as_ref().filter(|link| link.lives()) {
        Some(link) => Arc::clone(link),
        None => Link::start()?,
    };
    if let Some((asked, descriptors)) = child {
        link.send(asked, descriptors);
    }
    Ok(Arc::clone(living.insert(link)))
}

/// A jar that a launcher was asked for.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) link: Arc<Link>,
    pub(crate) number: u64,
    pub(crate) news: mpsc::UnboundedReceiver<News>,
    /// When it was asked.
    pub(crate) asked: Instant,
}

impl Begun {
    /// Asks the launcher, once its answers have somewhere to go.
    fn ask(link: Arc<Link>, job: &mut Job) -> Self {
        let (number, news) = link.enter();
        let asked = Request {
            jar: number,
            ..job.request
        };
        link.send(asked, std::mem::take(&mut job.descriptors));
        Self {
            link,
            number,
            news,
            asked: Instant::now(),
        }
    }
}

/// What the launcher said about one jar. Boxed, since a channel sets room for
/// dozens aside, and a jar hears two.
pub(crate) type News = Box<(Event, Vec<OwnedFd>)>;

type Jars = HashMap<u64, mpsc::UnboundedSender<News>>;

#[derive(Debug)]
struct Packet {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// Packets that did not fit into the socket at once; a task sends them.
#[derive(Debug)]
struct Outgoing {
    queue: mpsc::UnboundedSender<Packet>,
    /// So many have not been sent yet.
    waiting: usize,
}

/// The connection to one launcher.
#[derive(Debug)]
pub(crate) struct Link {
    socket: Packets,
    outgoing: Mutex<Outgoing>,
    /// Who is told about which jar; none once the launcher is lost.
    jars: Mutex<Option<Jars>>,
    next: AtomicU64,
    /// The launcher's number, which is its own as long as nobody waits for it: whoever
    /// goes by it, or waits, holds the lock.
    launcher: AsyncMutex<u32>,
    scope: OnceCell<Scope>,
}

impl Link {
    /// Starts a launcher. Only on the thread that lives as long as the host.
    fn start() -> io::Result<Arc<Self>> {
        let (launcher, socket) = LauncherProcess::start()?;
        let link = Self::over(Packets::new(socket)?, launcher.pid());
        tracing::debug!(target: "belljar", pid = launcher.pid(), "launcher started");
        tokio::spawn(read(Arc::clone(&link), launcher));
        Ok(link)
    }

    fn over(socket: Packets, launcher: u32) -> Arc<Self> {
        let (outgoing, queue) = mpsc::unbounded_channel();
        let link = Arc::new(Self {
            socket,
            outgoing: Mutex::new(Outgoing {
                queue: outgoing,
                waiting: 0,
            }),
            jars: Mutex::new(Some(Jars::new())),
            next: AtomicU64::new(1),
            launcher: AsyncMutex::new(launcher),
            scope: OnceCell::new(),
        });
        tokio::spawn(write(Arc::clone(&link), queue));
        link
    }

    async fn scope(&self) -> Scope {
        let ask = async || {
            let launcher = self.launcher.lock().await;
            match self.lives() {
                true => sys::cgroup::ask_for_scope(*launcher)
                    .await
                    .map_err(|error| match error {
                        ScopeError::Ended => NoScope::Ended,
                        error => NoScope::Refused(error.to_string()),
                    }),
                false => Err(NoScope::Ended),
            }
        };
        self.scope.get_or_init(ask).await.clone()
    }

    pub(crate) fn lives(&self) -> bool {
        lock(&self.jars).is_some()
    }

    /// A number for a new jar, and what the launcher says about it; the end of
    /// that means that the launcher is lost.
    pub(crate) fn enter(&self) -> (u64, mpsc::UnboundedReceiver<News>) {
        let number = self.next.fetch_add(1, Relaxed);
        let (sender, receiver) = mpsc::unbounded_channel();
        if let Some(jars) = lock(&self.jars).as_mut() {
            jars.insert(number, sender);
        }
        (number, receiver)
    }

    /// Nobody listens for this jar any more.
    pub(crate) fn leave(&self, number: u64) {
        if let Some(jars) = lock(&self.jars).as_mut() {
            jars.remove(&number);
        }
    }

    /// Sends a request, with its descriptors in as many packets as it takes. It
    /// never waits, and packets of two requests never mix.
    pub(crate) fn send(&self, asked: Request, descriptors: Vec<OwnedFd>) {
        let mut outgoing = lock(&self.outgoing);
        for packet in packets(asked, descriptors) {
            if outgoing.waiting == 0 {
                match self.socket.send_now(&packet.bytes, &packet.descriptors) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(()) => continue,
                    Err(error) => return self.refused(asked.jar, &error),
                }
            }
            outgoing.waiting += 1;
            // Where the launcher is lost, the reader tells every jar so.
            let _ = outgoing.queue.send(packet);
        }
    }

    /// The launcher can't be asked this, so it will not answer either.
    fn refused(&self, jar: u64, error: &io::Error) {
        tracing::warn!(target: "belljar", %error, "cannot ask the launcher");
        self.leave(jar);
    }

    fn lost(&self) {
        lock(&self.jars).take();
        // Nothing more is sent: the task that would do it ends.
        let (nowhere, _) = mpsc::unbounded_channel();
        lock(&self.outgoing).queue = nowhere;
    }

    fn tell(&self, event: Event, descriptors: Vec<OwnedFd>) {
        if let Some(jar) = lock(&self.jars)
            .as_ref()
            .and_then(|jars| jars.get(&event.jar))
        {
            // A jar whose supervision has ended hears nothing more.
            let _ = jar.send(Box::new((event, descriptors)));
        }
    }
}

fn packets(asked: Request, mut descriptors: Vec<OwnedFd>) -> Vec<Packet> {
    let mut packets = Vec::new();
    let mut asked = asked;
    loop {
        let rest = descriptors.split_off(descriptors.len().min(DESCRIPTORS_PER_PACKET));
        packets.push(Packet {
            bytes: asked.to_bytes().to_vec(),
            descriptors,
        });
        if rest.is_empty() {
            return packets;
        }
        descriptors = rest;
        asked.kind = request::MORE;
    }
}

async fn write(link: Arc<Link>, mut queue: mpsc::UnboundedReceiver<Packet>) {
    while let Some(packet) = queue.recv().await {
        if let Err(error) = link.socket.send(&packet.bytes, &packet.descriptors).await {
            tracing::debug!(target: "belljar", %error, "the launcher takes nothing more");
            return;
        }
        lock(&link.outgoing).waiting -= 1;
    }
}

async fn read(link: Arc<Link>, mut launcher: LauncherProcess) {
    let mut buffer = [0; sys::PACKET];
    loop {
        match link.socket.receive(&mut buffer).await {
            Ok((0, _)) => break,
            Ok((length, descriptors)) => match buffer.get(..length).and_then(Event::from_bytes) {
                Some(event) => link.tell(event, descriptors),
                None => {
                    tracing::warn!(target: "belljar", length, "no record came from the launcher");
                }
            },
            Err(error) => {
                tracing::warn!(target: "belljar", %error, "cannot hear the launcher");
                break;
            }
        }
    }
    link.lost();
    let _number = link.launcher.lock().await;
    launcher.end();
    tracing::warn!(target: "belljar", "launcher lost");
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_travel_in_order_and_in_chunks() {
        let descriptors: Vec<OwnedFd> = (0..600).map(|_| sys::nowhere().unwrap()).collect();
        let asked = Request {
            kind: request::LAUNCH,
            jar: 7,
            descriptors: 600,
            ..Request::default()
        };
        let numbers: Vec<String> = descriptors.iter().map(|fd| format!("{fd:?}")).collect();
        let packets = packets(asked, descriptors);
        let sizes: Vec<usize> = packets
            .iter()
            .map(|packet| packet.descriptors.len())
            .collect();
        assert_eq!(sizes, [253, 253, 94]);
        let kinds: Vec<u32> = packets
            .iter()
            .map(|packet| Request::from_bytes(&packet.bytes).unwrap().kind)
            .collect();
        assert_eq!(kinds, [request::LAUNCH, request::MORE, request::MORE]);
        let sent: Vec<String> = packets
            .iter()
            .flat_map(|packet| packet.descriptors.iter().map(|fd| format!("{fd:?}")))
            .collect();
        assert_eq!(sent, numbers);
    }

    #[tokio::test]
    async fn requests_that_do_not_fit_at_once_arrive_in_order_and_whole() {
        const REQUESTS: u64 = 3000;
        let (ours, theirs) = sys::connected_packets().unwrap();
        sys::set_nonblocking(&theirs).unwrap();
        let launcher = Packets::new(theirs).unwrap();
        let link = Link::over(Packets::new(ours).unwrap(), 0);
        for jar in 0..REQUESTS {
            let asked = Request {
                kind: request::SIGNAL,
                jar,
                ..Request::default()
            };
            link.send(asked, Vec::new());
        }
        assert!(lock(&link.outgoing).waiting > 0, "the socket took them all");
        let mut buffer = [0; 4096];
        for jar in 0..REQUESTS {
            let (length, _) = launcher.receive(&mut buffer).await.unwrap();
            assert_eq!(Request::from_bytes(&buffer[..length]).unwrap().jar, jar);
        }
        assert_eq!(lock(&link.outgoing).waiting, 0);
    }

    #[tokio::test]
    async fn a_jar_that_cannot_be_asked_for_is_lost_at_once() {
        let (ours, theirs) = sys::connected_packets().unwrap();
        let link = Link::over(Packets::new(ours).unwrap(), 0);
        drop(theirs);
        let (jar, mut news) = link.enter();
        let asked = Request {
            kind: request::LAUNCH,
            jar,
            ..Request::default()
        };
        link.send(asked, Vec::new());
        assert!(news.recv().await.is_none());
    }

    #[test]
    fn a_request_without_descriptors_is_one_packet() {
        assert_eq!(packets(Request::default(), Vec::new()).len(), 1);
    }
}
