//! The compiler is held to the evaluator, and both to what the lists promise.

use belljar_plan::{
    Filter as Asked, Preset, Rule,
    filter::{Code, Exec, Unix},
};
use proptest::prelude::*;

use super::{
    bpf::Ear,
    filter::{UNKNOWN, X32},
    *,
};

const SECRETS: Secrets = Secrets {
    arguments: 0x7f12_3456_7000,
    variables: 0x5512_0000_0ff8,
};

fn asked(machine: &str, preset: Preset) -> Asked {
    let strict = preset == Preset::Strict;
    Asked {
        machine: machine.to_owned(),
        preset,
        exec: if strict { Exec::Once } else { Exec::Any },
        code: if strict { Code::Fixed } else { Code::Any },
        unix: Unix::Visible,
        internet: true,
        objects: true,
        allow: Vec::new(),
        deny: Vec::new(),
        events: true,
        observe: false,
    }
}

/// Every filter that a plan can ask for, but for a policy's own lists.
fn every() -> impl Strategy<Value = Asked> {
    let machine = prop::sample::select(vec!["x86_64", "aarch64"]);
    let preset = prop::sample::select(Preset::ALL);
    let exec = prop::sample::select(vec![Exec::Any, Exec::Once, Exec::None]);
    let code = prop::sample::select(vec![
        Code::Any,
        Code::Fixed,
        Code::FixedByMdwe,
        Code::Closed,
    ]);
    let unix = prop::sample::select(vec![Unix::Visible, Unix::Pairs, Unix::Performed]);
    (
        machine,
        preset,
        exec,
        code,
        unix,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(machine, preset, exec, code, unix, internet, events, observe)| Asked {
                exec,
                code,
                unix,
                internet,
                events,
                observe,
                ..asked(machine, preset)
            },
        )
}

/// Arguments that the checks look for, often, with anything in the upper half.
fn argument() -> impl Strategy<Value = u64> {
    let likely = vec![
        0_u64,
        1,
        2,
        3,
        5,
        6,
        7,
        8,
        10,
        15,
        16,
        17,
        22,
        33,
        34,
        38,
        40,
        47,
        58,
        0x20,
        0x21,
        0x22,
        0x80,
        0x5401,
        0x5412,
        0x541c,
        0x5423,
        0o644,
        0o4755,
        0o102,
        0o020_644,
        0o060_600,
        0o100_644,
        0x1000_0000,
        0x2000_0000,
        0x0002_0000,
        0x0040_0000,
        1031,
        0xffff_ffff,
        0x8004_5430,
    ];
    prop_oneof![
        4 => prop::sample::select(likely),
        1 => any::<u64>(),
        1 => any::<u32>().prop_map(u64::from),
        1 => Just(SECRETS.arguments),
        1 => Just(SECRETS.variables),
    ]
    .prop_flat_map(|low| {
        prop_oneof![
            3 => Just(low),
            1 => any::<u32>().prop_map(move |high| low | u64::from(high) << 32),
        ]
    })
}

fn agree(filter: &Filter, program: &Program, attempt: &Attempt) {
    let verdict = filter.evaluate(attempt, Some(SECRETS));
    let (action, steps) = program.run(attempt);
    assert_eq!(action, bpf::action(verdict, filter.ear), "{attempt:x?}");
    assert!(steps < 64, "{steps} instructions for {attempt:x?}");
}

