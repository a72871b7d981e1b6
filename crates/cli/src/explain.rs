//! `belljar explain`: the plan of a run, rule by rule and step by step, with
//! nothing launched.

mod show;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
};

use belljar::{HostFacts, LaunchError, Plan, Report, policy, verify::VerifyError};
use belljar_policy::data::{Outcome, outcome::Unmet};
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    ask::{self, Usage, remedy},
    page::{Page, PrintError, print_json},
    words,
};

const USAGE: &str = "belljar explain [OPTIONS] [--] PROGRAM [ARGS]...
       belljar explain [OPTIONS] DIR|MANIFEST [-- ARGS]...";

const NOTES: &str = "\
It takes the arguments of `belljar run`, plans that run and starts nothing of it: which rule is \
asked for and how strongly, what holds it, by whose word, and every step in its order. What this \
machine can enforce is tried before, as by `belljar doctor`, so that the plan is the one that \
`belljar run` executes, with the same digest.

Examples:
  belljar explain -- sort -u
  belljar explain --policy policy.toml plugins/resize
  belljar doctor --json > there.json      (on another machine)
  belljar explain --for-host there.json plugins/resize

Exit status: 0; that of the run where it would not begin: 125 refused or not understood, 126 the \
program cannot be started, 127 there is none.";

/// More than the facts of any machine take.
const MOST: u64 = 16 << 20;

/// `belljar explain`
#[derive(Args, Debug)]
#[command(override_usage = USAGE, after_help = NOTES)]
pub(crate) struct Options {
    /// Plan for the machine whose facts FILE has, as `belljar doctor --json` writes them there
    #[arg(long, value_name = "FILE", help_heading = TOLD)]
    for_host: Option<OsString>,

    /// Tell it in JSON
    #[arg(long, help_heading = TOLD)]
    json: bool,

    #[command(flatten)]
    ask: ask::Options,
}

const TOLD: &str = "What is told, and how";

/// A plan, or why there is none.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Explanation {
    /// SHA-256 of the plan's canonical JSON, as in the report of its run.
    digest: Option<String>,
    /// What would be done and what would hold.
    plan: Option<Plan>,
    /// What would be refused, each with its remedy.
    unmet: Vec<Unmet>,
    /// The outcome of a run that would not begin.
    outcome: Option<Outcome>,
}

#[derive(Debug, thiserror::Error)]
enum ExplainError {
    #[error(transparent)]
    Usage(#[from] Usage),
    #[error("--for-host: cannot read `{}`", file.display())]
    Facts {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("--for-host: `{}` does not hold the facts of a machine: {reason}", file.display())]
    NoFacts { file: PathBuf, reason: String },
    #[error("cannot try what this machine can enforce")]
    Try(#[source] io::Error),
    #[error(transparent)]
    Verify(VerifyError),
    #[error(transparent)]
    Launch(LaunchError),
    #[error(transparent)]
    Print(#[from] PrintError),
}

/// Explains, and gives the status to end with.
pub(crate) fn run(options: &Options, command_line: &[OsString]) -> u8 {
    match explain(options, command_line) {
        Ok(status) => status,
        Err(error) => {
            words::complain(&error, error.remedy().as_deref());
            words::BAD_USAGE
        }
    }
}

fn explain(options: &Options, command_line: &[OsString]) -> Result<u8, ExplainError> {
    let facts = options.for_host.as_deref().map(facts).transpose()?;
    let jar = options.ask.jar(command_line)?;
    let planned = match facts {
        Some(facts) => jar.plan_for(&facts),
        None => jar.plan_here(&tried().map_err(ExplainError::Try)?),
    };
    match planned {
        Ok(plan) => {
            let digest = policy::digest(&plan);
            if options.json {
                print_json(&Explanation {
                    digest: Some(digest),
                    plan: Some(plan),
                    unmet: Vec::new(),
                    outcome: None,
                })?;
            } else {
                let mut page = Page::for_stdout();
                show::plan(&mut page, &plan, &digest);
                page.print()?;
            }
            Ok(0)
        }
        Err(LaunchError::Ended { report }) => refused(options.json, &report),
        Err(LaunchError::Verify { source }) => Err(ExplainError::Verify(source)),
        Err(error) => Err(ExplainError::Launch(error)),
    }
}

/// What this machine can enforce, found out by trying.
///
/// # Errors
/// Where nothing can be waited for.
pub(crate) fn tried() -> io::Result<HostFacts> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(belljar::facts::tried()))
}

/// The run would not begin: said as it would be then.
fn refused(json: bool, report: &Report) -> Result<u8, ExplainError> {
    if json {
        let unmet = match &report.outcome {
            Outcome::Refused { unmet } => unmet.clone(),
            _ => Vec::new(),
        };
        print_json(&Explanation {
            digest: None,
            plan: None,
            unmet,
            outcome: Some(report.outcome.clone()),
        })?;
    }
    if let Some(text) = crate::run::words_of(report) {
        words::say(&text);
    }
    Ok(report.outcome.exit_status())
}

fn facts(said: &OsStr) -> Result<HostFacts, ExplainError> {
    let file = PathBuf::from(said);
    let mut text = String::new();
    let read = File::open(&file).and_then(|open| open.take(MOST).read_to_string(&mut text));
    if let Err(source) = read {
        return Err(ExplainError::Facts { file, source });
    }
    serde_json::from_str(&text).map_err(|error| ExplainError::NoFacts {
        file,
        reason: words::one_line(&error.to_string()),
    })
}

impl ExplainError {
    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Usage(usage) => return usage.remedy(),
            Self::Facts { .. } | Self::NoFacts { .. } => {
                "write them on that machine by `belljar doctor --json > FILE`".to_owned()
            }
            Self::Verify(error) => return remedy::of_verify(error),
            Self::Launch(error) => return remedy::of_launch(error),
            Self::Try(_) | Self::Print(_) => return None,
        })
    }
}
