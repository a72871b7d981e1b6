//! The command line as a whole: subcommands, and what is said and returned
//! where it cannot be understood.

use std::ffi::OsString;

use clap::{Parser, Subcommand, error::ErrorKind};

use crate::{completions, doctor, explain, learn, man, policy, prove, run, schema, why, words};

const NOTES: &str = "\
Examples:
  belljar run -- sort -u < names.txt
  belljar help run

Exit status:
  that of the subcommand, as its help tells;
  125  a call that cannot be followed";

/// Runs plugins that nobody should have to trust, and tells exactly what holds them.
#[derive(Parser, Debug)]
#[command(
    name = "belljar",
    version,
    max_term_width = 96,
    after_help = NOTES
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One file each.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run one program or plugin in a jar
    Run(Box<run::Options>),
    /// Tell what this machine can enforce, what is missing, and what to do about it
    Doctor(doctor::Options),
    /// Tell what would hold a run, rule by rule, and launch nothing
    Explain(Box<explain::Options>),
    /// Tell why something is denied, by whose word, and what would allow it
    Why(Box<why::Options>),
    /// Check policy files, show what they come to, list groups of paths
    Policy(policy::Options),
    /// Run it observed, and propose what it lacked as manifest, policy and flags
    Learn(Box<learn::Options>),
    /// Try on this machine what the plan of a run claims
    Prove(Box<prove::Options>),
    /// Print the JSON Schema of one of Belljar's documents
    Schema(schema::Options),
    /// Print a manual page, or write all of them into a directory
    Man(man::Options),
    /// Print what lets a shell complete belljar's words
    Completions(completions::Options),
}

/// Reads the command line, program name first.
///
/// # Errors
/// The status to end with, after everything that there is to say has been said:
/// 0 for help and version, 125 for what cannot be understood.
pub(crate) fn parse(words: &[OsString]) -> Result<Cli, u8> {
    Cli::try_parse_from(words).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody is left to tell where stdout is gone.
            let _ = error.print();
            0
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            words::BAD_USAGE
        }
        _ => {
            words::say(&complaint(&error));
            words::BAD_USAGE
        }
    })
}

/// Clap's words in Belljar's form: what is the matter, and one remedy.
fn complaint(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|paragraph| {
        let words: Vec<_> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let matter = paragraphs.next().unwrap_or_default();
    let matter = matter.strip_prefix("error: ").unwrap_or(&matter);
    // Of several tips in a paragraph the first is the nearest.
    let tip = paragraphs.find_map(|paragraph| {
        let tips = paragraph.strip_prefix("tip: ")?.to_owned();
        Some(tips.split(" tip: ").next().unwrap_or_default().to_owned())
    });
    let remedy = tip.unwrap_or_else(|| {
        "`belljar help` and `belljar help run` tell how it is called".to_owned()
    });
    format!("{matter}\nremedy: {remedy}")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn complaint_about(words: &[&str]) -> String {
        complaint(&Cli::try_parse_from(words).unwrap_err())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_a_terminal_of_a_hundred_columns() {
        let mut command = Cli::command();
        let run = command.find_subcommand_mut("run").unwrap();
        for help in [run.render_help(), run.render_long_help()] {
            for line in help.to_string().lines() {
                assert!(line.chars().count() <= 100, "{line}");
            }
        }
    }

    #[test]
    fn a_misspelled_option_is_answered_with_the_nearest() {
        assert_eq!(
            complaint_about(&["belljar", "run", "--memroy", "1GiB", "true"]),
            "unexpected argument '--memroy' found\n\
             remedy: a similar argument exists: '--memory'"
        );
    }

    #[test]
    fn every_complaint_is_one_line_and_one_remedy() {
        for (words, matter) in [
            (
                vec!["run", "--preset", "lax", "true"],
                "invalid value 'lax' for '--preset <PRESET>' [possible values: minimal,",
            ),
            (
                vec!["run", "--memory"],
                "a value is required for '--memory <SIZE>'",
            ),
            (
                vec!["schema"],
                "the following required arguments were not provided: <DOCUMENT>",
            ),
            (vec!["runn"], "unrecognized subcommand 'runn'"),
        ] {
            let complaint = complaint_about(&[&["belljar"], words.as_slice()].concat());
            assert!(complaint.starts_with(matter), "{complaint}");
            assert_eq!(complaint.matches("\nremedy: ").count(), 1, "{complaint}");
            assert_eq!(complaint.lines().count(), 2, "{complaint}");
        }
    }

    #[test]
    fn an_option_given_twice_is_refused_rather_than_one_of_them_ignored() {
        let complaint =
            complaint_about(&["belljar", "run", "--wall", "1s", "--timeout", "9s", "true"]);
        assert!(
            complaint.contains("cannot be used multiple times"),
            "{complaint}"
        );
    }
}
