//! Where jars can have cgroups of their own, by a look that changes nothing.

use std::path::Path;

use belljar_plan::Preset;
use belljar_policy::{facts::JarCgroups, manifest::Bound};

use super::unavailable;
use crate::sys::cgroup::{self, Missing};

/// What this machine lets jars have.
pub(super) fn jar_cgroups() -> JarCgroups {
    match cgroup::find() {
        Ok(found) => match found.place.as_deref().map_or(Some(""), Path::to_str) {
            Some(place) => {
                let disks = match found.controllers.iter().any(|name| name == "io") {
                    true => cgroup::disks(),
                    false => Vec::new(),
                };
                let weights = cgroup::disk_weights(&disks).unwrap_or_default();
                JarCgroups {
                    can_be_made: belljar_policy::facts::Ability::Available,
                    place: place.to_owned(),
                    scope: found.place.is_none(),
                    disk_weights: weights.to_owned(),
                    disks,
                    processors: cgroup::processors(found.place.as_deref()),
                    controllers: found.controllers,
                }
            }
            None => none(&Missing::NotShown),
        },
        Err(missing) => none(&missing),
    }
}

/// Whether a jar of a preset, with what flags say of processor time, will most likely have
/// a cgroup of its own.
pub(crate) fn will_have_one(known: &JarCgroups, preset: Preset, time: Option<Bound>) -> bool {
    let limited = |bound: Bound| bound.hard.is_some() || bound.soft.is_some();
    let time = time.map_or(preset == Preset::Strict, limited);
    // Without controllers one is of use for processor time alone.
    known.can_be_made.is_available() && (!known.controllers.is_empty() || time)
}

/// How a run is put into a cgroup that it may arrange.
const SCOPE: &str = "start Belljar in a scope that is its own: `systemd-run --scope -p Delegate=yes belljar …`, \
                     for a user with `--user`";

fn none(missing: &Missing) -> JarCgroups {
    let can_be_made = match missing {
        Missing::NotShown => unavailable(
            "no cgroup of version 2 is shown to this process as its own",
            "mount version 2 at /sys/fs/cgroup; in a container that is its runtime's to do",
        ),
        Missing::ReadOnly => unavailable(
            "cgroups are mounted read-only here",
            "run the container with its cgroups writable (podman: `--security-opt unmask=/sys/fs/cgroup`), or Belljar outside of it",
        ),
        Missing::NotAllowed(at) => {
            unavailable(format!("{} belongs to somebody else", at.display()), SCOPE)
        }
        Missing::Managed(at) => unavailable(
            format!("{} is systemd's, which has not delegated it", at.display()),
            SCOPE,
        ),
        Missing::NotGiven(why) => unavailable(
            format!("systemd was asked for a scope: {why}"),
            format!("see to it that its manager can be asked for transient units, or {SCOPE}"),
        ),
    };
    JarCgroups {
        can_be_made,
        place: String::new(),
        scope: false,
        controllers: Vec::new(),
        disks: Vec::new(),
        disk_weights: String::new(),
        processors: String::new(),
    }
}
