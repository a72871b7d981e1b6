//! Which rules a plan's filter holds, and what takes that away.

#[expect(dead_code, reason = "the planner's own tests use the rest")]
mod common;

use belljar_plan::{Plan, Preset, Rule, Step, Strength};
use belljar_policy::{
    HostFacts, Policy, Refusal, Verified, facts::Ability, manifest::Place, verified::FileKind,
};
use common::{found, machine, path, plan, rule, survey, true_program};

fn unmet(refusal: Refusal) -> Vec<Rule> {
    match refusal {
        Refusal::Unmet { unmet } => unmet.into_iter().map(|unmet| unmet.rule).collect(),
        other => panic!("{other}"),
    }
}

#[test]
fn the_filter_s_rules_are_held_by_the_kernel_or_refuse_the_launch() {
    let rules = [Rule::Syscalls, Rule::Nesting, Rule::Sockets];
    let with = plan(&true_program(), &Policy::default(), &machine());
    for wanted in rules {
        let planned = rule(&with, wanted);
        assert_eq!(planned.planned.strength, Strength::Kernel);
        assert_eq!(planned.requested, Strength::Kernel);
        assert!(!planned.steps.is_empty());
    }
    let without = HostFacts {
        seccomp: Ability::Unavailable {
            cause: "no filters".into(),
            remedy: "another kernel".into(),
        },
        ..machine()
    };
    let refusal = belljar_policy::plan(&true_program(), &Policy::default(), &without).unwrap_err();
    let unmet = unmet(refusal);
    assert!(rules.iter().all(|rule| unmet.contains(rule)), "{unmet:?}");
}

#[test]
fn only_strict_has_rules_about_programs_and_code() {
    let strict = Policy::strict();
    let loose = plan(&true_program(), &Policy::default(), &machine());
    let strict = plan(&true_program(), &strict, &machine());
    for wanted in [Rule::Exec, Rule::WritableCode] {
        assert_eq!(rule(&loose, wanted).requested, Strength::None);
        assert_eq!(rule(&loose, wanted).planned.strength, Strength::None);
        assert_eq!(rule(&strict, wanted).requested, Strength::Kernel);
        assert_eq!(rule(&strict, wanted).planned.strength, Strength::Kernel);
    }
}

#[test]
fn where_nobody_can_listen_the_denials_are_the_same_and_the_plan_says_so() {
    let deaf = HostFacts {
        listener: Ability::Unavailable {
            cause: "an outer sandbox listens".into(),
            remedy: "leave it".into(),
        },
        ..machine()
    };
    let with = plan(&true_program(), &Policy::default(), &machine());
    let without = plan(&true_program(), &Policy::default(), &deaf);
    for (with, without) in with.rules.iter().zip(&without.rules) {
        assert_eq!(with.planned.strength, without.planned.strength);
    }
    let said = &rule(&without, Rule::Syscalls).planned.mechanism;
    assert!(
        said.contains("no events: an outer sandbox listens"),
        "{said}"
    );
    let listens = |plan: &Plan| {
        plan.steps
            .iter()
            .any(|step| matches!(step, Step::Filter { listener: true, .. }))
    };
    assert!(listens(&with) && !listens(&without));
    // What nobody hears of cannot end a jar.
    let policy = Policy::default().end_on(Rule::Nesting);
    assert_eq!(
        plan(&true_program(), &policy, &machine()).end_on,
        [Rule::Nesting]
    );
    let refusal = belljar_policy::plan(&true_program(), &policy, &deaf).unwrap_err();
    assert_eq!(unmet(refusal), [Rule::Nesting]);
    let never = Policy::default().end_on(Rule::Wall);
    let refusal = belljar_policy::plan(&true_program(), &never, &machine()).unwrap_err();
    assert_eq!(unmet(refusal), [Rule::Wall]);
}

