//! The planner: what holds where, in which order, and what is refused.

mod common;

use belljar_plan::{
    Limit, Preset, Rule, Source, Step, Strength, plan::ProjectQuota, step::OwnedStep, wire,
};
use belljar_policy::{
    Policy, Refusal, Verified,
    facts::{Ability, Os},
    manifest::{Bound, Place},
    verified::{Executable, ExecutableKind, FileKind, Found, Library},
};
use common::{
    as_root, elf, exec, file, found, library, machine, path, plan, position, program, rule, survey,
    true_program,
};
use proptest::prelude::*;

fn preset(preset: Preset) -> Policy {
    let mut policy = Policy::default();
    policy.flags.preset = Some(preset);
    policy
}

fn unmet(refusal: Refusal) -> Vec<Rule> {
    match refusal {
        Refusal::Unmet { unmet } => unmet.into_iter().map(|unmet| unmet.rule).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn equal_input_gives_equal_bytes() {
    for facts in [machine(), as_root()] {
        for which in Preset::ALL {
            let digest = || belljar_policy::digest(&plan(&true_program(), &preset(*which), &facts));
            assert_eq!(digest(), digest());
        }
    }
}

#[test]
fn every_rule_of_the_contract_is_in_every_plan_once() {
    for which in Preset::ALL {
        let plan = plan(&true_program(), &preset(*which), &machine());
        let rules: Vec<Rule> = plan.rules.iter().map(|planned| planned.rule).collect();
        assert_eq!(rules, Rule::ALL);
    }
}

#[test]
fn a_bare_program_runs_standard() {
    let plan = plan(&true_program(), &Policy::default(), &machine());
    assert_eq!(plan.preset, Preset::Standard);
    assert_eq!(
        rule(&plan, Rule::Network).planned.strength,
        Strength::Kernel
    );
    let (path, arguments, variables) = exec(&plan);
    assert_eq!(
        (path.as_str(), arguments),
        ("/usr/bin/true", vec!["true".to_owned(), "one".to_owned()])
    );
    let names: Vec<_> = variables
        .iter()
        .map(|variable| variable.split('=').next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "HOME",
            "LANG",
            "NO_NETWORK",
            "PATH",
            "SANDBOX_POLICY",
            "TERM",
            "TMPDIR"
        ]
    );
    // The caller's own directory is not visible, so it is not on the PATH.
    assert!(
        variables.contains(
            &"PATH=/usr/bin:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin".to_owned()
        ),
        "{variables:?}"
    );
}

#[test]
fn minimal_keeps_the_machine_s_network_and_environment_but_no_secret() {
    let plan = plan(&true_program(), &preset(Preset::Minimal), &machine());
    assert_eq!(rule(&plan, Rule::Network).planned.strength, Strength::None);
    let (_, _, variables) = exec(&plan);
    assert!(variables.contains(&"HOME=/home/me".to_owned()));
    assert!(
        !variables
            .iter()
            .any(|variable| variable.starts_with("GITHUB_TOKEN")
                || variable.starts_with("NO_NETWORK"))
    );
    for secret in ["home/me/.ssh", "etc/shadow"] {
        assert!(
            position(
                &plan,
                |step| matches!(step, Step::Mask { path } if path.0 == secret.as_bytes())
            )
            .is_some(),
            "{secret}"
        );
    }
}

#[test]
fn strict_shows_the_program_and_its_libraries_and_nothing_else_of_the_system() {
    let plan = plan(&true_program(), &preset(Preset::Strict), &machine());
    let shown: Vec<String> = plan
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Bind {
                source: Source::Path { path, .. },
                ..
            } => Some(path.escaped()),
            _ => None,
        })
        .collect();
    assert_eq!(
        shown,
        [
            "/etc/ld.so.cache",
            "/usr/bin/true",
            "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
            "/usr/lib/x86_64-linux-gnu/libc.so.6"
        ]
    );
    assert_eq!(
        exec(&plan).2,
        [
            "HOME=/home/plugin",
            "NO_NETWORK=1",
            "NO_SUBPROCESS=1",
            "PATH=/bin",
            "SANDBOX_POLICY=strict",
            "TMPDIR=/tmp"
        ]
    );
}

