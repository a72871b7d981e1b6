//! `belljar confine`: this very process is confined, and becomes a program. No jar is made
//! and nobody watches: what holds is what a process can lay upon itself.

use std::{
    ffi::OsString,
    io,
    os::fd::{BorrowedFd, RawFd},
};

use belljar::{
    Outcome,
    confine::{Confine, ConfineError},
};
use clap::Args;

use crate::{
    ask::{Confining, Usage, remedy},
    run::{self, record::Target, verdict},
    words,
};

/// The exit status of what cannot be started.
const NOT_RUNNABLE: u8 = 126;

const USAGE: &str = "belljar confine [OPTIONS] [--] PROGRAM [ARGS]...";

const NOTES: &str = "\
It confines itself, for good, and becomes PROGRAM: by Landlock (files), seccomp (system calls, \
namespaces, unix sockets), rlimits, no new privileges, no capabilities, and no descriptors but 0, 1 \
and 2 and what --keep-fd names. There is no jar: the network, other tasks and the environment stay \
the machine's, its limits are each process's own, and nobody tells of what was denied. The report \
lists every rule that is not held as `not in confine`. Where that is too little, say `belljar run`.

The preset `strict` shows PROGRAM, its libraries and what you grant, and starts nothing else; \
`minimal` lets all be read but known secrets. There is no `standard` here.

Examples:
  belljar confine --read names.txt -- sort names.txt
  belljar confine --preset minimal --write out -- split names.txt out/part-
  belljar confine --keep-fd 3 -- sh -c 'read x <&3' 3<pipe
  belljar confine --report r.json --require files=kernel -- wc -l < notes

Exit status:
  that of the program, which belljar has become
  125  refused, unsupported, bad usage or a bad policy; nothing was started
  126  the program is there and cannot be started
  127  there is no such program";

/// `belljar confine`
#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(override_usage = USAGE, after_help = NOTES)]
pub(crate) struct Options {
    #[command(flatten)]
    confining: Confining,

    /// Keep descriptor N, which you opened: a pipe or a socket, or a file for reading
    #[arg(long, value_name = "N", help_heading = "Grants")]
    keep_fd: Vec<u32>,

    /// Where the report (JSON) goes before the start: a file, or descriptor N that you opened
    #[arg(long, value_name = "FILE|fd:N", help_heading = "Report")]
    report: Option<OsString>,

    /// What to run
    #[arg(value_name = "PROGRAM", trailing_var_arg = true, num_args = 0.., hide = true)]
    words: Vec<OsString>,
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Usage(#[from] Usage),
    #[error("--keep-fd {number}: it is not open")]
    Kept {
        number: u32,
        #[source]
        source: io::Error,
    },
    #[error("unsupported: {what}")]
    Unsupported { what: String, remedy: String },
    #[error(transparent)]
    Confine(#[from] ConfineError),
}

/// Confines and starts; gives the status to end with where that came to nothing.
pub(crate) fn run(options: &Options) -> u8 {
    let error = match start(options) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    let outcome = error.outcome();
    match (&error, &outcome) {
        (_, Some(Outcome::Refused { unmet })) => {
            for unmet in unmet {
                words::say(&format!("{unmet}\nremedy: {}", unmet.remedy));
            }
        }
        (_, Some(Outcome::NotFound { path, searched })) => {
            words::say(&verdict::not_found(path, searched));
        }
        (_, Some(Outcome::NotRunnable { path, errno })) => {
            words::say(&verdict::not_runnable(path, *errno));
        }
        (error, _) => words::complain(error, error.remedy().as_deref()),
    }
    match (&error, outcome) {
        (_, Some(outcome)) => outcome.exit_status(),
        (StartError::Confine(ConfineError::Start { .. }), None) => NOT_RUNNABLE,
        _ => words::BAD_USAGE,
    }
}

fn start(options: &Options) -> Result<std::convert::Infallible, StartError> {
    let mut words = options.words.iter().cloned();
    let program = words.next().ok_or(Usage::NothingToRun)?;
    // First, while no descriptor of belljar's own can have a number of these.
    let kept = options.keep_fd.iter().copied().map(inherited);
    let kept: Vec<BorrowedFd<'static>> = kept.collect::<Result<_, _>>()?;
    let report = options
        .report
        .as_deref()
        .map(|said| Target::read("--report", said))
        .transpose()?
        .map(run::report_to)
        .transpose()?;
    let policy = options.confining.policy()?;
    let mut confine = kept.into_iter().fold(Confine::by(&policy), Confine::keep);
    if let Some(report) = report {
        confine = confine.report_to(report);
    }
    // The process is confined by then, and says so as it can.
    let unsupported = confine.start(program, words, |_, written| {
        if let Err(error) = written {
            words::say(&format!("the report could not be written whole: {error}"));
        }
    })?;
    Err(StartError::Unsupported {
        what: unsupported.what,
        remedy: unsupported.remedy,
    })
}

/// What the caller opened as `number`.
fn inherited(number: u32) -> Result<BorrowedFd<'static>, StartError> {
    let failed = |source| StartError::Kept { number, source };
    let raw = RawFd::try_from(number).map_err(|_| failed(io::ErrorKind::InvalidInput.into()))?;
    // SAFETY: it asks for a descriptor that stays open while it is borrowed. Nothing of this
    // process closes it, and a number that is not open fails below.
    let descriptor = unsafe { BorrowedFd::borrow_raw(raw) };
    rustix::io::fcntl_getfd(descriptor).map_err(|errno| failed(errno.into()))?;
    Ok(descriptor)
}

impl StartError {
    fn remedy(&self) -> Option<String> {
        match self {
            Self::Usage(usage) => usage.remedy(),
            Self::Kept { number, .. } => Some(format!(
                "open it before belljar starts: `belljar confine --keep-fd {number} … {number}<file`"
            )),
            Self::Unsupported { remedy, .. } => Some(remedy.clone()),
            Self::Confine(ConfineError::Report { .. }) => {
                Some("name a file in a directory that you may write to, or a descriptor by `fd:N`".to_owned())
            }
            Self::Confine(ConfineError::Verify(error)) => remedy::of_verify(error),
            Self::Confine(ConfineError::Start { source, .. }) => source
                .raw_os_error()
                .and_then(verdict::to_run)
                .map(str::to_owned),
            Self::Confine(ConfineError::Prepare { source, .. } | ConfineError::Look { source, .. })
                if source.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) =>
            {
                Some(words::MORE_FILES.to_owned())
            }
            Self::Confine(ConfineError::HalfApplied { .. }) => {
                Some("start it anew where the step can be done; `belljar doctor` tells what this machine has".to_owned())
            }
            Self::Confine(_) => None,
        }
    }

    /// What a run of the program would have come to; none where only a process that
    /// confines itself fails so.
    fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Confine(ConfineError::Verify(error)) => error.outcome(),
            Self::Confine(ConfineError::Refused(refusal)) => refusal.outcome(),
            _ => None,
        }
    }
}
