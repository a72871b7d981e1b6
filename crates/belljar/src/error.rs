//! Why there is no running jar.

use std::{io, path::PathBuf};

use belljar_plan::{Bytes, Report};

use crate::verify::VerifyError;

/// Why [`Jar::launch`](crate::Jar::launch) gives no running jar.
///
/// Only [`LaunchError::Ended`] comes with a report: the launch began, and its
/// outcome says why nothing runs. All others are bad usage or a fault of the
/// machine, found before anything was made.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The launch began and ended before the program ran: refused, not found,
    /// not runnable, a step that failed.
    #[error("{}", describe(report))]
    Ended {
        /// What happened, as it was also written to where reports go.
        report: Box<Report>,
    },
    /// The program, the plugin or a path could not be looked at.
    #[error("cannot verify what is to be run")]
    Verify {
        /// Why.
        #[source]
        source: VerifyError,
    },
    /// A manifest, policy or flag asks for what cannot be.
    #[error("{reason}")]
    Invalid {
        /// What and where, with the remedy.
        reason: String,
    },
    /// An argument or name holds a NUL byte, which no program can be given.
    #[error("argument `{}` contains a NUL byte", argument.escaped())]
    Nul {
        /// The argument.
        argument: Bytes,
    },
    /// The report could not be written.
    #[error("cannot write the report to {}", path.display())]
    Report {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Jars are not built for this system.
    #[error("belljar cannot launch jars on this system yet")]
    Unsupported,
}

fn describe(report: &Report) -> String {
    use belljar_plan::Outcome;
    match &report.outcome {
        Outcome::Refused { unmet } => format!(
            "refused: {}",
            unmet
                .iter()
                .map(belljar_plan::outcome::Unmet::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        ),
        Outcome::SetupFailed { step, errno } => {
            let cause = match errno {
                0 => "it was cut short".to_owned(),
                errno => io::Error::from_raw_os_error(*errno).to_string(),
            };
            format!("setting up the jar failed at `{step}`: {cause}")
        }
        Outcome::NotFound { path, searched } => {
            format!(
                "program `{}` not found in {}",
                path.escaped(),
                searched.join(":")
            )
        }
        Outcome::NotRunnable { path, errno } => format!(
            "program `{}` cannot be run: {}",
            path.escaped(),
            io::Error::from_raw_os_error(*errno)
        ),
        Outcome::Lost => "the launcher was lost while it set up the jar".to_owned(),
        other => format!("the jar ended while it was set up: {other:?}"),
    }
}
