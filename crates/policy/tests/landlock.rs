//! The Landlock domain of a plan: what its rules allow beside what its mounts do.

#[expect(dead_code, reason = "the planner's own tests use the rest")]
mod common;

use belljar_plan::{Attributes, Plan, Preset, Rule, Step, Strength, landlock::Right};
use belljar_policy::{
    HostFacts, Manifest, Policy, Verified,
    facts::Ability,
    manifest::{self, Place},
    policy::Format,
    verified::{FileKind, Plugin, Subject},
};
use common::{as_root, elf, found, machine, path, plan, position, rule, survey, true_program};
use proptest::prelude::*;

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_BLOCK: u64 = 1 << 11;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// What a rule about a single file may say; landlock(7).
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
/// Everything that changes files or names, but for making devices.
const CHANGE: u64 = 0xffff & !(EXECUTE | READ_FILE | READ_DIR | MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV);

/// The handled rights to files, and each rule's path, rights and whether it may fail.
fn domain(plan: &Plan) -> (u64, Vec<(String, u64, bool)>) {
    let handled = plan.steps.iter().find_map(|step| match step {
        Step::Ruleset { files, .. } => Some(*files),
        _ => None,
    });
    let rules = plan.steps.iter().filter_map(|step| match step {
        Step::AllowPath {
            path,
            access,
            optional,
        } => Some((path.escaped(), *access, *optional)),
        _ => None,
    });
    (handled.unwrap_or(0), rules.collect())
}

/// What may be done at a path of the jar; landlock(7) goes up from there.
fn allowed(plan: &Plan, at: &str) -> u64 {
    let (_, rules) = domain(plan);
    let of = rules.iter().filter(|(above, ..)| {
        above.is_empty() || at == above || at.starts_with(&format!("{above}/"))
    });
    of.fold(0, |all, (_, access, _)| all | access)
}

/// Where things are mounted, and how.
fn mounts(plan: &Plan) -> Vec<(String, Attributes)> {
    let binds = plan.steps.iter().filter_map(|step| match step {
        Step::Bind {
            target, attributes, ..
        } => Some((target.escaped(), *attributes)),
        _ => None,
    });
    binds.collect()
}

fn on(facts: &HostFacts, abi: u32) -> HostFacts {
    HostFacts {
        landlock_abi: abi,
        ..facts.clone()
    }
}

/// Grants of `true_program`: path, place in the jar, written.
fn granted(preset: Preset, grants: &[(&str, &str, bool)]) -> (Verified, Policy) {
    let mut verified = true_program();
    let mut policy = Policy::default();
    policy.flags.preset = Some(preset);
    for (at, inside, write) in grants {
        survey(&mut verified, at, found(at, FileKind::Directory));
        let list = match write {
            true => &mut policy.flags.write,
            false => &mut policy.flags.read,
        };
        list.push(Place {
            path: path(at),
            at: Some(path(inside)),
        });
    }
    (verified, policy)
}

#[test]
fn the_guest_enters_its_domain_with_its_streams_and_before_it_lets_go_of_the_rest() {
    for facts in [machine(), as_root()] {
        for which in Preset::ALL {
            let (verified, policy) = granted(*which, &[]);
            let plan = plan(&verified, &policy, &facts);
            let at = |word: &str| position(&plan, |step| step.word() == word).unwrap();
            let order = [
                "root",
                "canary",
                "seal_root",
                "fork",
                "session",
                "streams",
                "ruleset",
                "allow_path",
                "restrict",
                "close_descriptors",
                "workdir",
                "filter",
                "exec",
            ];
            let positions: Vec<usize> = order.iter().map(|word| at(word)).collect();
            assert!(positions.is_sorted(), "{which} {positions:?}");
        }
    }
}

#[test]
fn files_in_the_root_itself_are_nobody_s_so_that_the_canary_is_refused() {
    for which in Preset::ALL {
        let (verified, policy) = granted(*which, &[]);
        let plan = plan(&verified, &policy, &machine());
        assert_eq!(allowed(&plan, ""), READ_DIR, "{which}");
        assert_eq!(allowed(&plan, ".canary"), READ_DIR, "{which}");
    }
}

