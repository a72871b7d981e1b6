//! docs/endings.md has each outcome with its exit status, its evidence and what cannot be
//! forged, each limit, and a line for each in the table of what other tools call it.

use std::collections::BTreeSet;

use belljar_plan::{Limit, Outcome};

use crate::{
    messages::{kind, outcomes, status},
    page::{self, Section, sections},
};

const PAGE: &str = "docs/endings.md";

fn section(title: &str) -> Section {
    sections(&page::read(PAGE))
        .into_iter()
        .find(|section| section.title == title)
        .unwrap_or_else(|| panic!("{PAGE} has no section {title}"))
}

/// The first cell of each row of the tables in a text.
fn first_cells(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .collect()
}

/// The words in quotes of code.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_outcome_has_its_status_its_evidence_and_what_cannot_be_forged() {
    for outcome in outcomes() {
        let kind = kind(&outcome);
        let text = section(&kind).text;
        for line in ["Rests on: ", "Cannot be forged: "] {
            assert!(
                text.lines().any(|has| has.starts_with(line)),
                "{kind}: no line `{line}`"
            );
        }
        let said = match &outcome {
            Outcome::Signaled { .. } => "128 and the signal's number".to_owned(),
            other => status(other),
        };
        let told = text
            .lines()
            .find_map(|line| line.strip_prefix("Exit status: "))
            .unwrap_or_else(|| panic!("{kind}: no line `Exit status: `"));
        assert!(told.contains(&said), "{kind}: {said}: {told}");
    }
}

#[test]
fn every_limit_is_told_with_who_counts_it() {
    let text = section("limit").text;
    let told: Vec<&str> = first_cells(&text).into_iter().flat_map(quoted).collect();
    let every: BTreeSet<&str> = Limit::ALL.iter().map(|limit| limit.word()).collect();
    let once: BTreeSet<&str> = told.iter().copied().collect();
    assert_eq!(once, every);
    assert_eq!(told.len(), every.len(), "one is told twice: {told:?}");
}

#[test]
fn every_outcome_and_every_limit_that_ends_a_jar_has_what_others_call_it() {
    let text = section("What other tools call it").text;
    let rows = first_cells(&text);
    for outcome in outcomes() {
        let kind = format!("`{}`", kind(&outcome));
        assert!(rows.iter().any(|row| row.starts_with(&kind)), "{kind}");
    }
    // What ends none is no word of an outcome.
    let ends =
        |limit: &&Limit| !limit.slows() && !matches!(limit, Limit::OpenFiles | Limit::FileSize);
    let limits: BTreeSet<&str> = Limit::ALL.iter().filter(ends).map(|l| l.word()).collect();
    let told: BTreeSet<&str> = rows
        .iter()
        .filter_map(|row| row.strip_prefix("`limit`: "))
        .flat_map(quoted)
        .collect();
    assert_eq!(told, limits);
    let columns = |line: &str| line.matches(" | ").count();
    let table: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
    for line in &table {
        assert_eq!(columns(line), columns(table[0]), "{line}");
    }
}
