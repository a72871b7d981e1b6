//! A system on which jars are not built yet: the same names as elsewhere, and
//! every launch is refused before any of this is reached.

use std::{
    convert::Infallible,
    future::pending,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use belljar_plan::{
    Bytes,
    plan::{MachineIdentity, ProjectQuota, Slot},
};
use belljar_policy::seccomp::{Attempt, Named};
use tokio::io::{Interest, unix::AsyncFd};

pub(crate) const SUPPORTED: bool = false;
pub(crate) const PACKET: usize = 1;

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) pid: i32,
    pub(crate) attempt: Attempt,
}

pub(crate) fn next_call(_: &OwnedFd) -> io::Result<Asked> {
    unsupported()
}

pub(crate) fn await_call(_: &OwnedFd, _: Duration) -> io::Result<Asked> {
    unsupported()
}

pub(crate) const fn take_turns(_: &OwnedFd) {}

pub(crate) fn let_go_on(_: &OwnedFd, _: &Asked) -> io::Result<()> {
    unsupported()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    Nothing,
    Unreadable,
    Gone,
}

pub(crate) fn name(_: &OwnedFd, _: &Asked, _: Named) -> Result<Vec<u8>, Unread> {
    Err(Unread::Unreadable)
}

pub(crate) fn answer_call(_: &OwnedFd, _: &Asked, _: i32) -> io::Result<()> {
    unsupported()
}

pub(crate) fn device(_: &OwnedFd) -> io::Result<u64> {
    unsupported()
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reachable {
    pub(crate) scratch: Option<u64>,
    pub(crate) granted: Vec<(u64, u64)>,
    pub(crate) names: bool,
    pub(crate) ids: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Connected {
    Answered(i32),
    Refused(Vec<u8>),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct UnderWay;

impl UnderWay {
    pub(crate) const fn cut_short(&self) -> usize {
        0
    }
}

pub(crate) fn comes_back(_: &Asked) -> bool {
    false
}

pub(crate) fn connect(_: &OwnedFd, _: &Asked, _: &Reachable, _: &UnderWay) -> Connected {
    Connected::Refused(Vec::new())
}

pub(crate) fn machine_identity(_: u32, _: u32) -> Option<MachineIdentity> {
    None
}

pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    unsupported()
}

pub(crate) fn nowhere() -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn is_null_device(_: &OwnedFd) -> bool {
    false
}

pub(crate) fn give(_: &OwnedFd, _: u32, _: u32) -> io::Result<()> {
    unsupported()
}

pub(crate) fn own_stream(_: u8) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn is_confined() -> bool {
    false
}

pub(crate) fn take_stdout() -> io::Result<std::fs::File> {
    unsupported()
}

pub(crate) fn waiting(_: impl AsFd) -> u64 {
    0
}

pub(crate) fn random() -> io::Result<[u8; 16]> {
    unsupported()
}

pub(crate) fn kill(_: &OwnedFd) -> io::Result<()> {
    unsupported()
}

pub(crate) fn resize(_: impl AsFd, _: u16, _: u16) -> io::Result<()> {
    unsupported()
}

pub(crate) fn is_key_for_nobody(_: impl AsFd, _: u8) -> bool {
    false
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) bytes: u64,
    pub(crate) full: bool,
}

pub(crate) fn taken(_: &OwnedFd) -> io::Result<Taken> {
    unsupported()
}

pub(crate) fn block_signals() {}

pub(crate) fn ignore_file_size_signal() {}

pub(crate) fn signal_name(signal: i32) -> String {
    signal.to_string()
}

pub(crate) fn set_nonblocking(_: &OwnedFd) -> io::Result<()> {
    unsupported()
}

pub(crate) fn read(_: &OwnedFd, _: &mut [u8]) -> io::Result<usize> {
    unsupported()
}

pub(crate) fn write(_: &OwnedFd, _: &[u8]) -> io::Result<usize> {
    unsupported()
}

pub(crate) fn watch(_: OwnedFd, _: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    unsupported()
}

pub(crate) fn seal(_: &str, _: &[u8]) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn open_slot(_: &Slot) -> io::Result<OwnedFd> {
    unsupported()
}

#[derive(Debug)]
pub(crate) struct Spot(Infallible);

pub(crate) fn spot(_: &Path) -> io::Result<Spot> {
    unsupported()
}

pub(crate) const SHARED: u32 = 0;

pub(crate) fn replace(_: &Spot, _: &str, _: &[u8], _: u32) -> io::Result<std::fs::File> {
    unsupported()
}

/// There is none, and nothing can make one.
#[derive(Debug)]
pub(crate) struct Directory(Infallible);

pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) when: SystemTime,
    pub(crate) bytes: u64,
}