#[test]
fn where_sockets_of_the_machine_may_be_seen_the_plan_says_what_holds() {
    use belljar_plan::filter::Unix;
    let none = plan(&true_program(), &Policy::default(), &machine());
    assert_eq!(none.filter.unwrap().unix, Unix::Visible);
    let mut verified = true_program();
    survey(&mut verified, "/data", found("/data", FileKind::Directory));
    survey(&mut verified, "/file", found("/file", FileKind::File));
    let grant = |at: &str| {
        let mut policy = Policy::default();
        policy.flags.read.push(Place {
            path: path(at),
            at: None,
        });
        policy
    };
    // One of the system's own places has one.
    let mut facts = machine();
    facts.layout.sockets = vec![path("/usr/local/share/x.sock")];
    let known = plan(&true_program(), &Policy::default(), &facts);
    assert_eq!(known.filter.unwrap().unix, Unix::Performed);
    let file = plan(&verified, &grant("/file"), &machine());
    assert_eq!(file.filter.unwrap().unix, Unix::Visible);
    let directory = plan(&verified, &grant("/data"), &machine());
    assert_ne!(directory.filter.as_ref().unwrap().unix, Unix::Visible);
    assert_eq!(
        rule(&directory, Rule::Sockets).planned.strength,
        Strength::Kernel
    );
}

#[test]
fn what_a_policy_lets_through_is_a_weakening_and_gives_up_the_rules_it_breaks() {
    let policy = |text: &str| {
        let format = belljar_policy::policy::Format::Toml;
        Policy::parse(text, format, "f", None).unwrap()
    };
    let harmless = policy("[seccomp]\nallow = ['bpf']\ndeny = ['uname']");
    let plan = plan(&true_program(), &harmless, &machine());
    assert_eq!(
        plan.weakenings,
        ["the system call bpf is let through (f line 2)"]
    );
    let filter = plan.filter.unwrap();
    assert_eq!(
        (filter.allow, filter.deny),
        (vec!["bpf".into()], vec!["uname".into()])
    );
    let refused = |preset, verified: &Verified, call: &str| {
        let mut policy = policy(&format!("[seccomp]\nallow = ['{call}']"));
        policy.flags.preset = Some(preset);
        policy.flags.read.push(Place {
            path: path("/data"),
            at: None,
        });
        belljar_policy::plan(verified, &policy, &machine()).map_or_else(unmet, |_| Vec::new())
    };
    let mut verified = true_program();
    survey(&mut verified, "/data", found("/data", FileKind::Directory));
    let standard = |call| refused(Preset::Standard, &verified, call);
    assert_eq!(standard("mount"), [Rule::Nesting]);
    // What the supervisor does in a guest's stead is part of the rule as well.
    assert_eq!(standard("connect"), [Rule::Sockets]);
    assert_eq!(
        standard("io_uring_setup"),
        [Rule::Sockets, Rule::Privileges]
    );
    // A namespace of its own gives a guest capabilities, though only inside.
    assert_eq!(standard("unshare"), [Rule::Privileges, Rule::Nesting]);
    // Code can be made by calls that are denied for another reason.
    let strict = |call| refused(Preset::Strict, &verified, call);
    assert_eq!(strict("shmat"), [Rule::Ipc, Rule::WritableCode]);
    assert_eq!(strict("ptrace"), [Rule::Tasks, Rule::WritableCode]);
    assert_eq!(strict("personality"), [Rule::WritableCode]);
    assert_eq!(strict("execve"), [Rule::Exec, Rule::WritableCode]);
}

#[test]
fn capabilities_that_a_policy_keeps_leave_no_promise_that_there_are_none() {
    let format = belljar_policy::policy::Format::Toml;
    let keeps = "[linux]\ncaps = { keep = ['net_admin'], ambient = ['net_admin'] }";
    let policy = Policy::parse(keeps, format, "f", None).unwrap();
    let refusal = belljar_policy::plan(&true_program(), &policy, &machine()).unwrap_err();
    assert_eq!(unmet(refusal), [Rule::Privileges]);
    let accepted = policy.best_effort(Rule::Privileges);
    let plan = plan(&true_program(), &accepted, &machine());
    assert_eq!(
        rule(&plan, Rule::Privileges).planned.strength,
        Strength::None
    );
}

