//! The calls by which a process gives up what it may, each read back.

use std::{
    ffi::{c_int, c_long, c_ulong},
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
};

use belljar_plan::Resource;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// Every securebit with its lock but `KEEP_CAPS`, which is locked off.
const SECUREBITS: c_ulong = 0xef;
/// More capabilities than any kernel has: the sets are 64 bits wide.
const CAPABILITIES: c_ulong = 64;

fn checked(result: c_long) -> io::Result<c_long> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        other => Ok(other),
    }
}

fn prctl(option: c_int, first: c_ulong, second: c_ulong) -> io::Result<c_int> {
    let none: c_ulong = 0;
    // SAFETY: the options that are used here take numbers alone.
    match unsafe { libc::prctl(option, first, second, none, none) } {
        -1 => Err(io::Error::last_os_error()),
        other => Ok(other),
    }
}

/// What was asked for is not what holds.
fn not_held() -> io::Error {
    io::Error::other("it was done and does not hold")
}

fn holds(is: bool) -> io::Result<()> {
    if is { Ok(()) } else { Err(not_held()) }
}

pub(super) fn no_new_privs() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
    holds(prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0)? == 1)
}

/// Locks what uid 0 means: nothing.
pub(super) fn lock_securebits() -> io::Result<()> {
    prctl(libc::PR_SET_SECUREBITS, SECUREBITS, 0)?;
    let held = prctl(libc::PR_GET_SECUREBITS, 0, 0)?;
    holds(c_ulong::try_from(held).is_ok_and(|held| held == SECUREBITS))
}

/// Empties this thread's sets, and the bounding one where that may be done.
pub(super) fn empty_capabilities() -> io::Result<()> {
    let before = rustix::thread::capabilities(None)?;
    let bounding = before.effective.contains(CapabilitySet::SETPCAP);
    if bounding {
        for capability in 0..CAPABILITIES {
            match prctl(libc::PR_CAPBSET_DROP, capability, 0) {
                // The first number that this kernel doesn't know.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
                other => other?,
            };
        }
    }
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as c_ulong;
    prctl(libc::PR_CAP_AMBIENT, clear, 0)?;
    let empty = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, empty)?;
    holds(rustix::thread::capabilities(None)? == empty)?;
    for capability in 0..CAPABILITIES {
        match prctl(libc::PR_CAPBSET_READ, capability, 0) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            held => holds(held? == 0 || !bounding)?,
        }
    }
    Ok(())
}

pub(super) fn bound(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let number = c_int::from(resource.number());
    let wanted = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    let mut got = wanted;
    let itself = 0;
    // SAFETY: the old value goes nowhere, the new one is a `struct rlimit64`.
    let set = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            itself,
            number,
            &raw const wanted,
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    };
    checked(set)?;
    // SAFETY: nothing is set, and there is room for the old value.
    let read = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            itself,
            number,
            std::ptr::null::<libc::rlimit64>(),
            &raw mut got,
        )
    };
    checked(read)?;
    holds(got.rlim_cur == soft && got.rlim_max == hard)
}

/// Refuses what would make memory executable that was writable.
pub(super) fn fix_code() -> io::Result<()> {
    const PR_SET_MDWE: c_int = 65;
    const PR_GET_MDWE: c_int = 66;
    const REFUSE_EXEC_GAIN: c_ulong = 1;
    prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0)?;
    holds(prctl(PR_GET_MDWE, 0, 0)? == 1)
}

pub(super) fn null() -> io::Result<OwnedFd> {
    let null = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    Ok(null.into())
}

/// Every descriptor above 2 but the kept.
pub(super) fn not_kept(kept: &[RawFd]) -> io::Result<Vec<RawFd>> {
    let mut open = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        open.extend(name.to_str().and_then(|name| name.parse::<RawFd>().ok()));
    }
    // The listing's own is closed by now.
    open.retain(|number| *number > 2 && !kept.contains(number) && is_open(*number));
    Ok(open)
}

