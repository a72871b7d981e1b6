//! How dangerous a grant is: what somebody should know before he writes it into
//! a policy. One judgement for every place that prints it.
//!
//! It goes by names alone and looks at nothing, so a path that leads elsewhere
//! by a link has to be asked about twice: as it was said, and as it is. A grant
//! of which nothing is known here is not thereby harmless.

use std::fmt;

use belljar_plan::{Namespaces, Rule, Strength};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    path::UnixPath,
    planner::environment::{SYSTEM_PATH, is_secret},
    policy::{Right, caps},
    seccomp::{Call, Group},
    verified::Caller,
};

mod places;

use places::{DEVICES, Known, OBEYED, SECRETS, SOCKETS};

/// How much a grant gives away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// More to see or to attack; the jar holds.
    Low,
    /// What the jar is there to protect is partly given away.
    High,
    /// Who has this can act outside of the jar, or as somebody else.
    Critical,
}

impl Level {
    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What is known of a grant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Risk {
    /// How much it gives away.
    pub level: Level,
    /// Why, in one sentence without a full stop.
    pub words: String,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.level, self.words)
    }
}

/// What gives paths their meaning on a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Home directories.
    pub homes: Vec<UnixPath>,
    /// Where programs are found by name.
    pub path_directories: Vec<UnixPath>,
}

impl Surroundings {
    /// Those of whoever asks: the homes, his PATH, and the system's own.
    #[must_use]
    pub fn of(caller: &Caller) -> Self {
        let path = caller
            .environment
            .iter()
            .filter(|(name, _)| name.0 == b"PATH")
            .flat_map(|(_, value)| value.0.split(|byte| *byte == b':'))
            .filter_map(|text| std::str::from_utf8(text).ok());
        let mut path_directories: Vec<UnixPath> = Vec::new();
        for directory in path.chain(SYSTEM_PATH) {
            if let Ok(directory) = UnixPath::new(directory)
                && !path_directories.contains(&directory)
            {
                path_directories.push(directory);
            }
        }
        Self {
            homes: caller.homes.clone(),
            path_directories,
        }
    }
}

/// What it means to let a path be read, with all below it.
///
/// ```
/// use belljar_policy::{UnixPath, risk::{self, Level, Surroundings}};
/// let around = Surroundings { homes: vec![UnixPath::new("/home/me")?], ..Surroundings::default() };
/// let risk = risk::of_read(&UnixPath::new("/home/me/.ssh/id_rsa")?, &around).unwrap();
/// assert_eq!(risk.level, Level::Critical);
/// assert_eq!(risk.words, "it holds private SSH keys (`~/.ssh`)");
/// # Ok::<(), belljar_policy::path::PathError>(())
/// ```
#[must_use]
pub fn of_read(path: &UnixPath, around: &Surroundings) -> Option<Risk> {
    let path = &without_var_run(path);
    let risks = [
        whole(path, around, false),
        worst(SOCKETS, "it is", path, around, Reach::At),
        worst(DEVICES, "it is", path, around, Reach::Both),
        worst(SECRETS, "it holds", path, around, Reach::Both),
        dot_entry(path, around, false),
    ];
    most(risks)
}

/// What it means to let a path be read and written, with all below it.
#[must_use]
pub fn of_write(path: &UnixPath, around: &Surroundings) -> Option<Risk> {
    let path = &without_var_run(path);
    let risks = [
        whole(path, around, true),
        on_path(path, around),
        worst(OBEYED, "it takes", path, around, Reach::Both),
        dot_entry(path, around, true),
        of_read(path, around),
    ];
    most(risks)
}

/// What it means to give a right of `[process]`.
#[must_use]
pub fn of_right(right: Right) -> Risk {
    let (level, words) = match right {
        Right::Subprocesses => (
            Level::Low,
            "it can start every program that the jar shows, shells included",
        ),
        Right::Jit => (
            Level::Low,
            "it can run code that it made itself, so a flaw in it is easier to use",
        ),
    };
    risk(level, words)
}

/// What it means to let a system call through that the presets refuse; none for
/// one that every preset lets through, or that there is not.
#[must_use]
pub fn of_call(name: &str) -> Option<Risk> {
    use belljar_plan::Preset;
    let call = Call::named(name)?;
    let group = call.group;
    let level = match group {
        _ if group.allowed(Preset::Strict) => return None,
        Group::Mounts
        | Group::Namespaces
        | Group::KernelPrograms
        | Group::Rings
        | Group::Keyrings
        | Group::Handles
        | Group::Machine => Level::Critical,
        Group::Tracing | Group::Unreadable | Group::Clock => Level::High,
        _ if group.allowed(Preset::Standard) => Level::Low,
        _ => Level::High,
    };
    Some(Risk {
        level,
        words: format!("`{name}` is one of {}: {}", group.word(), group.reason()),
    })
}

