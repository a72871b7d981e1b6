//! Why a program or plugin could not be verified. Each names the place; text
//! that a plugin wrote appears escaped only.

use std::io;

use belljar_plan::{Bytes, Outcome};
use belljar_policy::path::PathError;

/// Why a program or plugin could not be verified. Nothing was started and
/// nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// This process may not open the files that a launch takes: what would be looked at
    /// would seem not to be there.
    #[error("this process cannot open as many files as a launch takes")]
    Descriptors(#[source] io::Error),
    /// An argument holds a NUL byte.
    #[error("argument {index} contains a NUL byte, which no argument can")]
    ArgumentNul {
        /// Counted from 1, the program's name being 0.
        index: usize,
    },
    /// An argument is longer than the kernel takes; execve(2).
    #[error(
        "argument {index} has {length} bytes; the system takes at most {limit}, so pass it by a file or by standard input"
    )]
    ArgumentTooLong {
        /// Counted from 1, the program's name being 0.
        index: usize,
        /// Bytes.
        length: usize,
        /// Bytes.
        limit: usize,
    },
    /// The program that this process runs cannot be looked at.
    #[error("cannot read this process's own program, /proc/self/exe")]
    Itself(#[source] io::Error),
    /// There is no program name.
    #[error("the program's name is empty")]
    NoProgram,
    /// The current directory cannot be told, so that a relative path means nothing.
    #[error("the current directory cannot be told; write the path from `/`")]
    NoWorkdir(#[source] io::Error),
    /// A path has no normal form.
    #[error("cannot use the path that was given")]
    Path(#[source] PathError),
    /// A path is not UTF-8.
    #[error("path `{}` is not UTF-8, which Belljar's policies and reports need; rename it", path.escaped())]
    NotUtf8 {
        /// The path.
        path: Bytes,
    },
    /// A plugin cannot be opened.
    #[error("cannot open plugin `{path}`")]
    OpenPlugin {
        /// As it was asked for.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A plugin's directory has no manifest.
    #[error("plugin `{directory}` has no belljar.toml or belljar.json")]
    NoManifest {
        /// The directory.
        directory: String,
    },
    /// A manifest cannot be read.
    #[error("cannot read manifest `{path}`")]
    ReadManifest {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A manifest is longer than any needs to be.
    #[error("manifest `{path}` has more than {limit} bytes")]
    ManifestTooLong {
        /// The file.
        path: String,
        /// Bytes.
        limit: u64,
    },
    /// A manifest is not text.
    #[error("manifest `{path}` is not UTF-8 text")]
    ManifestNotText {
        /// The file.
        path: String,
    },
    /// A manifest does not say what it must, or says what it cannot.
    #[error(transparent)]
    Manifest(#[from] belljar_policy::manifest::ManifestError),
    /// A manifest changed between the first look at it and the copy.
    #[error("manifest `{path}` changed while the plugin was read; start it again")]
    ManifestChanged {
        /// The file.
        path: String,
    },
    /// The entry is not there, not a file, or not the plugin's.
    #[error("{manifest}: entry `{entry}` {problem}")]
    Entry {
        /// The manifest.
        manifest: String,
        /// The entry, as the manifest has it.
        entry: String,
        /// What is the matter with it.
        problem: EntryProblem,
    },
    /// A file of a plugin cannot be read.
    #[error("cannot read plugin file `{path}`")]
    ReadFile {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A plugin holds what is neither file, directory nor link.
    #[error(
        "plugin file `{path}` is a {kind}; a plugin may hold files, directories and links only"
    )]
    FileKind {
        /// The file.
        path: String,
        /// The word for it.
        kind: &'static str,
    },
    /// A plugin's links lead in a circle.
    #[error("link `{path}` leads in a circle")]
    Circle {
        /// The link.
        path: String,
    },
    /// A plugin is larger than one may be.
    #[error(
        "plugin `{directory}` has more than {limit} {unit}; name a directory that holds the plugin alone"
    )]
    TooLarge {
        /// The plugin.
        directory: String,
        /// The bound.
        limit: u64,
        /// Of what.
        unit: &'static str,
    },
    /// The sealed image cannot be made.
    #[error("cannot make the image of the plugin's files")]
    Image(#[source] io::Error),
    /// The program is there and cannot be started.
    #[error("`{}` cannot be run: {reason}", path.escaped())]
    NotRunnable {
        /// The program.
        path: Bytes,
        /// What the kernel would say; errno(3).
        errno: i32,
        /// Why, with the remedy.
        reason: String,
    },
}

/// What is the matter with a plugin's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryProblem {
    /// There is no such file.
    #[error("does not exist in the plugin's directory")]
    Missing,
    /// It leads out of the plugin's directory.
    #[error("leads out of the plugin's directory; copy the file into it")]
    Leaves,
    /// Its links lead in a circle.
    #[error("is a link that leads in a circle")]
    Circle,
    /// It is a directory.
    #[error("is not a file")]
    NotFile,
}

impl VerifyError {
    /// The outcome that a report of this launch carries; none for bad usage,
    /// since then no launch began.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::NotRunnable { path, errno, .. } => Some(Outcome::NotRunnable {
                path: path.clone(),
                errno: *errno,
            }),
            _ => None,
        }
    }
}
