//! One decision for many launches.

use belljar_plan::Plan;
use belljar_policy::verified::Subject;

use crate::{
    error::LaunchError,
    jar::{Output, around},
    launch::{self, Ahead, Around, Decided},
    report::ReportTo,
    streams::{Stdio, Three},
    supervise::Running,
};

/// A program or plugin that was looked at and planned, for launches that
/// follow one another or run side by side. They share the plan, and a plugin's
/// files in memory.
///
/// Each launch opens anew what its plan shows of the machine and makes sure
/// that device and inode are those that were seen: where something was
/// replaced, the launch fails ([`Outcome::SetupFailed`](crate::Outcome)), and the host prepares
/// again. What was not opened is not looked at again: the search for the
/// program on PATH, the caller's variables, which libraries it asks for, the
/// policy. A plugin runs from the files that were read when it was prepared.
///
/// ```
/// use belljar::{Jar, Outcome};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # if Jar::program("true").output().await.is_err() {
/// #     return Ok(());
/// # }
/// let prepared = Jar::program("true").prepare()?;
/// for _ in 0..2 {
///     let report = prepared.start().launch().await?.wait().await;
///     assert_eq!(report.outcome, Outcome::Exited { code: 0 });
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Prepared {
    decided: Decided,
}

impl Prepared {
    pub(crate) fn new(decided: Decided) -> Self {
        Self { decided }
    }

    pub(crate) fn into_decided(self) -> Decided {
        self.decided
    }

    /// What was looked at.
    pub(crate) fn subject(&self) -> &Subject {
        &self.decided.basis.verified.subject
    }

    /// What was decided.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.decided.plan
    }

    /// One jar of it, with streams, a task and a report of its own.
    pub fn start(&self) -> Start {
        Start {
            decided: self.decided.clone(),
            around: Around::default(),
        }
    }
}

/// One launch of what was prepared. Without more words all three streams lead nowhere.
#[derive(Debug)]
#[must_use = "nothing runs until it is launched"]
pub struct Start {
    decided: Decided,
    around: Around,
}

impl Start {
    around!();

    /// Launches it, and returns when the program runs. Works on any executor.
    ///
    /// # Errors
    /// As for [`Jar::launch`](crate::Jar::launch).
    pub async fn launch(self) -> Result<Running, LaunchError> {
        let Self { decided, around } = self;
        let ahead = Ahead::planned(&decided.plan, &decided.facts);
        launch::launch(move || Ok(decided), ahead, around).await
    }

    /// Launches it with stdout and stderr piped, and waits for its end.
    ///
    /// # Errors
    /// As for [`launch`](Self::launch).
    pub async fn output(mut self) -> Result<Output, LaunchError> {
        let Three { stdout, stderr, .. } = &mut self.around.three;
        *stdout = Stdio::piped();
        *stderr = Stdio::piped();
        Ok(Output::of(self.launch().await?).await)
    }
}
