//! Many files of one directory become that directory, under declared rules only.

use std::collections::BTreeMap;

use belljar_plan::Plan;

use super::{
    gather::Wanted,
    level,
    places::{is_directory, may_stand_for_its_files},
};
use crate::{
    path::UnixPath,
    risk::{self, Level},
    why::{Grant, Machine, Surroundings},
};

/// When a directory stands for what lies in it.
enum Rule {
    /// One of this name, for anything below: what is in it is installed and updated
    /// together.
    Named(&'static str),
    /// One that holds a file of this name, for so many files below: a project's.
    Holding(&'static str, usize),
    /// Any, for so many files right in it: data.
    Files(usize),
}

/// In this order; the first that holds decides.
const RULES: &[Rule] = &[
    Rule::Named("site-packages"),
    Rule::Named("dist-packages"),
    Rule::Named("node_modules"),
    Rule::Holding("package.json", 3),
    Rule::Holding("pyproject.toml", 3),
    Rule::Holding("setup.py", 3),
    Rule::Holding("Cargo.toml", 3),
    Rule::Holding("go.mod", 3),
    Rule::Files(6),
];

/// One directory of the machine, at one place of the jar, read or written.
type Place = (UnixPath, UnixPath, bool);

/// Applies the rules. A directory never stands for its files where it may not by
/// its name, nor where it gives away more than the worst of them.
pub(super) fn collapse(
    mut wanted: Vec<Wanted>,
    plan: &Plan,
    machine: &dyn Machine,
    around: &Surroundings,
) -> Vec<Wanted> {
    for rule in RULES {
        let mut below: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
        for (index, one) in wanted.iter().enumerate() {
            for place in candidates(rule, one, machine) {
                below.entry(place).or_default().push(index);
            }
        }
        // A path sorts before those below it.
        let mut below: Vec<_> = below.into_iter().collect();
        if rule.nearest_first() {
            below.reverse();
        }
        let mut gone: Vec<usize> = Vec::new();
        let mut new: Vec<Wanted> = Vec::new();
        for ((path, at, write), members) in below {
            let Some(grant) = Grant::of_path(&path, Some(&at), write) else {
                continue;
            };
            let of = |grant: &Grant| level(&grant.told(plan, around).risk);
            let whole = of(&grant);
            // What gives away more than the directory seems to stays a line of its own,
            // to be seen: the guest may have asked for it among others.
            let members: Vec<usize> = members
                .into_iter()
                .filter(|index| !gone.contains(index) && of(&wanted[*index].grant) <= whole)
                .collect();
            if members.len() < rule.least() || !may_stand_for_its_files(&path, around) {
                continue;
            }
            let worst = members.iter().map(|index| of(&wanted[*index].grant)).max();
            if Some(whole) > worst || holds_more(&path, write, whole, machine, around) {
                continue;
            }
            let names = members.iter().map(|index| wanted[*index].names).sum();
            let optional = members.iter().all(|index| wanted[*index].optional);
            let Some(first) = members.first().and_then(|index| wanted.get(*index)) else {
                continue;
            };
            new.push(Wanted {
                grant,
                optional,
                keeps: first.keeps,
                reason: first.reason.clone(),
                questions: first.questions.clone(),
                names,
                make: None,
            });
            gone.extend(members);
        }
        let mut index = 0;
        wanted.retain(|_| {
            index += 1;
            !gone.contains(&(index - 1))
        });
        wanted.extend(new);
    }
    covered(wanted)
}

/// Names that give away more than the directory that they lie in seems to.
const TELLING: [&str; 15] = [
    ".git",
    ".git/hooks",
    ".git/config",
    ".env",
    ".envrc",
    ".env.local",
    ".env.production",
    ".git-credentials",
    ".husky",
    ".idea",
    ".vscode",
    "id_ecdsa",
    "id_ed25519",
    "id_rsa",
    "node_modules/.bin",
];

/// Something right in a directory gives away more than this: it stands for none.
fn holds_more(
    path: &UnixPath,
    write: bool,
    whole: Level,
    machine: &dyn Machine,
    around: &Surroundings,
) -> bool {
    TELLING.iter().any(|name| {
        path.join(name).is_ok_and(|inside| {
            let risk = match write {
                true => risk::of_write(&inside, &around.risk),
                false => risk::of_read(&inside, &around.risk),
            };
            risk.is_some_and(|risk| risk.level > whole) && machine.entry(&inside).is_ok()
        })
    })
}

impl Rule {
    /// A project in a project is one of its own; what is installed there is not.
    const fn nearest_first(&self) -> bool {
        !matches!(self, Self::Named(_))
    }

    const fn least(&self) -> usize {
        match self {
            Self::Named(_) => 1,
            Self::Holding(_, least) | Self::Files(least) => *least,
        }
    }
}

/// The directories that a rule would have stand for this one.
fn candidates(rule: &Rule, one: &Wanted, machine: &dyn Machine) -> Vec<Place> {
    let Grant::Path { path, at, write } = &one.grant else {
        return Vec::new();
    };
    if one.make.is_some() {
        return Vec::new();
    }
    let at = at.as_ref().unwrap_or(path);
    above(path, at)
        .into_iter()
        .enumerate()
        .filter(|(up, (above, _))| match rule {
            Rule::Named(name) => above.name() == Some(name),
            Rule::Holding(name, _) => above
                .join(name)
                .is_ok_and(|marker| machine.entry(&marker).is_ok()),
            // Of a file, not of a directory in it.
            Rule::Files(_) => *up == 0 && !is_directory(machine, path),
        })
        .map(|(_, (path, at))| (path, at, *write))
        .collect()
}

/// The directories above, the nearest first, each with its place in the jar, as
/// long as both are called the same.
fn above(path: &UnixPath, at: &UnixPath) -> Vec<(UnixPath, UnixPath)> {
    let mut all = Vec::new();
    let (mut path, mut at) = (path.clone(), at.clone());
    while path.name() == at.name()
        && let (Some(path_above), Some(at_above)) = (path.parent(), at.parent())
    {
        if at_above.as_str() == "/" {
            break;
        }
        all.push((path_above.clone(), at_above.clone()));
        (path, at) = (path_above, at_above);
    }
    all
}

/// Without what others give already.
fn covered(wanted: Vec<Wanted>) -> Vec<Wanted> {
    let gives = |one: &Grant, other: &Grant| match (one, other) {
        (
            Grant::Path { path, at, write },
            Grant::Path {
                path: inner,
                at: inner_at,
                write: inner_write,
            },
        ) => {
            let at = at.as_ref().unwrap_or(path);
            let inner_at = inner_at.as_ref().unwrap_or(inner);
            (*write || !inner_write) && inner.rebased(path, at).as_ref() == Some(inner_at)
        }
        _ => false,
    };
    let mut kept: Vec<Wanted> = Vec::new();
    for (index, one) in wanted.iter().enumerate() {
        let by = wanted.iter().enumerate().any(|(other_index, other)| {
            other_index != index
                && gives(&other.grant, &one.grant)
                // Of two that give the same, the first stays.
                && (!gives(&one.grant, &other.grant) || other_index < index)
                // What may be left out gives nothing for sure.
                && (one.optional || !other.optional)
        });
        if !by {
            kept.push(one.clone());
        }
    }
    kept
}