#[test]
fn a_library_outside_the_system_is_not_shown_by_a_program_s_own_word() {
    let mut executable = elf("/usr/bin/true");
    if let ExecutableKind::Elf { libraries, .. } = &mut executable.kind {
        libraries.push(library("/home/me/hoard/lib.so", "/home/me/hoard/lib.so"));
    }
    for which in [Preset::Standard, Preset::Strict] {
        let plan = plan(
            &program("true", "/usr/bin/true", executable.clone()),
            &preset(which),
            &machine(),
        );
        assert!(!serde_json::to_string(&plan).unwrap().contains("hoard"));
    }
}

#[test]
fn what_a_runtime_is_known_to_keep_elsewhere_is_shown_in_strict() {
    let kept = "/etc/java-17-openjdk";
    let mut java = elf("/usr/lib/jvm/java-17/bin/java");
    if let ExecutableKind::Elf { elsewhere, .. } = &mut java.kind {
        elsewhere.push(Library {
            path: path(kept),
            file: found(kept, FileKind::Directory),
        });
    }
    let script = Executable {
        file: file("/home/me/work/s"),
        kind: ExecutableKind::Script {
            arguments: vec!["/usr/bin/java".into()],
            path: path("/usr/bin/java"),
            interpreter: Box::new(java.clone()),
        },
    };
    for executable in [java, script] {
        let verified = program("./s", "/home/me/work/s", executable);
        let plan = plan(&verified, &preset(Preset::Strict), &machine());
        let binds = |step: &OwnedStep| {
            matches!(step, Step::Bind { source: Source::Path { path, .. }, attributes, .. }
                if path.0 == kept.as_bytes() && attributes.read_only)
        };
        assert!(position(&plan, binds).is_some());
    }
}

#[test]
fn a_program_by_path_is_shown_at_its_own_path_and_alone() {
    let verified = program(
        "/home/me/work/tool",
        "/home/me/work/tool",
        elf("/home/me/work/tool"),
    );
    let plan = plan(&verified, &Policy::default(), &machine());
    assert_eq!(exec(&plan).0, "/home/me/work/tool");
    assert!(
        position(
            &plan,
            |step| matches!(step, Step::Bind { target, .. } if target.0 == b"home/me/work/tool")
        )
        .is_some()
    );
}

#[test]
fn a_program_under_tmp_gets_its_place_inside_the_private_tmp() {
    let verified = program("/tmp/x/tool", "/tmp/x/tool", elf("/tmp/x/tool"));
    let plan = plan(&verified, &Policy::default(), &machine());
    let scratch = position(
        &plan,
        |step| matches!(step, Step::Bind { target, .. } if target.0 == b"tmp"),
    )
    .unwrap();
    let parent = position(
        &plan,
        |step| matches!(step, Step::Directory { path, .. } if path.0 == b"tmp/x"),
    )
    .unwrap();
    let bind = position(
        &plan,
        |step| matches!(step, Step::Bind { target, .. } if target.0 == b"tmp/x/tool"),
    )
    .unwrap();
    assert!(scratch < parent && parent < bind);
}

#[test]
fn a_script_is_one_exec_of_its_interpreter() {
    let script = Executable {
        file: file("/home/me/work/s.py"),
        kind: ExecutableKind::Script {
            arguments: vec!["python3".into(), "-u".into()],
            path: path("/usr/bin/python3"),
            interpreter: Box::new(elf("/usr/bin/python3.11")),
        },
    };
    let plan = plan(
        &program("./s.py", "/home/me/work/s.py", script.clone()),
        &Policy::default(),
        &machine(),
    );
    let (at, arguments, _) = exec(&plan);
    assert_eq!(at, "/usr/bin/python3");
    assert_eq!(arguments, ["python3", "-u", "/home/me/work/s.py", "one"]);
    assert_eq!(
        position(&plan, |step| matches!(step, Step::Exec { .. })),
        Some(plan.steps.len() - 1)
    );
}

#[test]
fn a_strict_script_gets_its_interpreter_under_the_name_it_says() {
    let script = Executable {
        file: file("/home/me/work/s"),
        kind: ExecutableKind::Script {
            arguments: vec!["/bin/sh".into()],
            path: path("/bin/sh"),
            interpreter: Box::new(elf("/usr/bin/dash")),
        },
    };
    let verified = program("./s", "/home/me/work/s", script);
    let plan = plan(&verified, &preset(Preset::Strict), &machine());
    assert_eq!(exec(&plan).0, "/bin/sh");
    let link =
        |step: &OwnedStep| matches!(step, Step::Symlink { path, .. } if path.0 == b"usr/bin/sh");
    assert!(position(&plan, link).is_some());
}