/// What it means to keep Linux capabilities inside, as bits; none for no bit.
#[must_use]
pub fn of_capabilities(bits: u64) -> Option<Risk> {
    (bits != 0).then(|| Risk {
        level: Level::Critical,
        words: format!(
            "{} inside the jar open parts of the kernel that are meant for root, and rule `privileges` is not held",
            caps::names(bits).join(", ")
        ),
    })
}

/// What it means to make only these namespaces; none where it is all of them.
#[must_use]
pub fn of_namespaces(own: &Namespaces) -> Option<Risk> {
    let missing: Vec<(&str, &str)> = [
        (own.user, "user", "nothing is a jar without it"),
        (own.pid, "pid", "the machine's tasks can be seen"),
        (own.mount, "mount", "the machine's files can be seen"),
        (own.network, "network", "the machine's network is reached"),
        (own.uts, "uts", "the machine's name is seen"),
        (
            own.ipc,
            "ipc",
            "shared memory and queues of the machine are reached",
        ),
        (own.cgroup, "cgroup", "the machine's cgroups are seen"),
    ]
    .into_iter()
    .filter_map(|(made, name, words)| (!made).then_some((name, words)))
    .collect();
    let level = missing
        .iter()
        .map(|(name, _)| match *name {
            "uts" | "cgroup" => Level::Low,
            "network" | "ipc" => Level::High,
            _ => Level::Critical,
        })
        .max()?;
    let words: Vec<String> = missing
        .iter()
        .map(|(name, words)| format!("no {name} namespace: {words}"))
        .collect();
    Some(Risk {
        level,
        words: words.join("; "),
    })
}

/// What it means to accept less of a rule: a strength, or whatever there is
/// (`None`, best-effort). None where the rule is held firmly all the same.
#[must_use]
pub fn of_demand(rule: Rule, least: Option<Strength>) -> Option<Risk> {
    let level = match least {
        Some(Strength::Kernel | Strength::Supervisor) => return None,
        Some(Strength::Cooperative | Strength::None) | None => match rule {
            Rule::Files
            | Rule::Sockets
            | Rule::Tasks
            | Rule::Identity
            | Rule::Privileges
            | Rule::Syscalls
            | Rule::Nesting => Level::Critical,
            Rule::Network
            | Rule::Ipc
            | Rule::Devices
            | Rule::Terminal
            | Rule::Descriptors
            | Rule::Environment => Level::High,
            _ => Level::Low,
        },
    };
    Some(Risk {
        level,
        words: match least {
            None => format!("it launches even where nothing holds rule `{rule}`"),
            Some(least) => format!("it launches where rule `{rule}` is only held at `{least}`"),
        },
    })
}

/// What it means to pass a variable of the caller's, or all of a pattern.
#[must_use]
pub fn of_passed(name: &str) -> Option<Risk> {
    if name == "*" {
        return Some(risk(
            Level::High,
            "all of your variables, with the tokens and passwords among them",
        ));
    }
    if ["LD_", "GLIBC_TUNABLES", "GCONV_PATH"]
        .iter()
        .any(|start| name.starts_with(start))
    {
        return Some(risk(
            Level::Low,
            "a loader obeys it before the program starts",
        ));
    }
    // These lead to whoever acts for the caller, and are no use without a socket.
    is_secret(name.trim_end_matches('*').as_bytes(), b"").then(|| {
        risk(
            Level::High,
            "by its name it holds a secret, or leads to who keeps some",
        )
    })
}

/// Every place of the system that is known to hold secrets; `*` stands for any
/// letters of one name.
pub fn system_secrets() -> impl Iterator<Item = &'static str> {
    SECRETS
        .iter()
        .map(|known| known.path)
        .filter(|path| path.starts_with('/'))
}

/// What a path holds that is known to be secret, in words.
pub(crate) fn secret(path: &UnixPath, around: &Surroundings) -> Option<String> {
    worst(SECRETS, "it holds", path, around, Reach::At).map(|risk| risk.words)
}

/// How a known place must lie to a granted one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The grant is the place or lies below it.
    At,
    /// So, or the place lies below the grant.
    Both,
}

fn risk(level: Level, words: &str) -> Risk {
    Risk {
        level,
        words: words.to_owned(),
    }
}

/// The first of the worst.
fn most<const N: usize>(risks: [Option<Risk>; N]) -> Option<Risk> {
    risks.into_iter().flatten().reduce(|first, next| {
        if next.level > first.level {
            next
        } else {
            first
        }
    })
}

/// `/var/run` is `/run` on every machine of today.
fn without_var_run(path: &UnixPath) -> UnixPath {
    let rest = path.as_str().strip_prefix("/var/run");
    rest.filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .and_then(|rest| UnixPath::new(&format!("/run{rest}")).ok())
        .unwrap_or_else(|| path.clone())
}

