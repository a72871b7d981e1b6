//! Why a call gives no output. What a guest wrote appears escaped and bounded only.

use belljar_plan::{Outcome, Report, outcome::StoppedBy};

use crate::error::LaunchError;

/// Why a call gives no output. Nothing of its jar is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// This process has not called [`init`](super::init), so its program would not serve a
    /// call in a jar either, but run its own `main` there. Nothing was launched.
    #[error(
        "this program cannot serve functions in a jar: begin its `main` with `belljar::isolated::init()`"
    )]
    NoInit,
    /// The function is not in this program's list. Nothing was launched.
    #[error(
        "function `{function}` is not in this program's list: declare it by `belljar::isolated!`, and let the linker keep its section"
    )]
    NotRegistered {
        /// Its module and name.
        function: &'static str,
    },
    /// The input cannot be written as JSON. Nothing was launched.
    #[error("the input of `{function}` cannot be handed over")]
    Input {
        /// Its module and name.
        function: &'static str,
        /// Why: a map whose keys are no strings, for example.
        #[source]
        source: serde_json::Error,
    },
    /// There is no jar.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// What was started in the jar did not serve: it wrote something else first, ended, or
    /// was silent for too long.
    #[error(
        "the program did not serve in its jar{}: begin its `main` with `belljar::isolated::init()`, before it prints, reads arguments or does anything else",
        wrote(said)
    )]
    NotServed {
        /// The first of what it wrote instead; empty where it wrote nothing.
        said: String,
        /// How the jar ended.
        report: Box<Report>,
    },
    /// What the jar read as its input is not of the input's type, as the guest says: the type
    /// does not read what it writes.
    #[error("the input does not read back in the jar: {message}")]
    InputUnread {
        /// The guest's words.
        message: String,
        /// How the jar ended.
        report: Box<Report>,
    },
    /// The function panicked, as the guest says.
    #[error("the function panicked: {message}")]
    Panicked {
        /// The guest's words: the panic's, and where it was.
        message: String,
        /// How the jar ended.
        report: Box<Report>,
    },
    /// The jar ended before the function returned, or otherwise than a function that
    /// returns: for a limit, by a signal, by an exit of its own.
    #[error("{}", ended(report))]
    Ended {
        /// How, with what it took.
        report: Box<Report>,
    },
    /// The answer is not one.
    #[error("the jar's answer cannot be used")]
    Answer {
        /// What is wrong with it.
        #[source]
        source: AnswerError,
        /// How the jar ended.
        report: Box<Report>,
    },
}

/// What is wrong with a jar's answer. A guest can bring about each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// It is longer than the caller takes.
    #[error("it has more than {limit} bytes; say how many there may be by the limit `output`")]
    TooLong {
        /// Bytes.
        limit: u64,
    },
    /// It ends before its end.
    #[error("it was cut short")]
    Cut,
    /// Something follows its end.
    #[error("something follows its end")]
    Trailing,
    /// It has not the form that answers have.
    #[error("it has another form than answers have")]
    Form,
    /// It is not of the output's type.
    #[error("the output is not of its type: {message}")]
    Output {
        /// Why, perhaps with words of the guest's.
        message: String,
    },
    /// The guest says that the output cannot be written as JSON.
    #[error("the output cannot be handed over: {message}")]
    Unwritten {
        /// The guest's words.
        message: String,
    },
    /// The guest says that it has no such function.
    #[error("the jar has no such function, and runs the same program")]
    Unknown,
}

impl CallError {
    /// How the jar ended, where there was one.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Launch(LaunchError::Ended { report })
            | Self::NotServed { report, .. }
            | Self::InputUnread { report, .. }
            | Self::Panicked { report, .. }
            | Self::Ended { report }
            | Self::Answer { report, .. } => Some(report),
            Self::NoInit | Self::NotRegistered { .. } | Self::Input { .. } | Self::Launch(_) => {
                None
            }
        }
    }
}

fn wrote(said: &str) -> String {
    match said {
        "" => String::new(),
        said => format!(", it wrote `{said}`"),
    }
}

fn ended(report: &Report) -> String {
    match &report.outcome {
        Outcome::Limit { limit } => format!("the function was ended by its limit `{limit}`"),
        Outcome::Signaled { name, .. } => format!("the function was ended by signal {name}"),
        Outcome::Exited { code } => {
            format!("the function ended its process with status {code} before it returned")
        }
        Outcome::Violation { rule } => {
            format!("the function was ended for breaking the rule `{rule}`")
        }
        Outcome::Stopped {
            by: StoppedBy::Signal(signal),
            ..
        } => format!("the function was stopped by signal {signal} to the host"),
        Outcome::Stopped { .. } => "the function was stopped by the host".to_owned(),
        Outcome::Lost => "the function's jar was lost, and nobody can say how it ended".to_owned(),
        other => format!("the function's jar ended otherwise than it began: {other:?}"),
    }
}
