//! Looking at the machine's files: what a path leads to, a directory's names,
//! bytes. Each answer is about one object, held by a descriptor; nothing here
//! writes, and nothing opens a device or waits for a pipe's other end.

use std::{
    ffi::OsStr,
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::OnceLock,
};

use belljar_plan::Bytes;
use belljar_policy::{
    UnixPath,
    verified::{FileKind, Found},
    why,
};
use rustix::{
    fs::{
        self, AtFlags, CWD, FileType, MemfdFlags, Mode, OFlags, RawDir, ResolveFlags, SealFlags,
        Stat,
    },
    io::Errno,
};

/// Why nothing can be said about a path.
#[derive(Debug)]
pub(crate) enum LookError {
    /// errno(3) of opening it.
    Errno(i32),
    /// Its links lead to a path that is not UTF-8.
    NotUtf8(PathBuf),
}

impl LookError {
    /// errno(3); `EILSEQ` where it is no UTF-8.
    pub(crate) fn errno(&self) -> i32 {
        match self {
            Self::Errno(errno) => *errno,
            Self::NotUtf8(_) => Errno::ILSEQ.raw_os_error(),
        }
    }
}

impl From<io::Error> for LookError {
    fn from(error: io::Error) -> Self {
        Self::Errno(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()))
    }
}

impl From<Errno> for LookError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno.raw_os_error())
    }
}

/// Follows every link of a path and says what is there.
pub(crate) fn look(path: &UnixPath) -> Result<Found, LookError> {
    // Most paths hold no link: then one call answers. Others are resolved and
    // tried again, so that the path and the object belong together.
    let mut canonical = path.clone();
    for _ in 0..4 {
        match open_exactly(canonical.as_str()) {
            Ok(descriptor) => {
                let stat = fs::fstat(&descriptor)?;
                let idmap = rustix::process::geteuid().is_root() && takes_idmap(&descriptor);
                return Ok(found(canonical, &stat, idmap));
            }
            Err(Errno::LOOP) => canonical = follow(path)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::LOOP.into())
}

/// The program that this process runs, opened by what the kernel keeps of it, and its path:
/// that with a mark where nothing has that path any more; proc_pid_exe(5).
pub(crate) fn own_program() -> io::Result<(OwnedFd, PathBuf)> {
    const EXE: &str = "/proc/self/exe";
    let file = fs::open(EXE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((file, std::fs::read_link(EXE)?))
}

/// What a descriptor leads to, by the path that it is said to have.
pub(crate) fn of_descriptor(file: BorrowedFd<'_>, path: UnixPath) -> io::Result<Found> {
    let stat = fs::fstat(file)?;
    let idmap = rustix::process::geteuid().is_root() && takes_idmap(&file);
    Ok(found(path, &stat, idmap))
}

/// Opens for reading exactly what was seen, where it is a regular file.
pub(crate) fn reopen(seen: &Found) -> Result<OwnedFd, i32> {
    if seen.kind != FileKind::File {
        return Err(Errno::ACCESS.raw_os_error());
    }
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file =
        fs::open(seen.path.as_str(), flags, Mode::empty()).map_err(|errno| errno.raw_os_error())?;
    let stat = fs::fstat(&file).map_err(|errno| errno.raw_os_error())?;
    if (stat.st_dev, stat.st_ino) == (seen.device, seen.inode) {
        Ok(file)
    } else {
        Err(Errno::STALE.raw_os_error())
    }
}

/// Everything at a path that is a readable regular file, up to `bound` bytes.
pub(crate) fn read_small(path: &str, bound: usize) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = fs::open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL.into());
    }
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    while bytes.len() < bound {
        let take = chunk.len().min(bound - bytes.len());
        match rustix::io::read(&file, &mut chunk[..take])? {
            0 => break,
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
    Ok(bytes)
}

/// Up to `length` bytes at a place of a file; fewer only at its end.
pub(crate) fn read_at(file: BorrowedFd<'_>, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match rustix::io::pread(file, &mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// What an entry of a directory is, its link not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) kind: EntryKind,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// Bytes, as far as the file itself says.
    pub(crate) size: u64,
    /// Somebody who is neither its owner nor of its group may use it.
    pub(crate) open_to_others: bool,
}

/// The type of an entry; inode(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Directory,
    File,
    Link,
    /// With the word for it.
    Other(&'static str),
}

/// What is at a path, its last link not followed, with all that decides who may
/// use it; errno(3) where it can't be looked at.
pub(crate) fn entry(path: &UnixPath) -> Result<why::Entry, i32> {
    let path = path.as_str();
    let stat =
        fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| errno.raw_os_error())?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => why::EntryKind::Directory,
        FileType::RegularFile => why::EntryKind::File,
        FileType::Symlink => {
            let target = link_text_at(path)
                .map_err(|error| error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()))?;
            why::EntryKind::Link(Bytes(target))
        }
        FileType::Socket => why::EntryKind::Socket,
        FileType::CharacterDevice | FileType::BlockDevice => why::EntryKind::Device,
        _ => why::EntryKind::Other,
    };
    Ok(why::Entry {
        kind,
        device: stat.st_dev,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: u16::try_from(stat.st_mode & 0o7777).unwrap_or(0),
    })
}

