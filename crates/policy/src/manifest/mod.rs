//! What a plugin asks for: `belljar.toml`, or the same in JSON.

use std::collections::BTreeMap;

use belljar_plan::Limit;
use semver::Version;

use crate::{
    group::Group,
    path::{PathError, UnixPath},
    units::UnitError,
};

mod file;
mod limits;

pub(crate) use self::{file::is_variable, limits::LimitsTable};
pub use crate::parse::{Format, MOST_BYTES, ParseError};

/// A plugin's manifest, read and checked. What it asks for is not yet granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The manifest's file, for messages.
    pub file: String,
    /// `[plugin]`
    pub plugin: PluginSection,
    /// `capabilities = […]`: permissions of the host's API, by name.
    pub capabilities: Vec<Request<String>>,
    /// `[limits]`
    pub limits: BTreeMap<Limit, Request<Bound>>,
    /// `[filesystem] read`
    pub read: Vec<Request<Place>>,
    /// `[filesystem] read`: groups such as `toolchain:node`
    pub groups: Vec<Request<Group>>,
    /// `[filesystem] write`
    pub write: Vec<Request<Place>>,
    /// `[network] connect`: names and ports, as written.
    pub connect: Vec<Request<String>>,
    /// `[process] subprocesses`
    pub subprocesses: Option<Request<()>>,
    /// `[process] jit`
    pub jit: Option<Request<()>>,
    /// `[env] set`
    pub set: BTreeMap<String, Request<String>>,
    /// `[env] pass`
    pub pass: Vec<Request<String>>,
}

/// `[plugin]`: who it is and how it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSection {
    /// Letters, digits, `-`, `_` and `.`; at most 128.
    pub name: String,
    /// Semantic version.
    pub version: Version,
    /// The file to run, relative to the manifest's directory, never above it.
    pub entry: String,
    /// Arguments before those of the command line.
    pub args: Vec<String>,
    /// `native` (a program or script of the machine); others are refused until they are built.
    pub runtime: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// For people.
    pub authors: Vec<String>,
    /// SPDX expression, for people.
    pub license: Option<String>,
    /// For people.
    pub homepage: Option<String>,
}

/// Something asked for, with where it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<T> {
    /// What.
    pub value: T,
    /// Without it the plugin still runs.
    pub optional: bool,
    /// Where, such as `belljar.toml line 7`.
    pub origin: String,
}

/// A path asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// On the machine.
    pub path: UnixPath,
    /// In the jar; the same where not given.
    pub at: Option<UnixPath>,
}

/// A limit: a value, or `{ soft, hard }`. Units are those of [`Limit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Where an event is raised.
    pub soft: Option<u64>,
    /// Where it is enforced.
    pub hard: Option<u64>,
    /// `action = "stop"`: hitting it ends the jar.
    pub stop: bool,
}

/// Why a text is no manifest. Each names the file and line, or key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read as a manifest's file.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A limit that is none.
    #[error("{origin}")]
    Unit {
        /// The place.
        origin: String,
        /// What is the matter with it.
        #[source]
        source: UnitError,
    },
    /// A path that is none.
    #[error("{origin}")]
    Path {
        /// The place.
        origin: String,
        /// What is the matter with it.
        #[source]
        source: PathError,
    },
    /// A value that cannot be.
    #[error("{origin}: {reason}")]
    Value {
        /// The place.
        origin: String,
        /// What is the matter, with a right form.
        reason: String,
    },
    /// Something that this version does not have.
    #[error("{origin}: {what} is unsupported in this version")]
    Unsupported {
        /// The place.
        origin: String,
        /// What.
        what: String,
    },
}

impl Manifest {
    /// Reads a manifest; `file` is its name for messages.
    ///
    /// # Errors
    /// Where the text is no manifest, with the place and what would be right.
    ///
    /// ```
    /// use belljar_policy::manifest::{Format, Manifest};
    /// let text = r#"
    ///     [plugin]
    ///     name = "wordcount"
    ///     version = "1.0.0"
    ///     entry = "run.sh"
    /// "#;
    /// let manifest = Manifest::parse(text, Format::Toml, "belljar.toml")?;
    /// assert_eq!(manifest.plugin.entry, "run.sh");
    /// # Ok::<(), belljar_policy::manifest::ManifestError>(())
    /// ```
    pub fn parse(text: &str, format: Format, file: &str) -> Result<Self, ManifestError> {
        file::parse(text, format, file)
    }
}

/// The JSON Schema of a manifest's file.
#[must_use]
pub fn schema() -> schemars::Schema {
    crate::parse::schema::<file::ManifestFile>()
}
