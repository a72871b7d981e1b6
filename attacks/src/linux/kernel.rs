//! System calls that the standard library has no words for.

use std::{ffi::CStr, io};

/// One argument of a system call.
pub(crate) enum Arg<'a> {
    /// A number, flag or descriptor.
    Number(i64),
    /// Text that the kernel reads.
    Text(&'a CStr),
    /// Bytes that the kernel reads.
    In(&'a [u8]),
    /// Bytes that the kernel writes.
    Out(&'a mut [u8]),
}

/// Makes system call `number`; whoever calls gives the kernel buffers as large
/// as that call asks for.
pub(crate) fn call(number: libc::c_long, args: &mut [Arg<'_>]) -> io::Result<i64> {
    let mut words = [0_i64; 6];
    for (word, arg) in words.iter_mut().zip(args) {
        *word = match arg {
            Arg::Number(number) => *number,
            Arg::Text(text) => text.as_ptr() as i64,
            Arg::In(bytes) => bytes.as_ptr() as i64,
            Arg::Out(bytes) => bytes.as_mut_ptr() as i64,
        };
    }
    let [a, b, c, d, e, f] = words;
    // SAFETY: memory is passed only as borrows that outlive the call.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Which side of a fork.
pub(crate) enum Side {
    /// The new process.
    Child,
    /// The old one, with the new one's number.
    Parent(i32),
}

/// fork(2). Guests have one thread.
pub(crate) fn fork() -> io::Result<Side> {
    // SAFETY: no other thread exists that could hold a lock.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(pid)),
    }
}

/// kill(2).
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    call(
        libc::SYS_kill,
        &mut [Arg::Number(pid.into()), Arg::Number(signal.into())],
    )
    .map(drop)
}

/// setsid(2).
pub(crate) fn setsid() -> io::Result<()> {
    call(libc::SYS_setsid, &mut []).map(drop)
}

/// Sleeps for good, or until killed.
pub(crate) fn sleep_forever() -> ! {
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}

/// Makes `signal` ignored.
pub(crate) fn ignore(signal: i32) {
    // SAFETY: SIG_IGN runs no code.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Gives `signal` its default action.
pub(crate) fn default_action(signal: i32) {
    // SAFETY: SIG_DFL runs no code.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// An address at which no program has memory: a kernel that looks there says
/// `EFAULT`, which no filter does.
pub(crate) const NOWHERE: i64 = 1;

/// A bit above those that the kernel reads of a 32-bit argument. A filter that
/// compares all 64 takes the number for another one.
pub(crate) const UPPER: i64 = 1 << 32;

/// Makes a system call with numbers only.
pub(crate) fn call_with(number: libc::c_long, args: &[i64]) -> io::Result<i64> {
    let mut args: Vec<_> = args.iter().copied().map(Arg::Number).collect();
    call(number, &mut args)
}

/// A try with a name, as [`crate::Verdict`] takes them.
pub(crate) type Try = (String, io::Result<String>);

/// Makes a system call whose success is an escape.
pub(crate) fn attempt(what: &str, number: libc::c_long, args: &mut [Arg<'_>]) -> Try {
    let answer = call(number, args).map(|value| format!("done, {value}"));
    (what.to_owned(), answer)
}

/// The same for a call that is given no memory, but numbers only.
pub(crate) fn probe(what: &str, number: libc::c_long, args: &[i64]) -> Try {
    let answer = call_with(number, args).map(|value| format!("done, {value}"));
    (what.to_owned(), answer)
}

/// Whether an error is what a filter answers, or a kernel that refuses before
/// it looks at anything.
pub(crate) fn refuses(error: &io::Error) -> bool {
    // EPERM and EACCES, and a child that was killed by its filter.
    error.kind() == io::ErrorKind::PermissionDenied || error.raw_os_error() == Some(libc::ENOSYS)
}

/// How a process ended.
enum End {
    Exited(i32),
    Killed(i32),
}

/// Waits for a child.
fn wait(pid: i32) -> io::Result<End> {
    let mut status = [0_u8; 4];
    call(
        libc::SYS_wait4,
        &mut [
            Arg::Number(pid.into()),
            Arg::Out(&mut status),
            Arg::Number(0),
            Arg::Number(0),
        ],
    )?;
    let status = i32::from_ne_bytes(status);
    Ok(if libc::WIFEXITED(status) {
        End::Exited(libc::WEXITSTATUS(status))
    } else {
        End::Killed(libc::WTERMSIG(status))
    })
}

/// Waits for a child, however it ends.
pub(crate) fn wait_for(pid: i32) -> io::Result<()> {
    wait(pid).map(drop)
}

/// What a child exits with that came through.
pub(crate) const CAME_THROUGH: i32 = 200;

/// Does something in a child that it changes or ends, and gives its answer.
pub(crate) fn in_child(work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    match fork()? {
        Side::Child => {
            let code = match work() {
                Ok(()) => CAME_THROUGH,
                // Numbers of errors end at 133; errno(3).
                Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
            };
            leave(code)
        }
        Side::Parent(pid) => answer_of(pid),
    }
}

/// Waits for a child that exits with [`CAME_THROUGH`] or the number of an error.
pub(crate) fn answer_of(pid: i32) -> io::Result<()> {
    match wait(pid)? {
        End::Exited(CAME_THROUGH) => Ok(()),
        End::Exited(errno) => Err(io::Error::from_raw_os_error(errno)),
        End::Killed(libc::SIGSYS) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "killed by a filter",
        )),
        End::Killed(signal) => Err(io::Error::other(format!("ended by signal {signal}"))),
    }
}

/// Ends this process at once, without what its libc does at an end.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: _exit only ends the process.
    unsafe { libc::_exit(code) }
}