impl Directory {
    pub(crate) fn make_private(_: &Path) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn private(_: &Path) -> io::Result<Option<Self>> {
        Ok(None)
    }

    pub(crate) fn make_private_in(&self, _: &str) -> io::Result<Self> {
        match self.0 {}
    }

    pub(crate) fn private_in(&self, _: &str) -> io::Result<Option<Self>> {
        match self.0 {}
    }

    pub(crate) fn open(_: &Path) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn that_keeps(_: &Path) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn make_held_in(&self, _: &str) -> io::Result<Self> {
        match self.0 {}
    }

    pub(crate) fn abandoned(&self, _: &str) -> Option<Self> {
        match self.0 {}
    }

    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        match self.0 {}
    }

    pub(crate) fn regular_files(&self) -> io::Result<Vec<Listed>> {
        match self.0 {}
    }

    pub(crate) fn read(&self, _: &str, _: u64) -> io::Result<Vec<u8>> {
        match self.0 {}
    }

    pub(crate) fn touch(&self, _: &str) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn replace(&self, _: &str, _: &str, _: &[u8]) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn make_file(&self, _: &str, _: &[u8], _: u32) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn permit(&self, _: u32) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn permit_in(&self, _: &str, _: u32) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn path_through(&self, _: &str) -> PathBuf {
        match self.0 {}
    }

    pub(crate) fn remove(&self, _: &str) {
        match self.0 {}
    }

    pub(crate) fn remove_held(&self, _: &str, _: &Self) {
        match self.0 {}
    }
}

pub(crate) struct Held {
    pub(crate) bytes: u64,
    pub(crate) complete: bool,
}

pub(crate) fn held(_: &OwnedFd) -> io::Result<Held> {
    unsupported()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grown {
    pub(crate) bytes: u64,
    pub(crate) full: bool,
}

#[derive(Debug)]
pub(crate) enum HeldProject {}

impl HeldProject {
    pub(crate) fn hold(_: &OwnedFd, _: &Bytes, _: ProjectQuota) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn grown(&self) -> io::Result<Grown> {
        match *self {}
    }
}

pub(crate) fn project(_: &OwnedFd) -> Option<u32> {
    None
}

pub(crate) fn is_all_of(_: &OwnedFd, _: u32) -> bool {
    false
}

pub(crate) fn sweep_projects() {}

pub(crate) fn holds_bytes(_: &OwnedFd) -> bool {
    false
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    Source,
    Broken,
}

pub(crate) fn wait_for_either(_: impl AsFd, _: impl AsFd) -> io::Result<Ready> {
    unsupported()
}

pub(crate) fn wait_writable(_: impl AsFd) -> io::Result<()> {
    unsupported()
}

pub(crate) fn gone(_: &OwnedFd) -> bool {
    true
}

pub(crate) async fn wait_until_gone(_: &OwnedFd, _: Duration) -> bool {
    true
}

pub(crate) struct Sample {
    pub(crate) tasks: u64,
    pub(crate) private: u64,
    pub(crate) cpu: u64,
    pub(crate) processes: Vec<i32>,
}

pub(crate) async fn sample(_: i32) -> Option<Sample> {
    None
}

pub(crate) async fn shared_once(_: &[i32]) -> u64 {
    0
}

/// There is none, and nothing can make one.
#[derive(Debug)]
pub(crate) struct Packets(Infallible);

impl Packets {
    pub(crate) fn new(_: OwnedFd) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn send_now(&self, _: &[u8], _: &[OwnedFd]) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn end(&self) {
        match self.0 {}
    }

    pub(crate) async fn send(&self, _: &[u8], _: &[OwnedFd]) -> io::Result<()> {
        pending().await
    }

    pub(crate) async fn receive(&self, _: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        pending().await
    }
}

pub(crate) fn connected_packets() -> io::Result<(OwnedFd, OwnedFd)> {
    unsupported()
}

/// There is none, and nothing can make one.
#[derive(Debug)]
pub(crate) struct LauncherProcess(Infallible);

impl LauncherProcess {
    pub(crate) fn start() -> io::Result<(Self, OwnedFd)> {
        unsupported()
    }

    pub(crate) fn pid(&self) -> u32 {
        match self.0 {}
    }

    pub(crate) fn end(&mut self) {
        match self.0 {}
    }
}

/// There is none, and nothing can make one.
#[derive(Debug)]
pub(crate) struct Lease(Infallible);

impl Lease {
    pub(crate) fn take(_: u32, _: u32) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn id(&self) -> u32 {
        match self.0 {}
    }

    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        match self.0 {}
    }
}

