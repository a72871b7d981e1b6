//! The second wall around files: a Landlock domain, seen to hold before the
//! program starts; landlock(7).
//!
//! The kernel says that a process is restricted, and a wrong file system, a
//! wrong rule or a wrong module order may still make nothing of it. So a file
//! that no rule allows is opened just before and just after.

use linux_raw_sys::landlock::LANDLOCK_SCOPE_SIGNAL;
use rustix::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

use super::Jar;
use crate::calls::{fsconfig_create, fsmount, fsopen, open, open_tree, openat};
use crate::raw;
use crate::text::Text;

/// The trial did not go as it must: what is there does not hold, or what was to
/// show that could not be tried.
const NO_PROOF: Errno = Errno::CANCELED;

/// A set of rules in the making.
pub(super) struct Ruleset {
    set: OwnedFd,
    /// Signals to tasks outside are to be refused.
    signals: bool,
}

impl Jar<'_> {
    /// Makes the file that is tried. It lies in the jar's own root, of which no
    /// rule allows files, and has no name by which anybody could reach it.
    pub(super) fn make_canary(&mut self) -> Result<()> {
        let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let made = openat(self.root()?, c".", flags, Mode::RUSR)?;
        // A file that is open for writing would keep the root from being sealed.
        let flags = OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        self.canary = Some(open_tree(&made, c"", flags)?);
        Ok(())
    }

    /// Takes the machine's root for the jar's. No rule allows to read that
    /// directory itself, so it is what is tried.
    pub(super) fn machine_root(&mut self) -> Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        self.root = Some(open(c"/", flags, Mode::empty())?);
        self.canary = Some(open(c"/", flags, Mode::empty())?);
        Ok(())
    }

    pub(super) fn ruleset(&mut self, files: u64, network: u64, scopes: u64) -> Result<()> {
        self.ruleset = Some(Ruleset {
            set: raw::landlock_ruleset(files, network, scopes)?,
            signals: scopes & u64::from(LANDLOCK_SCOPE_SIGNAL) != 0,
        });
        Ok(())
    }

    pub(super) fn allow_path(&self, path: &[u8], access: u64) -> Result<()> {
        let set = &self.ruleset.as_ref().ok_or(Errno::PROTO)?.set;
        match path {
            b"" => raw::landlock_allow(set.as_fd(), self.root()?, access),
            path => {
                let place = self.find(path, OFlags::PATH)?;
                raw::landlock_allow(set.as_fd(), place.as_fd(), access)
            }
        }
    }

    /// Mounts the queues of this ipc namespace, though nowhere: the kernel's own
    /// mount of them has the same root.
    pub(super) fn hold_queues(&mut self) -> Result<()> {
        let fs = match fsopen(c"mqueue", FsOpenFlags::FSOPEN_CLOEXEC) {
            // A kernel without queues has none to allow.
            Err(Errno::NODEV) => return Ok(()),
            fs => fs?,
        };
        fsconfig_create(&fs)?;
        let flags = FsMountFlags::FSMOUNT_CLOEXEC;
        self.queues = Some(fsmount(&fs, flags, MountAttrFlags::empty())?);
        Ok(())
    }

    pub(super) fn allow_queues(&self, access: u64) -> Result<()> {
        let set = &self.ruleset.as_ref().ok_or(Errno::PROTO)?.set;
        match &self.queues {
            Some(queues) => raw::landlock_allow(set.as_fd(), queues.as_fd(), access),
            None => Ok(()),
        }
    }

    /// Enters the domain, and sees that it holds. Both descriptors are closed
    /// with that.
    pub(super) fn restrict(&mut self, quiet: bool) -> Result<()> {
        let Ruleset { set, signals } = self.ruleset.take().ok_or(Errno::PROTO)?;
        let canary = self.canary.take().ok_or(Errno::PROTO)?;
        let answers = || -> Result<_> {
            let signalled = match signals {
                true => signal_parent(),
                false => Ok(()),
            };
            Ok((opens(canary.as_fd())?, signalled))
        };
        if answers()? != (Ok(()), Ok(())) {
            return Err(NO_PROOF);
        }
        raw::landlock_restrict(set.as_fd(), quiet)?;
        let refused = match signals {
            true => Err(Errno::PERM),
            false => Ok(()),
        };
        match answers()? == (Err(Errno::ACCESS), refused) {
            true => Ok(()),
            false => Err(NO_PROOF),
        }
    }
}

/// Whether a file that is open can be opened anew for reading: only that is
/// looked at, not what was opened before.
fn opens(file: BorrowedFd<'_>) -> Result<Result<()>> {
    let path = Text::<32>::new()
        .add(b"/proc/self/fd/")?
        .number(file.as_raw_fd() as u64)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(open(path.c()?, flags, Mode::empty()).map(drop))
}

/// Whether pid 1, which stays outside, could be sent a signal; kill(2).
fn signal_parent() -> Result<()> {
    let parent = rustix::process::getppid().ok_or(NO_PROOF)?;
    raw::kill(parent.as_raw_pid(), 0)
}
