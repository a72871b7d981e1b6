//! The form of a policy's file, and the way from there to a [`Policy`].

use std::collections::{BTreeMap, BTreeSet};

use belljar_plan::{Limit, Namespaces, Preset, Rule, Strength};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Ceilings, LinuxPolicy, Policy, PolicyError, Said, SeccompPolicy, caps, host::HostTable, is_name,
};
use crate::{
    group::Group,
    manifest::{Bound, LimitsTable},
    parse::{self, At, Format, hint, nearest, tame},
    path::UnixPath,
    processors::Processors,
    seccomp::{CALLS, CANARY, Call, OF_A_LAUNCH},
};

/// A policy, TOML or JSON: what plugins are granted at most. A key that is not
/// said grants a plugin nothing beyond the preset, and bounds no flag.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Belljar policy")]
pub(crate) struct PolicyFile {
    /// Policy files under this one, in order: what this file says is added to what they
    /// say, and where only one can be right this file's word counts. Relative to this
    /// file's directory; `FILE#TABLE` is one table of a file.
    extends: Vec<At<String>>,
    /// The starting point: `minimal`, `standard` or `strict`.
    #[schemars(with = "Option<Preset>")]
    preset: Option<At<String>>,
    /// Paths of the machine.
    filesystem: FilesystemTable,
    /// No plugin or flag gets more.
    limits: LimitsTable,
    /// What all jars of one host may have together.
    host: HostTable,
    /// What plugins may do in the system.
    process: ProcessTable,
    /// Environment variables.
    env: EnvTable,
    /// The network.
    network: NetworkTable,
    /// Permissions of the host's API, by name.
    capabilities: Option<At<Vec<String>>>,
    /// How strongly each rule must be enforced at least, or `best-effort`.
    #[schemars(with = "BTreeMap<Rule, Demand>")]
    require: BTreeMap<String, At<String>>,
    /// System calls by name, beyond the preset's list or off it.
    seccomp: SeccompTable,
    /// Rules whose violation ends the jar, where it is seen.
    #[schemars(with = "Vec<Rule>")]
    end_on: Vec<At<String>>,
    /// What makes a jar weaker on Linux; each is named in the plan.
    linux: LinuxTable,
    /// Overrides for single plugins, by name: each key replaces the file's, and `deny` adds to it.
    plugins: BTreeMap<String, At<PolicyFile>>,
}

/// A strength, or `best-effort`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "it only describes the file's form")]
enum Demand {
    /// The operating system refuses.
    Kernel,
    /// The supervisor ends the jar.
    Supervisor,
    /// The plugin is told.
    Cooperative,
    /// Nothing need enforce it.
    None,
    /// Whatever the machine can give.
    BestEffort,
}

/// Paths of the machine, each with all below it.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct FilesystemTable {
    /// May be read: paths, and groups such as `group:git` or `toolchain:node`.
    read: Option<At<Vec<At<String>>>>,
    /// May be read and written.
    write: Option<At<Vec<At<String>>>>,
    /// May not be seen, whatever else is said.
    deny: Vec<At<String>>,
}

/// What plugins may do in the system.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct ProcessTable {
    /// Start other programs.
    subprocesses: Option<At<bool>>,
    /// Make code while they run.
    jit: Option<At<bool>>,
}

/// Names of environment variables. `AWS_*` stands for all that start so.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct EnvTable {
    /// May be set by a manifest; any harmless name where this is not said.
    set: Option<At<Vec<At<String>>>>,
    /// May be passed from the caller.
    pass: Option<At<Vec<At<String>>>>,
    /// Never set nor passed, whatever else is said.
    deny: Vec<At<String>>,
}

/// The network.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct NetworkTable {
    /// Names and ports that may be asked for; nothing is granted yet.
    connect: Vec<At<String>>,
}

/// System calls.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct SeccompTable {
    /// Beyond the preset's list; each makes a jar weaker and is named in the plan.
    allow: Vec<At<String>>,
    /// Off the preset's list.
    deny: Vec<At<String>>,
}

