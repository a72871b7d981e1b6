//! What a run that was observed teaches: what it used, what it lacked, and the
//! smallest grants that would give it that, each with its risk.
//!
//! Whether something is let through is for [`crate::why`] to say, about the plan that
//! the run had; nothing is judged a second time here. What was observed is the guest's own
//! word, so that a lesson is a proposal for somebody to read, and grants nothing.

mod change;
mod collapse;
mod gather;
mod places;

use belljar_plan::{
    Bytes, Limit, Outcome, Plan, Report,
    answer::SmallestGrant,
    observation::Intent,
    report::{Edge, LimitReport},
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    manifest::Manifest,
    policy::{Policy, Right},
    risk::Level,
    why::{Grant, Machine, Question, Surroundings},
};

pub use self::change::{Change, written};
use self::gather::{Gathered, Wanted};

/// The version of this form.
pub const SCHEMA: u32 = 1;

/// So many proposals are made: nobody reads more, and each is tried.
const PROPOSALS: usize = 64;
/// So many rows of each other list are kept.
const ROWS: usize = 256;

/// What a run teaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Lesson {
    /// The version of this form, [`SCHEMA`].
    pub schema: u32,
    /// How the run ended.
    pub outcome: Outcome,
    /// What it used, by place.
    pub used: Vec<Used>,
    /// What would give it what it lacked, smallest first.
    pub proposals: Vec<Proposal>,
    /// What it was refused and no grant gives.
    pub refused: Vec<Refused>,
    /// What neither the jar nor the machine has.
    pub absent: Vec<Bytes>,
    /// Grants that nothing was used of.
    pub unused: Vec<String>,
    /// Names and proposals that are left out, for want of room.
    pub unlisted: u64,
}

/// What was used at and below a place of the jar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Used {
    /// In the jar.
    pub place: Bytes,
    /// How.
    pub intents: Vec<Intent>,
    /// How many names.
    pub names: u64,
    /// Whose word shows it, such as `--read` or `preset strict`.
    pub by: String,
}

/// A line that would give what was lacking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Proposal {
    /// The same, to be merged into a file.
    #[serde(skip)]
    pub change: Change,
    /// What a plan with it answers otherwise, as far as that can be asked.
    #[serde(skip)]
    pub questions: Vec<Question>,
    /// How much it gives away.
    pub level: Level,
    /// The run did without it, or programs usually do.
    pub optional: bool,
    /// It keeps what the run wrote, which is otherwise gone with the jar.
    pub keeps: bool,
    /// What was asked for and why it was refused, of the first.
    pub reason: String,
    /// How many names it is for.
    pub names: u64,
    /// What is not on the machine yet and has to be made first.
    pub make: Option<Make>,
    /// To paste, with its risk.
    pub lines: SmallestGrant,
}

/// What has to be made before it can be granted: empty, for nobody else to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Make {
    /// A directory, with those above it.
    Directory,
    /// A file.
    File,
}

/// Something that was refused, and what to know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Refused {
    /// What was tried, such as `write /plugin/cache`.
    pub question: String,
    /// Why it was refused, and what to do instead where something is known.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// Draws the lesson of a run: its plan, its report with observations, and the
/// machine as it is now. Pure, but for what the machine is asked.
#[must_use]
pub fn learn(plan: &Plan, report: &Report, machine: &dyn Machine, around: &Surroundings) -> Lesson {
    let mut gathered = gather::gather(plan, report, machine, around);
    let wanted = collapse::collapse(std::mem::take(&mut gathered.wanted), plan, machine, around);
    let mut proposals: Vec<Proposal> = wanted
        .into_iter()
        .map(|wanted| proposal(wanted, plan, machine, around))
        .chain(raised(plan, report))
        .collect();
    proposals.sort_by_key(|proposal| {
        (
            proposal.optional,
            proposal.level,
            proposal.change.size(machine),
        )
    });
    let mut unlisted = report
        .observations
        .as_ref()
        .map_or(0, |observations| observations.unlisted);
    unlisted += cut(&mut proposals, PROPOSALS);
    unlisted += cut(&mut gathered.refused, ROWS);
    unlisted += cut(&mut gathered.absent, ROWS);
    unlisted += cut(&mut gathered.used, ROWS);
    let Gathered {
        used,
        refused,
        absent,
        unused,
        ..
    } = gathered;
    Lesson {
        schema: SCHEMA,
        outcome: report.outcome.clone(),
        used,
        proposals,
        refused,
        absent,
        unused,
        unlisted,
    }
}

fn cut<T>(list: &mut Vec<T>, most: usize) -> u64 {
    let over = list.len().saturating_sub(most);
    list.truncate(most);
    over as u64
}

/// The proposal of a grant that another one turned out to need.
#[must_use]
pub fn further(
    grant: Grant,
    of: &Proposal,
    plan: &Plan,
    machine: &dyn Machine,
    around: &Surroundings,
) -> Proposal {
    let wanted = Wanted {
        grant,
        optional: of.optional,
        keeps: false,
        reason: format!("needed with it, for {}", of.reason),
        questions: Vec::new(),
        names: 1,
        make: None,
    };
    proposal(wanted, plan, machine, around)
}

