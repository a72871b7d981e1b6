//! `belljar learn`: runs a program or plugin as `belljar run` does, observed, and
//! tells what it lacked: as lines to paste, or merged into files.

mod diff;
mod files;
mod make;
mod merge;
mod show;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use belljar::{
    LaunchError, Report,
    learn::{Lesson, Proposal},
};
use belljar_policy::risk::Level;
use clap::Args;
use rustix::fs::{AtFlags, Mode, OFlags};

use self::files::{File as Updated, FileError};
use crate::{
    ask::Usage,
    page::{Page, json_text},
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

With --update it merges the lines into a manifest or a policy (TOML), or with FILE#TABLE into the \
policy that is a table of a file, shows the difference, and leaves comments and order as they are. A file that is not there becomes a policy; one that is \
there is what a plugin runs by, where no --policy is said. Lines whose risk is above --accept, and \
those that the run did without, are only shown. A bare program gets paths, and more of a limit, by \
flags alone.

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

    /// Merge also places that keep what it wrote in its home, and make those that are not there
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
    let mut asked = options.run.clone();
    // What was merged the last time is what the plugin runs by the next time.
    if asked.ask.policy.is_none() && asked.ask.is_plugin(command_line) {
        asked.ask.policy = files
            .iter()
            .find_map(Updated::policy)
            .map(|policy| policy.as_os_str().to_owned());
    }
    let jar = asked.ask.jar(command_line)?;
    // Of a launch that is refused there is no plan, and nothing is writable.
    let plan = jar.plan().ok();
    for file in &files {
        file.refuse_where_a_guest_writes(plan.as_ref())?;
    }
    let report = run::attempt(&asked, command_line, true)?;
    run::tell(&asked, &report);
    let lesson = match jar.lesson(&report) {
        Ok(lesson) => lesson,
        // Of what never began it is told why, and there is nothing to learn from it.
        Err(LaunchError::Ended { .. }) if report.plan_digest.is_none() => {
            return Ok(report.outcome.exit_status());
        }
        Err(error) => return Err(LearnError::Lesson(error)),
    };

    let mut page = match &out {
        Some(_) => Page::default(),
        None => Page::for_stderr(),
    };
    let program = report.plugin.is_none() && !asked.ask.is_plugin(command_line);
    show::lesson(&mut page, &lesson, program);
    let merged = update(options, &report, &lesson, &mut files);
    if let Ok(done) = &merged {
        let none = options.update.is_empty();
        show::updates(&mut page, done, &lesson, none, program);
    }
    let text = match options.json {
        true => json_text(&lesson).unwrap_or_default(),
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
            // Nothing is made on the machine because a guest asked for it.
            let made = proposal.make.is_none() || options.keep;
            let wanted = made
                && (!proposal.optional || options.optional || (options.keep && proposal.keeps));
            proposal.level <= most && wanted
        });
    let plugin = report.plugin.as_ref().map(|plugin| plugin.name.as_str());
    let made = make::make(&taken)?;
    files
        .iter_mut()
        .map(|file| file.update(plugin, &taken, &left, &made))
        .collect()
}

/// Where the lesson goes: opened before the program runs, which may write around it.
enum Out {
    File {
        said: PathBuf,
        directory: OwnedFd,
        name: OsString,
    },
    Descriptor(File),
}

impl Out {
    fn open(said: &OsStr) -> Result<Self, LearnError> {
        let path = match Target::read("--out", said)? {
            Target::File(path) => path,
            Target::Descriptor(number) => {
                return Ok(Self::Descriptor(record::inherited("--out", number)?.into()));
            }
        };
        let failed = |cause| LearnError::Write {
            place: path.display().to_string(),
            cause,
        };
        let name = path
            .file_name()
            .ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?
            .to_owned();
        let above = match path.parent() {
            Some(above) if above != Path::new("") => above,
            _ => Path::new("."),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            rustix::fs::open(above, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        Ok(Self::File {
            said: path,
            directory,
            name,
        })
    }
}

/// Puts a file in place as a whole: no link that was put there meanwhile is followed.
fn put(directory: &OwnedFd, name: &OsStr, text: &str) -> io::Result<()> {
    let mut hidden = OsString::from(".belljar-lesson-");
    hidden.push(std::process::id().to_string());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o600);
    let file = rustix::fs::openat(directory, &hidden, flags, mode)?;
    let written = File::from(file)
        .write_all(text.as_bytes())
        .and_then(|()| Ok(rustix::fs::renameat(directory, &hidden, directory, name)?));
    written.inspect_err(|_| {
        // Nothing more can be done about a file that can't be removed.
        let _ = rustix::fs::unlinkat(directory, &hidden, AtFlags::empty());
    })
}

fn write(out: Option<Out>, text: &str) -> Result<(), LearnError> {
    let failed = |place: String| move |cause| LearnError::Write { place, cause };
    match out {
        // Where stderr is gone, nobody is left to tell.
        None => {
            let _ = io::stderr().write_all(text.as_bytes());
            Ok(())
        }
        Some(Out::File {
            said,
            directory,
            name,
        }) => put(&directory, &name, text).map_err(failed(said.display().to_string())),
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
