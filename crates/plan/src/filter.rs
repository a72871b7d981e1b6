//! What a jar's filter of system calls is made of. The compiler makes the
//! program of it before a launch, and the evaluator answers for it afterwards:
//! both read this, so that an explanation is of what was enforced.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rule::Preset;

/// The filter of one plan; seccomp(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Processor architecture as `uname -m` says it.
    pub machine: String,
    /// Whose list it is.
    pub preset: Preset,
    /// Which programs may be started.
    pub exec: Exec,
    /// Whether code may be made while the program runs.
    pub code: Code,
    /// What unix sockets may reach.
    pub unix: Unix,
    /// Whether sockets of the internet protocols may be made.
    pub internet: bool,
    /// Whether objects of System V and POSIX may be made: the jar has a namespace
    /// of its own for them.
    pub objects: bool,
    /// Calls that a policy allows beyond the preset's list, sorted.
    pub allow: Vec<String>,
    /// Calls that a policy takes from it, sorted.
    pub deny: Vec<String>,
    /// Rare denials are told to the supervisor, which answers them. Without it
    /// the same calls fail with the same errors, unseen.
    pub events: bool,
    /// Calls that name a file, a program or an address are shown to the supervisor on
    /// their way, and go on whatever it sees; it answers quiet denials as well.
    pub observe: bool,
}

/// Which programs may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exec {
    /// Any that can be seen.
    Any,
    /// The plugin, once.
    Once,
    /// None: the process that the filter is put on runs already.
    None,
}

/// Whether code may be made while the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Memory may be written and executed.
    Any,
    /// No memory that was written becomes executable.
    Fixed,
    /// The same, with mprotect(2) left to `PR_SET_MDWE`: on aarch64 a libc marks
    /// executable memory as protected by that call.
    FixedByMdwe,
    /// No memory becomes executable at all, of a file neither: what is loaded is all the
    /// code that there will be.
    Closed,
}

/// What unix sockets may reach; unix(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unix {
    /// Whatever can be seen: no socket of the machine can.
    Visible,
    /// Only each other: pairs that are connected from the start.
    Pairs,
    /// What the supervisor connects them to, after it has looked at a copy of the address.
    Performed,
}
