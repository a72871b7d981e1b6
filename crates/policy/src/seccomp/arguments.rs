//! Calls of which the arguments decide.
//!
//! The kernel takes most of these arguments as 32 bits and ignores the rest of
//! the register; so do the checks. Where a rule is about pid 1 of the jar: it
//! has the guest's user, so that its limits and priority would be the guest's
//! to set, and a pid 1 that cannot go on takes the jar's ending with it.

use belljar_plan::{
    Preset, Rule,
    filter::{Code, Exec, Unix},
};

use super::{Call, Check, Clause, Decision, Denial, Errno, Seen, Test, Verdict, names::*};

/// setpriority(2): `PRIO_USER`
const PRIO_USER: u32 = 2;
/// ioprio_set(2): `IOPRIO_WHO_USER`
const IOPRIO_WHO_USER: u32 = 3;
/// The first process of the jar, as the guest numbers it.
const INIT: u32 = 1;

/// What becomes of a call whose arguments matter under this filter; none where
/// its group alone decides.
pub(super) fn decision(call: &Call, asked: &belljar_plan::Filter) -> Option<Decision> {
    let strict = asked.preset == Preset::Strict;
    Some(match call.name {
        "clone" => denied_where(
            vec![any(0, all_of(NAMESPACES))],
            deny(Rule::Nesting, "a new namespace"),
        ),
        "unshare" => denied_where(
            vec![any(0, all_of(NAMESPACES) | CLONE_NEWTIME)],
            deny(Rule::Nesting, "a new namespace"),
        ),
        "open" => opens(1, 2),
        "openat" => opens(2, 3),
        "creat" | "chmod" | "fchmod" => set_id(1),
        "fchmodat" | "fchmodat2" => set_id(2),
        "mknod" => node(1),
        "mknodat" => node(2),
        "prlimit64" => Decision {
            clauses: vec![
                clause(vec![low(0, INIT)], OF_INIT),
                // With nothing new it only asks.
                clause(vec![low(1, RLIMIT_CORE), unless(2, Test::Whole(0))], CORES),
            ],
            otherwise: Verdict::Allow,
        },
        "setrlimit" => denied_where(vec![low(0, RLIMIT_CORE)], CORES),
        "sched_setaffinity" | "sched_setparam" => spares_init(0),
        "setpriority" => spares_init_and(PRIO_USER),
        "ioprio_set" => spares_init_and(IOPRIO_WHO_USER),
        "sched_setscheduler" => scheduler(),
        "sched_setattr" => deny(
            Rule::Syscalls,
            "a scheduling policy that a filter cannot read",
        )
        .into(),
        "personality" => only(
            vec![among(0, PERSONALITIES)],
            deny(
                Rule::Syscalls,
                "a personality that changes how memory is laid out or protected",
            ),
        ),
        "socket" => socket(asked),
        "socketpair" => socket_pair(asked.unix),
        "connect" if asked.unix == Unix::Performed => Verdict::Perform.into(),
        "sendto" | "recvfrom" | "sendmmsg" | "recvmmsg" => out_of_band(3),
        "sendmsg" | "recvmsg" => out_of_band(2),
        "ioctl" => request(strict),
        "prctl" if strict => Decision {
            clauses: vec![
                clause(vec![listed(0, PRCTL)], Verdict::Allow),
                clause(
                    vec![low(0, PR_SET_SECCOMP)],
                    deny(Rule::Syscalls, "a filter of the guest's own"),
                ),
            ],
            otherwise: quietly(
                Errno::Inval,
                "an option of prctl that ordinary programs do without",
            ),
        },
        "fcntl" => control(strict),
        "renameat2" => denied_where(vec![any(4, RENAME_WHITEOUT)], DEVICE_FILE),
        "setsockopt" => socket_option(strict),
        "getsockopt" => denied_where(vec![low(1, SOL_SOCKET), low(2, TASK_OF_PEER)], PEER),
        "execve" if asked.exec != Exec::Any => deny(Rule::Exec, "another program").into(),
        "execveat" if asked.exec == Exec::None => deny(Rule::Exec, "another program").into(),
        "execveat" if asked.exec == Exec::Once => only(
            vec![
                check(2, Test::SecretArguments),
                check(3, Test::SecretVariables),
            ],
            deny(Rule::Exec, "another program"),
        ),
        "mmap" if strict => mapping(asked.code),
        "mprotect" | "pkey_mprotect"
            if matches!(asked.code, Code::Fixed | Code::Closed) && strict =>
        {
            denied_where(
                vec![any(2, PROT_EXEC)],
                deny(Rule::WritableCode, "memory that becomes executable"),
            )
        }
        _ => return None,
    })
}

