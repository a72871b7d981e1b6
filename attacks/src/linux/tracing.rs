//! Attacks by the calls with which one task reaches into another: among a
//! guest's own tasks they reach nothing new, but they are much of the kernel,
//! and with them a filter's decisions can be changed after they were made.

use std::io;

use crate::{
    Verdict,
    kernel::{self, Side, Try, call_with, fork, in_child, probe},
};

const SEIZE: i64 = 0x4206;
const ATTACH: i64 = 16;
const TRACE_ME: i64 = 0;

/// A child that waits until it is ended.
fn with_child(work: impl FnOnce(i64) -> Vec<Try>) -> Verdict {
    match fork() {
        Err(error) => Verdict::Stopped(format!("no child: {error}")),
        Ok(Side::Child) => kernel::sleep_forever(),
        Ok(Side::Parent(pid)) => {
            let tries = work(pid.into());
            drop(kernel::kill(pid, libc::SIGKILL));
            drop(kernel::answer_of(pid));
            Verdict::of_calls(tries)
        }
    }
}

/// `trace_child`: its own child, in each way that tracing begins.
pub(crate) fn trace_child(_: &[String]) -> Verdict {
    let traced = in_child(|| call_with(libc::SYS_ptrace, &[TRACE_ME, 0, 0, 0]).map(drop));
    with_child(|pid| {
        vec![
            ("TRACEME".into(), traced.map(|()| "traced".into())),
            probe("SEIZE", libc::SYS_ptrace, &[SEIZE, pid, 0, 0]),
            probe("ATTACH", libc::SYS_ptrace, &[ATTACH, pid, 0, 0]),
        ]
    })
}

/// `trace_sibling`: one child another.
pub(crate) fn trace_sibling(_: &[String]) -> Verdict {
    with_child(|pid| {
        let traced = in_child(|| call_with(libc::SYS_ptrace, &[SEIZE, pid, 0, 0]).map(drop));
        vec![("SEIZE".into(), traced.map(|()| "traced".into()))]
    })
}

/// `copy_memory`: from and to its own child.
pub(crate) fn copy_memory(_: &[String]) -> Verdict {
    // The same address in both: the child is a copy.
    let mut byte = [7_u8];
    let vector = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let at = (&raw const vector) as i64;
    with_child(|pid| {
        vec![
            probe(
                "process_vm_readv",
                libc::SYS_process_vm_readv,
                &[pid, at, 1, at, 1, 0],
            ),
            probe(
                "process_vm_writev",
                libc::SYS_process_vm_writev,
                &[pid, at, 1, at, 1, 0],
            ),
        ]
    })
}

fn pidfd_of(pid: i64) -> io::Result<i64> {
    call_with(libc::SYS_pidfd_open, &[pid, 0])
}

/// `take_child_s_descriptor`: a stream of its own child.
pub(crate) fn take_child_s_descriptor(_: &[String]) -> Verdict {
    with_child(|pid| {
        // Where there is no descriptor to ask with, the call itself still answers.
        let pidfd = pidfd_of(pid).unwrap_or(-1);
        vec![
            probe("a stream", libc::SYS_pidfd_getfd, &[pidfd, 1, 0]),
            probe("of nobody", libc::SYS_pidfd_getfd, &[-1, 1, 0]),
        ]
    })
}

/// `compare_tasks`: kcmp(2), which tells in what order the kernel keeps things.
pub(crate) fn compare_tasks(_: &[String]) -> Verdict {
    const KCMP_FILE: i64 = 0;
    with_child(|pid| {
        let own = std::process::id().into();
        vec![probe("files", libc::SYS_kcmp, &[own, pid, KCMP_FILE, 0, 0])]
    })
}
