//! What an operator grants at most: a preset, policy files, flags.

use std::collections::{BTreeMap, BTreeSet};

use belljar_plan::{Bytes, Limit, Namespaces, Preset, Rule, Strength};

use crate::{
    group::Group,
    manifest::{self, Bound, ManifestError, Place},
    path::{PathError, UnixPath},
    processors::Processors,
    units::UnitError,
};

mod builder;
pub(crate) mod caps;
mod extends;
mod file;
mod host;
mod lines;
mod merge;
mod warnings;

pub use self::{
    builder::BuildError,
    extends::{ExtendsError, MOST_DEEP, MOST_FILES, ReadError, Source},
    lines::Line,
    warnings::Warning,
};
pub use crate::parse::{Format, MOST_BYTES, ParseError};

/// Everything that an operator has said.
///
/// The least that can be said is a preset, or nothing: then a plugin runs
/// `strict` and a bare program `standard`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `preset`, with where it was said. A flag goes before it.
    pub preset: Option<Said<Preset>>,
    /// The file's ceilings; none where no file was given: then the preset is the policy.
    pub ceilings: Option<Ceilings>,
    /// Ceilings for single plugins, `[plugins.NAME]`: each replaces what it mentions.
    pub plugins: BTreeMap<String, Policy>,
    /// `[host]`: what all jars of one host may have together.
    pub host: BTreeMap<Limit, Said<u64>>,
    /// `[require]`, `--require`
    pub require: BTreeMap<Rule, Said<Strength>>,
    /// `--best-effort`, and `[require] RULE = "best-effort"`
    pub best_effort: BTreeMap<Rule, String>,
    /// `[linux]`
    pub linux: LinuxPolicy,
    /// `[seccomp]`
    pub seccomp: SeccompPolicy,
    /// `end_on` and `--end-on`: rules whose violation ends the jar, and where that was said.
    pub end_on: BTreeMap<Rule, String>,
    /// The operator's explicit words for this one launch.
    pub flags: Flags,
}

/// A value and where it was said, such as `policy.toml line 4` or `--memory`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said<T> {
    /// What.
    pub value: T,
    /// Where.
    pub origin: String,
}

/// What a policy file lets plugins have at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// The policy's file, for messages.
    pub file: String,
    /// `[filesystem] read`: these and all below may be read.
    pub read: Vec<Said<UnixPath>>,
    /// `[filesystem] read`: what of these groups is there may be read.
    pub groups: Vec<Said<Group>>,
    /// `[filesystem] write`: these and all below may be read and written.
    pub write: Vec<Said<UnixPath>>,
    /// `[filesystem] deny`: these and all below may not be seen, whatever else is said.
    pub deny: Vec<Said<UnixPath>>,
    /// `[limits]`: no plugin or flag gets more.
    pub limits: BTreeMap<Limit, Said<Bound>>,
    /// `[process] subprocesses`
    pub subprocesses: Option<Said<bool>>,
    /// `[process] jit`
    pub jit: Option<Said<bool>>,
    /// `[env] set`: names that a manifest may set; none means any harmless name.
    pub set: Option<Vec<Said<String>>>,
    /// `[env] pass`: names that may be passed from the caller.
    pub pass: Vec<Said<String>>,
    /// `[env] deny`
    pub deny_env: Vec<Said<String>>,
    /// `[network] connect`, as written.
    pub connect: Vec<Said<String>>,
    /// `capabilities`: permissions of the host's API; none where not said.
    pub capabilities: Option<BTreeSet<String>>,
    /// The lists that the file mentions, such as `filesystem.read`, with their
    /// places: a list that is not said bounds no flag, and an empty one bounds all.
    pub said: BTreeMap<String, String>,
}

/// `[linux]`: each of these makes a jar weaker, and the plan names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinuxPolicy {
    /// `namespaces`: only these; all seven where not said.
    pub namespaces: Option<Said<Namespaces>>,
    /// `caps.keep`: capability numbers, as bits.
    pub keep: Option<Said<u64>>,
    /// `caps.ambient`
    pub ambient: Option<Said<u64>>,
    /// `uid_range`: machine uids for jars that root starts: first and count.
    pub uid_range: Option<Said<(u32, u32)>>,
    /// `cpuset`: the processors that jars may run on.
    pub cpuset: Option<Said<Processors>>,
}

/// `[seccomp]`: system calls by name, each known; deny beats allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeccompPolicy {
    /// `allow`
    pub allow: Vec<Said<String>>,
    /// `deny`
    pub deny: Vec<Said<String>>,
}