/// The bound on cores is the one value for which the kernel starts no handler of them, whatever
/// the machine's is: with any other, 0 too, a program of the machine's root would look at
/// memory that a guest made; core(5). Who asks for no cores hears that it was done, which
/// is true.
const CORES: Verdict = quietly(Errno::Done, "a bound on cores, of which there are none");
/// setrlimit(2)
const RLIMIT_CORE: u32 = 4;

const fn unless(argument: u8, test: Test) -> Check {
    Check {
        argument,
        test,
        wanted: false,
    }
}

const fn check(argument: u8, test: Test) -> Check {
    Check {
        argument,
        test,
        wanted: true,
    }
}

const fn any(argument: u8, bits: u32) -> Check {
    check(argument, Test::Any(bits))
}

fn low(argument: u8, value: u32) -> Check {
    among(argument, [value])
}

fn masked(argument: u8, mask: u32, value: u32) -> Check {
    let values = vec![value];
    check(argument, Test::Among { mask, values })
}

/// The whole lower half is one of these.
fn among(argument: u8, values: impl IntoIterator<Item = u32>) -> Check {
    let mut values: Vec<u32> = values.into_iter().collect();
    values.sort_unstable();
    let mask = u32::MAX;
    check(argument, Test::Among { mask, values })
}

/// One of the numbers that a list names.
fn listed(argument: u8, list: &[Named]) -> Check {
    among(argument, list.iter().map(|(number, _)| *number))
}

/// What is rare enough to be told of.
const fn deny(rule: Rule, what: &'static str) -> Verdict {
    Verdict::Deny(Denial {
        errno: Errno::Perm,
        seen: Seen::Told,
        rule,
        what,
    })
}

/// What ordinary programs try and do without.
const fn quietly(errno: Errno, what: &'static str) -> Verdict {
    Verdict::Deny(Denial {
        errno,
        seen: Seen::Quiet,
        rule: Rule::Syscalls,
        what,
    })
}

fn clause(checks: Vec<Check>, verdict: Verdict) -> Clause {
    Clause { checks, verdict }
}

/// Allowed but where all of these hold.
fn denied_where(checks: Vec<Check>, verdict: Verdict) -> Decision {
    Decision {
        clauses: vec![clause(checks, verdict)],
        otherwise: Verdict::Allow,
    }
}

/// Allowed only where all of these hold.
fn only(checks: Vec<Check>, otherwise: Verdict) -> Decision {
    Decision {
        clauses: vec![clause(checks, Verdict::Allow)],
        otherwise,
    }
}

fn all_of(list: &[Named]) -> u32 {
    list.iter().fold(0, |all, (bit, _)| all | bit)
}

const DEVICE_FILE: Verdict = deny(Rule::Devices, "a device file");
const SET_ID_BIT: Verdict = deny(Rule::Privileges, "a set-user-id or set-group-id bit");

fn set_id(mode: u8) -> Decision {
    denied_where(vec![any(mode, SET_ID)], SET_ID_BIT)
}

/// It has a mode only where it creates something.
fn opens(flags: u8, mode: u8) -> Decision {
    denied_where(vec![any(flags, CREATES), any(mode, SET_ID)], SET_ID_BIT)
}

fn node(mode: u8) -> Decision {
    let device = Test::Among {
        mask: FILE_TYPE,
        values: vec![CHARACTER_DEVICE, BLOCK_DEVICE],
    };
    Decision {
        clauses: vec![
            clause(vec![check(mode, device)], DEVICE_FILE),
            clause(vec![any(mode, SET_ID)], SET_ID_BIT),
        ],
        otherwise: Verdict::Allow,
    }
}

