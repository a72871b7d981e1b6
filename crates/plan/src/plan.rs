//! What was decided before a run: data, with everything that a report, an
//! explanation and the launcher read.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bytes::Bytes,
    filter::Filter,
    landlock::Landlock,
    rule::{Limit, Preset, Rule, Strength},
    step::{OwnedStep, Source, Step},
};

/// The version of this form.
pub const SCHEMA: u32 = 1;

/// Everything that a launch does and promises. The same input gives the same
/// bytes: nothing in it is random, nor read from a clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The version of this form, [`SCHEMA`].
    pub schema: u32,
    /// The policy's starting point.
    pub preset: Preset,
    /// What is run, where it is a plugin.
    pub plugin: Option<PluginName>,
    /// The program as the jar sees it.
    pub program: Bytes,
    /// Every rule: what was asked, what holds it, which steps do so.
    pub rules: Vec<PlannedRule>,
    /// Every limit that is set.
    pub limits: Vec<PlannedLimit>,
    /// What all jars of this host have together, at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub together: Vec<PlannedLimit>,
    /// The quota that holds what is granted for writing; none where it is watched instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<ProjectQuota>,
    /// What the filter of system calls is made of; none where this machine takes none.
    pub filter: Option<Filter>,
    /// Paths of the machine that were granted, with where each was said.
    pub grants: Vec<PlannedGrant>,
    /// Places in the jar that are covered, with why.
    pub hidden: Vec<Hidden>,
    /// Unix sockets of the machine that the jar may connect to.
    pub sockets: Vec<Slot>,
    /// What Landlock holds; none where this machine has none that serves.
    pub landlock: Option<Landlock>,
    /// Rules whose violation ends the jar.
    pub end_on: Vec<Rule>,
    /// The user inside and outside.
    pub identity: Identity,
    /// Paths of the machine that the supervisor opens and hands over.
    pub slots: Vec<Slot>,
    /// SHA-256 of the image of the plugin's files, in hexadecimal.
    pub image: Option<String>,
    /// The guest's streams are a pseudo-terminal instead of pipes.
    pub terminal: bool,
    /// Words of policy and flags that shaped it and stand nowhere else in it, and
    /// where each was said: `process.jit` or `seccomp.deny ptrace`, for example.
    pub said: BTreeMap<String, String>,
    /// What an optional request asked for and does not get.
    pub dropped: Vec<Dropped>,
    /// Whatever makes this jar weaker than its preset, each by name.
    pub weakenings: Vec<String>,
    /// What an operator should know, such as groups that could not be dropped.
    pub notes: Vec<String>,
    /// The launch, in order.
    pub steps: Vec<OwnedStep>,
}

/// A plugin's name and version, from its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginName {
    /// `[plugin] name`
    pub name: String,
    /// `[plugin] version`
    pub version: String,
}

/// One rule of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannedRule {
    /// Which.
    pub rule: Rule,
    /// The least strength that will do. `none` where the preset has no such rule.
    pub requested: Strength,
    /// A weaker one was accepted, by `--best-effort` or a policy's word.
    pub best_effort: bool,
    /// What enforces it.
    pub planned: Enforcement,
    /// Indices of the steps that put it in place.
    pub steps: Vec<u16>,
    /// Where the demand comes from, such as `preset strict` or `--require`.
    pub origin: String,
}

/// A mechanism and how strong it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Enforcement {
    /// Named in the field's terms, with its scope and what escapes it.
    pub mechanism: String,
    /// How strong.
    pub strength: Strength,
}

/// One limit of the plan. Units are those of [`Limit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannedLimit {
    /// Which.
    pub limit: Limit,
    /// Where an event is raised.
    pub soft: Option<u64>,
    /// Where it is enforced.
    pub hard: Option<u64>,
    /// Hitting it ends the jar even where it otherwise would not (`action = "stop"`).
    pub stop: bool,
    /// Which side decided, such as `preset strict`, `--memory` or `policy.toml line 4`.
    pub origin: String,
}

/// What everything that is granted for writing may grow by: it is one project of a file
/// system, whose quota is set for as long as the jar lives; ext4(5), quotactl(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectQuota {
    /// The project's number.
    pub project: u32,
    /// Bytes beyond what it holds at the launch.
    pub bytes: u64,
    /// Files, directories and links beyond those that there are at the launch.
    pub inodes: u64,
}

