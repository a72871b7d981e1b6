//! `io_uring`: a way to have the kernel do what a filter of calls never sees;
//! `io_uring_setup(2)`.

use std::io;

use crate::{
    Verdict,
    kernel::{Arg, NOWHERE, Try, call, call_with, probe},
};

/// `set_up_io_uring`: opens a socket that no filter lets through, by a ring.
pub(crate) fn set_up_io_uring(_: &[String]) -> Verdict {
    let tries: [Try; 4] = [
        // No entries, no descriptor: the kernel says so before it does anything.
        probe(
            "io_uring_setup of nothing",
            libc::SYS_io_uring_setup,
            &[0, NOWHERE],
        ),
        probe(
            "io_uring_enter nowhere",
            libc::SYS_io_uring_enter,
            &[-1, 0, 0, 0, 0, 0],
        ),
        probe(
            "io_uring_register nowhere",
            libc::SYS_io_uring_register,
            &[-1, 0, 0, 0],
        ),
        (
            "a socket by a ring".into(),
            Ring::new().and_then(|ring| {
                let answer = ring.open_socket(
                    libc::AF_NETLINK,
                    libc::SOCK_RAW,
                    libc::NETLINK_KOBJECT_UEVENT,
                )?;
                match answer {
                    0.. => Ok("opened".into()),
                    errno => Err(io::Error::from_raw_os_error(-errno)),
                }
            }),
        ),
    ];
    Verdict::of_calls(tries)
}

const ENTRIES: usize = 4;

/// A ring with both of its queues mapped.
struct Ring {
    descriptor: i64,
    queues: i64,
    entries: i64,
    /// `struct io_uring_params`, as words.
    parameters: [u32; 30],
}

/// Words of the parameters: offsets into the mapping.
const SUBMIT_TAIL: usize = 11;
const SUBMIT_ARRAY: usize = 16;
const DONE_ENTRIES: usize = 25;

impl Ring {
    fn new() -> io::Result<Self> {
        let mut bytes = [0_u8; 120];
        let descriptor = call(
            libc::SYS_io_uring_setup,
            &mut [Arg::Number(ENTRIES as i64), Arg::Out(&mut bytes)],
        )?;
        let mut parameters = [0; 30];
        for (word, bytes) in parameters.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        // IORING_OFF_SQ_RING, which holds both queues, and IORING_OFF_SQES.
        let map = |offset: i64| {
            let access = i64::from(libc::PROT_READ | libc::PROT_WRITE);
            let flags = i64::from(libc::MAP_SHARED | libc::MAP_POPULATE);
            call_with(
                libc::SYS_mmap,
                &[0, 4096, access, flags, descriptor, offset],
            )
        };
        Ok(Self {
            descriptor,
            queues: map(0)?,
            entries: map(0x1000_0000)?,
            parameters,
        })
    }

    /// Where a word of the queues is.
    fn word(&self, parameter: usize) -> *mut u32 {
        (self.queues + i64::from(self.parameters[parameter])) as *mut u32
    }

    /// `IORING_OP_SOCKET`: a descriptor, or the number of an error, negative.
    fn open_socket(&self, family: i32, kind: i32, protocol: i32) -> io::Result<i32> {
        const OPERATION: u8 = 45;
        // struct io_uring_sqe: opcode, fd, off, len.
        let mut entry = [0_u8; 64];
        entry[0] = OPERATION;
        entry[4..8].copy_from_slice(&family.to_ne_bytes());
        entry[8..16].copy_from_slice(&i64::from(kind).to_ne_bytes());
        entry[24..28].copy_from_slice(&protocol.to_ne_bytes());
        // SAFETY: the page of entries is mapped for as long as this process lives.
        unsafe { std::ptr::copy_nonoverlapping(entry.as_ptr(), self.entries as *mut u8, 64) };
        // SAFETY: within the page of the queues; the kernel does not read it yet.
        unsafe { self.word(SUBMIT_ARRAY).write_volatile(0) };
        // SAFETY: as above.
        unsafe { self.word(SUBMIT_TAIL).write_volatile(1) };
        const GET_EVENTS: i64 = 1;
        call_with(
            libc::SYS_io_uring_enter,
            &[self.descriptor, 1, 1, GET_EVENTS, 0, 0],
        )?;
        // struct io_uring_cqe: user_data, res.
        let done = self.word(DONE_ENTRIES).wrapping_add(2);
        // SAFETY: within the page of the queues, and the call above waited for the answer.
        Ok(unsafe { done.read_volatile() }.cast_signed())
    }
}
