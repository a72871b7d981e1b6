//! System calls on aarch64; syscall(2).

use core::arch::asm;

/// `AUDIT_ARCH_AARCH64`, as a seccomp filter sees it.
pub(crate) const AUDIT_ARCH: u32 = 0xc000_00b7;

/// Below it every kernel of this architecture has room for a program's memory,
/// bytes.
pub(crate) const HIGHEST: u128 = 1 << 38;

/// Makes a system call and returns what the kernel put into `x0`.
///
/// # Safety
/// The arguments must be what the call's manual demands.
#[inline]
pub(crate) unsafe fn syscall(number: u32, a: [usize; 6]) -> isize {
    let result;
    // SAFETY: the convention of the kernel's ABI; the kernel changes no other
    // register, and memory counts as changed. The caller vouches for the arguments.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number as usize,
            inlateout("x0") a[0] => result,
            in("x1") a[1], in("x2") a[2],
            in("x3") a[3], in("x4") a[4], in("x5") a[5],
            options(nostack),
        );
    }
    result
}
