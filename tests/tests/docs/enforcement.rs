//! docs/enforcement.md is made of what kernels were recorded to have: the planner's word
//! from their facts beside what was seen to hold a plugin there.
//!
//! `BELLJAR_UPDATE=1` writes the page anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
};

use belljar::{
    HostFacts, Preset, Rule, Strength,
    policy::{Refusal, trial},
};
use belljar_plan::Plan;
use belljar_tests::source_tree;
use serde_json::Value;

use crate::page::read;

const PAGE: &str = "docs/enforcement.md";

const HEAD: &str = "\
# What holds where

This page is made of records and is not written by hand: for each kernel that Belljar is tested on, and each way of
booting it, what `belljar doctor` found there as root and as a user, what the planner makes of that for a plugin under
each preset, and what the report of a run there said had held it. The records are in `tests/recorded`; a test fails where the
page is not what they give, `cargo xtask test` where 6.1 gives something else as it is usually booted, and `cargo xtask long` where
any of them does in any way, or where a record is older than 200 days.

In each cell stands what was planned; where something else was applied, that follows behind an arrow. `–` is nothing. Rules without a limit that
the preset sets, such as `cpu`, are left out. What each rule promises, and the mechanisms, is in [rules.md](rules.md). No kernel of
Debian's restricts user namespaces by AppArmor, as Ubuntu's do: for these there are facts alone (`crates/policy/tests/machines`).
";

/// The kernels, oldest first.
const KERNELS: [&str; 4] = ["linux-5.10", "linux-6.1", "linux-6.12", "linux-sid"];

fn record(kernel: &str) -> Value {
    serde_json::from_str(&read(&format!("tests/recorded/{kernel}.json"))).expect("JSON")
}

fn plans(facts: &Value) -> BTreeMap<Preset, Result<Plan, Refusal>> {
    let facts: HostFacts = serde_json::from_value(facts.clone()).expect("facts of this version");
    let all = Preset::ALL.iter();
    all.map(|preset| (*preset, trial::of_preset(*preset, &facts)))
        .collect()
}

/// A cell: what was planned, and what was seen where that differs.
fn cell(planned: Strength, observed: &Value) -> String {
    let word = |strength: &str| match strength {
        "none" => "–".to_owned(),
        word => word.to_owned(),
    };
    let planned = planned.to_string();
    match observed.as_str() {
        Some(observed) if observed == planned => word(&planned),
        Some(observed) => format!("{} → {}", word(&planned), word(observed)),
        None => format!("{} → not run", word(&planned)),
    }
}

/// What plans differ by where their strengths do not.
fn has(facts: &Value) -> String {
    let landlock = match facts["landlock_abi"].as_u64() {
        None | Some(0) => "No Landlock".to_owned(),
        Some(version) => format!("Landlock {version}"),
    };
    let controllers: Vec<&str> = facts["jar_cgroups"]["controllers"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match controllers[..] {
        [] => format!("{landlock}; no cgroup for jars."),
        _ => format!(
            "{landlock}; cgroups for jars with {}.",
            controllers.join(", ")
        ),
    }
}

/// What is told of one machine.
fn told(machine: &Value) -> String {
    let name = machine["name"].as_str().expect("a name");
    let mut page = String::new();
    let _ = writeln!(page, "\n{}", has(&machine["facts"]));
    let plans = plans(&machine["facts"]);
    let observed = &machine["observed"];
    let mut refused: BTreeMap<String, BTreeSet<Preset>> = BTreeMap::new();
    for (preset, plan) in &plans {
        match plan {
            Err(Refusal::Unmet { unmet }) => {
                for unmet in unmet {
                    let said = format!("{}; {}", unmet.reason, unmet.remedy);
                    refused.entry(said).or_default().insert(*preset);
                }
            }
            Err(refusal) => panic!("{name}: {preset}: {refusal}"),
            Ok(_) => {}
        }
    }
    let held: Vec<(&Preset, &Plan)> = plans
        .iter()
        .filter_map(|(preset, plan)| Some((preset, plan.as_ref().ok()?)))
        .collect();
    if !held.is_empty() {
        let heads: Vec<String> = held.iter().map(|(preset, _)| preset.to_string()).collect();
        let _ = writeln!(page, "\n| | {} |", heads.join(" | "));
        let _ = writeln!(page, "|---|{}", "---|".repeat(held.len()));
    }
    for rule in Rule::ALL {
        let cells: Vec<String> = held
            .iter()
            .filter_map(|(preset, plan)| {
                let row = plan.rules.iter().find(|row| row.rule == *rule)?;
                let seen = &observed[preset.word()][rule.word()];
                Some(cell(row.planned.strength, seen))
            })
            .collect();
        if cells.iter().any(|cell| cell != "–") {
            let _ = writeln!(page, "| {rule} | {} |", cells.join(" | "));
        }
    }
    if !refused.is_empty() {
        page.push('\n');
    }
    for (said, presets) in refused {
        let presets: Vec<String> = presets.iter().map(Preset::to_string).collect();
        let _ = writeln!(page, "- {} refused: {said}", presets.join(", "));
    }
    page
}

fn made() -> String {
    let mut page = HEAD.to_owned();
    for kernel in KERNELS {
        let record = record(kernel);
        let text = |key: &str| record[key].as_str().expect("text").to_owned();
        let _ = writeln!(
            page,
            "\n## {}\n\n`{}`, recorded on {}.",
            kernel.replace("linux-", "Linux "),
            text("release"),
            text("recorded")
        );
        // Those of which the same is told stand together.
        let mut all: Vec<(Vec<&str>, String)> = Vec::new();
        for machine in record["machines"].as_array().expect("a list") {
            let name = machine["name"].as_str().expect("a name");
            let told = told(machine);
            match all.iter_mut().find(|(_, known)| *known == told) {
                Some((names, _)) => names.push(name),
                None => all.push((vec![name], told)),
            }
        }
        for (names, told) in all {
            let _ = write!(page, "\n### {}\n{told}", names.join("; "));
        }
    }
    page
}

#[test]
fn the_page_of_what_holds_where_is_made_of_the_records() {
    let made = made();
    let path = source_tree().join(PAGE);
    if std::env::var_os("BELLJAR_UPDATE").is_some() {
        fs::write(&path, made).expect("the page");
        return;
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == made,
        "{PAGE} is not what tests/recorded gives: BELLJAR_UPDATE=1 cargo test -p belljar-tests --test docs holds_where"
    );
}

#[test]
fn nothing_held_less_than_was_planned() {
    for kernel in KERNELS {
        for machine in record(kernel)["machines"].as_array().expect("a list") {
            for (preset, plan) in plans(&machine["facts"]) {
                let observed = &machine["observed"][preset.word()];
                let name = &machine["name"];
                assert_eq!(
                    plan.is_err(),
                    observed.is_null(),
                    "{kernel} {name} {preset}"
                );
                for row in plan.iter().flat_map(|plan| &plan.rules) {
                    let seen = observed[row.rule.word()].as_str().expect("a strength");
                    let seen = Strength::from_word(seen).expect("a strength");
                    assert!(seen >= row.planned.strength, "{kernel} {name} {}", row.rule);
                }
            }
        }
    }
}