#[test]
fn a_script_cannot_show_itself_an_interpreter_that_is_not_visible() {
    let script = Executable {
        file: file("/home/me/work/s"),
        kind: ExecutableKind::Script {
            arguments: vec!["/home/me/.ssh/id".into()],
            path: path("/home/me/.ssh/id"),
            interpreter: Box::new(elf("/home/me/.ssh/id")),
        },
    };
    for which in [Preset::Standard, Preset::Strict] {
        let refusal = belljar_policy::plan(
            &program("./s", "/home/me/work/s", script.clone()),
            &preset(which),
            &machine(),
        );
        assert_eq!(unmet(refusal.unwrap_err()), [Rule::Files]);
    }
}

#[test]
fn a_name_is_found_only_where_the_jar_sees_it() {
    let verified = program("tool", "/home/me/bin/tool", elf("/home/me/bin/tool"));
    let refusal = belljar_policy::plan(&verified, &Policy::default(), &machine()).unwrap_err();
    assert!(matches!(refusal, Refusal::NotFound { .. }), "{refusal:?}");
}

#[test]
fn without_user_namespaces_every_rule_that_needs_them_is_listed_with_its_cause_and_remedy() {
    let mut facts = machine();
    facts.namespaces = Ability::Unavailable {
        cause: "sysctl says no".into(),
        remedy: "say yes".into(),
    };
    // Else there is a tier that does without, for whoever accepts it.
    facts.landlock = facts.namespaces.clone();
    let refusal = belljar_policy::plan(&true_program(), &Policy::default(), &facts).unwrap_err();
    let Refusal::Unmet { unmet } = refusal else {
        panic!("not unmet")
    };
    for wanted in [
        Rule::Files,
        Rule::Network,
        Rule::Tasks,
        Rule::Ipc,
        Rule::Identity,
        Rule::Privileges,
        Rule::Processes,
        Rule::Disk,
    ] {
        let unmet = unmet.iter().find(|unmet| unmet.rule == wanted).unwrap();
        assert_eq!(unmet.reason, "sysctl says no");
        assert_eq!(unmet.remedy, "say yes");
    }
}

#[test]
fn root_without_its_capabilities_is_refused_whatever_is_accepted() {
    let facts = belljar_policy::HostFacts {
        privileged: false,
        ..as_root()
    };
    let policy = Policy::default().best_effort(Rule::Identity);
    let refusal = belljar_policy::plan(&true_program(), &policy, &facts).unwrap_err();
    assert_eq!(unmet(refusal), [Rule::Identity]);
}

#[test]
fn root_of_a_rootless_container_runs_jars_as_the_user_that_it_is_outside() {
    let facts = belljar_policy::HostFacts {
        privileged: false,
        mapped_root: true,
        ..as_root()
    };
    let plan = plan(&true_program(), &Policy::default(), &facts);
    assert_eq!(
        rule(&plan, Rule::Identity).planned.strength,
        Strength::Kernel
    );
}

#[test]
fn growth_of_grants_is_only_claimed_where_it_is_limited() {
    let mut verified = true_program();
    survey(&mut verified, "/data", found("/data", FileKind::Directory));
    let mut policy = Policy::default();
    policy.flags.write.push(Place {
        path: path("/data"),
        at: None,
    });
    let disk_of = |verified: &Verified, policy: &Policy| {
        let plan = plan(verified, policy, &machine());
        (rule(&plan, Rule::Disk).planned.clone(), plan.quota)
    };
    let project = Verified {
        project: Some(7),
        ..verified.clone()
    };
    // Where nothing is limited, no quota is set.
    assert_eq!(disk_of(&project, &policy).1, None);
    let disk = |policy: &Policy| disk_of(&verified, policy).0;
    assert!(!disk(&policy).mechanism.contains("growth"));
    assert_eq!(disk(&policy).strength, Strength::Kernel);
    let limit = Bound {
        soft: None,
        hard: Some(1 << 20),
        stop: false,
    };
    policy.flags.limits.insert(Limit::Disk, limit);
    assert!(disk(&policy).mechanism.contains("growth"));
    assert_eq!(disk(&policy).strength, Strength::Supervisor);
    let (planned, quota) = disk_of(&project, &policy);
    assert!(planned.mechanism.contains("quota of project 7"));
    assert_eq!(planned.strength, Strength::Kernel);
    let expected = ProjectQuota {
        project: 7,
        bytes: 1 << 20,
        inodes: 1024,
    };
    assert_eq!(quota, Some(expected));
    let nothing = Policy {
        preset: policy.preset.clone(),
        ..Policy::default()
    };
    assert_eq!(disk_of(&project, &nothing).1, None, "nothing is granted");
}

