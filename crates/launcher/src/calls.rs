//! The system calls that are made through rustix, by one door: every other file
//! takes them from here, or from [`raw`](crate::raw), and from nowhere else.
//!
//! In a build with the feature `faults` functions of the same names stand in their
//! place, which can be told to fail ([`faults`](crate::faults)). What cannot fail
//! (getppid(2), umask(2), clock_gettime(2), …) has no need of the door.

#[cfg(not(feature = "faults"))]
pub(crate) use self::ordinary::*;
#[cfg(feature = "faults")]
pub(crate) use crate::faults::calls::*;

#[cfg(not(feature = "faults"))]
mod ordinary {
    pub(crate) use rustix::event::{epoll, poll};
    pub(crate) use rustix::fs::{
        fstat, fstatvfs, mkdirat, mknodat, open, openat, openat2, statx, symlinkat, unlinkat,
    };
    pub(crate) use rustix::io::{read, write};
    pub(crate) use rustix::mm::{madvise, mmap, mmap_anonymous, munmap};
    pub(crate) use rustix::mount::{
        fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree,
        unmount,
    };
    pub(crate) use rustix::net::{recv, recvmsg, sendmsg, socket_with, socketpair};
    pub(crate) use rustix::pipe::pipe_with;
    pub(crate) use rustix::process::{
        chdir, fchdir, pidfd_send_signal, pivot_root, set_parent_process_death_signal, setrlimit,
        setsid,
    };
    pub(crate) use rustix::rand::getrandom;
    pub(crate) use rustix::thread::{
        nanosleep, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    };

    /// Which step is done from here on: a fault is told with it.
    pub(crate) const fn at_step(_: u16) {}
}
