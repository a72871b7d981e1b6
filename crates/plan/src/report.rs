//! What is told after a run: data, the same for every outcome.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    landlock::Right,
    observation::Observations,
    outcome::Outcome,
    plan::{Dropped, Enforcement, PluginName},
    rule::{Limit, Rule, Strength},
    usage::Usage,
};

/// The version of this form.
pub const SCHEMA: u32 = 1;

/// How a symptom begins which tells that the report could not be put where it was wanted:
/// only the caller's own copy has it.
pub const UNWRITTEN: &str = "the report could not be written";

/// The report of one launch. It is written once with outcome `lost` when the
/// launch begins, and replaced when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The version of this form, [`SCHEMA`].
    pub schema: u32,
    /// This jar's unique id.
    pub jar: String,
    /// The host's own name for the run.
    pub task: Option<String>,
    /// What was run, where it is a plugin.
    pub plugin: Option<PluginName>,
    /// SHA-256 of the plan's canonical JSON, in hexadecimal; none where no plan was made.
    pub plan_digest: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// The same in a word or two, as the event `supervisor.termination` has it.
    #[serde(default)]
    pub reason: String,
    /// Limits that were reached, whether or not that ended the jar.
    pub limits_hit: Vec<LimitHit>,
    /// Every limit that was set, with its last value.
    pub limits: Vec<LimitReport>,
    /// Limits that the host changed while the jar ran, in order.
    #[serde(default)]
    pub limit_changes: Vec<LimitChange>,
    /// What was used.
    pub usage: Usage,
    /// Every rule: asked, planned, applied.
    pub enforcement: Vec<EnforcementReport>,
    /// What Landlock held, right by right; none where the plan is without it.
    pub landlock: Option<LandlockReport>,
    /// What the guest tried and was refused, as far as it can be seen.
    pub violations: Vec<Violation>,
    /// How many there were.
    pub denials: Denials,
    /// What its calls named; none where it was not observed.
    pub observations: Option<Observations>,
    /// What was noticed besides the outcome's cause, in order.
    pub symptoms: Vec<String>,
    /// Optional requests that were not granted, and grants that failed and may.
    pub dropped: Vec<Dropped>,
    /// Whatever made this jar weaker than its preset.
    pub weakenings: Vec<String>,
    /// What an operator should know.
    pub notes: Vec<String>,
}

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitHit {
    /// Which.
    pub limit: Limit,
    /// Its soft or its hard value.
    pub at: Edge,
}

/// A limit that the host changed while the jar ran. Units are those of [`Limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitChange {
    /// Which.
    pub limit: Limit,
    /// What held until then.
    pub before: LimitValues,
    /// What holds from then on.
    pub after: LimitValues,
    /// When: nanoseconds from the start of pid 1.
    pub wall_ns: u64,
}

/// The two values of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitValues {
    /// Where an event is raised.
    pub soft: Option<u64>,
    /// Where it is enforced.
    pub hard: Option<u64>,
}

/// Which of a limit's two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// Only an event.
    Soft,
    /// Enforced.
    Hard,
}

/// A limit and how much of it was used. Units are those of [`Limit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitReport {
    /// Which.
    pub limit: Limit,
    /// Where an event is raised.
    pub soft: Option<u64>,
    /// Where it is enforced.
    pub hard: Option<u64>,
    /// The most that was seen; none where it is not counted.
    pub used: Option<u64>,
    /// Which side decided the values, such as `preset strict` or `--memory`.
    pub decided_by: String,
}

/// One rule of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnforcementReport {
    /// Which.
    pub rule: Rule,
    /// The least strength that would do; `none` where the preset has no such rule.
    pub requested: Strength,
    /// What was to enforce it.
    pub planned: Enforcement,
    /// What enforced it from before the guest's first instruction: the planned
    /// strength where every step of the rule is known to be done, else `none`.
    pub applied: Strength,
}

/// What Landlock was to hold, and held: rights that are denied but where a step
/// of the plan allows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LandlockReport {
    /// The version of the kernel's interface.
    pub abi: u32,
    /// All that a newer kernel would hold.
    pub requested: Vec<Right>,
    /// Those that this version knows.
    pub planned: Vec<Right>,
    /// Those that held from before the guest's first instruction, as its
    /// process was seen to be refused: the planned, or none.
    pub applied: Vec<Right>,
}

/// What the guest tried and was refused, and was told of: alike attempts are one
/// row. Whatever the guest chose in it is escaped for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Violation {
    /// What `belljar why` is asked by: the jar's id, a dot, and the row's number from 1.
    pub id: String,
    /// The rule that refused it.
    pub rule: Rule,
    /// What was tried, such as `a new namespace`.
    pub action: String,
    /// The system call's name; `syscall_N` for one without.
    pub syscall: String,
    /// Its arguments the first time, as `name=value`.
    pub arguments: Vec<String>,
    /// What it was answered, such as `EPERM`; errno(3).
    pub answer: String,
    /// The task that tried it first, as the machine numbers it.
    pub pid: i32,
    /// How often it was tried.
    pub count: u64,
}

/// The id of a report's row of violations.
#[must_use]
pub fn denial_id(jar: &str, row: usize) -> String {
    format!("{jar}.{}", row + 1)
}

/// How many denied calls there were, of those that are told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Denials {
    /// All.
    pub told: u64,
    /// Those that had to wait for their answer, since too many came at once.
    pub late: u64,
    /// Those that are in no row of `violations`, for want of room.
    pub unlisted: u64,
}