#[test]
fn a_grant_has_to_have_a_place_in_the_jar() {
    let mut verified = true_program();
    survey(&mut verified, "/data", found("/data", FileKind::Directory));
    for (at, reason) in [
        ("/etc/passwd/x", "/etc/passwd, which is no directory"),
        ("/usr/new", "outside of /usr"),
        ("/dev/null", "own devices"),
    ] {
        let mut policy = Policy::default();
        policy.flags.read.push(Place {
            path: path("/data"),
            at: Some(path(at)),
        });
        let refusal = belljar_policy::plan(&verified, &policy, &machine()).unwrap_err();
        assert!(refusal.to_string().contains(reason), "{refusal}");
    }
}

#[test]
fn sys_for_writing_leaves_no_promise_about_kernel_info() {
    let mut verified = true_program();
    survey(&mut verified, "/sys", found("/sys", FileKind::Directory));
    let mut policy = Policy::default().best_effort(Rule::KernelInfo);
    policy.flags.write.push(Place {
        path: path("/sys"),
        at: None,
    });
    let plan = plan(&verified, &policy, &machine());
    assert_eq!(
        rule(&plan, Rule::KernelInfo).planned.strength,
        Strength::None
    );
}

#[test]
fn a_limit_held_by_the_supervisor_does_not_meet_a_demand_for_the_kernel() {
    let policy = Policy::default().require(Rule::Memory, Strength::Kernel);
    assert_eq!(
        unmet(belljar_policy::plan(&true_program(), &policy, &machine()).unwrap_err()),
        [Rule::Memory]
    );
    let policy = policy.best_effort(Rule::Memory);
    assert!(rule(&plan(&true_program(), &policy, &machine()), Rule::Memory).best_effort);
}

#[test]
fn started_by_root_a_grant_enters_as_an_idmapped_mount_by_descriptor() {
    let mut verified = true_program();
    survey(&mut verified, "/data", found("/data", FileKind::Directory));
    let mut policy = Policy::default();
    policy.flags.write.push(Place {
        path: path("/data"),
        at: Some(path("/workspace")),
    });
    let plan = plan(&verified, &policy, &as_root());
    assert_eq!(plan.slots.len(), 1);
    assert!(
        matches!(&plan.steps[0], Step::Detach { slot: 0, idmap: true, owner_uid: 1000, attributes, .. } if !attributes.read_only)
    );
    assert!(position(&plan, |step| matches!(step, Step::Bind { source: Source::Slot { slot: 0 }, target, .. } if target.0 == b"workspace")).is_some());
}

#[test]
fn what_enters_by_descriptor_comes_last_with_what_is_shown_inside_of_it() {
    let mut verified = true_program();
    survey(&mut verified, "/data", found("/data", FileKind::Directory));
    survey(
        &mut verified,
        "/data/in/ssl",
        found("/usr/ssl", FileKind::Directory),
    );
    let mut policy = Policy::default();
    for (at, inside) in [("/data", "/data"), ("/data/in/ssl", "/data/in/ssl")] {
        policy.flags.read.push(Place {
            path: path(at),
            at: Some(path(inside)),
        });
    }
    let plan = plan(&verified, &policy, &as_root());
    let bind = |name: &[u8]| {
        position(
            &plan,
            |step| matches!(step, Step::Bind { target, .. } if target.0 == name),
        )
        .unwrap()
    };
    let proc = position(&plan, |step| step.word() == "proc").unwrap();
    assert!(bind(b"usr") < proc && proc < bind(b"data") && bind(b"data") < bind(b"data/in/ssl"));
}

#[test]
fn a_program_that_anybody_may_run_needs_no_idmapped_mount_and_another_does() {
    for (mode, mapped) in [(0o755, false), (0o750, true), (0o700, true), (0o754, true)] {
        let mut executable = elf("/home/me/work/tool");
        executable.file.mode = mode;
        let verified = program("./tool", "/home/me/work/tool", executable);
        let plan = plan(&verified, &Policy::default(), &as_root());
        assert!(
            matches!(&plan.steps[0], Step::Detach { idmap, .. } if *idmap == mapped),
            "{mode:o}"
        );
    }
}

