//! Paths for the kernel, without an allocator.

use core::ffi::CStr;

use rustix::io::Errno;

/// `PATH_MAX` in limits.h, the NUL included.
const LONGEST: usize = 4096;

/// A path with room of its own.
pub(crate) struct Text([u8; LONGEST]);

impl Text {
    /// All of the parts, one behind the other.
    pub(crate) fn of(parts: &[&[u8]]) -> Result<Self, Errno> {
        let mut room = [0; LONGEST];
        let mut length = 0;
        for part in parts {
            let end = length + part.len();
            if end >= LONGEST {
                return Err(Errno::NAMETOOLONG);
            }
            room.get_mut(length..end)
                .ok_or(Errno::NAMETOOLONG)?
                .copy_from_slice(part);
            length = end;
        }
        Ok(Self(room))
    }

    pub(crate) fn c(&self) -> Result<&CStr, Errno> {
        CStr::from_bytes_until_nul(&self.0).map_err(|_| Errno::INVAL)
    }
}

/// The digits of a name that has nothing else.
pub(crate) fn number(name: &[u8]) -> Option<i32> {
    core::str::from_utf8(name).ok()?.parse().ok()
}