pub(crate) mod prober {
    use std::{
        convert::Infallible, io, os::fd::OwnedFd, os::unix::net::UnixListener, path::Path,
        process::Command,
    };

    use super::unsupported;

    pub(crate) const PROBER: &[u8] = &[];

    #[derive(Debug)]
    pub(crate) struct Prober(Infallible);

    impl Prober {
        pub(crate) fn new() -> io::Result<Self> {
            unsupported()
        }

        pub(crate) fn command(&self) -> Command {
            match self.0 {}
        }
    }

    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Task {
        pub(crate) pid: i32,
        pub(crate) uids: Vec<u32>,
        pub(crate) gids: Vec<u32>,
        pub(crate) groups: Vec<u32>,
        pub(crate) capabilities: Vec<u64>,
        pub(crate) no_new_privs: bool,
        pub(crate) session: i32,
        pub(crate) terminal: i32,
        pub(crate) started: u64,
    }

    pub(crate) fn task(_: i32) -> io::Result<Task> {
        unsupported()
    }

    pub(crate) fn children(_: i32) -> io::Result<Vec<i32>> {
        unsupported()
    }

    pub(crate) fn still_runs(_: &Task) -> bool {
        false
    }

    pub(crate) fn end(_: &Task) {}

    pub(crate) fn can_read(_: &str) -> bool {
        false
    }

    pub(crate) fn can_write(_: &str) -> bool {
        false
    }

    pub(crate) fn can_make_files(_: &Path) -> bool {
        false
    }

    pub(crate) fn is_open_to_all(_: &str) -> bool {
        false
    }

    pub(crate) fn listen_by_name(_: &str) -> io::Result<UnixListener> {
        unsupported()
    }

    pub(crate) fn inheritable() -> io::Result<OwnedFd> {
        unsupported()
    }
}

pub(crate) mod confine {
    //! Nothing confines itself here: the planner says so before any of this is reached.

    use std::{io, os::fd::RawFd};

    use belljar_plan::{Bytes, step::OwnedStep};
    use belljar_policy::confine::Held;

    use crate::confine::ConfineError;

    #[derive(Clone, Debug)]
    pub(crate) struct Own {
        pub(crate) threads: usize,
        pub(crate) filtered_apart: bool,
        pub(crate) capabilities: bool,
        pub(crate) bounding: bool,
        pub(crate) held: Vec<Held>,
        pub(crate) beyond_limit: Option<RawFd>,
        pub(crate) procs: Vec<String>,
        pub(crate) writable_code: bool,
        pub(crate) code: Vec<String>,
    }

    pub(crate) fn look(_: &[RawFd]) -> Result<Own, ConfineError> {
        Err(failed())
    }

    pub(crate) struct Start;

    impl Start {
        pub(crate) fn new(_: &Bytes, _: &[Bytes], _: &[Bytes]) -> Result<Self, ConfineError> {
            Err(failed())
        }

        pub(crate) fn go(self, _: &[RawFd]) -> io::Error {
            io::ErrorKind::Unsupported.into()
        }
    }

    pub(crate) struct Prepared;

    impl Prepared {
        pub(crate) fn new(_: &[OwnedStep], _: Option<Start>) -> Result<Self, ConfineError> {
            Err(failed())
        }

        pub(crate) fn apply(self, _: &[RawFd]) -> Result<Option<Start>, ConfineError> {
            Err(failed())
        }
    }

    fn failed() -> ConfineError {
        ConfineError::Look {
            what: "this system has no way",
            source: io::ErrorKind::Unsupported.into(),
        }
    }
}
