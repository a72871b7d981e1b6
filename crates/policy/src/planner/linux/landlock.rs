//! Which Landlock domain a guest is put in: the second wall around its files,
//! and the one that signals and abstract sockets meet; landlock(7).
//!
//! [`Domain::new`] takes places and what may be done there, whatever shows
//! them; [`planned`] is the domain of a jar with a root of its own.

use std::collections::BTreeMap;

use belljar_plan::{
    Filter, Landlock, Namespaces, Preset, Rule, Step, landlock::Right, step::OwnedStep,
};

use super::root::Root;
use crate::{
    effective::Effective,
    facts::{Ability, HostFacts},
    path::UnixPath,
    seccomp::{self, Group},
};

mod access;
mod places;

pub(super) use access::Access;

/// From this version on a trial can be kept out of the machine's audit log.
const QUIET: u32 = 7;

/// Since this version a file may be renamed to another directory at all.
const RENAMES: u32 = 2;

/// Something that a domain may use, at a path and below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// In the jar, free of symbolic links.
    pub(super) path: UnixPath,
    /// What may be done. Of a single file only what can be done to files.
    pub(super) access: Access,
    /// It belongs to a grant that may fail.
    pub(super) optional: bool,
}

/// What may be reached by TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tcp {
    /// Whatever the network namespace has: in one of the jar's own a rule would
    /// only keep the guest from its own servers.
    Open,
    /// No port.
    Nothing,
}

/// A domain, before it is steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Domain {
    /// By name, for people.
    pub(super) named: Landlock,
    files: u64,
    network: u64,
    scopes: u64,
    places: Vec<Place>,
    queues: Access,
}

impl Domain {
    /// The domain that a kernel with this version of Landlock makes of places.
    /// What it doesn't know is neither denied nor allowed.
    pub(super) fn new(abi: u32, places: impl IntoIterator<Item = Place>, tcp: Tcp) -> Self {
        let wanted = |right: &Right| match right {
            Right::BindTcp | Right::ConnectTcp => tcp == Tcp::Nothing,
            _ => true,
        };
        let (handled, missing): (Vec<Right>, Vec<Right>) = Right::ALL
            .iter()
            .copied()
            .filter(wanted)
            .partition(|right| access::since(*right) <= abi);
        let bits = |of| access::bits(of, &handled);
        let files = bits(access::Of::Files);
        let mut merged: BTreeMap<UnixPath, Place> = BTreeMap::new();
        for place in places {
            let access = Access(place.access.0 & files);
            merged
                .entry(place.path.clone())
                .and_modify(|there| {
                    there.access = there.access.and(access);
                    there.optional &= place.optional;
                })
                .or_insert(Place { access, ..place });
        }
        Self {
            files,
            network: bits(access::Of::Network),
            scopes: bits(access::Of::Scopes),
            // The kernel refuses a rule that allows nothing.
            places: merged
                .into_values()
                .filter(|place| place.access != Access::NONE)
                .collect(),
            queues: Access::NONE,
            named: Landlock {
                abi,
                handled,
                missing,
            },
        }
    }

    /// With the POSIX message queues of the jar's own ipc namespace, which are
    /// files that no path leads to.
    fn with_queues(self) -> Self {
        Self {
            queues: Access::READ.and(Access::WRITE),
            ..self
        }
    }

    /// Whether pid 1 has to get hold of the queues.
    pub(super) fn has_queues(&self) -> bool {
        self.queues != Access::NONE
    }

    /// Whether it denies this where no place allows it.
    pub(super) fn handles(&self, right: Right) -> bool {
        self.named.handled.contains(&right)
    }

    /// The steps by which a process enters it: the set, what it allows, the entry.
    pub(super) fn steps(&self) -> (OwnedStep, Vec<OwnedStep>, OwnedStep) {
        let ruleset = Step::Ruleset {
            files: self.files,
            network: self.network,
            scopes: self.scopes,
        };
        let allowed = self.places.iter().map(|place| Step::AllowPath {
            path: place.path.relative().into(),
            access: place.access.0,
            optional: place.optional,
        });
        let queues = self.has_queues().then_some(Step::AllowQueues {
            access: self.queues.0,
        });
        let restrict = Step::Restrict {
            quiet: self.named.abi >= QUIET,
        };
        (ruleset, allowed.chain(queues).collect(), restrict)
    }

