//! The form of a manifest's file, and the way from there to a [`Manifest`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use semver::Version;
use serde::Deserialize;

use super::{
    Manifest, ManifestError, Place, PluginSection, Request,
    limits::{LimitsTable, each},
};
use crate::{
    group::{Group, GroupError},
    parse::{self, At, Format, Or, Wanted, tame},
    path::UnixPath,
};

/// A plugin's manifest, `belljar.toml` or the same in JSON: who it is and what
/// it asks for. Whether it gets that is for policy to say.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Belljar plugin manifest")]
pub(crate) struct ManifestFile {
    /// Who it is and how it starts.
    plugin: At<PluginTable>,
    /// Permissions of the host's API, by name.
    #[serde(default)]
    capabilities: Vec<At<Or<String, Named>>>,
    /// Limits of its own; one above what policy allows is lowered.
    #[serde(default)]
    limits: LimitsTable,
    /// Paths of the machine.
    #[serde(default)]
    filesystem: FilesystemTable,
    /// The network.
    #[serde(default)]
    network: NetworkTable,
    /// What it needs of the system.
    #[serde(default)]
    process: ProcessTable,
    /// Environment variables.
    #[serde(default)]
    env: EnvTable,
}

/// Who a plugin is and how it starts.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PluginTable {
    /// Letters, digits, `-`, `_` and `.`, starting with a letter or digit; at most 128.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"))]
    name: At<String>,
    /// Semantic version, such as `1.2.3`.
    version: At<String>,
    /// The file to run, relative to the manifest's directory and inside it.
    entry: At<String>,
    /// Arguments before those of the command line.
    #[serde(default)]
    args: Vec<At<String>>,
    /// `native`: a program or script of the machine. It is what it is without this.
    #[serde(default)]
    runtime: Option<At<String>>,
    /// For people.
    #[serde(default)]
    description: Option<String>,
    /// For people.
    #[serde(default)]
    authors: Vec<String>,
    /// SPDX expression, for people.
    #[serde(default)]
    license: Option<String>,
    /// For people.
    #[serde(default)]
    homepage: Option<String>,
}

/// Something asked for by name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Named {
    /// Its name.
    name: String,
    /// Without it the plugin still runs.
    #[serde(default)]
    optional: bool,
}

impl Wanted for Named {
    const WANTED: &'static str = "a name, or { name = \"…\", optional = true }";
}

/// A path asked for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PathTable {
    /// Absolute, on the machine; or a group in `read`.
    path: String,
    /// Absolute, in the jar; the same where not given.
    #[serde(default)]
    at: Option<String>,
    /// Without it the plugin still runs.
    #[serde(default)]
    optional: bool,
}

impl Wanted for PathTable {
    const WANTED: &'static str =
        "a path, or { path = \"/…\", at = \"/place/in/the/jar\", optional = true }";
}

/// A peer asked for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PeerTable {
    /// Name and port, such as `api.example.com:443`.
    to: String,
    /// Without it the plugin still runs.
    #[serde(default)]
    optional: bool,
}

impl Wanted for PeerTable {
    const WANTED: &'static str = "a name and port, or { to = \"…\", optional = true }";
}

/// A right that is asked for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RightTable {
    /// It is needed.
    #[serde(default = "needed")]
    value: bool,
    /// Without it the plugin still runs.
    #[serde(default)]
    optional: bool,
}

const fn needed() -> bool {
    true
}

impl Wanted for RightTable {
    const WANTED: &'static str = "true, or { value = true, optional = true }";
}

/// A variable's value.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ValueTable {
    /// The value.
    value: String,
    /// Without it the plugin still runs.
    #[serde(default)]
    optional: bool,
}

impl Wanted for ValueTable {
    const WANTED: &'static str = "a text, or { value = \"…\", optional = true }";
}

/// Paths of the machine.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct FilesystemTable {
    /// To be read, with all below: paths, and groups such as `toolchain:node`.
    read: Vec<At<Or<String, PathTable>>>,
    /// To be read and written, with all below.
    write: Vec<At<Or<String, PathTable>>>,
}

/// The network.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct NetworkTable {
    /// Names and ports; not supported yet.
    connect: Vec<At<Or<String, PeerTable>>>,
}

