//! The findings as a page for people.

use belljar::{
    HostFacts,
    policy::{
        data::plan::Plan,
        facts::{Ability, Cgroups, Examined, Hierarchy, IdRange},
        units::format_value,
    },
};

use super::findings::{Findings, Missing, OfPreset};
use crate::page::{Page, Tone};

/// Columns of a name.
const NAME: usize = 22;

/// Writes all of it.
pub(super) fn tell(page: &mut Page, facts: &HostFacts, findings: &Findings) {
    page.paragraph(0, &whose(facts));
    page.heading("What a jar can be here");
    for of in &findings.presets {
        preset(page, of);
    }
    if let Some(lost) = &findings.lower {
        let flags: Vec<String> = lost
            .iter()
            .map(|rule| format!("`--best-effort {rule}`"))
            .collect();
        let text = format!(
            "a program under standard, held by Landlock, seccomp and rlimits alone, with {}",
            flags.join(" ")
        );
        row(page, "without namespaces", true, &text);
    }
    missing(
        page,
        "What is missing, and what to do about it",
        &findings.missing,
    );
    page.heading("What a jar is made of");
    parts(page, facts);
    if let Some(examined) = &facts.examined {
        page.heading("What this machine has besides");
        besides(page, facts, examined);
    }
    limits(page, findings);
    missing(
        page,
        "What no jar needs yet, and how to have it",
        &findings.later,
    );
}

fn missing(page: &mut Page, heading: &str, all: &[Missing]) {
    if all.is_empty() {
        return;
    }
    page.heading(heading);
    for missing in all {
        page.gap();
        page.paragraph(2, &missing.cause);
        page.paragraph(4, &format!("costs: {}", missing.costs()));
        if !missing.remedy.is_empty() {
            page.paragraph(4, &format!("remedy: {}", missing.remedy));
        }
    }
}

/// The machine and who asks.
fn whose(facts: &HostFacts) -> String {
    let who = match (facts.uid, facts.privileged, facts.mapped_root) {
        (0, true, _) => "root".to_owned(),
        (0, false, true) => "root of a user namespace, an ordinary user outside".to_owned(),
        (0, false, false) => "root without its capabilities".to_owned(),
        (uid, ..) => format!("uid {uid}, an ordinary user"),
    };
    format!(
        "{:?} {} on {}, for {who}",
        facts.os, facts.release, facts.machine
    )
}

fn row(page: &mut Page, name: &str, yes: bool, text: &str) {
    let word = if yes {
        ("yes", Tone::Good)
    } else {
        ("no", Tone::Bad)
    };
    page.answer(&format!("  {name}"), word, text);
}

/// A row whose answer is no yes or no.
fn doubt(page: &mut Page, name: &str, word: &str, text: &str) {
    page.answer(&format!("  {name}"), (word, Tone::Doubt), text);
}

fn preset(page: &mut Page, of: &OfPreset) {
    let rules: Vec<&str> = of.unheld.iter().map(|rule| rule.word()).collect();
    let text = match (&of.plan, rules.as_slice()) {
        (Some(plan), _) => plan.notes.join("; "),
        (None, []) => "its plan is refused".to_owned(),
        // Without one of them it holds nothing.
        (None, rules) if rules.contains(&"privileges") => "no jar of it can be made".to_owned(),
        (None, rules) => format!("not held as it demands: {}", rules.join(", ")),
    };
    row(page, of.preset.word(), of.plan.is_some(), &text);
}

/// A part that a jar is made of: its name, whether it can be had, the step that
/// shows it, and what it is.
type Part<'a> = (&'a str, bool, &'a str, &'a str);

