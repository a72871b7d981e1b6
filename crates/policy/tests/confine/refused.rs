//! What is asked of a process that confines itself and takes more than a process.

use super::*;

#[test]
fn a_rule_that_no_process_can_lay_upon_itself_is_refused_where_it_is_required() {
    for rule in Rule::ALL.iter().filter(|rule| !RULES.contains(rule)) {
        let policy = Policy::strict().require_as(*rule, Strength::Supervisor, "--require it");
        let unmet = unmet(decide(&policy, &machine(), &process(Start::Stays)));
        assert_eq!(unmet.len(), 1, "{unmet:?}");
        let (refused, reason, remedy) = &unmet[0];
        assert_eq!(refused, rule);
        assert!(reason.contains("not in confine") && reason.contains("--require it"));
        assert!(remedy.contains("belljar run"), "{remedy}");
    }
}

#[test]
fn words_that_take_a_jar_are_refused_with_the_way_out() {
    let stays = process(Start::Stays);
    for preset in [Policy::standard(), Policy::of(Preset::Standard)] {
        let reason = invalid(decide(&preset, &machine(), &stays));
        assert!(reason.contains("`minimal` or `strict`"), "{reason}");
    }
    let bound = Bound {
        hard: Some(1 << 30),
        ..Bound::default()
    };
    for limit in Limit::ALL {
        let policy = Policy::strict().limit(*limit, bound);
        let Ok(policy) = policy else { continue };
        let decided = decide(&policy, &machine(), &stays);
        if RULES.contains(&limit.rule()) {
            decided.unwrap();
        } else {
            let reason = invalid(decided);
            assert!(reason.contains(limit.word()), "{limit}: {reason}");
        }
    }
    // Who says that it need not be held, or lifts it, is not told that it is.
    let lifted = Policy::strict()
        .limit(Limit::Memory, Bound::default())
        .unwrap();
    decide(&lifted, &machine(), &stays).unwrap();
    let accepted = Policy::strict()
        .limit(Limit::Memory, bound)
        .unwrap()
        .best_effort(Rule::Memory);
    let plan = planned(&accepted, &machine(), &stays);
    assert!(plan.limits.iter().all(|limit| limit.limit != Limit::Memory));
    for policy in [
        Policy::strict().set_env("A", "b").unwrap(),
        Policy::strict().end_on(Rule::Nesting),
        Policy::strict().together(Limit::Memory, 1 << 30).unwrap(),
    ] {
        let reason = invalid(decide(&policy, &machine(), &stays));
        assert!(reason.contains("belljar run"), "{reason}");
    }
}

#[test]
fn grants_that_take_mounts_or_somebody_who_connects_are_refused() {
    let cases = [
        ("/srv", Some("/in"), FileKind::Directory, false),
        ("/run/bus", None, FileKind::Socket, false),
        ("/", None, FileKind::Directory, true),
        ("/proc", None, FileKind::Directory, true),
    ];
    for (at, inside, kind, write) in cases {
        let mut verified = true_program();
        survey(&mut verified, at, found(at, kind));
        let mut policy = Policy::minimal();
        let grants = match write {
            true => &mut policy.flags.write,
            false => &mut policy.flags.read,
        };
        grants.push(Place {
            path: path(at),
            at: inside.map(path),
        });
        let decided = confine::plan(&verified, &policy, &machine(), &process(Start::Stays));
        let reason = invalid(decided);
        assert!(reason.contains(at), "{reason}");
    }
}

#[test]
fn descriptors_that_are_a_way_out_are_not_kept() {
    for (number, kind, kept) in [
        (7, HeldKind::Place, false),
        (7, HeldKind::WrittenFile { read: false }, false),
        (7, HeldKind::LooseSocket, false),
        (7, HeldKind::Other, true),
        (1, HeldKind::WrittenFile { read: false }, true),
    ] {
        let holds = Process {
            held: vec![Held { number, kind }],
            ..process(Start::Stays)
        };
        let decided = decide(&Policy::strict(), &machine(), &holds);
        match kept {
            true => drop(decided.unwrap()),
            false => assert!(invalid(decided).contains("descriptor 7")),
        }
    }
}

#[test]
fn a_stream_from_which_sockets_of_the_machine_are_reached_gives_the_rule_up() {
    let loose = Process {
        held: vec![Held {
            number: 1,
            kind: HeldKind::LooseSocket,
        }],
        ..process(Start::Stays)
    };
    let refused = unmet(decide(&Policy::strict(), &machine(), &loose));
    assert_eq!(refused.len(), 1, "{refused:?}");
    let (rule, reason, remedy) = &refused[0];
    assert_eq!(*rule, Rule::Sockets);
    assert!(
        reason.starts_with("descriptor 1 is a unix socket"),
        "{reason}"
    );
    assert!(remedy.contains("--best-effort sockets"), "{remedy}");
    let accepting = Policy::strict().best_effort(Rule::Sockets);
    let plan = planned(&accepting, &machine(), &loose);
    assert_eq!(strength(&plan, Rule::Sockets), Strength::None);
}

#[test]
fn no_place_with_a_procfs_in_it_is_written() {
    let with = |procs: &[&str]| Process {
        procs: procs.iter().map(|at| path(at)).collect(),
        ..process(Start::Stays)
    };
    let (verified, policy) = writing();
    for procs in [["/out/jar/proc"], ["/out"], ["/"]] {
        let decided = confine::plan(&verified, &policy, &machine(), &with(&procs));
        assert!(invalid(decided).contains("a procfs in it"), "{procs:?}");
    }
    confine::plan(
        &verified,
        &policy,
        &machine(),
        &with(&["/proc", "/outer/proc"]),
    )
    .unwrap();
}

#[test]
fn other_systems_and_unknown_machines_are_told_apart() {
    let elsewhere = HostFacts {
        os: Os::Freebsd,
        ..machine()
    };
    let why = unsupported(&Policy::strict(), &elsewhere, &process(Start::Stays));
    assert!(why.what.contains("Freebsd"), "{why:?}");
    let unknown = HostFacts {
        machine: "vax".into(),
        ..machine()
    };
    let refused = unmet(decide(&Policy::strict(), &unknown, &process(Start::Stays)));
    assert!(refused.iter().any(|(rule, ..)| *rule == Rule::Syscalls));
    let no_seccomp = HostFacts {
        seccomp: Ability::Unavailable {
            cause: "no filters here".into(),
            remedy: "boot another".into(),
        },
        ..machine()
    };
    let refused = unmet(decide(
        &Policy::strict(),
        &no_seccomp,
        &process(Start::Stays),
    ));
    let of = |wanted| refused.iter().find(|(rule, ..)| *rule == wanted);
    for rule in [Rule::Syscalls, Rule::Nesting, Rule::Files, Rule::Privileges] {
        assert_eq!(of(rule).unwrap().1, "no filters here", "{rule}");
    }
}
