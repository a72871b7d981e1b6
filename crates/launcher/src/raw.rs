//! System calls that rustix has not, each as a function that is safe to call
//! where it can be; the only file that makes system calls by number.

use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use linux_raw_sys::general as sys;
use rustix::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use rustix::io::{Errno, Result};

#[cfg(not(feature = "faults"))]
use crate::arch::syscall;
#[cfg(feature = "faults")]
use crate::faults::syscall;

/// Highest signal number.
const SIGNALS: u32 = 64;
/// `sizeof(sigset_t)` as the kernel has it.
const SIGSET: usize = 8;

pub(crate) use linux_raw_sys::general::{
    MOUNT_ATTR_IDMAP, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY,
    SIGCHLD, SIGKILL, mount_attr, rusage,
};
use linux_raw_sys::landlock::{
    LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF, landlock_path_beneath_attr, landlock_rule_type,
    landlock_ruleset_attr,
};
pub(crate) use linux_raw_sys::prctl::{
    PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, PR_CAP_AMBIENT_IS_SET, PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP, PR_CAPBSET_READ, PR_GET_DUMPABLE, PR_GET_NO_NEW_PRIVS, PR_GET_SECUREBITS,
    PR_SET_DUMPABLE, PR_SET_NAME, PR_SET_NO_NEW_PRIVS, PR_SET_SECUREBITS,
};

/// PR_SET_CHILD_SUBREAPER(2const)
const PR_SET_CHILD_SUBREAPER: u32 = 36;

/// Options of prctl(2) since Linux 6.3.
pub(crate) const PR_SET_MDWE: u32 = 65;
pub(crate) const PR_GET_MDWE: u32 = 66;

#[inline]
fn check(result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| {
        // The kernel returns -4095..-1 for errors; errno(3).
        Errno::from_raw_os_error(i32::try_from(-result).unwrap_or(i32::MAX))
    })
}

/// Makes a system call of which every argument is a number.
#[cfg_attr(feature = "faults", track_caller)]
#[inline]
fn numbers(number: u32, arguments: [usize; 6]) -> Result<usize> {
    // SAFETY: callers in this file pass numbers only to calls that take no pointer.
    check(unsafe { syscall(number, arguments) })
}

fn number(fd: RawFd) -> usize {
    // Sign-extended, as the kernel expects AT_FDCWD and the like.
    fd as isize as usize
}

/// exit_group(2)
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn exit_group(code: i32) -> ! {
    loop {
        let _ = numbers(sys::__NR_exit_group, [code as usize, 0, 0, 0, 0, 0]);
    }
}

/// `CLONE_INTO_CGROUP` of <linux/sched.h>, from Linux 5.7 on.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks with new namespaces and gives the child's pid and pidfd; in the child
/// `None`; clone3(2).
///
/// The child is a copy of the caller, which must have one thread only. It is made
/// in a cgroup where the directory of one is given.
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn clone3(
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Option<(i32, OwnedFd)>> {
    let mut pidfd: RawFd = -1;
    let arguments = sys::clone_args {
        flags: namespaces | u64::from(sys::CLONE_PIDFD) | cgroup.map_or(0, |_| INTO_CGROUP),
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::from(SIGCHLD),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |directory| directory.as_raw_fd() as u64),
    };
    let all = [
        (&raw const arguments) as usize,
        size_of::<sys::clone_args>(),
        0,
        0,
        0,
        0,
    ];
    // SAFETY: memory is copied, not shared (no CLONE_VM), so the child goes on
    // with a stack of its own; both structs outlive the call.
    let pid = check(unsafe { syscall(sys::__NR_clone3, all) })?;
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: the call succeeded in the parent, so the kernel has put a new
    // descriptor there, which nothing else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Some((pid as i32, pidfd)))
}

/// Forks; the child's pid, or 0 in the child; clone(2).
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn fork() -> Result<i32> {
    // No CLONE_VM: the child goes on with a copy of the stack.
    numbers(sys::__NR_clone, [SIGCHLD as usize, 0, 0, 0, 0, 0]).map(|pid| pid as i32)
}

