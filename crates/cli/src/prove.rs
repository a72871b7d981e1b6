//! `belljar prove`: tries on this machine what the plan of a run claims, and
//! tells of each rule what was tried and what came of it.

mod show;

use std::{ffi::OsString, io};

use belljar::{
    LaunchError, Report,
    prove::{ProveError, prove},
    verify::VerifyError,
};
use belljar_policy::data::Proof;
use clap::Args;

use crate::{
    ask::{self, Usage, remedy},
    page::{Page, PrintError, print_json},
    run::{Asked, Follow, Signals, words_of},
    words,
};

/// How `belljar prove` is called.
const USAGE: &str = "belljar prove [OPTIONS] [--] PROGRAM [ARGS]...
       belljar prove [OPTIONS] DIR|MANIFEST [-- ARGS]...";

const NOTES: &str = "\
The plan of `belljar run` with the same arguments is launched with a small program of Belljar's own \
in the place of PROGRAM, which is not started. For each rule it tries what must be denied, and \
something that must be allowed, and the first is tried once more without a jar, where it must \
succeed. Nothing of the system is used for that, and nothing is left behind.

Examples:
  belljar prove -- sort -u
  belljar prove --read . --memory 512MiB plugins/resize
  belljar prove --preset strict --json -- true > proof.json

Exit status:
  0    something was seen to hold, and nothing to be broken
  1    something was
  125  there is no plan, or it could not be tried
  128 and the signal's number, when a signal came first";

/// `belljar prove`
#[derive(Args, Debug)]
#[command(override_usage = USAGE, after_help = NOTES)]
pub(crate) struct Options {
    /// Tell it in JSON
    #[arg(long, help_heading = TOLD)]
    json: bool,

    #[command(flatten)]
    ask: ask::Options,
}

const TOLD: &str = "What is told, and how";

/// A plan claims something that does not hold.
const BROKEN: u8 = 1;

#[derive(Debug, thiserror::Error)]
enum ProofError {
    #[error("belljar cannot open as many files as a proof takes")]
    Descriptors(#[source] io::Error),
    #[error(transparent)]
    Usage(#[from] Usage),
    #[error(transparent)]
    Verify(VerifyError),
    #[error(transparent)]
    Prove(ProveError),
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Print(#[from] PrintError),
}

/// What came of it.
enum Came {
    Proof(Box<Proof>),
    /// The launch would be refused, or fails.
    Ended(Box<Report>),
    /// A signal of this number came first.
    Interrupted(i32),
}

/// Tries what the options name, and gives the status to end with. The command
/// line as a whole tells where `--` stood.
pub(crate) fn run(options: &Options, command_line: &[OsString]) -> u8 {
    match attempt(options, command_line) {
        Ok(Came::Proof(proof)) => match tell(&proof, options.json) {
            Ok(()) if proof.holds() => 0,
            Ok(()) => BROKEN,
            Err(error) => {
                words::complain(&ProofError::Print(error), None);
                words::BAD_USAGE
            }
        },
        Ok(Came::Ended(report)) => {
            if let Some(text) = words_of(&report) {
                words::say(&text);
            }
            words::BAD_USAGE
        }
        Ok(Came::Interrupted(signal)) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        Err(error) => {
            let remedy = match &error {
                ProofError::Descriptors(_) => Some(words::MORE_FILES.to_owned()),
                ProofError::Usage(usage) => usage.remedy(),
                ProofError::Verify(error) => remedy::of_verify(error),
                ProofError::Prove(ProveError::Launch(error)) => remedy::of_launch(error),
                _ => None,
            };
            words::complain(&error, remedy.as_deref());
            words::BAD_USAGE
        }
    }
}

fn attempt(options: &Options, command_line: &[OsString]) -> Result<Came, ProofError> {
    belljar::has_room().map_err(ProofError::Descriptors)?;
    let jar = options.ask.jar(command_line)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(ProofError::Signals)?;
    runtime.block_on(async {
        let mut signals = Signals::listen(Follow::Nothing).map_err(ProofError::Signals)?;
        let mut proving = std::pin::pin!(prove(jar));
        loop {
            tokio::select! {
                biased;
                came = &mut proving => return match came {
                    Ok(proof) => Ok(Came::Proof(Box::new(proof))),
                    Err(ProveError::Launch(LaunchError::Ended { report })) => Ok(Came::Ended(report)),
                    Err(ProveError::Launch(LaunchError::Verify { source })) => Err(ProofError::Verify(source)),
                    Err(error) => Err(ProofError::Prove(error)),
                },
                // What was made for it goes with the future.
                word = signals.next() => if let Asked::End(signal) = word {
                    return Ok(Came::Interrupted(signal));
                },
            }
        }
    })
}

fn tell(proof: &Proof, json: bool) -> Result<(), PrintError> {
    if json {
        return print_json(proof);
    }
    let mut page = Page::for_stdout();
    show::proof(&mut page, proof);
    page.print()
}
