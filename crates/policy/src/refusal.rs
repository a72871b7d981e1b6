//! Why there is no plan.

use belljar_plan::{Bytes, Outcome, outcome::Unmet};

/// Why there is no plan. Each names the place and the remedy; no process was
/// started and nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The machine cannot hold what is required, or something is asked for
    /// that is not granted. All of it is listed, not just the first.
    #[error("refused: {}", unmet.iter().map(Unmet::to_string).collect::<Vec<_>>().join("; "))]
    Unmet {
        /// Each with its remedy.
        unmet: Vec<Unmet>,
    },
    /// There is no such program in the jar.
    #[error("program `{}` not found in {}", asked.escaped(), searched.join(":"))]
    NotFound {
        /// As it was asked for.
        asked: Bytes,
        /// Where it was looked for.
        searched: Vec<String>,
    },
    /// The program is there and cannot be started.
    #[error("program `{}` cannot be run (errno {errno})", path.escaped())]
    NotRunnable {
        /// Inside the jar.
        path: Bytes,
        /// Why; errno(3).
        errno: i32,
        /// What to do about it.
        remedy: String,
    },
    /// A manifest, policy or flag asks for what cannot be: bad usage, so that
    /// there is no report.
    #[error("{reason}")]
    Invalid {
        /// What is the matter and where, with the remedy.
        reason: String,
    },
}

impl Refusal {
    /// The outcome that a report of this launch carries; none for bad usage.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Unmet { unmet } => Some(Outcome::Refused {
                unmet: unmet.clone(),
            }),
            Self::NotFound { asked, searched } => Some(Outcome::NotFound {
                path: asked.clone(),
                searched: searched.clone(),
            }),
            Self::NotRunnable { path, errno, .. } => Some(Outcome::NotRunnable {
                path: path.clone(),
                errno: *errno,
            }),
            Self::Invalid { .. } => None,
        }
    }
}
