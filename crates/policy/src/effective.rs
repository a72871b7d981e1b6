//! What a launch gets: (manifest ∩ policy) ∪ flags, with deny above all.

use std::collections::BTreeMap;

use belljar_plan::{Bytes, Limit, Namespaces, Preset, Rule, Strength, plan::Dropped};

use crate::{manifest::Bound, path::UnixPath, policy::Said};

/// What a launch gets, decided but not yet turned into steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The preset, and where it was said.
    pub preset: Said<Preset>,
    /// Paths of the machine, beyond what the preset shows.
    pub grants: Vec<Grant>,
    /// Paths of the machine that stay hidden inside what is shown.
    pub hidden: Vec<Said<UnixPath>>,
    /// Every limit, with which side decided.
    pub limits: BTreeMap<Limit, Said<Bound>>,
    /// Variables that are set, over the preset's own.
    pub set: BTreeMap<String, Bytes>,
    /// Variables that are passed from the caller.
    pub pass: Vec<String>,
    /// Other programs may be started.
    pub subprocesses: bool,
    /// Memory may be writable and executable.
    pub jit: bool,
    /// The guest's user inside.
    pub user: (u32, u32),
    /// `--workdir`
    pub workdir: Option<UnixPath>,
    /// The jar's name for itself.
    pub hostname: String,
    /// `--tty`
    pub terminal: Option<(u16, u16)>,
    /// What each rule must be at least, where it differs from the preset's demand.
    pub require: BTreeMap<Rule, Said<Strength>>,
    /// Rules for which less will do, with where that was said.
    pub best_effort: BTreeMap<Rule, String>,
    /// The namespaces of the jar's own.
    pub namespaces: Namespaces,
    /// Capabilities kept, as bits, and of these the ambient ones.
    pub capabilities: (u64, u64),
    /// Machine uids for jars that root starts: first and count.
    pub uid_range: (u32, u32),
    /// Optional requests that are not granted.
    pub dropped: Vec<Dropped>,
    /// Whatever makes this jar weaker than its preset.
    pub weakenings: Vec<String>,
}

/// A path that a launch gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// On the machine, as it was said; the survey tells where it leads.
    pub path: UnixPath,
    /// In the jar, where it was said.
    pub at: Option<UnixPath>,
    /// It may be written.
    pub write: bool,
    /// Without it the plugin still runs.
    pub optional: bool,
    /// Where it was said.
    pub origin: String,
}
