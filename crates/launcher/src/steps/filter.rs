//! The filter of system calls: installed last, seen to refuse, its listener
//! handed out; seccomp(2), seccomp_unotify(2).

use core::ffi::c_void;
use core::ptr;
use core::slice;

use belljar_plan::Step;
use belljar_plan::message::{Progress, progress};
use belljar_plan::wire::Steps;
use rustix::event::Timespec;
use rustix::fd::AsFd as _;
use rustix::io::{Errno, Result};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::rand::GetRandomFlags;

use super::{Jar, mounts::send_progress};
use crate::arch::HIGHEST;
use crate::calls::{getrandom, mmap_anonymous, nanosleep};
use crate::raw;

const PAGE: usize = 4096;
/// Bytes of an instruction.
const INSTRUCTION: usize = 8;
/// Where its number is.
const K: usize = 4;
/// How often an address that is taken already is drawn anew.
const TRIES: usize = 16;
/// How often the listener is sent anew, and the pause between.
const SENDS: usize = 2000;
const PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 1_000_000,
};

/// Where the argument lists of the one start go that the filter lets through.
#[derive(Clone, Copy)]
pub(super) struct Start {
    pub(super) arguments: *mut *const u8,
    pub(super) variables: *mut *const u8,
}

/// Which instructions compare with those addresses.
#[derive(Clone, Copy)]
pub(super) struct Secrets {
    pub(super) arguments: [u16; 2],
    pub(super) variables: [u16; 2],
}

impl Secrets {
    fn any(&self) -> bool {
        self.arguments
            .iter()
            .chain(&self.variables)
            .any(|at| *at != 0)
    }
}

impl Jar<'_> {
    /// Installs it. Whatever is called from here on must be what it allows.
    pub(super) fn filter(
        &mut self,
        program: &[u8],
        listener: bool,
        secrets: Secrets,
        rest: &Steps<'_>,
    ) -> Result<()> {
        let heard = if secrets.any() {
            let start = start(rest)?;
            let program = copied(program)?;
            put(program, secrets.arguments, start.arguments as usize)?;
            put(program, secrets.variables, start.variables as usize)?;
            self.start = Some(start);
            raw::seccomp_filter(program, listener)?
        } else {
            raw::seccomp_filter(program, listener)?
        };
        if raw::asks_for_nothing() != Errno::NOSYS {
            // It is there and does not hold.
            return Err(Errno::CANCELED);
        }
        let Some(heard) = heard else {
            return Ok(());
        };
        let packet = Progress {
            kind: progress::LISTENER,
            ..Progress::default()
        };
        // No task of the guest's was ever there to take it: this process is the
        // only one but pid 1, and the descriptor is closed before the guest is.
        for _ in 0..SENDS {
            match send_progress(&packet, heard.as_fd()) {
                // The user's descriptors on their way are counted against this
                // jar's own bound, and those of other jars are soon taken.
                Err(Errno::TOOMANYREFS) => {}
                other => return other,
            }
            let _ = nanosleep(&PAUSE);
        }
        send_progress(&packet, heard.as_fd())
    }
}

/// Finds room for both lists at addresses that nobody can guess. The mappings
/// end with this program.
fn start(rest: &Steps<'_>) -> Result<Start> {
    let (arguments, variables) = rest
        .clone()
        .find_map(|step| match step {
            Ok(Step::Exec {
                arguments,
                variables,
                ..
            }) => Some((arguments.count(), variables.count())),
            _ => None,
        })
        .ok_or(Errno::BADMSG)?;
    Ok(Start {
        arguments: somewhere(arguments + 1)?,
        variables: somewhere(variables + 1)?,
    })
}

/// Zeroed room for so many pointers, somewhere.
fn somewhere(count: usize) -> Result<*mut *const u8> {
    let length = count
        .checked_mul(size_of::<*const u8>())
        .and_then(|length| length.checked_add(PAGE))
        .ok_or(Errno::NOMEM)?;
    for _ in 0..TRIES {
        let mut random = [0_u8; 16];
        if getrandom(&mut random, GetRandomFlags::empty())? != random.len() {
            return Err(Errno::AGAIN);
        }
        let random = u128::from_le_bytes(random);
        let page = (random % (HIGHEST / PAGE as u128)) as usize;
        // Low addresses may be forbidden; mmap_min_addr.
        let address = page * PAGE + (1 << 32);
        // SAFETY: without replacing anything; where something is, it fails.
        let place = unsafe {
            mmap_anonymous(
                ptr::without_provenance_mut::<c_void>(address),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE,
            )
        };
        match place {
            Ok(place) => {
                let offset = ((random >> 96) as usize % (PAGE / size_of::<*const u8>()))
                    * size_of::<*const u8>();
                // SAFETY: less than the page by which the mapping is longer.
                return Ok(unsafe { place.byte_add(offset) }.cast());
            }
            Err(Errno::EXIST | Errno::NOMEM) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::NOMEM)
}

/// A copy that can be written to: the plan itself is sealed.
fn copied(program: &[u8]) -> Result<&'static mut [u8]> {
    // SAFETY: a new anonymous mapping, at an address that the kernel chooses.
    let place = unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            program.len().max(1),
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    }?;
    // SAFETY: mapped writable with at least this length, never unmapped, and
    // referred to by nothing else.
    let copy = unsafe { slice::from_raw_parts_mut(place.cast::<u8>(), program.len()) };
    copy.copy_from_slice(program);
    Ok(copy)
}

/// Puts the halves of an address into two instructions.
fn put(program: &mut [u8], at: [u16; 2], address: usize) -> Result<()> {
    let [low, high] = [address as u32, (address as u64 >> 32) as u32];
    for (index, half) in at.into_iter().zip([low, high]) {
        let k = usize::from(index) * INSTRUCTION + K;
        let place = program.get_mut(k..k + size_of::<u32>());
        place
            .ok_or(Errno::BADMSG)?
            .copy_from_slice(&half.to_ne_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_goes_where_it_is_compared_and_nowhere_else() {
        let mut program = [0_u8; 4 * INSTRUCTION];
        put(&mut program, [1, 3], 0x1234_5678_9abc_def0).unwrap();
        assert_eq!(program[12..16], 0x9abc_def0_u32.to_ne_bytes());
        assert_eq!(program[28..32], 0x1234_5678_u32.to_ne_bytes());
        let zeroes = program.iter().filter(|byte| **byte == 0).count();
        assert_eq!(zeroes, 24);
        assert_eq!(put(&mut program, [1, 4], 1), Err(Errno::BADMSG));
    }

    #[test]
    fn no_two_places_are_alike() {
        let (one, two) = (somewhere(3).unwrap(), somewhere(3).unwrap());
        assert_ne!(one, two);
        assert!(one as usize >= 1 << 32);
    }
}
