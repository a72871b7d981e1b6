//! Files that Belljar makes or hands over: sealed memory, slots, reports.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write as _},
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use belljar_plan::plan::Slot;
use rustix::{
    fs::{Access, AtFlags, CWD, FileType, MemfdFlags, Mode, OFlags, ResolveFlags, SealFlags},
    io::Errno,
};

/// A file in memory that nobody can change any more; memfd_create(2).
pub(crate) fn seal(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    make(name, bytes, MemfdFlags::NOEXEC_SEAL)
}

/// A program that can be started from `/proc/self/fd`, and that nobody can change.
pub(super) fn program(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    match make(name, bytes, MemfdFlags::EXEC) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => nameless_program(bytes),
        other => other,
    }
}

fn make(name: &str, bytes: &[u8], exec: MemfdFlags) -> io::Result<OwnedFd> {
    let common = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match rustix::fs::memfd_create(name, common | exec) {
        // Before 6.3 there is no such flag, and nothing that would want it.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, common)?,
        other => other?,
    };
    let mut file = File::from(memory);
    file.write_all(bytes)?;
    let memory = OwnedFd::from(file);
    rustix::fs::fcntl_add_seals(
        &memory,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(memory)
}

/// A program as a file without a name, where memory may not be executed
/// (`vm.memfd_noexec=2`).
fn nameless_program(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut last = io::Error::from(Errno::NOENT);
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usual = ["/run", "/tmp", "/var/tmp", "/dev/shm"].map(PathBuf::from);
    for directory in runtime.into_iter().chain(usual) {
        match nameless_program_in(&directory, bytes) {
            Ok(program) => return Ok(program),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn nameless_program_in(directory: &Path, bytes: &[u8]) -> io::Result<OwnedFd> {
    let system = rustix::fs::statvfs(directory)?;
    if system
        .f_flag
        .contains(rustix::fs::StatVfsMountFlags::NOEXEC)
    {
        return Err(Errno::ACCESS.into());
    }
    let mut file = File::from(rustix::fs::open(
        directory,
        OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o500),
    )?);
    file.write_all(bytes)?;
    // A file that somebody can write to cannot be executed (ETXTBSY).
    let again = format!("/proc/self/fd/{}", file.as_raw_fd());
    let program = rustix::fs::open(again, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    drop(file);
    Ok(program)
}

/// Opens a path that the plan hands over, and makes sure that it is still the
/// file that was planned with: no link on the way, same device and inode.
pub(crate) fn open_slot(slot: &Slot) -> io::Result<OwnedFd> {
    let file = rustix::fs::openat2(
        CWD,
        slot.path.0.as_slice(),
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )?;
    let stat = rustix::fs::fstat(&file)?;
    if (stat.st_dev, stat.st_ino) != (slot.device, slot.inode) {
        return Err(Errno::STALE.into());
    }
    Ok(file)
}

/// Where a file will be put: a directory that is held open, and a name in it.
/// The guest may be able to write to that directory's parents, and to put a
/// link in its place: nothing is looked up by path a second time.
#[derive(Debug)]
pub(crate) struct Spot {
    directory: OwnedFd,
    name: OsString,
}

/// Where a report will be, links followed once. It is an error where something
/// is there that is no regular file, since it would be replaced.
pub(crate) fn spot(path: &Path) -> io::Result<Spot> {
    let path = match std::fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
            std::fs::canonicalize(parent)?.join(name)
        }
        Err(error) => return Err(error),
    };
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let directory = rustix::fs::open(
        directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::fs::accessat(
        &directory,
        ".",
        Access::WRITE_OK | Access::EXEC_OK,
        AtFlags::EACCESS,
    )?;
    match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile => {
            Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file; use a descriptor to write elsewhere",
            ))
        }
        Err(error) if error != Errno::NOENT => Err(error.into()),
        _ => Ok(Spot {
            directory,
            name: name.to_owned(),
        }),
    }
}