#[test]
fn one_rule_serves_an_entry_of_the_root_where_it_can() {
    let (verified, policy) = granted(Preset::Standard, &[]);
    let standard = plan(&verified, &policy, &machine());
    let rules: Vec<(String, u64)> = domain(&standard)
        .1
        .into_iter()
        .map(|(path, access, _)| (path, access))
        .collect();
    let (all, look) = (READ_FILE | READ_DIR | CHANGE, READ_FILE | READ_DIR);
    let expected = [
        ("", READ_DIR),
        ("dev", look | WRITE_FILE | IOCTL_DEV),
        ("dev/shm", all),
        ("etc", look),
        ("home/plugin", all | EXECUTE),
        ("proc", look | WRITE_FILE | TRUNCATE),
        ("tmp", all | EXECUTE),
        ("usr", look | EXECUTE),
    ];
    assert_eq!(rules, expected.map(|(at, access)| (at.to_owned(), access)));
}

#[test]
fn strict_writes_nothing_in_proc_and_runs_nothing_that_it_wrote() {
    let (verified, policy) = granted(Preset::Strict, &[("/data", "/data", true)]);
    let plan = plan(&verified, &policy, &machine());
    assert_eq!(allowed(&plan, "proc"), READ_FILE | READ_DIR);
    for at in ["tmp", "home/plugin", "workspace", "dev/shm", "data"] {
        // No device is made there, so that commands to one mean nothing.
        let may = allowed(&plan, at) & !IOCTL_DEV;
        assert_eq!(may, READ_FILE | READ_DIR | CHANGE, "{at}");
    }
    for at in ["usr/bin/true", "usr/lib/x86_64-linux-gnu/libc.so.6"] {
        assert_eq!(allowed(&plan, at) & OF_FILES, READ_FILE | EXECUTE, "{at}");
    }
}

#[test]
fn a_grant_inside_another_has_a_rule_of_its_own() {
    let (verified, policy) = granted(
        Preset::Strict,
        &[
            ("/data", "/data", false),
            ("/data/out", "/data/out", true),
            ("/data/out/tools", "/data/out/tools", false),
        ],
    );
    let plan = plan(&verified, &policy, &machine());
    assert_eq!(allowed(&plan, "data") & CHANGE, 0);
    assert_eq!(allowed(&plan, "data/out") & CHANGE, CHANGE);
    // Its mount lets programs start, whatever lies around it.
    assert_eq!(allowed(&plan, "data/out/tools") & EXECUTE, EXECUTE);
}

#[test]
fn a_rule_about_a_file_says_nothing_of_directories() {
    for facts in [machine(), as_root()] {
        for which in Preset::ALL {
            let (mut verified, mut policy) = granted(*which, &[]);
            let kinds = [
                ("/data/file", FileKind::File),
                ("/data/socket", FileKind::Socket),
                (
                    "/dev/fuse",
                    FileKind::CharacterDevice {
                        major: 10,
                        minor: 229,
                    },
                ),
            ];
            for (at, kind) in kinds {
                survey(&mut verified, at, found(at, kind));
                policy.flags.write.push(Place {
                    path: path(at),
                    at: None,
                });
            }
            let plan = plan(&verified, &policy, &facts);
            let (_, rules) = domain(&plan);
            for (at, ..) in kinds {
                let of = rules.iter().filter(|(rule, ..)| format!("/{rule}") == at);
                assert!(
                    of.clone().all(|(_, access, _)| access & !OF_FILES == 0),
                    "{rules:?}"
                );
                let may = allowed(&plan, at.trim_start_matches('/'));
                assert_eq!(
                    may & (READ_FILE | WRITE_FILE),
                    READ_FILE | WRITE_FILE,
                    "{at}"
                );
            }
            assert_eq!(allowed(&plan, "dev/fuse") & IOCTL_DEV, IOCTL_DEV);
        }
    }
}

