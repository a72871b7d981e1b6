//! Machine uids that no other jar has: a file for each, locked while the jar
//! lives. No daemon and no clean-up: the kernel lets go of a lock with the last
//! descriptor; flock(2).
//!
//! Locks of bytes in one file would do without many files. But the kernel goes through
//! all of them whenever any descriptor of it is closed, and each child of the launcher
//! closes those of all jars: beside 1,000 jars that took longer than a launch.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

const DIRECTORY: &str = "/run/belljar";

/// So many are taken in turn, others only beside as many jars: their files stay, some
/// 1 KiB of kernel memory each.
const IN_TURN: u32 = 4096;

/// A uid and gid of the machine that one jar has alone.
#[derive(Debug)]
pub(crate) struct Lease {
    id: u32,
    lock: OwnedFd,
}

impl Lease {
    /// Takes an unused one of `count` from `first` on. It starts looking at a
    /// random place of the first 4096, so that a uid is not used again soon.
    pub(crate) fn take(first: u32, count: u32) -> io::Result<Self> {
        Self::take_in(
            Path::new(DIRECTORY),
            first,
            count,
            &known_users(first, count),
        )
    }

    fn take_in(directory: &Path, first: u32, count: u32, taken: &[u32]) -> io::Result<Self> {
        own(directory)?;
        let random = u32::from_le_bytes(super::random()?[..4].try_into().unwrap_or_default());
        let in_turn = count.min(IN_TURN);
        let start = random
            .checked_rem(in_turn)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let turn = (0..in_turn).map(|step| (start + step) % in_turn);
        for offset in turn.chain(in_turn..count) {
            let Some(id) = first.checked_add(offset) else {
                continue;
            };
            // Never root, nor the one that stands for nobody, nor -1.
            if matches!(id, 0 | 65_534 | u32::MAX) || taken.contains(&id) {
                continue;
            }
            let lock = open(directory, id)?;
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { id, lock }),
                Err(Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "every machine uid of the range is in use",
        ))
    }

    /// The uid, which is the gid too.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The lock, for the launcher to hold as well.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        self.lock.try_clone()
    }
}

/// The directory is this user's alone.
fn own(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(directory)?;
    let me = rustix::process::geteuid().as_raw();
    if !found.is_dir() || found.uid() != me || found.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "its directory is not ours alone",
        ));
    }
    Ok(())
}

/// Opens the file of a uid; every lease has an open file description of its own.
fn open(directory: &Path, id: u32) -> io::Result<OwnedFd> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(directory.join(format!("uid.{id}")))
        .map(OwnedFd::from)
}

/// Users of the machine with a uid or gid in the range; passwd(5).
fn known_users(first: u32, count: u32) -> Vec<u32> {
    let text = std::fs::read("/etc/passwd").unwrap_or_default();
    numbers(&text)
        .filter(|id| id.checked_sub(first).is_some_and(|offset| offset < count))
        .collect()
}

fn numbers(passwd: &[u8]) -> impl Iterator<Item = u32> + '_ {
    passwd
        .split(|byte| *byte == b'\n')
        .flat_map(|line| line.split(|byte| *byte == b':').skip(2).take(2))
        .filter_map(|field| std::str::from_utf8(field).ok()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leases_never_share_a_uid_and_a_dropped_one_is_free_again() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("leases");
        let take = |taken: &[u32]| Lease::take_in(&place, 1000, 3, taken);
        let one = take(&[]).unwrap();
        let two = take(&[]).unwrap();
        assert_ne!(one.id(), two.id());
        let three = take(&[]).unwrap();
        assert!(take(&[]).is_err());
        let id = three.id();
        let shared = three.share().unwrap();
        drop(three);
        assert!(take(&[]).is_err(), "the launcher's copy still holds it");
        drop(shared);
        assert_eq!(take(&[]).unwrap().id(), id);
    }

    #[test]
    fn a_user_of_the_machine_keeps_its_uid() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("leases");
        assert!(Lease::take_in(&place, 1000, 1, &[1000]).is_err());
        let text = b"root:x:0:0::/:/bin/sh\nx:x:1000:1001::/:\nbad line\n";
        assert_eq!(numbers(text).collect::<Vec<_>>(), [0, 0, 1000, 1001]);
    }

    #[test]
    fn root_and_nobody_are_never_leased() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("leases");
        assert!(Lease::take_in(&place, 0, 1, &[]).is_err());
        assert!(Lease::take_in(&place, 65_534, 1, &[]).is_err());
    }
}
