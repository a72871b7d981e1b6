//! Bombs of what the kernel keeps for whoever asks: descriptors and what hangs on
//! them, timers, signals, keys, names, objects of System V and POSIX.

use std::{
    cell::{Cell, RefCell},
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, net::UnixStream},
    },
    path::Path,
};

use super::{Bytes, keep, kept, memory};
use crate::{
    kernel::{Arg, call, call_with},
    rights,
};

const RDWR: i64 = libc::O_RDWR as i64;
const CREATE: i64 = (libc::O_CREAT | libc::O_EXCL) as i64;

pub(super) fn descriptor(_: u64) -> io::Result<Bytes> {
    keep(File::open("/dev/null")?);
    Ok(0)
}

/// A descriptor that lies in a socket and takes no number of the process's own.
pub(super) fn passed_descriptors(number: u64) -> io::Result<Bytes> {
    /// As many as surely fit into one socket's buffer.
    const OF_ONE_PAIR: u64 = 64;
    thread_local!(static PAIR: Cell<Option<i32>> = const { Cell::new(None) });
    if number.is_multiple_of(OF_ONE_PAIR) {
        let (one, other) = UnixStream::pair()?;
        PAIR.set(Some(one.as_raw_fd()));
        keep(one);
        keep(other);
    }
    let file = File::open("/dev/null")?;
    let pair = PAIR.get().expect("one was made");
    rights::send(pair, file.as_raw_fd()).map(|()| 0)
}

pub(super) fn eventfd(_: u64) -> io::Result<Bytes> {
    kept(libc::SYS_eventfd2, &[0, 0])
}

pub(super) fn timerfd(_: u64) -> io::Result<Bytes> {
    kept(libc::SYS_timerfd_create, &[libc::CLOCK_MONOTONIC.into(), 0])
}

pub(super) fn epoll(_: u64) -> io::Result<Bytes> {
    kept(libc::SYS_epoll_create1, &[0])
}

/// A descriptor's place in an epoll: each epoll can have each descriptor.
pub(super) fn watched_by_epoll(number: u64) -> io::Result<Bytes> {
    const WATCHED: u64 = 16;
    thread_local! {
        static DESCRIPTORS: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
        static EPOLL: Cell<i64> = const { Cell::new(0) };
    }
    if number == 0 {
        let made: io::Result<Vec<i64>> = (0..WATCHED)
            .map(|_| call_with(libc::SYS_eventfd2, &[0, 0]))
            .collect();
        DESCRIPTORS.set(made?);
    }
    if number.is_multiple_of(WATCHED) {
        EPOLL.set(call_with(libc::SYS_epoll_create1, &[0])?);
    }
    let at = usize::try_from(number % WATCHED).expect("a small number");
    let descriptor = DESCRIPTORS.with_borrow(|list| list[at]);
    // struct epoll_event, of 12 bytes or 16; epoll_ctl(2).
    let event = [0_u8; 16];
    let words = &mut [
        Arg::Number(EPOLL.get()),
        Arg::Number(libc::EPOLL_CTL_ADD.into()),
        Arg::Number(descriptor),
        Arg::In(&event),
    ];
    call(libc::SYS_epoll_ctl, words).map(|_| 0)
}

pub(super) fn inotify(_: u64) -> io::Result<Bytes> {
    kept(libc::SYS_inotify_init1, &[0])
}

/// A watch of a file of its own.
pub(super) fn watch(number: u64) -> io::Result<Bytes> {
    thread_local!(static QUEUE: Cell<i64> = const { Cell::new(0) });
    if number == 0 {
        QUEUE.set(call_with(libc::SYS_inotify_init1, &[0])?);
    }
    let path = memory::place()?.join(number.to_string());
    File::create(&path)?;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let words = &mut [
        Arg::Number(QUEUE.get()),
        Arg::Text(&path),
        Arg::Number(libc::IN_MODIFY.into()),
    ];
    call(libc::SYS_inotify_add_watch, words).map(|_| 0)
}