/// What a plugin needs of the system.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct ProcessTable {
    /// It starts other programs.
    subprocesses: Option<At<Or<bool, RightTable>>>,
    /// It makes code while it runs, as node and the JVM do.
    jit: Option<At<Or<bool, RightTable>>>,
}

/// Environment variables.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct EnvTable {
    /// Set to a value of the plugin's own.
    set: BTreeMap<String, At<Or<String, ValueTable>>>,
    /// Passed from the caller.
    pass: Vec<At<Or<String, Named>>>,
}

pub(super) fn parse(text: &str, format: Format, file: &str) -> Result<Manifest, ManifestError> {
    let raw = parse::read::<ManifestFile>(text, format, file, None)?.value;
    let limits = raw.limits.read()?;
    let (read, groups) = places_and_groups(raw.filesystem.read)?;
    Ok(Manifest {
        file: tame(file),
        plugin: plugin(raw.plugin.value)?,
        capabilities: each(raw.capabilities, |Named { name, optional }| {
            (name, optional)
        })
        .map(|request| word(request, "a capability's name"))
        .collect::<Result<_, _>>()?,
        limits,
        read,
        groups,
        write: places(raw.filesystem.write)?,
        connect: each(raw.network.connect, |PeerTable { to, optional }| {
            (to, optional)
        })
        .collect(),
        subprocesses: right(raw.process.subprocesses),
        jit: right(raw.process.jit),
        set: variables(raw.env.set)?,
        pass: each(raw.env.pass, |Named { name, optional }| (name, optional))
            .map(|request| {
                check_variable(&request.value, &request.origin)?;
                Ok(request)
            })
            .collect::<Result<_, ManifestError>>()?,
    })
}

/// A name that a variable can have; environ(7).
pub(crate) fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.len() <= 4096 && !name.contains(['=', '\0'])
}

fn plugin(raw: PluginTable) -> Result<PluginSection, ManifestError> {
    let bad = |origin: &str, reason: String| ManifestError::Value {
        origin: origin.to_owned(),
        reason,
    };
    let name = &raw.name;
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.value.is_empty()
        || name.value.len() > 128
        || !name.value.chars().all(letters)
        || !name.value.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        return Err(bad(
            &name.origin,
            format!(
                "plugin name `{}` must be 1 to 128 letters, digits, `-`, `_` or `.`, and start with a letter or digit",
                tame(&name.value)
            ),
        ));
    }
    let version = Version::parse(&raw.version.value).map_err(|error| {
        bad(
            &raw.version.origin,
            format!(
                "`{}` is no semantic version ({error}); write it like `1.2.3`",
                tame(&raw.version.value)
            ),
        )
    })?;
    if let Some(runtime) = &raw.runtime
        && runtime.value != "native"
    {
        return Err(ManifestError::Unsupported {
            origin: runtime.origin.clone(),
            what: format!("runtime `{}`", tame(&runtime.value)),
        });
    }
    if let Some(argument) = raw
        .args
        .iter()
        .find(|argument| argument.value.contains('\0'))
    {
        return Err(bad(
            &argument.origin,
            "an argument cannot contain a NUL byte".into(),
        ));
    }
    Ok(PluginSection {
        name: raw.name.value,
        version,
        entry: entry(&raw.entry)?,
        args: raw
            .args
            .into_iter()
            .map(|argument| argument.value)
            .collect(),
        runtime: raw.runtime.map(|runtime| runtime.value),
        description: raw.description,
        authors: raw.authors,
        license: raw.license,
        homepage: raw.homepage,
    })
}

/// The entry in a normal form: no `.`, no doubled slash.
fn entry(said: &At<String>) -> Result<String, ManifestError> {
    let bad = |reason: &str| ManifestError::Value {
        origin: said.origin.clone(),
        reason: format!("entry `{}` {reason}", tame(&said.value)),
    };
    if said.value.starts_with('/') {
        return Err(bad(
            "must be relative to the manifest's directory, such as `bin/run.sh`",
        ));
    }
    // As an absolute path below some root it is checked like any other.
    let path = UnixPath::new(&format!("/{}", said.value)).map_err(|error| match error {
        crate::path::PathError::Climbs(_) => bad("must not leave the manifest's directory by `..`"),
        crate::path::PathError::Nul(_) => bad("cannot contain a NUL byte"),
        _ => bad("is too long for a path"),
    })?;
    if path == UnixPath::root() {
        return Err(bad("names no file"));
    }
    Ok(path.relative().to_owned())
}

