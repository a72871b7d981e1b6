//! The contract between Belljar's parent and child: data only.
//!
//! - [`rule`]: the closed list of promises, and how strongly each can be kept.
//! - [`step`]: one action of a launch; a plan is an ordered list of them.
//! - [`wire`]: the bytes in which the parent hands steps to the launcher.
//! - [`message`]: the fixed records that parent, launcher and pid 1 exchange.
//! - [`probe`]: what `prove` has tried in a jar, and how that is answered.
//! - `plan`, `filter`, `landlock`, `confined`, `event`, `outcome`, `observation`, `report`, `answer`, `proof` (feature
//!   `host`): what is decided before a run, and what is told of it.
//!
//! This crate decides nothing and does no I/O. Without the feature `host` it
//! needs neither `std` nor an allocator: the launcher reads a plan in place.
#![cfg_attr(not(any(test, feature = "host")), no_std)]
#![forbid(unsafe_code)]

pub mod message;
pub mod probe;
pub mod rule;
pub mod step;
pub mod wire;

#[cfg(feature = "host")]
pub mod answer;
#[cfg(feature = "host")]
mod bytes;
#[cfg(feature = "host")]
pub mod confined;
#[cfg(feature = "host")]
pub mod event;
#[cfg(feature = "host")]
pub mod filter;
#[cfg(feature = "host")]
pub mod landlock;
#[cfg(feature = "host")]
pub mod observation;
#[cfg(feature = "host")]
pub mod outcome;
#[cfg(feature = "host")]
pub mod plan;
#[cfg(feature = "host")]
pub mod proof;
#[cfg(feature = "host")]
pub mod report;
#[cfg(feature = "host")]
pub mod usage;

#[cfg(feature = "host")]
pub use self::{
    answer::Answer, bytes::Bytes, confined::Confined, event::Event, filter::Filter,
    landlock::Landlock, observation::Observations, outcome::Outcome, plan::Plan, proof::Proof,
    report::Report,
};
pub use self::{
    rule::{Limit, Preset, Rule, Strength},
    step::{Attributes, Namespaces, Resource, Source, Step},
};
