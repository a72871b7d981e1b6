//! What each call may answer but success, by its manual: the list of what can be
//! injected. Data only; the build script reads it too.

/// A call as the sources write it.
pub struct Call {
    /// As it is written there, up to the parenthesis.
    pub name: &'static str,
    /// What the kernel may answer at any time, whoever asks: numbers of errno(3).
    pub errnos: &'static [i32],
    /// Whether it may have been made all the same: it gives nothing that its caller
    /// would have to let go of, such as a descriptor or a process.
    pub after: bool,
}

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EINTR: i32 = 4;
const EIO: i32 = 5;
const E2BIG: i32 = 7;
const EBADF: i32 = 9;
const ECHILD: i32 = 10;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EFAULT: i32 = 14;
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
const ENOTDIR: i32 = 20;
const EINVAL: i32 = 22;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EPIPE: i32 = 32;
const ENOSYS: i32 = 38;
const ELOOP: i32 = 40;
const EUSERS: i32 = 87;
const EOPNOTSUPP: i32 = 95;
const ENOBUFS: i32 = 105;
const ECONNRESET: i32 = 104;
const ETOOMANYREFS: i32 = 109;
const EDQUOT: i32 = 122;
const EXDEV: i32 = 18;

const OPEN: &[i32] = &[
    EACCES, EINTR, EIO, ELOOP, EMFILE, ENFILE, ENOENT, ENOMEM, EPERM,
];
const MOUNT: &[i32] = &[EACCES, EBUSY, EINVAL, ENOMEM, ENOSPC, EPERM];
const MEMORY: &[i32] = &[EAGAIN, ENOMEM];
const SEND: &[i32] = &[EAGAIN, ECONNRESET, EINTR, ENOBUFS, ENOMEM, EPIPE];
const RECEIVE: &[i32] = &[EAGAIN, ECONNRESET, EINTR, ENOMEM];
const READ: &[i32] = &[EAGAIN, EINTR, EIO];
const WRITE: &[i32] = &[EACCES, EINTR, EINVAL, EIO, ENOSPC, EPERM, EPIPE];
const POLL: &[i32] = &[EINTR, ENOMEM];
const WATCH: &[i32] = &[ENOMEM, ENOSPC];
const IDS: &[i32] = &[EAGAIN, EINVAL, EPERM];
const MAKE: &[i32] = &[EACCES, EDQUOT, EEXIST, ENOSPC, ENOMEM, EROFS];

/// Gives something to let go of.
const fn gives(name: &'static str, errnos: &'static [i32]) -> Call {
    Call {
        name,
        errnos,
        after: false,
    }
}

/// Does something, and gives nothing.
const fn does(name: &'static str, errnos: &'static [i32]) -> Call {
    Call {
        name,
        errnos,
        after: true,
    }
}

