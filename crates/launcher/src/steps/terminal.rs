//! A pseudo-terminal of the jar's own; pty(7), ioctl_tty(2).

use belljar_plan::message::{Progress, progress};
use linux_raw_sys::ioctl::{TIOCGPTPEER, TIOCSPTLCK, TIOCSWINSZ};
use rustix::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Result;

use super::{Jar, mounts::send_progress};
use crate::raw;

/// `struct winsize`
#[repr(C)]
struct Size {
    rows: u16,
    columns: u16,
    pixels: [u16; 2],
}

impl Jar<'_> {
    /// Makes it, keeps the guest's end and hands the other out.
    pub(super) fn make_terminal(&mut self, rows: u16, columns: u16) -> Result<()> {
        let master = self.find_c(c"dev/ptmx", OFlags::RDWR | OFlags::NOCTTY)?;
        let mut unlocked = 0_i32;
        // SAFETY: the request takes an int.
        unsafe { raw::ioctl_struct(master.as_fd(), TIOCSPTLCK, &mut unlocked) }?;
        let mut size = Size {
            rows,
            columns,
            pixels: [0; 2],
        };
        // SAFETY: the request takes a `struct winsize`.
        unsafe { raw::ioctl_struct(master.as_fd(), TIOCSWINSZ, &mut size) }?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let peer = raw::ioctl_number(master.as_fd(), TIOCGPTPEER, flags.bits() as usize)?;
        // SAFETY: the request gave a new descriptor, which nothing else owns.
        self.terminal = Some(unsafe { OwnedFd::from_raw_fd(peer as i32) });
        let packet = Progress {
            kind: progress::TERMINAL,
            ..Progress::default()
        };
        send_progress(&packet, master.as_fd())
    }
}
