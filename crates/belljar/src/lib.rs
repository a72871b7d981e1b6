//! Runs plugins that nobody should have to trust, and tells exactly what holds
//! them.
//!
//! A launch is one flow, and each stage consumes what the one before it made:
//!
//! ```text
//! bytes --parse--> Manifest --verify--> Verified --plan--> Plan --launch--> Running --supervise--> Report
//!         belljar_policy      verify      belljar_policy     Jar::launch      Running::wait
//! ```
//!
//! ```
//! use std::time::Duration;
//!
//! use belljar::{Jar, Outcome, Stdio, StoppedBy};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # if let Err(error) = Jar::program("true").output().await {
//! #     eprintln!("no jars on this machine: {error}");
//! #     return Ok(());
//! # }
//! let mut running = Jar::program("wc")
//!     .arg("-w")
//!     .stdin(Stdio::piped())
//!     .stdout(Stdio::piped())
//!     .launch()
//!     .await?;
//!
//! let mut stdin = running.stdin().expect("it is piped");
//! stdin.write_all(b"three small words\n").await?;
//! drop(stdin); // the end of the input
//!
//! let mut answer = String::new();
//! let mut stdout = running.stdout().expect("it is piped");
//! stdout.read_to_string(&mut answer).await?;
//! assert_eq!(answer.trim(), "3");
//!
//! let report = running.wait().await;
//! assert_eq!(report.outcome, Outcome::Exited { code: 0 });
//! for rule in &report.enforcement {
//!     println!("{}: {} by {}", rule.rule, rule.applied, rule.planned.mechanism);
//! }
//!
//! // A plugin that does not end by itself is stopped, and nothing of it is left.
//! let mut running = Jar::program("sleep").arg("1000").launch().await?;
//! running.stop(StoppedBy::Host, 15, Duration::from_secs(1));
//! let report = running.wait().await;
//! assert!(matches!(report.outcome, Outcome::Stopped { .. }));
//! # Ok(())
//! # }
//! ```
//!
//! Everything may be called from any thread, from any asynchronous runtime or
//! from none: one thread of Belljar's own, named `belljar`, starts the
//! launcher at first use, supervises every jar, and lives as long as the host.
//! When the host ends, however it ends, so does every jar.
//!
//! A host that gives SIGPIPE its default action and writes to
//! [`GuestStdin`] after the guest has closed it is ended by that signal, as with
//! any pipe; Rust programs ignore SIGPIPE. One with a limit on file size that it
//! exceeds, to which memory files count too, is ended by SIGXFSZ unless it has
//! called [`ignore_file_size_signal`].
#![deny(missing_docs)]

pub mod confine;
mod error;
mod events;
pub mod facts;
mod jar;
mod launch;
pub mod learn;
mod policy_file;
mod prepared;
pub mod prove;
pub mod records;
mod report;
mod streams;
mod supervise;
mod sys;
pub mod verify;
pub mod why;

pub use belljar_plan::{
    Answer, Bytes, Event, Limit, Outcome, Plan, Preset, Report, Rule, Strength, event,
    outcome::StoppedBy, usage,
};
pub use belljar_policy::{self as policy, HostFacts, Policy};

/// Only for tests: where the launcher can be told to fail.
#[cfg(feature = "faults")]
pub use belljar_launcher::faults;

pub use self::{
    error::LaunchError,
    events::{EventSink, Events, Monitor, Reading},
    facts::facts,
    jar::{Jar, Output},
    launch::{Parking, set_parking, warm},
    policy_file::{PolicyFileError, policy_file},
    prepared::{Prepared, Start},
    report::ReportTo,
    streams::{GuestStderr, GuestStdin, GuestStdout, Stdio, Terminal},
    supervise::{Control, PauseError, Running, UpdateError, Wall, kill_all, stop_all},
};

/// Whether this process may open as many more files as a launch and a runtime around it
/// take; getrlimit(2), `RLIMIT_NOFILE`.
///
/// # Errors
/// Why not.
pub fn has_room() -> std::io::Result<()> {
    const DESCRIPTORS: usize = 23;
    sys::has_room_for(DESCRIPTORS)
}

/// Has writes of this process that exceed its limit on file size (`ulimit -f`) fail
/// with an error, in place of SIGXFSZ ending it. It holds for the whole process, so
/// it is the host's to decide; guests get the signal's default action all the same.
pub fn ignore_file_size_signal() {
    sys::ignore_file_size_signal();
}

/// The README's example is a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
