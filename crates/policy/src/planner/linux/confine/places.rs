//! Which paths a process that confines itself may still use. Landlock allows what lies below
//! a directory and takes nothing back, so that a directory with something hidden in it is
//! allowed name by name instead: what is made in it later is not.

use std::collections::BTreeSet;

use belljar_plan::Preset;

use super::{
    super::{
        super::program::{elsewhere, needs},
        landlock::{Access, Place},
        root::in_system,
    },
    Process, Start,
};
use crate::{
    effective::Effective,
    facts::{HostFacts, PlaceKind},
    path::UnixPath,
    policy::{Policy, Said},
    verified::{Executable, FileKind, Found, Subject, Verified},
};

/// Harmless devices that every program expects.
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// What a start reads before anything of the program's own.
const LOADER: [&str; 1] = ["/etc/ld.so.cache"];

/// A name that leads to where other programs' sockets are, and is read in `minimal`.
const RESOLVER: [&str; 1] = ["/etc/resolv.conf"];

/// Full of devices, or of other programs' sockets and states.
const CLOSED: [&str; 2] = ["/dev", "/run"];

/// The directories whose entries have to be known: those above whatever is hidden.
#[must_use]
pub fn listed(verified: &Verified, policy: &Policy, facts: &HostFacts) -> BTreeSet<UnixPath> {
    let denied = policy.ceilings.iter().flat_map(|file| &file.deny);
    let denied = denied
        .filter_map(|said| verified.survey.find(&said.value).ok())
        .map(|found| &found.path);
    let secrets = facts.layout.secrets.iter().map(|place| &place.path);
    let above = |path: &UnixPath| -> Vec<UnixPath> {
        let all = path.ancestors_from_root();
        all.filter(|ancestor| ancestor != path).collect()
    };
    denied.chain(secrets).flat_map(above).collect()
}

/// What is hidden, and who says so: what a policy denies, and in `minimal` known secrets
/// that nobody grants by name.
pub(super) fn hidden(effective: &Effective, facts: &HostFacts) -> Vec<Said<UnixPath>> {
    let granted = |path: &UnixPath| effective.grants.iter().any(|grant| grant.path == *path);
    let secrets = facts
        .layout
        .secrets
        .iter()
        .filter(|place| effective.preset.value == Preset::Minimal && !granted(&place.path))
        .map(|place| Said {
            value: place.path.clone(),
            origin: "a known secret, which preset minimal hides".to_owned(),
        });
    effective.hidden.iter().cloned().chain(secrets).collect()
}

/// Everything that may be used, and how.
pub(super) fn of(
    verified: &Verified,
    effective: &Effective,
    facts: &HostFacts,
    process: &Process,
    hidden: &[Said<UnixPath>],
) -> Vec<Place> {
    let mut wanted = Vec::new();
    if effective.preset.value == Preset::Minimal {
        wanted.extend(minimal(facts));
    }
    let mut by_name = Vec::new();
    let of_program = match (&verified.subject, process.start) {
        (Subject::Program(asked), Start::Executes) => asked
            .candidates
            .iter()
            .find_map(|candidate| candidate.found.as_ref().ok()),
        _ => None,
    };
    if let Some(executable) = of_program {
        by_name.push(Wanted::of(&executable.file, false, true));
        wanted.extend(needed(executable, facts));
        wanted.extend(LOADER.iter().filter_map(|path| named(path, Access::READ)));
    }
    for grant in &effective.grants {
        if let Ok(found) = verified.survey.find(&grant.path) {
            let runs = !grant.write || effective.subprocesses;
            by_name.push(Wanted::of(found, grant.write, runs));
        }
    }
    let devices = Access::READ.and(Access::WRITE).and(Access::DEVICE);
    let mut places: Vec<Place> = DEVICES
        .iter()
        .filter_map(|path| named(path, devices))
        .map(|wanted| wanted.place(true))
        .collect();
    if effective.preset.value == Preset::Minimal {
        // A rule is for all below: whoever may read all but secrets may see that these
        // are there.
        places.push(Place {
            path: UnixPath::root(),
            access: Access::READ_DIR,
            optional: false,
        });
    }
    for wanted in &wanted {
        carve(wanted, hidden, process, &mut places);
    }
    // A known secret around what was named gives way to the narrower word; a policy's does not.
    for wanted in &by_name {
        let kept = |said: &&Said<UnixPath>| {
            !wanted.path.is_within(&said.value) || effective.hidden.contains(said)
        };
        let hidden: Vec<_> = hidden.iter().filter(kept).cloned().collect();
        carve(wanted, &hidden, process, &mut places);
    }
    places
}

