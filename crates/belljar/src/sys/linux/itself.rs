//! What a process that serves in a jar does to itself.

use std::{fs::File, io};

/// Nothing that this process starts gains privileges, as in every jar;
/// PR_GET_NO_NEW_PRIVS(2const).
pub(crate) fn is_confined() -> bool {
    rustix::thread::no_new_privs().unwrap_or(false)
}

/// Takes stdout away from whoever prints: it is this file's alone, and what is printed goes
/// to stderr.
pub(crate) fn take_stdout() -> io::Result<File> {
    // Not one of the three, even where a stream is closed.
    let taken = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(taken.into())
}
