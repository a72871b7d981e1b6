//! One change to a manifest and to a policy: what is merged into their files.

use belljar_plan::{Limit, Plan, answer::SmallestGrant};

use super::places::{is_directory, real};
use crate::{
    path::UnixPath,
    policy::{Policy, Right, Said},
    units::{flag, format_value},
    why::{Grant, Machine, Surroundings, quoted},
};

/// What would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A path more.
    Path {
        /// On the machine, as the program names it: a manifest asks so.
        path: UnixPath,
        /// Where its links lead: a policy grants so.
        real: UnixPath,
        /// In the jar, where it is another.
        at: Option<UnixPath>,
        /// It may be written.
        write: bool,
    },
    /// A right of `[process]`.
    Right(Right),
    /// A system call beyond the preset's list; only a policy gives it.
    Call(&'static str),
    /// A higher limit.
    Limit {
        /// Which.
        limit: Limit,
        /// Its new hard value.
        hard: u64,
    },
}

impl Change {
    /// The change that gives a grant.
    pub(super) fn of(grant: &Grant, machine: &dyn Machine) -> Self {
        match grant {
            Grant::Path { path, at, write } => Self::Path {
                path: path.clone(),
                real: real(machine, path),
                at: at.clone(),
                write: *write,
            },
            Grant::Right(right) => Self::Right(*right),
            Grant::Call(name) => Self::Call(name),
        }
    }

    /// The grant in its forms, with the policy's about where links lead.
    pub(super) fn told(&self, grant: &Grant, plan: &Plan, around: &Surroundings) -> SmallestGrant {
        let told = grant.told(plan, around);
        match self {
            Self::Path {
                path, real, write, ..
            } if path != real => {
                let there = Grant::Path {
                    path: real.clone(),
                    at: None,
                    write: *write,
                }
                .told(plan, around);
                let worse = super::level(&there.risk) > super::level(&told.risk);
                SmallestGrant {
                    policy: there.policy,
                    risk: if worse { there.risk } else { told.risk },
                    ..told
                }
            }
            _ => told,
        }
    }

    pub(super) fn limit_lines(&self) -> SmallestGrant {
        let Self::Limit { limit, hard } = self else {
            return SmallestGrant {
                flag: None,
                policy: Vec::new(),
                manifest: Vec::new(),
                risk: Vec::new(),
            };
        };
        let value = written(*limit, *hard);
        let line = match limit.word() {
            word @ ("processes" | "open_files") => format!("limits.{word} = {value}"),
            word => format!("limits.{word} = {}", quoted(&value)),
        };
        SmallestGrant {
            flag: Some(format!("{} {value}", flag(*limit))),
            policy: vec![line.clone()],
            manifest: vec![line],
            risk: vec!["low: it can take more of the machine before it is stopped".to_owned()],
        }
    }

    /// Smaller ones come first: a file, a directory by its depth, a right, a call.
    pub(super) fn size(&self, machine: &dyn Machine) -> (u8, usize, String) {
        match self {
            Self::Limit { limit, .. } => (0, 0, limit.word().to_owned()),
            Self::Path {
                path, real, write, ..
            } => {
                let directory = is_directory(machine, real);
                let depth = path.as_str().matches('/').count();
                let rank = 1 + 2 * u8::from(directory) + u8::from(*write);
                (rank, usize::MAX - depth, path.to_string())
            }
            Self::Right(right) => (5, 0, right.word().to_owned()),
            Self::Call(name) => (6, 0, (*name).to_owned()),
        }
    }

    /// Gives it in a policy by an operator's flag, and widens the policy file's
    /// own lists by it, as an operator who writes the line does. What the file
    /// denies stays denied.
    pub fn add_to(&self, policy: &mut Policy) {
        match self {
            Self::Path {
                path,
                real,
                at,
                write,
            } => {
                let grant = Grant::Path {
                    path: path.clone(),
                    at: at.clone(),
                    write: *write,
                };
                grant.add_to(None, policy);
                if let Some(file) = &mut policy.ceilings {
                    let list = match write {
                        true => &mut file.write,
                        false => &mut file.read,
                    };
                    list.push(Said {
                        value: real.clone(),
                        origin: "what is proposed".to_owned(),
                    });
                }
            }
            Self::Right(right) => {
                policy.flags.allow.insert(*right);
            }
            Self::Call(name) => Grant::Call(name).add_to(None, policy),
            Self::Limit { limit, hard } => {
                let bound = crate::manifest::Bound {
                    hard: Some(*hard),
                    ..crate::manifest::Bound::default()
                };
                policy.flags.limits.insert(*limit, bound);
                if let Some(file) = &mut policy.ceilings {
                    file.limits.remove(limit);
                }
            }
        }
    }
}

/// A limit's value as one word.
#[must_use]
pub fn written(limit: Limit, value: u64) -> String {
    format_value(limit, value).replace(' ', "")
}
