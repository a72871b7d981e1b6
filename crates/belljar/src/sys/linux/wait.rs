//! Waiting for descriptors: poll(2) for threads that copy, readiness of pidfds
//! for the supervisor.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::Instant,
};

/// What happened first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// There is something to read, or its end.
    Source,
    /// Nobody reads the other side any more.
    Broken,
}

/// Waits until `source` can be read or nobody is left to read from `target`.
pub(crate) fn wait_for_either(source: impl AsFd, target: impl AsFd) -> io::Result<Ready> {
    loop {
        let mut fds = [
            PollFd::new(&source, PollFlags::IN),
            PollFd::new(&target, PollFlags::empty()),
        ];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) if !fds[1].revents().is_empty() => return Ok(Ready::Broken),
            Ok(_) => return Ok(Ready::Source),
        }
    }
}

/// Waits until `target` takes more, where somebody made it non-blocking.
pub(crate) fn wait_writable(target: impl AsFd) -> io::Result<()> {
    let mut fds = [PollFd::new(&target, PollFlags::OUT)];
    match poll(&mut fds, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Has the runtime that we are in watch a descriptor.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd always gives the same open descriptor, and nothing
    // can close or replace it while the AsyncFd has it.
    let watched = unsafe { AsyncFd::register_with_interest(fd, interest) };
    Ok(watched?)
}

/// A time of `CLOCK_MONOTONIC`, in nanoseconds, that has passed; none for 0.
pub(crate) fn at(nanoseconds: u64) -> Option<Instant> {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).ok()?;
    let part = u32::try_from(now.tv_nsec).ok()?;
    let since = Duration::new(seconds, part).checked_sub(Duration::from_nanos(nanoseconds))?;
    (nanoseconds > 0).then(|| Instant::now().checked_sub(since))?
}

/// The process of this pidfd has ended.
pub(crate) fn gone(pidfd: &OwnedFd) -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&now)), Ok(1..))
}

/// Waits until the process of this pidfd has ended, or for so long.
pub(crate) async fn wait_until_gone(pidfd: &OwnedFd, at_most: Duration) -> bool {
    let own = pidfd.try_clone();
    let Ok(watched) = own.and_then(|own| watch(own, Interest::READABLE)) else {
        return gone(pidfd);
    };
    tokio::time::timeout(at_most, watched.readable())
        .await
        .is_ok()
}