/// Has every descriptor above 2 but the kept lead to /dev/null, closed on exec. Its number
/// stays taken: whoever owns it may still close it, and nothing else gets it before.
pub(super) fn lead_nowhere(null: &OwnedFd, kept: &[RawFd]) -> io::Result<()> {
    let nowhere = rustix::fs::fstat(null)?;
    for number in not_kept(kept)? {
        if number == null.as_raw_fd() {
            continue;
        }
        // SAFETY: it takes numbers. Whatever the number led to is meant to be out of reach
        // from here on, and the number stays open, so that its owner can close it.
        if unsafe { libc::dup3(null.as_raw_fd(), number, libc::O_CLOEXEC) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    for number in not_kept(kept)? {
        // SAFETY: it was just found to be open, and this is the only thread, or none may
        // rely on it any more.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let stat = rustix::fs::fstat(fd)?;
        holds(stat.st_ino == nowhere.st_ino && stat.st_dev == nowhere.st_dev)?;
    }
    Ok(())
}

fn is_open(number: RawFd) -> bool {
    // SAFETY: it takes numbers, and asks alone.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

pub(super) fn landlock_ruleset(files: u64, network: u64, scopes: u64) -> io::Result<OwnedFd> {
    let attributes = [files, network, scopes];
    // No longer than what is said: an older kernel knows only the beginning.
    let words = match (network, scopes) {
        (_, 1..) => 3,
        (1.., 0) => 2,
        (0, 0) => 1,
    };
    let length = words * size_of::<u64>();
    // SAFETY: `struct landlock_ruleset_attr` is 64-bit numbers, at least as many as is said.
    let set = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            attributes.as_ptr(),
            length,
            0,
        )
    };
    let set = RawFd::try_from(checked(set)?).map_err(io::Error::other)?;
    // SAFETY: the call gave a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(set) })
}

/// Allows rights at and below what a descriptor is; landlock_add_rule(2).
pub(super) fn landlock_allow(set: &OwnedFd, place: &OwnedFd, access: u64) -> io::Result<()> {
    const PATH_BENEATH: c_int = 1;
    #[repr(C, packed)]
    struct Rule {
        access: u64,
        place: i32,
    }
    let rule = Rule {
        access,
        place: place.as_raw_fd(),
    };
    // SAFETY: a rule of this type is that struct.
    let added = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            set.as_raw_fd(),
            PATH_BENEATH,
            &raw const rule,
            0,
        )
    };
    checked(added).map(drop)
}

/// Holds the calling thread to a set of rules; landlock_restrict_self(2).
pub(super) fn landlock_restrict(set: &OwnedFd, quiet: bool) -> io::Result<()> {
    /// `LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF`
    const QUIET: c_int = 1;
    let flags = if quiet { QUIET } else { 0 };
    // SAFETY: it takes numbers.
    let entered =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, set.as_raw_fd(), flags) };
    checked(entered).map(drop)
}

/// Whether a filter may refuse calls with an error here; it installs none.
pub(super) fn seccomp_can_refuse() -> io::Result<()> {
    const SECCOMP_GET_ACTION_AVAIL: c_int = 2;
    let errno: u32 = 0x0005_0000;
    // SAFETY: the operation reads a 32-bit number.
    let can = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_GET_ACTION_AVAIL,
            0,
            &raw const errno,
        )
    };
    checked(can).map(drop)
}

/// Puts a filter on every thread of this process, and sees that it refuses.
pub(super) fn filter_all_threads(program: &[u8]) -> io::Result<()> {
    const INSTRUCTION: usize = 8;
    const SECCOMP_SET_MODE_FILTER: c_int = 1;
    const SECCOMP_FILTER_FLAG_TSYNC: c_int = 1;
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const u8,
    }
    let length = u16::try_from(program.len() / INSTRUCTION)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = Program {
        length,
        filter: program.as_ptr(),
    };
    // SAFETY: the kernel copies `length` instructions of 8 bytes each, from any alignment.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_SET_MODE_FILTER,
            SECCOMP_FILTER_FLAG_TSYNC,
            &raw const program,
        )
    };
    match checked(result)? {
        0 => {}
        thread => {
            return Err(io::Error::other(format!(
                "thread {thread} has a filter of its own, so that no filter can hold all threads"
            )));
        }
    }
    // SAFETY: without arguments the kernel itself refuses it.
    let canary = unsafe { libc::syscall(libc::SYS_clone3, 0, 0) };
    let answer = io::Error::last_os_error();
    holds(canary == -1 && answer.raw_os_error() == Some(libc::ENOSYS))
}