/// Permissions of a file for everybody to read, as far as the umask goes.
pub(crate) const SHARED: u32 = 0o644;

/// Permissions of a file for nobody else.
pub(crate) const PRIVATE: u32 = 0o600;

/// Where a file of a name will be, in a directory that is held open.
pub(super) fn spot_in(directory: OwnedFd, name: &str) -> Spot {
    Spot {
        directory,
        name: name.into(),
    }
}

/// Puts a file in place at once, whole or not at all. Until that moment it has
/// no name, so that an end by force leaves nothing behind. It stays open for writing.
pub(crate) fn replace(spot: &Spot, unique: &str, bytes: &[u8], mode: u32) -> io::Result<File> {
    let Spot { directory, name } = spot;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    // A name may have 255 bytes.
    if hidden.len() + unique.len() > 250 {
        hidden = OsString::from(".belljar");
    }
    hidden.push(".");
    hidden.push(unique);
    let mode = Mode::from_raw_mode(mode);
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let remove = |_: &io::Error| {
        // Nothing more can be done about a file that can't be removed.
        let _ = rustix::fs::unlinkat(directory, &hidden, AtFlags::empty());
    };
    let file = match rustix::fs::openat(directory, ".", flags | OFlags::TMPFILE, mode) {
        Ok(file) => {
            let mut file = File::from(file);
            file.write_all(bytes)?;
            let from = format!("/proc/self/fd/{}", file.as_raw_fd());
            let link =
                |name| rustix::fs::linkat(CWD, &from, directory, name, AtFlags::SYMLINK_FOLLOW);
            match link(name) {
                Err(Errno::EXIST) => link(&hidden)?,
                other => return Ok(other.map(|()| file)?),
            }
            file
        }
        // Not every file system has files without a name.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {
            let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            let mut file = File::from(rustix::fs::openat(directory, &hidden, flags, mode)?);
            file.write_all(bytes).inspect_err(remove)?;
            file
        }
        Err(error) => return Err(error.into()),
    };
    rustix::fs::renameat(directory, &hidden, directory, name)
        .map_err(io::Error::from)
        .inspect_err(remove)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_s_place_is_refused_where_it_is_no_regular_file() {
        assert!(spot(Path::new("/dev/null")).is_err());
        assert!(spot(Path::new("/")).is_err());
        assert!(spot(Path::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn replacing_leaves_the_last_bytes_and_no_other_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        let spot = spot(&path).unwrap();
        replace(&spot, "one", b"first", PRIVATE).unwrap();
        replace(&spot, "two", b"second", PRIVATE).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_swapped_for_a_link_leads_no_report_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        std::fs::create_dir(at("elsewhere")).unwrap();
        let spot = spot(&at("sub/report.json")).unwrap();
        std::fs::rename(at("sub"), at("moved")).unwrap();
        std::os::unix::fs::symlink("elsewhere", at("sub")).unwrap();
        replace(&spot, "one", b"first", PRIVATE).unwrap();
        assert_eq!(std::fs::read(at("moved/report.json")).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(at("elsewhere")).unwrap().count(), 0);
    }

    #[test]
    fn a_slot_through_a_link_or_of_another_file_is_refused() {
        use std::os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _};
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::write(root.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", root.join("link")).unwrap();
        let found = std::fs::metadata(root.join("file")).unwrap();
        let slot = |name: &str, inode| Slot {
            path: root.join(name).as_os_str().as_bytes().to_vec().into(),
            device: found.dev(),
            inode,
        };
        assert!(open_slot(&slot("file", found.ino())).is_ok());
        assert!(open_slot(&slot("file", found.ino() + 1)).is_err());
        assert!(open_slot(&slot("link", found.ino())).is_err());
    }

    #[test]
    fn sealed_memory_cannot_be_changed() {
        let memory = seal("test", b"fixed").unwrap();
        let mut file = File::from(memory);
        assert!(file.write_all(b"more").is_err());
    }
}