/// The answer without anybody who looks.
fn unobserved(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Observe => Verdict::Allow,
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_program_answers_as_the_evaluator_for_every_number(
        asked in every(),
        arguments in prop::array::uniform6(argument()),
    ) {
        let filter = Filter::new(&asked).unwrap();
        let program = filter.compile().with(SECRETS);
        let audits = [0xc000_003e_u32, 0xc000_00b7, 0x4000_0003, 0x4000_0028, 0];
        for audit in audits {
            for number in (0..=600).chain([X32 - 1, X32, X32 | 39, u32::MAX]) {
                agree(&filter, &program, &Attempt { audit, number, arguments });
            }
        }
    }

    #[test]
    fn a_jar_that_is_observed_is_allowed_and_denied_the_same(
        asked in every(),
        name in prop::sample::select(CALLS.iter().map(|call| call.name).collect::<Vec<_>>()),
        listed in any::<[bool; 2]>(),
        arguments in prop::collection::vec(prop::array::uniform6(argument()), 8),
    ) {
        let list = |yes: bool| yes.then(|| name.to_owned()).into_iter().collect();
        let asked = Asked { allow: list(listed[0]), deny: list(listed[1]), ..asked };
        let with = Filter::new(&Asked { observe: true, ..asked.clone() }).unwrap();
        let without = Filter::new(&Asked { observe: false, ..asked }).unwrap();
        let audit = with.architecture().audit();
        for arguments in arguments {
            for number in (0..=600).chain([X32 | 39]) {
                let attempt = Attempt { audit, number, arguments };
                for secrets in [None, Some(SECRETS)] {
                    let (seen, unseen) = (with.evaluate(&attempt, secrets), without.evaluate(&attempt, secrets));
                    prop_assert_eq!(unobserved(seen), unseen, "{:x?}", attempt);
                    // What is let go on is what is allowed, and names something to look at.
                    if seen == Verdict::Observe {
                        prop_assert_eq!(unseen, Verdict::Allow);
                        prop_assert!(!with.named(&attempt).is_empty());
                    }
                }
            }
        }
    }

    #[test]
    fn any_decisions_compile_to_what_they_say(
        decisions in prop::collection::btree_map(0..40_u32, decision(), 0..20),
        arguments in prop::collection::vec(prop::array::uniform6(0..4_u64), 8),
        ear in prop::sample::select(vec![Ear::Deaf, Ear::Told, Ear::Quiet]),
    ) {
        let decisions = decisions.into_iter().collect();
        let filter = Filter { architecture: Architecture::Aarch64, ear, decisions };
        let program = filter.compile().with(SECRETS);
        for arguments in arguments {
            for number in 0..45 {
                agree(&filter, &program, &Attempt { audit: Architecture::Aarch64.audit(), number, arguments });
            }
        }
    }
}

/// Decisions over small numbers, so that checks meet what they look for.
fn decision() -> impl Strategy<Value = Decision> {
    let verdict = || {
        prop::sample::select(vec![
            Verdict::Allow,
            Verdict::Observe,
            Verdict::Perform,
            UNKNOWN,
            filter::FOREIGN,
        ])
    };
    let test = prop_oneof![
        (0..4_u32).prop_map(Test::Any),
        (0..4_u32, prop::collection::vec(0..4_u32, 0..6))
            .prop_map(|(mask, values)| Test::Among { mask, values }),
        prop::collection::vec(0..4_u32, 0..6).prop_map(|values| Test::Among {
            mask: u32::MAX,
            values
        }),
        (0..4_u64).prop_map(Test::Whole),
    ];
    let check = (0..6_u8, test, any::<bool>()).prop_map(|(argument, test, wanted)| Check {
        argument,
        test,
        wanted,
    });
    let clause = (prop::collection::vec(check, 0..4), verdict())
        .prop_map(|(checks, verdict)| Clause { checks, verdict });
    (prop::collection::vec(clause, 0..6), verdict())
        .prop_map(|(clauses, otherwise)| Decision { clauses, otherwise })
}

fn verdict(asked: &Asked, name: &str, arguments: [u64; 6]) -> Option<Verdict> {
    let filter = Filter::new(asked).unwrap();
    let architecture = filter.architecture();
    let number = Call::named(name).expect(name).number(architecture)?;
    let attempt = Attempt {
        audit: architecture.audit(),
        number,
        arguments,
    };
    Some(filter.evaluate(&attempt, None))
}

fn each(test: impl Fn(&Asked)) {
    for machine in ["x86_64", "aarch64"] {
        for preset in Preset::ALL {
            test(&asked(machine, *preset));
        }
    }
}

