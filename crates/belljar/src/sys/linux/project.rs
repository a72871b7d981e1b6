//! Projects of a file system: what belongs to one, and the quota that bounds what all of it
//! takes; quotactl(2), ext4(5), ioctl_xfs_fsgetxattr(2). Of ext4 alone.
//!
//! The kernel holds a quota against everybody but who has `CAP_SYS_RESOURCE` in the
//! machine's own user namespace, and lets nobody else's user namespace change what project
//! a file is in.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::PathBuf,
};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

mod held;

pub(crate) use held::{Grown, HeldProject, sweep};

/// Quotas of projects, as quotactl(2) numbers the kinds.
const PROJECTS: u32 = 2;

/// `Q_XGETQSTAT`, which tells of any file system which quotas are enforced.
const Q_XGETQSTAT: u32 = 0x5805;

/// `FS_QUOTA_PDQ_ENFD`
const ENFORCED: u16 = 1 << 5;

/// `FS_IOC_FSGETXATTR`
const FSGETXATTR: libc::c_ulong = 0x801c_581f;

/// `FS_XFLAG_PROJINHERIT`: what is made in a directory is in its project.
const INHERITS: u32 = 0x200;

/// The kernel's unit of space in limits; `QIF_DQBLKSIZE`.
const UNIT: u64 = 1024;

/// `struct fsxattr`
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copied_extent_size: u32,
    padding: [u8; 8],
}

/// What a project has, and may have at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quota {
    bytes: u64,
    inodes: u64,
    bounds: Bounds,
}

/// What it may have at most; 0 stands for no bound, as for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Bounds {
    /// In units of 1 KiB.
    space: u64,
    inodes: u64,
}

impl Bounds {
    /// What both allow.
    fn and(self, other: Self) -> Self {
        let least = |one: u64, other: u64| match (one, other) {
            (0, other) => other,
            (one, 0) => one,
            (one, other) => one.min(other),
        };
        Self {
            space: least(self.space, other.space),
            inodes: least(self.inodes, other.inodes),
        }
    }
}

/// The project of a granted file or directory, opened with `O_PATH`: where what comes into
/// it will be in that project too, and the project's quota can be set by this process.
pub(crate) fn project(top: &OwnedFd) -> Option<u32> {
    /// ext2, ext3, ext4.
    const EXT4: i64 = 0xef53;
    // XFS rounds what is set up to its blocks, and others know themselves by another number
    // after each start.
    if rustix::fs::fstatfs(top).ok()?.f_type != EXT4 {
        return None;
    }
    let stat = rustix::fs::fstat(top).ok()?;
    let open = opened(top, stat.st_mode)?;
    let id = of(&open, stat.st_mode)?;
    (enforced(top) && quota(top, id).is_ok() && held::can_be_noted()).then_some(id)
}

/// Has what was set on a file system survive the machine's end; syncfs(2).
fn keep(top: &OwnedFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(top)?;
    let open = opened(top, stat.st_mode).ok_or(io::ErrorKind::NotFound)?;
    Ok(rustix::fs::syncfs(open)?)
}

/// Something to read from a directory or regular file that was opened with `O_PATH`.
fn opened(top: &OwnedFd, mode: u32) -> Option<OwnedFd> {
    use rustix::fs::FileType;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match FileType::from_raw_mode(mode) {
        FileType::Directory => rustix::fs::openat(top, ".", flags, Mode::empty()).ok(),
        FileType::RegularFile => {
            let path = PathBuf::from(format!("/proc/self/fd/{}", top.as_raw_fd()));
            rustix::fs::open(path, flags, Mode::empty()).ok()
        }
        _ => None,
    }
}

/// The project that an open file is in; for a directory only where what is made in it is
/// in that project too.
pub(super) fn of(open: impl AsFd, mode: u32) -> Option<u32> {
    use rustix::fs::FileType;
    let mut attributes = Attributes::default();
    // SAFETY: FS_IOC_FSGETXATTR writes one `struct fsxattr`, which is what it is given.
    let result = unsafe { libc::ioctl(open.as_fd().as_raw_fd(), FSGETXATTR, &raw mut attributes) };
    let directory = FileType::from_raw_mode(mode) == FileType::Directory;
    let inherits = attributes.flags & INHERITS != 0;
    (result == 0 && attributes.project != 0 && (inherits || !directory))
        .then_some(attributes.project)
}

