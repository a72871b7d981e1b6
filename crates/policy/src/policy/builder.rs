//! The library's way to a [`Policy`]: presets, and an operator's explicit words.

use std::collections::BTreeMap;

use belljar_plan::{Bytes, Limit, Preset, Rule, Strength};

use super::{Ceilings, Policy, Right, Said, is_name};
use crate::{
    group::{Group, GroupError},
    manifest::{Bound, Place},
    parse::tame,
    path::{PathError, UnixPath},
    units::{UnitError, Whose, check_bound},
};

/// Why a word of the builder cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A path that is none.
    #[error("a path of the policy")]
    Path(#[source] PathError),
    /// A name that is no group's.
    #[error("a group of the policy")]
    Group(#[source] GroupError),
    /// A limit that is none.
    #[error("a limit of the policy")]
    Limit(#[source] UnitError),
    /// A limit that all jars of a host cannot have together.
    #[error("there is no limit of `{0}` for all jars together; there is memory, processes and cpu")]
    NotTogether(Limit),
    /// A variable's name or value that cannot be.
    #[error(
        "variable `{0}` cannot be: a name must not be empty nor contain `=`, and neither may contain NUL"
    )]
    Variable(String),
}

/// Where the builder's words come from, in messages and reports.
const BUILDER: &str = "the host's policy";

impl Policy {
    /// The preset `minimal`. It denies: secrets known by name, unix sockets of
    /// the machine, root's rights, new privileges, the operator's terminal,
    /// inherited descriptors, variables with secrets. It allows the rest: every
    /// file that the user can read, the machine's network and tasks.
    #[must_use]
    pub fn minimal() -> Self {
        Self::of(Preset::Minimal)
    }

    /// The preset `standard`, for programs. It denies what `minimal` does, and:
    /// every file but the system's runtime directories and the program, all
    /// writing but to private scratch, the network, the machine's tasks, IPC and
    /// devices.
    ///
    /// ```
    /// use belljar_policy::{Policy, data::Limit, manifest::Bound};
    /// let policy = Policy::standard()
    ///     .allow_read("/srv/data")?
    ///     .limit(Limit::Wall, Bound { hard: Some(5_000_000_000), ..Bound::default() })?;
    /// # Ok::<(), belljar_policy::policy::BuildError>(())
    /// ```
    #[must_use]
    pub fn standard() -> Self {
        Self::of(Preset::Standard)
    }

    /// The preset `strict`, for plugins. It denies what `standard` does, and:
    /// the system's directories but for what the plugin needs to start, other
    /// programs, memory that is writable and executable; and its limits are small.
    #[must_use]
    pub fn strict() -> Self {
        Self::of(Preset::Strict)
    }

    /// Another name for [`Policy::strict`].
    #[must_use]
    pub fn locked_down() -> Self {
        Self::strict()
    }

    /// Nothing but a preset.
    #[must_use]
    pub fn of(preset: Preset) -> Self {
        Self {
            preset: Some(Said {
                value: preset,
                origin: BUILDER.to_owned(),
            }),
            ..Self::default()
        }
    }

    /// Lets the jar read and write a path and all below it, at its own place.
    ///
    /// ```
    /// let policy = belljar_policy::Policy::locked_down().allow_path_prefix("/srv/out")?;
    /// # Ok::<(), belljar_policy::policy::BuildError>(())
    /// ```
    ///
    /// # Errors
    /// Where it is no absolute path.
    pub fn allow_path_prefix(mut self, path: &str) -> Result<Self, BuildError> {
        self.flags.write.push(place(path)?);
        Ok(self)
    }

    /// Lets the jar read a path and all below it, at its own place; or what a
    /// group such as `toolchain:node` stands for.
    ///
    /// # Errors
    /// Where it is no absolute path, nor the name of a group.
    pub fn allow_read(mut self, path: &str) -> Result<Self, BuildError> {
        match Group::read(path).map_err(BuildError::Group)? {
            Some(group) => self.flags.groups.push(group),
            None => self.flags.read.push(place(path)?),
        }
        Ok(self)
    }

    /// Hides a path and all below it, whatever else is allowed.
    ///
    /// # Errors
    /// Where it is no absolute path.
    pub fn deny(mut self, path: &str) -> Result<Self, BuildError> {
        let value = UnixPath::new(path).map_err(BuildError::Path)?;
        self.ceilings_mut().deny.push(Said {
            value,
            origin: BUILDER.to_owned(),
        });
        Ok(self)
    }