#[track_caller]
fn denied(asked: &Asked, name: &str, arguments: [u64; 6]) -> Option<Denial> {
    match verdict(asked, name, arguments)? {
        Verdict::Deny(denial) => Some(denial),
        other => panic!("{name} {arguments:x?} under {}: {other:?}", asked.preset),
    }
}

#[track_caller]
fn allowed(asked: &Asked, name: &str, arguments: [u64; 6]) {
    if let Some(verdict) = verdict(asked, name, arguments) {
        assert_eq!(verdict, Verdict::Allow, "{name} under {}", asked.preset);
    }
}

#[test]
fn dangerous_groups_are_gone_in_every_preset() {
    let groups = [
        Group::Rings,
        Group::KernelPrograms,
        Group::Keyrings,
        Group::Tracing,
        Group::Mounts,
        Group::Handles,
        Group::Machine,
        Group::Clock,
        Group::Rare,
        Group::Gone,
        Group::Unreadable,
    ];
    each(|asked| {
        for call in CALLS.iter().filter(|call| groups.contains(&call.group)) {
            denied(asked, call.name, [0; 6]);
        }
        for name in ["setns", "chroot"] {
            denied(asked, name, [0; 6]);
        }
    });
}

/// The upper half of a register holds nothing that the kernel looks at.
fn with_upper_bits(value: u64) -> [u64; 2] {
    [value, value | 0xdead_beef << 32]
}

#[test]
fn flags_and_requests_are_refused_whatever_the_upper_half_holds() {
    each(|asked| {
        for request in [0x5412, 0x541c, 0x5423] {
            for request in with_upper_bits(request) {
                denied(asked, "ioctl", [0, request, 0, 0, 0, 0]);
            }
        }
        for (flag, _) in names::NAMESPACES {
            for flags in with_upper_bits(u64::from(*flag)) {
                let denial = denied(asked, "clone", [flags | 17, 0, 0, 0, 0, 0]);
                assert!(denial.is_none_or(|denial| denial.rule == Rule::Nesting));
                denied(asked, "unshare", [flags, 0, 0, 0, 0, 0]);
            }
        }
        denied(asked, "unshare", [0x80, 0, 0, 0, 0, 0]);
        // Threads, fork and vfork, as libcs make them.
        for flags in [0x3d_0f00, 0x0120_0011, 0x4111, 17] {
            allowed(asked, "clone", [flags, 0, 0, 0, 0, 0]);
        }
        for family in with_upper_bits(38) {
            denied(asked, "socket", [family, 5, 0, 0, 0, 0]);
        }
        for mode in with_upper_bits(0o4755) {
            denied(asked, "fchmodat", [0, 0, mode, 0, 0, 0]);
        }
    });
}

#[test]
fn sockets_are_of_few_families_and_never_raw() {
    each(|asked| {
        for family in 0..64 {
            for kind in 0..12 {
                let arguments = [family, kind | 0x80000, 0, 0, 0, 0];
                let ordinary = match family {
                    1 | 16 => true,
                    2 | 10 => matches!(kind, 1 | 2),
                    _ => false,
                };
                match ordinary {
                    true => allowed(asked, "socket", arguments),
                    false => drop(denied(asked, "socket", arguments)),
                }
            }
        }
        for protocol in 1..32 {
            denied(asked, "socket", [16, 3, protocol, 0, 0, 0]);
        }
        for protocol in [33, 115, 132, 136, 256] {
            denied(asked, "socket", [2, 1, protocol, 0, 0, 0]);
        }
        let denial = denied(asked, "socket", [10, 1 | 0x800, 262, 0, 0, 0]).unwrap();
        assert_eq!(
            (denial.errno, denial.seen),
            (Errno::Protonosupport, Seen::Quiet)
        );
    });
}

