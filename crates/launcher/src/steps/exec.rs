//! The last step: the guest's process becomes the program; execve(2).

use core::ffi::c_void;
use core::ptr;

use belljar_plan::wire::Strings;
use rustix::io::{Errno, Result};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use crate::raw;
use crate::text::text;

/// Starts the program; returns only why it could not.
pub(crate) fn exec(path: &[u8], arguments: Strings<'_>, variables: Strings<'_>) -> Errno {
    let path = match text(path) {
        Ok(path) => path,
        Err(errno) => return errno,
    };
    // Both lists and the null that ends each.
    let count = arguments.count() + variables.count() + 2;
    let list = match room(count) {
        Ok(place) => place.cast::<*const u8>(),
        Err(errno) => return errno,
    };
    let mut at = 0;
    for strings in [&arguments, &variables] {
        for string in strings.iter() {
            // SAFETY: below `count`: the strings are two fewer than there is room for.
            let place = unsafe { list.add(at) };
            // SAFETY: aligned and writable, as the mapping is.
            unsafe { place.write(string.as_ptr()) };
            at += 1;
        }
        // The mapping was zeroed, so the null is there.
        at += 1;
    }
    // SAFETY: within the mapping: the variables follow the arguments' null.
    let environment = unsafe { list.add(arguments.count() + 1) };
    // SAFETY: both lists end with null; `Strings` gives each string with its NUL.
    unsafe { raw::execve(path, list, environment) }
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
