//! What the integration tests share: finding the programs, running jars and
//! bare controls, and seeing that nothing is left behind.
//!
//! Every test runs as root and as an ordinary user; `cargo xtask test` does
//! both. No test writes below the source tree.
#![cfg(target_os = "linux")]

mod attack;
mod bare;
mod faulty;
mod leftovers;
mod need;
mod plugin;
mod programs;
mod run;
mod tasks;
mod vm;
mod worse;

pub use bare::{Bare, bare, bare_with_input, unshared};
pub use faulty::{Actor, Fault, FaultyHost, How, Point, Points, Told};
pub use leftovers::{Leftovers, output, spawn};
pub use need::{Need, is_root, need};
pub use plugin::Plugin;
pub use programs::{
    belljar, broken_belljar, faulty_belljar, faulty_host, guest, pipeline, source_tree, toolchain,
};
pub use run::{Ended, Jar, Started, both_presets, jar};
pub use tasks::{
    Ids, alive, children, command_line, descendants, ids, is_namespace_root, kill, task_with_word,
    wait_until,
};
pub use vm::{KernelName, Vm, VmCommand, VmEnd, VmResult, begun, on_each, vm};
pub use worse::{in_a_container, program_without_namespaces, without_namespaces};
