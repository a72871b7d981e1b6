//! What the integration tests share: finding the programs, running jars and
//! bare controls, and seeing that nothing is left behind.
//!
//! Every test runs as root and as an ordinary user; `cargo xtask test` does
//! both. No test writes below the source tree.
#![cfg(target_os = "linux")]

mod leftovers;
mod need;
mod plugin;
mod programs;
mod run;
mod tasks;
mod vm;

pub use leftovers::{Leftovers, output, spawn};
pub use need::{Need, is_root, need};
pub use plugin::Plugin;
pub use programs::{belljar, guest, source_tree, toolchain};
pub use run::{Bare, Ended, Jar, Started, bare, bare_with_input, both_presets, jar, unshared};
pub use tasks::{
    Ids, alive, children, command_line, descendants, ids, is_namespace_root, kill, task_with_word,
    wait_until,
};
pub use vm::{Vm, VmCommand, VmEnd, VmResult, vm};