/// What makes a jar weaker on Linux.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct LinuxTable {
    /// Only these namespaces are made: user, pid, mount, network, uts, ipc, cgroup.
    namespaces: Option<At<Vec<At<String>>>>,
    /// Capabilities that a plugin keeps inside its jar.
    caps: CapsTable,
    /// Machine uids and gids for jars that root starts: `FIRST-LAST`.
    #[schemars(regex(pattern = r"^[0-9]+-[0-9]+$"))]
    uid_range: Option<At<String>>,
    /// The processors that jars may run on, such as `0-3,6`.
    cpuset: Option<At<String>>,
}

/// Linux capabilities, by name or number.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct CapsTable {
    /// Kept in the permitted, effective and bounding sets.
    keep: Option<At<Vec<At<parse::Amount>>>>,
    /// Of these, kept over an exec.
    ambient: Option<At<Vec<At<parse::Amount>>>>,
}

/// What one file says by itself.
pub(super) struct Parsed {
    pub(super) policy: Policy,
    /// The files that it extends, as they are written.
    pub(super) extends: Vec<Said<String>>,
}

pub(super) fn parse(
    text: &str,
    format: Format,
    file: &str,
    table: Option<&str>,
) -> Result<Parsed, PolicyError> {
    let mut raw = parse::read::<PolicyFile>(text, format, file, table)?.value;
    let plugins = std::mem::take(&mut raw.plugins);
    let label = tame(file);
    let extends = std::mem::take(&mut raw.extends);
    let extends = extends.into_iter().map(said_as_is).collect();
    let mut policy = raw.read(&label)?;
    for (name, At { value, origin }) in plugins {
        if let Some(inner) = value.plugins.values().next() {
            return Err(bad(
                &inner.origin,
                "overrides cannot have overrides; write `[plugins.NAME]` at the top",
            ));
        }
        if let Some(inner) = value.extends.first() {
            return Err(bad(
                &inner.origin,
                "an override cannot extend a file; write `extends` at the top",
            ));
        }
        if name.is_empty() {
            return Err(bad(&origin, "a plugin's name cannot be empty"));
        }
        let own = value.read(&label)?;
        if let Some(said) = own.host.values().next() {
            return Err(bad(
                &said.origin,
                "an override cannot say what all jars have together; write `[host]` at the top",
            ));
        }
        // What the file denies stays denied, so that an override cannot allow it.
        if let (Some(all), Some(own)) = (&policy.ceilings, &own.ceilings) {
            own.check(&all.deny, &all.deny_env)?;
        }
        policy.plugins.insert(name, own);
    }
    Ok(Parsed { policy, extends })
}

/// The preset of a word, `locked-down` too.
pub(super) fn preset(word: &str) -> Result<Preset, String> {
    match word {
        "locked-down" => Ok(Preset::Strict),
        _ => Preset::from_word(word).ok_or_else(|| {
            unknown(
                "preset",
                word,
                Preset::ALL.iter().map(|preset| preset.word()),
            )
        }),
    }
}

