//! The one filter of this stage: the few calls by which a guest reaches past
//! every namespace. The filter compiler takes this file's place.
//!
//! - Keyrings: a key belongs to a machine user, not to a user namespace alone,
//!   so that a guest started by a user could use that user's keys by number;
//!   keyrings(7).
//! - Powers left on the disk: in a granted directory the guest owns files as
//!   the machine's owner of that directory does, root among them. A set-id bit
//!   there is inert in the jar and a way to root outside of it. A new user
//!   namespace gives the capability to store file capabilities, which an
//!   idmapped mount stores as the machine's own; capabilities(7).
//! - The jar's pid 1 has the guest's user, so that its limits and priority are
//!   the guest's to set: with RLIMIT_NOFILE at 0 it could not wait any more, and
//!   the end that the guest had chosen was told as Belljar's own failure.
//! - `io_uring` does some of these unseen, `openat2` and `clone3` take their
//!   flags in memory, which a filter cannot read.

use belljar_plan::Bytes;

/// An instruction of classic BPF: `struct sock_filter` in `<linux/filter.h>`.
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    k: u32,
}

const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// `offsetof(struct seccomp_data, …)`; seccomp(2).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The first argument; the low word of each, on machines of little endian.
const ARGUMENTS: u32 = 16;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
/// What libcs and runtimes take for "an older kernel", and do without.
const ENOSYS: u32 = 0x0005_0026;
const KILL_PROCESS: u32 = 0x8000_0000;

/// Calls of x86_64 with this bit are its x32 form, which programs of today don't use.
const X32: u32 = 0x4000_0000;

/// `S_ISUID | S_ISGID`; inode(7).
const SET_ID: u32 = 0o6000;
/// `O_CREAT | __O_TMPFILE`: only then has an open a mode.
const CREATES: u32 = 0o20_000_100;
const CLONE_NEWUSER: u32 = 0x1000_0000;

/// What becomes of a call.
#[derive(Clone, Copy)]
enum Fate {
    /// It fails.
    Refused(u32),
    /// It fails where an argument has one of these bits.
    Without { argument: u32, bits: u32 },
    /// It fails where it is about pid 1 of the jar, which its first argument names.
    SparesInit,
    /// The same for the second argument, and where the first says that it is
    /// about all of a user's processes.
    SparesInitAnd { users: u32 },
    /// It opens: it fails where it creates something with a set-id bit.
    Opens { flags: u32, mode: u32 },
}

use Fate::{Opens, Refused, SparesInit, SparesInitAnd, Without};

const fn mode_in(argument: u32) -> Fate {
    Without {
        argument,
        bits: SET_ID,
    }
}

const NEW_USERS: Fate = Without {
    argument: 0,
    bits: CLONE_NEWUSER,
};

/// setpriority(2): `PRIO_USER`
const PRIORITY: Fate = SparesInitAnd { users: 2 };
/// ioprio_set(2): `IOPRIO_WHO_USER`
const IO_PRIORITY: Fate = SparesInitAnd { users: 3 };

/// An architecture that the kernel may tell of: `AUDIT_ARCH_*`, and its calls
/// by number. Those from 424 on have the same number everywhere.
struct Architecture {
    audit: u32,
    x32: bool,
    calls: &'static [(u32, Fate)],
}

/// io_uring_setup, openat2, clone3, fchmodat2
const EVERYWHERE: [(u32, Fate); 4] = [
    (425, Refused(EPERM)),
    (437, Refused(ENOSYS)),
    (435, Refused(ENOSYS)),
    (452, mode_in(2)),
];