/// Every call that has a point.
pub const CALLS: &[Call] = &[
    gives("open", OPEN),
    gives("openat", OPEN),
    gives("openat2", OPEN_IN),
    does("fstat", &[EBADF, ENOMEM]),
    does("fstatvfs", &[EINTR, EIO, ENOMEM]),
    does("statx", &[EACCES, ENOMEM]),
    does("mkdirat", MAKE),
    does("mknodat", MAKE),
    does("symlinkat", MAKE),
    does("unlinkat", &[EACCES, EBUSY, ENOENT, ENOMEM, EROFS]),
    does("calls::read", READ),
    does("calls::write", WRITE),
    gives("mmap", MEMORY),
    gives("mmap_anonymous", &[EAGAIN, EEXIST, ENOMEM]),
    does("munmap", &[EINVAL, ENOMEM]),
    does("madvise", &[EAGAIN, EINVAL, ENOMEM]),
    gives("fsopen", &[EMFILE, ENFILE, ENODEV, ENOMEM, EPERM]),
    does("fsconfig_set_string", &[EINVAL, ENOMEM, EPERM]),
    does("fsconfig_create", &[EBUSY, ENOMEM, ENOSPC, EPERM]),
    gives("fsmount", &[EBUSY, EMFILE, ENOMEM, EPERM]),
    gives("open_tree", &[EACCES, EINVAL, EMFILE, ENOMEM, EPERM]),
    does("mount_change", MOUNT),
    does("move_mount", MOUNT),
    does("unmount", &[EAGAIN, EBUSY, EINVAL, ENOMEM, EPERM]),
    does("recv", RECEIVE),
    gives("recvmsg", RECEIVE),
    // A packet that was sent answers no error.
    gives(
        "sendmsg",
        &[
            EAGAIN,
            EBADF,
            ECONNRESET,
            EINTR,
            ENOBUFS,
            ENOMEM,
            EPIPE,
            ETOOMANYREFS,
        ],
    ),
    gives("socket_with", &[EACCES, EMFILE, ENFILE, ENOBUFS, ENOMEM]),
    gives("socketpair", &[EMFILE, ENFILE, ENOMEM]),
    gives("pipe_with", &[EMFILE, ENFILE]),
    does("chdir", &[EACCES, ENOENT, ENOMEM]),
    does("fchdir", &[EACCES, EBADF, ENOTDIR]),
    does("pivot_root", &[EBUSY, EINVAL, EPERM]),
    does("pidfd_send_signal", &[EBADF, EPERM, ESRCH]),
    does("set_parent_process_death_signal", &[EINVAL]),
    does("setrlimit", &[EINVAL, EPERM]),
    does("setsid", &[EPERM]),
    does("getrandom", &[EAGAIN, EINTR, ENOSYS]),
    does("nanosleep", &[EINTR]),
    does("set_thread_groups", &[ENOMEM, EPERM]),
    does("set_thread_res_gid", IDS),
    does("set_thread_res_uid", IDS),
    does("poll", POLL),
    gives("epoll::create", &[EMFILE, ENFILE, ENOMEM]),
    does("epoll::add", WATCH),
    does("epoll::modify", WATCH),
    does("epoll::delete", &[ENOENT, ENOMEM]),
    does("epoll::wait", &[EINTR]),
    gives("raw::exit_group", &[]),
    gives(
        "raw::clone3",
        &[
            EACCES, EAGAIN, EBUSY, EINVAL, ENOMEM, ENOSPC, EOPNOTSUPP, EPERM, EUSERS,
        ],
    ),
    gives("raw::fork", &[EAGAIN, ENOMEM]),
    gives(
        "raw::exec",
        &[
            E2BIG, EACCES, EAGAIN, EINVAL, EIO, ELOOP, EMFILE, ENFILE, ENOENT, ENOMEM, EPERM,
        ],
    ),
    does("raw::forget_stack", &[EAGAIN, EINVAL]),
    does("raw::forget_callers", &[EAGAIN, EINVAL, ENOMEM]),
    does("raw::close_from", &[EINVAL, EMFILE, ENOMEM]),
    does("raw::close_between", &[EINVAL, EMFILE, ENOMEM]),
    does("raw::dup_onto", &[EBADF, EBUSY, EINTR, EMFILE]),
    does("raw::prctl", &[EACCES, EINVAL, EPERM]),
    does("raw::adopt_orphans", &[EINVAL]),
    does("raw::set_name", &[EFAULT]),
    does(
        "raw::mount_setattr",
        &[EACCES, EBUSY, EINVAL, EMFILE, ENOMEM, ENOSPC, EPERM],
    ),
    does("raw::capset", &[EINVAL, EPERM]),
    does("raw::capget", &[EINVAL, EPERM]),
    does("raw::ordinary_priority", &[EACCES, EINVAL, EPERM, ESRCH]),
    does("raw::join_session_keyring", &[EDQUOT, ENOMEM, EPERM]),
    does("raw::sethostname", &[EFAULT, EINVAL, EPERM]),
    does("raw::set_rlimit", &[EINVAL, EPERM]),
    does("raw::rlimit", &[EINVAL, EPERM]),
    does("raw::block_signals", &[EINVAL]),
    does("raw::default_signals", &[EINVAL]),
    gives("raw::signalfd", &[EINVAL, EMFILE, ENFILE, ENODEV, ENOMEM]),
    does("raw::kill", &[EPERM, ESRCH]),
    does("raw::wait4", &[ECHILD, EINTR]),
    does("raw::wait_any", &[ECHILD, EINTR]),
    gives(
        "raw::seccomp_filter",
        &[EACCES, EBUSY, EFAULT, EINVAL, ENOMEM, ENOSYS],
    ),
    gives(
        "raw::landlock_ruleset",
        &[EINVAL, EMFILE, ENOMEM, ENOSYS, EOPNOTSUPP],
    ),
    does("raw::landlock_allow", &[EBADF, EINVAL, ENOMEM, EPERM]),
    does("raw::landlock_restrict", &[E2BIG, EINVAL, ENOMEM, EPERM]),
    does("raw::asks_for_nothing", &[EINVAL, EPERM]),
    gives("raw::ioctl_number", &[EACCES, EINTR, EIO, EMFILE, EPERM]),
    does("raw::ioctl_struct", &[EINVAL, EIO, ENODEV, EPERM]),
    does("raw::poll", POLL),
    does("raw::poll_now", POLL),
    does("raw::read", READ),
    gives("raw::write", WRITE_PACKET),
];

const OPEN_IN: &[i32] = &[
    EACCES, EAGAIN, EINTR, EIO, ELOOP, EMFILE, ENFILE, ENOENT, ENOMEM, EXDEV,
];
const WRITE_PACKET: &[i32] = SEND;