/// What is at a path, its last link not followed.
pub(crate) fn status(path: &str) -> io::Result<Status> {
    Ok(status_of(&fs::statat(
        CWD,
        path,
        AtFlags::SYMLINK_NOFOLLOW,
    )?))
}

/// What an entry of a directory is, its link not followed.
pub(crate) fn status_below(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Status> {
    let name = OsStr::from_bytes(name);
    Ok(status_of(&fs::statat(
        directory,
        name,
        AtFlags::SYMLINK_NOFOLLOW,
    )?))
}

/// What a link says.
pub(crate) fn link_text(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(fs::readlinkat(directory, OsStr::from_bytes(name), Vec::new())?.into_bytes())
}

/// What a link says.
pub(crate) fn link_text_at(path: &str) -> io::Result<Vec<u8>> {
    Ok(fs::readlinkat(CWD, path, Vec::new())?.into_bytes())
}

/// Something may be opened, read, written or executed by this process, its
/// link followed or not: it is there.
pub(crate) fn exists(path: &str) -> bool {
    fs::statat(CWD, path, AtFlags::empty()).is_ok()
}

/// Opens a directory of the machine for listing.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(fs::open(path, flags, Mode::empty())?)
}

/// How an entry of a directory is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Below {
    Directory,
    File,
}

/// Opens an entry of a directory, which is not a link; it never leads out.
pub(crate) fn open_below(
    directory: BorrowedFd<'_>,
    name: &[u8],
    below: Below,
) -> io::Result<(OwnedFd, Found)> {
    let mut flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    flags |= match below {
        Below::Directory => OFlags::DIRECTORY,
        Below::File => OFlags::NONBLOCK | OFlags::NOCTTY,
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = fs::openat2(
        directory,
        OsStr::from_bytes(name),
        flags,
        Mode::empty(),
        resolve,
    )?;
    let stat = fs::fstat(&file)?;
    let found = found(UnixPath::root(), &stat, false);
    let expected = match below {
        Below::Directory => FileKind::Directory,
        Below::File => FileKind::File,
    };
    if found.kind != expected {
        return Err(Errno::STALE.into());
    }
    Ok((file, found))
}

/// A directory's names in order, `.` and `..` left out; `None` where there
/// are more than `bound`.
pub(crate) fn names(directory: BorrowedFd<'_>, bound: usize) -> io::Result<Option<Vec<Vec<u8>>>> {
    let entries = entries(directory, bound)?;
    Ok(entries.map(|entries| entries.into_iter().map(|(name, _)| name).collect()))
}

/// Names with what each is.
pub(crate) type Listing = Vec<(Vec<u8>, EntryKind)>;

/// A directory's names in order with what each is, as far as the directory
/// itself tells; `None` where there are more than `bound`. A descriptor's
/// directory can be listed once.
pub(crate) fn entries(directory: BorrowedFd<'_>, bound: usize) -> io::Result<Option<Listing>> {
    let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
    let mut listing = RawDir::new(directory, &mut buffer);
    let mut entries = Vec::new();
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if entries.len() == bound {
            return Ok(None);
        }
        let kind = match entry.file_type() {
            FileType::Directory => EntryKind::Directory,
            FileType::RegularFile => EntryKind::File,
            FileType::Symlink => EntryKind::Link,
            FileType::Unknown => status_below(directory, name)
                .map_or(EntryKind::Other("file that is gone"), |status| status.kind),
            _ => EntryKind::Other("special file"),
        };
        entries.push((name.to_vec(), kind));
    }
    entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(Some(entries))
}

/// Reads the next bytes of a file; none at its end.
pub(crate) fn read_next(file: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::io::read(file, &mut *buffer) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// A file in memory that can be sealed; memfd_create(2).
pub(crate) fn memory_file(name: &str) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Before Linux 6.3 the flag that says "never to be executed" is unknown.
    match fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => Ok(fs::memfd_create(name, flags)?),
        other => Ok(other?),
    }
}

/// Writes all of it at the end.
pub(crate) fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// From here on nobody can change a file in memory, its maker included.
pub(crate) fn seal(file: BorrowedFd<'_>) -> io::Result<()> {
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    Ok(fs::fcntl_add_seals(file, seals)?)
}

fn open_exactly(path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // Linux before 5.6, and containers that know no such call: the planner
        // says so, and no jar is made. Looking still works, less strictly.
        Err(Errno::NOSYS | Errno::PERM) => {
            if std::fs::canonicalize(path).is_ok_and(|to| to == Path::new(path)) {
                fs::open(path, flags | OFlags::NOFOLLOW, Mode::empty())
            } else {
                Err(Errno::LOOP)
            }
        }
        other => other,
    }
}