const X86_64: Architecture = Architecture {
    audit: 0xc000_003e,
    x32: true,
    calls: &[
        (56, NEW_USERS),                    // clone
        (272, NEW_USERS),                   // unshare
        (2, Opens { flags: 1, mode: 2 }),   // open
        (257, Opens { flags: 2, mode: 3 }), // openat
        (85, mode_in(1)),                   // creat
        (90, mode_in(1)),                   // chmod
        (91, mode_in(1)),                   // fchmod
        (268, mode_in(2)),                  // fchmodat
        (133, mode_in(1)),                  // mknod
        (259, mode_in(2)),                  // mknodat
        (248, Refused(EPERM)),              // add_key
        (249, Refused(EPERM)),              // request_key
        (250, Refused(EPERM)),              // keyctl
        (302, SparesInit),                  // prlimit64
        (203, SparesInit),                  // sched_setaffinity
        (144, SparesInit),                  // sched_setscheduler
        (142, SparesInit),                  // sched_setparam
        (314, SparesInit),                  // sched_setattr
        (141, PRIORITY),                    // setpriority
        (251, IO_PRIORITY),                 // ioprio_set
    ],
};

const I386: Architecture = Architecture {
    audit: 0x4000_0003,
    x32: false,
    calls: &[
        (120, NEW_USERS),                   // clone
        (310, NEW_USERS),                   // unshare
        (5, Opens { flags: 1, mode: 2 }),   // open
        (295, Opens { flags: 2, mode: 3 }), // openat
        (8, mode_in(1)),                    // creat
        (15, mode_in(1)),                   // chmod
        (94, mode_in(1)),                   // fchmod
        (306, mode_in(2)),                  // fchmodat
        (14, mode_in(1)),                   // mknod
        (297, mode_in(2)),                  // mknodat
        (286, Refused(EPERM)),              // add_key
        (287, Refused(EPERM)),              // request_key
        (288, Refused(EPERM)),              // keyctl
        (340, SparesInit),                  // prlimit64
        (241, SparesInit),                  // sched_setaffinity
        (156, SparesInit),                  // sched_setscheduler
        (154, SparesInit),                  // sched_setparam
        (351, SparesInit),                  // sched_setattr
        (97, PRIORITY),                     // setpriority
        (289, IO_PRIORITY),                 // ioprio_set
    ],
};

const AARCH64: Architecture = Architecture {
    audit: 0xc000_00b7,
    x32: false,
    calls: &[
        (220, NEW_USERS),                  // clone
        (97, NEW_USERS),                   // unshare
        (56, Opens { flags: 2, mode: 3 }), // openat
        (52, mode_in(1)),                  // fchmod
        (53, mode_in(2)),                  // fchmodat
        (33, mode_in(2)),                  // mknodat
        (217, Refused(EPERM)),             // add_key
        (218, Refused(EPERM)),             // request_key
        (219, Refused(EPERM)),             // keyctl
        (261, SparesInit),                 // prlimit64
        (122, SparesInit),                 // sched_setaffinity
        (119, SparesInit),                 // sched_setscheduler
        (118, SparesInit),                 // sched_setparam
        (274, SparesInit),                 // sched_setattr
        (140, PRIORITY),                   // setpriority
        (30, IO_PRIORITY),                 // ioprio_set
    ],
};

const ARM: Architecture = Architecture {
    audit: 0x4000_0028,
    x32: false,
    calls: &[
        (120, NEW_USERS),                   // clone
        (337, NEW_USERS),                   // unshare
        (5, Opens { flags: 1, mode: 2 }),   // open
        (322, Opens { flags: 2, mode: 3 }), // openat
        (8, mode_in(1)),                    // creat
        (15, mode_in(1)),                   // chmod
        (94, mode_in(1)),                   // fchmod
        (333, mode_in(2)),                  // fchmodat
        (14, mode_in(1)),                   // mknod
        (324, mode_in(2)),                  // mknodat
        (309, Refused(EPERM)),              // add_key
        (310, Refused(EPERM)),              // request_key
        (311, Refused(EPERM)),              // keyctl
        (369, SparesInit),                  // prlimit64
        (241, SparesInit),                  // sched_setaffinity
        (156, SparesInit),                  // sched_setscheduler
        (154, SparesInit),                  // sched_setparam
        (380, SparesInit),                  // sched_setattr
        (97, PRIORITY),                     // setpriority
        (314, IO_PRIORITY),                 // ioprio_set
    ],
};

/// The architectures that a kernel for `machine` runs, its own first.
const fn architectures(machine: &str) -> Option<[Architecture; 2]> {
    match machine.as_bytes() {
        b"x86_64" => Some([X86_64, I386]),
        b"aarch64" => Some([AARCH64, ARM]),
        _ => None,
    }
}

