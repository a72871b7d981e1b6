//! The connection to one launcher: what it is asked, and what it says about each jar.

use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use belljar_plan::message::{DESCRIPTORS_PER_PACKET, Event, Request, event, request};
use tokio::{
    sync::{Mutex as AsyncMutex, OnceCell, mpsc},
    time::Instant,
};

use super::lock;
use crate::{
    supervise::Job,
    sys::{self, LauncherProcess, Packets, cgroup::ScopeError},
};

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
    /// Asks the launcher, once its answers have somewhere to go; not one that has ended.
    pub(super) fn ask(link: Arc<Link>, job: &mut Job) -> Option<Self> {
        let (number, news) = link.enter()?;
        let asked = Request {
            jar: number,
            ..job.request
        };
        link.send(asked, std::mem::take(&mut job.descriptors));
        Some(Self {
            link,
            number,
            news,
            asked: Instant::now(),
        })
    }
}

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

/// What the launcher said about one jar. Boxed, since a channel sets room for
/// dozens aside, and a jar hears two.
pub(crate) type News = Box<(Event, Vec<OwnedFd>)>;

/// The jars of a launcher, by their numbers.
#[derive(Debug, Default)]
struct Jars {
    told: HashMap<u64, mpsc::UnboundedSender<News>>,
    /// Another launcher has those that come.
    retired: bool,
}

