//! What stands in the place of rustix's functions: each has its signature, and is a
//! point wherever it is called.

use core::ffi::c_void;

use rustix::buffer::Buffer;
use rustix::event::{PollFd, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, StatVfs, Statx, StatxFlags};
use rustix::io::{Errno, IoSlice, IoSliceMut, Result};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};
use rustix::net::{
    AddressFamily, Protocol, RecvAncillaryBuffer, RecvFlags, RecvMsg, SendAncillaryBuffer,
    SendFlags, SocketFlags, SocketType,
};
use rustix::path::Arg;
use rustix::pipe::PipeFlags;
use rustix::process::{Gid, Pid, Resource, Rlimit, Signal, Uid};
use rustix::rand::GetRandomFlags;
use rustix::thread::NanosleepRelativeResult;

pub(crate) use super::at_step;
use super::through;

macro_rules! points {
    ($($module:ident::$name:ident($($argument:ident: $kind:ty),*) -> $gives:ty;)*) => {$(
        #[track_caller]
        pub(crate) fn $name($($argument: $kind),*) -> Result<$gives> {
            through(|| rustix::$module::$name($($argument),*))
        }
    )*};
}

points! {
    fs::fstat(file: impl AsFd) -> Stat;
    fs::fstatvfs(file: impl AsFd) -> StatVfs;
    fs::mkdirat(folder: impl AsFd, name: impl Arg, mode: Mode) -> ();
    fs::mknodat(folder: impl AsFd, name: impl Arg, kind: FileType, mode: Mode, device: u64) -> ();
    fs::open(path: impl Arg, flags: OFlags, mode: Mode) -> OwnedFd;
    fs::openat(folder: impl AsFd, path: impl Arg, flags: OFlags, mode: Mode) -> OwnedFd;
    fs::openat2(folder: impl AsFd, path: impl Arg, flags: OFlags, mode: Mode, resolve: ResolveFlags) -> OwnedFd;
    fs::statx(folder: impl AsFd, path: impl Arg, flags: AtFlags, mask: StatxFlags) -> Statx;
    fs::symlinkat(target: impl Arg, folder: impl AsFd, name: impl Arg) -> ();
    fs::unlinkat(folder: impl AsFd, name: impl Arg, flags: AtFlags) -> ();
    io::read(file: impl AsFd, bytes: &mut [u8]) -> usize;
    io::write(file: impl AsFd, bytes: &[u8]) -> usize;
    mount::fsconfig_create(fs: impl AsFd) -> ();
    mount::fsconfig_set_string(fs: impl AsFd, key: impl Arg, value: impl Arg) -> ();
    mount::fsmount(fs: impl AsFd, flags: FsMountFlags, attributes: MountAttrFlags) -> OwnedFd;
    mount::fsopen(name: impl Arg, flags: FsOpenFlags) -> OwnedFd;
    mount::mount_change(target: impl Arg, flags: MountPropagationFlags) -> ();
    mount::move_mount(from: impl AsFd, name: impl Arg, to: impl AsFd, path: impl Arg, flags: MoveMountFlags) -> ();
    mount::open_tree(folder: impl AsFd, path: impl Arg, flags: OpenTreeFlags) -> OwnedFd;
    mount::unmount(target: impl Arg, flags: UnmountFlags) -> ();
    net::socket_with(domain: AddressFamily, kind: SocketType, flags: SocketFlags, protocol: Option<Protocol>) -> OwnedFd;
    net::socketpair(domain: AddressFamily, kind: SocketType, flags: SocketFlags, protocol: Option<Protocol>) -> (OwnedFd, OwnedFd);
    net::recvmsg(socket: impl AsFd, bytes: &mut [IoSliceMut<'_>], control: &mut RecvAncillaryBuffer<'_>, flags: RecvFlags) -> RecvMsg;
    net::sendmsg(socket: impl AsFd, bytes: &[IoSlice<'_>], control: &mut SendAncillaryBuffer<'_, '_, '_>, flags: SendFlags) -> usize;
    pipe::pipe_with(flags: PipeFlags) -> (OwnedFd, OwnedFd);
    process::chdir(path: impl Arg) -> ();
    process::fchdir(folder: impl AsFd) -> ();
    process::pidfd_send_signal(pidfd: impl AsFd, signal: Signal) -> ();
    process::pivot_root(new: impl Arg, old: impl Arg) -> ();
    process::set_parent_process_death_signal(signal: Option<Signal>) -> ();
    process::setrlimit(resource: Resource, limits: Rlimit) -> ();
    process::setsid() -> Pid;
    thread::set_thread_groups(groups: &[Gid]) -> ();
    thread::set_thread_res_gid(real: Gid, effective: Gid, saved: Gid) -> ();
    thread::set_thread_res_uid(real: Uid, effective: Uid, saved: Uid) -> ();
    event::poll(list: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> usize;
}

#[track_caller]
pub(crate) fn recv<Buf: Buffer<u8>>(
    socket: impl AsFd,
    bytes: Buf,
    flags: RecvFlags,
) -> Result<(Buf::Output, usize)> {
    through(|| rustix::net::recv(socket, bytes, flags))
}

#[track_caller]
pub(crate) fn getrandom<Buf: Buffer<u8>>(bytes: Buf, flags: GetRandomFlags) -> Result<Buf::Output> {
    through(|| rustix::rand::getrandom(bytes, flags))
}

#[track_caller]
pub(crate) fn nanosleep(time: &Timespec) -> NanosleepRelativeResult {
    let slept = through(|| match rustix::thread::nanosleep(time) {
        NanosleepRelativeResult::Err(errno) => Err(errno),
        other => Ok(other),
    });
    match slept {
        Ok(slept) => slept,
        Err(Errno::INTR) => NanosleepRelativeResult::Interrupted(*time),
        Err(errno) => NanosleepRelativeResult::Err(errno),
    }
}

/// # Safety
/// As of rustix's.
#[track_caller]
pub(crate) unsafe fn mmap(
    place: *mut c_void,
    length: usize,
    access: ProtFlags,
    flags: MapFlags,
    file: impl AsFd,
    offset: u64,
) -> Result<*mut c_void> {
    // SAFETY: the caller vouches for the place.
    through(|| unsafe { rustix::mm::mmap(place, length, access, flags, file, offset) })
}

/// # Safety
/// As of rustix's.
#[track_caller]
pub(crate) unsafe fn mmap_anonymous(
    place: *mut c_void,
    length: usize,
    access: ProtFlags,
    flags: MapFlags,
) -> Result<*mut c_void> {
    // SAFETY: the caller vouches for the place.
    through(|| unsafe { rustix::mm::mmap_anonymous(place, length, access, flags) })
}

/// # Safety
/// As of rustix's.
#[track_caller]
pub(crate) unsafe fn munmap(place: *mut c_void, length: usize) -> Result<()> {
    // SAFETY: the caller vouches that nothing refers to it.
    through(|| unsafe { rustix::mm::munmap(place, length) })
}

/// # Safety
/// As of rustix's.
#[track_caller]
pub(crate) unsafe fn madvise(place: *mut c_void, length: usize, advice: Advice) -> Result<()> {
    // SAFETY: the caller vouches for the place.
    through(|| unsafe { rustix::mm::madvise(place, length, advice) })
}

pub(crate) mod epoll {
    pub(crate) use rustix::event::epoll::{CreateFlags, Event, EventData, EventFlags};

    use rustix::buffer::Buffer;
    use rustix::event::{Timespec, epoll};
    use rustix::fd::{AsFd, OwnedFd};
    use rustix::io::Result;

    use super::through;

    #[track_caller]
    pub(crate) fn create(flags: CreateFlags) -> Result<OwnedFd> {
        through(|| epoll::create(flags))
    }

    #[track_caller]
    pub(crate) fn add(
        set: impl AsFd,
        file: impl AsFd,
        data: EventData,
        flags: EventFlags,
    ) -> Result<()> {
        through(|| epoll::add(set, file, data, flags))
    }

    #[track_caller]
    pub(crate) fn modify(
        set: impl AsFd,
        file: impl AsFd,
        data: EventData,
        flags: EventFlags,
    ) -> Result<()> {
        through(|| epoll::modify(set, file, data, flags))
    }

    #[track_caller]
    pub(crate) fn delete(set: impl AsFd, file: impl AsFd) -> Result<()> {
        through(|| epoll::delete(set, file))
    }

    #[track_caller]
    pub(crate) fn wait<Buf: Buffer<Event>>(
        set: impl AsFd,
        events: Buf,
        timeout: Option<&Timespec>,
    ) -> Result<Buf::Output> {
        through(|| epoll::wait(set, events, timeout))
    }
}
