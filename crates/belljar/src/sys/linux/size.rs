//! How much a granted file or directory holds: a walk of its own tree that
//! follows no link and leaves no file system.
//!
//! A guest may change the tree meanwhile, and may want to hide in it: what
//! cannot be counted makes the count incomplete, which its reader takes as too much.

use std::{
    collections::HashSet,
    ffi::CStr,
    io,
    os::fd::{AsFd, OwnedFd},
};

use super::project;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

/// The most entries that one walk looks at.
const MOST: u64 = 1_000_000;

/// The same where each has to be opened.
const MOST_OPENED: u64 = 100_000;

/// What a tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Bytes on disk; a file with several names counts once.
    pub(crate) bytes: u64,
    /// Nothing was left out.
    pub(crate) complete: bool,
}

/// Counts what is below a file or directory that was opened with `O_PATH`.
pub(crate) fn held(top: &OwnedFd) -> io::Result<Held> {
    walk(top, None)
}

/// Everything of this file system in a directory that can grow is in this project, and so
/// will be what is made there. One of more entries than can be looked at is not said to be.
pub(crate) fn is_all_of(top: &OwnedFd, project: u32) -> bool {
    walk(top, Some(project)).is_ok_and(|held| held.complete)
}

fn walk(top: &OwnedFd, project: Option<u32>) -> io::Result<Held> {
    let stat = rustix::fs::fstat(top)?;
    let mut walk = Walk {
        device: stat.st_dev,
        me: rustix::process::geteuid().as_raw(),
        project,
        bytes: 0,
        entries: 0,
        complete: true,
        seen: HashSet::new(),
    };
    walk.count(&stat);
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        let mut left = vec![b".".to_vec()];
        while let Some(path) = left.pop() {
            walk.directory(top, &path, &mut left);
        }
    }
    Ok(Held {
        bytes: walk.bytes,
        complete: walk.complete,
    })
}

struct Walk {
    device: u64,
    me: u32,
    /// What is in no or another one makes it incomplete.
    project: Option<u32>,
    bytes: u64,
    entries: u64,
    complete: bool,
    /// Files with more than one name.
    seen: HashSet<u64>,
}

impl Walk {
    fn count(&mut self, stat: &Stat) {
        if stat.st_nlink > 1
            && FileType::from_raw_mode(stat.st_mode) != FileType::Directory
            && !self.seen.insert(stat.st_ino)
        {
            return;
        }
        let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
        self.bytes = self.bytes.saturating_add(blocks.saturating_mul(512));
    }

    fn directory(&mut self, top: &OwnedFd, path: &[u8], left: &mut Vec<Vec<u8>>) {
        let opened = rustix::fs::openat2(
            top,
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
        );
        let directory = match opened {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return,
            // It became something else, which its parent counted.
            Err(Errno::NOTDIR | Errno::LOOP) => {
                self.complete &= self.project.is_none();
                return;
            }
            // Nothing can be written through what another file system's mount covers, nor looked
            // at what project it is in.
            Err(Errno::XDEV) => {
                self.complete &= self.project.is_none();
                return;
            }
            Err(Errno::ACCESS) => {
                // What is closed to us and not ours to open is closed to the guest too.
                let owner = rustix::fs::statat(top, path, AtFlags::SYMLINK_NOFOLLOW);
                let theirs = owner.is_ok_and(|stat| stat.st_uid != self.me);
                self.complete &= theirs && self.project.is_none();
                return;
            }
            Err(_) => {
                self.complete = false;
                return;
            }
        };
        if let Some(wanted) = self.project
            && !matches!(rustix::fs::fstat(&directory), Ok(stat) if project::of(&directory, stat.st_mode) == Some(wanted))
        {
            self.complete = false;
            return;
        }
        let Ok(entries) = Dir::read_from(directory.as_fd()) else {
            self.complete = false;
            return;
        };
        for entry in entries {
            let Ok(entry) = entry else {
                self.complete = false;
                return;
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.entries += 1;
            let most = self.project.map_or(MOST, |_| MOST_OPENED);
            if self.entries > most {
                self.complete = false;
                left.clear();
                return;
            }
            let Ok(stat) = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if stat.st_dev != self.device {
                self.complete &= self.project.is_none();
                continue;
            }
            self.count(&stat);
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => left.push([path, b"/", name.to_bytes()].concat()),
                FileType::RegularFile => {
                    if let Some(wanted) = self.project
                        && !is_in(&directory, name, wanted)
                    {
                        self.complete = false;
                        left.clear();
                        return;
                    }
                }
                // They hold nothing that grows.
                _ => {}
            }
        }
    }
}

/// A file is in this project, or gone.
fn is_in(directory: &OwnedFd, name: &CStr, project: u32) -> bool {
    let flags =
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve) {
        Ok(file) => rustix::fs::fstat(&file)
            .is_ok_and(|stat| project::of(&file, stat.st_mode) == Some(project)),
        Err(errno) => errno == Errno::NOENT,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn growth_is_seen_once_and_links_lead_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("big"), vec![1; 1 << 20]).unwrap();
        let root = directory.path();
        let top = open(root);
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        let before = held(&top).unwrap();
        assert!(before.complete);
        fs::write(root.join("a/b/c/file"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(root.join("a/b/c/file"), root.join("again")).unwrap();
        symlink(outside.path(), root.join("out")).unwrap();
        symlink(outside.path().join("big"), root.join("big")).unwrap();
        let after = held(&top).unwrap();
        let grown = after.bytes - before.bytes;
        assert!(after.complete);
        assert!((1 << 20..(1 << 20) + 65_536).contains(&grown), "{grown}");
    }

    #[test]
    fn what_lies_too_deep_to_be_counted_is_not_taken_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let top = open(directory.path());
        let name = "d".repeat(200);
        let mut at = open(directory.path());
        for _ in 0..25 {
            rustix::fs::mkdirat(&at, &name, Mode::from_raw_mode(0o700)).unwrap();
            at = rustix::fs::openat(&at, &name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .unwrap();
        }
        assert!(!held(&top).unwrap().complete);
    }
}
