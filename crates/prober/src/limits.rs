//! Probes that run into limits, and waiting.

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::thread::{NanosleepRelativeResult, nanosleep};
use rustix::time::{ClockId, clock_gettime};

use crate::{Outcome, Result, files, raw};

const MIB: u64 = 1 << 20;

/// The most tasks and descriptors that are counted.
const MOST: usize = 1024;

pub(crate) fn grow(bytes: u64, milliseconds: u64) -> Result {
    let mut grown = 0;
    while grown < bytes {
        raw::map_touched(MIB)?;
        grown += MIB;
        // Whoever takes samples gets to see it grow.
        pause(1)?;
    }
    pause(milliseconds)?;
    Ok(grown)
}

fn milliseconds_of(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

pub(crate) fn share(milliseconds: u64) -> Result {
    let begun = milliseconds_of(ClockId::Monotonic);
    let before = milliseconds_of(ClockId::ProcessCPUTime);
    while milliseconds_of(ClockId::Monotonic) - begun < milliseconds {
        core::hint::spin_loop();
    }
    Ok(milliseconds_of(ClockId::ProcessCPUTime) - before)
}

/// Where a page can be read to past the page cache; open(2), `O_DIRECT`.
#[repr(align(4096))]
struct Page([u8; 4096]);

pub(crate) fn direct(most: u64, path: &[u8]) -> Result {
    let file = files::open_direct(path)?;
    let mut page = Page([0; 4096]);
    let begun = milliseconds_of(ClockId::Monotonic);
    for _ in 0..most {
        rustix::io::pread(&file, &mut page.0, 0)?;
    }
    Ok(milliseconds_of(ClockId::Monotonic) - begun)
}

pub(crate) fn spin(milliseconds: u64) -> Result {
    while milliseconds_of(ClockId::ProcessCPUTime) < milliseconds {
        core::hint::spin_loop();
    }
    Ok(milliseconds)
}

pub(crate) fn sleep(milliseconds: u64) -> Result {
    pause(milliseconds)?;
    Ok(milliseconds)
}

/// Sleeps for so many seconds, where it may.
pub(crate) fn rest(seconds: u32) {
    let _ = pause(u64::from(seconds) * 1000);
}

fn pause(milliseconds: u64) -> core::result::Result<(), Errno> {
    let time = Timespec {
        tv_sec: (milliseconds / 1000) as i64,
        tv_nsec: (milliseconds % 1000 * 1_000_000) as i64,
    };
    match nanosleep(&time) {
        // A signal cuts it short, and none is expected.
        NanosleepRelativeResult::Ok | NanosleepRelativeResult::Interrupted(_) => Ok(()),
        NanosleepRelativeResult::Err(errno) => Err(errno),
    }
}

/// Empty lines, which no reader of answers minds.
pub(crate) fn flood(bytes: u64) -> Result {
    let mut written = 0;
    while written < bytes {
        files::write_all(&[b'\n'; files::PIECE])?;
        written += files::PIECE as u64;
    }
    Ok(written)
}

pub(crate) fn tasks(most: u64) -> Outcome {
    let mut children = [0; MOST];
    let mut count = 0;
    let mut failed = None;
    for place in children.iter_mut().take(most as usize) {
        match raw::fork() {
            Ok(0) => {
                rest(10);
                raw::exit(0)
            }
            Ok(child) => {
                *place = child;
                count += 1;
            }
            Err(errno) => {
                failed = Some(errno);
                break;
            }
        }
    }
    for child in children.iter().take(count) {
        raw::kill(*child);
        raw::wait(*child);
    }
    match failed {
        Some(errno) => Outcome::refused(errno, count as u64),
        None => Ok(count as u64).into(),
    }
}

pub(crate) fn files(most: u64) -> Outcome {
    let mut open = [const { None }; MOST];
    let mut count = 0;
    for place in open.iter_mut().take(most as usize) {
        match rustix::io::dup(raw::stream(1)) {
            Ok(another) => {
                *place = Some(another);
                count += 1;
            }
            Err(errno) => return Outcome::refused(errno, count),
        }
    }
    Ok(count).into()
}

/// Waits for one byte, or the end.
pub(crate) fn wait() -> Result {
    loop {
        match rustix::io::read(raw::stream(0), &mut [0]) {
            Err(Errno::INTR) => {}
            other => return other.map(|count| count as u64),
        }
    }
}
