//! Descriptors passed from task to task: `SCM_RIGHTS`; unix(7).

use std::{
    fs, io,
    os::fd::{FromRawFd, OwnedFd, RawFd},
};

use crate::kernel::call_with;

/// `struct cmsghdr` with one descriptor, as long as the kernel wants it.
#[repr(C)]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    descriptor: i32,
    _padding: i32,
}

/// Sends or receives one byte and the control message beside it.
fn message(number: libc::c_long, socket: RawFd, control: &mut Control) -> io::Result<()> {
    let mut byte = [b'!'];
    let mut vector = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: all zeros is an empty struct msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut *control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    call_with(number, &[socket.into(), (&raw mut message) as i64, 0]).map(drop)
}

/// Sends a descriptor.
pub(crate) fn send(socket: RawFd, descriptor: RawFd) -> io::Result<()> {
    let mut control = Control {
        length: 20,
        level: libc::SOL_SOCKET,
        kind: libc::SCM_RIGHTS,
        descriptor,
        _padding: 0,
    };
    message(libc::SYS_sendmsg, socket, &mut control)
}

/// Receives one.
pub(crate) fn receive(socket: RawFd) -> io::Result<OwnedFd> {
    let mut control = Control {
        length: 0,
        level: 0,
        kind: 0,
        descriptor: -1,
        _padding: 0,
    };
    message(libc::SYS_recvmsg, socket, &mut control)?;
    if control.descriptor < 0 {
        return Err(io::Error::other("no descriptor came"));
    }
    // SAFETY: the kernel made it for this task, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(control.descriptor) })
}

/// Reads a file below a directory that was received.
pub(crate) fn read_below(directory: &OwnedFd, name: &str) -> io::Result<String> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    fs::read(&path).map(|bytes| format!("read {} bytes of {name}", bytes.len()))
}
