//! Denied calls that the kernel asks about, one at a time; seccomp_unotify(2).

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use belljar_policy::seccomp::Attempt;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// `SECCOMP_IOCTL_NOTIF_RECV`, for the struct of today.
const RECEIVE: libc::Ioctl = 0xc050_2100_u32 as libc::Ioctl;
/// `SECCOMP_IOCTL_NOTIF_SEND`
const SEND: libc::Ioctl = 0xc018_2101_u32 as libc::Ioctl;

/// `SECCOMP_IOCTL_NOTIF_ID_VALID`
const STILL: libc::Ioctl = 0x4008_2102_u32 as libc::Ioctl;

/// `SECCOMP_IOCTL_NOTIF_SET_FLAGS`, since Linux 6.6.
const FLAGS: libc::Ioctl = 0x4008_2104_u32 as libc::Ioctl;
/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`
const IN_STEP: u64 = 1;

/// A call that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    id: u64,
    /// The thread that makes it, as this process numbers it; 0 where it has no
    /// number here.
    pub(crate) pid: i32,
    /// What it is.
    pub(crate) attempt: Attempt,
}

/// Takes the next call that waits; an error of kind `WouldBlock` where none does.
///
/// # Errors
/// Any other where nobody can ask any more.
pub(crate) fn next_call(listener: &OwnedFd) -> io::Result<Asked> {
    await_call(listener, Duration::ZERO)
}

/// The same, after so long.
pub(crate) fn await_call(listener: &OwnedFd, patience: Duration) -> io::Result<Asked> {
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    loop {
        // Receiving ignores O_NONBLOCK.
        let mut waiting = [PollFd::new(listener, PollFlags::IN)];
        match poll(&mut waiting, Some(&patience)) {
            Ok(0) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let [waiting] = waiting;
        match waiting.revents() {
            there if there.contains(PollFlags::IN) => {}
            // The kernel was interrupted as it looked.
            PollFlags::ERR => continue,
            _ => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        match receive(listener) {
            // Whoever asked was killed meanwhile, or this thread was interrupted.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => {}
            other => return other,
        }
    }
}

fn receive(listener: &OwnedFd) -> io::Result<Asked> {
    let mut asked = libc::seccomp_notif {
        id: 0,
        pid: 0,
        flags: 0,
        data: libc::seccomp_data {
            nr: 0,
            arch: 0,
            instruction_pointer: 0,
            args: [0; 6],
        },
    };
    // SAFETY: the request fills the struct of which its number holds the size,
    // which must be zeroed, and is.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut asked) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Asked {
        id: asked.id,
        pid: i32::try_from(asked.pid).unwrap_or(0),
        attempt: Attempt {
            audit: asked.data.arch,
            number: asked.data.nr as u32,
            arguments: asked.data.args,
        },
    })
}

/// Has whoever asks and whoever answers take turns on one processor, where the
/// kernel can: a waiting caller has nothing else to do there.
pub(crate) fn take_turns(listener: &OwnedFd) {
    // SAFETY: the request takes a number. Where the kernel is older, it changes nothing.
    let _ = unsafe { libc::ioctl(listener.as_raw_fd(), FLAGS, IN_STEP) };
}

/// Whether a call still waits: then its thread is who it was, and what was read
/// of it was its own.
pub(super) fn is_waiting(listener: &OwnedFd, asked: &Asked) -> Result<(), Errno> {
    let id = asked.id;
    // SAFETY: the request reads one 64-bit number.
    match unsafe { libc::ioctl(listener.as_raw_fd(), STILL, &raw const id) } {
        0 => Ok(()),
        _ => Err(Errno::SRCH),
    }
}

/// Answers with an error, or with success where it is 0. Whoever was killed
/// meanwhile needs no answer.
pub(crate) fn answer_call(listener: &OwnedFd, asked: &Asked, errno: i32) -> io::Result<()> {
    let answer = libc::seccomp_notif_resp {
        id: asked.id,
        val: 0,
        error: -errno,
        flags: 0,
    };
    send(listener, answer)
}

/// Has the kernel do what was asked, by its own look at the arguments. Only for
/// what the filter would have let through unseen: nothing that was looked at
/// meanwhile holds any more.
pub(crate) fn let_go_on(listener: &OwnedFd, asked: &Asked) -> io::Result<()> {
    let answer = libc::seccomp_notif_resp {
        id: asked.id,
        val: 0,
        error: 0,
        flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
    };
    send(listener, answer)
}

fn send(listener: &OwnedFd, mut answer: libc::seccomp_notif_resp) -> io::Result<()> {
    // SAFETY: the request reads the struct of which its number holds the size.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut answer) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ENOENT) => Ok(()),
            _ => Err(error),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_are_of_the_structs_sizes() {
        let size = |request: libc::Ioctl| (request as u32 >> 16 & 0x3fff) as usize;
        assert_eq!(size(RECEIVE), size_of::<libc::seccomp_notif>());
        assert_eq!(size(SEND), size_of::<libc::seccomp_notif_resp>());
    }
}
