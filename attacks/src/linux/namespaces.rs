//! Attacks by new namespaces and by those that are there: in a user namespace
//! of its own a guest has every capability, and most of the kernel's mistakes of
//! the last years begin so.

use std::{fs::File, io, os::fd::AsRawFd};

use crate::{
    Verdict,
    kernel::{
        Arg, NOWHERE, Side, Try, UPPER, answer_of, attempt, call_with, in_child, leave, probe,
    },
};

/// Not in libc: `<linux/sched.h>`.
const CLONE_NEWTIME: i64 = 0x80;

fn kinds() -> [(&'static str, i64); 8] {
    [
        ("user", libc::CLONE_NEWUSER.into()),
        ("mount", libc::CLONE_NEWNS.into()),
        ("pid", libc::CLONE_NEWPID.into()),
        ("network", libc::CLONE_NEWNET.into()),
        ("ipc", libc::CLONE_NEWIPC.into()),
        ("uts", libc::CLONE_NEWUTS.into()),
        ("cgroup", libc::CLONE_NEWCGROUP.into()),
        ("time", CLONE_NEWTIME),
    ]
}

/// `unshare_each`: each kind of namespace; also with a flag that is none, which
/// the kernel sees before it looks for a right, and with an upper bit.
pub(crate) fn unshare_each(_: &[String]) -> Verdict {
    const NO_FLAG: i64 = 1;
    Verdict::of_calls(kinds().into_iter().flat_map(|(name, flag)| {
        [
            (name.to_owned(), flag),
            (format!("{name}, no flag"), flag | NO_FLAG),
            (format!("{name}, an upper bit"), flag | UPPER),
        ]
        .map(|(what, flags)| {
            let unshared = in_child(|| call_with(libc::SYS_unshare, &[flags]).map(drop));
            (what, unshared.map(|()| "made".into()))
        })
    }))
}

/// clone(2) without a stack of its own, as fork does it.
fn clone(flags: i64) -> io::Result<Side> {
    let flags = flags | i64::from(libc::SIGCHLD);
    match call_with(libc::SYS_clone, &[flags, 0, 0, 0, 0])? {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(pid as i32)),
    }
}

/// `clone_into_each`: a child in each kind of namespace; also with a flag that
/// goes with nothing, and with an upper bit, which the kernel does not read.
pub(crate) fn clone_into_each(_: &[String]) -> Verdict {
    let in_clone = kinds()
        .into_iter()
        // Among the bits of clone it is a part of the signal.
        .filter(|(_, flag)| *flag != CLONE_NEWTIME);
    Verdict::of_calls(in_clone.flat_map(|(name, flag)| {
        // Without CLONE_SIGHAND it is an error, and found early.
        let odd = i64::from(libc::CLONE_THREAD);
        [
            (name.to_owned(), flag),
            (format!("{name}, a thread"), flag | odd),
            (format!("{name}, an upper bit"), flag | UPPER),
        ]
        .map(|(what, flags)| {
            let made = clone(flags).and_then(|side| match side {
                Side::Child => leave(crate::kernel::CAME_THROUGH),
                Side::Parent(pid) => answer_of(pid),
            });
            (what, made.map(|()| "made".into()))
        })
    }))
}

/// `clone3_into_namespace`: clone3(2), whose flags lie in memory, where a filter
/// does not see them. It has to look like a kernel without it: with any other
/// error libcs start no threads.
pub(crate) fn clone3_into_namespace(_: &[String]) -> Verdict {
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, …
    let mut words = [0_u64; 8];
    words[0] = libc::CLONE_NEWUSER as u64;
    words[4] = libc::SIGCHLD as u64;
    let arguments = words.map(u64::to_ne_bytes).concat();
    let cloned = crate::kernel::call(
        libc::SYS_clone3,
        &mut [Arg::In(&arguments), Arg::Number(64)],
    );
    match cloned {
        Ok(0) => leave(0),
        Ok(pid) => {
            drop(answer_of(pid as i32));
            Verdict::Escaped("made".into())
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            Verdict::of_calls([probe("of nothing", libc::SYS_clone3, &[NOWHERE, 0])])
        }
        Err(error) => Verdict::Escaped(format!("not the answer of an old kernel: {error}")),
    }
}

/// `join_namespaces`: its own, by name and by type 0, which joins any; and by
/// what is no namespace.
pub(crate) fn join_namespaces(_: &[String]) -> Verdict {
    let mut tries: Vec<Try> = vec![
        probe("no descriptor", libc::SYS_setns, &[-1, 0]),
        probe("a stream", libc::SYS_setns, &[0, 0]),
        probe(
            "an upper bit",
            libc::SYS_setns,
            &[-1, i64::from(libc::CLONE_NEWNET) | UPPER],
        ),
    ];
    for name in ["user", "mnt", "net", "uts", "ipc", "pid", "cgroup", "time"] {
        if let Ok(file) = File::open(format!("/proc/self/ns/{name}")) {
            tries.push(attempt(
                name,
                libc::SYS_setns,
                &mut [Arg::Number(file.as_raw_fd().into()), Arg::Number(0)],
            ));
        }
    }
    Verdict::of_calls(tries)
}
