//! The guests of Linux, and what they are made of.

pub(crate) mod abi;
pub(crate) mod arch;
pub(crate) mod bombs;
pub(crate) mod calls;
pub(crate) mod descriptors;
pub(crate) mod files;
pub(crate) mod filters;
pub(crate) mod first;
pub(crate) mod ipc;
pub(crate) mod jars;
pub(crate) mod kernel;
pub(crate) mod memory;
pub(crate) mod mounts;
pub(crate) mod names;
pub(crate) mod namespaces;
pub(crate) mod obey;
pub(crate) mod plain;
pub(crate) mod privileges;
pub(crate) mod programs;
pub(crate) mod races;
pub(crate) mod resources;
pub(crate) mod rights;
pub(crate) mod ring;
pub(crate) mod sockets;
pub(crate) mod spend;
pub(crate) mod system;
pub(crate) mod tasks;
pub(crate) mod terminal;
pub(crate) mod time;
pub(crate) mod tracing;
pub(crate) mod tries;
pub(crate) mod unix;
pub(crate) mod verdict;

pub use verdict::Verdict;
