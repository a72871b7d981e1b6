//! Belljar's own words: to stderr, each line prefixed, and with nothing in them
//! that could steer a terminal or pass for a line of somebody else's.

use std::{
    error::Error,
    fmt::Write as _,
    io::{self, Write as _},
};

use belljar_policy::data::Bytes;
use clap::CommandFactory as _;

use crate::args::Cli;

/// Where this process may open no more files; getrlimit(2).
pub(crate) const MORE_FILES: &str =
    "let belljar have more open files: `ulimit -n 1024`, or fewer that are open when it starts";

/// Where no more tasks may be made; fork(2), EAGAIN.
pub(crate) const MORE_TASKS: &str = "let this user have more processes (`ulimit -u 4096`), or the cgroup that belljar is in more tasks (`pids.max`), or the \
     machine (`sysctl kernel.pid_max`)";

/// Exit status for bad usage and for a bad manifest or policy.
pub(crate) const BAD_USAGE: u8 = 125;

/// Says something on stderr. Each of its lines is prefixed.
pub(crate) fn say(text: &str) {
    // One write, so that the lines stay together; where stderr is gone, nobody is left to tell.
    let _ = io::stderr().write_all(prefixed(text).as_bytes());
}

/// An error and what to do about it: one clear complaint.
pub(crate) fn complain(error: &dyn Error, remedy: Option<&str>) {
    say(&complaint(error, remedy));
}

/// The text of a complaint: the error, its causes, the remedy in a line of its own.
pub(crate) fn complaint(error: &dyn Error, remedy: Option<&str>) -> String {
    let mut text = one_line(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = one_line(&error.to_string());
        // An error that is transparent, or quotes its cause, has said it already.
        if !text.contains(&more) {
            let _ = write!(text, ": {more}");
        }
        cause = error.source();
    }
    if let Some(remedy) = remedy {
        let _ = write!(text, "\nremedy: {}", one_line(remedy));
    }
    text
}

/// A text as one line, without control characters.
pub(crate) fn one_line(text: &str) -> String {
    Bytes::from(text).escaped()
}

/// The known word that was probably meant. Of three letters another is soon near.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |word: &str| word.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|known| {
            let distance = strsim::damerau_levenshtein(&plain(word), &plain(known));
            (distance, known)
        })
        .filter(|(distance, known)| match word.len().min(known.len()) {
            0..4 => *distance == 0,
            shorter => *distance <= shorter.div_ceil(4),
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// The subcommand that is at hand, for remedies: what can be called so with the same
/// words.
pub(crate) fn subcommand() -> String {
    std::env::args_os()
        .nth(1)
        .and_then(|word| word.into_string().ok())
        .filter(|word| Cli::command().find_subcommand(word).is_some())
        .unwrap_or_else(|| "run".to_owned())
}

fn prefixed(text: &str) -> String {
    text.lines()
        .map(|line| format!("belljar: {}\n", one_line(line)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read policy `p\x1b[2J`")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("it is\na directory")]
    struct Inner;

    #[test]
    fn a_complaint_gives_the_causes_and_the_remedy_one_line_each() {
        assert_eq!(
            complaint(&Outer(Inner), Some("name a file")),
            "cannot read policy `p\\u{1b}[2J`: it is\\u{a}a directory\nremedy: name a file"
        );
    }

    #[test]
    fn only_a_word_that_is_near_is_taken_for_the_one_that_was_meant() {
        let known = ["io", "ipc", "files", "cpu_time", "zsh", "exec"];
        for (word, meant) in [
            ("fils", Some("files")),
            ("cpu-time", Some("cpu_time")),
            ("exce", Some("exec")),
            ("foo", None),
            ("ksh", None),
            ("tiles_of", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }

    #[test]
    fn every_line_is_prefixed_and_carries_no_control_character() {
        assert_eq!(
            prefixed("one\ntwo\x07"),
            "belljar: one\nbelljar: two\\u{7}\n"
        );
    }
}
