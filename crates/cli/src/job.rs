//! What a shell made of this process; credentials(7). The numbers are plain ones: that of
//! a session or group that began outside of the pid namespace is 0, pid_namespaces(7), and
//! rustix's are never that.

use rustix::process::getppid;

/// Somebody in this session started this process, who can have it go on: nobody else
/// does once it has stopped, setpgid(2). Two sessions from outside of the pid namespace
/// look alike and count as one.
pub(crate) fn has_shell() -> bool {
    let own = session(0);
    getppid().is_some_and(|parent| own.is_some() && session(parent.as_raw_pid()) == own)
}

/// The session of a process, 0 for one's own; getsid(2). None where there is no such
/// process.
fn session(of: i32) -> Option<i32> {
    // SAFETY: it takes and gives a number and touches no memory.
    let session = unsafe { libc::getsid(of) };
    (session >= 0).then_some(session)
}

/// One's own process group; getpgrp(2).
pub(crate) fn group() -> i32 {
    // SAFETY: as above.
    unsafe { libc::getpgrp() }
}
