//! Whether what is told of a launch with a fault is true.

use std::collections::BTreeSet;

use belljar_plan::{Outcome, Report};
use belljar_tests::{Actor, Fault, FaultyHost, How, Point, Points, Told};

/// What is asked of a host that is well.
pub(crate) struct Well {
    pub(crate) output: String,
    pub(crate) report: Report,
    /// How many descriptors host and launcher have when nothing runs.
    pub(crate) descriptors: (usize, usize),
}

/// How another outcome than that of a host that is well is told.
pub(crate) fn next_launch(outcome: &Outcome) -> String {
    format!("the next launch: {outcome:?}")
}

/// Whether a launch without a fault went as it always does.
pub(crate) fn is_well(told: Option<&Told>, well: &Well) -> Option<String> {
    match told {
        None => Some("the next launch tells nothing".to_owned()),
        Some(Told {
            report: Err(error), ..
        }) => Some(format!("the next launch: {error}")),
        Some(Told {
            report: Ok(report),
            output,
        }) => {
            if report.outcome != (Outcome::Exited { code: 0 }) {
                Some(next_launch(&report.outcome))
            } else if same(output) != well.output {
                Some(format!("the next jar differs: {}", differs(output, well)))
            } else {
                None
            }
        }
    }
}

/// Whether what is told is true.
pub(crate) fn judge(
    host: &FaultyHost,
    fault: Fault,
    told: Option<&Told>,
    well: &Well,
    same_launcher: bool,
) -> Option<String> {
    let Some(told) = told else {
        return Some("nothing is told".to_owned());
    };
    let report = match &told.report {
        Ok(report) => report,
        Err(error) => return Some(format!("no report: {error}")),
    };
    let (How::Instead(errno) | How::After(errno)) = fault.how else {
        return None;
    };
    let step = host.step().and_then(|step| host.steps.get(step));
    let point = &Points::get().all[fault.point];
    match &report.outcome {
        Outcome::Exited { code: 0 } if nothing_to_hide(step, errno, point) => None,
        Outcome::Exited { code: 0 } => went_on(report, told, well, fault),
        Outcome::SetupFailed {
            step: said,
            errno: told,
        } => {
            if !told_as(*told, errno, point, fault.actor, host.step().is_some()) {
                Some(format!("errno {told} is told"))
            } else if !host.steps.is_empty() && said_otherwise(said, step, fault.actor) {
                Some(format!("{said} is told"))
            } else {
                None
            }
        }
        // What no machine with such a kernel would answer once is not taken for a passing want.
        Outcome::Refused { .. } if TEACHES.contains(&errno) && host.step().is_some() => None,
        Outcome::NotFound { .. } | Outcome::NotRunnable { .. }
            if point.place.starts_with("steps/exec.rs") =>
        {
            None
        }
        // The record of the end is pid 1's to give and the launcher's to take; without it
        // nobody can tell.
        Outcome::Lost if fault.actor == Actor::First && point.place.starts_with("watch.rs") => None,
        Outcome::Lost if point.call == "recv" && point.place.starts_with("parent.rs") => None,
        Outcome::Lost if !same_launcher => None,
        other => Some(format!("{other:?}")),
    }
}

/// What is not there, or out of pid 1's own reach, needs no hiding: for these steps the two
/// errors are answers, and no test can know that the kernel did not mean them.
fn nothing_to_hide(step: Option<&String>, errno: i32, point: &Point) -> bool {
    const ENOENT: i32 = 2;
    const EACCES: i32 = 13;
    let hides = |step: &String| step.starts_with("mask ") || step.starts_with("read_only ");
    point.call == "openat2" && [ENOENT, EACCES].contains(&errno) && step.is_some_and(hides)
}

/// Errors that say what a machine is, and not what it is short of for the moment: EPERM,
/// E2BIG of Landlock's layers, EACCES, EBUSY, ENODEV, EINVAL, ENOSPC of namespaces, ENOSYS,
/// EUSERS, EOPNOTSUPP.
const TEACHES: [i32; 10] = [1, 7, 13, 16, 19, 22, 28, 38, 87, 95];

