//! Bounds of the processes of a jar that runs; getrlimit(2).

use std::{io, sync::Arc, time::Duration};

use belljar_plan::Resource;
use rustix::{
    io::Errno,
    process::{Pid, Rlimit, prlimit},
};

use super::cgroup::OwnCgroup;

/// New processes come from such that have the bound already, so that few looks see all;
/// a jar that is as fast as to hide some from so many is told of.
const LOOKS: u32 = 100;

/// So many looks in a row that find nothing to be bounded are believed.
const QUIET: u32 = 2;

/// Has each process of a jar bounded so, the first apart, which runs nothing of the guest's.
///
/// `numbered`: the jar has a pid namespace of its own.
///
/// EPERM: it would be a higher bound, which CAP_SYS_RESOURCE alone may set. ESRCH: none
/// of its processes can be seen.
pub(crate) async fn bound_all(
    init: i32,
    numbered: bool,
    cgroup: Option<&Arc<OwnCgroup>>,
    resource: Resource,
    (soft, hard): (u64, u64),
) -> io::Result<()> {
    let kind = kind(resource)?;
    let frozen = match cgroup {
        // The first process of any other has to see when its launcher is lost.
        Some(cgroup) if numbered && cgroup.can_freeze() => {
            let frozen = cgroup.freeze()?;
            frozen.settle().await;
            Some(frozen)
        }
        _ => None,
    };
    let new = Rlimit {
        current: Some(soft),
        maximum: Some(hard),
    };
    let (mut quiet, mut ever_seen) = (0, false);
    for _ in 0..LOOKS {
        let processes = match &frozen {
            Some(frozen) => frozen.processes()?,
            None => super::sample(init)
                .await
                .map(|sample| sample.processes)
                .ok_or(Errno::SRCH)?,
        };
        let (mut changed, mut seen) = (false, false);
        for pid in processes.into_iter().filter(|pid| *pid != init) {
            let is_of_it = |pid: &Pid| !numbered || is_below(*pid);
            let Some(pid) = Pid::from_raw(pid).filter(is_of_it) else {
                continue;
            };
            match prlimit(Some(pid), kind, new) {
                Ok(old) => {
                    seen = true;
                    changed |= old != new;
                }
                // It has ended meanwhile.
                Err(Errno::SRCH) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        ever_seen |= seen;
        // One look may miss a task that comes or goes.
        quiet = if changed || !seen { 0 } else { quiet + 1 };
        if quiet == QUIET {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let why = match ever_seen {
        true => Errno::AGAIN,
        false => Errno::SRCH,
    };
    Err(why.into())
}

/// A process of a pid namespace below this one: a number of a task that has ended may be
/// anybody's by now. proc_pid_status(5)
fn is_below(pid: Pid) -> bool {
    let status = std::fs::read(format!("/proc/{}/status", pid.as_raw_nonzero()));
    let status = status.unwrap_or_default();
    let numbers = status
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"NSpid:"));
    numbers.is_some_and(|numbers| {
        let words = numbers.split(u8::is_ascii_whitespace);
        words.filter(|word| !word.is_empty()).count() > 1
    })
}

/// Those that a limit is held by.
fn kind(resource: Resource) -> io::Result<rustix::process::Resource> {
    use rustix::process::Resource as Kind;
    Ok(match resource {
        Resource::Cpu => Kind::Cpu,
        Resource::FileSize => Kind::Fsize,
        Resource::Data => Kind::Data,
        Resource::Processes => Kind::Nproc,
        Resource::OpenFiles => Kind::Nofile,
        _ => return Err(Errno::INVAL.into()),
    })
}
