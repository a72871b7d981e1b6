//! Attacks by system calls that no plugin needs and that open much of the
//! kernel: programs in it, faults handled outside of it, counters, its log.

use std::fs::OpenOptions;

use crate::{
    Verdict,
    kernel::{Arg, NOWHERE, Try, UPPER, attempt, in_child, probe},
};

/// `use_bpf`: a map, and a question too long, which the kernel refuses before
/// it looks for a right.
pub(crate) fn use_bpf(_: &[String]) -> Verdict {
    const MAP_CREATE: i64 = 0;
    // union bpf_attr: an array of one word by one word.
    let attributes = [2_u32, 4, 4, 1].map(u32::to_ne_bytes).concat();
    Verdict::of_calls([
        probe("too long", libc::SYS_bpf, &[MAP_CREATE, NOWHERE, 1 << 20]),
        attempt(
            "a map",
            libc::SYS_bpf,
            &mut [
                Arg::Number(MAP_CREATE),
                Arg::In(&attributes),
                Arg::Number(16),
            ],
        ),
    ])
}

/// `open_perf_event`: a counter of its own task in user mode.
pub(crate) fn open_perf_event(_: &[String]) -> Verdict {
    const SOFTWARE: u32 = 1;
    const SIZE: u32 = 64;
    // exclude_kernel and exclude_hv: perf_event_open(2)
    const EXCLUDE: u64 = 1 << 5 | 1 << 6;
    // struct perf_event_attr: type, size, config, period, sample and read form, flags.
    let mut attributes = [SOFTWARE, SIZE].map(u32::to_ne_bytes).concat();
    attributes.extend([0, 0, 0, 0, EXCLUDE].map(u64::to_ne_bytes).concat());
    attributes.resize(SIZE as usize, 0);
    Verdict::of_calls([
        probe(
            "flags that are none",
            libc::SYS_perf_event_open,
            &[NOWHERE, 0, -1, -1, -1],
        ),
        attempt(
            "own task",
            libc::SYS_perf_event_open,
            &mut [
                Arg::In(&attributes),
                Arg::Number(0),
                Arg::Number(-1),
                Arg::Number(-1),
                Arg::Number(0),
            ],
        ),
    ])
}

/// `use_userfaultfd`: holds the kernel where it touches the guest's memory.
pub(crate) fn use_userfaultfd(_: &[String]) -> Verdict {
    const USER_MODE_ONLY: i64 = 1;
    let mut tries: Vec<Try> = vec![
        probe("any fault", libc::SYS_userfaultfd, &[0]),
        probe(
            "faults of user mode",
            libc::SYS_userfaultfd,
            &[USER_MODE_ONLY],
        ),
    ];
    // Where there is no such device, nothing is reached.
    if let Ok(_device) = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/userfaultfd")
    {
        tries.push(("/dev/userfaultfd".into(), Ok("opened".into())));
    }
    Verdict::of_calls(tries)
}

/// `use_keys`: calls on keys that name none.
pub(crate) fn use_keys(_: &[String]) -> Verdict {
    const NO_COMMAND: i64 = 0x7fff;
    Verdict::of_calls([
        probe("keyctl", libc::SYS_keyctl, &[NO_COMMAND, 0, 0, 0, 0]),
        probe(
            "keyctl with an upper bit",
            libc::SYS_keyctl,
            &[NO_COMMAND | UPPER, 0, 0, 0, 0],
        ),
        probe("add_key", libc::SYS_add_key, &[NOWHERE, NOWHERE, 0, 0, -3]),
        probe(
            "request_key",
            libc::SYS_request_key,
            &[NOWHERE, NOWHERE, 0, 0],
        ),
    ])
}

/// `change_personality`: memory that is code by being readable, addresses that
/// can be guessed, a page at zero.
pub(crate) fn change_personality(_: &[String]) -> Verdict {
    let kinds = [
        ("READ_IMPLIES_EXEC", libc::READ_IMPLIES_EXEC),
        ("ADDR_NO_RANDOMIZE", libc::ADDR_NO_RANDOMIZE),
        ("ADDR_COMPAT_LAYOUT", libc::ADDR_COMPAT_LAYOUT),
        ("MMAP_PAGE_ZERO", libc::MMAP_PAGE_ZERO),
    ];
    Verdict::of_calls(kinds.into_iter().flat_map(|(name, flag)| {
        [0, UPPER].map(|upper| {
            let flag = i64::from(flag) | upper;
            let changed =
                in_child(|| crate::kernel::call_with(libc::SYS_personality, &[flag]).map(drop));
            (
                format!("{name} as {flag:#x}"),
                changed.map(|()| "changed".into()),
            )
        })
    }))
}

/// `read_kernel_log`: the machine's messages, and their size.
pub(crate) fn read_kernel_log(_: &[String]) -> Verdict {
    const READ_ALL: i64 = 3;
    const SIZE_BUFFER: i64 = 10;
    let mut text = [0_u8; 256];
    Verdict::of_calls([
        attempt(
            "messages",
            libc::SYS_syslog,
            &mut [Arg::Number(READ_ALL), Arg::Out(&mut text), Arg::Number(256)],
        ),
        probe("their size", libc::SYS_syslog, &[SIZE_BUFFER, 0, 0]),
        probe("an upper bit", libc::SYS_syslog, &[READ_ALL | UPPER, 0, -1]),
    ])
}

/// `take_real_time`: a policy that lets it run before everybody else.
pub(crate) fn take_real_time(_: &[String]) -> Verdict {
    const RESET_ON_FORK: i32 = 0x4000_0000;
    // Of a priority that the policy does not have: EINVAL comes before the right.
    let parameter = 0_i32.to_ne_bytes();
    // struct sched_attr of SCHED_DEADLINE without a runtime.
    let mut attributes = [48_u32, 6].map(u32::to_ne_bytes).concat();
    attributes.resize(48, 0);
    let mut tries: Vec<Try> = [
        ("FIFO", libc::SCHED_FIFO.into()),
        ("RR", libc::SCHED_RR.into()),
        (
            "FIFO, reset on fork",
            (libc::SCHED_FIFO | RESET_ON_FORK).into(),
        ),
        (
            "FIFO with an upper bit",
            i64::from(libc::SCHED_FIFO) | UPPER,
        ),
    ]
    .into_iter()
    .map(|(name, policy)| {
        attempt(
            name,
            libc::SYS_sched_setscheduler,
            &mut [Arg::Number(0), Arg::Number(policy), Arg::In(&parameter)],
        )
    })
    .collect();
    tries.push(attempt(
        "DEADLINE",
        libc::SYS_sched_setattr,
        &mut [Arg::Number(0), Arg::In(&attributes), Arg::Number(0)],
    ));
    Verdict::of_calls(tries)
}

/// `set_clock`: the machine's time. The kernel reads the new time before it
/// looks for the right to set it.
pub(crate) fn set_clock(_: &[String]) -> Verdict {
    let realtime = i64::from(libc::CLOCK_REALTIME);
    Verdict::of_calls([
        probe(
            "clock_settime",
            libc::SYS_clock_settime,
            &[realtime, NOWHERE],
        ),
        probe("settimeofday", libc::SYS_settimeofday, &[NOWHERE, 0]),
        probe("adjtimex", libc::SYS_adjtimex, &[NOWHERE]),
        probe(
            "clock_adjtime",
            libc::SYS_clock_adjtime,
            &[realtime, NOWHERE],
        ),
    ])
}
