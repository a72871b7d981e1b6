//! What an operator grants at most: a preset, policy files, flags.

use std::collections::{BTreeMap, BTreeSet};

use belljar_plan::{Bytes, Limit, Namespaces, Preset, Rule, Strength};

use crate::{
    manifest::{Bound, Place},
    path::UnixPath,
};

/// Everything that an operator has said.
///
/// The least that can be said is a preset, or nothing: then a plugin runs
/// `strict` and a bare program `standard`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `preset`, with where it was said. A flag goes before it.
    pub preset: Option<Said<Preset>>,
    /// The file's ceilings; none where no file was given: then the preset is the policy.
    pub ceilings: Option<Ceilings>,
    /// Ceilings for single plugins, `[plugins.NAME]`: each replaces what it mentions.
    pub plugins: BTreeMap<String, Policy>,
    /// `[require]`, `--require`
    pub require: BTreeMap<Rule, Said<Strength>>,
    /// `--best-effort`, and `[require] RULE = "best-effort"`
    pub best_effort: BTreeMap<Rule, String>,
    /// `[linux]`
    pub linux: LinuxPolicy,
    /// `[seccomp]`
    pub seccomp: SeccompPolicy,
    /// The operator's explicit words for this one launch.
    pub flags: Flags,
}

/// A value and where it was said, such as `policy.toml line 4` or `--memory`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said<T> {
    /// What.
    pub value: T,
    /// Where.
    pub origin: String,
}

/// What a policy file lets plugins have at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// The policy's file, for messages.
    pub file: String,
    /// `[filesystem] read`: these and all below may be read.
    pub read: Vec<Said<UnixPath>>,
    /// `[filesystem] write`: these and all below may be read and written.
    pub write: Vec<Said<UnixPath>>,
    /// `[filesystem] deny`: these and all below may not be seen, whatever else is said.
    pub deny: Vec<Said<UnixPath>>,
    /// `[limits]`: no plugin or flag gets more.
    pub limits: BTreeMap<Limit, Said<Bound>>,
    /// `[process] subprocesses`
    pub subprocesses: Option<Said<bool>>,
    /// `[process] jit`
    pub jit: Option<Said<bool>>,
    /// `[env] set`: names that a manifest may set; none means any harmless name.
    pub set: Option<Vec<Said<String>>>,
    /// `[env] pass`: names that may be passed from the caller.
    pub pass: Vec<Said<String>>,
    /// `[env] deny`
    pub deny_env: Vec<Said<String>>,
    /// `[network] connect`, as written.
    pub connect: Vec<Said<String>>,
    /// `capabilities`: permissions of the host's API; none where not said.
    pub capabilities: Option<BTreeSet<String>>,
}

/// `[linux]`: each of these makes a jar weaker, and the plan names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinuxPolicy {
    /// `namespaces`: only these; all seven where not said.
    pub namespaces: Option<Said<Namespaces>>,
    /// `caps.keep`: capability numbers, as bits.
    pub keep: Option<Said<u64>>,
    /// `caps.ambient`
    pub ambient: Option<Said<u64>>,
    /// `uid_range`: machine uids for jars that root starts: first and count.
    pub uid_range: Option<Said<(u32, u32)>>,
}

/// `[seccomp]`: kept for the filters; until they land a policy that uses it is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeccompPolicy {
    /// `allow`
    pub allow: Vec<Said<String>>,
    /// `deny`
    pub deny: Vec<Said<String>>,
}

/// An operator's explicit words for one launch: the command line's flags, or
/// the library's builder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--preset`
    pub preset: Option<Preset>,
    /// `--read`
    pub read: Vec<Place>,
    /// `--write`
    pub write: Vec<Place>,
    /// `--env`
    pub set: Vec<(String, Bytes)>,
    /// `--pass-env`
    pub pass: Vec<String>,
    /// `--workdir`
    pub workdir: Option<UnixPath>,
    /// `--user`
    pub user: Option<(u32, u32)>,
    /// `--hostname`
    pub hostname: Option<String>,
    /// `--memory` and the other limits; `hard: None` is the flag's `none`.
    pub limits: BTreeMap<Limit, Bound>,
    /// `--tty`: rows and columns of the jar's own terminal.
    pub terminal: Option<(u16, u16)>,
}
