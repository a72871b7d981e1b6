//! What is left of a jar that has no pid namespace: tasks whose parents ended.
//! They belong to whoever adopts orphans, and are killed there, again and again
//! until there are none; PR_SET_CHILD_SUBREAPER(2const).

use core::ffi::CStr;

use rustix::event::Timespec;
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::thread::NanosleepRelativeResult;

use crate::calls::{self, nanosleep, open};
use crate::raw;

/// The direct children of this process; proc_pid_task(5).
const CHILDREN: &CStr = c"/proc/thread-self/children";
/// A guest that forks without end is killed in at most so many rounds: its
/// number of tasks is bounded, and each round leaves only what was made meanwhile.
const ROUNDS: usize = 10_000;
const PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000,
};

/// Kills every child but those that are `kept`, and what they leave behind, and
/// waits for the end of all.
pub(crate) fn end_all(kept: &[i32]) {
    for _ in 0..ROUNDS {
        match kill_children(kept) {
            // The children cannot be listed; those that are known end anyway.
            Err(_) | Ok(0) => return,
            Ok(_) => {}
        }
        if let NanosleepRelativeResult::Err(_) = nanosleep(&PAUSE) {
            return;
        }
    }
}

/// Kills them once, and takes the ends of those that have ended: how many there were.
fn kill_children(kept: &[i32]) -> Result<usize> {
    let file = open(CHILDREN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut count = 0;
    let mut number: i32 = 0;
    let mut buffer = [0_u8; 512];
    loop {
        let length = calls::read(&file, &mut buffer)?;
        if length == 0 {
            return Ok(count);
        }
        for byte in buffer.get(..length).ok_or(Errno::INVAL)? {
            match byte {
                b'0'..=b'9' => {
                    number = number.wrapping_mul(10).wrapping_add(i32::from(byte - b'0'))
                }
                _ if number > 0 && !kept.contains(&number) => {
                    count += 1;
                    let _ = raw::kill(number, raw::SIGKILL);
                    let _ = raw::wait4(number);
                    number = 0;
                }
                _ => number = 0,
            }
        }
    }
}
