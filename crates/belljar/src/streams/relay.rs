//! Threads that copy between the host's descriptors and the guest's pipes.
//!
//! A thread for each, since nobody knows whether a descriptor of the host's may
//! be made non-blocking. They never keep a process from ending.

use std::{
    fs::File,
    future::poll_fn,
    io::{self, ErrorKind, Read as _, Write as _},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use tokio::{io::ReadBuf, runtime::Handle, sync::oneshot};

use super::{Key, Meter, PipeReader, Stream};
use crate::sys;

const BUFFER: usize = 64 * 1024;

/// A relay calls nothing deep; its buffer is elsewhere.
const STACK: usize = 64 * 1024;

const EIO: i32 = 5;

/// Until a terminal is looked at again.
const NOT_OUR_TURN: Duration = Duration::from_millis(200);

/// Ctrl-D: what ends the input of a terminal.
const END_OF_TRANSMISSION: u8 = 4;

/// Threads that wait for a stream to copy. They are made before the program runs: that there
/// are none to be had must be known by then.
#[derive(Debug, Default)]
pub(crate) struct Hands(Vec<SyncSender<Work>>);

type Work = Box<dyn FnOnce() + Send>;

impl Hands {
    /// So many; one that gets nothing to do ends with this value.
    pub(crate) fn ready(count: usize) -> io::Result<Self> {
        let hand = |_| {
            let (work, waiting) = sync_channel::<Work>(1);
            spawn(move || {
                if let Ok(work) = waiting.recv() {
                    work();
                }
            })?;
            Ok(work)
        };
        (0..count).map(hand).collect::<io::Result<_>>().map(Self)
    }

    fn take_up(&mut self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        match self.0.pop() {
            Some(hand) => hand
                .send(Box::new(work))
                .map_err(|_| io::Error::other("a thread for streams has ended")),
            None => spawn(work),
        }
    }
}

/// The output relays of one jar.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    hands: Hands,
    running: Vec<(Stream, oneshot::Receiver<Result<(), String>>)>,
    copied: Arc<AtomicU64>,
}

impl Relays {
    pub(super) fn with(hands: Hands) -> Self {
        Self {
            hands,
            ..Self::default()
        }
    }

    /// Copies the host's `source` to the guest's stdin; its end is the stdin's end.
    pub(super) fn feed(&mut self, source: OwnedFd, stdin: OwnedFd) -> io::Result<()> {
        self.hands.take_up(move || {
            // Whichever side ends it, the pipe closes with this thread.
            let _ = feed(source.into(), &mut stdin.into(), None);
        })
    }

    /// The same to a terminal, which learns of the end by a character, and whose `key` may
    /// be the host's.
    pub(super) fn feed_terminal(
        &mut self,
        source: OwnedFd,
        master: OwnedFd,
        key: Arc<Key>,
    ) -> io::Result<()> {
        self.hands.take_up(move || {
            let mut master = File::from(master);
            let fed = feed(source.into(), &mut master, Some(&key));
            if matches!(fed, Ok(sys::Ready::Source)) {
                // Where nobody reads it any more, nobody misses it.
                let _ = master.write_all(&[END_OF_TRANSMISSION]);
            }
        })
    }

    /// Copies what the guest writes to the host's `target`. When that breaks,
    /// the guest's pipe is closed, so that it is told as it would be outside.
    pub(super) fn drain(
        &mut self,
        output: OwnedFd,
        target: OwnedFd,
        meter: &Arc<Meter>,
        stream: Stream,
    ) -> io::Result<()> {
        let (done, waiter) = oneshot::channel();
        let meter = Arc::clone(meter);
        let copied = Arc::clone(&self.copied);
        self.hands.take_up(move || {
            let result = drain(output.into(), target.into(), &meter, stream, &copied);
            // Nobody waits where the jar's supervision has ended.
            let _ = done.send(result.map_err(|error| error.to_string()));
        })?;
        self.running.push((stream, waiter));
        Ok(())
    }