fn follow(path: &UnixPath) -> Result<UnixPath, LookError> {
    // Asks for each part of each link, and is still faster than to open the
    // path and have `/proc/self/fd` tell its name.
    let canonical = std::fs::canonicalize(path.as_str())?;
    match canonical.to_str().map(UnixPath::new) {
        Some(Ok(path)) => Ok(path),
        _ => Err(LookError::NotUtf8(canonical)),
    }
}

fn found(path: UnixPath, stat: &Stat, idmap: bool) -> Found {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => FileKind::Directory,
        FileType::RegularFile => FileKind::File,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice => FileKind::CharacterDevice {
            major: fs::major(stat.st_rdev),
            minor: fs::minor(stat.st_rdev),
        },
        _ => FileKind::Other,
    };
    Found {
        path,
        kind,
        device: stat.st_dev,
        inode: stat.st_ino,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: u16::try_from(stat.st_mode & 0o7777).unwrap_or(0),
        idmap,
    }
}

fn status_of(stat: &Stat) -> Status {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => EntryKind::Directory,
        FileType::RegularFile => EntryKind::File,
        FileType::Symlink => EntryKind::Link,
        FileType::Socket => EntryKind::Other("socket"),
        FileType::Fifo => EntryKind::Other("pipe"),
        FileType::CharacterDevice | FileType::BlockDevice => EntryKind::Other("device"),
        _ => EntryKind::Other("file of unknown kind"),
    };
    Status {
        kind,
        device: stat.st_dev,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        open_to_others: stat.st_mode & 0o007 != 0,
    }
}

/// Numbers of `linux/magic.h` for file systems with `FS_ALLOW_IDMAP`, and the
/// release that brought it. tmpfs came with 6.3 and others later than the call
/// itself: asking a file system for certain needs a mount, so this is the
/// table's word, and the launch is the proof.
const IDMAP_FILE_SYSTEMS: &[u64] = &[
    0xEF53,      // ext4, 5.12
    0x5846_5342, // xfs, 5.12
    0x4d44,      // fat, 5.12
    0x9123_683E, // btrfs, 5.15
    0xF2F5_2010, // f2fs, 5.18
    0x0102_1994, // tmpfs, 6.3
    0x5346_544e, // ntfs3, 5.15
    0xE0F5_E1E2, // erofs, 5.19
    0x7371_7368, // squashfs, 6.2
    0x00C3_6400, // ceph, 6.7
    0xCA45_1A4E, // bcachefs, 6.7
    0x2FC1_2FC1, // zfs 2.2
];

fn takes_idmap(file: &impl AsFd) -> bool {
    #[allow(
        clippy::cast_sign_loss,
        clippy::unnecessary_cast,
        reason = "f_type's type differs among architectures; it is a number of 32 bits"
    )]
    fs::fstatfs(file).is_ok_and(|about| {
        let number = about.f_type as u64 & 0xffff_ffff;
        IDMAP_FILE_SYSTEMS.contains(&number) && !(number == TMPFS && is_devtmpfs(file))
    })
}

const TMPFS: u64 = 0x0102_1994;

/// devtmpfs, the usual `/dev`, has tmpfs's number and takes no idmapped mount.
/// There is one of it on a machine.
fn is_devtmpfs(file: &impl AsFd) -> bool {
    static DEVICE: OnceLock<Option<u64>> = OnceLock::new();
    let device = DEVICE.get_or_init(|| {
        let mounts = read_small("/proc/self/mountinfo", 1 << 20).unwrap_or_default();
        devtmpfs_of(&String::from_utf8_lossy(&mounts))
    });
    device.is_some_and(|device| fs::fstat(file).is_ok_and(|stat| stat.st_dev == device))
}

/// The device number of devtmpfs in a table of mounts; proc_pid_mountinfo(5).
fn devtmpfs_of(mounts: &str) -> Option<u64> {
    let line = mounts.lines().find(|line| line.contains(" - devtmpfs "))?;
    let (major, minor) = line.split(' ').nth(2)?.split_once(':')?;
    Some(fs::makedev(major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devtmpfs_is_known_from_the_table_of_mounts() {
        let mounts = "1 2 0:21 / /proc rw - proc proc rw\n\
            24 27 0:6 / /dev rw,relatime shared:2 - devtmpfs udev rw,size=1k\n";
        assert_eq!(devtmpfs_of(mounts), Some(fs::makedev(0, 6)));
        assert_eq!(devtmpfs_of("24 27 0:6 / /dev rw - tmpfs tmpfs rw\n"), None);
        assert_eq!(devtmpfs_of("24 27 x / /dev rw - devtmpfs udev rw\n"), None);
    }
}
