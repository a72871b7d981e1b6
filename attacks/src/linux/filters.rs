//! Attacks by filters of the guest's own: it may add them under `standard`, as
//! programs that confine themselves do, and with one it can make calls
//! disappear before Belljar's filter could tell of them.

use std::io;

use crate::{
    Verdict, arch,
    kernel::{Try, call_with, in_child, probe},
};

/// Of `<linux/seccomp.h>`.
const SET_MODE_FILTER: i64 = 1;
const NEW_LISTENER: i64 = 8;
const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const USER_NOTIFY: u32 = 0x7fc0_0000;

/// `struct sock_fprog` of this program, whose length is the number of its instructions.
fn program(filter: &[libc::sock_filter]) -> libc::sock_fprog {
    libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    }
}

fn give(k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Answers one call so, and lets all others through.
fn answers(number: libc::c_long, answer: u32) -> [libc::sock_filter; 6] {
    let load = |k| libc::sock_filter {
        code: 0x20,
        jt: 0,
        jf: 0,
        k,
    };
    let unless = |k: u32, skip| libc::sock_filter {
        code: 0x15,
        jt: 0,
        jf: skip,
        k,
    };
    [
        load(4),
        unless(arch::AUDIT, 3),
        load(0),
        unless(number as u32, 1),
        give(answer),
        give(ALLOW),
    ]
}

fn install(filter: &[libc::sock_filter], flags: i64) -> io::Result<i64> {
    let program = program(filter);
    let at = (&raw const program) as i64;
    // What may be done without a right: seccomp(2).
    call_with(
        libc::SYS_prctl,
        &[libc::PR_SET_NO_NEW_PRIVS.into(), 1, 0, 0, 0],
    )?;
    call_with(libc::SYS_seccomp, &[SET_MODE_FILTER, flags, at])
}

fn added(work: impl FnOnce() -> io::Result<()>) -> io::Result<String> {
    in_child(work).map(|()| "added".into())
}

/// `add_filter`: a filter that lets everything through, by both calls; and the
/// oldest mode.
pub(crate) fn add_filter(_: &[String]) -> Verdict {
    let by_prctl = || {
        let filter = [give(ALLOW)];
        let program = program(&filter);
        let at = (&raw const program) as i64;
        call_with(
            libc::SYS_prctl,
            &[libc::PR_SET_NO_NEW_PRIVS.into(), 1, 0, 0, 0],
        )?;
        let mode = libc::SECCOMP_MODE_FILTER.into();
        call_with(
            libc::SYS_prctl,
            &[libc::PR_SET_SECCOMP.into(), mode, at, 0, 0],
        )
        .map(drop)
    };
    let tries: [Try; 2] = [
        (
            "seccomp".into(),
            added(|| install(&[give(ALLOW)], 0).map(drop)),
        ),
        ("prctl".into(), added(by_prctl)),
    ];
    Verdict::of_tries(tries)
}

/// `add_listener`: a filter that asks the guest itself, so that it, and not
/// Belljar, is told of the calls of its children.
pub(crate) fn add_listener(_: &[String]) -> Verdict {
    let filter = answers(libc::SYS_bpf, USER_NOTIFY);
    let tries: [Try; 1] = [(
        "a listener".into(),
        added(|| install(&filter, NEW_LISTENER).map(drop)),
    )];
    Verdict::of_tries(tries)
}

/// `hide_calls`: answers a call that is denied anyway in a filter of its own,
/// so that nobody is told of it.
pub(crate) fn hide_calls(_: &[String]) -> Verdict {
    let filter = answers(libc::SYS_bpf, EPERM);
    let hidden = added(|| {
        install(&filter, 0)?;
        match probe("bpf", libc::SYS_bpf, &[0, 0, 0]).1 {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
            _ => Err(io::Error::from_raw_os_error(libc::EIO)),
        }
    });
    Verdict::of_tries([("bpf".to_owned(), hidden.map(|_| "hidden".into()))])
}
