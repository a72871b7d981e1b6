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