#[test]
fn a_device_that_is_granted_for_reading_is_not_written() {
    let (mut verified, mut policy) = granted(Preset::Standard, &[]);
    let device = FileKind::CharacterDevice {
        major: 4,
        minor: 64,
    };
    survey(&mut verified, "/dev/ttyS0", found("/dev/ttyS0", device));
    policy.flags.read.push(Place {
        path: path("/dev/ttyS0"),
        at: None,
    });
    let plan = plan(&verified, &policy, &machine());
    // A read-only mount does not stop it; mount(2).
    assert_eq!(
        allowed(&plan, "dev/ttyS0") & OF_FILES,
        READ_FILE | IOCTL_DEV
    );
    assert_eq!(
        allowed(&plan, "dev/null") & OF_FILES,
        READ_FILE | WRITE_FILE | IOCTL_DEV
    );
}

#[test]
fn what_may_be_missing_has_a_rule_that_may_be_skipped() {
    let manifest = "[plugin]\nname = 'p'\nversion = '1.0.0'\nentry = 'run'\n\
                    [filesystem]\nread = [{ path = '/a', optional = true }, '/b']";
    let mut verified = true_program();
    for at in ["/a", "/b"] {
        survey(&mut verified, at, found(at, FileKind::Directory));
    }
    verified.subject = Subject::Plugin(Box::new(Plugin {
        manifest: Manifest::parse(manifest, manifest::Format::Toml, "m").unwrap(),
        directory: path("/plugins/p"),
        arguments: Vec::new(),
        files: Vec::new(),
        image: String::new(),
        writable_code: None,
        entry: Ok(elf("/plugins/p/run")),
    }));
    let policy = "filesystem.read = ['/a', '/b']";
    let policy = Policy::parse(policy, Format::Toml, "p", None).unwrap();
    let plan = plan(&verified, &policy, &machine());
    let (_, rules) = domain(&plan);
    let may_be_skipped = |at: &str| {
        rules
            .iter()
            .any(|(rule, _, optional)| rule == at && *optional)
    };
    assert!(may_be_skipped("a") && !may_be_skipped("b"), "{rules:?}");
}

#[test]
fn the_plan_names_the_version_and_what_it_lacks() {
    let (verified, policy) = granted(Preset::Standard, &[]);
    let on = |abi| plan(&verified, &policy, &on(&machine(), abi));
    let files = |plan: &Plan| rule(plan, Rule::Files).planned.clone();
    let newest = on(7);
    assert!(files(&newest).mechanism.ends_with("; Landlock ABI 7"));
    let landlock = newest.landlock.unwrap();
    assert_eq!((landlock.abi, landlock.missing.len()), (7, 0));
    assert_eq!(landlock.handled.len(), 18);
    let old = on(2);
    assert!(
        files(&old)
            .mechanism
            .ends_with("; Landlock ABI 2: without truncate, ioctl, scopes"),
        "{old:?}"
    );
    let landlock = old.landlock.unwrap();
    assert!(landlock.handled.contains(&Right::Refer));
    assert_eq!(
        landlock.missing,
        [
            Right::Truncate,
            Right::IoctlDev,
            Right::AbstractUnixSocket,
            Right::Signal
        ]
    );
}

#[test]
fn without_landlock_the_mounts_hold_files_and_the_plan_says_why() {
    let (verified, policy) = granted(Preset::Standard, &[]);
    let off = HostFacts {
        landlock: Ability::Unavailable {
            cause: "it is switched off".into(),
            remedy: "r".into(),
        },
        ..on(&machine(), 0)
    };
    // The first version refuses every move to another directory.
    for (facts, cause) in [(off, "it is switched off"), (on(&machine(), 1), "ABI 1")] {
        let plan = plan(&verified, &policy, &facts);
        let files = rule(&plan, Rule::Files);
        assert_eq!(files.planned.strength, Strength::Kernel);
        let said = &files.planned.mechanism;
        assert!(
            said.contains("; no Landlock: ") && said.contains(cause),
            "{said}"
        );
        assert_eq!(
            (plan.landlock.as_ref(), domain(&plan)),
            (None, (0, Vec::new()))
        );
        for word in ["canary", "restrict"] {
            assert_eq!(position(&plan, |step| step.word() == word), None);
        }
    }
}

