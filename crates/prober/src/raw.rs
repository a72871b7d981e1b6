//! System calls that rustix has not, and those that take memory; the only file
//! here with unsafe code but for what reads the first stack.

use core::arch::asm;
use core::ffi::{CStr, c_void};
use core::ptr;

use linux_raw_sys::general as sys;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::{Errno, Result};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect};

/// Signal number; signal(7).
const SIGXFSZ: usize = 25;
/// `SIG_IGN`
const IGNORE: usize = 1;
/// `sizeof(sigset_t)` as the kernel has it.
const SIGSET: usize = 8;

/// `<sys/ipc.h>`, `<sys/shm.h>`
const IPC_PRIVATE: usize = 0;
const IPC_CREAT: usize = 0o1000;
const IPC_RMID: usize = 0;
const SHM_RDONLY: usize = 0o10000;

const PAGE: usize = 4096;

pub(crate) const WRITABLE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);
pub(crate) const WRITABLE_CODE: ProtFlags = WRITABLE.union(ProtFlags::EXEC);

/// Makes a system call and returns what the kernel answered; syscall(2).
///
/// # Safety
/// The arguments must be what the call's manual demands.
#[cfg(target_arch = "x86_64")]
unsafe fn syscall(number: u32, a: [usize; 6]) -> isize {
    let result;
    // SAFETY: the convention of the kernel's ABI; memory counts as changed. The
    // caller vouches for the arguments.
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

/// Makes a system call and returns what the kernel answered; syscall(2).
///
/// # Safety
/// The arguments must be what the call's manual demands.
#[cfg(target_arch = "aarch64")]
unsafe fn syscall(number: u32, a: [usize; 6]) -> isize {
    let result;
    // SAFETY: the convention of the kernel's ABI; memory counts as changed. The
    // caller vouches for the arguments.
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

fn check(result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| {
        // The kernel returns -4095..-1 for errors; errno(3).
        Errno::from_raw_os_error(i32::try_from(-result).unwrap_or(i32::MAX))
    })
}

/// A call of which every argument is a number.
fn numbers(number: u32, arguments: [usize; 6]) -> Result<usize> {
    // SAFETY: callers in this file pass numbers only to calls that take no pointer.
    check(unsafe { syscall(number, arguments) })
}

/// The call that was asked for. Whoever asks passes no address of anything: a
/// pointer among the arguments is null, or nothing's.
pub(crate) fn call(number: u64, arguments: [u64; 6]) -> Result<()> {
    let number = u32::try_from(number).map_err(|_| Errno::INVAL)?;
    // SAFETY: the kernel checks each pointer, and null is not mapped; this is a
    // child that ends right after it.
    check(unsafe { syscall(number, arguments.map(|argument| argument as usize)) }).map(drop)
}

/// exit_group(2)
pub(crate) fn exit(code: i32) -> ! {
    loop {
        let _ = numbers(sys::__NR_exit_group, [code as usize, 0, 0, 0, 0, 0]);
    }
}

/// Forks; the child's pid, or 0 in the child; clone(2).
pub(crate) fn fork() -> Result<i32> {
    // No CLONE_VM: the child goes on with a copy of the stack.
    numbers(sys::__NR_clone, [sys::SIGCHLD as usize, 0, 0, 0, 0, 0]).map(|pid| pid as i32)
}

/// One of the three streams.
pub(crate) fn stream(number: i32) -> BorrowedFd<'static> {
    // SAFETY: whoever starts the prober gives it all three, and nothing here closes them.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// How a child ended.
pub(crate) enum Ended {
    By(i32),
    Signal(u16),
    Unknown(Errno),
}

/// Waits for a child; wait4(2).
pub(crate) fn wait(child: i32) -> Ended {
    let mut status = 0_i32;
    let at = (&raw mut status) as usize;
    loop {
        // SAFETY: the status lives through the call, and nothing else is written.
        match check(unsafe { syscall(sys::__NR_wait4, [child as usize, at, 0, 0, 0, 0]) }) {
            Ok(_) if status & 0x7f == 0 => return Ended::By((status >> 8) & 0xff),
            Ok(_) => return Ended::Signal((status & 0x7f) as u16),
            Err(Errno::INTR) => {}
            Err(errno) => return Ended::Unknown(errno),
        }
    }
}

/// Ends a child of the prober's; kill(2).
pub(crate) fn kill(child: i32) {
    let _ = numbers(
        sys::__NR_kill,
        [child as usize, sys::SIGKILL as usize, 0, 0, 0, 0],
    );
}

/// Becomes another program, with its path for its name and no variables;
/// returns only why it could not; execveat(2).
pub(crate) fn exec(path: &CStr) -> Errno {
    let arguments = [path.as_ptr(), ptr::null()];
    let variables = [ptr::null::<i8>()];
    let all = [
        sys::AT_FDCWD as isize as usize,
        path.as_ptr() as usize,
        arguments.as_ptr() as usize,
        variables.as_ptr() as usize,
        0,
        0,
    ];
    // SAFETY: `path` ends with a NUL, and both lists with null.
    match check(unsafe { syscall(sys::__NR_execveat, all) }) {
        Ok(_) => Errno::NOEXEC,
        Err(errno) => errno,
    }
}

/// To be told of a file that grew too long by an error; rt_sigaction(2).
pub(crate) fn ignore_file_size_signal() {
    // `struct sigaction` as the kernel has it on both architectures: what to do,
    // flags, a restorer (on aarch64 not there, and not looked at), the mask.
    let action = [IGNORE, 0, 0, 0];
    let all = [SIGXFSZ, action.as_ptr() as usize, 0, SIGSET, 0, 0];
    // SAFETY: the struct is as long as the longer of the two forms, zeroes behind the first word.
    let _ = unsafe { syscall(sys::__NR_rt_sigaction, all) };
}

/// Whether a number is a descriptor; fcntl(2).
pub(crate) fn is_open(number: i32) -> bool {
    const F_GETFD: usize = 1;
    numbers(sys::__NR_fcntl, [number as usize, F_GETFD, 0, 0, 0, 0]).is_ok()
}

/// Whether a descriptor is a terminal; isatty(3).
pub(crate) fn is_terminal(number: i32) -> bool {
    // SAFETY: only for the call; a number that is no descriptor answers that it is none.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::termios::isatty(descriptor)
}

/// A private segment of one page; shmget(2).
pub(crate) fn make_segment() -> Result<i32> {
    let flags = IPC_CREAT | 0o666;
    numbers(sys::__NR_shmget, [IPC_PRIVATE, PAGE, flags, 0, 0, 0]).map(|id| id as i32)
}

/// Attaches a segment for reading, for good; shmat(2).
pub(crate) fn attach_segment(id: i32) -> Result<()> {
    // The null is the address: the kernel chooses one where nothing is.
    numbers(sys::__NR_shmat, [id as usize, 0, SHM_RDONLY, 0, 0, 0]).map(drop)
}

/// Removes a segment; shmctl(2).
pub(crate) fn remove_segment(id: i32) -> Result<()> {
    // This command looks at no struct.
    numbers(sys::__NR_shmctl, [id as usize, IPC_RMID, 0, 0, 0, 0]).map(drop)
}

/// A page of memory of its own, for good.
pub(crate) struct Memory(*mut c_void);

/// Maps a page; mmap(2).
pub(crate) fn map(protection: ProtFlags) -> Result<Memory> {
    // SAFETY: a new anonymous mapping, at an address that the kernel chooses.
    unsafe { mmap_anonymous(ptr::null_mut(), PAGE, protection, MapFlags::PRIVATE) }.map(Memory)
}

/// Maps memory and writes to each of its pages.
pub(crate) fn map_touched(bytes: u64) -> Result<()> {
    let length = bytes as usize;
    // SAFETY: as above.
    let memory = unsafe { mmap_anonymous(ptr::null_mut(), length, WRITABLE, MapFlags::PRIVATE) }?;
    for at in (0..length).step_by(PAGE) {
        // SAFETY: within the mapping.
        let place = unsafe { memory.cast::<u8>().add(at) };
        // SAFETY: mapped writable, and nobody else's.
        unsafe { place.write_volatile(1) };
    }
    Ok(())
}

/// Maps a file's page as code; mmap(2).
pub(crate) fn map_file_code(file: impl AsFd) -> Result<()> {
    let protection = ProtFlags::READ.union(ProtFlags::EXEC);
    // SAFETY: a new mapping, at an address that the kernel chooses; nothing jumps there.
    unsafe {
        mmap(
            ptr::null_mut(),
            PAGE,
            protection,
            MapFlags::PRIVATE,
            file,
            0,
        )
    }
    .map(drop)
}

impl Memory {
    /// Writes something there.
    pub(crate) fn write(&self) -> Result<u64> {
        // SAFETY: a page that was mapped writable, and is nobody else's.
        unsafe { self.0.cast::<u8>().write_volatile(0xc3) };
        Ok(0)
    }

    /// Makes it executable; mprotect(2).
    pub(crate) fn make_code(&self) -> Result<u64> {
        let protection = MprotectFlags::READ.union(MprotectFlags::EXEC);
        // SAFETY: the whole page, to which nothing refers.
        unsafe { mprotect(self.0, PAGE, protection) }.map(|()| 0)
    }
}
