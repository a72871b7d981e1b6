//! Only for tests, by the feature `faults`: each system call of the launcher, of pid 1
//! and of the guest's own process is a point, at which a fault can be asked for.
//!
//! Who starts the launcher gives it a file as descriptor 1, which all of them map: in
//! there is said what to do at which point, and how often each was reached. Nothing of
//! this is in an ordinary build.

pub(crate) mod calls;
pub mod table;

use core::panic::Location;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};

use linux_raw_sys::general as sys;
use rustix::fd::BorrowedFd;
use rustix::io::{Errno, Result};
use rustix::mm::{MapFlags, ProtFlags};

pub use table::{CALLS, Call};

/// Where a call is made.
#[derive(Debug)]
pub struct Site {
    /// Its file, below the launcher's `src`.
    pub file: &'static str,
    /// Its line.
    pub line: u32,
    /// Where the call begins in the line, from 1 on.
    pub column: u32,
    /// Which call, as an index into [`CALLS`].
    pub call: usize,
}

/// Every point; its index is its number.
pub const POINTS: &[Site] = include!(concat!(env!("OUT_DIR"), "/points.rs"));

/// The most points that there is room to count.
pub const MOST: usize = 512;
const _: () = assert!(POINTS.len() <= MOST);

/// Who makes a call: the launcher, a jar's pid 1, the guest's process before its
/// program, a process that is there for its user namespace.
pub const ACTORS: usize = 4;

/// What to do at the point; [`word`].
pub mod how {
    /// The call is not made, and answers the errno.
    pub const INSTEAD: u32 = 1;
    /// The call is made, and answers the errno.
    pub const AFTER: u32 = 2;
    /// The process stays there until it is let go or killed.
    pub const HOLD: u32 = 3;
}

/// Where each number is in the file: of 32 bits, in the machine's own order.
pub mod word {
    /// [`how`](super::how), or 0 for nothing at all. Written last.
    pub const HOW: usize = 0;
    /// The number of the point.
    pub const POINT: usize = 1;
    /// Who: an index below [`ACTORS`](super::ACTORS).
    pub const ACTOR: usize = 2;
    /// So many times it goes well before.
    pub const SPARED: usize = 3;
    /// What is answered.
    pub const ERRNO: usize = 4;
    /// How often the point was reached by that actor since.
    pub const REACHED: usize = 5;
    /// Whether the fault was had.
    pub const HAD: usize = 6;
    /// At which step of the plan it was; [`NO_STEP`](super::NO_STEP) for none.
    pub const STEP: usize = 7;
    /// Lets those go that are held.
    pub const LET_GO: usize = 8;
    /// Another number each time that a fault is asked for: who is held for an earlier one
    /// goes.
    pub const ROUND: usize = 10;
    /// A call was made where no point is listed: its line.
    pub const UNLISTED: usize = 9;
    /// How often each point was reached, by each actor in turn.
    pub const COUNTS: usize = 16;
}

/// The number of a step that is none.
pub const NO_STEP: u32 = u32::MAX;

/// How many numbers the file has.
pub const WORDS: usize = word::COUNTS + ACTORS * MOST;

/// The numbers, once they are mapped.
static SHARED: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
/// Of this process: each begins with a copy of its parent's.
static ACTOR: AtomicU32 = AtomicU32::new(0);
static STEP: AtomicU32 = AtomicU32::new(NO_STEP);

/// What a call is to do.
enum Fault {
    Instead(Errno),
    After(Errno),
}

/// Maps the file, where there is one: without, nothing ever fails.
pub(crate) fn begin() {
    // SAFETY: the descriptor is looked at only in this call, before it is another.
    let file = unsafe { BorrowedFd::borrow_raw(1) };
    let length = WORDS * size_of::<u32>();
    let there = rustix::fs::fstat(file).map_or(0, |stat| stat.st_size);
    if there < length as i64 {
        return;
    }
    let both = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, at an address that the kernel chooses.
    let place =
        unsafe { rustix::mm::mmap(ptr::null_mut(), length, both, MapFlags::SHARED, file, 0) };
    if let Ok(place) = place {
        SHARED.store(place.cast(), Relaxed);
    }
}

