//! Makes a jar's pid 1 with its namespaces, and maps its ids from outside;
//! clone3(2), user_namespaces(7).

use belljar_plan::Namespaces;
use linux_raw_sys::general as sys;
use rustix::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Result;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::calls::{self, open, openat, socketpair};
use crate::{init, raw, receipts, text::Text};

/// What makes one child as good as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) namespaces: Namespaces,
    /// `None` where there is no user namespace.
    pub(crate) ids: Option<Ids>,
    /// The cgroup that it is made in, where that is not the launcher's.
    pub(crate) cgroup: Option<Cgroup>,
}

/// Which cgroup a directory is: it has that number as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cgroup(u64, u64);

impl Cgroup {
    pub(crate) fn of(directory: BorrowedFd<'_>) -> Result<Self> {
        let stat = calls::fstat(directory)?;
        Ok(Self(stat.st_dev, stat.st_ino))
    }
}

/// One uid and one gid inside, and what they are on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) machine_uid: u32,
    pub(crate) machine_gid: u32,
    pub(crate) deny_setgroups: bool,
}

/// A child that waits for its task.
pub(crate) struct Made {
    pub(crate) kind: Kind,
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// The launcher's end of the socket between them.
    pub(crate) control: OwnedFd,
    /// `CLOCK_MONOTONIC` when it was made, nanoseconds.
    pub(crate) started: u64,
    /// Whether its end was taken: then its pid may be another's.
    pub(crate) reaped: bool,
}

impl Drop for Made {
    /// A child that nobody keeps ends at once and leaves no zombie.
    fn drop(&mut self) {
        if !self.reaped {
            end(self.pid, &self.pidfd);
        }
    }
}

/// Makes the child, in the cgroup of this directory where there is one; the ids are
/// mapped by [`map_ids`].
pub(crate) fn make(kind: Kind, cgroup: Option<BorrowedFd<'_>>) -> Result<Made> {
    let (control, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let started = receipts::now();
    match raw::clone3(flags(kind.namespaces), cgroup)? {
        None => init::run(theirs.as_raw_fd()),
        Some((pid, pidfd)) => Ok(Made {
            kind,
            pid,
            pidfd,
            control,
            started,
            reaped: false,
        }),
    }
}

fn flags(namespaces: Namespaces) -> u64 {
    let pairs = [
        (namespaces.user, sys::CLONE_NEWUSER),
        (namespaces.pid, sys::CLONE_NEWPID),
        (namespaces.mount, sys::CLONE_NEWNS),
        (namespaces.network, sys::CLONE_NEWNET),
        (namespaces.uts, sys::CLONE_NEWUTS),
        (namespaces.ipc, sys::CLONE_NEWIPC),
        (namespaces.cgroup, sys::CLONE_NEWCGROUP),
    ];
    pairs
        .iter()
        .filter(|(wanted, _)| *wanted)
        .fold(0, |all, (_, flag)| all | u64::from(*flag))
}

/// Writes the maps of a child in a new user namespace.
pub(crate) fn map_ids(pid: i32, ids: Ids) -> Result<()> {
    let folder = process_folder(pid)?;
    if ids.deny_setgroups {
        write(&folder, c"setgroups", b"deny")?;
    }
    map(&folder, c"gid_map", ids.gid, ids.machine_gid)?;
    map(&folder, c"uid_map", ids.uid, ids.machine_uid)
}

/// A user namespace in which `disk` ids are the machine ids given, for
/// `MOUNT_ATTR_IDMAP`: made with a process that lives only as long as it takes
/// to write the maps; mount_setattr(2). `last` is the last such process, whose
/// end need not be waited for before that of the next.
pub(crate) fn mapping(
    uid: (u32, u32),
    gid: (u32, u32),
    last: &mut Option<Holder>,
) -> Result<OwnedFd> {
    let Some((pid, pidfd)) = raw::clone3(u64::from(sys::CLONE_NEWUSER), None)? else {
        hold();
    };
    let holder = last.insert(Holder { pid, pidfd });
    let made = (|| {
        let folder = process_folder(holder.pid)?;
        map(&folder, c"gid_map", gid.0, gid.1)?;
        map(&folder, c"uid_map", uid.0, uid.1)?;
        openat(
            &folder,
            c"ns/user",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    })();
    let _ = calls::pidfd_send_signal(&holder.pidfd, rustix::process::Signal::KILL);
    made
}

/// A process that held a user namespace, and was killed.
pub(crate) struct Holder {
    pid: i32,
    pidfd: OwnedFd,
}

impl Drop for Holder {
    fn drop(&mut self) {
        end(self.pid, &self.pidfd);
    }
}

/// Kills a child that is of no more use and takes its end.
fn end(pid: i32, pidfd: &OwnedFd) {
    let _ = calls::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
    let _ = raw::poll(&mut [raw::waiting_for(pidfd.as_raw_fd())]);
    let _ = raw::wait4(pid);
}

/// The life of a process that is there for its user namespace: it ends with
/// the launcher, if not before.
fn hold() -> ! {
    // All but the lifeline: its writer must be the launcher alone.
    let _ = raw::dup_onto(init::LIFELINE, 0);
    let _ = raw::close_from(1);
    let _ = raw::poll(&mut [raw::waiting_for(0)]);
    raw::exit_group(0)
}

fn process_folder(pid: i32) -> Result<OwnedFd> {
    let path = Text::<32>::new().add(b"/proc/")?.number(pid as u64)?;
    open(
        path.c()?,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn map(folder: &OwnedFd, name: &core::ffi::CStr, inside: u32, outside: u32) -> Result<()> {
    let line = Text::<40>::new()
        .number(u64::from(inside))?
        .add(b" ")?
        .number(u64::from(outside))?
        .add(b" 1")?;
    write(folder, name, line.bytes())
}

fn write(folder: &OwnedFd, name: &core::ffi::CStr, bytes: &[u8]) -> Result<()> {
    let file = openat(
        folder,
        name,
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    calls::write(&file, bytes).map(drop)
}
