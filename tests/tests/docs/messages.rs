//! docs/troubleshooting.md has an entry for whatever Belljar can complain of.

use std::collections::{BTreeMap, BTreeSet};

use belljar_plan::{Limit, Outcome, Rule, outcome::StoppedBy};

use crate::{
    page::{self, plain, sections},
    sources,
};

const PAGE: &str = "docs/troubleshooting.md";

/// Entries by name: the headings of level 3, without their quotes of code.
fn entries() -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    for section in sections(&page::read(PAGE)) {
        if section.level == 3 {
            let name = section.title.trim_matches('`').to_owned();
            let before = entries.insert(name, section.text);
            assert!(before.is_none(), "two entries for {}", section.title);
        }
    }
    entries
}

/// What is wrong with an entry: it quotes what is said, and tells cause and remedy.
fn faults(name: &str, entry: &str, parts: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    let text = plain(entry);
    // A quote in the page may be broken over lines, each indented.
    for part in parts {
        if !text.contains(part.as_str()) {
            faults.push(format!("{name}: does not quote `{part}`"));
        }
    }
    for word in ["Cause: ", "Remedy: "] {
        if !entry.lines().any(|line| line.starts_with(word)) {
            faults.push(format!("{name}: has no line that begins with `{word}`"));
        }
    }
    faults
}

#[test]
fn every_error_has_its_entry_with_message_cause_and_remedy() {
    let entries = entries();
    let mut faults_found = Vec::new();
    for message in sources::read().errors {
        match entries.get(&message.name) {
            // It has no words of its own: the error in it speaks.
            None if message.text.is_none() => {}
            None => faults_found.push(format!(
                "{}: has no `### {}` in {PAGE}; it says: {:?}",
                message.name, message.name, message.text
            )),
            Some(entry) => faults_found.extend(faults(&message.name, entry, &message.parts())),
        }
    }
    assert!(faults_found.is_empty(), "{}", faults_found.join("\n"));
}

#[test]
fn no_entry_is_of_an_error_that_there_is_not() {
    let known: BTreeSet<String> = sources::read()
        .errors
        .into_iter()
        .map(|message| message.name)
        .collect();
    for name in entries().keys() {
        if name.contains("::") {
            assert!(known.contains(name), "{PAGE}: there is no {name}");
        }
    }
}

/// Those of `texts` that no entry quotes.
fn unquoted(texts: &[String]) -> Vec<String> {
    let entries: Vec<String> = entries().into_values().map(|entry| plain(&entry)).collect();
    let quoted = |text: &String| {
        let parts = sources::parts(text);
        let quotes = |entry: &String| parts.iter().all(|part| entry.contains(part.as_str()));
        entries.iter().any(quotes)
    };
    texts.iter().filter(|text| !quoted(text)).cloned().collect()
}

#[test]
fn every_cause_of_what_a_machine_cannot_do_is_told() {
    let missing = unquoted(&sources::read().causes);
    assert!(
        missing.is_empty(),
        "{PAGE}: no entry quotes:\n{}",
        missing.join("\n")
    );
}

#[test]
fn every_reason_of_a_refusal_is_told() {
    let missing = unquoted(&sources::read().reasons);
    assert!(
        missing.is_empty(),
        "{PAGE}: no entry quotes:\n{}",
        missing.join("\n")
    );
}

/// What is said beside errors and outcomes, and by the reader of the command line.
const ELSE: &[&str] = &[
    "is a file of your working directory",
    "one call was denied",
    "calls were denied",
    "unknown system call",
    "unexpected argument",
    "unrecognized subcommand",
    "invalid value",
    "a value is required for",
    "required arguments were not provided",
    "cannot be used multiple times",
    "cannot be used with",
];

#[test]
fn what_is_said_in_other_words_has_its_entry_too() {
    let said: Vec<String> = ELSE.iter().map(|text| (*text).to_owned()).collect();
    assert_eq!(unquoted(&said), Vec::<String>::new(), "{PAGE}");
}

/// One of each; a new one does not compile until it is here.
pub(crate) fn outcomes() -> Vec<Outcome> {
    let all = vec![
        Outcome::Exited { code: 1 },
        Outcome::Signaled {
            signal: 11,
            name: "SEGV".into(),
            core: false,
        },
        Outcome::Limit { limit: Limit::Wall },
        Outcome::Violation {
            rule: Rule::Nesting,
        },
        Outcome::Stopped {
            by: StoppedBy::Host,
            grace_used: true,
        },
        Outcome::Refused { unmet: Vec::new() },
        Outcome::SetupFailed {
            step: "root".into(),
            errno: 1,
        },
        Outcome::Lost,
        Outcome::NotRunnable {
            path: "/x".into(),
            errno: 13,
        },
        Outcome::NotFound {
            path: "x".into(),
            searched: Vec::new(),
        },
    ];
    for outcome in &all {
        match outcome {
            Outcome::Exited { .. }
            | Outcome::Signaled { .. }
            | Outcome::Limit { .. }
            | Outcome::Violation { .. }
            | Outcome::Stopped { .. }
            | Outcome::Refused { .. }
            | Outcome::SetupFailed { .. }
            | Outcome::Lost
            | Outcome::NotRunnable { .. }
            | Outcome::NotFound { .. } => {}
        }
    }
    all
}

/// The name of an outcome, as reports have it.
pub(crate) fn kind(outcome: &Outcome) -> String {
    let json = serde_json::to_value(outcome).expect("an outcome is JSON");
    json["kind"].as_str().expect("it names its kind").to_owned()
}

/// How pages say an outcome's exit status.
pub(crate) fn status(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { .. } => "the program's own".to_owned(),
        Outcome::Signaled { .. } => "128 + the signal's number".to_owned(),
        other => other.exit_status().to_string(),
    }
}

#[test]
fn every_outcome_has_its_entry_with_its_exit_status() {
    let entries = entries();
    for outcome in outcomes() {
        let kind = kind(&outcome);
        let entry = entries
            .get(&kind)
            .unwrap_or_else(|| panic!("{PAGE}: there is no `### {kind}`"));
        let status = status(&outcome);
        assert!(
            entry.contains(&format!("Exit status: {status}")),
            "{kind}: {status}: {entry}"
        );
        assert_eq!(faults(&kind, entry, &[]), Vec::<String>::new());
    }
}