fn parts(page: &mut Page, facts: &HostFacts) {
    let landlock = match facts.landlock_abi {
        0 => "no version of it".to_owned(),
        abi => format!("version {abi} of its interface"),
    };
    let can = Ability::is_available;
    let rows: [Part<'_>; 9] = [
        (
            "namespaces",
            can(&facts.namespaces),
            "take_ids",
            "with ids of their own",
        ),
        (
            "mounts",
            can(&facts.mounts),
            "seal_root",
            "a root of its own",
        ),
        ("/proc", can(&facts.proc), "proc", "a fresh one"),
        (
            "processes",
            can(&facts.tasks),
            "clone",
            "clone3, pidfd_open, close_range",
        ),
        (
            "processes counted",
            can(&facts.processes_counted),
            "take_ids",
            "by user namespace",
        ),
        (
            "seccomp",
            can(&facts.seccomp),
            "filter",
            "a filter of system calls",
        ),
        (
            "events",
            can(&facts.listener),
            "filter",
            "denied calls are told of",
        ),
        ("Landlock", can(&facts.landlock), "restrict", &landlock),
        ("fixed code", facts.fixed_code, "fixed_code", "PR_SET_MDWE"),
    ];
    for (name, can, step, text) in rows {
        if can && !was_done(facts, step) {
            let text = format!("{text}: not tried, and nothing speaks against it");
            doubt(page, name, "?", &text);
        } else {
            row(page, name, can, text);
        }
    }
    if !facts.privileged {
        let text = "no user may make one, and no jar of a user's needs one";
        doubt(page, "idmapped mounts", "-", text);
        return;
    }
    let places = facts
        .examined
        .iter()
        .flat_map(|examined| &examined.idmapped);
    let (can, cannot): (Vec<_>, Vec<_>) =
        places.partition(|place| place.is_possible.is_available());
    let list = |places: &[&belljar::policy::facts::Idmapped]| {
        let paths: Vec<&str> = places.iter().map(|place| place.path.as_str()).collect();
        paths.join(" ")
    };
    let mut text = list(&can);
    if facts.idmap.is_available() && can.is_empty() {
        doubt(
            page,
            "idmapped mounts",
            "?",
            "not tried, and nothing speaks against them",
        );
        return;
    }
    if !cannot.is_empty() {
        text = format!("{text}; not {}", list(&cannot));
    }
    row(page, "idmapped mounts", facts.idmap.is_available(), &text);
}

/// Whether a kind of step was seen to succeed.
fn was_done(facts: &HostFacts, step: &str) -> bool {
    facts
        .examined
        .as_ref()
        .is_some_and(|examined| examined.done.iter().any(|done| done == step))
}

fn besides(page: &mut Page, facts: &HostFacts, examined: &Examined) {
    let Cgroups {
        hierarchy,
        own,
        children,
        controllers,
        delegated,
        files,
        ..
    } = &examined.cgroups;
    let version = match hierarchy {
        Hierarchy::None => "none are mounted",
        Hierarchy::V1 => "version 1 alone",
        Hierarchy::Hybrid => "version 2 beside version 1, which holds controllers",
        Hierarchy::V2 => "version 2",
    };
    let own = own
        .as_deref()
        .map_or(String::new(), |own| format!("; its own is {own}"));
    row(
        page,
        "cgroups",
        children.is_available(),
        &format!("{version}{own}"),
    );
    let list = |names: &[String]| match names {
        [] => "none".to_owned(),
        names => names.join(" "),
    };
    let of_jars = &facts.jar_cgroups;
    if of_jars.can_be_made.is_available() {
        let place = match of_jars.scope {
            true => "a scope that systemd is asked for",
            false => &of_jars.place,
        };
        let text = format!("in {place}; controllers: {}", list(&of_jars.controllers));
        about(page, "for jars", &text);
    }
    if children.is_available() {
        about(
            page,
            "controllers",
            &format!("{} (delegated: {})", list(controllers), list(delegated)),
        );
        about(page, "without them", &list(files));
    }
    let ranges = |ranges: &[IdRange]| match ranges {
        [] => "none".to_owned(),
        ranges => {
            let last = |range: &IdRange| u64::from(range.first) + u64::from(range.count) - 1;
            let ranges: Vec<String> = ranges
                .iter()
                .map(|range| format!("{}-{}", range.first, last(range)))
                .collect();
            ranges.join(" ")
        }
    };
    let text = format!(
        "subuids {}, subgids {}",
        ranges(&examined.subuids),
        ranges(&examined.subgids)
    );
    row(
        page,
        "more ids",
        examined.more_ids.is_available(),
        if facts.privileged { "any" } else { &text },
    );
    if !facts.privileged {
        let groups: Vec<String> = facts.groups.iter().map(u32::to_string).collect();
        let text = if groups.is_empty() {
            "none".to_owned()
        } else {
            format!("{}, which no jar of a user's can leave", groups.join(" "))
        };
        about(page, "groups", &text);
    }
    for switch in &examined.switches {
        page.paragraph(2, &format!("{} = {}", switch.name, switch.value));
    }
}

