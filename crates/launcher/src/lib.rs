//! The child side of a launch: a program that makes jars, and each jar's pid 1.
//!
//! It decides nothing: everything is computed by the parent and comes as a
//! list of steps. It parses nothing that a plugin wrote. It has no std, no libc
//! and no allocator, so that it starts in a tenth of a millisecond and little
//! of it can be attacked.
//!
//! Three actors, one after the other, each the child of the one before:
//! - `parent`: the launcher, one per host: takes requests, makes jars
//!   (`prepare`, `clone`), keeps their table (`jars`) and one child that is made
//!   before its launch (`ahead`), tells how they ended.
//! - `init`: pid 1 of a jar: runs the plan's steps up to the fork, then waits
//!   for its children and forwards signals (`watch`).
//! - the guest's own process: runs the other steps and becomes the program.
//!
//! Below them: `steps` (one function a step), `channel` (packets with
//! descriptors), `raw` (system calls that rustix has not).
//!
//! Protocol: [`belljar_plan::message`]. Only Linux on x86_64 and aarch64; for
//! anything else this crate is empty.
#![cfg_attr(not(test), no_std)]
#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]

mod ahead;
mod arch;
mod calls;
mod channel;
mod clone;
#[cfg(feature = "faults")]
pub mod faults;
mod init;
mod jars;
mod mapped;
mod orphans;
mod parent;
mod prepare;
mod raw;
mod receipts;
mod steps;
mod text;
mod watch;

/// Runs the launcher: descriptor 0 is its socket to the host. Never returns.
///
/// It takes over the whole process: its signals, session and descriptors.
pub fn main() -> ! {
    raw::first_call();
    #[cfg(feature = "faults")]
    faults::begin();
    let code = match parent::serve() {
        Ok(()) => 0,
        Err(errno) => errno.raw_os_error(),
    };
    raw::exit_group(code)
}

/// Ends the process at once; for the program's panic handler.
pub fn abort() -> ! {
    raw::exit_group(134)
}