    /// Counts what the guest writes, and throws it away: that never waits for
    /// anybody, so it needs no thread.
    pub(super) fn waste(&mut self, runtime: &Handle, output: PipeReader, stream: Stream) {
        let (done, waiter) = oneshot::channel();
        let copied = Arc::clone(&self.copied);
        runtime.spawn(async move {
            let result = waste(&output, &copied).await;
            // Nobody waits where the jar's supervision has ended.
            let _ = done.send(result.map_err(|error| error.to_string()));
        });
        self.running.push((stream, waiter));
    }

    /// Waits until everything that the guest wrote is delivered. With `patience`,
    /// only as long as something moves within it.
    pub(crate) async fn finish(&mut self, patience: Option<Duration>) -> Vec<String> {
        let mut symptoms = Vec::new();
        while let Some((stream, waiter)) = self.running.last_mut() {
            let result = loop {
                let before = self.copied.load(Relaxed);
                let Some(patience) = patience else {
                    break waiter.await.ok();
                };
                match tokio::time::timeout(patience, &mut *waiter).await {
                    Ok(result) => break result.ok(),
                    Err(_) if self.copied.load(Relaxed) != before => {}
                    Err(_) => break Some(Err("nobody reads it".to_owned())),
                }
            };
            let name = match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            if let Some(Err(error)) = result {
                symptoms.push(format!("{name} not delivered: {error}"));
            }
            // Only now, so that a wait that was given up can begin again.
            self.running.pop();
        }
        symptoms
    }
}

fn spawn(body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new()
        .name("belljar-relay".to_owned())
        .stack_size(STACK)
        .spawn(|| {
            sys::block_signals();
            body();
        })
        .map(drop)
}

fn feed(mut source: File, target: &mut File, key: Option<&Key>) -> io::Result<sys::Ready> {
    let mut buffer = vec![0; BUFFER];
    loop {
        // Not a byte is taken from the source that the guest can't get.
        if sys::wait_for_either(&source, &*target)? == sys::Ready::Broken {
            return Ok(sys::Ready::Broken);
        }
        match source.read(&mut buffer) {
            Ok(0) => return Ok(sys::Ready::Source),
            Ok(count) => {
                let count = key.map_or(count, |key| key.take_out(target, &mut buffer[..count]));
                deliver(target, &buffer[..count])?;
            }
            Err(error) if passing(&error) => {}
            // A terminal that is somebody else's for now: this process is in the background,
            // as after `bg`, and its turn comes.
            Err(error) if key.is_some() && error.raw_os_error() == Some(EIO) => {
                std::thread::sleep(NOT_OUR_TURN);
            }
            Err(error) => return Err(error),
        }
    }
}

fn drain(
    mut output: File,
    mut target: File,
    meter: &Meter,
    stream: Stream,
    copied: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match output.read(&mut buffer) {
            Ok(0) => return Ok(()),
            // How a pseudo-terminal says that nobody has it open any more.
            Err(error) if error.raw_os_error() == Some(EIO) => return Ok(()),
            Err(error) if passing(&error) => {
                if sys::wait_for_either(&output, &target)? == sys::Ready::Broken {
                    return Err(ErrorKind::BrokenPipe.into());
                }
                continue;
            }
            Err(error) => return Err(error),
            Ok(count) => count,
        };
        let allowed = meter.count(stream, count);
        deliver(&mut target, &buffer[..allowed])?;
        copied.fetch_add(allowed as u64, Relaxed);
        if allowed < count {
            return Ok(());
        }
    }
}

async fn waste(output: &PipeReader, copied: &AtomicU64) -> io::Result<()> {
    let mut bytes = vec![0; BUFFER];
    loop {
        // A guest that writes without a pause does not keep other jars waiting.
        tokio::task::consume_budget().await;
        let count = poll_fn(|context| {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = output.poll_read(context, &mut buffer);
            read.map_ok(|()| buffer.filled().len())
        });
        match count.await? {
            0 => return Ok(()),
            count => copied.fetch_add(count as u64, Relaxed),
        };
    }
}

fn deliver(target: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match target.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => sys::wait_writable(&*target)?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

/// Reads a stream that nobody took to its end, and throws it away.
pub(crate) async fn discard(mut stream: impl tokio::io::AsyncRead + Unpin) {
    use tokio::io::AsyncReadExt as _;
    let mut buffer = vec![0; BUFFER];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
}
