//! The last step: the guest's process becomes the program; execveat(2).

use core::ffi::c_void;
use core::ptr;

use belljar_plan::wire::Strings;
use rustix::io::{Errno, Result};
use rustix::mm::{MapFlags, ProtFlags};

use super::{Jar, filter::Start};
use crate::calls::mmap_anonymous;
use crate::raw;
use crate::text::text;

impl Jar<'_> {
    /// Starts the program; returns only why it could not.
    pub(crate) fn exec(
        &self,
        path: &[u8],
        arguments: Strings<'_>,
        variables: Strings<'_>,
    ) -> Errno {
        let path = match text(path) {
            Ok(path) => path,
            Err(errno) => return errno,
        };
        let start = match self.start {
            Some(start) => start,
            None => match anywhere(&arguments, &variables) {
                Ok(start) => start,
                Err(errno) => return errno,
            },
        };
        // SAFETY: room for all of them and the null that ends them.
        unsafe { fill(start.arguments, &arguments) };
        // SAFETY: as above.
        unsafe { fill(start.variables, &variables) };
        // SAFETY: both lists end with null; `Strings` gives each string with its NUL.
        unsafe { raw::exec(path, start.arguments, start.variables) }
    }
}

/// Room for both lists and the null that ends each.
fn anywhere(arguments: &Strings<'_>, variables: &Strings<'_>) -> Result<Start> {
    let list = room(arguments.count() + variables.count() + 2)?.cast::<*const u8>();
    Ok(Start {
        arguments: list,
        // SAFETY: within the mapping: the variables follow the arguments' null.
        variables: unsafe { list.add(arguments.count() + 1) },
    })
}

/// Writes the strings' addresses; the null behind them is there, since the
/// mapping was zeroed.
///
/// # Safety
/// There is room for one more than there are strings.
unsafe fn fill(list: *mut *const u8, strings: &Strings<'_>) {
    for (at, string) in strings.iter().enumerate() {
        // SAFETY: the caller vouches for the room.
        let place = unsafe { list.add(at) };
        // SAFETY: aligned and writable, as the mapping is.
        unsafe { place.write(string.as_ptr()) };
    }
}

/// Zeroed memory for so many pointers.
fn room(count: usize) -> Result<*mut c_void> {
    let length = count.checked_mul(size_of::<*const u8>());
    // SAFETY: a new anonymous mapping, at an address that the kernel chooses.
    unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            length.ok_or(Errno::NOMEM)?,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    }
}
