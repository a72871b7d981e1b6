//! Harmless things that a process may do until it is confined, and how it looks from
//! without.

use std::{
    fs, io,
    os::fd::{AsRawFd, RawFd},
};

use belljar::{
    Limit, Policy, Rule,
    confine::{Confine, Status, confine},
    policy::{data::confined::Confined, manifest::Bound},
};

/// Confines this process, which has to come off.
pub(crate) fn confined(policy: &Policy) -> Confined {
    applied(confine(policy))
}

pub(crate) fn applied(status: Result<Status, belljar::confine::ConfineError>) -> Confined {
    match status {
        Ok(Status::Applied(report)) => *report,
        other => panic!("not confined: {other:?}"),
    }
}

/// Holds it to have come to this error.
pub(crate) fn errno<T: std::fmt::Debug>(result: io::Result<T>, wanted: i32) {
    match result {
        Err(error) if error.raw_os_error() == Some(wanted) => {}
        other => panic!("not errno {wanted}: {other:?}"),
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn bound(hard: u64) -> Bound {
    Bound {
        hard: Some(hard),
        ..Bound::default()
    }
}

/// What holds one thread alone is given up by name; the filter is left.
pub(crate) fn for_threads() -> Policy {
    let lost = [
        Rule::Files,
        Rule::Sockets,
        Rule::Privileges,
        Rule::Descriptors,
        Rule::WritableCode,
        Rule::OpenFiles,
        Rule::FileSize,
    ];
    lost.into_iter().fold(Policy::strict(), Policy::best_effort)
}

pub(crate) fn limited(limit: Limit, hard: u64) -> Policy {
    Policy::strict().limit(limit, bound(hard)).unwrap()
}

/// What confining would change, as the kernel tells it.
pub(crate) fn state() -> Vec<String> {
    const TOLD: [&str; 9] = [
        "NoNewPrivs:",
        "Seccomp:",
        "Seccomp_filters:",
        "CapInh:",
        "CapPrm:",
        "CapEff:",
        "CapBnd:",
        "CapAmb:",
        "Threads:",
    ];
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let told = status
        .lines()
        .filter(|line| TOLD.iter().any(|word| line.starts_with(word)))
        .map(str::to_owned);
    let mut all: Vec<String> = told.collect();
    all.push(fs::read_to_string("/proc/self/limits").unwrap());
    all.push(fs::read_to_string("/proc/self/comm").unwrap());
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let leads = descriptors
        .filter_map(|entry| Some((entry.file_name(), fs::read_link(entry.path()).ok()?)))
        // The listing's own.
        .filter(|(_, to)| !to.starts_with("/proc"));
    let mut leads: Vec<String> = leads.map(|lead| format!("{lead:?}")).collect();
    leads.sort();
    all.extend(leads);
    // Where a domain holds it, it cannot be opened so.
    fs::File::options()
        .write(true)
        .open("/proc/self/comm")
        .expect("no domain");
    all
}

/// A line of this thread's status.
pub(crate) fn status(word: &str) -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(word));
    line.expect("a line").trim().to_owned()
}

/// Takes a personality that hides no addresses of this process.
pub(crate) fn personality() -> io::Result<()> {
    // SAFETY: it takes a number; what it changes is how later programs are laid out.
    match unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// In a child: a user namespace of its own, which takes no capability. It holds nothing, and
/// ends with the child.
pub(crate) fn namespace() -> io::Result<()> {
    in_child(|| {
        // SAFETY: it takes a number, and this process has one thread.
        match unsafe { libc::unshare(libc::CLONE_NEWUSER) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    })
}

/// Does it in a child of this process, which has one thread.
pub(crate) fn in_child(act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    // SAFETY: this process has one thread, so that the child is whole.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let status = match act() {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(255),
        };
        // SAFETY: it ends the child without a look at what is the parent's.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    // SAFETY: there is room for a number, and the child is this process's own.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    match libc::WEXITSTATUS(status) {
        0 if libc::WIFEXITED(status) => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Maps a page of a file as code; without one, a page of memory that is made code.
pub(crate) fn code(file: Option<&fs::File>) -> io::Result<()> {
    const PAGE: usize = 4096;
    let (protection, flags, fd) = match file {
        Some(file) => (
            libc::PROT_READ | libc::PROT_EXEC,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
        ),
        None => (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
        ),
    };
    // SAFETY: the kernel picks the place, so that nothing is replaced.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, protection, flags, fd, 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    if file.is_some() {
        return Ok(());
    }
    let executable = libc::PROT_READ | libc::PROT_EXEC;
    // SAFETY: the page was just mapped, and nothing is in it that would be run.
    match unsafe { libc::mprotect(page, PAGE, executable) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Has writes beyond a limit answer, which would end this process else.
pub(crate) fn ignore_too_large() {
    // SAFETY: ignoring a signal runs no code of this program's.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Puts a filter on this thread that answers one call with EPERM.
pub(crate) fn filter(number: i64) {
    let number = u32::try_from(number).unwrap();
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const REFUSE: u32 = 0x0005_0000 | libc::EPERM as u32;
    let line = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut lines = [
        line(LOAD, 0, 0, 0),
        line(EQUAL, 0, 1, number),
        line(RETURN, 0, 0, REFUSE),
        line(RETURN, 0, 0, ALLOW),
    ];
    let program = libc::sock_fprog {
        len: lines.len() as u16,
        filter: lines.as_mut_ptr(),
    };
    let on: libc::c_ulong = 1;
    let none: libc::c_ulong = 0;
    // SAFETY: it takes numbers.
    let kept = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, on, none, none, none) };
    assert_eq!(kept, 0);
    let mode: libc::c_ulong = 2;
    // SAFETY: the kernel reads the program while the call lasts.
    let put = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    assert_eq!(put, 0, "{}", io::Error::last_os_error());
}

/// The number behind a descriptor, for what is to be looked at after its owner is gone.
pub(crate) fn number(of: &impl AsRawFd) -> RawFd {
    of.as_raw_fd()
}

/// By a policy, with one more descriptor.
pub(crate) fn keeping<'fd>(
    policy: &Policy,
    descriptor: &'fd impl std::os::fd::AsFd,
) -> Confine<'fd> {
    Confine::by(policy).keep(descriptor.as_fd())
}
