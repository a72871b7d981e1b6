//! System calls on x86_64; syscall(2).

use core::arch::asm;

/// `AUDIT_ARCH_X86_64`, as a seccomp filter sees it.
pub(crate) const AUDIT_ARCH: u32 = 0xc000_003e;

/// Below it every kernel of this architecture has room for a program's memory,
/// bytes.
pub(crate) const HIGHEST: u128 = 1 << 46;

/// Makes a system call and returns what the kernel put into `rax`.
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
            "syscall",
            inlateout("rax") number as usize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}
