//! A plain program whose tasks get as far from one another as they can, and each say that
//! they go on.

use std::{
    io::{self, Write},
    time::Duration,
};

use crate::kernel::{self, Side};

const PACE: Duration = Duration::from_millis(5);

/// `spread`: says a letter again and again from each of: `m` the main process; `t` a thread of
/// it; `o` an orphan in a session of its own that ignores what can be ignored; `c` a chain of
/// processes, each of which forks the next and ends; `v` a process that waits for children
/// of vfork(2).
pub(crate) fn spread() -> io::Result<()> {
    if let Side::Child = kernel::fork()? {
        if let Side::Child = kernel::fork()? {
            kernel::setsid()?;
            for signal in 1..=31 {
                kernel::ignore(signal);
            }
            go_on(b"o");
        }
        kernel::leave(0);
    }
    if let Side::Child = kernel::fork()? {
        chain();
    }
    if let Side::Child = kernel::fork()? {
        loop {
            wait_for_vfork()?;
            say(b"v");
        }
    }
    std::thread::spawn(|| go_on(b"t"));
    go_on(b"m")
}

/// `churn MILLISECONDS`: tasks come and go as fast as they can, by fork(2), vfork(2), setsid(2)
/// and execve(2), each deaf to what it may be deaf to; the main process exits after that time.
pub(crate) fn churn(args: &[String]) -> io::Result<()> {
    let time = Duration::from_millis(args[0].parse().expect("milliseconds"));
    for signal in 1..=31 {
        kernel::ignore(signal);
    }
    // A chain of processes that each end, one in sessions of its own.
    for leads in [false, true] {
        if let Side::Child = kernel::fork()? {
            loop {
                if leads {
                    // The leader of a group has none of its own already.
                    let _ = kernel::setsid();
                }
                match kernel::fork() {
                    Ok(Side::Child) | Err(_) => {}
                    Ok(Side::Parent(_)) => kernel::leave(0),
                }
            }
        }
    }
    if let Side::Child = kernel::fork()? {
        loop {
            wait_for_vfork()?;
        }
    }
    if let Side::Child = kernel::fork()? {
        return exec_on();
    }
    std::thread::sleep(time);
    kernel::leave(7)
}

/// `exec_on`: becomes itself again and again.
pub(crate) fn exec_on() -> io::Result<()> {
    use std::os::unix::process::CommandExt as _;
    // In a jar that allows no other program it stays what it is.
    Err(std::process::Command::new("/proc/self/exe")
        .arg("exec_on")
        .exec())
}

fn go_on(letter: &[u8; 1]) -> ! {
    loop {
        say(letter);
        std::thread::sleep(PACE);
    }
}

fn say(letter: &[u8; 1]) {
    // Nobody listens any more where it fails.
    let _ = io::stdout().write_all(letter);
    let _ = io::stdout().flush();
}

fn chain() -> ! {
    loop {
        say(b"c");
        std::thread::sleep(PACE);
        match kernel::fork() {
            Ok(Side::Child) | Err(_) => {}
            Ok(Side::Parent(_)) => kernel::leave(0),
        }
    }
}

/// Its child sleeps a while, and this process with it.
fn wait_for_vfork() -> io::Result<()> {
    const CLONE_VM: u64 = 0x100;
    const CLONE_VFORK: u64 = 0x4000;
    let pause = libc::timespec {
        tv_sec: 0,
        tv_nsec: 5_000_000,
    };
    let mut stack = vec![0_u8; 64 << 10];
    extern "C" fn nap(pause: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the parent, which waits, keeps it.
        let _ = unsafe { libc::nanosleep(pause.cast(), std::ptr::null_mut()) };
        0
    }
    let top = stack.as_mut_ptr_range().end;
    let flags = (CLONE_VM | CLONE_VFORK) as libc::c_int | libc::SIGCHLD;
    // SAFETY: the stack is the child's alone until it has ended, which this call waits for.
    let child =
        unsafe { libc::clone(nap, top.cast(), flags, (&raw const pause).cast_mut().cast()) };
    match child {
        -1 => Err(io::Error::last_os_error()),
        child => kernel::wait_for(child),
    }
}
