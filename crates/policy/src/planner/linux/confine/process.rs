//! What a process is that confines itself, as far as what holds it depends on it.

use std::collections::BTreeMap;

use crate::path::UnixPath;

/// Code that a process has mapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Some of it can be written, or is shared with who writes it.
    pub writable: bool,
    /// The files that it is of.
    pub files: Vec<UnixPath>,
}

/// What is known of the process that confines itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// How many threads it has. Landlock and capset(2) hold the calling one alone.
    pub threads: usize,
    /// Some of them have filters that others have not: no filter can be put on all.
    pub filtered_apart: bool,
    /// It has a capability in one of its sets but the bounding one.
    pub capabilities: bool,
    /// It may empty the bounding set: it has `CAP_SETPCAP`.
    pub bounding: bool,
    /// What becomes of it.
    pub start: Start,
    /// The descriptors that it keeps, 0, 1 and 2 among them.
    pub held: Vec<Held>,
    /// A descriptor that it does not keep and whose number is not below its soft limit of
    /// open files: nothing can be put in its place.
    pub beyond_limit: Option<i32>,
    /// Where a procfs is mounted: by it a process writes its own memory.
    pub procs: Vec<UnixPath>,
    /// Its code, as far as it is mapped already.
    pub mapped: Mapped,
    /// What is in the directories that [`listed`](super::listed) names, as far as it can be seen.
    pub entries: BTreeMap<UnixPath, Vec<Entry>>,
}

/// What becomes of a process that confines itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It goes on as the program that it is.
    Stays,
    /// It becomes the program that was verified, at once.
    Executes,
}

/// A descriptor that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its number.
    pub number: i32,
    /// What it leads to.
    pub kind: HeldKind,
}

/// What a descriptor leads to, as far as that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldKind {
    /// A directory, or a path alone (`O_PATH`).
    Place,
    /// A regular file that is open for writing; with `read` also for reading.
    WrittenFile {
        /// Code could be mapped of it that was written to it.
        read: bool,
    },
    /// A unix socket that is not bound to one peer for good: it could be connected to another
    /// of the machine's, or sent from to one.
    LooseSocket,
    /// Anything else.
    Other,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Without the directory.
    pub name: String,
    /// What it is; links are left out.
    pub directory: bool,
}
