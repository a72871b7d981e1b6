//! Bombs of tasks.

use std::{io, sync::Mutex};

use super::Bytes;
use crate::kernel::{self, Side};

/// The children that were made, for [`end_all`].
static CHILDREN: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// A process that does nothing.
pub(super) fn sleeper(_: u64) -> io::Result<Bytes> {
    match kernel::fork()? {
        Side::Child => kernel::sleep_forever(),
        Side::Parent(pid) => remember(pid),
    }
    Ok(0)
}

/// A process that has ended, and that nobody waits for.
pub(super) fn zombie(_: u64) -> io::Result<Bytes> {
    match kernel::fork()? {
        Side::Child => kernel::leave(0),
        Side::Parent(_) => Ok(0),
    }
}

pub(super) fn thread(_: u64) -> io::Result<Bytes> {
    std::thread::Builder::new()
        .stack_size(65536)
        .spawn(|| kernel::sleep_forever())
        .map(|_| 0)
}

fn remember(pid: i32) {
    CHILDREN.lock().expect("no panic").push(pid);
}

/// Ends the children, which would outlive their bomb.
pub(super) fn end_all() {
    for pid in CHILDREN.lock().expect("no panic").drain(..) {
        drop(kernel::kill(pid, libc::SIGKILL));
    }
}
