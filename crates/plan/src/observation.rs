//! What a guest's calls named while it was observed: facts for whoever writes a
//! manifest, never evidence. The guest chose every name in it and may have lied.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;

/// What was observed in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Observations {
    /// In the order in which each was first seen; alike ones are one row.
    pub rows: Vec<Observation>,
    /// Calls that were looked at.
    pub calls: u64,
    /// Those that had to wait, since too many came at once.
    pub late: u64,
    /// Names that are in no row, for want of room.
    pub unlisted: u64,
    /// Names that could not be read out of the guest.
    pub unread: u64,
}

/// Something that a call named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// What was to be done with it.
    pub intent: Intent,
    /// A path as the jar has it, from its root where that could be told; an
    /// address such as `192.0.2.1:443`, `unix:/run/x` or `unix:@name`; of
    /// [`Intent::Call`] the call itself.
    pub name: Bytes,
    /// The system call by which it was named first.
    pub syscall: String,
    /// The arguments of a call that names nothing, the first time, as `name=value`.
    pub arguments: Vec<String>,
    /// What the filter answered, such as `EPERM`; none where it let the call through,
    /// and what came of it then is the kernel's to know.
    pub answer: Option<String>,
    /// The thread that named it first, as the machine numbers it.
    pub pid: i32,
    /// How often it was named.
    pub count: u64,
}

/// What a call was to do with what it names.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// Learn whether it is there and what it is: stat(2), access(2), readlink(2).
    Look,
    /// Read it, or list it.
    Read,
    /// Write to it, or change what it is; read it perhaps as well.
    Write,
    /// Make it, where it is not there yet.
    Create,
    /// Take the name away.
    Remove,
    /// Start it.
    Execute,
    /// Connect or send to it.
    Connect,
    /// A call that the filter refuses without an event.
    Call,
}

impl Intent {
    /// Every intent.
    pub const ALL: [Self; 8] = [
        Self::Look,
        Self::Read,
        Self::Write,
        Self::Create,
        Self::Remove,
        Self::Execute,
        Self::Connect,
        Self::Call,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Read => "read",
            Self::Write => "write",
            Self::Create => "create",
            Self::Remove => "remove",
            Self::Execute => "execute",
            Self::Connect => "connect",
            Self::Call => "call",
        }
    }
}
