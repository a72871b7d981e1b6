//! What differs between processors: how a system call is made.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{AUDIT_ARCH, HIGHEST, syscall};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{AUDIT_ARCH, HIGHEST, syscall};