#[test]
fn where_sockets_of_the_machine_may_be_seen_only_pairs_are_made_unheld() {
    each(|asked| {
        for unix in [Unix::Pairs, Unix::Performed] {
            let asked = Asked {
                unix,
                ..asked.clone()
            };
            denied(&asked, "socket", [1, 2, 0, 0, 0, 0]);
            denied(&asked, "socketpair", [1, 2, 0, 0, 0, 0]);
            denied(&asked, "socketpair", [1, 3, 0, 0, 0, 0]);
            allowed(&asked, "socketpair", [1, 1 | 0x800, 0, 0, 0, 0]);
            let stream = verdict(&asked, "socket", [1, 1, 0, 0, 0, 0]);
            let connect = verdict(&asked, "connect", [0; 6]);
            match unix {
                Unix::Performed => {
                    assert_eq!(stream, Some(Verdict::Allow));
                    assert_eq!(connect, Some(Verdict::Perform));
                }
                _ => assert!(matches!(stream, Some(Verdict::Deny(_)))),
            }
        }
    });
}

#[test]
fn without_a_namespace_for_them_no_shared_object_is_found() {
    each(|asked| {
        let asked = Asked {
            objects: false,
            ..asked.clone()
        };
        for call in CALLS
            .iter()
            .filter(|call| call.group == Group::SharedObjects)
        {
            let denial = denied(&asked, call.name, [0; 6]);
            assert!(denial.is_none_or(|denial| denial.rule == Rule::Ipc));
        }
    });
}

#[test]
fn what_libcs_probe_answers_enosys_unseen() {
    each(|asked| {
        for (name, seen) in [
            ("clone3", Seen::Never),
            ("openat2", Seen::Never),
            ("io_uring_setup", Seen::Quiet),
        ] {
            let denial = denied(asked, name, [0; 6]).unwrap();
            assert_eq!((denial.errno, denial.seen), (Errno::Nosys, seen));
        }
    });
}

#[test]
fn no_call_makes_a_set_id_file_or_a_device() {
    each(|asked| {
        for name in ["chmod", "fchmod", "creat"] {
            denied(asked, name, [0, 0o2755, 0, 0, 0, 0]);
            allowed(asked, name, [0, 0o1755, 0, 0, 0, 0]);
        }
        for name in ["fchmodat", "fchmodat2"] {
            denied(asked, name, [0, 0, 0o4755, 0, 0, 0]);
        }
        denied(asked, "openat", [0, 0, 0o102, 0o4755, 0, 0]);
        denied(asked, "openat", [0, 0, 0o20_200_002, 0o2755, 0, 0]);
        // An open that creates nothing has no mode.
        allowed(asked, "openat", [0, 0, 0o2, 0o4755, 0, 0]);
        for kind in [0o020_000, 0o060_000] {
            denied(asked, "mknodat", [0, 0, kind | 0o644, 0, 0, 0]);
        }
        allowed(asked, "mknodat", [0, 0, 0o010_644, 0, 0, 0]);
        denied(asked, "mknodat", [0, 0, 0o104_755, 0, 0, 0]);
    });
}

/// What a rename leaves behind is a device file, if it is asked for.
#[test]
fn a_rename_leaves_no_device() {
    each(|asked| {
        let denial = denied(asked, "renameat2", [0, 0, 0, 0, 5, 0]).unwrap();
        assert_eq!((denial.rule, denial.seen), (Rule::Devices, Seen::Told));
        allowed(asked, "renameat2", [0, 0, 0, 0, 3, 0]);
    });
}

#[test]
fn the_task_at_the_other_end_of_a_socket_is_not_the_guest_s_to_hold() {
    each(|asked| {
        for (name, option) in [("getsockopt", 77), ("setsockopt", 76)] {
            for level in with_upper_bits(1) {
                let denial = denied(asked, name, [3, level, option, 0, 0, 0]).unwrap();
                assert_eq!(
                    (denial.errno, denial.seen),
                    (Errno::Noprotoopt, Seen::Quiet)
                );
            }
            // Who it is may be asked.
            allowed(asked, name, [3, 1, 17, 0, 0, 0]);
        }
    });
}

