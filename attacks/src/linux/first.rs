//! Attacks on pid 1 of the jar, which tells how the guest ended: it has the
//! guest's own user.

use std::{
    fs::OpenOptions,
    io::{self, Write},
};

use crate::{
    Verdict,
    kernel::{self, Arg, Try, attempt, call, call_with, probe},
};

/// `siginfo_t` of a child's end, with a code that says where it comes from.
fn forged(code: i32) -> [u8; 128] {
    const STATUS: i32 = 77;
    let mut info = [0; 128];
    let own = std::process::id().cast_signed();
    // si_signo, si_errno, si_code; from the fifth on si_pid, si_uid, si_status.
    for (at, word) in [
        (0, libc::SIGCHLD),
        (2, code),
        (4, own),
        (5, 1000),
        (6, STATUS),
    ] {
        info[4 * at..4 * at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    info
}

/// `forge_signals`: tells pid 1, in the kernel's name, that its child has ended;
/// and, in its own name, which anybody may, a few hundred times.
pub(crate) fn forge_signals(_: &[String]) -> Verdict {
    const FIRST: i64 = 1;
    const SI_QUEUE: i32 = -1;
    const CLD_EXITED: i32 = 1;
    let signal = i64::from(libc::SIGCHLD);
    let codes = [
        ("CLD_EXITED", CLD_EXITED),
        ("SI_USER", 0),
        ("SI_KERNEL", 0x80),
        ("SI_TKILL", -6),
    ];
    let pidfd = call_with(libc::SYS_pidfd_open, &[FIRST, 0]).unwrap_or(-1);
    let tries: Vec<Try> = codes
        .into_iter()
        .flat_map(|(name, code)| {
            let info = forged(code);
            [
                attempt(
                    &format!("rt_sigqueueinfo {name}"),
                    libc::SYS_rt_sigqueueinfo,
                    &mut [Arg::Number(FIRST), Arg::Number(signal), Arg::In(&info)],
                ),
                attempt(
                    &format!("rt_tgsigqueueinfo {name}"),
                    libc::SYS_rt_tgsigqueueinfo,
                    &mut [
                        Arg::Number(FIRST),
                        Arg::Number(FIRST),
                        Arg::Number(signal),
                        Arg::In(&info),
                    ],
                ),
                attempt(
                    &format!("pidfd_send_signal {name}"),
                    libc::SYS_pidfd_send_signal,
                    &mut [
                        Arg::Number(pidfd),
                        Arg::Number(signal),
                        Arg::In(&info),
                        Arg::Number(0),
                    ],
                ),
            ]
        })
        .collect();
    // These may be sent; that the report tells the guest's own end is the test's to see.
    let queued = forged(SI_QUEUE);
    for _ in 0..300 {
        drop(call(
            libc::SYS_rt_sigqueueinfo,
            &mut [Arg::Number(FIRST), Arg::Number(signal), Arg::In(&queued)],
        ));
    }
    Verdict::of_tries(tries)
}

/// `throttle_first`: limits, priorities and processors of pid 1, and its files
/// in /proc; and stops it.
pub(crate) fn throttle_first(_: &[String]) -> Verdict {
    const FIRST: i64 = 1;
    const IDLE: i64 = libc::SCHED_IDLE as i64;
    let core = i64::from(libc::RLIMIT_CORE);
    let nothing = [0_u8; 16];
    let one_processor = 1_u64.to_ne_bytes();
    let parameter = 0_i32.to_ne_bytes();
    // struct sched_attr: size, policy.
    let mut attributes = [48_u32, libc::SCHED_IDLE as u32]
        .map(u32::to_ne_bytes)
        .concat();
    attributes.resize(48, 0);
    let mut tries: Vec<Try> = vec![
        attempt(
            "prlimit64",
            libc::SYS_prlimit64,
            &mut [
                Arg::Number(FIRST),
                Arg::Number(core),
                Arg::In(&nothing),
                Arg::Number(0),
            ],
        ),
        probe("setpriority", libc::SYS_setpriority, &[0, FIRST, 19]),
        // IOPRIO_WHO_PROCESS, and the idle class.
        probe("ioprio_set", libc::SYS_ioprio_set, &[1, FIRST, 3 << 13]),
        attempt(
            "sched_setaffinity",
            libc::SYS_sched_setaffinity,
            &mut [Arg::Number(FIRST), Arg::Number(8), Arg::In(&one_processor)],
        ),
        attempt(
            "sched_setscheduler",
            libc::SYS_sched_setscheduler,
            &mut [Arg::Number(FIRST), Arg::Number(IDLE), Arg::In(&parameter)],
        ),
        attempt(
            "sched_setparam",
            libc::SYS_sched_setparam,
            &mut [Arg::Number(FIRST), Arg::In(&parameter)],
        ),
        attempt(
            "sched_setattr",
            libc::SYS_sched_setattr,
            &mut [Arg::Number(FIRST), Arg::In(&attributes), Arg::Number(0)],
        ),
        probe("move_pages", libc::SYS_move_pages, &[FIRST, 0, 0, 0, 0, 2]),
        probe("setpgid", libc::SYS_setpgid, &[FIRST, 0]),
    ];
    // Whoever may open some of these is only asked for a right when writing.
    for (name, value) in [
        ("oom_score_adj", "1000"),
        ("timerslack_ns", "60000"),
        ("autogroup", "1"),
        ("comm", "guest"),
    ] {
        let written = OpenOptions::new()
            .write(true)
            .open(format!("/proc/1/{name}"))
            .and_then(|mut file| file.write_all(value.as_bytes()));
        tries.push((name.into(), written.map(|()| "written".into())));
    }
    for signal in [libc::SIGSTOP, libc::SIGTSTP, libc::SIGCONT] {
        drop(kernel::kill(1, signal));
    }
    Verdict::of_tries(tries)
}

/// `loosen_itself`: takes back what was given up for good.
pub(crate) fn loosen_itself(_: &[String]) -> Verdict {
    let prctl = |what: &str, option: i32, a: i64, b: i64| {
        probe(what, libc::SYS_prctl, &[option.into(), a, b, 0, 0])
    };
    // struct __user_cap_header_struct of version 3, and every capability in two words.
    let header = [0x2008_0522_u32, 0].map(u32::to_ne_bytes).concat();
    let all = [u32::MAX; 6].map(u32::to_ne_bytes).concat();
    let sys_admin = 21;
    Verdict::of_tries([
        attempt(
            "capset",
            libc::SYS_capset,
            &mut [Arg::In(&header), Arg::In(&all)],
        ),
        prctl("securebits", libc::PR_SET_SECUREBITS, 0, 0),
        prctl(
            "an ambient capability",
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_RAISE.into(),
            sys_admin,
        ),
        prctl("new privileges", libc::PR_SET_NO_NEW_PRIVS, 0, 0),
        prctl("keep capabilities", libc::PR_SET_KEEPCAPS, 1, 0),
        (
            "no filter".into(),
            call_with(libc::SYS_prctl, &[libc::PR_GET_SECCOMP.into(), 0, 0, 0, 0]).and_then(
                |mode| match mode {
                    0 => Ok("there is none".to_owned()),
                    _ => Err(io::Error::other("there is one")),
                },
            ),
        ),
    ])
}