/// The file system holds projects to their quotas.
fn enforced(top: &OwnedFd) -> bool {
    // `struct fs_quota_stat` is shorter; its flags are behind its version.
    #[repr(C)]
    struct State {
        version: i8,
        flags: u16,
        rest: [u64; 31],
    }
    let mut state = State {
        version: 0,
        flags: 0,
        rest: [0; 31],
    };
    // SAFETY: the kernel writes one `struct fs_quota_stat`, which `State` has room for.
    let done = unsafe { control(top, Q_XGETQSTAT, 0, (&raw mut state).cast()) };
    done.is_ok() && state.flags & ENFORCED != 0
}

/// What a project of this file system has, and may have.
fn quota(top: &OwnedFd, id: u32) -> io::Result<Quota> {
    let mut block = nothing();
    // SAFETY: Q_GETQUOTA writes one `struct if_dqblk`, which is what it is given.
    unsafe { control(top, libc::Q_GETQUOTA as u32, id, (&raw mut block).cast()) }?;
    Ok(Quota {
        bytes: block.dqb_curspace,
        inodes: block.dqb_curinodes,
        bounds: Bounds {
            space: block.dqb_bhardlimit,
            inodes: block.dqb_ihardlimit,
        },
    })
}

/// Bounds it. What it has beyond that already stays; soft limits are left as they are.
fn bound(top: &OwnedFd, id: u32, bounds: Bounds) -> io::Result<()> {
    let mut block = nothing();
    // SAFETY: as for `quota`.
    unsafe { control(top, libc::Q_GETQUOTA as u32, id, (&raw mut block).cast()) }?;
    block.dqb_bhardlimit = bounds.space;
    block.dqb_ihardlimit = bounds.inodes;
    // With its times as they are: by itself the kernel would begin a new grace.
    block.dqb_valid = libc::QIF_LIMITS | libc::QIF_TIMES;
    // SAFETY: Q_SETQUOTA reads one `struct if_dqblk`, which is what it is given.
    unsafe { control(top, libc::Q_SETQUOTA as u32, id, (&raw mut block).cast()) }?;
    match quota(top, id)?.bounds == bounds {
        true => Ok(()),
        false => Err(io::Error::other("the quota was not taken as it was set")),
    }
}

fn nothing() -> libc::dqblk {
    libc::dqblk {
        dqb_bhardlimit: 0,
        dqb_bsoftlimit: 0,
        dqb_curspace: 0,
        dqb_ihardlimit: 0,
        dqb_isoftlimit: 0,
        dqb_curinodes: 0,
        dqb_btime: 0,
        dqb_itime: 0,
        dqb_valid: 0,
    }
}

/// quotactl_fd(2), since 5.14: by a descriptor, so that no name of a device is looked up.
///
/// # Safety
/// `about` is what the command reads or writes.
unsafe fn control(
    top: &OwnedFd,
    command: u32,
    id: u32,
    about: *mut libc::c_void,
) -> io::Result<()> {
    let command = (command << 8) | PROJECTS;
    // SAFETY: the descriptor is open; the caller answers for the rest.
    let result =
        unsafe { libc::syscall(libc::SYS_quotactl_fd, top.as_raw_fd(), command, id, about) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_bounds_the_lesser_counts_and_none_is_no_bound() {
        let bounds = |space, inodes| Bounds { space, inodes };
        assert_eq!(bounds(0, 5).and(bounds(7, 0)), bounds(7, 5));
        assert_eq!(bounds(3, 9).and(bounds(7, 2)), bounds(3, 2));
        assert_eq!(bounds(0, 0).and(bounds(0, 0)), bounds(0, 0));
    }

    #[test]
    fn what_is_in_no_project_has_none() {
        let room = tempfile::tempdir().unwrap();
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let top = rustix::fs::open(room.path(), flags, Mode::empty()).unwrap();
        assert_eq!(project(&top), None);
        let device = rustix::fs::open("/dev/null", flags, Mode::empty()).unwrap();
        assert_eq!(project(&device), None);
    }
}