#[test]
fn a_guest_makes_nobody_wait_for_a_file_it_reads() {
    each(|asked| {
        assert!(denied(asked, "fcntl", [3, 1024, 0, 0, 0, 0]).is_some());
        allowed(asked, "fcntl", [3, 3, 0, 0, 0, 0]);
        allowed(asked, "fcntl", [3, 1025, 0, 0, 0, 0]);
    });
}

#[test]
fn the_bound_on_cores_is_no_guest_s_to_set() {
    const CORE: u64 = 4;
    each(|asked| {
        for core in with_upper_bits(CORE) {
            // At any address, those included of which one half is zero.
            for new in [1, 0x7fff_0000_1000, 0x1_0000_0000] {
                let denial = denied(asked, "prlimit64", [0, core, new, 0, 0, 0]);
                assert_eq!(denial.map(|denial| denial.errno), Some(Errno::Done));
            }
            allowed(asked, "prlimit64", [0, core, 0, 1, 0, 0]);
            denied(asked, "setrlimit", [core, 0, 0, 0, 0, 0]);
        }
        allowed(asked, "setrlimit", [7, 1, 0, 0, 0, 0]);
        allowed(asked, "prlimit64", [0, 7, 1, 0, 0, 0]);
    });
}

#[test]
fn pid_1_s_limits_and_priority_are_not_the_guest_s_to_set() {
    each(|asked| {
        for name in ["prlimit64", "sched_setaffinity", "sched_setparam"] {
            for task in with_upper_bits(1) {
                denied(asked, name, [task, 0, 0, 0, 0, 0]);
            }
            allowed(asked, name, [0; 6]);
        }
        denied(asked, "setpriority", [0, 1, 5, 0, 0, 0]);
        denied(asked, "setpriority", [2, 7, 5, 0, 0, 0]);
        denied(asked, "ioprio_set", [3, 7, 5, 0, 0, 0]);
        denied(asked, "sched_setscheduler", [1, 0, 0, 0, 0, 0]);
    });
}

#[test]
fn scheduling_stays_fair_and_memory_as_it_is_laid_out() {
    each(|asked| {
        for policy in [0, 3, 5, 0x4000_0000] {
            allowed(asked, "sched_setscheduler", [0, policy, 0, 0, 0, 0]);
        }
        for policy in [1, 2, 6, 0x4000_0001] {
            denied(asked, "sched_setscheduler", [0, policy, 0, 0, 0, 0]);
        }
        allowed(asked, "personality", [0xffff_ffff, 0, 0, 0, 0, 0]);
        for persona in [0x0004_0000, 0x0040_0000] {
            denied(asked, "personality", [persona, 0, 0, 0, 0, 0]);
        }
    });
}

#[test]
fn urgent_data_is_refused_in_each_call_that_has_flags() {
    each(|asked| {
        for (name, at) in [
            ("sendto", 3),
            ("sendmsg", 2),
            ("sendmmsg", 3),
            ("recvfrom", 3),
            ("recvmsg", 2),
            ("recvmmsg", 3),
        ] {
            let mut arguments = [0; 6];
            arguments[at] = 0x4001;
            denied(asked, name, arguments);
            allowed(asked, name, [0; 6]);
        }
    });
}

#[test]
fn in_strict_one_start_is_let_through_and_only_by_its_addresses() {
    for machine in ["x86_64", "aarch64"] {
        let filter = Filter::new(&asked(machine, Preset::Strict)).unwrap();
        let architecture = filter.architecture();
        let attempt = |name, arguments, variables| Attempt {
            audit: architecture.audit(),
            number: Call::named(name).unwrap().number(architecture).unwrap(),
            arguments: [0, 0, arguments, variables, 0, 0],
        };
        let (a, v) = (SECRETS.arguments, SECRETS.variables);
        let answers = |attempt| filter.evaluate(&attempt, Some(SECRETS)) == Verdict::Allow;
        assert!(answers(attempt("execveat", a, v)));
        for (arguments, variables) in [(a, 0), (0, v), (v, a), (a | 1 << 63, v), (a ^ 8, v)] {
            assert!(!answers(attempt("execveat", arguments, variables)));
        }
        assert!(!answers(attempt("execve", a, v)));
        let nobody = filter.evaluate(&attempt("execveat", a, v), None);
        assert!(matches!(nobody, Verdict::Deny(denial) if denial.rule == Rule::Exec));
        assert!(filter.compile().secrets.is_some());
        let loose = Filter::new(&asked(machine, Preset::Standard)).unwrap();
        assert!(loose.compile().secrets.is_none());
    }
}

