//! What the guest's own process does before it becomes the program.

use belljar_plan::Resource;
use belljar_plan::message::descriptors;
use linux_raw_sys::ioctl::{SIOCGIFFLAGS, SIOCSIFFLAGS, TIOCSCTTY};
use rustix::fd::{AsFd as _, AsRawFd as _};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::Jar;
use crate::calls::{self, openat2, socket_with};
use crate::init::{PROGRESS, task_descriptor};
use crate::raw;
use crate::text::text;

const UP: u16 = 1; // IFF_UP; netdevice(7)

/// `struct ifreq` as far as flags go; netdevice(7).
#[repr(C)]
struct InterfaceFlags {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// Brings up the loopback interface; pid 1 does it, which may still.
pub(super) fn loopback() -> Result<()> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let mut request = InterfaceFlags {
        name: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        flags: 0,
        rest: [0; 22],
    };
    // SAFETY: the request takes a `struct ifreq`.
    unsafe { raw::ioctl_struct(socket.as_fd(), SIOCGIFFLAGS, &mut request) }?;
    request.flags |= UP;
    // SAFETY: the request takes a `struct ifreq`.
    unsafe { raw::ioctl_struct(socket.as_fd(), SIOCSIFFLAGS, &mut request) }.map(drop)
}

pub(super) fn close_descriptors() -> Result<()> {
    const { assert!(PROGRESS == 3) };
    // The socket for receipts is close-on-exec, as it was received.
    raw::close_from(PROGRESS as u32 + 1)
}

pub(super) fn workdir(path: &[u8]) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    let folder = openat2(CWD, text(path)?, flags, Mode::empty(), resolve)?;
    calls::fchdir(folder)
}

pub(super) fn umask(mask: u16) -> Result<()> {
    rustix::process::umask(Mode::from_raw_mode(u32::from(mask)));
    Ok(())
}

pub(super) fn rlimit(resource: Resource, soft: u64, hard: u64) -> Result<()> {
    raw::set_rlimit(resource.number(), soft, hard)?;
    match raw::rlimit(resource.number())? == (soft, hard) {
        true => Ok(()),
        false => Err(Errno::PERM),
    }
}

/// Refuses what would make memory executable that was writable, and reads it back.
pub(super) fn fixed_code() -> Result<()> {
    const REFUSE_EXEC_GAIN: usize = 1;
    raw::prctl(raw::PR_SET_MDWE, REFUSE_EXEC_GAIN, 0)?;
    match raw::prctl(raw::PR_GET_MDWE, 0, 0)? {
        REFUSE_EXEC_GAIN => Ok(()),
        _ => Err(Errno::PERM),
    }
}

/// Dispositions are the defaults since the launcher began, and nothing has
/// changed them; what is left to undo is that all are blocked.
pub(super) fn signals() -> Result<()> {
    raw::block_signals(0)
}

impl Jar<'_> {
    pub(super) fn session(&mut self, terminal: bool) -> Result<()> {
        calls::setsid()?;
        match (terminal, &self.terminal) {
            (false, _) => Ok(()),
            (true, Some(fd)) => raw::ioctl_number(fd.as_fd(), TIOCSCTTY, 0).map(drop),
            (true, None) => Err(Errno::NOTTY),
        }
    }

    pub(super) fn streams(&mut self) -> Result<()> {
        let streams = [descriptors::STDIN, descriptors::STDOUT, descriptors::STDERR];
        for (number, index) in streams.into_iter().enumerate() {
            let source = match &self.terminal {
                Some(fd) => fd.as_raw_fd(),
                None => task_descriptor(index),
            };
            // 0 and 1 were pid 1's socket and lifeline, 2 the plan, which is mapped.
            raw::dup_onto(source, number as i32)?;
        }
        Ok(())
    }
}