/// Replaces the program; returns only why it could not; execveat(2).
///
/// By that call always: it is the one of which a filter lets a single one through.
///
/// # Safety
/// Both lists end with a null pointer, and all their strings with a NUL.
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) unsafe fn exec(
    path: &CStr,
    arguments: *const *const u8,
    variables: *const *const u8,
) -> Errno {
    let all = [
        number(sys::AT_FDCWD),
        path.as_ptr() as usize,
        arguments as usize,
        variables as usize,
        0,
        0,
    ];
    // SAFETY: `path` ends with a NUL; the caller vouches for the lists.
    match check(unsafe { syscall(sys::__NR_execveat, all) }) {
        Ok(_) => Errno::NOEXEC,
        Err(errno) => errno,
    }
}

/// Gives back the pages of the stack that earlier calls used, and what they left
/// there; madvise(2).
#[cfg_attr(feature = "faults", track_caller)]
#[inline(never)]
pub(crate) fn forget_stack() -> Result<()> {
    const PAGE: usize = 4096;
    /// Deeper than any call went, and less than the gap that the kernel leaves
    /// free below a stack, so nothing else lies there.
    const DEEPEST: usize = 512 << 10;
    let here = 0_u8;
    // This call's own frame, and those it makes, are in the two pages that stay.
    let end = ((&raw const here) as usize & !(PAGE - 1)) - PAGE;
    let all = [end - DEEPEST, DEEPEST, sys::MADV_DONTNEED as usize, 0, 0, 0];
    // SAFETY: only the unused part of this thread's own stack lies there: below
    // the stack pointer, and below the 128 bytes that it may use under that.
    match check(unsafe { syscall(sys::__NR_madvise, all) }) {
        // Not all of it was ever used; what was is given back all the same.
        Ok(_) | Err(Errno::NOMEM) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Where the stack of the launcher's first call is.
static FIRST_CALL: AtomicUsize = AtomicUsize::new(0);

/// Marks where the calls begin that [`forget_callers`] may forget: those that the
/// caller makes from here on.
#[inline(never)]
pub(crate) fn first_call() {
    let here = 0_u8;
    FIRST_CALL.store((&raw const here) as usize, Relaxed);
}

/// Gives back the pages of the stack on which the calls lie that led here, from
/// [`first_call`] on, and what those hold.
///
/// # Safety
/// The caller never returns, refers to nothing of theirs, and has a frame of
/// less than a page, as has whoever called it to go on.
#[cfg_attr(feature = "faults", track_caller)]
#[inline(never)]
pub(crate) unsafe fn forget_callers() -> Result<()> {
    const PAGE: usize = 4096;
    let here = 0_u8;
    // This page and the next are those of the calls that go on.
    let start = ((&raw const here) as usize & !(PAGE - 1)) + 2 * PAGE;
    let end = FIRST_CALL.load(Relaxed) & !(PAGE - 1);
    if end <= start {
        return Ok(());
    }
    let all = [start, end - start, sys::MADV_DONTNEED as usize, 0, 0, 0];
    // SAFETY: this thread's own stack, of which the caller vouches that nobody
    // reads it again; what lies above the first call stays.
    check(unsafe { syscall(sys::__NR_madvise, all) }).map(drop)
}

/// close_range(2)
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn close_from(first: u32) -> Result<()> {
    close_between(first, u32::MAX)
}

/// close_range(2); closes both ends too.
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn close_between(first: u32, last: u32) -> Result<()> {
    numbers(
        sys::__NR_close_range,
        [first as usize, last as usize, 0, 0, 0, 0],
    )
    .map(drop)
}

/// Gives a descriptor a number of its own, which survives an exec; dup3(2).
///
/// Closes what had that number: nothing may own it.
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn dup_onto(fd: RawFd, target: RawFd) -> Result<()> {
    numbers(sys::__NR_dup3, [number(fd), number(target), 0, 0, 0, 0]).map(drop)
}

/// An option of prctl(2) whose arguments are numbers.
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn prctl(option: u32, a: usize, b: usize) -> Result<usize> {
    debug_assert!(option != PR_SET_NAME);
    numbers(sys::__NR_prctl, [option as usize, a, b, 0, 0, 0])
}

/// Becomes the parent of every task below whose own parent ends;
/// PR_SET_CHILD_SUBREAPER(2const).
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn adopt_orphans() -> Result<()> {
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0).map(drop)
}

/// PR_SET_NAME(2const)
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn set_name(name: &CStr) -> Result<()> {
    let all = [PR_SET_NAME as usize, name.as_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: the kernel reads at most 16 bytes up to the NUL, which is there.
    check(unsafe { syscall(sys::__NR_prctl, all) }).map(drop)
}

/// mount_setattr(2) on the mount that `mount` is.
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn mount_setattr(
    mount: BorrowedFd<'_>,
    recursive: bool,
    attributes: &mount_attr,
) -> Result<()> {
    let recursive = if recursive { sys::AT_RECURSIVE } else { 0 };
    let all = [
        number(mount.as_raw_fd()),
        c"".as_ptr() as usize,
        (sys::AT_EMPTY_PATH | recursive) as usize,
        ptr::from_ref(attributes) as usize,
        size_of::<mount_attr>(),
        0,
    ];
    // SAFETY: the path ends with a NUL, and the struct has the length given.
    check(unsafe { syscall(sys::__NR_mount_setattr, all) }).map(drop)
}

/// The three sets of capset(2): permitted, effective, inheritable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caps {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
}

const CAPS_HEADER: [u32; 2] = [linux_raw_sys::general::_LINUX_CAPABILITY_VERSION_3, 0];

/// capset(2)
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn capset(caps: Caps) -> Result<()> {
    let low = |set: u64| set as u32;
    let high = |set: u64| (set >> 32) as u32;
    let data = [
        low(caps.effective),
        low(caps.permitted),
        low(caps.inheritable),
        high(caps.effective),
        high(caps.permitted),
        high(caps.inheritable),
    ];
    let mut header = CAPS_HEADER;
    let all = [
        (&raw mut header) as usize,
        (&raw const data) as usize,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: version 3 takes a header of two and data of six 32-bit words.
    check(unsafe { syscall(sys::__NR_capset, all) }).map(drop)
}

/// capget(2)
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn capget() -> Result<Caps> {
    let mut data = [0_u32; 6];
    let mut header = CAPS_HEADER;
    let all = [
        (&raw mut header) as usize,
        (&raw mut data) as usize,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: version 3 takes a header of two and data of six 32-bit words.
    check(unsafe { syscall(sys::__NR_capget, all) })?;
    let set = |at: usize| u64::from(data[at]) | u64::from(data[at + 3]) << 32;
    Ok(Caps {
        effective: set(0),
        permitted: set(1),
        inheritable: set(2),
    })
}

/// Lets go of a priority over the machine's other processes, which a guest
/// would inherit: real-time scheduling, a nice value below 0, real-time I/O;
/// sched(7), setpriority(2), ioprio_set(2).
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn ordinary_priority() -> Result<()> {
    const ORDINARY: usize = 0; // SCHED_OTHER
    const IDLE: usize = 5;
    const BATCH: usize = 3;
    const RESET_ON_FORK: usize = 0x4000_0000;
    const THIS_PROCESS: usize = 1; // IOPRIO_WHO_PROCESS
    const CLASS_SHIFT: usize = 13;
    const REAL_TIME: usize = 1;
    let policy = numbers(sys::__NR_sched_getscheduler, [0; 6])? & !RESET_ON_FORK;
    if !matches!(policy, ORDINARY | BATCH | IDLE) {
        let priority = 0_i32;
        let all = [0, ORDINARY, (&raw const priority) as usize, 0, 0, 0];
        // SAFETY: the kernel reads one `struct sched_param`, which is an int.
        check(unsafe { syscall(sys::__NR_sched_setscheduler, all) })?;
    }
    // The call gives 20 less the nice value.
    if numbers(sys::__NR_getpriority, [0; 6])? > 20 {
        numbers(sys::__NR_setpriority, [0; 6])?;
    }
    match numbers(sys::__NR_ioprio_get, [THIS_PROCESS, 0, 0, 0, 0, 0]) {
        Ok(priority) if priority >> CLASS_SHIFT == REAL_TIME => {
            numbers(sys::__NR_ioprio_set, [THIS_PROCESS, 0, 0, 0, 0, 0]).map(drop)
        }
        // A kernel without block devices has no such priority.
        Ok(_) | Err(Errno::NOSYS) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// A session keyring of one's own; keyctl(2).
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn join_session_keyring() -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;
    // The name is null: an anonymous keyring.
    numbers(
        sys::__NR_keyctl,
        [KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0, 0],
    )
    .map(drop)
}

/// sethostname(2)
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn sethostname(name: &[u8]) -> Result<()> {
    let all = [name.as_ptr() as usize, name.len(), 0, 0, 0, 0];
    // SAFETY: pointer and length are of one slice.
    check(unsafe { syscall(sys::__NR_sethostname, all) }).map(drop)
}

/// Sets the soft and hard bound of a resource; prlimit(2).
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn set_rlimit(resource: u8, soft: u64, hard: u64) -> Result<()> {
    let new = [soft, hard];
    let all = [0, usize::from(resource), (&raw const new) as usize, 0, 0, 0];
    // SAFETY: `struct rlimit64` is two 64-bit numbers; no old value is asked for.
    check(unsafe { syscall(sys::__NR_prlimit64, all) }).map(drop)
}

/// The soft and hard bound of a resource; prlimit(2).
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn rlimit(resource: u8) -> Result<(u64, u64)> {
    let mut old = [0_u64; 2];
    let all = [0, usize::from(resource), 0, (&raw mut old) as usize, 0, 0];
    // SAFETY: `struct rlimit64` is two 64-bit numbers; no new value is given.
    check(unsafe { syscall(sys::__NR_prlimit64, all) })?;
    Ok((old[0], old[1]))
}

/// A set of signals with one in it.
pub(crate) const fn signal_set(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// Replaces the set of blocked signals; sigprocmask(2).
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn block_signals(set: u64) -> Result<()> {
    let all = [
        sys::SIG_SETMASK as usize,
        (&raw const set) as usize,
        0,
        SIGSET,
        0,
        0,
    ];
    // SAFETY: the set has the length given; the old one is not asked for.
    check(unsafe { syscall(sys::__NR_rt_sigprocmask, all) }).map(drop)
}

/// Puts every signal back to its default; sigaction(2).
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn default_signals() -> Result<()> {
    // `struct kernel_sigaction`: handler SIG_DFL, no flags, no restorer, no mask.
    let action = [0_usize; 4];
    for signal in 1..=SIGNALS {
        if signal == SIGKILL || signal == sys::SIGSTOP {
            continue;
        }
        let all = [
            signal as usize,
            (&raw const action) as usize,
            0,
            SIGSET,
            0,
            0,
        ];
        // SAFETY: the struct is at most four words long on both processors.
        check(unsafe { syscall(sys::__NR_rt_sigaction, all) })?;
    }
    Ok(())
}

/// A descriptor that is readable while one of the signals is pending; signalfd(2).
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn signalfd(set: u64) -> Result<RawFd> {
    // SFD_CLOEXEC and SFD_NONBLOCK are these.
    let flags = sys::O_CLOEXEC | sys::O_NONBLOCK;
    let all = [
        usize::MAX,
        (&raw const set) as usize,
        SIGSET,
        flags as usize,
        0,
        0,
    ];
    // SAFETY: the set has the length given.
    check(unsafe { syscall(sys::__NR_signalfd4, all) }).map(|fd| fd as RawFd)
}

/// kill(2)
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn kill(pid: i32, signal: u32) -> Result<()> {
    numbers(sys::__NR_kill, [number(pid), signal as usize, 0, 0, 0, 0]).map(drop)
}

/// Takes the end of a child, with what it used; `None` while it lives; wait4(2).
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn wait4(pid: i32) -> Result<Option<(i32, rusage)>> {
    let mut status = 0_i32;
    let mut usage = MaybeUninit::<rusage>::zeroed();
    let all = [
        number(pid),
        (&raw mut status) as usize,
        sys::WNOHANG as usize,
        usage.as_mut_ptr() as usize,
        0,
        0,
    ];
    // SAFETY: both are written in full or not at all.
    let ended = check(unsafe { syscall(sys::__NR_wait4, all) })?;
    // SAFETY: a struct of integers, zeroed before the kernel wrote it.
    let usage = unsafe { usage.assume_init() };
    Ok((ended != 0).then_some((status, usage)))
}

/// How a child ended, as waitid(2) tells it.
pub(crate) struct Ended {
    pub(crate) pid: i32,
    pub(crate) code: i32,
    pub(crate) status: i32,
    pub(crate) usage: rusage,
}

/// Takes the end of any child, with what it used; `None` while all live.
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn wait_any() -> Result<Option<Ended>> {
    // siginfo_t: si_signo, si_errno, si_code, padding, si_pid, si_uid, si_status.
    let mut info = [0_i32; 32];
    let mut usage = MaybeUninit::<rusage>::zeroed();
    let all = [
        sys::P_ALL as usize,
        0,
        (&raw mut info) as usize,
        (sys::WEXITED | sys::WNOHANG) as usize,
        usage.as_mut_ptr() as usize,
        0,
    ];
    // SAFETY: siginfo_t has 128 bytes; both are written within their lengths.
    check(unsafe { syscall(sys::__NR_waitid, all) })?;
    // SAFETY: a struct of integers, zeroed before the kernel wrote it.
    let usage = unsafe { usage.assume_init() };
    Ok((info[4] != 0).then_some(Ended {
        pid: info[4],
        code: info[2],
        status: info[6],
        usage,
    }))
}

/// Installs a filter; `program` is a list of `struct sock_filter`; seccomp(2).
/// Gives the descriptor by which what it asks is heard, where that is wanted.
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn seccomp_filter(program: &[u8], listener: bool) -> Result<Option<OwnedFd>> {
    const INSTRUCTION: usize = 8;
    const SECCOMP_SET_MODE_FILTER: usize = 1;
    /// A task whose call was taken up waits for the answer, or is killed:
    /// `SECCOMP_FILTER_FLAG_NEW_LISTENER`, `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`.
    const LISTENER: usize = 1 << 3 | 1 << 5;
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const u8,
    }
    let count = program.len() / INSTRUCTION;
    if count * INSTRUCTION != program.len() {
        return Err(Errno::INVAL);
    }
    let program = Program {
        length: u16::try_from(count).map_err(|_| Errno::INVAL)?,
        filter: program.as_ptr(),
    };
    let all = [
        SECCOMP_SET_MODE_FILTER,
        if listener { LISTENER } else { 0 },
        (&raw const program) as usize,
        0,
        0,
        0,
    ];
    // SAFETY: the kernel copies `length` instructions of 8 bytes each, from any alignment.
    let result = check(unsafe { syscall(sys::__NR_seccomp, all) })?;
    if !listener {
        return Ok(None);
    }
    // SAFETY: with that flag the call gives a new descriptor, which nothing else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(result as RawFd) }))
}

/// A set of rules that denies these rights but where a rule allows them;
/// landlock_create_ruleset(2).
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn landlock_ruleset(files: u64, network: u64, scopes: u64) -> Result<OwnedFd> {
    let attributes = landlock_ruleset_attr {
        handled_access_fs: files,
        handled_access_net: network,
        scoped: scopes,
    };
    // No longer than what is said: an older kernel knows only the beginning.
    let words = match (network, scopes) {
        (_, 1..) => 3,
        (1.., 0) => 2,
        (0, 0) => 1,
    };
    let length = words * size_of::<u64>();
    let all = [(&raw const attributes) as usize, length, 0, 0, 0, 0];
    // SAFETY: the struct is at least as long as is said.
    let set = check(unsafe { syscall(sys::__NR_landlock_create_ruleset, all) })?;
    // SAFETY: the call gave a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(set as RawFd) })
}

/// Allows rights at and below what a descriptor is; landlock_add_rule(2).
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn landlock_allow(
    set: BorrowedFd<'_>,
    place: BorrowedFd<'_>,
    access: u64,
) -> Result<()> {
    let rule = landlock_path_beneath_attr {
        allowed_access: access,
        parent_fd: place.as_raw_fd(),
    };
    let all = [
        number(set.as_raw_fd()),
        landlock_rule_type::LANDLOCK_RULE_PATH_BENEATH as usize,
        (&raw const rule) as usize,
        0,
        0,
        0,
    ];
    // SAFETY: a rule of this type is that struct.
    check(unsafe { syscall(sys::__NR_landlock_add_rule, all) }).map(drop)
}

/// Holds the calling thread to a set of rules; landlock_restrict_self(2).
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn landlock_restrict(set: BorrowedFd<'_>, quiet: bool) -> Result<()> {
    let flags = match quiet {
        true => LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF as usize,
        false => 0,
    };
    let all = [number(set.as_raw_fd()), flags, 0, 0, 0, 0];
    numbers(sys::__NR_landlock_restrict_self, all).map(drop)
}

/// Asks clone3(2) for a task without saying anything of it, which the kernel
/// itself refuses with `EINVAL`: gives the error that is answered.
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn asks_for_nothing() -> Errno {
    match numbers(sys::__NR_clone3, [0; 6]) {
        Ok(_) => Errno::INVAL,
        Err(errno) => errno,
    }
}

/// An ioctl(2) that takes a number.
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn ioctl_number(fd: BorrowedFd<'_>, request: u32, value: usize) -> Result<usize> {
    let all = [number(fd.as_raw_fd()), request as usize, value, 0, 0, 0];
    numbers(sys::__NR_ioctl, all)
}

/// An ioctl(2) that reads or writes a struct.
///
/// # Safety
/// `T` is what the request takes.
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) unsafe fn ioctl_struct<T>(
    fd: BorrowedFd<'_>,
    request: u32,
    value: &mut T,
) -> Result<usize> {
    let all = [
        number(fd.as_raw_fd()),
        request as usize,
        ptr::from_mut(value) as usize,
        0,
        0,
        0,
    ];
    // SAFETY: the caller vouches for the struct.
    check(unsafe { syscall(sys::__NR_ioctl, all) })
}

/// Waits until one of the descriptors has something, or was hung up; poll(2).
///
/// By ppoll(2), whatever the processor, so that pid 1's own filter can name it.
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn poll(descriptors: &mut [sys::pollfd]) -> Result<usize> {
    let at = descriptors.as_mut_ptr() as usize;
    let all = [at, descriptors.len(), 0, 0, 0, 0];
    // SAFETY: pointer and length are of one slice; no timeout, no signal set.
    check(unsafe { syscall(sys::__NR_ppoll, all) })
}

/// The same without waiting: what there is now.
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn poll_now(descriptors: &mut [sys::pollfd]) -> Result<usize> {
    let at = descriptors.as_mut_ptr() as usize;
    // The kernel writes back what is left of it.
    let mut none = sys::__kernel_timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let timeout = (&raw mut none) as usize;
    let all = [at, descriptors.len(), timeout, 0, 0, 0];
    // SAFETY: pointer and length are of one slice, the timeout lives through
    // the call, and there is no signal set.
    check(unsafe { syscall(sys::__NR_ppoll, all) })
}

/// A descriptor to wait for.
pub(crate) const fn waiting_for(fd: RawFd) -> sys::pollfd {
    sys::pollfd {
        fd,
        events: sys::POLLIN as i16,
        revents: 0,
    }
}

/// read(2) by number, for pid 1, which owns its descriptors as numbers.
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn read(fd: RawFd, bytes: &mut [u8]) -> Result<usize> {
    let all = [
        number(fd),
        bytes.as_mut_ptr() as usize,
        bytes.len(),
        0,
        0,
        0,
    ];
    // SAFETY: pointer and length are of one slice.
    check(unsafe { syscall(sys::__NR_read, all) })
}

/// write(2) by number: on a packet socket it sends one packet.
#[cfg_attr(feature = "faults", track_caller)]
pub(crate) fn write(fd: RawFd, bytes: &[u8]) -> Result<usize> {
    let all = [number(fd), bytes.as_ptr() as usize, bytes.len(), 0, 0, 0];
    // SAFETY: pointer and length are of one slice.
    check(unsafe { syscall(sys::__NR_write, all) })
}

/// Microseconds of a `struct timeval`.
pub(crate) fn microseconds(time: sys::__kernel_old_timeval) -> u64 {
    (time.tv_sec as u64)
        .wrapping_mul(1_000_000)
        .wrapping_add(time.tv_usec as u64)
}