fn at(index: usize) -> Option<&'static AtomicU32> {
    let start = SHARED.load(Relaxed);
    if start.is_null() || index >= WORDS {
        return None;
    }
    // SAFETY: within the mapping, which is never taken away.
    let place = unsafe { start.add(index) };
    // SAFETY: aligned, as the mapping is; whoever else changes it does so atomically.
    Some(unsafe { &*place })
}

/// Which step is done from here on.
pub(crate) fn at_step(step: u16) {
    STEP.store(u32::from(step), Relaxed);
}

/// What was asked for this point, where it was.
fn reached(place: &Location<'_>) -> Option<Fault> {
    at(0)?;
    let actor = ACTOR.load(Relaxed);
    let Some(point) = number(place) else {
        at(word::UNLISTED)?.store(place.line(), SeqCst);
        return None;
    };
    at(word::COUNTS + actor as usize * MOST + point)?.fetch_add(1, SeqCst);
    let is = |index, value| at(index).map(|word| word.load(SeqCst)) == Some(value);
    if is(word::HOW, 0) || !is(word::POINT, point as u32) || !is(word::ACTOR, actor) {
        return None;
    }
    let before = at(word::REACHED)?.fetch_add(1, SeqCst);
    if !is(word::SPARED, before) {
        return None;
    }
    at(word::STEP)?.store(STEP.load(Relaxed), SeqCst);
    at(word::HAD)?.store(1, SeqCst);
    let number = at(word::ERRNO)?.load(SeqCst) as i32;
    let errno = || Errno::from_raw_os_error(number);
    match at(word::HOW)?.load(SeqCst) {
        how::INSTEAD => Some(Fault::Instead(errno())),
        how::AFTER => Some(Fault::After(errno())),
        how::HOLD => {
            let round = at(word::ROUND)?.load(SeqCst);
            // Without a call: the process may be allowed none that waits.
            while is(word::LET_GO, 0) && is(word::ROUND, round) {
                core::hint::spin_loop();
            }
            None
        }
        _ => None,
    }
}

/// The number of the point at a place.
fn number(place: &Location<'_>) -> Option<usize> {
    POINTS.iter().position(|site| {
        (site.line, site.column) == (place.line(), place.column())
            && place
                .file()
                .strip_suffix(site.file)
                .is_some_and(|folder| folder.ends_with("/src/"))
    })
}

/// Makes a call of rustix's, or has it fail.
#[track_caller]
fn through<T>(make: impl FnOnce() -> Result<T>) -> Result<T> {
    match reached(Location::caller()) {
        None => make(),
        Some(Fault::Instead(errno)) => Err(errno),
        Some(Fault::After(errno)) => {
            make()?;
            Err(errno)
        }
    }
}

/// Makes a system call, or has it fail; notes who a new process is.
///
/// # Safety
/// The arguments must be what the call's manual demands.
#[track_caller]
pub(crate) unsafe fn syscall(number: u32, a: [usize; 6]) -> isize {
    let refused = |errno: Errno| -(errno.raw_os_error() as isize);
    // SAFETY: the caller vouches for the arguments.
    let make = || unsafe { crate::arch::syscall(number, a) };
    let result = match reached(Location::caller()) {
        None => make(),
        Some(Fault::Instead(errno)) => refused(errno),
        Some(Fault::After(errno)) => match make() {
            0.. => refused(errno),
            failed => failed,
        },
    };
    let forked = number == sys::__NR_clone3 || number == sys::__NR_clone;
    if forked && result == 0 {
        become_next(number, a);
    }
    result
}

/// In a process that was just made: who it is.
fn become_next(number: u32, a: [usize; 6]) {
    const FIRST: u32 = 1;
    const GUEST: u32 = 2;
    const HOLDER: u32 = 3;
    let holder = u64::from(sys::CLONE_NEWUSER | sys::CLONE_PIDFD);
    let actor = if number == sys::__NR_clone {
        GUEST
    } else {
        // SAFETY: the call just made read its arguments there, a `struct clone_args`,
        // of which the flags are the first.
        match unsafe { *(a[0] as *const u64) } == holder {
            true => HOLDER,
            false => FIRST,
        }
    };
    ACTOR.store(actor, Relaxed);
    if actor != GUEST {
        STEP.store(NO_STEP, Relaxed);
    }
}