    /// Sets a limit in place of the preset's, up or down. Units are those of [`Limit`].
    ///
    /// # Errors
    /// Where a value is zero or soft is above hard.
    pub fn limit(mut self, limit: Limit, bound: Bound) -> Result<Self, BuildError> {
        check_bound(limit, &bound, Whose::Key(limit.word())).map_err(BuildError::Limit)?;
        self.flags.limits.insert(limit, bound);
        Ok(self)
    }

    /// Bounds what all jars of this process have together whose policy says so: `memory`,
    /// `processes` and `cpu`, in the units of [`Limit`]. Where two policies differ, the
    /// lower one holds for all. Only a cgroup holds it; a launch is refused where none
    /// can be made.
    ///
    /// # Errors
    /// Where it is zero, or another limit.
    pub fn together(mut self, limit: Limit, most: u64) -> Result<Self, BuildError> {
        let bound = Bound {
            hard: Some(most),
            ..Bound::default()
        };
        check_bound(limit, &bound, Whose::Key(limit.word())).map_err(BuildError::Limit)?;
        if !matches!(limit, Limit::Memory | Limit::Processes | Limit::Cpu) {
            return Err(BuildError::NotTogether(limit));
        }
        let said = Said {
            value: most,
            origin: BUILDER.to_owned(),
        };
        self.host.insert(limit, said);
        Ok(self)
    }

    /// Refuses a launch where the machine enforces a rule less strongly. The
    /// last word about a rule counts.
    ///
    /// ```
    /// use belljar_policy::{Policy, data::{Rule, Strength}};
    /// let policy = Policy::strict().require(Rule::Memory, Strength::Kernel);
    /// ```
    #[must_use]
    pub fn require(self, rule: Rule, strength: Strength) -> Self {
        self.require_as(rule, strength, BUILDER)
    }

    /// As [`Policy::require`], with where it was said, such as `--require`.
    #[must_use]
    pub fn require_as(mut self, rule: Rule, strength: Strength, origin: &str) -> Self {
        self.best_effort.remove(&rule);
        self.require.insert(
            rule,
            Said {
                value: strength,
                origin: origin.to_owned(),
            },
        );
        self
    }

    /// Takes whatever enforcement of a rule the machine can give; plan and
    /// report say what that was. The last word about a rule counts.
    #[must_use]
    pub fn best_effort(self, rule: Rule) -> Self {
        self.best_effort_as(rule, BUILDER)
    }

    /// As [`Policy::best_effort`], with where it was said, such as `--best-effort`.
    #[must_use]
    pub fn best_effort_as(mut self, rule: Rule, origin: &str) -> Self {
        self.require.remove(&rule);
        self.best_effort.insert(rule, origin.to_owned());
        self
    }

    /// Gives a right that `strict` has a rule against.
    #[must_use]
    pub fn allow(mut self, right: Right) -> Self {
        self.flags.allow.insert(right);
        self
    }

    /// Ends the jar at the first violation of a rule that is seen.
    #[must_use]
    pub fn end_on(self, rule: Rule) -> Self {
        self.end_on_as(rule, BUILDER)
    }

    /// As [`Policy::end_on`], with where it was said, such as `--end-on`.
    #[must_use]
    pub fn end_on_as(mut self, rule: Rule, origin: &str) -> Self {
        self.end_on.insert(rule, origin.to_owned());
        self
    }

    /// Sets a variable in the jar.
    ///
    /// # Errors
    /// Where name or value cannot be a variable's; environ(7).
    pub fn set_env(mut self, name: &str, value: impl Into<Bytes>) -> Result<Self, BuildError> {
        let value = value.into();
        if !is_name(name) || value.0.contains(&0) {
            return Err(BuildError::Variable(tame(name)));
        }
        self.flags.set.push((name.to_owned(), value));
        Ok(self)
    }

    /// Passes a variable of the caller's into the jar.
    ///
    /// # Errors
    /// Where it cannot be a variable's name.
    pub fn pass_env(mut self, name: &str) -> Result<Self, BuildError> {
        if !is_name(name) {
            return Err(BuildError::Variable(tame(name)));
        }
        self.flags.pass.push(name.to_owned());
        Ok(self)
    }

    fn ceilings_mut(&mut self) -> &mut Ceilings {
        self.ceilings.get_or_insert_with(|| Ceilings {
            file: BUILDER.to_owned(),
            said: BTreeMap::new(),
            ..Ceilings::default()
        })
    }
}

fn place(path: &str) -> Result<Place, BuildError> {
    Ok(Place {
        path: UnixPath::new(path).map_err(BuildError::Path)?,
        at: None,
    })
}