impl PolicyFile {
    fn read(self, file: &str) -> Result<Policy, PolicyError> {
        let preset = self
            .preset
            .map(|At { value, origin }| match preset(&value) {
                Ok(value) => Ok(Said { value, origin }),
                Err(reason) => Err(bad(&origin, &reason)),
            })
            .transpose()?;
        let (require, best_effort) = demands(self.require)?;
        let mut said = BTreeMap::new();
        let mut note = |key: &str, origin: &str| said.insert(key.to_owned(), origin.to_owned());
        let mut list = |key: &str, list: Option<At<Vec<At<String>>>>| {
            list.map(|list| {
                note(key, &list.origin);
                list.value
            })
        };
        let read = list("filesystem.read", self.filesystem.read).unwrap_or_default();
        let (read, groups) = paths_and_groups(read)?;
        let write = paths(list("filesystem.write", self.filesystem.write).unwrap_or_default())?;
        let set = list("env.set", self.env.set).map(names).transpose()?;
        let pass = names(list("env.pass", self.env.pass).unwrap_or_default())?;
        let ceilings = Ceilings {
            file: file.to_owned(),
            read,
            groups,
            write,
            deny: paths(self.filesystem.deny)?,
            limits: limits(self.limits)?,
            subprocesses: self.process.subprocesses.map(said_as_is),
            jit: self.process.jit.map(said_as_is),
            set,
            pass,
            deny_env: names(self.env.deny)?,
            connect: self.network.connect.into_iter().map(said_as_is).collect(),
            capabilities: self
                .capabilities
                .map(|list| list.value.into_iter().collect::<BTreeSet<_>>()),
            said,
        };
        ceilings.check(&ceilings.deny, &ceilings.deny_env)?;
        Ok(Policy {
            preset,
            ceilings: Some(ceilings),
            host: self.host.read()?,
            require,
            best_effort,
            linux: linux(self.linux)?,
            seccomp: seccomp(self.seccomp)?,
            end_on: rules(self.end_on)?,
            ..Policy::default()
        })
    }
}