#[test]
fn in_strict_no_memory_that_was_written_is_executed() {
    let strict = asked("x86_64", Preset::Strict);
    let map = |protection, flags| [0, 4096, protection, flags, u64::MAX, 0];
    for arguments in [
        map(7, 0x22),
        map(6, 2),
        // Nothing is in it, but another name of it might be written.
        map(5, 0x21),
        map(5, 0x22),
        map(5, 1),
        map(5, 3),
        map(4 | 1 << 40, 1),
    ] {
        let denial = denied(&strict, "mmap", arguments).unwrap();
        assert_eq!(denial.rule, Rule::WritableCode, "{arguments:x?}");
    }
    // A library's code, and memory.
    allowed(&strict, "mmap", map(5, 0x812));
    allowed(&strict, "mmap", map(3, 0x22));
    for name in ["mprotect", "pkey_mprotect"] {
        denied(&strict, name, [0, 0, 5, 0, 0, 0]);
        allowed(&strict, name, [0, 0, 1, 0, 0, 0]);
        let by_mdwe = Asked {
            code: Code::FixedByMdwe,
            ..strict.clone()
        };
        allowed(&by_mdwe, name, [0, 0, 5, 0, 0, 0]);
    }
    denied(&strict, "memfd_create", [0; 6]);
    let jit = Asked {
        code: Code::Any,
        ..strict
    };
    allowed(&jit, "mmap", map(7, 0x22));
    allowed(&jit, "mprotect", [0, 0, 7, 0, 0, 0]);
    allowed(&jit, "memfd_create", [0; 6]);
}

#[test]
fn strict_has_no_filter_of_the_guest_s_own_and_standard_has() {
    let standard = asked("x86_64", Preset::Standard);
    allowed(&standard, "seccomp", [1, 0, 0, 0, 0, 0]);
    allowed(&standard, "prctl", [22, 2, 0, 0, 0, 0]);
    let strict = asked("x86_64", Preset::Strict);
    denied(&strict, "seccomp", [1, 0, 0, 0, 0, 0]);
    denied(&strict, "prctl", [22, 2, 0, 0, 0, 0]);
    allowed(&strict, "prctl", [15, 0, 0, 0, 0, 0]);
}

#[test]
fn a_policy_s_word_replaces_the_preset_s_and_its_deny_wins() {
    let asked = Asked {
        allow: vec!["bpf".into(), "uname".into()],
        deny: vec!["uname".into()],
        ..asked("x86_64", Preset::Strict)
    };
    allowed(&asked, "bpf", [0; 6]);
    let denial = denied(&asked, "uname", [0; 6]).unwrap();
    assert_eq!((denial.errno, denial.seen), (Errno::Perm, Seen::Told));
    let unknown = Asked {
        deny: vec!["unmae".into()],
        ..asked
    };
    assert_eq!(
        Filter::new(&unknown),
        Err(FilterError::NoSuchCall {
            name: "unmae".into()
        })
    );
}

#[test]
fn what_a_launch_itself_calls_after_the_filter_is_allowed() {
    each(|asked| {
        // Receipts, the listener's way out, and the end of a launch that failed.
        for name in OF_A_LAUNCH {
            // Arguments decide of these, and other tests look at what they decide.
            let looked_at = matches!(name, "execveat" | "mmap" | "sendmsg");
            let call = Call::named(name).unwrap();
            assert!(looked_at || denials(call, asked).is_empty(), "{name}");
        }
        allowed(asked, "write", [3, 0, 0, 0, 0, 0]);
        allowed(asked, "sendmsg", [3, 0, 0x4000, 0, 0, 0]);
        allowed(asked, "exit_group", [0; 6]);
        allowed(asked, "close", [0; 6]);
        allowed(asked, "clock_gettime", [0; 6]);
    });
}

