//! docs/rules.md has every rule: how strongly each preset demands it, how strongly
//! and by what the planner holds it, and whether a violation of it is seen.

use std::collections::BTreeMap;

use belljar::{
    HostFacts, Plan, Policy, Preset, Rule, Strength,
    policy::{Refusal, facts::Ability, facts::Bounds, manifest::Bound, plan},
    verify::{Ask, verify},
};
use belljar_plan::Limit;

use crate::page::{self, plain, sections};

const PAGE: &str = "docs/rules.md";

/// A machine on which nothing is missing, for an ordinary user: the same on
/// whichever these tests run.
fn machine(preset: Preset) -> HostFacts {
    let yes = || Ability::Available;
    HostFacts {
        uid: 1000,
        gid: 1000,
        groups: Vec::new(),
        privileged: false,
        mapped_root: false,
        namespaces: yes(),
        mounts: yes(),
        proc: yes(),
        tasks: yes(),
        seccomp: yes(),
        listener: yes(),
        landlock: yes(),
        landlock_abi: 7,
        fixed_code: true,
        processes_counted: yes(),
        bounds: Bounds {
            open_files: u64::MAX,
            file_size: u64::MAX,
            data: u64::MAX,
            cpu: u64::MAX,
            processes: u64::MAX,
            stack: u64::MAX,
            core: u64::MAX,
            locked_memory: u64::MAX,
            pending_signals: u64::MAX,
            message_queues: u64::MAX,
        },
        ..belljar::facts::facts_for(preset)
    }
}

/// A policy that sets every limit, so that no rule is without a promise.
fn policy(preset: Preset) -> Policy {
    let mut policy = Policy::of(preset);
    for limit in Limit::ALL {
        let bound = Bound {
            hard: Some(1 << 40),
            ..Bound::default()
        };
        policy = policy.limit(*limit, bound).expect("a limit");
    }
    policy
}

fn planned(policy: &Policy, facts: &HostFacts) -> Result<Plan, Refusal> {
    let ask = Ask::Program {
        program: "true".into(),
        arguments: Vec::new(),
    };
    let (verified, _) = verify(&ask, policy).expect("`true` is a program");
    plan(&verified, policy, facts)
}

/// The plan of a jar with all its layers.
fn whole(preset: Preset) -> Plan {
    planned(&policy(preset), &machine(preset)).expect("a plan")
}

/// The plan without namespaces, every loss accepted.
fn lower() -> Plan {
    let mut facts = machine(Preset::Standard);
    facts.namespaces = Ability::Unavailable {
        cause: "a test says so".into(),
        remedy: String::new(),
    };
    let accepting = Rule::ALL
        .iter()
        .fold(policy(Preset::Standard), |policy, rule| {
            policy.best_effort(*rule)
        });
    planned(&accepting, &facts).expect("a plan of the lower tier")
}

/// Whether a violation of the rule can end a jar, in some preset.
fn is_seen(rule: Rule) -> bool {
    [Preset::Standard, Preset::Strict]
        .into_iter()
        .any(|preset| planned(&policy(preset).end_on(rule), &machine(preset)).is_ok())
}

fn word(strength: Strength) -> &'static str {
    match strength {
        Strength::None => "–",
        other => other.word(),
    }
}

fn rule_of(plan: &Plan, rule: Rule) -> &belljar_plan::plan::PlannedRule {
    plan.rules
        .iter()
        .find(|planned| planned.rule == rule)
        .expect("a plan has every rule")
}

#[test]
fn the_table_of_rules_is_what_the_planner_does() {
    let plans: Vec<Plan> = Preset::ALL.iter().map(|preset| whole(*preset)).collect();
    let lower = lower();
    let mut expected = String::new();
    for rule in Rule::ALL {
        let demanded: Vec<&str> = plans
            .iter()
            .map(|plan| word(rule_of(plan, *rule).requested))
            .collect();
        expected.push_str(&format!(
            "| [{rule}](#{rule}) | {} | {} | {} | {} |\n",
            demanded.join(" | "),
            word(rule_of(&plans[2], *rule).planned.strength),
            word(rule_of(&lower, *rule).planned.strength),
            if is_seen(*rule) { "yes" } else { "no" },
        ));
    }
    let text = page::read(PAGE);
    assert!(
        text.contains(&expected),
        "{PAGE} does not have this table:\n{expected}"
    );
}

#[test]
fn every_rule_has_a_section_with_promise_mechanism_and_what_gets_past_it() {
    let sections: BTreeMap<String, String> = sections(&page::read(PAGE))
        .into_iter()
        .map(|section| (section.title, section.text))
        .collect();
    let (strict, lower) = (whole(Preset::Strict), lower());
    let mut faults = Vec::new();
    for rule in Rule::ALL {
        let Some(text) = sections.get(rule.word()) else {
            faults.push(format!("there is no section {rule}"));
            continue;
        };
        for line in ["Promise: ", "Gets past it: "] {
            if !text.lines().any(|has| has.starts_with(line)) {
                faults.push(format!("{rule}: has no line `{line}`"));
            }
        }
        let text = plain(text);
        let quote = |plan: &Plan| {
            let planned = &rule_of(plan, *rule).planned;
            format!("{}: {}", planned.strength, planned.mechanism)
        };
        let (whole, without) = (quote(&strict), quote(&lower));
        let without = if without == whole {
            "Without namespaces, the same".to_owned()
        } else {
            format!("Without namespaces, {without}")
        };
        for quote in [whole, without] {
            if !text.contains(&plain(&quote)) {
                faults.push(format!("{rule}: does not quote the plan: {quote}"));
            }
        }
    }
    assert!(faults.is_empty(), "{PAGE}:\n{}", faults.join("\n"));
}