impl Ceilings {
    /// Refuses what can never apply: an allow wholly inside a deny.
    pub(super) fn check(
        &self,
        denied: &[Said<UnixPath>],
        denied_env: &[Said<String>],
    ) -> Result<(), PolicyError> {
        for allow in self.read.iter().chain(&self.write) {
            if let Some(deny) = denied
                .iter()
                .find(|deny| allow.value.is_within(&deny.value))
            {
                return Err(bad(
                    &allow.origin,
                    &format!(
                        "`{}` can never apply: `{}` is denied ({})",
                        tame(allow.value.as_str()),
                        tame(deny.value.as_str()),
                        deny.origin
                    ),
                ));
            }
        }
        for allow in self.set.iter().flatten().chain(&self.pass) {
            let never = |deny: &&Said<String>| super::name_within(&allow.value, &deny.value);
            if let Some(deny) = denied_env.iter().find(never) {
                return Err(bad(
                    &allow.origin,
                    &format!(
                        "variable `{}` can never apply: `{}` is denied ({})",
                        tame(&allow.value),
                        tame(&deny.value),
                        deny.origin
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// Calls by their names. One that is both allowed and denied can never apply, and
/// what a launch itself needs is refused here, where its line is known.
fn seccomp(table: SeccompTable) -> Result<SeccompPolicy, PolicyError> {
    let read = |list: Vec<At<String>>| {
        list.into_iter()
            .map(|At { value, origin }| match Call::named(&value) {
                Some(_) => Ok(Said { value, origin }),
                None => Err(bad(&origin, &unknown_call(&value))),
            })
            .collect::<Result<Vec<_>, _>>()
    };
    let (allow, deny) = (read(table.allow)?, read(table.deny)?);
    for said in &allow {
        if let Some(denied) = deny.iter().find(|denied| denied.value == said.value) {
            return Err(bad(
                &said.origin,
                &format!(
                    "`{}` can never apply: it is denied ({})",
                    said.value, denied.origin
                ),
            ));
        }
    }
    if let Some(said) = allow.iter().find(|said| said.value == CANARY) {
        return Err(bad(
            &said.origin,
            &format!(
                "`{CANARY}` cannot be allowed: every launch sees by its refusal that the filter holds; take it from the list, programs do by `clone` what they cannot do by it"
            ),
        ));
    }
    let needed = |said: &&Said<String>| OF_A_LAUNCH.contains(&said.value.as_str());
    if let Some(said) = deny.iter().find(needed) {
        return Err(bad(
            &said.origin,
            &format!(
                "`{}` cannot be denied: a launch itself makes that call when the filter holds already; take it from the list",
                said.value
            ),
        ));
    }
    Ok(SeccompPolicy { allow, deny })
}

/// Rules by their names, with where each was said.
fn rules(list: Vec<At<String>>) -> Result<BTreeMap<Rule, String>, PolicyError> {
    list.into_iter()
        .map(|At { value, origin }| match Rule::from_word(&value) {
            Some(rule) => Ok((rule, origin)),
            None => Err(bad(
                &origin,
                &unknown("rule", &value, Rule::ALL.iter().map(|rule| rule.word())),
            )),
        })
        .collect()
}

pub(super) fn bad(origin: &str, reason: &str) -> PolicyError {
    PolicyError::Value {
        origin: origin.to_owned(),
        reason: reason.to_owned(),
    }
}

fn unknown<'a>(kind: &str, word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<String> = known.map(str::to_owned).collect();
    format!(
        "unknown {kind} `{}`{}",
        tame(word),
        hint(
            nearest(word, known.iter().map(String::as_str)).as_deref(),
            &known
        )
    )
}

/// There are too many calls to name them all.
fn unknown_call(word: &str) -> String {
    let nearest = nearest(word, CALLS.iter().map(|call| call.name));
    let hint = match nearest {
        Some(nearest) => hint(Some(&nearest), &[]),
        None => "; docs/syscalls.md and syscalls(2) list them".to_owned(),
    };
    format!("unknown system call `{}`{hint}", tame(word))
}

fn said_as_is<T>(At { value, origin }: At<T>) -> Said<T> {
    Said { value, origin }
}

type PathsAndGroups = (Vec<Said<UnixPath>>, Vec<Said<Group>>);

fn paths_and_groups(list: Vec<At<String>>) -> Result<PathsAndGroups, PolicyError> {
    let (mut plain, mut groups) = (Vec::new(), Vec::new());
    for said in list {
        match Group::read(&said.value) {
            Ok(None) => plain.push(said),
            Ok(Some(value)) => groups.push(Said {
                value,
                origin: said.origin,
            }),
            Err(error) => return Err(bad(&said.origin, &error.to_string())),
        }
    }
    Ok((paths(plain)?, groups))
}

/// Paths where no group may stand.
fn paths(list: Vec<At<String>>) -> Result<Vec<Said<UnixPath>>, PolicyError> {
    if let Some(said) = list
        .iter()
        .find(|said| !matches!(Group::read(&said.value), Ok(None)))
    {
        return Err(bad(
            &said.origin,
            &format!(
                "`{}`: a group can only stand in `read`; name paths here",
                tame(&said.value)
            ),
        ));
    }
    list.into_iter()
        .map(|At { value, origin }| match UnixPath::new(&value) {
            Ok(value) => Ok(Said { value, origin }),
            Err(source) => Err(PolicyError::Path { origin, source }),
        })
        .collect()
}

fn names(list: Vec<At<String>>) -> Result<Vec<Said<String>>, PolicyError> {
    list.into_iter()
        .map(|At { value, origin }| {
            let plain = value.strip_suffix('*').unwrap_or(&value);
            if !is_name(plain) && value != "*" || plain.contains('*') {
                return Err(bad(
                    &origin,
                    &format!(
                        "`{}` is no variable's name; write it like `LANG`, or `AWS_*` for all that start so",
                        tame(&value)
                    ),
                ));
            }
            Ok(Said { value, origin })
        })
        .collect()
}

fn limits(table: LimitsTable) -> Result<BTreeMap<Limit, Said<Bound>>, PolicyError> {
    table
        .read()?
        .into_iter()
        .map(|(limit, request)| {
            if request.optional {
                return Err(bad(
                    &request.origin,
                    "`optional` is a manifest's word; a policy's limit always holds",
                ));
            }
            let said = Said {
                value: request.value,
                origin: request.origin,
            };
            Ok((limit, said))
        })
        .collect()
}

/// `[require]`: the least strengths, and the rules for which less will do.
type Demands = (BTreeMap<Rule, Said<Strength>>, BTreeMap<Rule, String>);

fn demands(table: BTreeMap<String, At<String>>) -> Result<Demands, PolicyError> {
    let (mut require, mut best_effort) = Demands::default();
    for (word, At { value, origin }) in table {
        let rules = || Rule::ALL.iter().map(|rule| rule.word());
        let rule =
            Rule::from_word(&word).ok_or_else(|| bad(&origin, &unknown("rule", &word, rules())))?;
        if value == "best-effort" {
            best_effort.insert(rule, origin);
            continue;
        }
        let words = || Strength::ALL.iter().rev().map(|strength| strength.word());
        let value = Strength::from_word(&value).ok_or_else(|| {
            bad(
                &origin,
                &unknown("strength", &value, words().chain(["best-effort"])),
            )
        })?;
        require.insert(rule, Said { value, origin });
    }
    Ok((require, best_effort))
}

fn linux(table: LinuxTable) -> Result<LinuxPolicy, PolicyError> {
    let keep = table.caps.keep.map(caps::read).transpose()?;
    let ambient = table.caps.ambient.map(caps::read).transpose()?;
    if let Some(ambient) = &ambient
        && ambient.value & !keep.as_ref().map_or(0, |keep| keep.value) != 0
    {
        return Err(bad(
            &ambient.origin,
            "an ambient capability must be kept too; add it to `keep`",
        ));
    }
    Ok(LinuxPolicy {
        namespaces: table.namespaces.map(namespaces).transpose()?,
        keep,
        ambient,
        uid_range: table.uid_range.map(uid_range).transpose()?,
        cpuset: table.cpuset.map(cpuset).transpose()?,
    })
}

fn cpuset(said: At<String>) -> Result<Said<Processors>, PolicyError> {
    let At { value, origin } = said;
    match value.parse() {
        Ok(value) => Ok(Said { value, origin }),
        Err(error) => Err(bad(&origin, &format!("`{}` {error}", tame(&value)))),
    }
}

fn namespaces(list: At<Vec<At<String>>>) -> Result<Said<Namespaces>, PolicyError> {
    let mut value = Namespaces::default();
    for At {
        value: word,
        origin,
    } in list.value
    {
        let field = match word.as_str() {
            "user" => &mut value.user,
            "pid" => &mut value.pid,
            "mount" => &mut value.mount,
            "network" => &mut value.network,
            "uts" => &mut value.uts,
            "ipc" => &mut value.ipc,
            "cgroup" => &mut value.cgroup,
            _ => {
                const ALL: [&str; 7] = ["user", "pid", "mount", "network", "uts", "ipc", "cgroup"];
                return Err(bad(&origin, &unknown("namespace", &word, ALL.into_iter())));
            }
        };
        *field = true;
    }
    Ok(Said {
        value,
        origin: list.origin,
    })
}

fn uid_range(said: At<String>) -> Result<Said<(u32, u32)>, PolicyError> {
    let wrong = |reason: &str| {
        bad(
            &said.origin,
            &format!(
                "`{}` {reason}; write it like `2000000000-2000065535`",
                tame(&said.value)
            ),
        )
    };
    let (first, last) = said
        .value
        .split_once('-')
        .and_then(|(first, last)| Some((first.parse::<u32>().ok()?, last.parse::<u32>().ok()?)))
        .ok_or_else(|| wrong("is no range of uids"))?;
    if first > last {
        return Err(wrong("ends before it starts"));
    }
    // 65534 owns what has no owner and 65535 was -1 once, as 4294967295 is now.
    if [0, 65534, 65535, u32::MAX]
        .iter()
        .any(|uid| (first..=last).contains(uid))
    {
        return Err(wrong(
            "holds a uid with a meaning of its own (0, 65534, 65535 or 4294967295)",
        ));
    }
    Ok(Said {
        value: (first, last - first + 1),
        origin: said.origin,
    })
}
