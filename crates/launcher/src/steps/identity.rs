//! Who the jar's processes are and what they may: ids, groups, capabilities,
//! and who may look at them; credentials(7), capabilities(7).

use belljar_plan::Step;
use belljar_plan::wire::Steps;
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::process::{Gid, Signal, Uid};

use super::Jar;
use crate::calls::{self, open, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use crate::init::LIFELINE;
use crate::raw::{self, Caps};
use crate::text::Text;

/// Every securebit with its lock but `KEEP_CAPS`, which is locked off.
const SECUREBITS: usize = 0xef;
/// More capabilities than any kernel has: the sets are 64 bits wide.
const CAPABILITIES: usize = 64;

pub(super) fn drop_groups() -> Result<()> {
    // The thread is the whole process.
    set_thread_groups(&[])
}

pub(super) fn take_ids(uid: u32, gid: u32) -> Result<()> {
    if uid == u32::MAX || gid == u32::MAX {
        // "Leave as it is", to the kernel.
        return Err(Errno::INVAL);
    }
    let gid = Gid::from_raw(gid);
    set_thread_res_gid(gid, gid, gid)?;
    let uid = Uid::from_raw(uid);
    set_thread_res_uid(uid, uid, uid)
}

pub(super) fn undumpable() -> Result<()> {
    raw::prctl(raw::PR_SET_DUMPABLE, 0, 0)?;
    match raw::prctl(raw::PR_GET_DUMPABLE, 0, 0)? {
        0 => Ok(()),
        _ => Err(Errno::PERM),
    }
}

/// After the last change of ids, which would clear the signal again.
pub(super) fn die_with_launcher() -> Result<()> {
    calls::set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have died before that.
    // SAFETY: pid 1 keeps the lifeline open under this number.
    let lifeline = unsafe { rustix::fd::BorrowedFd::borrow_raw(LIFELINE) };
    let mut waiting = [rustix::event::PollFd::from_borrowed_fd(
        lifeline,
        rustix::event::PollFlags::IN,
    )];
    let no_wait = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match calls::poll(&mut waiting, Some(&no_wait))? {
        0 => Ok(()),
        _ => Err(Errno::PIPE),
    }
}

/// In a process that was just forked. Where its parent ended before, nobody
/// waits for it any more: it would be the launcher's, and is ended there.
pub(super) fn die_with_first() -> Result<()> {
    calls::set_parent_process_death_signal(Some(Signal::KILL))
}

pub(super) fn keyring() -> Result<()> {
    match raw::join_session_keyring() {
        // A kernel without keyrings has none to share.
        Err(Errno::NOSYS) => Ok(()),
        other => other,
    }
}

pub(super) fn no_new_privs() -> Result<()> {
    raw::prctl(raw::PR_SET_NO_NEW_PRIVS, 1, 0)?;
    match raw::prctl(raw::PR_GET_NO_NEW_PRIVS, 0, 0)? {
        1 => Ok(()),
        _ => Err(Errno::PERM),
    }
}

/// Locks what uid 0 means. What shall be ambient is raised first, since one of
/// the bits forbids that for good.
pub(super) fn securebits(rest: &Steps<'_>) -> Result<()> {
    let ambient = rest.clone().find_map(|step| match step {
        Ok(Step::Capabilities { ambient, .. }) => Some(ambient),
        _ => None,
    });
    raise_ambient(ambient.unwrap_or(0))?;
    raw::prctl(raw::PR_SET_SECUREBITS, SECUREBITS, 0)?;
    match raw::prctl(raw::PR_GET_SECUREBITS, 0, 0)? {
        SECUREBITS => Ok(()),
        _ => Err(Errno::PERM),
    }
}

fn raise_ambient(ambient: u64) -> Result<()> {
    if ambient == 0 {
        return Ok(());
    }
    let mut caps = raw::capget()?;
    caps.inheritable |= ambient;
    raw::capset(caps)?;
    for capability in members(ambient) {
        let raise = raw::PR_CAP_AMBIENT_RAISE as usize;
        raw::prctl(raw::PR_CAP_AMBIENT, raise, capability)?;
    }
    Ok(())
}

/// Empties the five sets but for what is kept, and reads them back.
pub(super) fn capabilities(keep: u64, ambient: u64) -> Result<()> {
    for capability in members(!keep) {
        match raw::prctl(raw::PR_CAPBSET_DROP, capability, 0) {
            Ok(_) => {}
            // The first number that this kernel doesn't know.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    if ambient == 0 {
        let clear = raw::PR_CAP_AMBIENT_CLEAR_ALL as usize;
        raw::prctl(raw::PR_CAP_AMBIENT, clear, 0)?;
    }
    let wanted = Caps {
        effective: keep,
        permitted: keep,
        inheritable: keep,
    };
    raw::capset(wanted)?;
    if raw::capget()? != wanted {
        return Err(Errno::PERM);
    }
    for capability in 0..CAPABILITIES {
        let bounding = match raw::prctl(raw::PR_CAPBSET_READ, capability, 0) {
            Err(Errno::INVAL) => break,
            other => other? == 1,
        };
        if bounding && keep & (1 << capability) == 0 {
            return Err(Errno::PERM);
        }
    }
    // What is neither permitted nor inheritable can't be ambient.
    let is_set = raw::PR_CAP_AMBIENT_IS_SET as usize;
    for capability in members(keep) {
        let raised = raw::prctl(raw::PR_CAP_AMBIENT, is_set, capability)? == 1;
        if raised != (ambient & (1 << capability) != 0) {
            return Err(Errno::PERM);
        }
    }
    Ok(())
}

/// The numbers of the bits that are set.
fn members(set: u64) -> impl Iterator<Item = usize> {
    (0..CAPABILITIES).filter(move |bit| set & (1 << bit) != 0)
}

impl Jar<'_> {
    /// Done while the machine's `/proc` can still be seen.
    pub(super) fn oom_score(&self, value: u16) -> Result<()> {
        // The change of ids has made the process undumpable, and its files in
        // /proc root's, which it is not any more; proc(5).
        let before = raw::prctl(raw::PR_GET_DUMPABLE, 0, 0)?;
        if before != 1 {
            raw::prctl(raw::PR_SET_DUMPABLE, 1, 0)?;
        }
        let result = write_oom_score(value);
        if before != 1 {
            raw::prctl(raw::PR_SET_DUMPABLE, 0, 0)?;
        }
        result
    }
}

fn write_oom_score(value: u16) -> Result<()> {
    let file = open(
        c"/proc/self/oom_score_adj",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let text = Text::<8>::new().number(u64::from(value))?;
    calls::write(&file, text.bytes()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_set_are_its_bits() {
        assert_eq!(members(0).count(), 0);
        assert!(members(1 | 1 << 40 | 1 << 63).eq([0, 40, 63]));
        assert_eq!(members(u64::MAX).count(), 64);
    }
}
