//! The command line as a whole: subcommands, and what is said and returned
//! where it cannot be understood.

use std::ffi::OsString;

use clap::{
    CommandFactory as _, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    completions, confine, doctor, explain, learn, man, policy, prove, run, schema, why, words,
};

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
    max_term_width = 80,
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
    /// Confine this very process, and have it become a program: no jar, no supervisor
    Confine(Box<confine::Options>),
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
            words::say(&complaint(&error, words));
            words::BAD_USAGE
        }
    })
}

/// Clap's words in Belljar's form: what is the matter, and one remedy.
fn complaint(error: &clap::Error, words: &[OsString]) -> String {
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|paragraph| {
        let words: Vec<_> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let matter = paragraphs.next().unwrap_or_default();
    let matter = matter.strip_prefix("error: ").unwrap_or(&matter);
    let at_hand = subcommand(words);
    let remedy = file_of_show(error, &at_hand).unwrap_or_else(|| {
        // Of several tips in a paragraph the first is the nearest.
        let tip = paragraphs.find_map(|paragraph| {
            let tips = paragraph.strip_prefix("tip: ")?.to_owned();
            Some(tips.split(" tip: ").next().unwrap_or_default().to_owned())
        });
        tip.filter(|tip| is_meant(error, tip))
            .unwrap_or_else(|| format!("`{}` tells how it is called", help(&at_hand)))
    });
    format!("{matter}\nremedy: {remedy}")
}

/// The words that name the subcommand at hand, below `belljar`.
fn subcommand(words: &[OsString]) -> Vec<String> {
    let mut command = Cli::command();
    command.build();
    let mut at = &command;
    let mut names = Vec::new();
    for word in words.iter().skip(1) {
        let Some(next) = at.find_subcommand(word) else {
            break;
        };
        names.push(next.get_name().to_owned());
        at = next;
    }
    names
}

/// The command that explains a subcommand.
fn help(names: &[String]) -> String {
    let words = ["belljar", "help"].into_iter();
    let words: Vec<&str> = words.chain(names.iter().map(String::as_str)).collect();
    words.join(" ")
}

/// Clap finds a value near where half of its letters are the same; and that an
/// unknown option could be a program's name is hardly ever meant.
fn is_meant(error: &clap::Error, tip: &str) -> bool {
    let value = |kind| match error.get(kind) {
        Some(ContextValue::String(value)) => Some(value.as_str()),
        Some(ContextValue::Strings(values)) => values.first().map(String::as_str),
        _ => None,
    };
    let near = match (
        value(ContextKind::InvalidValue),
        value(ContextKind::SuggestedValue),
    ) {
        (Some(said), Some(near)) => words::nearest(said, [near]).is_some(),
        _ => true,
    };
    near && !tip.starts_with("to pass '")
}

/// `policy check` takes the file as it is, and so `policy show` is called like it.
fn file_of_show(error: &clap::Error, at_hand: &[String]) -> Option<String> {
    let Some(ContextValue::String(said)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let file = error.kind() == ErrorKind::UnknownArgument && !said.starts_with('-');
    (file && at_hand == ["policy", "show"])
        .then(|| format!("say which file it is by its option: `--policy {said}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint_about(words: &[&str]) -> String {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        complaint(&Cli::try_parse_from(&words).unwrap_err(), &words)
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// A command and all below it.
    fn help_fits(command: &mut clap::Command) {
        for help in [command.render_help(), command.render_long_help()] {
            for line in help.to_string().lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
        }
        command.get_subcommands_mut().for_each(help_fits);
    }

    #[test]
    fn help_fits_a_terminal_of_eighty_columns() {
        let mut command = Cli::command();
        command.build();
        help_fits(&mut command);
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
    fn a_remedy_is_about_the_subcommand_at_hand() {
        for (words, remedy) in [
            (
                vec!["explain", "--nosuch"],
                "`belljar help explain` tells how it is called",
            ),
            (
                vec!["policy", "show", "--x"],
                "`belljar help policy show` tells how it is called",
            ),
            (
                vec!["policy", "nosuch"],
                "`belljar help policy` tells how it is called",
            ),
            (vec!["nosuch"], "`belljar help` tells how it is called"),
            (
                vec!["completions", "ksh"],
                "`belljar help completions` tells how it is called",
            ),
            (
                vec!["completions", "fihs"],
                "a similar value exists: 'fish'",
            ),
            (
                vec!["policy", "show", "a.toml"],
                "say which file it is by its option: `--policy a.toml`",
            ),
        ] {
            let complaint = complaint_about(&[&["belljar"], words.as_slice()].concat());
            let said = complaint.lines().last().unwrap();
            assert_eq!(said, format!("remedy: {remedy}"), "{complaint}");
        }
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
