//! Attacks by other ways into the kernel than a program's own: a filter that
//! knows one table of calls sees other numbers there.

use std::io;

use crate::{
    Verdict, arch,
    kernel::{Try, call_with, in_child},
};

/// `make_32_bit_calls`: by the 32-bit ABI, its own number, a socket, and
/// namespaces.
pub(crate) fn make_32_bit_calls(_: &[String]) -> Verdict {
    let Some([getpid, socketcall, unshare]) = arch::CALLS_OF_32 else {
        return Verdict::Stopped("this processor has none".into());
    };
    let child = |what: &str, work: &dyn Fn() -> io::Result<i32>| -> Try {
        let answer = in_child(|| work().map(drop));
        (what.to_owned(), answer.map(|()| "done".into()))
    };
    Verdict::of_calls([
        child("getpid", &|| arch::call_of_32(getpid, 0, 0)),
        child("a socket of AF_VSOCK", &|| {
            const SOCKET: u32 = 1;
            let access = i64::from(libc::PROT_READ | libc::PROT_WRITE);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // Where an address of 32 bits reaches.
            let low = call_with(
                libc::SYS_mmap,
                &[0x1000_0000, 4096, access, flags.into(), -1, 0],
            )?;
            let at = u32::try_from(low).map_err(io::Error::other)?;
            let words = [libc::AF_VSOCK, libc::SOCK_STREAM, 0];
            // SAFETY: the page was mapped two lines above, for this alone.
            unsafe { (low as *mut [i32; 3]).write(words) };
            arch::call_of_32(socketcall, SOCKET, at)
        }),
        child("a user namespace", &|| {
            arch::call_of_32(unshare, libc::CLONE_NEWUSER as u32, 0)
        }),
    ])
}

/// `make_x32_calls`: its own number by the x32 ABI.
pub(crate) fn make_x32_calls(_: &[String]) -> Verdict {
    match arch::X32_GETPID {
        Some(getpid) => {
            let answer = in_child(|| call_with(getpid, &[]).map(drop));
            Verdict::of_calls([("getpid".to_owned(), answer.map(|()| "done".into()))])
        }
        None => Verdict::Stopped("this processor has none".into()),
    }
}

/// `use_ports`: the machine's devices by their ports.
pub(crate) fn use_ports(_: &[String]) -> Verdict {
    Verdict::of_calls(arch::PORTS.iter().map(|(what, number, args)| {
        let answer = in_child(|| call_with(*number, args).map(drop));
        ((*what).to_owned(), answer.map(|()| "had".into()))
    }))
}