/// The program that refuses those calls and lets all else through; none where
/// the machine's numbers are not known here.
pub(super) fn program(machine: &str) -> Option<Bytes> {
    let mut program = vec![load(ARCHITECTURE)];
    for architecture in architectures(machine)? {
        let mut block = vec![load(NUMBER)];
        if architecture.x32 {
            block.push(jump(JUMP_IF_AT_LEAST, X32, 0, 1));
            block.push(give(EPERM));
        }
        let mut calls = [architecture.calls, &EVERYWHERE].concat();
        calls.sort_unstable_by_key(|(number, _)| *number);
        block.extend(tree(&calls)?);
        let over = u8::try_from(block.len()).ok()?;
        program.push(jump(JUMP_IF_EQUAL, architecture.audit, 0, over));
        program.append(&mut block);
    }
    program.push(give(KILL_PROCESS));
    Some(Bytes(
        program.iter().flat_map(Instruction::to_bytes).collect(),
    ))
}

/// Finds the call among these, sorted by number, in as few steps as there are
/// bits in their count: the kernel runs this for every call that a guest makes,
/// and once for every number when it is installed. Every way through it returns.
fn tree(calls: &[(u32, Fate)]) -> Option<Vec<Instruction>> {
    match calls {
        [] => Some(vec![give(ALLOW)]),
        [(number, fate)] => {
            let body = body(*fate);
            let over = u8::try_from(body.len()).ok()?;
            let mut leaf = vec![jump(JUMP_IF_EQUAL, *number, 0, over)];
            leaf.extend(body);
            leaf.push(give(ALLOW));
            Some(leaf)
        }
        _ => {
            let (below, from) = calls.split_at(calls.len() / 2);
            let (first, _) = from.first()?;
            let below = tree(below)?;
            let over = u8::try_from(below.len()).ok()?;
            let mut node = vec![jump(JUMP_IF_AT_LEAST, *first, over, 0)];
            node.extend(below);
            node.extend(tree(from)?);
            Some(node)
        }
    }
}

/// What is done once the call is known; every way through it returns.
fn body(fate: Fate) -> Vec<Instruction> {
    let without = |argument: u32, bits| {
        [
            load(ARGUMENTS + 8 * argument),
            jump(JUMP_IF_ANY_BIT, bits, 0, 1),
            give(EPERM),
            give(ALLOW),
        ]
    };
    match fate {
        Refused(errno) => vec![give(errno)],
        Without { argument, bits } => without(argument, bits).into(),
        SparesInit => vec![
            load(ARGUMENTS),
            jump(JUMP_IF_EQUAL, 1, 0, 1),
            give(EPERM),
            give(ALLOW),
        ],
        SparesInitAnd { users } => vec![
            load(ARGUMENTS),
            // To the refusal.
            jump(JUMP_IF_EQUAL, users, 2, 0),
            load(ARGUMENTS + 8),
            jump(JUMP_IF_EQUAL, 1, 0, 1),
            give(EPERM),
            give(ALLOW),
        ],
        Opens { flags, mode } => {
            let mut body = vec![
                load(ARGUMENTS + 8 * flags),
                // To the last instruction, which allows.
                jump(JUMP_IF_ANY_BIT, CREATES, 0, 3),
            ];
            body.extend(without(mode, SET_ID));
            body
        }
    }
}

const fn load(k: u32) -> Instruction {
    jump(LOAD, k, 0, 0)
}

const fn give(k: u32) -> Instruction {
    jump(RETURN, k, 0, 0)
}

const fn jump(code: u16, k: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction {
        code,
        if_true,
        if_false,
        k,
    }
}