#[test]
fn what_libcs_probe_answers_the_same_where_a_policy_denies_it() {
    let asked = Asked {
        deny: vec!["clone3".into(), "openat2".into()],
        ..asked("x86_64", Preset::Standard)
    };
    for name in ["openat2", CANARY] {
        let denial = denied(&asked, name, [0; 6]).unwrap();
        assert_eq!((denial.errno, denial.seen), (Errno::Nosys, Seen::Never));
    }
}

#[test]
fn nobody_s_ear_changes_what_a_call_answers() {
    each(|with| {
        let without = Asked {
            events: false,
            ..with.clone()
        };
        let (with, without) = (Filter::new(with).unwrap(), Filter::new(&without).unwrap());
        assert_eq!(with.decisions, without.decisions);
        let program = without.compile();
        assert!(
            program
                .instructions
                .iter()
                .all(|instruction| instruction.k != bpf::NOTIFY || instruction.code != bpf::RETURN)
        );
    });
}

/// The listener is not out yet: whatever waited then would wait for good.
#[test]
fn a_launch_waits_for_nobody_where_it_is_observed() {
    each(|asked| {
        let asked = Asked {
            observe: true,
            ..asked.clone()
        };
        let filter = Filter::new(&asked).unwrap();
        let program = filter.compile().with(SECRETS);
        let answer = |name: &str, arguments| {
            let number = Call::named(name)?.number(filter.architecture())?;
            let audit = filter.architecture().audit();
            Some(
                program
                    .run(&Attempt {
                        audit,
                        number,
                        arguments,
                    })
                    .0,
            )
        };
        let start = [100, 0, SECRETS.arguments, SECRETS.variables, 0, 0];
        assert_eq!(answer("execveat", start), Some(bpf::ALLOW));
        // It asks whether the filter holds by this one.
        assert_eq!(answer("clone3", [0; 6]), Some(bpf::ERRNO | 38));
        for name in ["write", "sendmsg", "close", "mmap", "exit_group"] {
            assert_eq!(answer(name, [0; 6]), Some(bpf::ALLOW), "{name}");
        }
        if asked.exec == Exec::Any {
            let other = [100, 0, 1, 2, 0, 0];
            assert_eq!(answer("execveat", other), Some(bpf::NOTIFY));
        }
        assert_eq!(answer("openat", [0; 6]), Some(bpf::NOTIFY));
        // What is open already is not looked at.
        assert_eq!(
            answer("newfstatat", [3, 0, 0, 0x1000, 0, 0]),
            Some(bpf::ALLOW)
        );
        assert_eq!(answer("sendto", [3, 0, 0, 0, 0, 0]), Some(bpf::ALLOW));
        let length = program.instructions.len();
        assert!(length < 500, "{length} instructions for {}", asked.preset);
    });
}

#[test]
fn no_two_calls_share_a_number_or_a_name() {
    for (at, call) in CALLS.iter().enumerate() {
        for other in &CALLS[at + 1..] {
            assert_ne!(call.name, other.name);
            for architecture in Architecture::ALL {
                let number = call.number(architecture);
                assert!(number.is_none() || number != other.number(architecture));
            }
        }
    }
}

#[test]
fn the_page_about_calls_is_written_from_the_tables() {
    let written = include_str!("../../../../docs/syscalls.md");
    assert!(written == page(), "cargo xtask schema writes it anew");
}

#[test]
fn filters_stay_small_and_shallow() {
    each(|asked| {
        let program = Filter::new(asked).unwrap().compile();
        let length = program.instructions.len();
        assert!(length < 400, "{length} instructions for {}", asked.preset);
    });
}
