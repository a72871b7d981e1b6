//! What the running kernel knows, asked by system calls that change nothing:
//! each is made with arguments that it refuses after it is found to exist.

use std::sync::OnceLock;

use belljar_policy::facts::Bounds;

use super::look;

/// Who asks and on what.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) release: String,
    pub(crate) machine: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// Asks the kernel who this is.
pub(crate) fn process() -> Process {
    let name = rustix::system::uname();
    let groups = rustix::process::getgroups().unwrap_or_default();
    let mut groups: Vec<u32> = groups
        .into_iter()
        .map(rustix::process::Gid::as_raw)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    Process {
        release: name.release().to_string_lossy().into_owned(),
        machine: name.machine().to_string_lossy().into_owned(),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        groups,
    }
}

/// Who the calling thread is, as far as facts depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    uid: u32,
    gid: u32,
    effective: u64,
}

/// A host may give up its privileges between two launches.
pub(crate) fn user() -> User {
    User {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        effective: rustix::thread::capabilities(None).map_or(0, |sets| sets.effective.bits()),
    }
}

/// What root in the machine's own user namespace can do and nobody else:
/// write any id map, and map the ids of mounts. A container's root is not that.
pub(crate) fn privileged() -> bool {
    use rustix::thread::CapabilitySet;
    /// The end of the range that jars take their uids from.
    const LAST: u64 = 2_000_000_000 + 65_536;
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SYS_ADMIN;
    rustix::process::geteuid().is_root()
        && rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(needed))
        && ["/proc/self/uid_map", "/proc/self/gid_map"]
            .iter()
            .all(|file| read_proc(file).is_some_and(|map| covers(&map, LAST)))
}

/// May look at every task of this user namespace; capabilities(7).
pub(crate) fn may_trace() -> bool {
    use rustix::thread::CapabilitySet;
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE))
}

/// Whose a path is, if it can be seen.
pub(crate) fn owner(path: &str) -> Option<u32> {
    Some(rustix::fs::stat(path).ok()?.st_uid)
}

/// Uid 0 here is not uid 0 around this user namespace.
pub(crate) fn mapped_root() -> bool {
    read_proc("/proc/self/uid_map").is_some_and(|map| maps_root_elsewhere(&map))
}

/// A map in which 0 is another id outside; user_namespaces(7).
fn maps_root_elsewhere(map: &str) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u64>);
        matches!((numbers.next(), numbers.next()), (Some(Ok(0)), Some(Ok(outside))) if outside != 0)
    })
}

/// A map in which every id up to `last` is itself; user_namespaces(7).
fn covers(map: &str, last: u64) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u64>);
        matches!(
            (numbers.next(), numbers.next(), numbers.next()),
            (Some(Ok(0)), Some(Ok(0)), Some(Ok(count))) if count >= last
        )
    })
}

/// A system call, or a few that came together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    OpenTree,
    MoveMount,
    Fsopen,
    Fsmount,
    Openat2,
    MountSetattr,
    Clone3,
    PidfdOpen,
    CloseRange,
    SeccompFilter,
    /// A listener that is not left waiting for a task that was killed.
    Listener,
    /// `PR_SET_MDWE`
    FixedCode,
    /// Any that came with Linux 5.14 or later.
    Since514,
}

/// A filter is on this process: then a call that it forbids may end it, and no
/// call is tried. seccomp(2).
pub(crate) fn filtered() -> bool {
    !matches!(
        rustix::thread::secure_computing_mode(),
        Ok(rustix::thread::SecureComputingMode::Disabled)
    )
}

/// The kernel has a call.
pub(crate) fn has(call: Call) -> bool {
    let wrong = -1;
    let flags = 0x7fff_ffff;
    match call {
        Call::OpenTree => known(libc::SYS_open_tree, [wrong, 0, flags, 0, 0]),
        Call::MoveMount => known(libc::SYS_move_mount, [wrong, 0, wrong, 0, flags]),
        Call::Fsopen => known(libc::SYS_fsopen, [0, flags, 0, 0, 0]),
        Call::Fsmount => known(libc::SYS_fsmount, [wrong, flags, 0, 0, 0]),
        Call::Openat2 => known(libc::SYS_openat2, [wrong, 0, 0, 0, 0]),
        Call::MountSetattr => known(libc::SYS_mount_setattr, [wrong, 0, flags, 0, 0]),
        Call::Clone3 => known(libc::SYS_clone3, [0, 0, 0, 0, 0]),
        Call::PidfdOpen => known(libc::SYS_pidfd_open, [wrong, flags, 0, 0, 0]),
        Call::CloseRange => known(libc::SYS_close_range, [1, 0, flags, 0, 0]),
        // SECCOMP_SET_MODE_FILTER of a filter at address zero: EFAULT where
        // filters are built in, EINVAL where not.
        Call::SeccompFilter => error_of(libc::SYS_seccomp, [1, 0, 0, 0, 0]) == Some(libc::EFAULT),
        // SECCOMP_FILTER_FLAG_NEW_LISTENER and WAIT_KILLABLE_RECV: flags are
        // looked at before the filter.
        Call::Listener => {
            error_of(libc::SYS_seccomp, [1, 0b10_1000, 0, 0, 0]) == Some(libc::EFAULT)
        }
        // PR_SET_MDWE with a bit that means nothing: EINVAL too, but PR_GET_MDWE
        // knows of itself.
        Call::FixedCode => error_of(libc::SYS_prctl, [66, 0, 0, 0, 0]).is_none(),
        // The count of tasks by user namespace came with 5.14 and has no sign of
        // its own, so the calls of that release and of the next ones stand for
        // it; each can be left out of a kernel, all together hardly.
        Call::Since514 => {
            known(libc::SYS_process_mrelease, [wrong, flags, 0, 0, 0])
                || known(libc::SYS_memfd_secret, [flags, 0, 0, 0, 0])
                || known(libc::SYS_quotactl_fd, [wrong, wrong, 0, 0, 0])
                || known(libc::SYS_futex_waitv, [0, 0, flags, 0, 0])
                || known(libc::SYS_fchmodat2, [wrong, 0, 0, flags, 0])
        }
    }
}

