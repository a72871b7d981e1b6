//! What only an examination of the machine finds: what `belljar doctor` tries
//! and reads besides, and no launch depends on yet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Ability;
use crate::path::UnixPath;

/// Found by `belljar doctor`, and by no launch: it takes longer than a launch may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Examined {
    /// Kinds of steps of a launch that were done here, by their names in plans and in
    /// order. What is not among them was not tried, or failed.
    pub done: Vec<String>,
    /// The caller's place among the machine's cgroups.
    pub cgroups: Cgroups,
    /// Ids beyond the caller's own can be mapped: by root itself, and for others where
    /// there are some and newuidmap(1).
    pub more_ids: Ability,
    /// Uids beyond the caller's own that the machine lets it map; subuid(5).
    pub subuids: Vec<IdRange>,
    /// The same for gids; subgid(5).
    pub subgids: Vec<IdRange>,
    /// Places of different file systems, and whether a mount of each takes the
    /// ids of a jar; as root only.
    pub idmapped: Vec<Idmapped>,
    /// The kernel's switches that bear on jars, those that exist here, by name.
    pub switches: Vec<Switch>,
}

/// What cgroup version 2 gives the caller; cgroups(7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cgroups {
    /// Which versions are mounted.
    pub hierarchy: Hierarchy,
    /// Where version 2 is mounted.
    pub mount: Option<String>,
    /// The caller's own cgroup of version 2, as a directory.
    pub own: Option<String>,
    /// A cgroup can be made below the caller's own: one was, and was removed.
    pub children: Ability,
    /// Controllers that the caller's own cgroup has, by the kernel's names.
    pub controllers: Vec<String>,
    /// Those that a new cgroup has at once, and could hand on to cgroups in it.
    pub delegated: Vec<String>,
    /// Files that a new cgroup has without any controller, such as `cgroup.kill`.
    pub files: Vec<String>,
}

/// How a machine has its cgroups mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hierarchy {
    /// Not at all, as far as can be seen.
    None,
    /// Version 1 alone.
    V1,
    /// Both: version 1 holds some of the controllers.
    Hybrid,
    /// Version 2 alone.
    V2,
}

/// So many ids from one on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdRange {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// Whether a mount of a place takes the ids of a jar; mount_setattr(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Idmapped {
    /// A directory of the file system.
    pub path: UnixPath,
    /// It was tried.
    pub is_possible: Ability,
}

/// A switch of the kernel and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// A sysctl's name, or the file that tells.
    pub name: String,
    /// As the kernel says it, without the end of the line.
    pub value: String,
}
