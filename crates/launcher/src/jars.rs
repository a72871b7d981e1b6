//! The launcher's table of jars.

use rustix::fd::OwnedFd;
use rustix::io::{Errno, Result};
use rustix::process::Signal;

use crate::ahead::Ahead;
use crate::calls::pidfd_send_signal;
use crate::clone::{Holder, Made};
use crate::orphans;

/// The most jars at once; one more is refused with `EAGAIN`.
pub(crate) const MOST: usize = 1024;

/// What a child is there for.
pub(crate) enum Use {
    /// It runs, or sets up, the jar with this number.
    Jar {
        number: u64,
        /// A lock of the parent's that is held while the jar lives.
        lease: Option<OwnedFd>,
    },
    /// It waits for a launch that it fits; with a plan, for one with the same.
    Parked(Option<Ahead>),
    /// It was parked and is not wanted any more; only its end is awaited.
    Discarded,
}

/// One child of the launcher.
pub(crate) struct Entry {
    pub(crate) made: Made,
    pub(crate) purpose: Use,
}

/// All children, by index.
pub(crate) struct Table {
    entries: [Option<Entry>; MOST],
    /// The last process that held a user namespace for grants.
    pub(crate) holder: Option<Holder>,
}

impl Table {
    pub(crate) const fn new() -> Self {
        Self {
            entries: [const { None }; MOST],
            holder: None,
        }
    }

    /// A free place.
    pub(crate) fn free(&self) -> Result<usize> {
        self.entries
            .iter()
            .position(Option::is_none)
            .ok_or(Errno::AGAIN)
    }

    pub(crate) fn put(&mut self, index: usize, entry: Entry) {
        if let Some(place) = self.entries.get_mut(index) {
            *place = Some(entry);
        }
    }

    pub(crate) fn take(&mut self, index: usize) -> Option<Entry> {
        self.entries.get_mut(index).and_then(Option::take)
    }

    pub(crate) fn at(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index).and_then(Option::as_ref)
    }

    /// Kills a parked child; its end is taken like any other's.
    pub(crate) fn discard(&mut self, index: usize) {
        let entry = self.entries.get_mut(index).and_then(Option::as_mut);
        if let Some(entry) = entry {
            entry.purpose = Use::Discarded;
            let _ = pidfd_send_signal(&entry.made.pidfd, Signal::KILL);
        }
    }

    /// Ends every child that is in no entry: tasks of a jar whose first process
    /// is gone.
    pub(crate) fn end_orphans(&mut self) {
        self.holder = None;
        let mut kept = [0; MOST];
        for (place, entry) in kept.iter_mut().zip(self.entries.iter().flatten()) {
            *place = entry.made.pid;
        }
        orphans::end_all(&kept);
    }

    /// The jar with this number.
    pub(crate) fn jar(&self, number: u64) -> Option<&Entry> {
        self.entries
            .iter()
            .flatten()
            .find(|entry| matches!(entry.purpose, Use::Jar { number: n, .. } if n == number))
    }

    /// Where the parked child is.
    pub(crate) fn parked(&self) -> Option<usize> {
        self.entries.iter().position(
            |entry| matches!(entry, Some(entry) if matches!(entry.purpose, Use::Parked(_))),
        )
    }
}
