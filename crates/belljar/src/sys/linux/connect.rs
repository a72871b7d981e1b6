//! Connects a guest's socket in its stead: connect(2) on a duplicate, to an
//! address that was copied out of the guest once and looked at here.
//!
//! Everything that the guest could change meanwhile is held by a descriptor: its
//! thread, the socket, its root, and the very socket that the path led to. What
//! is done is done with the guest's own user and no capability, so that nobody
//! is lent a right by being asked.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat},
    io::Errno,
    net::{AddressFamily, Shutdown, SocketType, shutdown, sockopt},
    process::{ForeignRawFd, Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
    thread::{
        CapabilitySet, CapabilitySets, set_capabilities, set_thread_groups, set_thread_res_gid,
        set_thread_res_uid,
    },
};

use super::notify::{Asked, is_waiting};

/// `sizeof(struct sockaddr_storage)`: no address is longer.
const LONGEST: usize = 128;
/// Where a unix socket's path begins in its address; unix(7).
const PATH: usize = 2;
/// How often a way up is looked for anew.
const UPS: usize = 100;
/// `PIDFD_THREAD`, since Linux 6.9.
const THREAD: u32 = libc::O_EXCL as u32;

/// What a jar's sockets may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reachable {
    /// The file system of the jar's own scratch: `st_dev`.
    pub(crate) scratch: Option<u64>,
    /// Sockets that were granted by their paths: `st_dev` and `st_ino`.
    pub(crate) granted: Vec<(u64, u64)>,
    /// Abstract names are the jar's own: it has a network namespace.
    pub(crate) names: bool,
    /// The machine's ids of the jar, where the supervisor has others.
    pub(crate) ids: Option<u32>,
}

/// Whether a guest's connect(2) comes back without waiting, as far as the guest
/// has said by now: its socket does not block, or it will fail.
pub(crate) fn comes_back(asked: &Asked) -> bool {
    let flags = open_task(asked.pid)
        .and_then(|pidfd| socket_of(&pidfd, asked))
        .and_then(rustix::fs::fcntl_getfl);
    flags.map_or(true, |flags| flags.contains(OFlags::NONBLOCK))
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Connected {
    /// It is connected, or the kernel says why not; errno(3), 0 where it is.
    Answered(i32),
    /// It leads to a socket that is not the jar's to reach: where.
    Refused(Vec<u8>),
}

/// The sockets of one jar that are being connected. Who waits in connect(2)
/// hears of nothing else, and a guest can have it wait for hours.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnderWay(Arc<Mutex<Vec<Arc<OwnedFd>>>>);

impl UnderWay {
    /// Ends all that wait for a host of the network; how many there still are.
    /// Whoever begins to wait only now is ended the next time. Those that wait
    /// for a unix socket end with it, and nothing else ends them.
    pub(crate) fn cut_short(&self) -> usize {
        let sockets = self.sockets();
        for socket in &*sockets {
            // Where it does not wait yet or any more, there is nothing to end.
            let _ = shutdown(socket, Shutdown::Both);
        }
        sockets.len()
    }

    fn sockets(&self) -> MutexGuard<'_, Vec<Arc<OwnedFd>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, socket: OwnedFd) -> Held<'_> {
        let socket = Arc::new(socket);
        self.sockets().push(Arc::clone(&socket));
        Held { all: self, socket }
    }
}

/// A socket that is listed as long as this lives.
struct Held<'a> {
    all: &'a UnderWay,
    socket: Arc<OwnedFd>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut sockets = self.all.sockets();
        sockets.retain(|other| !Arc::ptr_eq(other, &self.socket));
    }
}

/// Does what a guest's connect(2) asks for. It may wait as long as the guest
/// would, and leaves the calling thread without privileges: give it one of its own.
pub(crate) fn connect(
    listener: &OwnedFd,
    asked: &Asked,
    reachable: &Reachable,
    under_way: &UnderWay,
) -> Connected {
    attempt(listener, asked, reachable, under_way)
        .unwrap_or_else(|errno| Connected::Answered(errno.raw_os_error()))
}

