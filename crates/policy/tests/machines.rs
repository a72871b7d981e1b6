//! Plans for machines that are elsewhere: the facts of each are in
//! `tests/machines`, and beside them what a jar would be there, as text.
//!
//! `BELLJAR_UPDATE=1` writes the text anew; the change is then for review.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use belljar_plan::{Plan, Preset, Strength};
use belljar_policy::{HostFacts, Refusal, trial};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines")
}

/// The files of one kind, by the machine's name.
fn files(end: &str) -> BTreeSet<String> {
    fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(end).map(str::to_owned))
        .collect()
}

fn machine(name: &str) -> (String, HostFacts) {
    let path = directory().join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap();
    let facts =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (text, facts)
}

/// What a jar would be on the machine, for people to read.
fn told(facts: &HostFacts) -> String {
    let mut text = format!(
        "Linux {} on {}, uid {}{}\n",
        facts.release,
        facts.machine,
        facts.uid,
        if facts.privileged { ", privileged" } else { "" }
    );
    for preset in [Preset::Strict, Preset::Standard, Preset::Minimal] {
        let _ = writeln!(text, "\n## {preset}\n");
        match trial::of_preset(preset, facts) {
            Ok(plan) => tell_plan(&mut text, &plan),
            Err(refusal) => tell_refusal(&mut text, &refusal),
        }
    }
    if let Some((plan, lost)) = trial::without_namespaces(facts) {
        let words: Vec<&str> = lost.iter().map(|rule| rule.word()).collect();
        let _ = writeln!(
            text,
            "\n## standard without namespaces, where these are accepted: {}\n",
            words.join(", ")
        );
        tell_plan(&mut text, &plan);
    }
    text
}

fn tell_plan(text: &mut String, plan: &Plan) {
    for rule in &plan.rules {
        let _ = writeln!(
            text,
            "{:14} {:10} {:10} {}",
            rule.rule, rule.requested, rule.planned.strength, rule.planned.mechanism
        );
    }
    if let Some(landlock) = &plan.landlock {
        let words = |rights: &[belljar_plan::landlock::Right]| {
            let words: Vec<&str> = rights.iter().map(|right| right.word()).collect();
            words.join(" ")
        };
        let _ = writeln!(
            text,
            "Landlock {}: {}",
            landlock.abi,
            words(&landlock.handled)
        );
        if !landlock.missing.is_empty() {
            let _ = writeln!(text, "Landlock lacks: {}", words(&landlock.missing));
        }
    }
    for line in plan.weakenings.iter().chain(&plan.notes) {
        let _ = writeln!(text, "note: {line}");
    }
    let steps: Vec<&str> = plan.steps.iter().map(belljar_plan::Step::word).collect();
    let _ = writeln!(text, "steps: {}", counted(&steps).join(" "));
}

/// Words that follow one another, once each.
fn counted(words: &[&str]) -> Vec<String> {
    words
        .chunk_by(|one, other| one == other)
        .map(|same| match same {
            [one] => (*one).to_owned(),
            same => format!("{}*{}", same[0], same.len()),
        })
        .collect()
}

fn tell_refusal(text: &mut String, refusal: &Refusal) {
    let Refusal::Unmet { unmet } = refusal else {
        let _ = writeln!(text, "refused: {refusal}");
        return;
    };
    for same in
        unmet.chunk_by(|one, other| one.reason == other.reason && one.remedy == other.remedy)
    {
        let rules: Vec<&str> = same.iter().map(|unmet| unmet.rule.word()).collect();
        let _ = writeln!(text, "refused: {}", rules.join(" "));
        let _ = writeln!(text, "cause: {}", same[0].reason);
        let _ = writeln!(text, "remedy: {}", same[0].remedy);
    }
}

#[test]
fn every_plan_is_the_one_that_is_written_beside_its_machine() {
    let update = std::env::var_os("BELLJAR_UPDATE").is_some();
    let mut old = Vec::new();
    for name in files(".json") {
        let (_, facts) = machine(&name);
        let path = directory().join(format!("{name}.txt"));
        let now = told(&facts);
        if fs::read_to_string(&path).is_ok_and(|written| written == now) {
            continue;
        }
        if update {
            fs::write(&path, now).unwrap();
        } else {
            old.push(path);
        }
    }
    assert!(
        old.is_empty(),
        "not current: {old:#?}; if the change is meant, `BELLJAR_UPDATE=1 cargo test -p belljar-policy --test machines` \
         writes them anew"
    );
}

#[test]
fn each_machine_has_its_plans_and_a_source_and_there_are_no_others() {
    let machines = files(".json");
    assert_eq!(machines, files(".txt"));
    let sources = fs::read_to_string(directory().join("README.md")).unwrap();
    for name in &machines {
        let row = sources
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")))
            .unwrap_or_else(|| panic!("the README has no source of {name}"));
        assert!(row.contains("recorded") ^ row.contains("composed"), "{row}");
    }
    for system in [
        "debian-11",
        "debian-12",
        "debian-13",
        "ubuntu-24.04",
        "fedora",
        "container",
        "wsl2",
        "gvisor",
        "android",
    ] {
        assert!(
            machines.iter().any(|name| name.starts_with(system)),
            "{system}"
        );
    }
}

#[test]
fn facts_are_written_as_the_doctor_writes_them() {
    for name in files(".json") {
        let (text, facts) = machine(&name);
        let written = serde_json::to_string_pretty(&facts).unwrap();
        assert!(written.trim() == text.trim(), "{name}");
    }
}

#[test]
fn facts_with_a_word_that_is_not_known_are_refused() {
    let (text, _) = machine("debian-12-user");
    for (known, unknown) in [
        ("\"landlock_abi\"", "\"landlock_api\""),
        ("\"children\"", "\"offspring\""),
        ("\"done\"", "\"did\""),
    ] {
        assert!(text.contains(known));
        let changed = text.replacen(known, unknown, 1);
        assert!(
            serde_json::from_str::<HostFacts>(&changed).is_err(),
            "{unknown}"
        );
    }
}

#[test]
fn what_was_examined_decides_nothing() {
    for name in files(".json") {
        let (_, facts) = machine(&name);
        let bare = HostFacts {
            examined: None,
            ..facts.clone()
        };
        assert_eq!(told(&facts), told(&bare), "{name}");
    }
}

#[test]
fn a_machine_where_every_step_was_done_meets_every_preset_by_the_kernel() {
    let mut seen = 0;
    for name in files(".json") {
        let (_, facts) = machine(&name);
        let did = |step: &str| {
            let examined = facts.examined.as_ref();
            examined.is_some_and(|examined| examined.done.iter().any(|done| done == step))
        };
        if !(did("seal_root") && did("filter")) {
            continue;
        }
        seen += 1;
        let plan = trial::of_preset(Preset::Strict, &facts).unwrap();
        for rule in &plan.rules {
            let held = rule.planned.strength >= rule.requested;
            assert!(
                held || rule.requested == Strength::None,
                "{name}: {}",
                rule.rule
            );
        }
    }
    assert!(seen >= 5, "{seen} machines");
}
