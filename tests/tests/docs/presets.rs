//! docs/presets.md has the limits, files and variables that the presets have.

use belljar::{
    Limit, Preset,
    policy::{effective::preset_limits, manifest::Bound, units::format_value},
};
use belljar_tests::{Plugin, jar};

use crate::page::{self, plain, sections};

const PAGE: &str = "docs/presets.md";

fn section(title: &str) -> String {
    sections(&page::read(PAGE))
        .into_iter()
        .find(|section| section.title == title)
        .unwrap_or_else(|| panic!("{PAGE} has no section {title}"))
        .text
}

fn cell(limit: Limit, bound: Option<&Bound>) -> String {
    let value = |value: Option<u64>| {
        value.map_or_else(|| "–".to_owned(), |value| format_value(limit, value))
    };
    match bound {
        None => "–".to_owned(),
        Some(bound) => format!("{} / {}", value(bound.soft), value(bound.hard)),
    }
}

#[test]
fn the_table_of_limits_is_the_presets() {
    let mut expected = String::new();
    for limit in Limit::ALL {
        let cells: Vec<String> = Preset::ALL
            .iter()
            .map(|preset| cell(*limit, preset_limits(*preset).get(limit)))
            .collect();
        expected.push_str(&format!("| `{limit}` | {} |\n", cells.join(" | ")));
    }
    let text = section("Limits");
    for row in expected.lines() {
        assert!(text.contains(row), "{PAGE} does not have the row {row}");
    }
}

/// A name of a list in code, where `*` stands for any letters.
fn is_listed(text: &str, name: &str) -> bool {
    text.split('`')
        .skip(1)
        .step_by(2)
        .any(|listed| match listed.split_once('*') {
            None => listed == name,
            Some((start, end)) => name.starts_with(start) && name.ends_with(end),
        })
}

#[test]
fn what_standard_shows_of_this_machine_is_listed() {
    let layout = belljar::facts::facts_for(Preset::Standard).layout;
    let text = plain(&section("standard"));
    for place in &layout.system {
        assert!(is_listed(&text, place.path.as_str()), "{}", place.path);
    }
    assert!(!layout.configuration.is_empty());
    for place in &layout.configuration {
        let name = place.path.as_str().strip_prefix("/etc/");
        let name = name.expect("configuration lies in /etc");
        assert!(is_listed(&text, name), "{PAGE} does not list {name}");
    }
}

/// The names of variables that `preset` sets by itself, as the page lists them.
fn listed_variables(preset: &str) -> Vec<String> {
    let text = plain(&section("Environment"));
    let start = format!("- `{preset}`: ");
    let (_, list) = text.split_once(&start).expect("a line of the list");
    let (list, _) = list.split_once(". ").expect("it ends");
    list.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The names of variables in a jar, but those that tell of the sandbox.
fn variables(said: &str) -> Vec<String> {
    let mut names: Vec<String> = said
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.starts_with("NO_") && name != "SANDBOX_POLICY")
        .collect();
    names.sort();
    names
}

#[test]
fn a_jar_has_exactly_the_listed_variables() {
    let standard = jar().guest("environment", [""; 0]).end().clean();
    assert_eq!(variables(&standard.stdout), listed_variables("standard"));
    let plugin = Plugin::new("");
    let strict = jar().plugin(plugin.path(), &["environment"]).end().clean();
    assert_eq!(variables(&strict.stdout), listed_variables("strict"));
}