fn attempt(
    listener: &OwnedFd,
    asked: &Asked,
    reachable: &Reachable,
    under_way: &UnderWay,
) -> Result<Connected, Errno> {
    let [_, address, length, ..] = asked.attempt.arguments;
    let task = Task::open(listener, asked)?;
    let socket = socket_of(&task.pidfd, asked)?;
    // Before it is seen that the guest still waits: a jar that ends from here
    // on finds it listed.
    let held = under_way.add(socket);
    let socket: &OwnedFd = &held.socket;
    // The kernel takes the length as a signed number.
    let length = usize::try_from(length as u32 as i32).map_err(|_| Errno::INVAL)?;
    if length > LONGEST {
        return Err(Errno::INVAL);
    }
    let mut copy = [0; LONGEST];
    let copy = &mut copy[..length];
    read_memory(asked.pid, address, copy)?;
    is_waiting(listener, asked)?;
    let (root, workdir) = (task.root, task.workdir);
    drop_privileges(reachable.ids)?;

    let [family_low, family_high, path @ ..] = &*copy else {
        return Ok(answer(connect_raw(socket, copy)));
    };
    let family = u16::from_ne_bytes([*family_low, *family_high]);
    let is_unix = sockopt::socket_domain(socket)? == AddressFamily::UNIX;
    if !is_unix || family != AddressFamily::UNIX.as_raw() {
        return Ok(answer(connect_raw(socket, copy)));
    }
    let kind = sockopt::socket_type(socket)?;
    if kind != SocketType::STREAM && kind != SocketType::SEQPACKET {
        return Ok(Connected::Refused(path.to_vec()));
    }
    match path {
        // Nameless: the kernel says that it cannot be.
        [] => Ok(answer(connect_raw(socket, copy))),
        [0, ..] if reachable.names => Ok(answer(connect_raw(socket, copy))),
        [0, ..] => Ok(Connected::Refused(path.to_vec())),
        path => {
            let end = path.iter().position(|byte| *byte == 0);
            let path = &path[..end.unwrap_or(path.len())];
            let found = resolve(root.as_fd(), &workdir, path)?;
            let stat = fstat(&found)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
                return Err(Errno::CONNREFUSED);
            }
            let here = (stat.st_dev, stat.st_ino);
            let own = reachable.scratch == Some(stat.st_dev);
            if !own && !reachable.granted.contains(&here) {
                return Ok(Connected::Refused(path.to_vec()));
            }
            let exactly = format!("/proc/self/fd/{}", found.as_raw_fd());
            let mut address = family.to_ne_bytes().to_vec();
            address.extend(exactly.as_bytes());
            address.push(0);
            debug_assert!(address.len() > PATH);
            Ok(answer(connect_raw(socket, &address)))
        }
    }
}

fn answer(result: Result<(), Errno>) -> Connected {
    Connected::Answered(result.err().map_or(0, Errno::raw_os_error))
}

/// The thread that asks, and what it sees.
struct Task {
    pidfd: OwnedFd,
    root: OwnedFd,
    /// Its working directory, from its root.
    workdir: Vec<u8>,
}