/// A pseudo-terminal.
pub(super) fn terminal(_: u64) -> io::Result<Bytes> {
    let words = &mut [
        Arg::Number(libc::AT_FDCWD.into()),
        Arg::Text(c"/dev/ptmx"),
        Arg::Number(RDWR | i64::from(libc::O_NOCTTY | libc::O_NONBLOCK)),
        Arg::Number(0),
    ];
    call(libc::SYS_openat, words).map(|_| 0)
}

/// A timer that is not started; timer_create(2).
pub(super) fn timer(_: u64) -> io::Result<Bytes> {
    // sigev_value, sigev_signo, sigev_notify: SIGEV_SIGNAL is 0.
    let mut event = [0; 64];
    event[8..12].copy_from_slice(&libc::SIGALRM.to_ne_bytes());
    let mut id = [0_u8; 4];
    let words = &mut [
        Arg::Number(libc::CLOCK_MONOTONIC.into()),
        Arg::In(&event),
        Arg::Out(&mut id),
    ];
    call(libc::SYS_timer_create, words).map(|_| 0)
}

/// A signal to itself that waits; rt_sigqueueinfo(2).
pub(super) fn signal(number: u64) -> io::Result<Bytes> {
    let first = libc::SIGRTMIN();
    if number == 0 {
        let mask = (1_u64 << (first - 1)).to_ne_bytes();
        let words = &mut [
            Arg::Number(libc::SIG_BLOCK.into()),
            Arg::In(&mask),
            Arg::Number(0),
            Arg::Number(8),
        ];
        call(libc::SYS_rt_sigprocmask, words)?;
    }
    // siginfo_t: si_signo, si_errno, si_code.
    let mut told = [0_u8; 128];
    told[..4].copy_from_slice(&first.to_ne_bytes());
    told[8..12].copy_from_slice(&libc::SI_QUEUE.to_ne_bytes());
    let words = &mut [
        Arg::Number(std::process::id().into()),
        Arg::Number(first.into()),
        Arg::In(&told),
    ];
    call(libc::SYS_rt_sigqueueinfo, words).map(|_| 0)
}

/// A key that belongs to a machine's user; add_key(2).
pub(super) fn key(number: u64) -> io::Result<Bytes> {
    const PROCESS_KEYRING: i64 = -2;
    let name = CString::new(format!("bomb-{number}"))?;
    let words = &mut [
        Arg::Text(c"user"),
        Arg::Text(&name),
        Arg::In(b"x"),
        Arg::Number(1),
        Arg::Number(PROCESS_KEYRING),
    ];
    call(libc::SYS_add_key, words).map(|_| 0)
}

/// A set of semaphores; semget(2).
pub(super) fn semaphores(_: u64) -> io::Result<Bytes> {
    const COUNT: u64 = 8000;
    /// `struct sem` has a cache line of its own.
    const EACH: u64 = 64;
    let private = libc::IPC_PRIVATE.into();
    let create = i64::from(libc::IPC_CREAT | 0o600);
    call_with(libc::SYS_semget, &[private, COUNT.cast_signed(), create])?;
    Ok(COUNT * EACH)
}

/// A message queue of System V, full; msgsnd(2).
pub(super) fn message_queue(_: u64) -> io::Result<Bytes> {
    const LENGTH: usize = 4096;
    let private = libc::IPC_PRIVATE.into();
    let create = i64::from(libc::IPC_CREAT | 0o600);
    let id = call_with(libc::SYS_msgget, &[private, create])?;
    // struct msgbuf: its type, then its text.
    let mut message = [0_u8; 8 + LENGTH];
    message[0] = 1;
    let mut sent = 0;
    loop {
        let words = &mut [
            Arg::Number(id),
            Arg::In(&message),
            Arg::Number(LENGTH as i64),
            Arg::Number(libc::IPC_NOWAIT.into()),
        ];
        match call(libc::SYS_msgsnd, words) {
            Ok(_) => sent += LENGTH as u64,
            Err(_) => return Ok(sent),
        }
    }
}

