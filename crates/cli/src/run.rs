//! `belljar run`: one program or plugin in a jar, its streams relayed, its
//! outcome as exit status.

mod events;
mod options;
pub(crate) mod record;
mod signals;
mod status;
mod suspend;
pub(crate) mod verdict;
mod warnings;

use std::{ffi::OsString, io, time::Duration};

use belljar::{
    Jar, LaunchError, Report, ReportTo, Running, Stdio, StoppedBy, Terminal,
    records::{RecordError, Records},
    verify::VerifyError,
};

use belljar_policy::data::report::UNWRITTEN;
use tracing::info;

use self::{events::Writing, record::Target, suspend::Suspended};
pub(crate) use self::{
    options::Options,
    signals::{Asked, Follow, Signals},
};
use crate::{
    ask::{Usage, remedy},
    terminal::{self, Raw},
    trace, words,
};

/// A look at a jar takes some milliseconds.
const STATUS_WITHIN: Duration = Duration::from_secs(2);

/// Why there is no outcome to tell. Each says what to do about it, where it can.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("belljar cannot open as many files as a run takes")]
    Descriptors(#[source] io::Error),
    #[error(transparent)]
    Usage(#[from] Usage),
    #[error("{}: cannot read the filter", trace::VARIABLE)]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    #[error(transparent)]
    Verify(VerifyError),
    #[error(transparent)]
    Launch(LaunchError),
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
    #[error("stopped by signal {0} while the jar was set up")]
    Interrupted(i32),
    #[error("--tty: cannot make the terminal raw")]
    Terminal(#[source] io::Error),
}

/// Runs what the options name, and gives the status to end with. The command
/// line as a whole tells where `--` stood.
pub(crate) fn run(options: &Options, command_line: &[OsString]) -> u8 {
    match attempt(options, command_line, options.observe) {
        Ok(report) => {
            tell(options, &report);
            report.outcome.exit_status()
        }
        Err(error) => {
            words::complain(&error, error.remedy().as_deref());
            error.status()
        }
    }
}

/// Keeps what came of a run, and says it.
pub(crate) fn tell(options: &Options, report: &Report) {
    let kept = records(options).is_some_and(|records| keep(records.keep_report(report)));
    if let Some(text) = verdict::words(report) {
        words::say(&text);
    }
    for symptom in &report.symptoms {
        if symptom.starts_with(UNWRITTEN) {
            words::say(symptom);
        }
    }
    if let Some(hint) = verdict::hint(report, kept) {
        words::say(&hint);
    }
}

/// Runs it, observed or not; the report is told nobody yet.
///
/// # Errors
/// Where no launch began.
pub(crate) fn attempt(
    options: &Options,
    command_line: &[OsString],
    observe: bool,
) -> Result<Report, RunError> {
    // Later it would be some file that seems not to be there.
    belljar::has_room().map_err(RunError::Descriptors)?;
    trace::begin(options.verbose)
        .map_err(RunError::Filter)
        .and_then(|()| ask(options, command_line, observe))
        .and_then(supervise)
}

/// Where this run is kept; none where it is not to be, or nobody knows where.
fn records(options: &Options) -> Option<Records> {
    (!options.no_record).then(Records::of_user).flatten()
}

/// That it is kept is a convenience, and no run fails for the want of it.
fn keep(kept: Result<(), RecordError>) -> bool {
    kept.inspect_err(|error| info!(%error, "the run is not kept"))
        .is_ok()
}

/// What is said on stderr of a run's outcome; none where there is nothing to say.
pub(crate) fn words_of(report: &Report) -> Option<String> {
    verdict::words(report)
}

/// A jar that can be launched, and what is to be done around it.
struct Asking {
    jar: Jar,
    grace: Duration,
    follow: Follow,
    events: Option<Writing>,
    records: Option<Records>,
}

/// From words to a jar that can be launched. Nothing is made yet.
fn ask(options: &Options, command_line: &[OsString], observe: bool) -> Result<Asking, RunError> {
    // First, while no descriptor of belljar's own can have the number.
    let report_to = options
        .report
        .as_deref()
        .map(|said| Target::read("--report", said))
        .transpose()?
        .map(report_to)
        .transpose()?;
    let events = options
        .events
        .as_deref()
        .map(|said| Target::read("--events", said))
        .transpose()?
        .map(events::open)
        .transpose()?;
    let (lines, events) = events.unzip();
    // It starts while the rest is read. Words that make no jar are rare, and cost no more
    // than a process that ends with this one.
    belljar::warm();
    let grace = options.grace()?;
    let task = options.task()?;

    let mut jar = options
        .ask
        .jar(command_line)?
        // Belljar copies; the jar never gets the operator's own.
        .stdin(Stdio::inherit())
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit());
    if let Some(task) = task {
        jar = jar.task(task);
    }
    if observe {
        jar = jar.observe();
    }
    if let Some(lines) = lines {
        jar = jar.events_to(lines.shared());
    }
    if let Some(report_to) = report_to {
        jar = jar.report_to(report_to);
    }
    let follow = match options.ask.tty {
        true => Follow::Terminal,
        false => Follow::Nothing,
    };
    Ok(Asking {
        jar,
        grace,
        follow,
        events,
        records: records(options),
    })
}

pub(crate) fn report_to(target: Target) -> Result<ReportTo, Usage> {
    Ok(match target {
        Target::File(path) => ReportTo::File(path),
        Target::Descriptor(number) => ReportTo::Descriptor(record::inherited("--report", number)?),
    })
}

/// Launches, passes on what signals ask for, and waits for the end.
fn supervise(asking: Asking) -> Result<Report, RunError> {
    let Asking {
        jar,
        grace,
        follow,
        events,
        records,
    } = asking;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(RunError::Signals)?;
    runtime.block_on(async {
        // Before the launch, so that no signal finds a jar that nobody tells.
        let mut signals = Signals::listen(follow).map_err(RunError::Signals)?;
        let (launched, early) = launch(jar, &mut signals).await?;
        let mut running = match launched {
            Ok(running) => running,
            Err(LaunchError::Ended { report }) => {
                finish(events);
                return Ok(*report);
            }
            Err(LaunchError::Verify { source }) => return Err(RunError::Verify(source)),
            Err(error) => return Err(RunError::Launch(error)),
        };
        if let Some(signal) = early {
            running.stop(StoppedBy::Signal(signal), signal, grace);
        }
        let terminal = running.terminal();
        if let (Some(terminal), Some(key)) = (&terminal, terminal::suspend_key()) {
            terminal.keep_suspend_key(key);
        }
        let raw = match follow {
            Follow::Terminal => Raw::enter().map_err(RunError::Terminal)?,
            Follow::Nothing => None,
        };
        for warning in warnings::of_plan(running.plan()) {
            words::say(&warning);
        }
        tell_plan(&running);
        let unseen = verdict::unseen_argument(running.plan());
        // While the program runs, so that nobody waits for it.
        if let Some(records) = records {
            keep(records.keep_plan(running.plan(), running.plan_digest()));
        }
        let screen = (terminal.as_ref(), raw.as_ref());
        let report = wait(running, &mut signals, grace, screen).await;
        drop(raw);
        finish(events);
        if let (true, Some(text)) = (verdict::failed(&report), unseen) {
            words::say(&text);
        }
        for violation in &report.violations {
            info!(
                rule = %violation.rule,
                action = violation.action,
                syscall = violation.syscall,
                arguments = violation.arguments.join(", "),
                count = violation.count,
                "denied"
            );
        }
        info!(
            outcome = ?report.outcome,
            symptoms = ?report.symptoms,
            usage = ?report.usage,
            "the jar has ended"
        );
        Ok(report)
    })
}

/// Whoever reads the events has them all.
fn finish(events: Option<Writing>) {
    if let Some(events) = events {
        events.finish();
    }
}

/// For `-v`: what holds the program, and what an operator should know of it.
fn tell_plan(running: &Running) {
    if !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let plan = running.plan();
    info!(
        jar = running.id(),
        preset = %plan.preset,
        program = %plan.program.escaped(),
        "the program runs"
    );
    for rule in &plan.rules {
        let (strength, mechanism) = (rule.planned.strength, &rule.planned.mechanism);
        info!(rule = %rule.rule, %strength, mechanism);
    }
    for dropped in &plan.dropped {
        info!(
            request = dropped.request,
            reason = dropped.reason,
            "dropped"
        );
    }
    for weakening in &plan.weakenings {
        info!(weakening);
    }
    for note in &plan.notes {
        info!(note);
    }
}

/// Launches. A signal in the meantime is told to the jar when it runs; a second
/// one does not wait for that, and what there is of the jar ends with belljar.
async fn launch(
    jar: Jar,
    signals: &mut Signals,
) -> Result<(Result<Running, LaunchError>, Option<i32>), RunError> {
    let mut launch = std::pin::pin!(jar.launch());
    let mut early = None;
    loop {
        tokio::select! {
            biased;
            launched = &mut launch => return Ok((launched, early)),
            word = signals.next() => match (word, early) {
                (Asked::End(signal), None) => early = Some(signal),
                (Asked::End(signal), Some(_)) => return Err(RunError::Interrupted(signal)),
                (Asked::Resize | Asked::Continue | Asked::Suspend | Asked::Status, _) => {}
            },
        }
    }
}

/// The next signal, or the key for one: a raw terminal sends none.
async fn next(signals: &mut Signals, terminal: Option<&Terminal>) -> Asked {
    match terminal {
        Some(terminal) => tokio::select! {
            word = signals.next() => word,
            () = terminal.suspend_key() => Asked::Suspend,
        },
        None => signals.next().await,
    }
}

async fn wait(
    mut running: Running,
    signals: &mut Signals,
    grace: Duration,
    (terminal, raw): (Option<&Terminal>, Option<&Raw>),
) -> Report {
    let control = running.control();
    let mut suspended = Suspended::new(running.plan().preset);
    loop {
        tokio::select! {
            report = running.wait() => return report,
            word = next(signals, terminal) => match word {
                // Whoever asks twice does not want to wait: a second stop destroys the jar.
                Asked::End(signal) => running.stop(StoppedBy::Signal(signal), signal, grace),
                Asked::Suspend => {
                    if let Some(Asked::End(signal)) =
                        suspended.toggle(&control, signals, raw).await
                    {
                        running.stop(StoppedBy::Signal(signal), signal, grace);
                    }
                }
                Asked::Status => {
                    // A signal is not kept waiting by a jar that cannot be seen.
                    let sample = tokio::time::timeout(STATUS_WITHIN, control.sample()).await;
                    if let Ok(Some(sample)) = sample {
                        let hard = |limit| running.plan().limit(limit)?.hard;
                        words::say(&status::line(&sample, hard));
                    }
                }
                Asked::Resize => {
                    if let Some(terminal) = terminal {
                        let (rows, columns) = terminal::size();
                        // Where the jar's terminal is gone, its end is on the way.
                        let _ = terminal.resize(rows, columns);
                    }
                }
                Asked::Continue => {
                    if let Some(raw) = raw {
                        // Where the terminal is gone, a hang-up says so.
                        let _ = raw.again();
                    }
                }
            },
        }
    }
}

impl RunError {
    pub(crate) fn remedy(&self) -> Option<String> {
        match self {
            Self::Descriptors(_) => Some(words::MORE_FILES.to_owned()),
            Self::Usage(usage) => usage.remedy(),
            Self::Filter(_) => Some("write directives such as `belljar=debug`".to_owned()),
            Self::Verify(error) => remedy::of_verify(error),
            Self::Launch(error) => remedy::of_launch(error),
            Self::Signals(_) | Self::Interrupted(_) | Self::Terminal(_) => None,
        }
    }

    /// As the contract has it: no launch began, unless a signal ended it.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            _ => words::BAD_USAGE,
        }
    }
}