/// Where there was no step, the launch as a whole is named, or the process whose part it was.
fn said_otherwise(said: &str, step: Option<&String>, actor: Actor) -> bool {
    const WHOLE: [&str; 2] = ["have the jar made", "keep the jar's first process"];
    match step {
        // Of its own, and no step's, is what the first process does from the fork on.
        Some(step) if step == "fork" && actor == Actor::First => said != step && said != WHOLE[1],
        Some(step) => said != step,
        None => !WHOLE.contains(&said),
    }
}

/// A call whose answer is looked at again is told by what is seen then.
fn told_as(told: i32, errno: i32, point: &Point, actor: Actor, in_step: bool) -> bool {
    const EPERM: i32 = 1;
    const ENOENT: i32 = 2;
    const EEXIST: i32 = 17;
    const EINVAL: i32 = 22;
    const EPIPE: i32 = 32;
    const ECONNRESET: i32 = 104;
    const ECANCELED: i32 = 125;
    let of = |place: &str| point.place.starts_with(place);
    told == errno
        // What is there already will do, and then it is not there.
        || (told, errno) == (ENOENT, EEXIST)
        // No capability has such a number, and then it is still held.
        || ((told, errno) == (EPERM, EINVAL) && of("steps/identity.rs"))
        // Who had ended before it was given its task is found to be gone.
        || (actor == Actor::First && !in_step && [EPIPE, ECONNRESET].contains(&told))
        // What does not answer as it must does not hold.
        || (told == ECANCELED && (of("steps/landlock.rs") || of("steps/filter.rs")))
}

/// Whether the host has learnt something of the machine, and its report tells of that:
/// what it plans from then on is another thing.
pub(crate) fn taught(fault: Fault, told: Option<&Told>, well: &Well) -> bool {
    let (How::Instead(errno) | How::After(errno)) = fault.how else {
        return false;
    };
    let report = told.and_then(|told| told.report.as_ref().ok());
    TEACHES.contains(&errno)
        && report.is_some_and(|report| {
            report.outcome == (Outcome::Exited { code: 0 })
                && (&report.enforcement, &report.landlock)
                    != (&well.report.enforcement, &well.report.landlock)
        })
}

/// A run that went on in spite of a fault: the guest is held all the same, and what
/// is missing is told.
fn went_on(report: &Report, told: &Told, well: &Well, fault: Fault) -> Option<String> {
    if report.dropped.len() > well.report.dropped.len() {
        return None;
    }
    // Another plan than at first, where a kernel that answers so holds less: what it says
    // is applied.
    if taught(fault, Some(told), well) {
        let mut rules = report.enforcement.iter();
        return (!rules.all(|rule| rule.applied == rule.planned.strength))
            .then(|| "less is applied than planned".to_owned());
    }
    if same(&told.output) != well.output {
        return Some(format!(
            "the guest ran in another jar: {}",
            differs(&told.output, well)
        ));
    }
    if report.enforcement != well.report.enforcement {
        return Some("another enforcement is told".to_owned());
    }
    None
}

/// What the guest saw, without the ids of its own jar, and in one order: what a parked
/// child has done is mounted earlier.
pub(crate) fn same(output: &str) -> String {
    let mut lines: Vec<_> = output
        .lines()
        // The machine's own is others' too, and without a pid namespace each has another number.
        .filter(|line| !line.starts_with("/tmp: "))
        .filter(|line| !line.starts_with("NSpid:") || line.ends_with("\t2"))
        .map(|line| {
            let line = without_room(line);
            let words: Vec<_> = line
                .split(',')
                .filter(|word| !word.starts_with("uid=") && !word.starts_with("gid="))
                .collect();
            words.join(",") + "\n"
        })
        .collect();
    lines.sort();
    lines.concat()
}

/// A line without the names of temporary directories: each host has one of its own.
fn without_room(line: &str) -> String {
    const PREFIX: &str = "/.tmp";
    let mut parts = line.split(PREFIX);
    let mut text = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric());
        text.extend([PREFIX, rest]);
    }
    text
}

fn differs(output: &str, well: &Well) -> String {
    let seen = same(output);
    let ours: BTreeSet<_> = seen.lines().collect();
    let theirs: BTreeSet<_> = well.output.lines().collect();
    let lines: Vec<_> = ours.symmetric_difference(&theirs).take(6).collect();
    format!("{lines:?}")
}
