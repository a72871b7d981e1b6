//! A directory that is held open, and what is done in it by name. Nothing is looked
//! up by a path a second time: whatever takes the directory's place meanwhile is
//! neither read nor written nor removed.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW,
    },
    io::Errno,
};

use super::files::{self, PRIVATE};

const OPEN: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Whoever may write to a directory, but its owner.
const OTHERS_WRITE: u32 = 0o022;

/// Only owners move what is in it; inode(7).
const STICKY: u32 = 0o1000;

/// A directory that is held open.
#[derive(Debug)]
pub(crate) struct Directory(OwnedFd);

/// A regular file in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) when: SystemTime,
    pub(crate) bytes: u64,
}

impl Directory {
    /// One of this user's alone: made where it is not there, with those above it, and
    /// refused where somebody else could write to it.
    pub(crate) fn make_private(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
        if let Some(there) = Self::private(path)? {
            return Ok(there);
        }
        // Root with another user's HOME would leave directories of its own there.
        let above = path
            .ancestors()
            .find_map(|above| std::fs::metadata(above).ok());
        if !above.is_some_and(|above| is_mine(above.uid()) || above.mode() & STICKY != 0) {
            return Err(not_mine(
                "the directory that it would be made in is somebody else's",
            ));
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)?;
        Self::private(path)?.ok_or_else(|| Errno::NOENT.into())
    }

    /// The same; none where it is not there.
    pub(crate) fn private(path: &Path) -> io::Result<Option<Self>> {
        checked_private(rustix::fs::open(path, OPEN, Mode::empty()))
    }

    /// One in this directory of this user's alone, made where it is not there.
    pub(crate) fn make_private_in(&self, name: &str) -> io::Result<Self> {
        match rustix::fs::mkdirat(&self.0, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.private_in(name)?.ok_or_else(|| Errno::NOENT.into())
    }

    /// One in this directory of this user's alone; none where it is not there.
    pub(crate) fn private_in(&self, name: &str) -> io::Result<Option<Self>> {
        checked_private(rustix::fs::openat(&self.0, name, OPEN, Mode::empty()))
    }

    /// One of anybody's, which is no link.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // It need not be a directory that this user may list.
        let flags = OPEN.union(OFlags::PATH);
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// One in which nobody else could put another directory in the place of one that
    /// is made there.
    pub(crate) fn that_keeps(path: &Path) -> io::Result<Self> {
        let directory = Self::open(path)?;
        let found = rustix::fs::fstat(&directory.0)?;
        let kept = found.st_mode & OTHERS_WRITE == 0 || found.st_mode & STICKY != 0;
        match kept && (is_mine(found.st_uid) || found.st_uid == 0) {
            true => Ok(directory),
            false => Err(not_mine("somebody else may move what is made there")),
        }
    }

    /// A new one in this directory, held by a lock for as long as it is open, so that
    /// nobody takes it for one that was left behind: see [`abandoned`](Self::abandoned).
    pub(crate) fn make_held_in(&self, name: &str) -> io::Result<Self> {
        rustix::fs::mkdirat(&self.0, name, Mode::RWXU)?;
        let made = self
            .private_in(name)?
            .ok_or_else(|| io::Error::from(Errno::NOENT))?;
        // Somebody who looked in between may have taken it for abandoned, and away.
        match made.hold() && self.leads_to(name, &made) {
            true => Ok(made),
            false => Err(Errno::STALE.into()),
        }
    }

    /// A directory of this user's alone in this one that [`make_held_in`](Self::make_held_in)
    /// made, and whose maker is gone: nobody holds it but the caller now.
    pub(crate) fn abandoned(&self, name: &str) -> Option<Self> {
        let left = self.private_in(name).ok().flatten()?;
        left.hold().then_some(left)
    }

    /// Takes its lock, which ends with the last copy of the descriptor; flock(2).
    fn hold(&self) -> bool {
        rustix::fs::flock(&self.0, FlockOperation::NonBlockingLockExclusive).is_ok()
    }

    /// A name in this directory leads to that very one.
    fn leads_to(&self, name: &str, other: &Self) -> bool {
        let there = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW);
        let same =
            |one: Stat, other: Stat| (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino);
        matches!((there, rustix::fs::fstat(&other.0)), (Ok(one), Ok(other)) if same(one, other))
    }

