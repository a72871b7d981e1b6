//! `belljar why`: which rule denies something, by whose word, and the smallest
//! grant that would allow it; for a run that was kept, or for one that might be.

mod asked;

use std::ffi::OsString;

use belljar::{
    Answer, LaunchError, Outcome, Report,
    records::{RecordError, Records},
    verify::VerifyError,
    why::{self, QuestionError},
};
use belljar_policy::data::{answer::Verdict, report::Violation};
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use self::asked::{Asked, Subject};
use crate::{
    ask::{self, Position, Usage, remedy},
    page::{Page, PrintError, Tone, print_json},
    words,
};

const USAGE: &str = "belljar why ID | --last | --list
       belljar why [RUN'S ARGUMENTS] -- read PATH
       belljar why [RUN'S ARGUMENTS] -- write PATH
       belljar why [RUN'S ARGUMENTS] -- exec PATH
       belljar why [RUN'S ARGUMENTS] -- connect NAME:PORT
       belljar why [RUN'S ARGUMENTS] -- call SYSCALL [ARGUMENT]...";

const NOTES: &str = "\
An ID is that of a denial, as a report's `violations` and the events have it, or of a whole run \
(`jar-…`); its beginning will do. The question stands behind the last `--`; before it stands what \
`belljar run` would be called with, and with no program named it is asked about `true`. Paths are \
those that the program would use, in the jar.

For a run that might be, a grant is only proposed where a plan with it was made and answers \
otherwise. For one that was kept, its policy is not known, and no plan is made.

Examples:
  belljar why --last
  belljar why -- read ~/.ssh/id_ed25519
  belljar why --read . python3 -- write out.txt
  belljar why plugins/resize -- exec /usr/bin/convert
  belljar why --preset strict -- call ptrace

Exit status: 0, and 125 where there is no answer.";

/// `belljar why`
#[derive(Args, Debug)]
#[command(override_usage = USAGE, after_help = NOTES)]
pub(crate) struct Options {
    /// Explain what the last run was denied
    #[arg(long, conflicts_with = "list", help_heading = ASKED)]
    last: bool,

    /// List the runs that are kept
    #[arg(long, help_heading = ASKED)]
    list: bool,

    /// Answer in JSON
    #[arg(long, help_heading = ASKED)]
    json: bool,

    #[command(flatten)]
    ask: ask::Options,
}

const ASKED: &str = "What is asked, and how it is answered";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum WhyError {
    #[error(transparent)]
    Usage(#[from] Usage),
    #[error("{0}")]
    Question(#[from] QuestionError),
    #[error("what is asked is missing")]
    Missing,
    #[error("`{0}` is not the id of a run or of a denial, and no question stands behind `--`")]
    NoQuestion(String),
    #[error("two things are asked at once")]
    TwoQuestions,
    #[error("neither XDG_STATE_HOME nor HOME says where runs are kept")]
    NoRecords,
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("the run {jar} lists {rows}, and no number {row}")]
    NoRow {
        jar: String,
        rows: String,
        row: String,
    },
    #[error("cannot try what this machine can enforce")]
    Try(#[source] std::io::Error),
    #[error(transparent)]
    Verify(VerifyError),
    #[error(transparent)]
    Launch(LaunchError),
    /// The run itself would be refused, and so nothing is allowed or denied in it.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Print(#[from] PrintError),
}

/// Answers, and gives the status to end with.
pub(crate) fn run(options: &Options, command_line: &[OsString]) -> u8 {
    match answer(options, command_line) {
        Ok(()) => 0,
        // As the run itself would say it: a line each.
        Err(WhyError::Refused(text)) => {
            words::say(&text);
            words::BAD_USAGE
        }
        Err(error) => {
            words::complain(&error, error.remedy().as_deref());
            words::BAD_USAGE
        }
    }
}

fn answer(options: &Options, command_line: &[OsString]) -> Result<(), WhyError> {
    if (options.list || options.last) && !options.ask.words.is_empty() {
        return Err(WhyError::TwoQuestions);
    }
    if options.list {
        return list(options.json);
    }
    if options.last {
        let records = records()?;
        let report = records.last()?;
        return of_run(options, &records, &report);
    }
    let position = Position::of(&options.ask.words, command_line);
    match asked::read(&options.ask.words, position)? {
        Asked::Denial { jar, row } => {
            let records = records()?;
            let report = records.report(&jar)?;
            match row {
                None => of_run(options, &records, &report),
                Some(row) => of_denial(options, &records, &report, &row),
            }
        }
        Asked::Question { subject, question } => {
            let jar = match subject {
                Subject::Said { words, position } => options.ask.jar_of(words, position)?,
                Subject::Nothing => options
                    .ask
                    .jar_of(vec!["true".into()], Position::AfterDashes)?,
            };
            let facts = crate::explain::tried().map_err(WhyError::Try)?;
            let answer = jar.why_here(&question, &facts).map_err(not_begun)?;
            tell(options.json, &answer)
        }
    }
}

fn not_begun(error: LaunchError) -> WhyError {
    match error {
        LaunchError::Verify { source } => WhyError::Verify(source),
        LaunchError::Ended { report } => WhyError::Refused(
            crate::run::words_of(&report).unwrap_or_else(|| "the run would be refused".to_owned()),
        ),
        other => WhyError::Launch(other),
    }
}

fn records() -> Result<Records, WhyError> {
    Records::of_user().ok_or(WhyError::NoRecords)
}

fn tell(json: bool, answer: &Answer) -> Result<(), WhyError> {
    if json {
        return Ok(print_json(answer)?);
    }
    let mut page = Page::for_stdout();
    show(&mut page, answer);
    Ok(page.print()?)
}

/// One answer, for people.
pub(crate) fn show(page: &mut Page, answer: &Answer) {
    const COLUMN: usize = 14;
    let (tone, verdict) = match answer.verdict {
        Verdict::Allowed => (Tone::Good, "allowed"),
        Verdict::Denied => (Tone::Bad, "denied"),
        Verdict::NotThere => (Tone::Doubt, "not there"),
        Verdict::Depends => (Tone::Doubt, "it depends"),
    };
    page.heading(&answer.question);
    page.row("  verdict", COLUMN, tone, verdict);
    if let Some(errno) = &answer.errno {
        page.row("  answers", COLUMN, Tone::Plain, errno);
    }
    page.row("  because", COLUMN, Tone::Plain, &answer.reason);
    if let Some(rule) = answer.rule {
        let strength = answer
            .strength
            .map_or_else(String::new, |strength| format!(" ({strength})"));
        let mechanism = answer.mechanism.as_deref().unwrap_or("nothing");
        let text = format!("{rule}{strength}: {mechanism}");
        page.row("  rule", COLUMN, Tone::Plain, &text);
    }
    if let Some(origin) = &answer.decided_by {
        page.row("  decided by", COLUMN, Tone::Plain, origin);
    }
    if let Some(grant) = &answer.grant {
        page.paragraph(2, "the smallest grant that would allow it:");
        let flag: Vec<String> = grant.flag.iter().cloned().collect();
        for (label, lines) in [
            ("    flag", &flag),
            ("    policy", &grant.policy),
            ("    manifest", &grant.manifest),
        ] {
            for line in lines {
                page.verbatim(label, COLUMN, line);
            }
        }
        for risk in &grant.risk {
            page.row("    risk", COLUMN, Tone::Doubt, risk);
        }
    }
}

/// What a kept run was denied.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OfRun<'a> {
    /// The jar's id.
    jar: &'a str,
    /// How the run ended.
    outcome: &'a Outcome,
    /// The rows of its report, in their order, each with why it was denied.
    denials: Vec<Denial<'a>>,
    /// Denied calls that are in none of these, for want of room.
    unlisted: u64,
}

/// One row of a report.
#[derive(Serialize, JsonSchema)]
struct Denial<'a> {
    /// By which `belljar why` finds it again.
    id: &'a str,
    /// How often.
    count: u64,
    /// Which rule decided, by whose word, and what would allow it.
    answer: Answer,
}

fn answer_of(records: &Records, report: &Report, row: &Violation) -> Result<Answer, WhyError> {
    let digest = report.plan_digest.as_deref().unwrap_or_default();
    Ok(why::of_violation(&records.plan(digest)?, row))
}

fn of_denial(
    options: &Options,
    records: &Records,
    report: &Report,
    row: &str,
) -> Result<(), WhyError> {
    let found = row
        .parse::<usize>()
        .ok()
        .and_then(|number| report.violations.get(number.checked_sub(1)?));
    let found = found.ok_or_else(|| WhyError::NoRow {
        jar: report.jar.clone(),
        rows: counted(report.violations.len() as u64, "denial"),
        row: words::one_line(row),
    })?;
    tell(options.json, &answer_of(records, report, found)?)
}

fn of_run(options: &Options, records: &Records, report: &Report) -> Result<(), WhyError> {
    let denials = report
        .violations
        .iter()
        .map(|row| {
            Ok(Denial {
                id: &row.id,
                count: row.count,
                answer: answer_of(records, report, row)?,
            })
        })
        .collect::<Result<Vec<_>, WhyError>>()?;
    let whole = OfRun {
        jar: &report.jar,
        outcome: &report.outcome,
        denials,
        unlisted: report.denials.unlisted,
    };
    if options.json {
        return Ok(print_json(&whole)?);
    }
    let mut page = Page::for_stdout();
    page.heading(&format!("{}: {}", report.jar, outcome(&report.outcome)));
    if let Some(said) = crate::run::words_of(report) {
        for line in said.lines() {
            page.paragraph(2, line);
        }
    }
    if whole.denials.is_empty() {
        page.paragraph(
            2,
            "No denied call was seen. A file that is not shown or may not be written raises no event: \
             `belljar why [RUN'S ARGUMENTS] -- read PATH` answers for one, and `belljar learn` finds them all.",
        );
    }
    for denial in &whole.denials {
        show(&mut page, &denial.answer);
        let times = match denial.count {
            1 => "once".to_owned(),
            count => format!("{count} times"),
        };
        page.row(
            "  seen",
            14,
            Tone::Plain,
            &format!("{times}, as {}", denial.id),
        );
    }
    if whole.unlisted > 0 {
        let (calls, are) = match whole.unlisted {
            1 => ("call", "is"),
            _ => ("calls", "are"),
        };
        let text = format!(
            "{} more denied {calls} {are} in no row of the report",
            whole.unlisted
        );
        page.paragraph(2, &text);
    }
    Ok(page.print()?)
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code } => format!("exited with {code}"),
        Outcome::Signaled { name, .. } => format!("ended by signal {name}"),
        Outcome::Limit { limit } => format!("ended for the limit {limit}"),
        Outcome::Violation { rule } => format!("ended for a violation of {rule}"),
        Outcome::Stopped { .. } => "stopped".to_owned(),
        Outcome::Refused { .. } => "refused".to_owned(),
        Outcome::SetupFailed { step, .. } => format!("set-up failed at {step}"),
        Outcome::Lost => "lost".to_owned(),
        Outcome::NotRunnable { path, .. } => format!("{} could not be started", path.escaped()),
        Outcome::NotFound { path, .. } => format!("{} was not found", path.escaped()),
    }
}

/// One kept run, in a list.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Listed {
    /// The jar's id.
    jar: String,
    /// When it ended, in seconds since 1970.
    ended: u64,
    /// How it ended, in words.
    outcome: String,
    /// How many denied calls were told of.
    denied: u64,
}

fn list(json: bool) -> Result<(), WhyError> {
    let records = records()?;
    let mut runs = Vec::new();
    for kept in records.kept()? {
        // What was swept meanwhile, or cannot be read, is not there to be asked about.
        let Ok(report) = records.report(&kept.jar) else {
            continue;
        };
        let since = kept.when.duration_since(std::time::UNIX_EPOCH);
        runs.push(Listed {
            jar: kept.jar,
            ended: since.map_or(0, |since| since.as_secs()),
            outcome: outcome(&report.outcome),
            denied: report.denials.told,
        });
    }
    if json {
        return Ok(print_json(&runs)?);
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let mut page = Page::for_stdout();
    page.heading(&format!(
        "Runs that are kept in {}",
        records.directory().display()
    ));
    if runs.is_empty() {
        page.paragraph(2, "none");
    }
    for run in &runs {
        let text = format!(
            "{}, {} ago; {}",
            run.outcome,
            ago(now.saturating_sub(run.ended)),
            counted(run.denied, "denied call")
        );
        page.verbatim("", 0, &run.jar);
        page.paragraph(2, &text);
    }
    Ok(page.print()?)
}

fn counted(count: u64, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        many => format!("{many} {one}s"),
    }
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

impl WhyError {
    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Usage(usage) => return usage.remedy(),
            Self::Missing => {
                "ask by an id or by `--last`, or put the question behind `--`, such as \
                 `belljar why --read . -- read /etc/shadow`; `belljar help why` tells more"
                    .to_owned()
            }
            Self::NoQuestion(said) => format!(
                "ask by an id, `belljar why jar-…` (`--list` lists the runs), or put the question \
                 behind `--`: `belljar why {said} -- read /etc/shadow`"
            ),
            Self::TwoQuestions => {
                "ask `--last` or `--list` alone, or the question behind `--`".to_owned()
            }
            Self::NoRecords => "set HOME to a directory of your own".to_owned(),
            Self::NoRow { jar, .. } => format!("`belljar why {jar}` shows all that are listed"),
            Self::Question(QuestionError::Call { .. }) => {
                "write the kernel's name, as docs/syscalls.md and syscalls(2) list them: `openat`, \
                 not `open()`"
                    .to_owned()
            }
            Self::Verify(error) => return remedy::of_verify(error),
            Self::Launch(error) => return remedy::of_launch(error),
            _ => return None,
        })
    }
}
