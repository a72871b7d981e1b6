//! The lower tier: what is left of a jar where user namespaces are refused.

#[expect(dead_code, reason = "the planner's own tests use the rest")]
mod common;

use belljar_plan::{Plan, Preset, Rule, Step, Strength};
use belljar_policy::{
    HostFacts, Policy, Refusal, facts::Ability, manifest::Place, verified::FileKind,
};
use common::{found, machine, path, rule, survey, true_program};

/// What has to be accepted.
const LOST: [Rule; 6] = [
    Rule::Files,
    Rule::Tasks,
    Rule::Privileges,
    Rule::KernelInfo,
    Rule::Cleanup,
    Rule::Processes,
];

fn refusing() -> HostFacts {
    HostFacts {
        namespaces: Ability::Unavailable {
            cause: "namespaces are refused".into(),
            remedy: "allow them".into(),
        },
        ..machine()
    }
}

fn accepting(rules: &[Rule]) -> Policy {
    rules
        .iter()
        .fold(Policy::default(), |policy, rule| policy.best_effort(*rule))
}

fn planned(policy: &Policy, facts: &HostFacts) -> Result<Plan, Refusal> {
    belljar_policy::plan(&true_program(), policy, facts)
}

fn unmet(refusal: Refusal) -> Vec<(Rule, String)> {
    match refusal {
        Refusal::Unmet { unmet } => unmet
            .into_iter()
            .map(|unmet| (unmet.rule, unmet.remedy))
            .collect(),
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_lost_without_namespaces_is_refused_by_name_with_the_way_to_accept_it() {
    let unmet = unmet(planned(&Policy::default(), &refusing()).unwrap_err());
    let rules: Vec<Rule> = unmet.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(rules, LOST);
    for (_, remedy) in &unmet {
        assert!(
            LOST.iter()
                .all(|rule| remedy.contains(&format!("--best-effort {rule}"))),
            "{remedy}"
        );
    }
    // Each of them must be said.
    for left_out in LOST {
        let others: Vec<Rule> = LOST.into_iter().filter(|rule| *rule != left_out).collect();
        let refusal = planned(&accepting(&others), &refusing()).unwrap_err();
        assert_eq!(crate::unmet(refusal)[0].0, left_out);
    }
}

#[test]
fn what_is_accepted_is_lost_openly_and_the_rest_is_held_by_the_kernel() {
    let plan = planned(&accepting(&LOST), &refusing()).unwrap();
    for lost in LOST {
        let strength = rule(&plan, lost).planned.strength;
        assert!(strength < Strength::Kernel, "{lost}: {strength}");
    }
    for held in [
        Rule::Network,
        Rule::Sockets,
        Rule::Ipc,
        Rule::Identity,
        Rule::Syscalls,
        Rule::Nesting,
        Rule::Devices,
        Rule::Terminal,
        Rule::Descriptors,
        Rule::Environment,
        Rule::OpenFiles,
    ] {
        assert_eq!(
            rule(&plan, held).planned.strength,
            Strength::Kernel,
            "{held}"
        );
    }
    assert!(
        plan.weakenings
            .iter()
            .any(|said| said.contains("no namespaces, since namespaces are refused"))
    );
    let filter = plan.filter.as_ref().unwrap();
    assert!(!filter.internet && !filter.objects);
    assert!(plan.landlock.is_some());
    let none = |step: &_| match step {
        Step::Clone { namespaces } => namespaces.bits() == 0,
        Step::Root { .. } | Step::Bind { .. } | Step::MapIds { .. } | Step::Detach { .. } => false,
        _ => true,
    };
    assert!(plan.steps.iter().all(none));
    // Nothing of `/` itself, of homes or of the machine's scratch is opened.
    for step in &plan.steps {
        if let Step::AllowPath { path, .. } = step {
            let path = String::from_utf8_lossy(&path.0).into_owned();
            assert!(
                !["", "home", "tmp", "root", "etc", "run", "var"].contains(&path.as_str()),
                "{path}"
            );
        }
    }
}

#[test]
fn nothing_but_a_user_s_bare_program_under_standard_runs_without_namespaces() {
    let accepted = accepting(&LOST);
    let with = |preset| {
        let mut policy = accepted.clone();
        policy.flags.preset = Some(preset);
        policy
    };
    let all: Vec<Rule> = Rule::ALL.to_vec();
    for policy in [with(Preset::Strict), with(Preset::Minimal)] {
        assert!(planned(&policy, &refusing()).is_err());
    }
    let mut elsewhere = accepted.clone();
    elsewhere.flags.read.push(Place {
        path: path("/data"),
        at: Some(path("/other")),
    });
    let mut verified = true_program();
    survey(&mut verified, "/data", found("/data", FileKind::Directory));
    assert!(belljar_policy::plan(&verified, &elsewhere, &refusing()).is_err());
    // Without a layer that it is made of there is none of it, whatever is accepted.
    let unavailable = || Ability::Unavailable {
        cause: "none".into(),
        remedy: "none".into(),
    };
    for facts in [
        HostFacts {
            landlock: unavailable(),
            landlock_abi: 0,
            ..refusing()
        },
        HostFacts {
            landlock_abi: 1,
            ..refusing()
        },
        HostFacts {
            uid: 0,
            mapped_root: true,
            ..refusing()
        },
    ] {
        let plan = planned(&accepting(&all), &facts);
        let lower = |plan: &Plan| plan.steps.contains(&Step::Adopt {});
        assert!(plan.is_err() || !lower(&plan.unwrap()));
    }
}

#[test]
fn where_there_are_namespaces_they_are_used_whatever_is_accepted() {
    let plan = planned(&accepting(&LOST), &machine()).unwrap();
    assert!(!plan.steps.contains(&Step::Adopt {}));
    assert!(
        LOST.iter()
            .all(|lost| rule(&plan, *lost).planned.strength == Strength::Kernel)
    );
}
