//! `belljar schema`: the JSON Schemas of Belljar's documents, made from the
//! types themselves.

use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use schemars::{Schema, schema_for};

use belljar_policy::{
    HostFacts,
    data::{Answer, Confined, Event, Plan, Proof, Report},
    policy::Line,
};

use crate::{
    explain::Explanation,
    policy::{check::Checked, groups::Told},
    why::{Listed, OfRun},
    words,
};

const NOTES: &str = "\
Examples:
  belljar schema manifest > manifest.schema.json

Exit status:
  0    it was printed
  125  bad usage, or stdout takes no more";

/// `belljar schema`
#[derive(Args, Debug)]
#[command(after_help = NOTES)]
pub(crate) struct Options {
    /// Which document
    document: Document,
}

/// A document that Belljar reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Document {
    /// What a plugin asks for: belljar.toml, or the same in JSON
    Manifest,
    /// What an operator grants at most
    Policy,
    /// What is told after a run
    Report,
    /// What is decided before a run
    Plan,
    /// What is told while a program runs
    Event,
    /// What a machine can enforce, as `belljar doctor --json` writes it
    Facts,
    /// What `belljar explain --json` tells: a plan, or what is refused
    Explanation,
    /// What `belljar why --json` answers to a question
    Answer,
    /// What `belljar why --last --json` tells of a run that was kept
    Denials,
    /// What `belljar why --list --json` lists
    Runs,
    /// What `belljar policy groups --json` tells
    Groups,
    /// What `belljar policy check --json` finds
    Warnings,
    /// What `belljar policy show --json` tells
    Lines,
    /// What `belljar learn --json` tells of a run
    Lesson,
    /// What came of trying a plan's claims
    Proof,
    /// What `belljar confine --report` tells
    Confined,
}

/// Prints the schema that was asked for, and gives the status to end with.
pub(crate) fn run(options: &Options) -> u8 {
    match io::stdout().write_all(text(options.document).as_bytes()) {
        // A reader that went away has what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            words::complain(&SchemaError(error), None);
            words::BAD_USAGE
        }
        _ => 0,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write the schema to stdout")]
struct SchemaError(#[source] io::Error);

fn text(document: Document) -> String {
    let schema = schema(document);
    format!("{:#}\n", schema.as_value())
}

fn schema(document: Document) -> Schema {
    match document {
        Document::Manifest => belljar_policy::manifest::schema(),
        Document::Policy => belljar_policy::policy::schema(),
        Document::Report => schema_for!(Report),
        Document::Plan => schema_for!(Plan),
        Document::Event => schema_for!(Event),
        Document::Facts => schema_for!(HostFacts),
        Document::Explanation => schema_for!(Explanation),
        Document::Answer => schema_for!(Answer),
        Document::Denials => schema_for!(OfRun<'static>),
        Document::Runs => schema_for!(Vec<Listed>),
        Document::Groups => schema_for!(Vec<Told>),
        Document::Warnings => schema_for!(Checked),
        Document::Lines => schema_for!(Vec<Line>),
        Document::Lesson => belljar_policy::learn::schema(),
        Document::Proof => schema_for!(Proof),
        Document::Confined => schema_for!(Confined),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    #[test]
    fn the_schemas_in_docs_are_those_of_the_types() {
        let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/schemas"));
        for document in Document::value_variants() {
            let name = document.to_possible_value().unwrap().get_name().to_owned();
            let file = directory.join(format!("{name}.json"));
            assert!(
                fs::read_to_string(&file).unwrap_or_default() == text(*document),
                "{} is not current: `cargo xtask schema` writes it anew",
                file.display(),
            );
        }
    }
}
