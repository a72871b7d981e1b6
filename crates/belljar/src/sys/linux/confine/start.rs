//! The one start of a program that a strict filter lets through: its lists of arguments and
//! variables lie at addresses that nobody can guess and that are gone after it; execveat(2).

use std::{
    ffi::{CString, c_char},
    io,
    os::{
        fd::{BorrowedFd, RawFd},
        raw::c_void,
    },
    ptr,
};

use belljar_plan::Bytes;
use rustix::{
    io::FdFlags,
    mm::{MapFlags, ProtFlags, mmap_anonymous},
};

use crate::confine::ConfineError;

const PAGE: usize = 4096;
/// Bytes of an instruction of a filter, and where its number is.
const INSTRUCTION: usize = 8;
const K: usize = 4;
/// How often an address that is taken already is drawn anew.
const TRIES: usize = 16;
/// Above all that a program has mapped low, and below the end of any process's memory.
const LOWEST: u128 = 1 << 32;
const HIGHEST: u128 = 1 << 46;

/// A program that can be started, with its lists in place.
pub(crate) struct Start {
    path: CString,
    /// What the lists point to.
    _texts: Vec<CString>,
    arguments: *mut *const c_char,
    variables: *mut *const c_char,
}

impl Start {
    /// Puts the lists somewhere. They are never given back: the process ends, or is another
    /// program.
    pub(crate) fn new(
        path: &Bytes,
        arguments: &[Bytes],
        variables: &[Bytes],
    ) -> Result<Self, ConfineError> {
        let failed = |source| ConfineError::Prepare {
            step: "exec".to_owned(),
            source,
        };
        let text = |bytes: &Bytes| CString::new(bytes.0.clone()).map_err(io::Error::other);
        let mut texts = Vec::new();
        let mut list = |all: &[Bytes]| -> io::Result<*mut *const c_char> {
            let place = somewhere(all.len() + 1)?;
            for (index, bytes) in all.iter().enumerate() {
                let text = text(bytes)?;
                // SAFETY: room for one more than there are strings.
                let at = unsafe { place.add(index) };
                // SAFETY: aligned and writable, as the mapping is.
                unsafe { at.write(text.as_ptr()) };
                texts.push(text);
            }
            Ok(place)
        };
        let arguments = list(arguments).map_err(failed)?;
        let variables = list(variables).map_err(failed)?;
        Ok(Self {
            path: text(path).map_err(failed)?,
            _texts: texts,
            arguments,
            variables,
        })
    }

    /// Puts the halves of both addresses into the instructions that compare with them.
    pub(super) fn put_into(&self, program: &mut [u8], places: [u16; 4]) -> io::Result<()> {
        let halves = |list: *mut *const c_char| {
            let address = list as u64;
            [address as u32, (address >> 32) as u32]
        };
        let halves = [halves(self.arguments), halves(self.variables)].concat();
        for (index, half) in places.into_iter().zip(halves) {
            let k = usize::from(index) * INSTRUCTION + K;
            program
                .get_mut(k..k + size_of::<u32>())
                .ok_or(io::ErrorKind::InvalidData)?
                .copy_from_slice(&half.to_ne_bytes());
        }
        Ok(())
    }

    /// Becomes the program, which gets the kept descriptors; returns only why it could not.
    pub(crate) fn go(self, kept: &[RawFd]) -> io::Error {
        for number in kept {
            // SAFETY: whoever had it kept lent it to what is confined, which has one thread
            // that does nothing else here.
            let fd = unsafe { BorrowedFd::borrow_raw(*number) };
            if let Err(errno) = rustix::io::fcntl_setfd(fd, FdFlags::empty()) {
                return errno.into();
            }
        }
        for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
            // Rust ignores the one, and the program of this crate the other.
            // SAFETY: no handler is handed over.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        // SAFETY: the path ends with NUL, both lists with null, and all live as long.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                libc::AT_FDCWD,
                self.path.as_ptr(),
                self.arguments,
                self.variables,
                0,
            )
        };
        io::Error::last_os_error()
    }
}

/// Zeroed room for so many pointers, somewhere.
fn somewhere(count: usize) -> io::Result<*mut *const c_char> {
    let length = count * size_of::<*const c_char>() + PAGE;
    for _ in 0..TRIES {
        let random = u128::from_le_bytes(crate::sys::random()?);
        let address = LOWEST + (random % ((HIGHEST - LOWEST) / PAGE as u128)) * PAGE as u128;
        let address = usize::try_from(address).map_err(io::Error::other)?;
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
                let slots = (PAGE / size_of::<*const c_char>()) as u128;
                let offset = ((random >> 96) % slots) as usize * size_of::<*const c_char>();
                // SAFETY: less than the page by which the mapping is longer.
                return Ok(unsafe { place.byte_add(offset) }.cast());
            }
            Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOMEM) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(io::ErrorKind::OutOfMemory.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Start {
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| Bytes::from(*word))
                .collect::<Vec<_>>()
        };
        Start::new(
            &"/bin/true".into(),
            &words(&["true", "x"]),
            &words(&["A=b"]),
        )
        .unwrap()
    }

    #[test]
    fn both_addresses_go_where_they_are_compared_and_nowhere_else() {
        let start = start();
        let mut program = [0_u8; 5 * INSTRUCTION];
        start.put_into(&mut program, [0, 1, 2, 3]).unwrap();
        let number = |at: usize| {
            let k = at * INSTRUCTION + K;
            u64::from(u32::from_le_bytes(program[k..k + 4].try_into().unwrap()))
        };
        assert_eq!(number(0) | number(1) << 32, start.arguments as u64);
        assert_eq!(number(2) | number(3) << 32, start.variables as u64);
        assert_eq!(number(4), 0);
        assert!(start.put_into(&mut program, [0, 1, 2, 5]).is_err());
    }

    #[test]
    fn no_two_starts_have_the_same_addresses() {
        let (one, two) = (start(), start());
        assert_ne!(one.arguments, two.arguments);
        assert_ne!(one.variables, two.variables);
        assert!(one.arguments as u128 >= LOWEST);
    }
}