fn proposal(wanted: Wanted, plan: &Plan, machine: &dyn Machine, around: &Surroundings) -> Proposal {
    let change = Change::of(&wanted.grant, machine);
    let lines = change.told(&wanted.grant, plan, around);
    Proposal {
        level: level(&lines.risk),
        change,
        optional: wanted.optional,
        keeps: wanted.keeps,
        reason: wanted.reason,
        questions: wanted.questions,
        names: wanted.names,
        make: wanted.make,
        lines,
    }
}

/// A risk is told as its level and why; of several the worst counts.
fn level(risks: &[String]) -> Level {
    let of = |risk: &String| {
        let word = risk.split(':').next().unwrap_or_default();
        [Level::Low, Level::High, Level::Critical]
            .into_iter()
            .find(|level| level.word() == word)
            .unwrap_or(Level::Critical)
    };
    risks.iter().map(of).max().unwrap_or(Level::Low)
}

/// Limits that the run met, twice as high: whether that is enough shows the
/// next run.
fn raised(plan: &Plan, report: &Report) -> Vec<Proposal> {
    let mut proposals = Vec::new();
    for hit in &report.limits_hit {
        let planned = plan.limit(hit.limit).and_then(|planned| planned.hard);
        let (Edge::Hard, Some(hard)) = (hit.at, planned) else {
            continue;
        };
        let used = report
            .limits
            .iter()
            .find(|row: &&LimitReport| row.limit == hit.limit)
            .and_then(|row| row.used)
            .unwrap_or(0);
        let value = hard.saturating_mul(2).max(rounded(hit.limit, used));
        let change = Change::Limit {
            limit: hit.limit,
            hard: value,
        };
        let ended = report.outcome == Outcome::Limit { limit: hit.limit };
        proposals.push(Proposal {
            level: Level::Low,
            optional: !ended && succeeded(report),
            keeps: false,
            reason: format!(
                "the limit {} of {} was reached",
                hit.limit,
                crate::units::format_value(hit.limit, hard)
            ),
            questions: Vec::new(),
            names: 1,
            make: None,
            lines: change.limit_lines(),
            change,
        });
    }
    proposals
}

/// Above what was used, in a unit that people write.
fn rounded(limit: Limit, used: u64) -> u64 {
    let unit = match limit {
        Limit::Memory | Limit::Disk | Limit::FileSize | Limit::Output => 1 << 20,
        Limit::CpuTime | Limit::Wall => 1_000_000_000,
        _ => 1,
    };
    used.saturating_add(used / 2)
        .checked_next_multiple_of(unit)
        .unwrap_or(used)
}

/// It ended as programs do that lacked nothing, or did without.
fn succeeded(report: &Report) -> bool {
    report.outcome == Outcome::Exited { code: 0 }
}

/// What a manifest asks for of the system, with where, and whether it is optional.
fn requests(manifest: &Manifest) -> Vec<(Grant, &str, bool)> {
    let of_paths = [(&manifest.read, false), (&manifest.write, true)]
        .into_iter()
        .flat_map(|(list, write)| list.iter().map(move |request| (request, write)))
        .filter_map(|(request, write)| {
            let place = &request.value;
            // Where in the jar is for the manifest to say, and it has.
            let grant = Grant::of_path(&place.path, None, write)?;
            Some((grant, request.origin.as_str(), request.optional))
        });
    let of_rights = [
        (Right::Subprocesses, &manifest.subprocesses),
        (Right::Jit, &manifest.jit),
    ]
    .into_iter()
    .filter_map(|(right, request)| {
        let request = request.as_ref()?;
        Some((
            Grant::Right(right),
            request.origin.as_str(),
            request.optional,
        ))
    });
    of_paths.chain(of_rights).collect()
}

/// A policy that grants all that a manifest asks for of the system.
#[must_use]
pub fn granting(manifest: &Manifest, policy: &Policy, machine: &dyn Machine) -> Policy {
    let mut policy = policy.clone();
    for (grant, ..) in requests(manifest) {
        Change::of(&grant, machine).add_to(&mut policy);
    }
    policy
}

/// What a manifest asks for of the system, as proposals for a policy: of a launch
/// that was refused for it. The plan is one with all of it.
#[must_use]
pub fn asked(
    manifest: &Manifest,
    plan: &Plan,
    machine: &dyn Machine,
    around: &Surroundings,
) -> Vec<Proposal> {
    let mut proposals: Vec<Proposal> = requests(manifest)
        .into_iter()
        .map(|(grant, origin, optional)| {
            let wanted = Wanted {
                grant,
                optional,
                keeps: false,
                reason: format!("the manifest asks for it ({origin}), and nobody grants it"),
                questions: Vec::new(),
                names: 1,
                make: None,
            };
            let mut proposal = proposal(wanted, plan, machine, around);
            proposal.lines.manifest.clear();
            proposal
        })
        .collect();
    proposals.sort_by_key(|proposal| {
        (
            proposal.optional,
            proposal.level,
            proposal.change.size(machine),
        )
    });
    proposals
}

/// The JSON Schema of a [`Lesson`].
#[must_use]
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Lesson)
}

#[cfg(test)]
mod tests;
