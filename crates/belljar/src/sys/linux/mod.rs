//! Linux: the launcher's process and socket, sealed files, leases of machine
//! uids, and what `/proc` tells about a jar's tasks.

mod bounds;
pub(crate) mod cgroup;
pub(crate) mod confine;
mod connect;
mod directory;
pub(crate) mod facts;
mod files;
mod itself;
mod launcher;
mod lease;
pub(crate) mod look;
mod names;
mod notify;
mod packets;
pub(crate) mod prober;
mod project;
mod size;
pub(crate) mod sockets;
mod tree;
mod wait;

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use belljar_plan::{
    message::{Event, Progress, Request},
    plan::MachineIdentity,
};

pub(crate) use self::{
    bounds::bound_all,
    connect::{Connected, Reachable, UnderWay, comes_back, connect},
    directory::{Directory, Listed},
    files::{SHARED, Spot, open_slot, replace, seal, spot},
    itself::{is_confined, take_stdout},
    launcher::LauncherProcess,
    lease::Lease,
    names::{Unread, name},
    notify::{Asked, answer_call, await_call, let_go_on, next_call, take_turns},
    packets::{Packets, connected_packets},
    project::{Grown, HeldProject, project, sweep as sweep_projects},
    size::{held, is_all_of},
    tree::{all_stopped, sample, shared_once},
    wait::{Ready, at, gone, wait_for_either, wait_until_gone, wait_writable, watch},
};

/// Launches can be made on this system.
pub(crate) const SUPPORTED: bool = true;

/// The longest packet that the launcher or pid 1 sends.
pub(crate) const PACKET: usize = {
    let steps = Progress::LENGTH
        + belljar_plan::message::DONE_PER_PACKET * belljar_plan::message::Done::LENGTH;
    let longest = if Event::LENGTH > Request::LENGTH {
        Event::LENGTH
    } else {
        Request::LENGTH
    };
    if steps > longest { steps } else { longest }
};

/// Whom the machine sees in a jar; none where it would be root.
pub(crate) fn machine_identity(first: u32, count: u32) -> Option<MachineIdentity> {
    let uid = rustix::process::geteuid();
    if facts::privileged() {
        return Some(MachineIdentity::Own { first, count });
    }
    (!uid.is_root() || facts::mapped_root()).then(|| MachineIdentity::Caller {
        uid: uid.as_raw(),
        gid: rustix::process::getegid().as_raw(),
    })
}

/// A pipe, reader first. Both ends are closed on exec and block.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Somewhere to write to that keeps nothing.
pub(crate) fn nowhere() -> io::Result<OwnedFd> {
    let file = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    Ok(file.into())
}

/// So many descriptors may be opened, and are not.
pub(crate) fn has_room_for(descriptors: usize) -> io::Result<()> {
    let one = nowhere()?;
    let all: io::Result<Vec<OwnedFd>> = (1..descriptors).map(|_| one.try_clone()).collect();
    all.map(drop)
}

/// It leads nowhere: reading it ends at once, and writing it never waits; null(4).
pub(crate) fn is_null_device(fd: &OwnedFd) -> bool {
    use rustix::fs::FileType;
    rustix::fs::fstat(fd).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == rustix::fs::makedev(1, 3)
    })
}

/// Gives a pipe of Belljar's own to the jar's user, so that the guest can open
/// `/dev/stdout` as it could outside.
pub(crate) fn give(fd: &OwnedFd, uid: u32, gid: u32) -> io::Result<()> {
    let uid = rustix::fs::Uid::from_raw(uid);
    let gid = rustix::fs::Gid::from_raw(gid);
    Ok(rustix::fs::fchown(fd, Some(uid), Some(gid))?)
}

/// One of the host's own 0, 1 and 2, as a descriptor of its own.
pub(crate) fn own_stream(number: u8) -> io::Result<OwnedFd> {
    let again = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned();
    match number {
        0 => again(rustix::stdio::stdin()),
        1 => again(rustix::stdio::stdout()),
        _ => again(rustix::stdio::stderr()),
    }
}

