//! What is told while a jar runs: one event at a time, the same for a host that
//! listens and in the file of `--events`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    plan::PluginName,
    report::{Edge, LimitChange, LimitHit},
    rule::{Limit, Rule},
};

/// Something that happened in a jar and did not end it by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// A limit was reached, for the first time since it was set or changed.
    #[serde(rename = "sandbox.limit")]
    Limit(LimitReached),
    /// The host changed a limit.
    #[serde(rename = "sandbox.limit_changed")]
    LimitChanged(LimitChanged),
    /// A guest tried what is denied, and was refused.
    #[serde(rename = "sandbox.violation")]
    Violation(Box<Violation>),
}

/// A limit was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitReached {
    /// Counts the jar's events, from 1. What a host was too slow to hear is missing.
    pub id: u64,
    /// The jar's unique id.
    pub jar: String,
    /// The host's own name for the run.
    pub task: Option<String>,
    /// What runs, where it is a plugin.
    pub plugin: Option<PluginName>,
    /// Which.
    pub limit: Limit,
    /// Its soft or its hard value.
    pub at: Edge,
}

/// The host changed a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitChanged {
    /// Counts the jar's events, from 1. What a host was too slow to hear is missing.
    pub id: u64,
    /// The jar's unique id.
    pub jar: String,
    /// The host's own name for the run.
    pub task: Option<String>,
    /// What runs, where it is a plugin.
    pub plugin: Option<PluginName>,
    /// Which, from what to what, and when.
    pub change: LimitChange,
}

/// A denied call. Whatever the guest chose in it is a number or escaped for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Violation {
    /// Counts the jar's events, from 1. What a host was too slow to hear is missing.
    pub id: u64,
    /// The jar's unique id.
    pub jar: String,
    /// The host's own name for the run.
    pub task: Option<String>,
    /// What runs, where it is a plugin.
    pub plugin: Option<PluginName>,
    /// The row of the report that it is counted in, which `belljar why` is asked by;
    /// none where that has no more room.
    pub denial: Option<String>,
    /// The thread that tried it, as the machine numbers it.
    pub pid: i32,
    /// The rule that refused it.
    pub rule: Rule,
    /// What was tried, such as `a new namespace`.
    pub action: String,
    /// The system call's name; `syscall_N` for one without.
    pub syscall: String,
    /// Its arguments, as `name=value`.
    pub arguments: Vec<String>,
    /// What it was answered, such as `EPERM`; errno(3).
    pub answer: String,
}

impl LimitReached {
    /// As the report has it.
    #[must_use]
    pub const fn hit(&self) -> LimitHit {
        LimitHit {
            limit: self.limit,
            at: self.at,
        }
    }
}