const OF_INIT: Verdict = deny(
    Rule::Tasks,
    "a limit or priority of the jar's first process",
);

fn spares_init(task: u8) -> Decision {
    denied_where(vec![low(task, INIT)], OF_INIT)
}

/// The same for the second argument, and where the first says that it is about
/// all of a user's processes.
fn spares_init_and(users: u32) -> Decision {
    Decision {
        clauses: vec![
            clause(vec![low(0, users)], OF_INIT),
            clause(vec![low(1, INIT)], OF_INIT),
        ],
        otherwise: Verdict::Allow,
    }
}

fn scheduler() -> Decision {
    let fair = Test::Among {
        mask: !RESET_ON_FORK,
        values: FAIR.iter().map(|(policy, _)| *policy).collect(),
    };
    Decision {
        clauses: vec![
            clause(vec![low(0, INIT)], OF_INIT),
            clause(vec![check(1, fair)], Verdict::Allow),
        ],
        otherwise: deny(Rule::Syscalls, "a real-time scheduling policy"),
    }
}

/// The type is one of these, whatever its flags.
fn of_type<const COUNT: usize>(kinds: [u32; COUNT]) -> Check {
    let values = kinds.to_vec();
    check(
        1,
        Test::Among {
            mask: SOCKET_TYPE,
            values,
        },
    )
}

const UNIX_REFUSED: Verdict = deny(
    Rule::Sockets,
    "a unix socket that could reach one of the machine's",
);
const RARE_FAMILY: Verdict = deny(Rule::Syscalls, "a socket of a rare family");

/// Sockets by family, type and protocol. A machine's unix sockets can be reached
/// by a path, so that where some may be seen only pairs may be made that are
/// connected already, or what connects is held until the supervisor has looked.
fn socket(asked: &belljar_plan::Filter) -> Decision {
    const PROTOCOL: u8 = 2;
    let unix = low(0, AF_UNIX);
    let internet = among(0, [AF_INET, AF_INET6]);
    let ordinary = of_type([SOCK_STREAM, SOCK_DGRAM]);
    let mut clauses = match asked.unix {
        Unix::Visible => vec![clause(vec![unix], Verdict::Allow)],
        Unix::Pairs => vec![clause(vec![unix], UNIX_REFUSED)],
        Unix::Performed => vec![
            clause(
                vec![unix.clone(), of_type([SOCK_STREAM, SOCK_SEQPACKET])],
                Verdict::Allow,
            ),
            clause(vec![unix], UNIX_REFUSED),
        ],
    };
    if asked.internet {
        clauses.extend([
            clause(
                vec![
                    internet.clone(),
                    ordinary.clone(),
                    listed(PROTOCOL, PROTOCOLS),
                ],
                Verdict::Allow,
            ),
            // Go asks for it first and takes TCP then.
            clause(
                vec![internet.clone(), low(PROTOCOL, MPTCP)],
                quietly(Errno::Protonosupport, "multipath TCP"),
            ),
            clause(
                vec![internet.clone(), ordinary],
                deny(Rule::Syscalls, "a rare internet protocol"),
            ),
            clause(vec![internet], deny(Rule::Syscalls, "a raw socket")),
        ]);
    } else {
        let refused = deny(Rule::Network, "a socket of the internet protocols");
        clauses.push(clause(vec![internet], refused));
    }
    clauses.extend([
        clause(vec![low(0, AF_NETLINK), low(PROTOCOL, 0)], Verdict::Allow),
        clause(
            vec![low(0, AF_NETLINK)],
            deny(Rule::Syscalls, "netlink beyond route"),
        ),
    ]);
    Decision {
        clauses,
        otherwise: RARE_FAMILY,
    }
}

fn socket_pair(unix: Unix) -> Decision {
    let clauses = match unix {
        Unix::Visible => vec![clause(vec![low(0, AF_UNIX)], Verdict::Allow)],
        // A datagram socket of a pair can still be sent elsewhere from.
        Unix::Pairs | Unix::Performed => vec![
            clause(
                vec![low(0, AF_UNIX), of_type([SOCK_STREAM, SOCK_SEQPACKET])],
                Verdict::Allow,
            ),
            clause(vec![low(0, AF_UNIX)], UNIX_REFUSED),
        ],
    };
    Decision {
        clauses,
        otherwise: RARE_FAMILY,
    }
}