/// The version of Landlock's interface, or why there is none; landlock_create_ruleset(2).
pub(crate) fn landlock_abi() -> Result<u32, i32> {
    const VERSION: libc::c_long = 1;
    // SAFETY: with this flag the call takes no attributes and makes nothing.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, VERSION) };
    if abi < 0 {
        return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
    }
    Ok(u32::try_from(abi).unwrap_or(0))
}

fn known(number: libc::c_long, arguments: [libc::c_long; 5]) -> bool {
    error_of(number, arguments) != Some(libc::ENOSYS)
}

/// The errno of a call that is made so that it must fail.
fn error_of(number: libc::c_long, [a, b, c, d, e]: [libc::c_long; 5]) -> Option<i32> {
    // SAFETY: every caller passes descriptors that are -1, addresses that are
    // null and flags that do not exist, so that the kernel refuses the call
    // before it reads or changes anything.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    (result < 0)
        .then(|| std::io::Error::last_os_error().raw_os_error())
        .flatten()
}

/// Bytes that a socket buffers each way where nobody says otherwise; socket(7). Where the
/// machine's are not shown, what a kernel has by itself.
pub(crate) fn socket_buffer() -> u64 {
    static FOUND: OnceLock<u64> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let of = |name: &str| {
            let text = read_proc(&format!("/proc/sys/net/core/{name}"))?;
            text.trim_end().parse::<u64>().ok()
        };
        let known = [of("rmem_default"), of("wmem_default")];
        known.into_iter().flatten().max().unwrap_or(212_992)
    })
}

/// Hard limits of this process; getrlimit(2).
pub(crate) fn bounds() -> Bounds {
    Bounds {
        open_files: hard(libc::RLIMIT_NOFILE),
        file_size: hard(libc::RLIMIT_FSIZE),
        data: hard(libc::RLIMIT_DATA),
        cpu: hard(libc::RLIMIT_CPU),
        processes: hard(libc::RLIMIT_NPROC),
        stack: hard(libc::RLIMIT_STACK),
        core: hard(libc::RLIMIT_CORE),
        locked_memory: hard(libc::RLIMIT_MEMLOCK),
        pending_signals: hard(libc::RLIMIT_SIGPENDING),
        message_queues: hard(libc::RLIMIT_MSGQUEUE),
    }
}

/// One hard limit. rustix takes it for a call that cannot fail, but a filter around
/// this process may refuse it: then none is known, and the launch meets what there is.
fn hard(resource: impl Into<libc::c_long>) -> u64 {
    const MYSELF: libc::c_long = 0;
    let mut limit = libc::rlimit64 {
        rlim_cur: u64::MAX,
        rlim_max: u64::MAX,
    };
    let resource: libc::c_long = resource.into();
    let none = std::ptr::null::<libc::rlimit64>();
    // SAFETY: without a new limit the call changes nothing, and writes one
    // `struct rlimit64` at the last address or fails.
    unsafe { libc::syscall(libc::SYS_prlimit64, MYSELF, resource, none, &raw mut limit) };
    limit.rlim_max
}

/// A short file of `/proc` or `/sys`.
pub(crate) fn read_proc(path: &str) -> Option<String> {
    let bytes = look::read_small(path, 1 << 20).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_id_map_is_not_the_machines() {
        let last = 2_000_065_536;
        assert!(covers("         0          0 4294967295\n", last));
        assert!(!covers("         0     100000      65536\n", last));
        assert!(!covers("         0          0      65536\n", last));
        assert!(!covers("0 1000 1\n1 100000 65536\n", last));
        assert!(!covers("", last));
    }

    #[test]
    fn root_of_a_rootless_container_is_somebody_else_outside() {
        assert!(maps_root_elsewhere("         0       1000          1\n"));
        assert!(maps_root_elsewhere("0 1000 1\n1 100000 65536\n"));
        assert!(!maps_root_elsewhere("         0          0 4294967295\n"));
        assert!(!maps_root_elsewhere("      1000       1000          1\n"));
    }

    #[test]
    fn what_this_kernel_has_is_found_without_changing_anything() {
        assert!(has(Call::PidfdOpen));
        assert!(has(Call::CloseRange));
        assert!(!known(100_000, [0; 5]));
    }
}