fn about(page: &mut Page, name: &str, text: &str) {
    page.row(&format!("  {name}"), NAME, Tone::Plain, text);
}

/// Limits that the caller's own bounds make smaller than the preset's.
fn limits(page: &mut Page, findings: &Findings) {
    let plans = findings.presets.iter().filter_map(|of| of.plan.as_ref());
    let smaller: Vec<String> = plans.flat_map(smaller).collect();
    if smaller.is_empty() {
        return;
    }
    page.heading("Limits that are smaller here than the preset's");
    for line in smaller {
        page.paragraph(2, &line);
    }
}

fn smaller(plan: &Plan) -> Vec<String> {
    let lowered = |limit: &&belljar::policy::data::plan::PlannedLimit| {
        limit.origin.starts_with("the caller's own")
    };
    plan.limits
        .iter()
        .filter(lowered)
        .filter_map(|limit| {
            let value = format_value(limit.limit, limit.hard?);
            Some(format!(
                "{} under {}: {value}, {}",
                limit.limit, plan.preset, limit.origin
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// The recorded machines, by name.
    fn machines() -> Vec<(String, HostFacts)> {
        let machines = concat!(env!("CARGO_MANIFEST_DIR"), "/../policy/tests/machines");
        let mut found = Vec::new();
        for entry in fs::read_dir(Path::new(machines)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "json") {
                let facts = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                found.push((path.display().to_string(), facts));
            }
        }
        assert!(found.len() > 10);
        found
    }

    fn page(facts: &HostFacts) -> String {
        let mut page = Page::default();
        tell(&mut page, facts, &Findings::of(facts));
        page.text().to_owned()
    }

    #[test]
    fn every_machine_is_told_of_in_eighty_columns_with_a_remedy_for_each_thing_that_is_missing() {
        for (name, facts) in machines() {
            let page = page(&facts);
            for line in page.lines() {
                let pasted = line.trim_start().starts_with('`');
                assert!(pasted || line.chars().count() <= 80, "{name}: {line}");
            }
            let findings = Findings::of(&facts);
            let met = findings.presets.iter().all(|of| of.plan.is_some());
            assert_eq!(met, !page.contains("costs: the preset"), "{name}: {page}");
            for missing in findings.missing.iter().chain(&findings.later) {
                let whole = [&missing.cause, &missing.remedy, &missing.costs()];
                assert!(
                    whole.iter().all(|text| !text.is_empty()),
                    "{name}: {missing:?}"
                );
            }
        }
    }

    #[test]
    fn hostile_facts_steer_no_terminal() {
        let (_, facts) = machines().remove(0);
        let hostile = "\x1b[2J\nbelljar: fine\r".to_owned();
        let page = page(&HostFacts {
            release: hostile.clone(),
            machine: hostile.clone(),
            namespaces: Ability::Unavailable {
                cause: hostile.clone(),
                remedy: hostile,
            },
            ..facts
        });
        assert!(
            !page.contains(['\x1b', '\r']) && !page.contains("\nbelljar: fine"),
            "{page}"
        );
    }
}
