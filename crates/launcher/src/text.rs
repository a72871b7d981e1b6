//! Strings for the kernel, without an allocator.

use core::ffi::CStr;
use core::slice;

use rustix::io::{Errno, Result};

/// `PATH_MAX` in limits.h, the NUL included.
const LONGEST: usize = 4096;

/// A string of the plan as the kernel wants it.
///
/// Only for what the wire's reader gave out: behind each such string lies the
/// NUL that its length does not count. One with a NUL inside is refused.
pub(crate) fn text(bytes: &[u8]) -> Result<&CStr> {
    // SAFETY: `wire::Field for &[u8]` gives a string out only after it found a
    // NUL right behind it, in the same mapping.
    let with_nul = unsafe { slice::from_raw_parts(bytes.as_ptr(), bytes.len() + 1) };
    CStr::from_bytes_with_nul(with_nul).map_err(|_| Errno::INVAL)
}

/// A path that is put together: at most `PATH_MAX` bytes.
pub(crate) struct Text<const N: usize = LONGEST> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
        }
    }

    /// Adds bytes; the last byte of the room stays NUL.
    pub(crate) fn add(mut self, bytes: &[u8]) -> Result<Self> {
        let end = self.length + bytes.len();
        if end >= N {
            return Err(Errno::NAMETOOLONG);
        }
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(bytes);
        }
        self.length = end;
        Ok(self)
    }

    /// Adds a number in decimal.
    pub(crate) fn number(self, mut number: u64) -> Result<Self> {
        let mut digits = [0_u8; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            if let Some(digit) = digits.get_mut(first) {
                *digit = b'0' + (number % 10) as u8;
            }
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.add(digits.get(first..).unwrap_or(&[]))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    /// As the kernel wants it; refused with a NUL inside.
    pub(crate) fn c(&self) -> Result<&CStr> {
        let with_nul = self.bytes.get(..=self.length).ok_or(Errno::NAMETOOLONG)?;
        CStr::from_bytes_with_nul(with_nul).map_err(|_| Errno::INVAL)
    }
}

/// Splits a path into the folder and the name in it; the folder may be empty.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (
            path.get(..at).unwrap_or(&[]),
            path.get(at + 1..).unwrap_or(&[]),
        ),
        None => (&[], path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 7, 10, 65_534, u64::MAX] {
            let text = Text::<24>::new().number(number).unwrap();
            assert_eq!(text.bytes(), number.to_string().as_bytes());
        }
    }

    #[test]
    fn text_that_does_not_fit_is_refused_not_cut() {
        assert!(Text::<4>::new().add(b"abc").is_ok());
        assert_eq!(
            Text::<4>::new().add(b"abcd").err(),
            Some(Errno::NAMETOOLONG)
        );
    }

    #[test]
    fn a_string_with_a_nul_inside_reaches_no_system_call() {
        assert_eq!(text(&b"a\0b\0"[..3]).err(), Some(Errno::INVAL));
        assert_eq!(text(&b"ab\0"[..2]), Ok(c"ab"));
        assert!(Text::<8>::new().add(b"a\0b").unwrap().c().is_err());
    }

    #[test]
    fn a_path_splits_at_its_last_slash() {
        assert_eq!(split(b"usr/lib/x"), (&b"usr/lib"[..], &b"x"[..]));
        assert_eq!(split(b"usr"), (&b""[..], &b"usr"[..]));
    }
}