/// An operator's explicit words for one launch: the command line's flags, or
/// the library's builder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--preset`
    pub preset: Option<Preset>,
    /// `--read`
    pub read: Vec<Place>,
    /// `--read group:NAME` and `--read toolchain:NAME`
    pub groups: Vec<Group>,
    /// `--write`
    pub write: Vec<Place>,
    /// `--env`
    pub set: Vec<(String, Bytes)>,
    /// `--pass-env`
    pub pass: Vec<String>,
    /// `--workdir`
    pub workdir: Option<UnixPath>,
    /// `--user`
    pub user: Option<(u32, u32)>,
    /// `--hostname`
    pub hostname: Option<String>,
    /// `--cpuset`: the processors that it may run on.
    pub cpuset: Option<Processors>,
    /// `--memory` and the other limits; `hard: None` is the flag's `none`.
    pub limits: BTreeMap<Limit, Bound>,
    /// `--tty`: rows and columns of the jar's own terminal.
    pub terminal: Option<(u16, u16)>,
    /// `--allow`: rights of `[process]`.
    pub allow: BTreeSet<Right>,
    /// `--observe`: what its calls name is looked at and told in the report.
    pub observe: bool,
}

/// A right of `[process]`, which `strict` has a rule against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Other programs may be started.
    Subprocesses,
    /// Memory may be writable and executable.
    Jit,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 2] = [Self::Subprocesses, Self::Jit];

    /// Its name in manifests, policies and flags.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Subprocesses => "subprocesses",
            Self::Jit => "jit",
        }
    }

    /// The rule that it gives up.
    #[must_use]
    pub const fn rule(self) -> Rule {
        match self {
            Self::Subprocesses => Rule::Exec,
            Self::Jit => Rule::WritableCode,
        }
    }

    /// The right that is called so.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.word() == word)
    }

    /// What an operator writes to give it.
    #[must_use]
    pub fn remedy(self) -> String {
        let word = self.word();
        format!(
            "grant it: say `--allow {word}`, or have the plugin ask for it (`{word} = true` under `[process]` in its \
             manifest) and a policy file grant it (the same line there)"
        )
    }
}

/// Why a text is no policy. Each names the file and line, or key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It cannot be read as a policy's file.
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
    /// A value that cannot be, or that can never apply.
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
    /// A file that is extended cannot be.
    #[error("{origin}: cannot extend `{file}`")]
    Extends {
        /// The place that extends it.
        origin: String,
        /// The file's name, made from the extending file's directory.
        file: String,
        /// Why not.
        #[source]
        source: ExtendsError,
    },
    /// A file that is extended is no policy.
    #[error("in {file}, extended at {origin}")]
    Extended {
        /// The file.
        file: String,
        /// The place that extends it.
        origin: String,
        /// What is the matter with it.
        #[source]
        source: Box<PolicyError>,
    },
}

/// Limits are written alike in both files.
impl From<ManifestError> for PolicyError {
    fn from(error: ManifestError) -> Self {
        match error {
            ManifestError::Parse(error) => Self::Parse(error),
            ManifestError::Unit { origin, source } => Self::Unit { origin, source },
            ManifestError::Path { origin, source } => Self::Path { origin, source },
            ManifestError::Value { origin, reason } => Self::Value { origin, reason },
            ManifestError::Unsupported { origin, what } => Self::Unsupported { origin, what },
        }
    }
}

impl Policy {
    /// Whether a file's lists bound the paths that flags may grant.
    #[must_use]
    pub fn bounds_paths(&self) -> bool {
        self.ceilings
            .as_ref()
            .is_some_and(|file| crate::effective::bounds(file).is_some())
    }

    /// Reads a policy; `file` is its name for messages. With `table`, only the
    /// table of that dotted name is read, so that a policy can stand in a
    /// host's own configuration.
    ///
    /// # Errors
    /// Where the text is no policy, with the place and what would be right.
    ///
    /// ```
    /// use belljar_policy::policy::{Format, Policy};
    /// let text = r#"
    ///     port = 8080
    ///     [security]
    ///     preset = "strict"
    ///     filesystem.read = ["/srv/data"]
    ///     limits.memory = "256MiB"
    /// "#;
    /// let policy = Policy::parse(text, Format::Toml, "app.toml", Some("security"))?;
    /// assert_eq!(policy.ceilings.unwrap().read[0].origin, "app.toml line 5");
    /// # Ok::<(), belljar_policy::policy::PolicyError>(())
    /// ```
    pub fn parse(
        text: &str,
        format: Format,
        file: &str,
        table: Option<&str>,
    ) -> Result<Self, PolicyError> {
        let parsed = file::parse(text, format, file, table)?;
        match parsed.extends.first() {
            None => Ok(parsed.policy),
            Some(said) => Err(file::bad(
                &said.origin,
                "it extends another file, which cannot be read here; load it with `Policy::load`",
            )),
        }
    }

