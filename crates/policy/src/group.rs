//! Named groups of paths: `group:git`, `toolchain:node`. A group stands for what
//! a tool or a runtime needs to be seen, wherever a machine keeps it, and for
//! nothing that is secret.
//!
//! Nothing here looks at a machine. [`Group::patterns`] says where to look, a
//! [`Survey`] what was found there, and [`Group::expand`] what of that is granted.

use belljar_plan::Bytes;

use crate::{
    parse::{hint, nearest, tame},
    path::UnixPath,
    policy::Right,
    risk::{Level, Surroundings, fits, of_read, secret},
    verified::{Caller, FileKind, Survey},
};

mod docs;
mod list;

pub use docs::page;
use list::about;

/// A named group of paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// `group:git`
    Git,
    /// `group:tls-roots`
    TlsRoots,
    /// `group:locale`
    Locale,
    /// `group:gpu`
    Gpu,
    /// `toolchain:node`
    Node,
    /// `toolchain:python`
    Python,
    /// `toolchain:rust`
    Rust,
    /// `toolchain:go`
    Go,
    /// `toolchain:java`
    Java,
}

/// What a group stands for.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name as it is written.
    pub word: &'static str,
    /// What it is for, in one line.
    pub what: &'static str,
    /// How much it gives away.
    pub level: Level,
    /// What it gives away, in one sentence without a full stop.
    pub risk: &'static str,
    /// What is granted of a machine, as far as it is there.
    pub items: &'static [Item],
    /// Directories of programs, which come last on the jar's PATH. Each lies in
    /// one of the items.
    pub programs: &'static [&'static str],
    /// Variables without which the paths are of no use.
    pub variables: &'static [Variable],
    /// Rights that it needs under `strict` and does not give.
    pub needs: &'static [Right],
}

/// A path of a group. `~/` is the home of whoever starts the jar, `$NAME` what
/// that variable of his says, and `*` stands for any letters of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it lies.
    pub path: &'static str,
    /// How it is granted.
    pub kind: ItemKind,
}

/// How a path of a group is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// To be read, at its own path.
    Own,
    /// To be read, at the same place of the jar's home: configuration that is
    /// looked for there.
    Home,
    /// A device: to be read and written, at its own path.
    Device,
    /// Programs and libraries of the system that every program needs, to be
    /// read at their own path. That they are there says nothing of the group.
    System,
}