/// The file system on which something lies: `st_dev`.
pub(crate) fn device(fd: &OwnedFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(fd)?.st_dev)
}

/// Bytes that can be read from a pipe at once.
pub(crate) fn waiting(fd: impl AsFd) -> u64 {
    rustix::io::ioctl_fionread(fd).unwrap_or(0)
}

/// 16 bytes that nobody can guess.
pub(crate) fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}

/// Kills pid 1 of a jar, and so everything in it; pid_namespaces(7).
pub(crate) fn kill(pidfd: &OwnedFd) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        other => Ok(other?),
    }
}

/// Tells a pseudo-terminal its size.
pub(crate) fn resize(fd: impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = rustix::termios::Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(fd, size)?)
}

/// Whether this is the key that suspends in a pseudo-terminal, and the leader of its session
/// would be sent a signal for it; seen from the host's side, `ioctl_tty(2)`.
pub(crate) fn is_key_for_nobody(master: impl AsFd, key: u8) -> bool {
    use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr, tcgetpgrp, tcgetsid};
    let Ok(modes) = tcgetattr(&master) else {
        return false;
    };
    let suspends = modes.local_modes.contains(LocalModes::ISIG)
        && modes.special_codes[SpecialCodeIndex::VSUSP] == key;
    let leads = tcgetpgrp(&master).and_then(|group| Ok(group == tcgetsid(&master)?));
    suspends && leads == Ok(true)
}

/// How much of a sized file system is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Bytes in use.
    pub(crate) bytes: u64,
    /// Nothing more can be written: bytes or files ran out.
    pub(crate) full: bool,
}

/// How much of a jar's scratch is taken; fstatfs(2).
pub(crate) fn taken(scratch: &OwnedFd) -> io::Result<Taken> {
    let stat = rustix::fs::fstatfs(scratch)?;
    let block = u64::try_from(stat.f_bsize).unwrap_or(0);
    Ok(Taken {
        bytes: stat
            .f_blocks
            .saturating_sub(stat.f_bfree)
            .saturating_mul(block),
        full: (stat.f_blocks > 0 && stat.f_bfree == 0) || (stat.f_files > 0 && stat.f_ffree == 0),
    })
}

/// Keeps every signal away from this thread, so that the host's handlers run
/// on the host's own threads, and a broken pipe is an error and not an end.
pub(crate) fn block_signals() {
    // SAFETY: an all-zero sigset_t is a valid value, filled just below.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `all` is a sigset_t that this function owns.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: both pointers are a valid set and null, as pthread_sigmask(3) takes them.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) };
}

/// Has writes beyond the limit on file size fail instead of ending this process;
/// setrlimit(2).
pub(crate) fn ignore_file_size_signal() {
    // SAFETY: SIGXFSZ may be ignored, and no handler is handed over.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// The name of a signal without `SIG`; signal(7).
pub(crate) fn signal_name(signal: i32) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    usize::try_from(signal - 1)
        .ok()
        .and_then(|at| NAMES.get(at))
        .map_or_else(|| format!("{signal}"), |name| (*name).to_owned())
}

/// Reads and writes on this descriptor return at once.
pub(crate) fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(fd, true)?)
}

/// Reads at most so many bytes; read(2).
pub(crate) fn read(fd: &OwnedFd, bytes: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(fd, bytes)?)
}

/// Writes at most these bytes; write(2).
pub(crate) fn write(fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::write(fd, bytes)?)
}

/// A regular file or a directory: something that can grow.
pub(crate) fn holds_bytes(fd: &OwnedFd) -> bool {
    use rustix::fs::FileType;
    rustix::fs::fstat(fd).is_ok_and(|stat| {
        matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::Directory | FileType::RegularFile
        )
    })
}