    /// Reads a policy with every file that it extends. `file` is its name, for
    /// messages and as the place from which the others' names are taken; `read`
    /// reads one of those by name.
    ///
    /// What a file says is added to what the files under it say; where only one
    /// can be right its word counts, and nobody takes back what one of them denies.
    /// See `docs/policy.md`.
    ///
    /// # Errors
    /// As [`Policy::parse`], and where a file cannot be read, extends itself, or
    /// says what can never apply over what it extends.
    ///
    /// ```
    /// use belljar_policy::policy::{Policy, ReadError, Source};
    /// let text = |text: &str, name: &str| Source { text: text.into(), identity: name.into() };
    /// let top = text("extends = [\"base.toml\"]\nfilesystem.read = [\"/srv/b\"]", "etc/app.toml");
    /// let policy = Policy::load(top, "etc/app.toml", None, &mut |name| match name {
    ///     "etc/base.toml" => Ok(text("filesystem.read = [\"/srv/a\"]", name)),
    ///     _ => Err(ReadError::System("there is no such file".into())),
    /// })?;
    /// let read = policy.ceilings.unwrap().read;
    /// assert_eq!(read[0].origin, "etc/base.toml line 1, extended at etc/app.toml line 1");
    /// assert_eq!(read[1].origin, "etc/app.toml line 2");
    /// # Ok::<(), belljar_policy::policy::PolicyError>(())
    /// ```
    pub fn load(
        top: Source,
        file: &str,
        table: Option<&str>,
        read: &mut dyn FnMut(&str) -> Result<Source, ReadError>,
    ) -> Result<Self, PolicyError> {
        extends::load(top, file, table, read)
    }

    /// The preset of a word; `locked-down` is `strict`.
    ///
    /// # Errors
    /// What was probably meant, in one sentence.
    pub fn preset_of(word: &str) -> Result<Preset, String> {
        file::preset(word)
    }

    /// The most that this policy lets a jar have of each limit, for a program or for the
    /// plugin of a name.
    #[must_use]
    pub fn most(&self, plugin: Option<&str>) -> BTreeMap<Limit, Said<Bound>> {
        let of = |policy: &Self| policy.ceilings.as_ref().map(|file| file.limits.clone());
        let mut most = of(self).unwrap_or_default();
        let own = plugin.and_then(|name| self.plugins.get(name)).and_then(of);
        most.extend(own.unwrap_or_default());
        most
    }

    /// This policy for one plugin: `[plugins.NAME]` replaces what it mentions,
    /// and adds to what is denied.
    ///
    /// The name is what a manifest says of itself. Until packages are signed,
    /// an override is for whoever bears the name: an operator who runs plugins
    /// of strangers under it gives them the same.
    #[must_use]
    pub fn for_plugin(&self, name: &str) -> Self {
        let mut whole = self.clone();
        let Some(over) = self.plugins.get(name) else {
            return whole;
        };
        let over = over.clone();
        whole.preset = over.preset.or(whole.preset);
        for (rule, said) in over.require {
            whole.best_effort.remove(&rule);
            whole.require.insert(rule, said);
        }
        for (rule, origin) in over.best_effort {
            whole.require.remove(&rule);
            whole.best_effort.insert(rule, origin);
        }
        whole.linux = LinuxPolicy {
            namespaces: over.linux.namespaces.or(whole.linux.namespaces),
            keep: over.linux.keep.or(whole.linux.keep),
            ambient: over.linux.ambient.or(whole.linux.ambient),
            uid_range: over.linux.uid_range.or(whole.linux.uid_range),
            cpuset: over.linux.cpuset.or(whole.linux.cpuset),
        };
        whole.seccomp.allow.extend(over.seccomp.allow);
        whole.seccomp.deny.extend(over.seccomp.deny);
        whole.end_on.extend(over.end_on);
        whole.ceilings = match (whole.ceilings.take(), over.ceilings) {
            (Some(all), Some(own)) => Some(all.replaced_by(own)),
            (all, own) => own.or(all),
        };
        whole
    }
}

impl Ceilings {
    fn replaced_by(mut self, own: Self) -> Self {
        for (key, origin) in own.said {
            match key.as_str() {
                "filesystem.read" => {
                    self.read.clone_from(&own.read);
                    self.groups.clone_from(&own.groups);
                }
                "filesystem.write" => self.write.clone_from(&own.write),
                "env.pass" => self.pass.clone_from(&own.pass),
                _ => {}
            }
            self.said.insert(key, origin);
        }
        self.set = own.set.or(self.set);
        self.deny.extend(own.deny);
        self.deny_env.extend(own.deny_env);
        self.limits.extend(own.limits);
        self.subprocesses = own.subprocesses.or(self.subprocesses);
        self.jit = own.jit.or(self.jit);
        if !own.connect.is_empty() {
            self.connect = own.connect;
        }
        self.capabilities = own.capabilities.or(self.capabilities);
        self
    }
}

/// The JSON Schema of a policy's file.
#[must_use]
pub fn schema() -> schemars::Schema {
    crate::parse::schema::<file::PolicyFile>()
}

/// A name that a variable can have; environ(7).
fn is_name(name: &str) -> bool {
    manifest::is_variable(name)
}

/// A variable's name is one of those that `pattern` stands for: itself, or all
/// with its beginning where it ends with `*`. For a pattern in place of the
/// name: all of them are.
#[must_use]
pub fn name_within(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}
