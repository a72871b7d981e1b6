//! A sealed file of the parent's, read in place.

use core::ffi::c_void;
use core::slice;

use crate::calls::{fstat, mmap, munmap};
use rustix::fd::BorrowedFd;
use rustix::io::{Errno, Result};
use rustix::mm::{MapFlags, ProtFlags};

/// The bytes of a memfd.
pub(crate) struct Mapped {
    place: *mut c_void,
    length: usize,
}

impl Mapped {
    /// Maps the first `length` bytes; the file must have as many.
    pub(crate) fn new(file: BorrowedFd<'_>, length: u64) -> Result<Self> {
        let there = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
        if length == 0 || length > there {
            return Err(Errno::BADMSG);
        }
        let length = usize::try_from(length).map_err(|_| Errno::FBIG)?;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let place = unsafe {
            mmap(
                core::ptr::null_mut(),
                length,
                ProtFlags::READ,
                MapFlags::PRIVATE | MapFlags::POPULATE,
                file,
                0,
            )
        }?;
        Ok(Self { place, length })
    }

    /// Whether two files have the same bytes.
    pub(crate) fn equal(one: BorrowedFd<'_>, other: BorrowedFd<'_>, length: u64) -> Result<bool> {
        Ok(Self::new(one, length)?.bytes() == Self::new(other, length)?.bytes())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped readable with this length while `self` lives; the
        // parent has sealed the file, so it neither changes nor shrinks.
        unsafe { slice::from_raw_parts(self.place.cast(), self.length) }
    }

    /// Takes the bytes out of this process before `self` goes.
    ///
    /// # Safety
    /// Nobody reads [`Mapped::bytes`] again.
    pub(crate) unsafe fn unmap_now(&self) {
        // SAFETY: the caller vouches that nothing refers to the mapping. Done
        // again on drop, it is harmless: nothing is mapped in between.
        let _ = unsafe { munmap(self.place, self.length) };
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: `bytes` borrows from `self`, so nothing refers to it now.
        unsafe { self.unmap_now() };
    }
}
