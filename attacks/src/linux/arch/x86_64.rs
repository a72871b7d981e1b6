//! x86_64: it has two further ABIs, and ports.

use std::{arch::asm, io};

/// A function that returns 42: `mov eax, 42; ret`.
pub(crate) const CODE: &[u8] = &[0xb8, 42, 0, 0, 0, 0xc3];

/// mknod(2), which newer architectures have only as mknodat.
pub(crate) const MKNOD: Option<libc::c_long> = Some(libc::SYS_mknod);

/// iopl(2) and ioperm(2).
pub(crate) const PORTS: &[(&str, libc::c_long, [i64; 3])] = &[
    ("iopl, too high", libc::SYS_iopl, [4, 0, 0]),
    ("iopl", libc::SYS_iopl, [3, 0, 0]),
    ("ioperm, too far", libc::SYS_ioperm, [0x1_0000, 1, 1]),
    ("ioperm", libc::SYS_ioperm, [0x80, 1, 1]),
];

/// `AUDIT_ARCH_X86_64`, as a filter sees it.
pub(crate) const AUDIT: u32 = 0xc000_003e;

/// Numbers of the 32-bit ABI: getpid, socketcall, unshare.
pub(crate) const CALLS_OF_32: Option<[u32; 3]> = Some([20, 102, 310]);

/// Makes a call of the 32-bit ABI by `int 0x80`.
pub(crate) fn call_of_32(number: u32, a: u32, b: u32) -> io::Result<i32> {
    let answer: i32;
    // SAFETY: the calls of this program change no memory of its own, and the
    // kernel keeps every register but eax; rbx, which the compiler keeps for
    // itself, is put back.
    unsafe {
        asm!(
            "xchg rbx, {a:r}",
            "int 0x80",
            "xchg rbx, {a:r}",
            a = inout(reg) u64::from(a) => _,
            inlateout("eax") number => answer,
            in("ecx") b,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    if answer < 0 {
        Err(io::Error::from_raw_os_error(-answer))
    } else {
        Ok(answer)
    }
}

/// The number of getpid in the x32 ABI.
pub(crate) const X32_GETPID: Option<libc::c_long> = Some(0x4000_0000 | libc::SYS_getpid);

/// vfork(2), with a child that only ends: the number of the child.
pub(crate) fn vfork() -> io::Result<i32> {
    let answer: i64;
    // SAFETY: parent and child share a stack, and the child leaves it alone: it
    // ends within this block.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov edi, 0",
            "mov eax, {exit}",
            "syscall",
            "2:",
            exit = const libc::SYS_exit_group,
            inlateout("rax") libc::SYS_vfork => answer,
            out("rdi") _, lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    if answer < 0 {
        Err(io::Error::from_raw_os_error(-(answer as i32)))
    } else {
        Ok(answer as i32)
    }
}