#[test]
fn where_a_file_system_takes_no_idmapped_mount_the_error_says_who_must_own_the_path() {
    let mut verified = true_program();
    survey(
        &mut verified,
        "/data",
        Found {
            idmap: false,
            mode: 0o700,
            uid: 7,
            ..found("/data", FileKind::Directory)
        },
    );
    let mut policy = Policy::default();
    policy.flags.read.push(Place {
        path: path("/data"),
        at: None,
    });
    let refusal = belljar_policy::plan(&verified, &policy, &as_root())
        .unwrap_err()
        .to_string();
    assert!(
        refusal.contains("/data") && refusal.contains("uid 7"),
        "{refusal}"
    );
}

#[test]
fn strict_refuses_a_path_that_only_a_group_opens() {
    let mut verified = true_program();
    survey(
        &mut verified,
        "/data",
        Found {
            uid: 0,
            gid: 44,
            mode: 0o750,
            ..found("/data", FileKind::Directory)
        },
    );
    let mut policy = preset(Preset::Strict);
    policy.flags.read.push(Place {
        path: path("/data"),
        at: None,
    });
    let refusal = belljar_policy::plan(&verified, &policy, &machine()).unwrap_err();
    assert_eq!(unmet(refusal), [Rule::Identity]);
    policy.flags.preset = Some(Preset::Standard);
    assert!(plan(&verified, &policy, &machine()).notes[0].contains("44"));
}

/// 0 keeps no handler of the machine's from being started, and only 1 does; core(5).
#[test]
fn a_hard_limit_on_cores_of_none_is_told() {
    let verified = true_program();
    let policy = preset(Preset::Standard);
    for (core, told) in [(0, true), (1, false), (u64::MAX, false)] {
        let mut facts = machine();
        facts.bounds.core = core;
        let notes = plan(&verified, &policy, &facts).notes;
        let tells = notes.iter().any(|note| note.contains("core_pattern"));
        assert_eq!(tells, told, "{core}: {notes:?}");
    }
}

#[test]
fn steps_are_in_the_order_of_their_actors() {
    for facts in [machine(), as_root()] {
        for which in Preset::ALL {
            let plan = plan(&true_program(), &preset(*which), &facts);
            let at = |word: &str| {
                position(&plan, |step| step.word() == word).unwrap_or_else(|| panic!("no {word}"))
            };
            let order = [
                "clone",
                "map_ids",
                "take_ids",
                "undumpable",
                "die_with_launcher",
                "private_mounts",
                "root",
                "scratch",
                "proc",
                "leave_machine",
                "seal_root",
                "keyring",
                "no_new_privs",
                "securebits",
                "capabilities",
                "fork",
                "session",
                "streams",
                "close_descriptors",
                "workdir",
                "rlimit",
                "filter",
                "exec",
            ];
            let positions: Vec<usize> = order.iter().map(|word| at(word)).collect();
            assert!(positions.is_sorted(), "{which} {positions:?}");
        }
    }
}

#[test]
fn the_launcher_reads_the_very_steps_that_were_planned() {
    let plan = plan(&true_program(), &preset(Preset::Strict), &as_root());
    let bytes = wire::encode(&plan.steps);
    let words: Vec<&str> = wire::Steps::new(&bytes)
        .unwrap()
        .map(|step| step.unwrap().word())
        .collect();
    let planned: Vec<&str> = plan.steps.iter().map(Step::word).collect();
    assert_eq!(words, planned);
}

#[test]
fn processes_leave_room_for_the_jar_s_own_pid_1() {
    let mut policy = Policy::default();
    policy.flags.limits.insert(
        Limit::Processes,
        Bound {
            soft: None,
            hard: Some(7),
            stop: false,
        },
    );
    let plan = plan(&true_program(), &policy, &machine());
    let bound = position(&plan, |step| {
        matches!(
            step,
            Step::Rlimit {
                resource: belljar_plan::Resource::Processes,
                hard: 8,
                ..
            }
        )
    });
    assert!(bound.is_some());
    assert_eq!(plan.limit(Limit::Processes).unwrap().hard, Some(7));
}

#[test]
fn another_system_is_unsupported_and_says_so() {
    let facts = belljar_policy::HostFacts {
        os: Os::Macos,
        ..machine()
    };
    let refusal = belljar_policy::plan(&true_program(), &Policy::default(), &facts).unwrap_err();
    assert!(refusal.to_string().contains("unsupported"));
}