    /// Names of what is in it, as far as they are UTF-8.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        let listing = rustix::fs::openat(&self.0, ".", OPEN, Mode::empty())?;
        for entry in Dir::new(listing)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// The regular files in it. What goes away meanwhile is not among them.
    pub(crate) fn regular_files(&self) -> io::Result<Vec<Listed>> {
        let mut files = Vec::new();
        for name in self.names()? {
            let about = rustix::fs::statat(&self.0, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
            if let Ok(about) = about
                && FileType::from_raw_mode(about.st_mode) == FileType::RegularFile
            {
                files.push(Listed {
                    name,
                    when: modified(&about),
                    bytes: u64::try_from(about.st_size).unwrap_or(0),
                });
            }
        }
        Ok(files)
    }

    /// Everything in a regular file of this directory, up to `bound` bytes.
    pub(crate) fn read(&self, name: &str, bound: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_file(name)?.take(bound).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A regular file of this directory, for reading.
    pub(crate) fn open_file(&self, name: &str) -> io::Result<File> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.0, name, flags, Mode::empty())?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(Errno::INVAL.into()),
        }
    }

    /// Has a file and its name survive the machine's end.
    pub(crate) fn keep(&self, name: &str) -> io::Result<()> {
        self.open_file(name)?.sync_all()?;
        Ok(rustix::fs::fsync(&self.0)?)
    }

    /// Has the names in it survive the machine's end.
    pub(crate) fn keep_itself(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }

    /// Gives a file of it another name, in the place of whatever has that.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
    }

    /// The same directory, opened once more: locks of both are different ones.
    pub(crate) fn again(&self) -> io::Result<OwnedFd> {
        Ok(rustix::fs::openat(&self.0, ".", OPEN, Mode::empty())?)
    }

    /// Removes an empty directory of it.
    pub(crate) fn remove_empty(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// Notes that a file was used now.
    pub(crate) fn touch(&self, name: &str) -> io::Result<()> {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::utimensat(&self.0, name, &times, flags)?)
    }

    /// Puts a file for this user alone in place at once, whole or not at all.
    pub(crate) fn replace(&self, name: &str, unique: &str, bytes: &[u8]) -> io::Result<()> {
        let spot = files::spot_in(self.0.try_clone()?, name);
        files::replace(&spot, unique, bytes, PRIVATE).map(drop)
    }

    /// Makes a new file with these permissions, whatever the umask is.
    pub(crate) fn make_file(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        let mut file = File::from(rustix::fs::openat(&self.0, name, flags, mode)?);
        file.write_all(bytes)?;
        Ok(rustix::fs::fchmod(&file, mode)?)
    }

    /// Sets the permissions of the directory itself.
    pub(crate) fn permit(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(&self.0, Mode::from_raw_mode(mode))?)
    }

    /// Sets the permissions of something in it that this process made.
    pub(crate) fn permit_in(&self, name: &str, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode(mode);
        Ok(rustix::fs::chmodat(&self.0, name, mode, AtFlags::empty())?)
    }

    /// A path that leads through the descriptor, for calls that know none; proc_pid_fd(5).
    pub(crate) fn path_through(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }

    /// Removes what is no directory. It may be gone already.
    pub(crate) fn remove(&self, name: &str) {
        let _ = rustix::fs::unlinkat(&self.0, name, AtFlags::empty());
    }

    /// Removes a directory that is held, and the files in it. What can't be removed
    /// stays.
    pub(crate) fn remove_held(&self, name: &str, held: &Self) {
        for file in held.names().unwrap_or_default() {
            held.remove(&file);
        }
        if self.leads_to(name, held) {
            // One that is not empty is not removed.
            let _ = rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR);
        }
    }
}