/// A variable of a group. Nothing is set that a flag or manifest sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// Passed from the caller, where it is set.
    Passed(&'static str),
    /// Set to the caller's value where that lies in what the group grants, else
    /// to the first of these places that it grants.
    Place(&'static str, &'static [&'static str]),
}

/// A path that a group stands for on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The path in the group's list by which it was found.
    pub of: &'static str,
    /// Before links are followed.
    pub path: UnixPath,
    /// In the jar's home: relative to it, where it is to be there.
    pub at_home: Option<String>,
    /// It may be written: a device.
    pub write: bool,
    /// It says that what the group is about is there.
    pub counts: bool,
    /// It leads to a known secret, which no group stands for: what that holds.
    pub secret: Option<String>,
}

/// Why a text names no group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// There is none of that name.
    #[error("there is no group `{0}`{1}")]
    Unknown(String, String),
    /// A place in the jar was said.
    #[error("`{0}` has its own places in the jar; leave `at` out")]
    At(&'static str),
    /// It was said where something may be written.
    #[error(
        "`{0}` can only be granted by `read`; what of it is a device may be written all the same"
    )]
    Write(&'static str),
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 9] = [
        Self::Git,
        Self::TlsRoots,
        Self::Locale,
        Self::Gpu,
        Self::Node,
        Self::Python,
        Self::Rust,
        Self::Go,
        Self::Java,
    ];

    /// Its name as it is written, such as `group:git`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        about(self).word
    }

    /// What it stands for.
    #[must_use]
    pub const fn about(self) -> &'static About {
        about(self)
    }

    /// Reads the name of a group; `None` for a text that is a path.
    ///
    /// # Errors
    /// Where it has the form of a group's name, and there is none of that name.
    ///
    /// ```
    /// use belljar_policy::group::Group;
    /// assert_eq!(Group::read("group:git"), Ok(Some(Group::Git)));
    /// assert_eq!(Group::read("/srv/group:git"), Ok(None));
    /// let error = Group::read("toolchain:nod").unwrap_err();
    /// assert_eq!(error.to_string(), "there is no group `toolchain:nod`; did you mean `toolchain:node`?");
    /// ```
    pub fn read(text: &str) -> Result<Option<Self>, GroupError> {
        if !text.starts_with("group:") && !text.starts_with("toolchain:") {
            return Ok(None);
        }
        Self::ALL
            .into_iter()
            .find(|group| group.word() == text)
            .map(Some)
            .ok_or_else(|| {
                let all: Vec<String> = Self::ALL.map(|group| group.word().to_owned()).to_vec();
                let near = nearest(text, all.iter().map(String::as_str));
                GroupError::Unknown(tame(text), hint(near.as_deref(), &all))
            })
    }

    /// The groups that a path is of, wherever this caller's machine keeps it: one of
    /// them may be a better word for it. What every program needs is of none.
    ///
    /// ```
    /// use belljar_policy::{UnixPath, group::Group, verified::Caller};
    /// let caller = Caller {
    ///     environment: vec![("HOME".into(), "/home/me".into())],
    ///     ..Caller::default()
    /// };
    /// let config = UnixPath::new("/home/me/.config/git/ignore")?;
    /// assert_eq!(Group::holding(&config, &caller), [Group::Git]);
    /// # Ok::<(), belljar_policy::path::PathError>(())
    /// ```
    #[must_use]
    pub fn holding(path: &UnixPath, caller: &Caller) -> Vec<Self> {
        let holds = |item: &Item| {
            item.kind != ItemKind::System
                && absolute(item.path, caller).is_some_and(|pattern| {
                    let (wanted, mut names) = (pattern.split('/'), path.as_str().split('/'));
                    wanted
                        .into_iter()
                        .all(|want| names.next().is_some_and(|name| fits(want, name)))
                })
        };
        let all = Self::ALL.into_iter();
        all.filter(|group| group.about().items.iter().any(holds))
            .collect()
    }

    /// Where its paths and programs may lie on the machine of this caller:
    /// absolute, with `*` for any letters of one name. Somebody has to look there.
    #[must_use]
    pub fn patterns(self, caller: &Caller) -> Vec<String> {
        let items = self.about().items.iter();
        items
            .filter_map(|item| absolute(item.path, caller))
            .chain(self.program_patterns(caller))
            .collect()
    }

    /// Of its patterns those of its directories of programs.
    #[must_use]
    pub fn program_patterns(self, caller: &Caller) -> Vec<String> {
        let programs = self.about().programs.iter();
        programs.filter_map(|path| absolute(path, caller)).collect()
    }

    /// What of it is there, in order of its list.
    #[must_use]
    pub fn expand(self, caller: &Caller, survey: &Survey) -> Vec<Member> {
        let home = caller.home();
        let around = Surroundings {
            homes: caller.homes.iter().cloned().chain(home.clone()).collect(),
            path_directories: Vec::new(),
        };
        let mut members: Vec<Member> = Vec::new();
        for item in self.about().items {
            let Some(pattern) = absolute(item.path, caller) else {
                continue;
            };
            for path in found(&pattern, survey) {
                let device = item.kind == ItemKind::Device;
                let is_device = survey
                    .find(&path)
                    .is_ok_and(|found| matches!(found.kind, FileKind::CharacterDevice { .. }));
                if device && !is_device || members.iter().any(|known| known.path == path) {
                    continue;
                }
                let at_home = (item.kind == ItemKind::Home)
                    .then(|| {
                        let home = home.as_ref()?.as_str();
                        Some(path.as_str().strip_prefix(home)?.to_owned())
                    })
                    .flatten();
                // A link in a home may lead anywhere, and a variable say anything.
                let secret = survey.find(&path).ok().and_then(|found| {
                    let of_variable = || {
                        let risk = of_read(&path, &around).max(of_read(&found.path, &around))?;
                        (item.path.starts_with('$') && risk.level > Level::Low)
                            .then_some(risk.words)
                    };
                    secret(&found.path, &around).or_else(of_variable)
                });
                members.push(Member {
                    of: item.path,
                    secret,
                    path,
                    at_home,
                    write: device,
                    counts: item.kind != ItemKind::System,
                });
            }
        }
        members
    }

    /// Its directories of programs that are there, of several versions the last first.
    #[must_use]
    pub fn programs(self, caller: &Caller, survey: &Survey) -> Vec<UnixPath> {
        self.program_patterns(caller)
            .into_iter()
            .flat_map(|pattern| found(&pattern, survey).into_iter().rev())
            .collect()
    }

    /// Its variables for this caller, as far as they have a value. `granted` is
    /// what it grants.
    pub(crate) fn variables(self, caller: &Caller, granted: &[UnixPath]) -> Vec<(String, Bytes)> {
        let of_caller = |name: &str| {
            let mut all = caller.environment.iter();
            all.find(|(key, _)| key.0 == name.as_bytes())
                .map(|(_, value)| value.clone())
        };
        let inside = |path: &UnixPath| granted.iter().any(|place| path.is_within(place));
        // What holds a granted place is as good: RUSTUP_HOME is the directory
        // above the toolchains.
        let around =
            |path: &UnixPath| inside(path) || granted.iter().any(|place| place.is_within(path));
        let variables = self.about().variables.iter();
        variables
            .filter_map(|variable| match variable {
                Variable::Passed(name) => Some(((*name).to_owned(), of_caller(name)?)),
                Variable::Place(name, places) => {
                    let own = of_caller(name).and_then(|value| {
                        let path = UnixPath::new(std::str::from_utf8(&value.0).ok()?).ok()?;
                        around(&path).then_some(path)
                    });
                    let place = own.or_else(|| {
                        places
                            .iter()
                            .filter_map(|place| absolute(place, caller))
                            .filter_map(|place| UnixPath::new(&place).ok())
                            .find(around)
                    })?;
                    Some(((*name).to_owned(), place.as_str().into()))
                }
            })
            .collect()
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// A path of the list with the caller's home or variable in its place; none
/// where it has none, or where a variable's star would stand for anything.
fn absolute(path: &str, caller: &Caller) -> Option<String> {
    if let Some(rest) = path.strip_prefix("~/") {
        return caller.home().map(|home| format!("{home}/{rest}"));
    }
    let Some(variable) = path.strip_prefix('$') else {
        return Some(path.to_owned());
    };
    let (name, rest) = match variable.find('/') {
        Some(end) => variable.split_at(end),
        None => (variable, ""),
    };
    let (_, value) = caller
        .environment
        .iter()
        .find(|(key, _)| key.0 == name.as_bytes())?;
    let start = UnixPath::new(std::str::from_utf8(&value.0).ok()?).ok()?;
    (!start.as_str().contains('*') && start.as_str() != "/").then(|| format!("{start}{rest}"))
}

/// Of the paths that were looked at, those that a pattern names and that are there.
fn found(pattern: &str, survey: &Survey) -> Vec<UnixPath> {
    if !pattern.contains('*') {
        let path = UnixPath::new(pattern).ok();
        return path
            .filter(|path| survey.find(path).is_ok())
            .into_iter()
            .collect();
    }
    let wanted: Vec<&str> = pattern.split('/').collect();
    let start = pattern.split('*').next().unwrap_or_default();
    survey
        .0
        .iter()
        .filter(|(path, found)| found.is_ok() && path.as_str().starts_with(start))
        .map(|(path, _)| path)
        .filter(|path| {
            let names: Vec<&str> = path.as_str().split('/').collect();
            let pairs = wanted.iter().zip(&names);
            names.len() == wanted.len() && pairs.into_iter().all(|(want, name)| fits(want, name))
        })
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
