//! aarch64: its 32-bit ABI takes a program of its own, and it has no ports.

use std::io;

/// A function that returns 42: `mov w0, #42; ret`.
pub(crate) const CODE: &[u8] = &[0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6];

/// mknod(2), which newer architectures have only as mknodat.
pub(crate) const MKNOD: Option<libc::c_long> = None;

/// iopl(2) and ioperm(2).
pub(crate) const PORTS: &[(&str, libc::c_long, [i64; 3])] = &[];

/// `AUDIT_ARCH_AARCH64`, as a filter sees it.
pub(crate) const AUDIT: u32 = 0xc000_00b7;

/// Numbers of the 32-bit ABI: getpid, socketcall, unshare.
pub(crate) const CALLS_OF_32: Option<[u32; 3]> = None;

/// Makes a call of the 32-bit ABI.
pub(crate) fn call_of_32(_: u32, _: u32, _: u32) -> io::Result<i32> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// The number of getpid in the x32 ABI.
pub(crate) const X32_GETPID: Option<libc::c_long> = None;

/// There is no vfork(2): clone(2) with its flags, and a stack of its own.
pub(crate) fn vfork() -> io::Result<i32> {
    extern "C" fn end(_: *mut libc::c_void) -> libc::c_int {
        0
    }
    let mut stack = [0_u8; 65536];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: this task waits until the child has ended, and so outlives its use of the stack.
    let pid = unsafe {
        libc::clone(
            end,
            stack.as_mut_ptr_range().end.cast(),
            flags,
            std::ptr::null_mut(),
        )
    };
    if pid < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(pid)
    }
}
