//! What can be said to `belljar run`: what any run is told, and what is told
//! of this one.

use std::{ffi::OsString, time::Duration};

use belljar_policy::{
    data::Limit,
    units::{Whose, parse_value},
};
use clap::Args;

use crate::ask::{self, Usage};

/// How `belljar run` is called.
const USAGE: &str = "belljar run [OPTIONS] [--] PROGRAM [ARGS]...
       belljar run [OPTIONS] DIR|MANIFEST [-- ARGS]...";

const NOTES: &str = "\
A PROGRAM of this machine runs under the preset `standard`: it sees the system's runtime \
directories, no home directory, no network, and what you grant. A plugin (a DIR with a \
belljar.toml, or a MANIFEST file) runs under `strict`: it sees its own files, its interpreter and \
its libraries, and what its manifest asks for and you grant.

Before `--`, an existing directory or a file that ends in .toml or .json is a plugin, and \
anything else is a program; after `--` comes a program, always. Standard streams are relayed, so \
it works in pipes. ^Z pauses the whole jar, and its limit of time, until `fg`; SIGUSR1 has a line \
printed of what it uses.

Examples:
  belljar run -- sort -u < names.txt
  belljar run --read . --write out --memory 512MiB --wall 30s -- make test
  belljar run examples/wordcount < README.md
  belljar run --policy p.toml --report r.json plugins/resize -- --width 640

Sizes are written as 64KiB, 128MiB, 2GiB; durations as 500ms, 5s, 5m; `none` lifts a limit.

Exit status:
  that of the program, or 128 and the number of the signal that ended it;
  124  the jar was ended for a limit or a violation
  125  refused, set-up failed, bad usage or a bad policy
  126  the program is there and cannot be started
  127  there is no such program in the jar
  128 and the signal's number, when a signal to belljar ended it";

/// `belljar run`
#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(override_usage = USAGE, after_help = NOTES)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) ask: ask::Options,

    /// Your own name for this run, told in the report
    #[arg(long, value_name = "ID", help_heading = RECORD)]
    pub(crate) task: Option<String>,

    /// Where the report (JSON) goes: a file, or descriptor N that you opened
    #[arg(long, value_name = "FILE|fd:N", help_heading = RECORD)]
    pub(crate) report: Option<OsString>,

    /// Tell in the report what its calls named: files, programs, addresses. It decides
    /// nothing, and makes such calls slower
    #[arg(long, help_heading = RECORD)]
    pub(crate) observe: bool,

    /// Where events go, a line of JSON each: a file, or descriptor N that you opened
    #[arg(long, value_name = "FILE|fd:N", help_heading = RECORD)]
    pub(crate) events: Option<OsString>,

    /// Keep neither report nor plan of this run where `belljar why` finds them
    #[arg(long, help_heading = RECORD)]
    pub(crate) no_record: bool,

    /// Time between a signal to belljar, which it passes on, and the end of the jar [default: 5s]
    #[arg(long, value_name = "DURATION", help_heading = RECORD)]
    pub(crate) grace: Option<String>,

    /// Tell on stderr what belljar does; twice for more. BELLJAR_LOG filters
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = RECORD)]
    pub(crate) verbose: u8,
}

const RECORD: &str = "Run and report";

/// How long a signal to belljar leaves the plugin before the jar is destroyed.
const GRACE: Duration = Duration::from_secs(5);

impl Options {
    /// The time between a signal and the end.
    ///
    /// # Errors
    /// Where it is no duration.
    pub(super) fn grace(&self) -> Result<Duration, Usage> {
        match self.grace.as_deref() {
            None => Ok(GRACE),
            // For a limit zero makes no sense; for a grace it is "at once".
            Some("0" | "0s" | "0ms") => Ok(Duration::ZERO),
            Some(said) => Ok(Duration::from_nanos(parse_value(
                Limit::Wall,
                said,
                Whose::Flag("--grace"),
            )?)),
        }
    }

    /// The host's own name for the run.
    ///
    /// # Errors
    /// Where it is empty, too long, or could not be told from other words of a log.
    pub(super) fn task(&self) -> Result<Option<&str>, Usage> {
        let Some(said) = self.task.as_deref() else {
            return Ok(None);
        };
        if said.is_empty() || said.len() > 256 || said.chars().any(char::is_control) {
            return Err(Usage::Form {
                flag: "--task",
                said: said.to_owned(),
                form: "1 to 256 bytes of text on one line",
                example: "--task build-42",
            });
        }
        Ok(Some(said))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Call {
        #[command(flatten)]
        options: Options,
    }

    fn options(words: &[&str]) -> Options {
        let line = ["run"].iter().chain(words).chain(&["true"]);
        Call::try_parse_from(line).unwrap().options
    }

    #[test]
    fn a_grace_may_be_zero_and_must_be_a_duration() {
        let grace = |words: &[&str]| options(words).grace();
        assert_eq!(grace(&[]).unwrap(), GRACE);
        assert_eq!(grace(&["--grace", "0"]).unwrap(), Duration::ZERO);
        assert_eq!(
            grace(&["--grace", "1500ms"]).unwrap(),
            Duration::from_millis(1500)
        );
        let error = grace(&["--grace", "none"]).unwrap_err().to_string();
        assert!(error.starts_with("`--grace`"), "{error}");
    }

    #[test]
    fn a_task_is_one_line_of_text() {
        assert_eq!(options(&["--task", "a b"]).task().unwrap(), Some("a b"));
        assert!(options(&["--task", ""]).task().is_err());
        assert!(options(&["--task", "a\nb"]).task().is_err());
    }
}
