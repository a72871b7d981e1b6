//! The decision: what a plugin asks for, what its operator grants, what the
//! machine can hold, and the plan that follows.
//!
//! - [`manifest`]: what a plugin asks for.
//! - [`policy`]: what an operator grants at most: preset, files, flags.
//! - [`verified`]: what was found about the program and the paths it needs.
//! - [`facts`]: what the machine can enforce.
//! - [`effective`]: (manifest ∩ policy) ∪ flags.
//! - [`group`]: named groups of paths, such as `toolchain:node`.
//! - [`risk`]: how dangerous a grant is.
//! - [`learn`]: what a run that was observed lacked, and the smallest grants for that.
//! - [`seccomp`]: which system calls a jar may make, compiled to the kernel's form.
//! - [`trial`]: launches of nothing, by which a machine is tried.
//! - [`why`]: what becomes of an attempt in a plan's jar, and by whose word.
//! - [`confine`]: the same for a process that lays a policy upon itself.
//! - [`plan()`]: the one function that turns all of it into a [`Plan`](belljar_plan::Plan).
//!
//! Nothing here does I/O, holds unsafe code or depends on the system that it is
//! compiled for: a plan for any machine can be made on any machine, and the
//! same input gives the same bytes.
#![forbid(unsafe_code)]

pub mod effective;
pub mod facts;
pub mod group;
pub mod learn;
pub mod manifest;
mod parse;
pub mod path;
mod planner;
pub mod policy;
pub mod processors;
pub mod refusal;
pub mod risk;
pub mod seccomp;
pub mod trial;
pub mod units;
pub mod verified;
pub mod why;

pub use belljar_plan as data;

pub use self::{
    facts::HostFacts,
    manifest::Manifest,
    path::UnixPath,
    planner::{Change, change, confine, digest, plan, together},
    policy::{Flags, Policy},
    refusal::Refusal,
    verified::Verified,
};