    /// Its version, and what that lacks, in words.
    pub(super) fn mechanism(&self) -> String {
        let mut missing: Vec<&str> = self
            .named
            .missing
            .iter()
            .map(|right| group(*right))
            .collect();
        missing.dedup();
        let abi = self.named.abi;
        match missing.as_slice() {
            [] => format!("Landlock ABI {abi}"),
            missing => format!("Landlock ABI {abi}: without {}", missing.join(", ")),
        }
    }
}

/// A right to files as the kernel's bit; 0 for one that is not about files.
pub(crate) fn file_bit(right: Right) -> u64 {
    access::bits(access::Of::Files, &[right])
}

/// How a sentence calls a right.
const fn group(right: Right) -> &'static str {
    match right {
        Right::IoctlDev => "ioctl",
        Right::BindTcp | Right::ConnectTcp => "tcp",
        Right::AbstractUnixSocket | Right::Signal => "scopes",
        right => right.word(),
    }
}

/// The domain of a jar with a root of its own; else why it has none, and then
/// its mounts alone hold its files.
pub(super) fn planned(
    root: &Root,
    effective: &Effective,
    facts: &HostFacts,
    namespaces: Namespaces,
    filter: Option<&Filter>,
) -> Result<Domain, String> {
    if let Ability::Unavailable { cause, .. } = &facts.landlock {
        return Err(cause.clone());
    }
    if facts.landlock_abi < RENAMES {
        return Err(format!(
            "ABI {} refuses whatever moves a file to another directory, which programs need; Linux 5.19 has one that does not",
            facts.landlock_abi
        ));
    }
    if let Some(call) = filter.and_then(mounts) {
        return Err(format!(
            "the policy lets {call} through, which Landlock would refuse"
        ));
    }
    let queues = filter.is_none_or(makes_queues);
    if queues && !namespaces.ipc {
        return Err(
            "the policy leaves the machine's message queues to the jar, which Landlock would refuse"
                .to_owned(),
        );
    }
    let places = places::of_jar(
        &root.tree,
        effective.preset.value == Preset::Strict,
        effective.terminal.is_some(),
    );
    // The network is either the jar's own or, as the policy says, the machine's.
    let domain = Domain::new(facts.landlock_abi, places, Tcp::Open);
    Ok(if queues { domain.with_queues() } else { domain })
}

/// Whether POSIX message queues are let through.
fn makes_queues(filter: &Filter) -> bool {
    seccomp::Call::named("mq_open").is_some_and(|call| seccomp::denials(call, filter).is_empty())
}

/// A call that changes mounts, which a policy lets through: in a domain none is
/// ever done, and nothing allows it.
fn mounts(filter: &Filter) -> Option<&str> {
    filter
        .allow
        .iter()
        .map(String::as_str)
        .find(|name| seccomp::Call::named(name).is_some_and(|call| call.group == Group::Mounts))
}

/// Whether abstract sockets of the machine are in the jar's network namespace,
/// and kept from it by this domain: those of another namespace have no name here.
pub(super) fn keeps_abstract_names(domain: &Domain, namespaces: Namespaces) -> bool {
    !namespaces.network && domain.handles(Right::AbstractUnixSocket)
}

/// The rules that entering the domain is a part of.
pub(super) fn rules(domain: &Domain, namespaces: Namespaces) -> Vec<Rule> {
    let mut rules = vec![Rule::Files];
    rules.extend(keeps_abstract_names(domain, namespaces).then_some(Rule::Sockets));
    rules.extend(domain.handles(Right::Signal).then_some(Rule::Tasks));
    rules
}

#[cfg(test)]
mod tests;