/// What was opened, where it is this user's and nobody else may write to it.
fn checked_private(opened: Result<OwnedFd, Errno>) -> io::Result<Option<Directory>> {
    let directory = match opened {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let found = rustix::fs::fstat(&directory)?;
    if !is_mine(found.st_uid) || found.st_mode & OTHERS_WRITE != 0 {
        return Err(not_mine(
            "somebody else may write there; it must be a directory of your own, with mode 700",
        ));
    }
    Ok(Some(Directory(directory)))
}

fn modified(about: &Stat) -> SystemTime {
    let seconds = u64::try_from(about.st_mtime).unwrap_or(0);
    let nanoseconds = u32::try_from(about.st_mtime_nsec).unwrap_or(0);
    let since = Duration::new(seconds, nanoseconds);
    SystemTime::UNIX_EPOCH
        .checked_add(since)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// This process acts as the user of this number.
fn is_mine(uid: u32) -> bool {
    uid == rustix::process::geteuid().as_raw()
}

fn not_mine(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn room() -> (tempfile::TempDir, Directory) {
        let room = tempfile::tempdir().unwrap();
        let directory = Directory::make_private(&room.path().join("own")).unwrap();
        (room, directory)
    }

    #[test]
    fn what_takes_its_place_is_neither_read_nor_written_nor_removed() {
        let (room, own) = room();
        let at = |name: &str| room.path().join(name);
        own.make_file("file", b"own", 0o600).unwrap();
        fs::create_dir(at("others")).unwrap();
        fs::write(at("others/file"), "others").unwrap();
        fs::rename(at("own"), at("moved")).unwrap();
        symlink("others", at("own")).unwrap();
        assert_eq!(own.read("file", 100).unwrap(), b"own");
        own.replace("more", "x", b"more").unwrap();
        assert_eq!(own.regular_files().unwrap().len(), 2);
        own.remove("file");
        assert_eq!(fs::read(at("others/file")).unwrap(), b"others");
        assert!(!at("moved/file").exists() && at("moved/more").exists());
        assert!(Directory::private(&at("own")).is_err());
    }

    #[test]
    fn a_link_in_it_leads_nowhere() {
        let (room, own) = room();
        let target = room.path().join("target");
        fs::write(&target, "x").unwrap();
        symlink(&target, room.path().join("own/link")).unwrap();
        symlink(room.path(), room.path().join("own/out")).unwrap();
        assert!(own.read("link", 100).is_err());
        assert!(own.make_file("link", b"", 0o600).is_err());
        assert!(own.make_private_in("out").is_err());
        assert_eq!(own.regular_files().unwrap(), []);
        own.remove("link");
        assert_eq!(fs::read(target).unwrap(), b"x");
    }

    #[test]
    fn one_is_abandoned_only_when_its_maker_is_gone() {
        let (room, own) = room();
        let held = own.make_held_in("held").unwrap();
        assert!(own.make_held_in("held").is_err());
        assert!(own.abandoned("held").is_none());
        assert!(own.abandoned("other").is_none());
        held.make_file("file", b"", 0o600).unwrap();
        drop(held);
        let left = own.abandoned("held").unwrap();
        assert!(own.abandoned("held").is_none());
        own.remove_held("held", &left);
        assert!(!room.path().join("own/held").exists());
    }

    #[test]
    fn another_directory_of_the_same_name_is_not_removed() {
        let (room, own) = room();
        let held = own.make_held_in("held").unwrap();
        let at = |name: &str| room.path().join("own").join(name);
        fs::rename(at("held"), at("moved")).unwrap();
        fs::create_dir(at("held")).unwrap();
        own.remove_held("held", &held);
        assert!(at("held").exists() && at("moved").exists());
    }

    #[test]
    fn where_others_may_move_things_nothing_is_made() {
        use std::os::unix::fs::PermissionsExt as _;
        let room = tempfile::tempdir().unwrap();
        let mode =
            |mode| fs::set_permissions(room.path(), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o777);
        assert!(Directory::that_keeps(room.path()).is_err());
        assert!(Directory::private(room.path()).is_err());
        mode(0o1777);
        assert!(Directory::that_keeps(room.path()).is_ok());
    }
}
