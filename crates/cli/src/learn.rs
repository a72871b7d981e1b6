//! `belljar learn`: runs a program or plugin as `belljar run` does, observed, and
//! tells what it lacked: as lines to paste, or merged into files.

mod diff;
mod files;
mod merge;
mod show;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write as _},
};

use belljar::{
    Jar, LaunchError, Report,
    learn::{Lesson, Proposal},
};
use belljar_policy::risk::Level;
use clap::Args;

use self::files::{File as Updated, FileError};
use crate::{
    ask::Usage,
    page::Page,
    run::{
        self, RunError,
        record::{self, Target},
    },
    words,
};

/// How `belljar learn` is called.
const USAGE: &str = "belljar learn [OPTIONS] [--] PROGRAM [ARGS]...
       belljar learn [OPTIONS] DIR|MANIFEST [-- ARGS]...";

const NOTES: &str = "\
It runs what `belljar run` with the same words runs, inside the same walls, with the same grants. \
What its calls name is looked at on their way, and decides nothing. At the end it tells on stderr \
what was used, what was lacking, and what would give it, smallest first, each with its risk. \
Nothing is granted by it; a guest can ask for what it does not need, so read before you paste.

With --update it merges the lines into a manifest or a policy (TOML), shows the difference, and \
leaves comments and order as they are. A file that is not there becomes a policy. Lines whose \
risk is above --accept, and those that the run did without, are only shown.

Examples:
  belljar learn plugins/resize
  belljar learn --update plugin/belljar.toml --update policy.toml plugin
  belljar run --policy policy.toml plugins/resize
  belljar learn --read . -- python3 report.py

Exit status: as for `belljar run`; 125 also where the lesson cannot be written.";

/// `belljar learn`
#[derive(Args, Debug)]
#[command(override_usage = USAGE, after_help = NOTES)]
pub(crate) struct Options {
    /// Merge what it lacked into FILE, a manifest or a policy in TOML
    #[arg(long, value_name = "FILE", help_heading = LEARNT)]
    update: Vec<OsString>,

    /// Merge lines up to this risk: low, high, critical [default: low]
    #[arg(long, value_name = "RISK", value_parser = ["low", "high", "critical"], hide_possible_values = true, help_heading = LEARNT)]
    accept: Option<String>,

    /// Merge also places that keep what it wrote in its home
    #[arg(long, help_heading = LEARNT)]
    keep: bool,

    /// Merge also what the run did without
    #[arg(long, help_heading = LEARNT)]
    optional: bool,

    /// Tell it in JSON
    #[arg(long, help_heading = LEARNT)]
    json: bool,

    /// Where the lesson goes instead of stderr: a file, or descriptor N that you opened
    #[arg(long, value_name = "FILE|fd:N", help_heading = LEARNT)]
    out: Option<OsString>,

    #[command(flatten)]
    run: run::Options,
}

const LEARNT: &str = "What is learnt";

/// Why there is no lesson.
#[derive(Debug, thiserror::Error)]
enum LearnError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Usage(#[from] Usage),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("no lesson can be drawn")]
    Lesson(#[source] LaunchError),
    #[error("the lesson cannot be written to {place}")]
    Write {
        place: String,
        #[source]
        cause: io::Error,
    },
}

/// Runs what the options name, tells what it taught, and gives the status to end with.
pub(crate) fn run(options: &Options, command_line: &[OsString]) -> u8 {
    match learn(options, command_line) {
        Ok(status) => status,
        Err(LearnError::Run(error)) => {
            words::complain(&error, error.remedy().as_deref());
            error.status()
        }
        Err(error) => {
            words::complain(&error, error.remedy().as_deref());
            words::BAD_USAGE
        }
    }
}

fn learn(options: &Options, command_line: &[OsString]) -> Result<u8, LearnError> {
    // First, while no descriptor of belljar's own can have the number.
    let out = options.out.as_deref().map(Out::open).transpose()?;
    // What cannot be written to is told before anything runs.
    let mut files = options
        .update
        .iter()
        .map(|said| Updated::read(said))
        .collect::<Result<Vec<_>, _>>()?;
    let jar = options.run.ask.jar(command_line)?;
    let report = run::attempt(&options.run, command_line, true)?;
    run::tell(&options.run, &report);
    let lesson = jar.lesson(&report).map_err(LearnError::Lesson)?;

    let mut page = match &out {
        Some(_) => Page::default(),
        None => Page::for_stderr(),
    };
    show::lesson(&mut page, &lesson);
    let merged = update(options, &jar, &report, &lesson, &mut files);
    if let Ok(done) = &merged {
        show::updates(&mut page, done, &lesson, options.update.is_empty());
    }
    let text = match options.json {
        true => {
            let mut json = serde_json::to_string_pretty(&lesson).unwrap_or_default();
            json.push('\n');
            json
        }
        false => page.text().to_owned(),
    };
    write(out, &text)?;
    if options.json {
        for done in merged.iter().flatten() {
            words::say(&done.summary());
        }
    }
    merged?;
    Ok(report.outcome.exit_status())
}

/// Merges what may be merged into each file.
fn update(
    options: &Options,
    jar: &Jar,
    report: &Report,
    lesson: &Lesson,
    files: &mut [Updated],
) -> Result<Vec<files::Done>, FileError> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let most = match options.accept.as_deref() {
        Some("critical") => Level::Critical,
        Some("high") => Level::High,
        _ => Level::Low,
    };
    let (taken, left): (Vec<&Proposal>, Vec<&Proposal>) =
        lesson.proposals.iter().partition(|proposal| {
            let wanted = !proposal.optional || options.optional || (options.keep && proposal.keeps);
            proposal.level <= most && wanted
        });
    // Of a launch that was refused there is no plan, and nothing was writable.
    let plan = jar.plan().ok();
    for file in &*files {
        file.refuse_where_a_guest_writes(plan.as_ref())?;
    }
    let plugin = report.plugin.as_ref().map(|plugin| plugin.name.as_str());
    let made = files::make(&taken)?;
    files
        .iter_mut()
        .map(|file| file.update(plugin, &taken, &left, &made))
        .collect()
}

/// Where the lesson goes.
enum Out {
    File(std::path::PathBuf),
    Descriptor(File),
}

impl Out {
    fn open(said: &OsStr) -> Result<Self, Usage> {
        Ok(match Target::read("--out", said)? {
            Target::File(path) => Self::File(path),
            Target::Descriptor(number) => {
                Self::Descriptor(record::inherited("--out", number)?.into())
            }
        })
    }
}

fn write(out: Option<Out>, text: &str) -> Result<(), LearnError> {
    let failed = |place: String| move |cause| LearnError::Write { place, cause };
    match out {
        // Where stderr is gone, nobody is left to tell.
        None => {
            let _ = io::stderr().write_all(text.as_bytes());
            Ok(())
        }
        Some(Out::File(path)) => {
            std::fs::write(&path, text).map_err(failed(path.display().to_string()))
        }
        Some(Out::Descriptor(mut file)) => file
            .write_all(text.as_bytes())
            .map_err(failed("the descriptor of --out".to_owned())),
    }
}

impl LearnError {
    fn remedy(&self) -> Option<String> {
        match self {
            Self::Run(error) => error.remedy(),
            Self::Usage(usage) => usage.remedy(),
            Self::File(error) => Some(error.remedy()),
            Self::Lesson(_) => None,
            Self::Write { .. } => {
                Some("name a file in a directory that you may write to".to_owned())
            }
        }
    }
}