impl Instruction {
    /// In the byte order of both machines above.
    fn to_bytes(&self) -> [u8; 8] {
        let [c0, c1] = self.code.to_le_bytes();
        let [k0, k1, k2, k3] = self.k.to_le_bytes();
        [c0, c1, self.if_true, self.if_false, k0, k1, k2, k3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINES: [&str; 2] = ["x86_64", "aarch64"];

    /// Runs a program over `(arch, nr, args)` as the kernel would.
    fn run(program: &Bytes, architecture: u32, number: u32, arguments: [u32; 4]) -> u32 {
        let code: Vec<_> = program.0.chunks(8).collect();
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let [c0, c1, if_true, if_false, k @ ..] = code[at] else {
                panic!("length")
            };
            let k = u32::from_le_bytes(k.try_into().unwrap());
            let jump = |taken: bool| usize::from(if taken { *if_true } else { *if_false });
            at += 1;
            match u16::from_le_bytes([*c0, *c1]) {
                LOAD => {
                    accumulator = match k {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        k => arguments[((k - ARGUMENTS) / 8) as usize],
                    }
                }
                JUMP_IF_EQUAL => at += jump(accumulator == k),
                JUMP_IF_AT_LEAST => at += jump(accumulator >= k),
                JUMP_IF_ANY_BIT => at += jump(accumulator & k != 0),
                RETURN => return k,
                other => panic!("code {other:#x}"),
            }
        }
    }

    /// Every call with arguments, for each architecture of each machine.
    fn verdicts(arguments: [u32; 4], mut check: impl FnMut(&Architecture, u32, u32)) {
        for machine in MACHINES {
            let program = program(machine).unwrap();
            for architecture in architectures(machine).unwrap() {
                for number in 0..600 {
                    let verdict = run(&program, architecture.audit, number, arguments);
                    check(&architecture, number, verdict);
                }
            }
        }
    }

    fn fate(architecture: &Architecture, number: u32) -> Option<Fate> {
        let mut calls = architecture.calls.iter().chain(&EVERYWHERE);
        calls.find(|call| call.0 == number).map(|call| call.1)
    }

    #[test]
    fn without_a_power_in_its_arguments_only_what_is_refused_by_name_fails() {
        verdicts([0; 4], |architecture, number, verdict| {
            let expected = match fate(architecture, number) {
                Some(Refused(errno)) => errno,
                _ => ALLOW,
            };
            assert_eq!(verdict, expected, "{:#x} {number}", architecture.audit);
        });
    }

    #[test]
    fn no_call_makes_a_set_id_file_or_a_user_namespace() {
        verdicts([u32::MAX; 4], |architecture, number, verdict| {
            let expected = match fate(architecture, number) {
                Some(Refused(errno)) => errno,
                Some(Without { .. } | Opens { .. }) => EPERM,
                Some(SparesInit | SparesInitAnd { .. }) | None => ALLOW,
            };
            assert_eq!(verdict, expected, "{:#x} {number}", architecture.audit);
        });
    }

    #[test]
    fn pid_1_s_limits_and_priority_are_not_the_guest_s_to_set() {
        for arguments in [[1, 1, 0, 0], [0, 0, 0, 0], [2, 7, 0, 0], [3, 7, 0, 0]] {
            verdicts(arguments, |architecture, number, verdict| {
                let refused = match fate(architecture, number) {
                    Some(SparesInit) => arguments[0] == 1,
                    Some(SparesInitAnd { users }) => arguments[1] == 1 || arguments[0] == users,
                    _ => return,
                };
                assert_eq!(verdict == EPERM, refused, "{number} {arguments:?}");
            });
        }
    }

    #[test]
    fn an_open_that_creates_nothing_has_no_mode() {
        let program = program("x86_64").unwrap();
        let openat = |flags, mode| run(&program, X86_64.audit, 257, [0, 0, flags, mode]);
        assert_eq!(openat(0o2, 0o4755), ALLOW);
        assert_eq!(openat(0o102, 0o755), ALLOW);
        assert_eq!(openat(0o102, 0o4755), EPERM);
        assert_eq!(openat(0o20_200_002, 0o2755), EPERM);
    }

    #[test]
    fn x32_calls_and_foreign_architectures_are_refused() {
        let program = program("x86_64").unwrap();
        assert_eq!(run(&program, X86_64.audit, X32 | 1, [0; 4]), EPERM);
        assert_eq!(run(&program, AARCH64.audit, 1, [0; 4]), KILL_PROCESS);
        assert_eq!(super::program("riscv64"), None);
    }
}