/// A message queue of POSIX, which counts as full; mq_open(3).
pub(super) fn posix_queue(number: u64) -> io::Result<Bytes> {
    let name = CString::new(format!("bomb-{number}"))?;
    let words = &mut [
        Arg::Text(&name),
        Arg::Number(RDWR | CREATE),
        Arg::Number(0o600),
        Arg::Number(0),
    ];
    call(libc::SYS_mq_open, words).map(|_| 0)
}

/// A lock of one byte of a file, apart from all others; fcntl(2).
pub(super) fn lock(number: u64) -> io::Result<Bytes> {
    /// The kernel compares each with all others of its file, so that there are many files.
    const FILES: u64 = 200;
    /// Each is put before the last, where the kernel finds its place at once.
    const LAST: u64 = 1 << 40;
    thread_local!(static LOCKED: RefCell<Vec<File>> = const { RefCell::new(Vec::new()) });
    LOCKED.with_borrow_mut(|files| {
        if number < FILES {
            let name = format!("locked-{number}");
            files.push(File::create(memory::place()?.join(name))?);
        }
        let at = usize::try_from(number % FILES).expect("a small number");
        // SAFETY: all zeros is a struct flock.
        let mut asked: libc::flock = unsafe { std::mem::zeroed() };
        asked.l_type = libc::F_WRLCK as _;
        asked.l_start = (LAST - 2 * number).cast_signed();
        asked.l_len = 1;
        let asked = (&raw mut asked) as i64;
        let words = [files[at].as_raw_fd().into(), libc::F_SETLK.into(), asked];
        call_with(libc::SYS_fcntl, &words).map(|_| 0)
    })
}

/// A name that is not there, which the kernel may remember. Of a root in memory it does
/// not, so that a disk beside it is taken where there is one.
pub(super) fn name_that_is_not(number: u64) -> io::Result<Bytes> {
    thread_local!(static DISK: bool = Path::new("/disk").is_dir());
    let place = if DISK.with(|disk| *disk) {
        "/disk"
    } else {
        "/usr/lib"
    };
    let path = CString::new(format!("{place}/belljar-bomb-{number}"))?;
    let words = &mut [
        Arg::Number(libc::AT_FDCWD.into()),
        Arg::Text(&path),
        Arg::Number(libc::F_OK.into()),
    ];
    match call(libc::SYS_faccessat, words) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        other => other.map(|_| 0),
    }
}

/// A context of the old asynchronous input and output, with room for 128 operations; io_setup(2).
pub(super) fn context(_: u64) -> io::Result<Bytes> {
    let mut id = [0_u8; 8];
    let words = &mut [Arg::Number(128), Arg::Out(&mut id)];
    call(libc::SYS_io_setup, words).map(|_| 0)
}

pub(super) fn ring(_: u64) -> io::Result<Bytes> {
    // struct io_uring_params.
    let mut parameters = [0_u8; 120];
    let words = &mut [Arg::Number(64), Arg::Out(&mut parameters)];
    call(libc::SYS_io_uring_setup, words).map(|_| 0)
}

pub(super) fn fault_handler(_: u64) -> io::Result<Bytes> {
    kept(libc::SYS_userfaultfd, &[1])
}

pub(super) fn namespace(_: u64) -> io::Result<Bytes> {
    let kinds = libc::CLONE_NEWUSER | libc::CLONE_NEWUTS;
    kept(libc::SYS_unshare, &[kinds.into()])
}

pub(super) fn mount(_: u64) -> io::Result<Bytes> {
    let words = &mut [
        Arg::Text(c"bomb"),
        Arg::Text(c"/tmp"),
        Arg::Text(c"tmpfs"),
        Arg::Number(0),
        Arg::Number(0),
    ];
    call(libc::SYS_mount, words).map(|_| 0)
}
