//! The manifests and policies that the pages show are such, and every key of both
//! is told.

use belljar::{
    Limit,
    policy::{
        manifest::{self, Format, Manifest},
        policy::{self, Policy},
        units::{Whose, parse_value},
    },
};

use crate::page::{self, Block};

/// Pages whose TOML is all of one or the other kind.
const PAGES: &[&str] = &[
    "docs/getting-started.md",
    "docs/plugin-authors.md",
    "docs/operators.md",
];

fn manifest(block: &Block, page: &str) {
    if let Err(error) = Manifest::parse(&block.text, Format::Toml, page) {
        panic!("{page} line {}: no manifest: {error:?}", block.line);
    }
}

fn policy(block: &Block, page: &str) {
    // One that extends others is read with them by the commands of its page.
    if block.text.starts_with("extends = ") {
        return;
    }
    if let Err(error) = Policy::parse(&block.text, policy::Format::Toml, page, None) {
        panic!("{page} line {}: no policy: {error:?}", block.line);
    }
}

#[test]
fn every_manifest_and_policy_of_the_pages_is_one() {
    let mut count = 0;
    for page in PAGES {
        for block in page::blocks(&page::read(page)) {
            if block.language != "toml" {
                continue;
            }
            count += 1;
            match block.mark.as_deref() {
                Some("<!-- manifest -->") => manifest(&block, page),
                Some("<!-- policy -->") => policy(&block, page),
                Some(mark) if mark.ends_with("/belljar.toml -->") => manifest(&block, page),
                Some(mark) if mark.starts_with("<!-- file ") => policy(&block, page),
                mark => panic!("{page} line {}: what is it? {mark:?}", block.line),
            }
        }
    }
    assert!(count > 10, "{count}");
}

/// Every key of a schema that holds a value, dotted, two levels deep.
fn keys(schema: &serde_json::Value) -> Vec<String> {
    let resolved = |value: &serde_json::Value| match value["$ref"].as_str() {
        Some(reference) => {
            let name = reference.rsplit('/').next().expect("a name");
            schema["$defs"][name].clone()
        }
        None => value.clone(),
    };
    let mut keys = Vec::new();
    for (name, value) in schema["properties"].as_object().expect("properties") {
        match resolved(value)["properties"].as_object() {
            Some(below) if name != "plugins" => {
                keys.extend(below.keys().map(|key| format!("{name}.{key}")));
            }
            _ => keys.push(name.clone()),
        }
    }
    assert!(keys.len() > 15, "{keys:?}");
    keys
}

fn assert_tells(page: &str, schema: &serde_json::Value) {
    let text = page::read(page);
    let missing: Vec<String> = keys(schema)
        .into_iter()
        // A family of keys may be told of as one.
        .filter(|key| {
            let (table, _) = key.split_once('.').unwrap_or((key, ""));
            let family = match table {
                "limits" => "limits.LIMIT".to_owned(),
                "require" => "require.RULE".to_owned(),
                "linux" if key.ends_with("caps") => "linux.caps.keep".to_owned(),
                "plugins" => "plugins.NAME.…".to_owned(),
                _ => key.clone(),
            };
            !text.contains(&format!("`{key}`")) && !text.contains(&format!("`{family}`"))
        })
        .collect();
    assert!(missing.is_empty(), "{page} does not tell of {missing:?}");
}

#[test]
fn the_plugin_authors_guide_has_every_key_of_a_manifest() {
    assert_tells("docs/plugin-authors.md", manifest::schema().as_value());
}

#[test]
fn the_page_of_policies_has_every_key_of_one() {
    assert_tells("docs/policy.md", policy::schema().as_value());
}

#[test]
fn conservative_limits_are_values_that_flags_take() {
    let text = page::read("docs/operators.md");
    let (_, table) = text
        .split_once("| kind | ")
        .expect("the table of limits by kind");
    let mut rows = table.lines().map_while(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        (cells.len() > 5).then_some(cells)
    });
    let limits: Vec<Limit> = rows
        .next()
        .expect("a heading")
        .into_iter()
        .map(|cell| Limit::from_word(cell.trim_matches('`')).expect("a limit"))
        .collect();
    let mut count = 0;
    for row in rows.skip(1) {
        for (limit, cell) in limits.iter().zip(&row[1..]) {
            let value = cell.strip_prefix("at least ").unwrap_or(cell);
            if matches!(value, "none" | "as above") {
                continue;
            }
            count += 1;
            let parsed = parse_value(*limit, value, Whose::Flag("--limit"));
            assert!(parsed.is_ok(), "{limit}: {cell}: {parsed:?}");
        }
    }
    assert!(count > 20, "{count}");
}

/// A figure that nobody explains is no figure.
#[test]
fn every_figure_of_a_report_is_explained() {
    let page = page::read("docs/usage.md");
    let usage = serde_json::to_value(belljar_plan::usage::Usage::default()).expect("JSON");
    for figure in usage.as_object().expect("an object").keys() {
        assert!(page.contains(&format!("`{figure}`")), "{figure}");
    }
}
