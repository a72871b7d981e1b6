//! Programs that people run, at work in jars: what they computed and made is
//! compared whole, so that a layer which takes something from them fails here.
//!
//! Their sources lie in `programs/sources`, and each part of one prints a line,
//! so that the first missing line tells what was refused.
#![cfg(target_os = "linux")]

#[path = "programs/compilers.rs"]
mod compilers;
#[path = "programs/git.rs"]
mod git;
#[path = "programs/java.rs"]
mod java;
#[path = "programs/memory.rs"]
mod memory;
#[path = "programs/node.rs"]
mod node;
#[path = "programs/plugins.rs"]
mod plugins;
#[path = "programs/python.rs"]
mod python;
#[path = "programs/room.rs"]
mod room;
#[path = "programs/shells.rs"]
mod shells;
#[path = "programs/tools.rs"]
mod tools;