impl Task {
    /// Takes hold of it, and sees that it still is who asked.
    fn open(listener: &OwnedFd, asked: &Asked) -> Result<Self, Errno> {
        let pidfd = open_task(asked.pid)?;
        let folder = openat(
            CWD,
            format!("/proc/{}", asked.pid),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let root = openat(
            &folder,
            "root",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let workdir = readlinkat(&folder, "cwd", Vec::new())?.into_bytes();
        is_waiting(listener, asked)?;
        Ok(Self {
            pidfd,
            root,
            workdir,
        })
    }
}

fn open_task(tid: i32) -> Result<OwnedFd, Errno> {
    let thread = Pid::from_raw(tid).ok_or(Errno::PERM)?;
    match pidfd_open(thread, PidfdFlags::from_bits_retain(THREAD)) {
        // Older kernels open only whole processes, whose threads have one
        // table of descriptors, as libcs make them.
        Err(Errno::INVAL) => pidfd_open(leader(tid)?, PidfdFlags::empty()),
        other => other,
    }
}

/// A duplicate of the socket that the call names.
fn socket_of(task: &OwnedFd, asked: &Asked) -> Result<OwnedFd, Errno> {
    let number = asked.attempt.arguments[0] as u32 as i32 as ForeignRawFd;
    pidfd_getfd(task, number, PidfdGetfdFlags::empty())
}

/// The process of a thread; proc_pid_status(5).
fn leader(tid: i32) -> Result<Pid, Errno> {
    let status = super::facts::read_proc(&format!("/proc/{tid}/status")).ok_or(Errno::SRCH)?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
        .and_then(Pid::from_raw)
        .ok_or(Errno::SRCH)
}

/// What a path of the guest leads to, by the guest's root and by its own user's
/// rights. The links of /proc lead nowhere.
fn resolve(root: BorrowedFd<'_>, workdir: &[u8], path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut whole = Vec::new();
    if !path.starts_with(b"/") {
        whole.extend(workdir);
        whole.push(b'/');
    }
    whole.extend(path);
    let open = || {
        openat2(
            root,
            whole.as_slice(),
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    };
    // Where a path goes up, the kernel says so of anything that was renamed or
    // mounted on the machine meanwhile; openat2(2).
    for _ in 0..UPS {
        match open() {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    open()
}

/// Copies memory of a thread, all of it or nothing; process_vm_readv(2).
pub(super) fn read_memory(tid: i32, address: u64, into: &mut [u8]) -> Result<(), Errno> {
    if into.is_empty() {
        return Ok(());
    }
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(address as usize),
        iov_len: into.len(),
    };
    // SAFETY: the local part is one slice; the remote part is another process's,
    // and the kernel checks it.
    let read = unsafe { libc::process_vm_readv(tid, &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(read) {
        Ok(length) if length == into.len() => Ok(()),
        Ok(_) => Err(Errno::FAULT),
        Err(_) => Err(last_error()),
    }
}

fn connect_raw(socket: &OwnedFd, address: &[u8]) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(address.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: pointer and length are of one slice.
    let result = unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), length) };
    match result {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

fn last_error() -> Errno {
    let number = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    Errno::from_raw_os_error(number)
}

/// Becomes the jar's user, this thread alone and for good: no group, and no
/// capability, which is looked at again.
fn drop_privileges(id: Option<u32>) -> Result<(), Errno> {
    if let Some(id) = id {
        become_user(id)?;
    }
    // Whoever is not root may have capabilities as well.
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none)?;
    let left = rustix::thread::capabilities(None)?;
    match left.effective.is_empty() && left.permitted.is_empty() {
        true => Ok(()),
        false => Err(Errno::PERM),
    }
}

fn become_user(id: u32) -> Result<(), Errno> {
    /// Held from the question how dumpable the process is until it is so again:
    /// else one thread takes what another has changed for what it was.
    static DUMPABLE: Mutex<()> = Mutex::new(());
    let (uid, gid) = (
        rustix::process::Uid::from_raw(id),
        rustix::process::Gid::from_raw(id),
    );
    let _one_at_a_time = DUMPABLE.lock().unwrap_or_else(PoisonError::into_inner);
    let dumpable = rustix::process::dumpable_behavior();
    let changed = set_thread_groups(&[])
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid));
    // A change of ids makes the whole process undumpable, which was for its
    // host to say.
    if let Ok(before) = dumpable {
        // Where it cannot be undone, only core dumps are lost.
        let _ = rustix::process::set_dumpable_behavior(before);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that is not root may have some: a service that was given them.
    #[test]
    fn a_thread_that_connects_for_a_guest_keeps_no_capability() {
        let left = std::thread::spawn(|| {
            drop_privileges(None)?;
            rustix::thread::capabilities(None)
        });
        let left = left.join().unwrap().unwrap();
        assert!(
            left.effective.is_empty() && left.permitted.is_empty() && left.inheritable.is_empty(),
            "{left:?}"
        );
    }
}