proptest! {
    #[test]
    fn fewer_facts_never_enforce_more(bits in 0_u16..512, fewer in 0_u16..512, which in 0_usize..3) {
        let facts = |bits: u16| {
            let ability = |bit: u16| if bits & (1 << bit) != 0 {
                Ability::Available
            } else {
                Ability::Unavailable { cause: "c".into(), remedy: "r".into() }
            };
            belljar_policy::HostFacts {
                namespaces: ability(0),
                mounts: ability(1),
                proc: ability(2),
                idmap: ability(3),
                tasks: ability(4),
                seccomp: ability(5),
                processes_counted: ability(6),
                landlock: ability(7),
                tasks_seen: ability(8),
                ..machine()
            }
        };
        let mut policy = preset(Preset::ALL[which]);
        for rule in Rule::ALL {
            policy = policy.best_effort(*rule);
        }
        let more = plan(&true_program(), &policy, &facts(bits));
        let less = plan(&true_program(), &policy, &facts(bits & fewer));
        for (more, less) in more.rules.iter().zip(&less.rules) {
            prop_assert!(less.planned.strength <= more.planned.strength, "{}", more.rule);
        }
    }
}

#[test]
fn a_grant_below_what_is_hidden_as_a_whole_is_refused_with_a_remedy() {
    let mut verified = true_program();
    survey(
        &mut verified,
        "/home/me/.ssh/config",
        file("/home/me/.ssh/config"),
    );
    survey(
        &mut verified,
        "/home/me/.ssh",
        found("/home/me/.ssh", FileKind::Directory),
    );
    let policy = Policy::minimal()
        .allow_read("/home/me/.ssh/config")
        .unwrap();
    let Err(Refusal::Invalid { reason }) = belljar_policy::plan(&verified, &policy, &machine())
    else {
        panic!("it was planned");
    };
    assert_eq!(
        reason,
        "--read: /home/me/.ssh/config lies in /home/me/.ssh, which is hidden as a whole \
         (a known secret, which preset minimal hides); grant that directory, or use preset standard"
    );
    // The directory itself may be granted, and so may the file in standard.
    let whole = Policy::minimal().allow_read("/home/me/.ssh").unwrap();
    plan(&verified, &whole, &machine());
    plan(
        &verified,
        &Policy::standard()
            .allow_read("/home/me/.ssh/config")
            .unwrap(),
        &machine(),
    );
}

#[test]
fn a_graphics_card_is_granted_with_its_device_writable_and_every_rule_still_held() {
    for (facts, preset) in [
        (machine(), Preset::Standard),
        (machine(), Preset::Strict),
        (as_root(), Preset::Standard),
        (as_root(), Preset::Strict),
    ] {
        let mut verified = true_program();
        let device = FileKind::CharacterDevice {
            major: 226,
            minor: 128,
        };
        survey(
            &mut verified,
            "/dev/dri/renderD128",
            found("/dev/dri/renderD128", device),
        );
        for directory in [
            "/sys/dev/char",
            "/sys/devices/pci0000:00",
            "/usr/share/vulkan",
            "/usr/lib",
        ] {
            survey(
                &mut verified,
                directory,
                found(directory, FileKind::Directory),
            );
        }
        let policy = Policy::of(preset).allow_read("group:gpu").unwrap();
        let plan = plan(&verified, &policy, &facts);
        let granted = |at: &str| {
            plan.grants
                .iter()
                .find(|grant| grant.path.0 == at.as_bytes())
        };
        let card = granted("/dev/dri/renderD128").unwrap();
        assert!(card.write && card.origin == "group:gpu (--read)");
        assert!(!granted("/sys/dev/char").unwrap().write);
        assert_eq!(granted("/usr/lib").is_some(), preset == Preset::Strict);
        let mounted = plan.steps.iter().any(|step| match step {
            Step::Bind {
                target, attributes, ..
            } => target.0 == b"dev/dri/renderD128" && !attributes.read_only && !attributes.no_dev,
            _ => false,
        });
        assert!(mounted);
        for wanted in [Rule::Files, Rule::Devices, Rule::KernelInfo] {
            assert_eq!(
                rule(&plan, wanted).planned.strength,
                Strength::Kernel,
                "{wanted}"
            );
        }
    }
}