/// Grants that need no list: they hold everything.
fn whole(path: &UnixPath, around: &Surroundings, write: bool) -> Option<Risk> {
    let verb = if write { "read and changed" } else { "read" };
    if path.as_str() == "/" {
        return Some(Risk {
            level: Level::Critical,
            words: format!("all of the machine's files can be {verb}, every credential included"),
        });
    }
    let of_home = around.homes.iter().find(|home| home.is_within(path));
    if of_home.is_some() || path.as_str() == "/home" {
        return Some(Risk {
            level: Level::Critical,
            words: format!(
                "a whole home can be {verb}: keys, tokens, browsers' sessions{}",
                if write {
                    ", what shells run when they start"
                } else {
                    ""
                }
            ),
        });
    }
    let (what, level) = match path.as_str() {
        "/proc" => (
            "it shows every task of the machine, with its memory",
            Level::Critical,
        ),
        "/sys" => ("it shows the kernel and the hardware", Level::Low),
        "/dev" => (
            "it shows every device of the machine, disks included",
            Level::Critical,
        ),
        _ => return None,
    };
    Some(risk(level, what))
}

/// Whoever starts programs by name starts what was written here.
fn on_path(path: &UnixPath, around: &Surroundings) -> Option<Risk> {
    let directory = around.path_directories.iter().find(|directory| {
        directory.is_within(path) || path.parent().as_ref() == Some(*directory)
    })?;
    Some(Risk {
        level: Level::Critical,
        words: format!(
            "programs are started by name from `{directory}`: what it writes there runs outside of the jar"
        ),
    })
}

/// Configuration in a home of which nothing more is known.
fn dot_entry(path: &UnixPath, around: &Surroundings, write: bool) -> Option<Risk> {
    let home = around.homes.iter().find(|home| {
        path.is_within(home) && path.as_str()[home.as_str().len()..].starts_with("/.")
    })?;
    let rest = &path.as_str()[home.as_str().len() + 1..];
    let cache = rest == ".cache" || rest.starts_with(".cache/");
    Some(match (write, cache) {
        (true, true) => risk(
            Level::Low,
            "programs outside of the jar trust what they find in their caches",
        ),
        (true, false) => risk(
            Level::High,
            "programs outside of the jar obey their configuration in a home",
        ),
        (false, _) => risk(
            Level::Low,
            "it is private configuration or data of a home, in which programs keep tokens too",
        ),
    })
}

/// The worst of a list that a grant of `path` gives away.
fn worst(
    list: &[Known],
    verb: &str,
    path: &UnixPath,
    around: &Surroundings,
    reach: Reach,
) -> Option<Risk> {
    let (mut at, mut above): (Option<&Known>, Vec<&Known>) = (None, Vec::new());
    for known in list {
        match relation(known.path, path, around) {
            Some(Relation::At) if at.is_none_or(|at| at.level < known.level) => at = Some(known),
            Some(Relation::Above) if reach == Reach::Both => above.push(known),
            _ => {}
        }
    }
    if let Some(known) = at {
        return Some(Risk {
            level: known.level,
            words: format!("{verb} {} (`{}`)", known.words, known.path),
        });
    }
    let level = above.iter().map(|known| known.level).max()?;
    above.retain(|known| known.level == level);
    let first = above.first()?;
    let more = match above.len() {
        1 => String::new(),
        many => format!(", and {} more such places", many - 1),
    };
    Some(Risk {
        level,
        words: format!(
            "`{}` lies in it, and {} {}{more}",
            first.path,
            // "it holds" of a list is said of the place inside.
            verb,
            first.words
        ),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// The path is the place or lies in it.
    At,
    /// The place lies in the path.
    Above,
}

fn relation(pattern: &str, path: &UnixPath, around: &Surroundings) -> Option<Relation> {
    if let Some(inside) = pattern.strip_prefix("~/") {
        return around.homes.iter().find_map(|home| {
            let rest = path.as_str().strip_prefix(home.as_str())?;
            lies(inside, rest.strip_prefix('/')?)
        });
    }
    if let Some(anywhere) = pattern.strip_prefix("**/") {
        let names: Vec<&str> = path.relative().split('/').collect();
        return (0..names.len())
            .any(|start| lies(anywhere, &names[start..].join("/")) == Some(Relation::At))
            .then_some(Relation::At);
    }
    lies(pattern.strip_prefix('/')?, path.relative())
}

/// How a path lies to a pattern, both without a slash in front.
fn lies(pattern: &str, path: &str) -> Option<Relation> {
    let (mut wanted, mut names) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), names.next()) {
            (None, _) => return Some(Relation::At),
            (Some(_), None) => return Some(Relation::Above),
            (Some(wanted), Some(name)) if fits(wanted, name) => {}
            _ => return None,
        }
    }
}

/// A name fits a pattern in which `*` stands for any letters.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests;