/// Something that may be used, before what is hidden is taken out of it.
#[derive(Clone, Debug)]
struct Wanted {
    path: UnixPath,
    directory: bool,
    access: Access,
    optional: bool,
}

impl Wanted {
    fn of(found: &Found, write: bool, runs: bool) -> Self {
        let directory = found.kind == FileKind::Directory;
        let device = matches!(found.kind, FileKind::CharacterDevice { .. });
        let mut access = Access::READ;
        if directory {
            access = access.and(Access::READ_DIR);
        }
        if runs {
            access = access.and(Access::EXECUTE);
        }
        if write {
            access = access.and(Access::WRITE).and(Access::TRUNCATE);
        }
        if write && directory {
            access = access.and(Access::ARRANGE);
        }
        if device {
            access = access.and(Access::DEVICE);
        }
        Self {
            path: found.path.clone(),
            directory,
            access,
            optional: false,
        }
    }

    fn place(&self, optional: bool) -> Place {
        let access = match self.directory {
            true => self.access,
            false => self.access.both(Access::OF_FILES),
        };
        Place {
            path: self.path.clone(),
            access,
            optional: optional || self.optional,
        }
    }
}

fn named(path: &str, access: Access) -> Option<Wanted> {
    Some(Wanted {
        path: UnixPath::new(path).ok()?,
        directory: false,
        access,
        optional: true,
    })
}

/// The top of the machine's tree, but for what is closed.
fn minimal(facts: &HostFacts) -> impl Iterator<Item = Wanted> {
    let all = Access::READ.and(Access::READ_DIR).and(Access::EXECUTE);
    let top = facts
        .layout
        .top
        .iter()
        .filter(|place| !CLOSED.contains(&place.path.as_str()))
        .filter_map(move |place| {
            let directory = match place.kind {
                PlaceKind::Directory { .. } => true,
                PlaceKind::File { .. } => false,
                // What it leads to has a place of its own.
                PlaceKind::Link { .. } => return None,
            };
            Some(Wanted {
                path: place.path.clone(),
                directory,
                access: all,
                optional: true,
            })
        });
    top.chain(RESOLVER.iter().filter_map(|path| named(path, Access::READ)))
}

/// What a program needs to start beside itself: its interpreter, its libraries, what its
/// runtime keeps. Those of the system alone, and what is known of a runtime by its name: a
/// program names the others itself and must not open a door by it.
fn needed(executable: &Executable, facts: &HostFacts) -> Vec<Wanted> {
    let needs = needs(executable);
    needs
        .iter()
        .filter(|need| in_system(&need.file, facts))
        .chain(elsewhere(executable))
        .map(|need| Wanted::of(&need.file, false, true))
        .collect()
}

/// Adds a place; where something is hidden in it, each of its entries instead.
fn carve(wanted: &Wanted, hidden: &[Said<UnixPath>], process: &Process, places: &mut Vec<Place>) {
    let path = &wanted.path;
    if hidden.iter().any(|said| path.is_within(&said.value)) {
        return;
    }
    if hidden.iter().all(|said| !said.value.is_within(path)) {
        places.push(wanted.place(wanted.optional));
        return;
    }
    // What was not listed is not allowed.
    for entry in process.entries.get(path).into_iter().flatten() {
        if let Ok(at) = path.join(&entry.name) {
            let below = Wanted {
                path: at,
                directory: entry.directory,
                // It may be gone by then.
                optional: true,
                ..wanted.clone()
            };
            carve(&below, hidden, process, places);
        }
    }
}
