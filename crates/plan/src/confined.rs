//! What is told of a process that confined itself: what was asked for, what was to hold
//! it, and what holds it now.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    plan::{Hidden, PlannedGrant, PlannedLimit},
    report::{EnforcementReport, LandlockReport},
    rule::Preset,
};

/// The version of this form.
pub const SCHEMA: u32 = 1;

/// The report of a process that confined itself. There is no way back from it, and all
/// that it starts from then on is held the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confined {
    /// The version of this form, [`SCHEMA`].
    pub schema: u32,
    /// The policy's starting point.
    pub preset: Preset,
    /// Every rule: asked, planned, applied. One that a process cannot lay upon itself has
    /// the mechanism `not in confine`.
    pub enforcement: Vec<EnforcementReport>,
    /// What Landlock holds, right by right; none where the plan is without it.
    pub landlock: Option<LandlockReport>,
    /// The limits that each process is bound to.
    pub limits: Vec<PlannedLimit>,
    /// Paths that may be used by somebody's word.
    pub grants: Vec<PlannedGrant>,
    /// Places within them that may not.
    pub hidden: Vec<Hidden>,
    /// Descriptors beyond 0, 1 and 2 that it keeps.
    pub kept: Vec<i32>,
    /// Whatever makes this weaker than its preset.
    pub weakenings: Vec<String>,
    /// What an operator should know.
    pub notes: Vec<String>,
}