#[test]
fn scopes_are_claimed_for_the_rules_that_they_hold() {
    let of = |which, abi| {
        let (verified, policy) = granted(which, &[]);
        let plan = plan(&verified, &policy, &on(&machine(), abi));
        let restrict = position(&plan, |step| step.word() == "restrict").unwrap();
        let claims = |wanted| {
            let rule = rule(&plan, wanted);
            let named = rule.planned.mechanism.contains("Landlock");
            let listed = rule.steps.contains(&u16::try_from(restrict).unwrap());
            assert_eq!(named, listed, "{rule:?}");
            named
        };
        (claims(Rule::Sockets), claims(Rule::Tasks))
    };
    assert_eq!(of(Preset::Standard, 5), (false, false));
    // With a network namespace of its own no abstract name of the machine is there.
    assert_eq!(of(Preset::Standard, 6), (false, true));
    assert_eq!(of(Preset::Strict, 6), (false, true));
    assert_eq!(of(Preset::Minimal, 6), (true, true));
    assert_eq!(of(Preset::Minimal, 5), (false, false));
}

#[test]
fn a_policy_that_lets_mounts_through_has_them() {
    let policy = Policy::parse("[seccomp]\nallow = ['mount']", Format::Toml, "f", None).unwrap();
    let policy = policy.best_effort(Rule::Nesting);
    let plan = plan(&true_program(), &policy, &machine());
    let said = &rule(&plan, Rule::Files).planned.mechanism;
    assert!(
        said.contains("no Landlock: the policy lets mount through"),
        "{said}"
    );
}

#[test]
fn message_queues_are_allowed_where_calls_for_them_are() {
    let with = |which| {
        let (verified, policy) = granted(which, &[]);
        let plan = plan(&verified, &policy, &machine());
        let queues = position(&plan, |step| step.word() == "queues");
        let allowed = position(
            &plan,
            |step| matches!(step, Step::AllowQueues { access } if *access == READ_FILE | WRITE_FILE),
        );
        assert_eq!(queues.is_some(), allowed.is_some());
        queues.is_some()
    };
    assert!(with(Preset::Standard) && with(Preset::Minimal) && !with(Preset::Strict));
    // They are the machine's where the policy says so, and then in no jar's mount.
    let text = "[linux]\nnamespaces = ['user', 'pid', 'mount', 'network']";
    let policy = Policy::parse(text, Format::Toml, "f", None).unwrap();
    let plan = plan(&true_program(), &policy.best_effort(Rule::Ipc), &machine());
    let said = &rule(&plan, Rule::Files).planned.mechanism;
    assert!(
        said.contains("no Landlock: the policy leaves the machine's message queues"),
        "{said}"
    );
}

proptest! {
    #[test]
    fn rules_allow_what_mounts_let_through_and_no_more(
        which in 0_usize..3,
        root in any::<bool>(),
        abi in 2_u32..9,
        grants in prop::collection::vec(("/data(/[ab]){0,3}", any::<bool>()), 0..5),
    ) {
        let grants: Vec<_> = grants.iter().map(|(at, write)| (at.as_str(), at.as_str(), *write)).collect();
        let (verified, policy) = granted(Preset::ALL[which], &grants);
        let facts = on(&if root { as_root() } else { machine() }, abi);
        let plan = plan(&verified, &policy, &facts);
        let (handled, rules) = domain(&plan);
        for (at, attributes) in mounts(&plan) {
            let may = allowed(&plan, &at);
            prop_assert_eq!(may & READ_FILE, READ_FILE, "{}", at);
            if !attributes.read_only {
                prop_assert_eq!(may & CHANGE, CHANGE & handled, "{}", at);
            }
            if !attributes.no_exec && attributes.no_dev {
                prop_assert_eq!(may & EXECUTE, EXECUTE, "{}", at);
            }
            // Of its own: what lies around it may allow more, and its mount does not.
            for (_, access, _) in rules.iter().filter(|(rule, ..)| *rule == at) {
                prop_assert!(!attributes.read_only || access & CHANGE == 0, "{}", at);
                prop_assert!(!attributes.no_exec || access & EXECUTE == 0, "{}", at);
            }
        }
        for (at, access, _) in &rules {
            prop_assert_eq!(access & (MAKE_CHAR | MAKE_BLOCK), 0, "{}", at);
        }
        // The same again, to the byte.
        let again = belljar_policy::plan(&verified, &policy, &facts).unwrap();
        prop_assert_eq!(belljar_policy::digest(&plan), belljar_policy::digest(&again));
    }
}