/// Urgent data has been a hole in unix sockets more than once, and whether a
/// descriptor is one cannot be seen here.
fn out_of_band(flags: u8) -> Decision {
    denied_where(
        vec![any(flags, MSG_OOB)],
        deny(Rule::Syscalls, "urgent data"),
    )
}

fn request(strict: bool) -> Decision {
    let put = deny(
        Rule::Terminal,
        "input put into a terminal, or its driver changed",
    );
    let mut clauses = vec![clause(vec![listed(1, TERMINAL_REQUESTS)], put)];
    if !strict {
        return Decision {
            clauses,
            otherwise: Verdict::Allow,
        };
    }
    clauses.push(clause(vec![listed(1, REQUESTS)], Verdict::Allow));
    Decision {
        clauses,
        otherwise: quietly(
            Errno::Notty,
            "a request to a device that ordinary programs do without",
        ),
    }
}

/// Who connects a guest's socket may be the supervisor, and who answers a task
/// of the machine: neither is the guest's to hold.
const PEER: Verdict = quietly(
    Errno::Noprotoopt,
    "a descriptor of the task at the other end",
);

fn socket_option(strict: bool) -> Decision {
    let mut clauses = vec![clause(vec![low(1, SOL_SOCKET), low(2, PASSES_TASKS)], PEER)];
    if strict {
        clauses.extend([
            clause(
                vec![low(1, SOL_SOCKET), among(2, ATTACHED_PROGRAMS)],
                deny(Rule::Syscalls, "a program attached to a socket"),
            ),
            clause(
                vec![low(1, SOL_TCP), low(2, TCP_ULP)],
                quietly(Errno::Noprotoopt, "a protocol above TCP inside the kernel"),
            ),
            // What lies in a buffer is memory that no sampling of tasks sees.
            clause(
                vec![low(1, SOL_SOCKET), among(2, BUFFER_SIZES)],
                quietly(Errno::Perm, "a larger buffer of a socket"),
            ),
        ]);
    }
    Decision {
        clauses,
        otherwise: Verdict::Allow,
    }
}

/// With a lease on a file that it may only read, a guest would make others wait
/// who open it for writing: most of a minute, and again.
fn control(strict: bool) -> Decision {
    let mut clauses = vec![clause(
        vec![low(1, F_SETLEASE)],
        deny(Rule::Syscalls, "a lease on a file"),
    )];
    if strict {
        clauses.push(clause(
            vec![low(1, F_SETPIPE_SZ)],
            quietly(Errno::Perm, "a larger pipe"),
        ));
    }
    Decision {
        clauses,
        otherwise: Verdict::Allow,
    }
}

/// In `strict` memory that many share is no memory that a limit sees, and where
/// code is fixed, nothing that is executable may be written by another name: a
/// shared mapping has as many as there are copies of it.
fn mapping(code: Code) -> Decision {
    const PROTECTION: u8 = 2;
    const FLAGS: u8 = 3;
    let written = deny(Rule::WritableCode, "memory that is writable and executable");
    let both = PROT_WRITE | PROT_EXEC;
    let shared = MAP_SHARED | MAP_ANONYMOUS;
    let mut clauses = match code {
        Code::Any => Vec::new(),
        Code::Fixed | Code::FixedByMdwe => vec![
            clause(vec![masked(PROTECTION, both, both)], written),
            clause(
                vec![any(PROTECTION, PROT_EXEC), any(FLAGS, shared)],
                written,
            ),
        ],
        Code::Closed => vec![clause(
            vec![any(PROTECTION, PROT_EXEC)],
            deny(Rule::WritableCode, "more code"),
        )],
    };
    clauses.push(clause(
        vec![masked(FLAGS, shared, shared)],
        deny(Rule::Memory, "memory that is shared and has no file"),
    ));
    Decision {
        clauses,
        otherwise: Verdict::Allow,
    }
}