/// The user that the guest is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Inside.
    pub uid: u32,
    /// Inside.
    pub gid: u32,
    /// Outside.
    pub machine: MachineIdentity,
    /// Supplementary groups that cannot be left, by gid.
    pub groups_kept: Vec<u32>,
}

/// Whom the machine sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MachineIdentity {
    /// The user who started it.
    Caller {
        /// Effective uid.
        uid: u32,
        /// Effective gid.
        gid: u32,
    },
    /// A uid and gid of the jar's own, taken from a range while it lives.
    Own {
        /// First of the range.
        first: u32,
        /// How many.
        count: u32,
    },
}

/// A path of the machine that the jar gets by somebody's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannedGrant {
    /// On the machine: absolute, free of symbolic links.
    pub path: Bytes,
    /// In the jar.
    pub at: Bytes,
    /// It may be written.
    pub write: bool,
    /// Where it was said, such as `--read` or `belljar.toml line 7`.
    pub origin: String,
}

/// A place in the jar at which nothing is seen of what the machine has there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hidden {
    /// In the jar: absolute.
    pub path: Bytes,
    /// Which word hides it, such as `policy.toml line 9`, or that it is a known secret.
    pub origin: String,
}

/// A path of the machine that enters the jar by descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Absolute, free of symbolic links.
    pub path: Bytes,
    /// `st_dev` as the planner saw it.
    pub device: u64,
    /// `st_ino` as the planner saw it.
    pub inode: u64,
}

/// A request that was marked optional and is not granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    /// As the manifest says it, such as `filesystem.read /data`.
    pub request: String,
    /// Why not.
    pub reason: String,
}

impl PlannedLimit {
    /// A limit on disk holds for the growth of granted directories too: always
    /// in `strict`, else where somebody set it, since the other presets' own
    /// value is for private scratch.
    #[must_use]
    pub fn covers_grants(&self, preset: Preset) -> bool {
        self.limit == Limit::Disk
            && self.hard.is_some()
            && (preset == Preset::Strict || !self.origin.starts_with("preset "))
    }
}

impl Plan {
    /// The limit of this name, where it is set.
    #[must_use]
    pub fn limit(&self, limit: Limit) -> Option<&PlannedLimit> {
        self.limits.iter().find(|planned| planned.limit == limit)
    }

    /// Files and directories of the machine that the jar may write to. Devices are among them.
    #[must_use]
    pub fn writable(&self) -> Vec<Slot> {
        let source = |step: &OwnedStep| match step {
            Step::Bind {
                source, attributes, ..
            } if !attributes.read_only => match source {
                Source::Slot { slot } => self.slots.get(usize::from(*slot)).cloned(),
                Source::Path {
                    path,
                    device,
                    inode,
                } => Some(Slot {
                    path: path.clone(),
                    device: *device,
                    inode: *inode,
                }),
                Source::Scratch { .. } => None,
            },
            _ => None,
        };
        self.steps.iter().filter_map(source).collect()
    }

    /// A step for people: its name, and the path or thing that it is about.
    #[must_use]
    pub fn describe_step(&self, index: usize) -> String {
        let Some(step) = self.steps.get(index) else {
            return format!("step {index}");
        };
        let about = match step {
            Step::Detach { slot, .. } => self
                .slots
                .get(usize::from(*slot))
                .map(|slot| slot.path.escaped()),
            Step::Directory { path, .. }
            | Step::Symlink { path, .. }
            | Step::File { path, .. }
            | Step::PluginFile { path, .. }
            | Step::Mask { path }
            | Step::AllowPath { path, .. }
            | Step::ReadOnly { path } => Some(format!("/{}", path.escaped())),
            Step::Bind {
                source: Source::Path { path, .. },
                ..
            } => Some(path.escaped()),
            Step::Bind { target, .. } | Step::Proc { target, .. } | Step::Devpts { target } => {
                Some(format!("/{}", target.escaped()))
            }
            Step::Device { name, .. } => Some(name.escaped()),
            Step::Workdir { path } | Step::Exec { path, .. } => Some(path.escaped()),
            Step::Cgroup { settings } | Step::Sysctls { settings } => {
                let settings: Vec<String> = settings.iter().map(Bytes::escaped).collect();
                (!settings.is_empty()).then(|| settings.join(", "))
            }
            Step::Rlimit { resource, .. } => Some(format!("{resource:?}").to_lowercase()),
            _ => None,
        };
        match about {
            Some(about) => format!("{} {about}", step.word()),
            None => step.word().to_owned(),
        }
    }
}