/// A launcher has no more jars at once: what it holds for each is closed again in every
/// child that it makes, so that launches would be slower by the number of jars.
const MOST: usize = 64;

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
    pub(super) fn start() -> io::Result<Arc<Self>> {
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
            jars: Mutex::new(Some(Jars::default())),
            next: AtomicU64::new(1),
            launcher: AsyncMutex::new(launcher),
            scope: OnceCell::new(),
        });
        tokio::spawn(write(Arc::clone(&link), queue));
        link
    }

    pub(super) async fn scope(&self) -> Scope {
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

    /// It lives, and may have one more jar.
    pub(crate) fn has_room(&self) -> bool {
        lock(&self.jars)
            .as_ref()
            .is_some_and(|jars| !jars.retired && (jars.told.len() < MOST || self.in_scope()))
    }

    /// Jars have to be this launcher's: their cgroups lie in its scope.
    fn in_scope(&self) -> bool {
        matches!(self.scope.get(), Some(Ok(_)))
    }

    /// A number for a new jar, and what the launcher says about it; the end of
    /// that means that the launcher is lost. None where it has ended.
    pub(crate) fn enter(&self) -> Option<(u64, mpsc::UnboundedReceiver<News>)> {
        let number = self.next.fetch_add(1, Relaxed);
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut jars = lock(&self.jars);
        jars.as_mut()?.told.insert(number, sender);
        Some((number, receiver))
    }

    /// Nobody listens for this jar any more.
    pub(crate) fn leave(&self, number: u64) {
        if let Some(jars) = lock(&self.jars).as_mut() {
            jars.told.remove(&number);
        }
        self.end_if_retired();
    }

    /// Another launcher has those jars that come; with the last of its own it ends.
    pub(super) fn retire(&self) {
        if let Some(jars) = lock(&self.jars).as_mut() {
            jars.retired = true;
        }
        self.end_if_retired();
    }

    fn end_if_retired(&self) {
        let mut jars = lock(&self.jars);
        if jars
            .as_ref()
            .is_some_and(|jars| jars.retired && jars.told.is_empty())
        {
            // Whoever comes between finds none, and takes the other.
            *jars = None;
            self.socket.end();
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
        // There was no room for its descriptor, so that nobody has hold of it.
        let lost = event.kind == event::STARTED && descriptors.is_empty();
        // A jar whose supervision has ended hears nothing more.
        let heard = lock(&self.jars)
            .as_ref()
            .and_then(|jars| jars.told.get(&event.jar))
            .is_some_and(|jar| jar.send(Box::new((event, descriptors))).is_ok());
        if lost || (event.kind == event::STARTED && !heard) {
            let end = Request {
                kind: request::END,
                jar: event.jar,
                ..Request::default()
            };
            self.send(end, Vec::new());
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
            // What comes behind may be taken all the same, unless the launcher is lost.
            let asked = Request::from_bytes(&packet.bytes).unwrap_or_default();
            link.refused(asked.jar, &error);
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
    let retired = !link.lives();
    link.lost();
    let _number = link.launcher.lock().await;
    launcher.end();
    match retired {
        true => tracing::debug!(target: "belljar", "launcher ended"),
        false => tracing::warn!(target: "belljar", "launcher lost"),
    }
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
        let (jar, mut news) = link.enter().unwrap();
        let asked = Request {
            kind: request::LAUNCH,
            jar,
            ..Request::default()
        };
        link.send(asked, Vec::new());
        assert!(news.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_jar_that_nobody_has_hold_of_is_ended() {
        let (ours, theirs) = sys::connected_packets().unwrap();
        sys::set_nonblocking(&theirs).unwrap();
        let launcher = Packets::new(theirs).unwrap();
        let link = Link::over(Packets::new(ours).unwrap(), 0);
        let asked_to_end = async |jar| {
            let mut buffer = [0; 4096];
            let received = launcher.receive(&mut buffer);
            let bound = std::time::Duration::from_secs(10);
            let received = tokio::time::timeout(bound, received).await;
            let (length, _) = received
                .expect("nothing was asked of the launcher")
                .unwrap();
            let asked = Request::from_bytes(&buffer[..length]).unwrap();
            assert_eq!((asked.kind, asked.jar), (request::END, jar));
        };
        let started = |jar| Event {
            kind: event::STARTED,
            jar,
            ..Event::default()
        };
        // There was no room for its descriptor.
        let (jar, mut news) = link.enter().unwrap();
        link.tell(started(jar), Vec::new());
        asked_to_end(jar).await;
        assert!(news.recv().await.unwrap().1.is_empty());
        // Nobody waits for it any more.
        link.leave(jar);
        link.tell(started(jar), vec![sys::nowhere().unwrap()]);
        asked_to_end(jar).await;
        // The others go on.
        let (held, mut its) = link.enter().unwrap();
        link.tell(started(held), vec![sys::nowhere().unwrap()]);
        assert_eq!(its.recv().await.unwrap().1.len(), 1);
        let last = Request {
            kind: request::SIGNAL,
            jar: held,
            ..Request::default()
        };
        link.send(last, Vec::new());
        let mut buffer = [0; 4096];
        let (length, _) = launcher.receive(&mut buffer).await.unwrap();
        let asked = Request::from_bytes(&buffer[..length]).unwrap();
        assert_eq!(asked.kind, request::SIGNAL);
    }

    #[tokio::test]
    async fn a_launcher_has_so_many_jars_and_a_retired_one_ends_with_its_last() {
        let (ours, theirs) = sys::connected_packets().unwrap();
        sys::set_nonblocking(&theirs).unwrap();
        let launcher = Packets::new(theirs).unwrap();
        let link = Link::over(Packets::new(ours).unwrap(), 0);
        let jars: Vec<_> = (0..MOST).map(|_| link.enter().unwrap()).collect();
        assert!(!link.has_room());
        link.leave(jars[0].0);
        assert!(link.has_room());
        let (last, _its) = link.enter().unwrap();
        assert!(!link.has_room());
        // Of one in a scope there is no other.
        link.scope.set(Ok(PathBuf::from("/scope"))).unwrap();
        assert!(link.has_room());
        link.leave(last);
        link.retire();
        assert!(!link.has_room() && link.lives());
        // One that was on its way to it is not lost.
        let (late, _news) = link.enter().unwrap();
        for (number, _) in &jars[1..] {
            link.leave(*number);
        }
        assert!(link.lives());
        link.leave(late);
        assert!(!link.lives() && link.enter().is_none());
        let (length, _) = launcher.receive(&mut [0; 64]).await.unwrap();
        assert_eq!(length, 0, "the launcher is not told");
    }

    #[test]
    fn a_request_without_descriptors_is_one_packet() {
        assert_eq!(packets(Request::default(), Vec::new()).len(), 1);
    }
}
