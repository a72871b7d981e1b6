//! Machine uids that no other jar has: one byte of a file, locked while the
//! jar lives. No daemon and no clean-up: the kernel lets go of a lock with the
//! last descriptor; fcntl_locking(2), open file description locks.
//!
//! There is more than one file: the kernel goes through all locks of one whenever a
//! descriptor of it is closed, and each child of the launcher closes those of all jars.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

const DIRECTORY: &str = "/run/belljar";

/// So many uids in a row have their bytes in one file.
const TOGETHER: u32 = 256;

/// A uid and gid of the machine that one jar has alone.
#[derive(Debug)]
pub(crate) struct Lease {
    id: u32,
    lock: OwnedFd,
}

impl Lease {
    /// Takes an unused one of `count` from `first` on. It starts looking at a
    /// random place, so that a uid is not used again soon.
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
        let start = random
            .checked_rem(count)
            .ok_or(io::ErrorKind::InvalidInput)?;
        for step in 0..count {
            let offset = (start + step) % count;
            let Some(id) = first.checked_add(offset) else {
                continue;
            };
            // Never root, nor the one that stands for nobody, nor -1.
            if matches!(id, 0 | 65_534 | u32::MAX) || taken.contains(&id) {
                continue;
            }
            let file = open(directory, id / TOGETHER)?;
            if lock_byte(&file, u64::from(id))? {
                return Ok(Self {
                    id,
                    lock: file.into(),
                });
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

/// Opens a file of locks; every lease has an open file description of its own.
fn open(directory: &Path, number: u32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(directory.join(format!("uids.{number}")))
}

fn lock_byte(file: &File, at: u64) -> io::Result<bool> {
    let at = i64::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
    let lock = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: at,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open, and F_OFD_SETLK reads one `struct flock`.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    if result == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
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
