//! The filter of system calls: which calls a jar may make, decided here, compiled
//! to the kernel's form, and answered for by the same data; seccomp(2).
//!
//! Terms:
//! - a [`Call`] is a system call by name and group, with its number on each
//!   architecture;
//! - a [`Decision`] is what becomes of one call: clauses that look at arguments,
//!   in order, and what holds where none of them does;
//! - a [`Filter`] is a decision for every number, made of a plan's
//!   [`Filter`](belljar_plan::Filter);
//! - [`Filter::compile`] makes the program for the kernel: architecture first,
//!   then a balanced tree over ranges of numbers, then arguments by their 32-bit
//!   halves;
//! - [`Filter::evaluate`] says what that program answers, for tests, for the
//!   supervisor that answers in the kernel's stead, and for explanations.
//!
//! Nothing here does I/O or depends on the system it is compiled for.

mod arguments;
mod bpf;
mod calls;
mod compile;
mod decode;
mod docs;
mod filter;
mod group;
mod names;
mod observed;
#[cfg(test)]
mod tests;

use belljar_plan::Rule;

pub use self::{
    bpf::{Instruction, Program},
    calls::{ALL as CALLS, Call},
    decode::decode,
    docs::page,
    filter::{
        Attempt, CANARY, Check, Clause, Decision, Filter, FilterError, OF_A_LAUNCH, Secrets, Test,
        denials, kept_by,
    },
    group::Group,
    observed::Named,
};

/// A processor architecture with the tables of which a filter can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86; its x32 calls and those of 32-bit programs are refused.
    X86_64,
    /// 64-bit Arm; calls of 32-bit programs are refused.
    Aarch64,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The one of a machine's name, as `uname -m` says it.
    #[must_use]
    pub fn of_machine(machine: &str) -> Option<Self> {
        match machine {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// `AUDIT_ARCH_*`, as a filter sees it; `<linux/audit.h>`.
    #[must_use]
    pub const fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The kernel does it.
    Allow,
    /// The kernel does it, after the supervisor has looked at what it names.
    Observe,
    /// It fails.
    Deny(Denial),
    /// The supervisor does it, on its own copy of what the arguments point to.
    Perform,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What it answers.
    pub errno: Errno,
    /// Whether anybody hears of it.
    pub seen: Seen,
    /// Whose promise it would have broken.
    pub rule: Rule,
    /// What was tried, in a few words.
    pub what: &'static str,
}

/// Whether a denial is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is an event, where the supervisor can listen.
    Told,
    /// It is not: libraries probe for it, or ordinary programs do it often. Only where
    /// a jar is observed it is noted.
    Quiet,
    /// It never is: libcs probe for it at every turn, and the launcher before anybody
    /// listens.
    Never,
}

/// What a denied call answers; errno(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Errno {
    /// None: it is said to be done.
    Done = 0,
    /// Not permitted.
    Perm = 1,
    /// Invalid argument: what a kernel without that option says.
    Inval = 22,
    /// Inappropriate request: what a device without that request says.
    Notty = 25,
    /// What an older kernel says, for calls that libcs probe.
    Nosys = 38,
    /// What a kernel without that option of a protocol says.
    Noprotoopt = 92,
    /// What a kernel without that protocol says.
    Protonosupport = 93,
}

impl Errno {
    /// Its number; the same on both architectures.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "success",
            Self::Perm => "EPERM",
            Self::Inval => "EINVAL",
            Self::Notty => "ENOTTY",
            Self::Nosys => "ENOSYS",
            Self::Noprotoopt => "ENOPROTOOPT",
            Self::Protonosupport => "EPROTONOSUPPORT",
        }
    }
}
