//! Handles with which a host reads and writes the guest's streams.
//!
//! They are registered with the runtime of Belljar's own thread, so that they
//! work on any executor.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd},
    runtime::Handle,
};

use super::{Key, Meter, Shared, Stream};
use crate::sys;

/// One end, non-blocking, on the supervisor's runtime.
#[derive(Debug)]
pub(crate) struct Open(AsyncFd<OwnedFd>);

impl AsFd for Open {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

/// A reading end that the supervisor can look at while its owner has it.
#[derive(Clone, Debug)]
pub(crate) struct SharedReader {
    end: Shared<Open>,
    meter: Arc<Meter>,
    stream: Stream,
}

/// A reading end, for the supervisor and its owner.
pub(crate) type PipeReader = Arc<SharedReader>;

fn register(runtime: &Handle, end: OwnedFd, interest: Interest) -> io::Result<Open> {
    sys::set_nonblocking(&end)?;
    let _inside = runtime.enter();
    sys::watch(end, interest).map(Open)
}

/// Registers the end that a host writes.
pub(crate) fn register_writer(runtime: &Handle, end: OwnedFd) -> io::Result<Open> {
    register(runtime, end, Interest::WRITABLE)
}

/// Registers an end that a host reads.
pub(crate) fn register_reader(
    runtime: &Handle,
    end: OwnedFd,
    meter: &Arc<Meter>,
    stream: Stream,
) -> io::Result<PipeReader> {
    register(runtime, end, Interest::READABLE).map(|open| shared(open, meter, stream))
}

/// Registers the master end of a pseudo-terminal.
pub(crate) fn register_terminal(
    runtime: &Handle,
    end: OwnedFd,
    meter: &Arc<Meter>,
) -> io::Result<PipeReader> {
    register(runtime, end, Interest::READABLE | Interest::WRITABLE)
        .map(|open| shared(open, meter, Stream::Stdout))
}

fn shared(open: Open, meter: &Arc<Meter>, stream: Stream) -> PipeReader {
    Arc::new(SharedReader {
        end: Arc::new(Mutex::new(Some(open))),
        meter: Arc::clone(meter),
        stream,
    })
}

impl Open {
    fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            match guard.try_io(|end| sys::write(end.get_ref(), bytes)) {
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_read(&self, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        const EIO: i32 = 5;
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            match guard.try_io(|end| sys::read(end.get_ref(), bytes)) {
                // How a pseudo-terminal says that nobody has it open any more.
                Ok(Err(error)) if error.raw_os_error() == Some(EIO) => return Poll::Ready(Ok(0)),
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }
}

impl SharedReader {
    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let end = self.lock();
        let Some(open) = end.as_ref() else {
            return Poll::Ready(Ok(()));
        };
        let count = ready!(open.poll_read(context, buffer.initialize_unfilled()))?;
        buffer.advance(self.meter.count(self.stream, count));
        Poll::Ready(Ok(()))
    }

    /// Counts what the guest wrote and nobody has read yet. Only once the guest
    /// is gone, when no more can come.
    pub(crate) fn unread(&self) -> (Stream, u64) {
        let unread = self.lock().as_ref().map_or(0, sys::waiting);
        (self.stream, unread)
    }

    fn close(&self) {
        self.lock().take();
    }
}

/// Writes the guest's stdin; dropping it is the end of the input.
#[derive(Debug)]
pub struct GuestStdin(Open);

impl GuestStdin {
    pub(crate) fn new(end: Open) -> Self {
        Self(end)
    }
}

impl AsyncWrite for GuestStdin {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

macro_rules! outputs {
    ($($(#[$meta:meta])* $name:ident),+) => { $(
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $name(PipeReader);

        impl $name {
            pub(crate) fn new(end: PipeReader) -> Self {
                Self(end)
            }
        }

        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self.0.poll_read(context, buffer)
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.close();
            }
        }
    )+ };
}
outputs! {
    /// Reads the guest's stdout, up to the limit `output`. Dropping it closes
    /// the pipe, and the guest is told by SIGPIPE.
    GuestStdout,
    /// Reads the guest's stderr, up to the limit `output`. Dropping it closes
    /// the pipe, and the guest is told by SIGPIPE.
    GuestStderr
}

/// The host's side of a jar's own pseudo-terminal; pty(7).
///
/// It reads and writes where stdout or stdin are piped, and nothing else.
#[derive(Debug)]
pub struct Terminal {
    end: Option<PipeReader>,
    master: OwnedFd,
    key: Arc<Key>,
}

impl Terminal {
    pub(crate) fn new(end: Option<PipeReader>, master: OwnedFd, key: Arc<Key>) -> Self {
        Self { end, master, key }
    }

    /// Tells the terminal its size in characters; the guest gets SIGWINCH.
    ///
    /// # Errors
    /// Where the terminal is gone.
    pub fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        sys::resize(&self.master, rows, columns)
    }

    /// Keeps a key from the jar, the one that suspends in the host's own terminal (26 for ^Z),
    /// while it is the jar's too and the program itself has the foreground there: the kernel
    /// stops no program whom nobody would have go on. A job of a shell in the jar still gets
    /// it, and so does a program that has turned it off to read it; not one that only has a
    /// handler for its signal. It is looked for in a stdin that is relayed or inherited.
    pub fn keep_suspend_key(&self, key: u8) {
        self.key.want(key);
    }

    /// Waits until that key is typed and kept. Nothing is lost where the wait is given up.
    pub async fn suspend_key(&self) {
        self.key.pressed().await;
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &self.end {
            Some(end) => end.poll_read(context, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let closed = || Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        let Some(end) = &self.end else {
            return closed();
        };
        let open = end.lock();
        match open.as_ref() {
            Some(open) => open.poll_write(context, bytes),
            None => closed(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(end) = &self.end {
            end.close();
        }
    }
}