/// A file that the guest writes is code as soon as it can be mapped so.
#[test]
fn what_can_be_written_and_run_is_writable_code() {
    let grants = |read: &[(&str, Option<&str>)], write: &[(&str, Option<&str>)]| {
        let mut verified = true_program();
        let mut policy = Policy::strict();
        let places = |list: &[(&str, Option<&str>)], verified: &mut Verified| -> Vec<Place> {
            list.iter()
                .map(|(at, inside)| {
                    survey(verified, at, found(at, FileKind::Directory));
                    Place {
                        path: path(at),
                        at: inside.map(path),
                    }
                })
                .collect()
        };
        policy.flags.read = places(read, &mut verified);
        policy.flags.write = places(write, &mut verified);
        belljar_policy::plan(&verified, &policy, &machine()).map_or_else(unmet, |_| Vec::new())
    };
    let refused = [Rule::WritableCode];
    let twice = grants(&[("/data", Some("/r"))], &[("/data", Some("/w"))]);
    assert_eq!(twice, refused);
    let below = grants(&[("/data", None)], &[("/data/out", Some("/w"))]);
    assert_eq!(below, refused);
    let above = grants(&[("/data/bin", Some("/b"))], &[("/data", Some("/w"))]);
    assert_eq!(above, refused);
    // What the jar shows by itself is run as well.
    let library = "/usr/lib/x86_64-linux-gnu/libc.so.6";
    assert_eq!(grants(&[], &[(library, Some("/w"))]), refused);
    // Each at its own place: what is written covers what would be run.
    assert_eq!(grants(&[("/data", None)], &[("/data/out", None)]), []);
    assert_eq!(grants(&[("/data/bin", None)], &[("/data", None)]), []);
    assert_eq!(grants(&[("/data/bin", None)], &[("/data/out", None)]), []);
}

/// Looking decides nothing, so that it makes nothing weaker.
#[test]
fn a_plan_that_is_observed_promises_the_same_and_says_that_it_is() {
    for preset in [Policy::minimal(), Policy::default(), Policy::strict()] {
        let mut observed = preset.clone();
        observed.flags.observe = true;
        let with = plan(&true_program(), &observed, &machine());
        let without = plan(&true_program(), &preset, &machine());
        assert_eq!(with.rules, without.rules);
        assert_eq!(with.weakenings, without.weakenings);
        assert_eq!(with.limits, without.limits);
        let notes: Vec<&String> = with
            .notes
            .iter()
            .filter(|note| !without.notes.contains(note))
            .collect();
        assert!(
            matches!(notes.as_slice(), [note] if note.contains("--observe")),
            "{notes:?}"
        );
        assert!(with.filter.as_ref().is_some_and(|filter| filter.observe));
        assert_ne!(
            belljar_policy::digest(&with),
            belljar_policy::digest(&without)
        );
        let differ = with.steps.iter().zip(&without.steps);
        let differ: Vec<_> = differ.filter(|(with, without)| with != without).collect();
        assert!(
            matches!(
                differ.as_slice(),
                [(Step::Filter { .. }, Step::Filter { .. })]
            ),
            "{differ:?}"
        );
    }
}

#[test]
fn where_nobody_can_listen_nothing_is_observed_and_the_launch_says_so() {
    let mut policy = Policy::default();
    policy.flags.observe = true;
    let missing = || Ability::Unavailable {
        cause: "an outer sandbox listens".into(),
        remedy: "leave it".into(),
    };
    for facts in [
        HostFacts {
            listener: missing(),
            ..machine()
        },
        HostFacts {
            seccomp: missing(),
            ..machine()
        },
    ] {
        let policy = policy
            .clone()
            .best_effort(Rule::Syscalls)
            .best_effort(Rule::Nesting)
            .best_effort(Rule::Sockets);
        match belljar_policy::plan(&true_program(), &policy, &facts) {
            Err(Refusal::Unmet { unmet }) => {
                assert!(
                    unmet
                        .iter()
                        .any(|unmet| unmet.reason.starts_with("--observe: ")),
                    "{unmet:?}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}