fn word(request: Request<String>, what: &str) -> Result<Request<String>, ManifestError> {
    let plain = |c: char| c.is_ascii_graphic();
    if request.value.is_empty() || request.value.len() > 256 || !request.value.chars().all(plain) {
        return Err(ManifestError::Value {
            origin: request.origin,
            reason: format!(
                "`{}` is not {what}: 1 to 256 letters, digits and signs",
                tame(&request.value)
            ),
        });
    }
    Ok(request)
}

impl Or<String, PathTable> {
    fn path(&self) -> &str {
        match self {
            Self::Plain(path) => path,
            Self::Table(table) => &table.path,
        }
    }
}

type PlacesAndGroups = (Vec<Request<Place>>, Vec<Request<Group>>);

fn places_and_groups(
    raw: Vec<At<Or<String, PathTable>>>,
) -> Result<PlacesAndGroups, ManifestError> {
    let (mut plain, mut groups) = (Vec::new(), Vec::new());
    for said in raw {
        let bad = |error: GroupError| ManifestError::Value {
            origin: said.origin.clone(),
            reason: error.to_string(),
        };
        let Some(value) = Group::read(said.value.path()).map_err(bad)? else {
            plain.push(said);
            continue;
        };
        let optional = match &said.value {
            Or::Table(PathTable { at: Some(_), .. }) => {
                return Err(bad(GroupError::At(value.word())));
            }
            Or::Table(table) => table.optional,
            Or::Plain(_) => false,
        };
        groups.push(Request {
            value,
            optional,
            origin: said.origin,
        });
    }
    Ok((places(plain)?, groups))
}

/// Paths where no group may stand.
fn places(raw: Vec<At<Or<String, PathTable>>>) -> Result<Vec<Request<Place>>, ManifestError> {
    for said in &raw {
        let reason = match Group::read(said.value.path()) {
            Ok(None) => continue,
            Ok(Some(group)) => GroupError::Write(group.word()).to_string(),
            Err(error) => error.to_string(),
        };
        return Err(ManifestError::Value {
            origin: said.origin.clone(),
            reason,
        });
    }
    let path = |text: &str, origin: &str| {
        UnixPath::new(text).map_err(|source| ManifestError::Path {
            origin: origin.to_owned(),
            source,
        })
    };
    raw.into_iter()
        .map(|At { value, origin }| {
            let table = match value {
                Or::Plain(path) => PathTable {
                    path,
                    at: None,
                    optional: false,
                },
                Or::Table(table) => table,
            };
            Ok(Request {
                value: Place {
                    path: path(&table.path, &origin)?,
                    at: table.at.map(|at| path(&at, &origin)).transpose()?,
                },
                optional: table.optional,
                origin,
            })
        })
        .collect()
}

fn right(raw: Option<At<Or<bool, RightTable>>>) -> Option<Request<()>> {
    let At { value, origin } = raw?;
    let (needed, optional) = match value {
        Or::Plain(needed) => (needed, false),
        Or::Table(RightTable { value, optional }) => (value, optional),
    };
    needed.then_some(Request {
        value: (),
        optional,
        origin,
    })
}

fn variables(
    raw: BTreeMap<String, At<Or<String, ValueTable>>>,
) -> Result<BTreeMap<String, Request<String>>, ManifestError> {
    raw.into_iter()
        .map(|(name, At { value, origin })| {
            check_variable(&name, &origin)?;
            let (value, optional) = match value {
                Or::Plain(value) => (value, false),
                Or::Table(ValueTable { value, optional }) => (value, optional),
            };
            if value.contains('\0') {
                return Err(ManifestError::Value {
                    origin,
                    reason: format!("the value of `{}` cannot contain a NUL byte", tame(&name)),
                });
            }
            Ok((
                name,
                Request {
                    value,
                    optional,
                    origin,
                },
            ))
        })
        .collect()
}

fn check_variable(name: &str, origin: &str) -> Result<(), ManifestError> {
    if is_variable(name) {
        return Ok(());
    }
    Err(ManifestError::Value {
        origin: origin.to_owned(),
        reason: format!(
            "`{}` cannot be a variable's name: it must not be empty nor contain `=` or NUL",
            tame(name)
        ),
    })
}
