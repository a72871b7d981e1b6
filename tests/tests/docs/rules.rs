//! docs/rules.md has every rule: how strongly each preset demands it, how strongly
//! and by what the planner holds it, and whether a violation of it is seen.

use std::collections::BTreeMap;

use belljar::{
    HostFacts, Plan, Policy, Preset, Rule, Strength,
    policy::{
        Refusal,
        facts::{Ability, Bounds, JarCgroups},
        manifest::Bound,
        plan,
    },
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
        jar_cgroups: JarCgroups {
            can_be_made: yes(),
            place: "/sys/fs/cgroup/jars".to_owned(),
            scope: false,
            controllers: ["memory", "pids", "cpu", "io"].map(str::to_owned).into(),
            disks: vec!["8:0".to_owned()],
            disk_weights: "io.weight".to_owned(),
            processors: "0-3".to_owned(),
        },
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
    // What bounds nothing by itself is told in words.
    let bounds_nothing = [Limit::CpuWeight, Limit::IoWeight, Limit::MemoryHigh];
    for limit in Limit::ALL {
        if bounds_nothing.contains(limit) {
            continue;
        }
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

fn lacking() -> Ability {
    Ability::Unavailable {
        cause: "a test says so".into(),
        remedy: String::new(),
    }
}

fn without_cgroup(facts: HostFacts) -> HostFacts {
    HostFacts {
        jar_cgroups: JarCgroups {
            can_be_made: lacking(),
            place: String::new(),
            scope: false,
            controllers: Vec::new(),
            disks: Vec::new(),
            disk_weights: String::new(),
            processors: String::new(),
        },
        ..facts
    }
}

fn without_namespaces(facts: HostFacts) -> HostFacts {
    HostFacts {
        namespaces: lacking(),
        ..facts
    }
}

/// The plan of a jar with all its layers.
fn whole(preset: Preset) -> Plan {
    planned(&policy(preset), &machine(preset)).expect("a plan")
}

/// A plan in which every loss is accepted.
fn accepting(preset: Preset, facts: &HostFacts) -> Plan {
    let policy = Rule::ALL
        .iter()
        .fold(policy(preset), |policy, rule| policy.best_effort(*rule));
    planned(&policy, facts).expect("a plan of what is left")
}

/// What the page tells of: a machine where nothing is missing, one without cgroups,
/// one without namespaces, and one without either.
struct Plans {
    whole: Plan,
    no_cgroup: Plan,
    no_namespaces: Plan,
    neither: Plan,
}

impl Plans {
    fn make() -> Self {
        let lower = without_namespaces(machine(Preset::Standard));
        Self {
            whole: whole(Preset::Strict),
            no_cgroup: accepting(Preset::Strict, &without_cgroup(machine(Preset::Strict))),
            no_namespaces: accepting(Preset::Standard, &lower),
            neither: accepting(Preset::Standard, &without_cgroup(lower)),
        }
    }
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
    let demanding: Vec<Plan> = Preset::ALL.iter().map(|preset| whole(*preset)).collect();
    let plans = Plans::make();
    let mut expected = String::new();
    for rule in Rule::ALL {
        let demanded: Vec<&str> = demanding
            .iter()
            .map(|plan| word(rule_of(plan, *rule).requested))
            .collect();
        let held: Vec<&str> = [
            &plans.whole,
            &plans.no_cgroup,
            &plans.no_namespaces,
            &plans.neither,
        ]
        .into_iter()
        .map(|plan| word(rule_of(plan, *rule).planned.strength))
        .collect();
        expected.push_str(&format!(
            "| [{rule}](#{rule}) | {} | {} | {} |\n",
            demanded.join(" | "),
            held.join(" | "),
            if is_seen(*rule) { "yes" } else { "no" },
        ));
    }
    let text = page::read(PAGE);
    assert!(
        text.contains(&expected),
        "{PAGE} does not have this table:\n{expected}"
    );
}

/// The plans' own words for a rule: what holds it where nothing is missing, and what
/// is different where something is.
fn quotes(plans: &Plans, rule: Rule) -> Vec<String> {
    let quote = |plan: &Plan| {
        let planned = &rule_of(plan, rule).planned;
        format!("{}: {}", planned.strength, planned.mechanism)
    };
    let whole = quote(&plans.whole);
    let no_cgroup = quote(&plans.no_cgroup);
    let no_namespaces = quote(&plans.no_namespaces);
    let neither = quote(&plans.neither);
    let mut quotes = vec![whole.clone()];
    if no_cgroup != whole {
        quotes.push(format!("Without a cgroup, {no_cgroup}"));
    }
    quotes.push(match no_namespaces == whole {
        true => "Without namespaces, the same".to_owned(),
        false => format!("Without namespaces, {no_namespaces}"),
    });
    if neither != no_cgroup && neither != no_namespaces {
        quotes.push(format!("Without either, {neither}"));
    }
    quotes
}

#[test]
fn every_rule_has_a_section_with_promise_mechanism_and_what_gets_past_it() {
    let sections: BTreeMap<String, String> = sections(&page::read(PAGE))
        .into_iter()
        .map(|section| (section.title, section.text))
        .collect();
    let plans = Plans::make();
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
        for quote in quotes(&plans, *rule) {
            if !text.contains(&plain(&quote)) {
                faults.push(format!("{rule}: does not quote the plan: {quote}"));
            }
        }
    }
    assert!(faults.is_empty(), "{PAGE}:\n{}", faults.join("\n"));
}
