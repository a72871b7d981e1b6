//! The launcher's process: started from memory, one for each host.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    process::{Child, Command, Stdio},
};

use belljar_plan::message::{Request, request};

use super::{files, packets};

/// The launcher's program, carried in the library.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/launcher.bin"));

/// What the launcher has as descriptor 1: it says nothing.
#[cfg(not(feature = "faults"))]
fn said() -> io::Result<Stdio> {
    Ok(Stdio::null())
}

/// The file of faults, where `BELLJAR_FAULTS` names one.
#[cfg(feature = "faults")]
fn said() -> io::Result<Stdio> {
    let Some(path) = std::env::var_os("BELLJAR_FAULTS") else {
        return Ok(Stdio::null());
    };
    let both = std::fs::File::options().read(true).write(true).open(path)?;
    Ok(Stdio::from(both))
}

/// The launcher, from its start to its end.
#[derive(Debug)]
pub(crate) struct LauncherProcess {
    child: Child,
}

impl LauncherProcess {
    /// Starts it, and gives the socket to talk to it. The calling thread must
    /// live as long as it is wanted: with that thread it ends
    /// (PR_SET_PDEATHSIG(2const)).
    pub(crate) fn start() -> io::Result<(Self, OwnedFd)> {
        let program = files::program("belljar-launcher", PROGRAM)?;
        let (ours, theirs) = packets::connected_packets()?;
        let myself = rustix::process::pidfd_open(
            rustix::process::getpid(),
            rustix::process::PidfdFlags::empty(),
        )?;
        let child = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
            .env_clear()
            .stdin(theirs)
            .stdout(said()?)
            .stderr(Stdio::null())
            .spawn()?;
        let mut launcher = Self { child };
        let hello = Request {
            kind: request::HELLO,
            descriptors: 1,
            ..Request::default()
        };
        if let Err(error) = packets::send_now(&ours, &hello.to_bytes(), &[myself]) {
            launcher.end();
            return Err(error);
        }
        Ok((launcher, ours))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, and with it everything that it started.
    pub(crate) fn end(&mut self) {
        // It may have ended by itself, or the host may not keep children: both are as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
