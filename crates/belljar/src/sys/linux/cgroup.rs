//! The caller's place among the machine's cgroups, and whether it may make some
//! of its own there: one is made, looked at and removed. Nothing of version 1 is
//! touched, and no other cgroup; cgroups(7).

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use belljar_policy::facts::Hierarchy;

use super::facts::read_proc;

mod left;
mod made;
mod own;
mod place;
mod scope;
mod shared;
mod units;

pub(crate) use own::{Counted, EmptyCgroup, Frozen, OwnCgroup, Whose, take_back};
pub(crate) use place::{Found, Missing, processors};
pub(crate) use scope::{ScopeError, ask as ask_for_scope};

/// Where cgroups of jars can be made, as far as a look tells.
pub(crate) fn find() -> Result<Found, Missing> {
    let place = place();
    let found = place::find(&place);
    let may_be_given = match &found {
        // Somebody else's tasks are in it, so that nothing can be handed on.
        Ok(found) => found.controllers.is_empty(),
        Err(missing) => matches!(missing, Missing::Managed(_) | Missing::NotAllowed(_)),
    };
    if !may_be_given {
        return found;
    }
    match scope::manager(&place, rustix::process::geteuid().as_raw()) {
        Ok(Some(manager)) => Ok(Found {
            place: None,
            controllers: place::wanted_of(&manager.controllers),
        }),
        Ok(None) => found,
        Err(why) => found.map_err(|_| Missing::NotGiven(why)),
    }
}

/// Where the caller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) hierarchy: Hierarchy,
    /// Where version 2 is mounted.
    pub(crate) mount: Option<PathBuf>,
    /// The caller's own cgroup of version 2, where the mount shows it.
    pub(crate) own: Option<PathBuf>,
}

/// What a new cgroup had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) delegated: Vec<String>,
    pub(crate) files: Vec<String>,
}

/// Files of version 2 that need no controller.
const FILES: [&str; 6] = [
    "cgroup.events",
    "cgroup.freeze",
    "cgroup.kill",
    "cgroup.pressure",
    "cpu.stat",
    "memory.pressure",
];

/// The machine's disks, `MAJOR:MINOR`: what is in memory, and what only leads to
/// another file, is none.
pub(crate) fn disks() -> Vec<String> {
    const NONE: [&str; 4] = ["loop", "ram", "zram", "nbd"];
    let mut disks: Vec<String> = fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            !NONE.iter().any(|none| name.starts_with(none))
        })
        .filter_map(|entry| {
            let number = fs::read_to_string(entry.path().join("dev")).ok()?;
            Some(number.trim_end().to_owned())
        })
        .collect();
    disks.sort();
    disks
}

/// The file by which every one of these disks is shared out by weight, where there is
/// one: a weight is of no use where the disk's scheduler does not go by it.
/// cgroup-v2.rst, "IO Interface Files"; bfq-iosched.rst, section 4.
pub(crate) fn disk_weights(disks: &[String]) -> Option<&'static str> {
    let place = place();
    // In the root alone, which a container may not be shown.
    let costs = place.mount.map(|mount| mount.join("io.cost.qos"));
    let costs = costs.and_then(|path| fs::read_to_string(path).ok());
    let costs = costs.unwrap_or_default();
    let is_costed = |disk: &String| {
        costs.lines().any(|line| {
            let mut words = line.split(' ');
            words.next() == Some(disk) && words.any(|word| word == "enable=1")
        })
    };
    let is_by_bfq = |disk: &String| {
        let path = format!("/sys/dev/block/{disk}/queue/scheduler");
        fs::read_to_string(path).is_ok_and(|list| list.contains("[bfq]"))
    };
    match disks {
        [] => None,
        disks if disks.iter().all(is_costed) => Some("io.weight"),
        disks if disks.iter().all(is_by_bfq) => Some("io.bfq.weight"),
        _ => None,
    }
}

/// Reads where the calling process is.
pub(crate) fn place() -> Place {
    place_of(
        &read_proc("/proc/self/mountinfo").unwrap_or_default(),
        &read_proc("/proc/self/cgroup").unwrap_or_default(),
    )
}

fn place_of(mounts: &str, cgroups: &str) -> Place {
    let mut v1 = false;
    let mut v2: Option<(&str, &str)> = None;
    for line in mounts.lines() {
        // Optional fields stand before the dash; proc_pid_mountinfo(5).
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let mut before = before.split(' ').skip(3);
        let (Some(root), Some(point)) = (before.next(), before.next()) else {
            continue;
        };
        match after.split(' ').next() {
            Some("cgroup") => v1 = true,
            Some("cgroup2") => v2 = v2.or(Some((root, point))),
            _ => {}
        }
    }
    let own = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .zip(v2)
        .and_then(|(path, (root, point))| {
            let below = Path::new(path).strip_prefix(root).ok()?;
            // A cgroup outside of the namespace is shown by `..`.
            let outside = below
                .components()
                .any(|part| part == std::path::Component::ParentDir);
            // Without the slash that an empty path would leave at the end.
            (!outside).then(|| {
                Path::new(point)
                    .components()
                    .chain(below.components())
                    .collect()
            })
        });
    Place {
        hierarchy: match (v1, v2) {
            (false, None) => Hierarchy::None,
            (true, None) => Hierarchy::V1,
            (true, Some(_)) => Hierarchy::Hybrid,
            (false, Some(_)) => Hierarchy::V2,
        },
        mount: v2.map(|(_, point)| point.into()),
        own,
    }
}

/// The controllers of a cgroup.
pub(crate) fn controllers(cgroup: &Path) -> Vec<String> {
    let text = fs::read_to_string(cgroup.join("cgroup.controllers")).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// What the cgroups that are made begin with.
const PREFIX: &str = "belljar-trial-";

/// Whose maker was killed in the moment that it had one.
const STALE: Duration = Duration::from_secs(60);

/// Removes what a trial that was killed left here.
fn sweep(own: &Path) {
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let made = entry.metadata().and_then(|about| about.modified());
        if ours && made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > STALE)) {
            // Somebody else may be doing the same.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Makes a cgroup below another one, looks at it and removes it.
pub(crate) fn try_child(own: &Path) -> io::Result<Child> {
    sweep(own);
    let name: String = super::random()?
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let made = Made::new(own.join(format!("{PREFIX}{name}")))?;
    let has = controllers(&made.0);
    // No process is in it, so what it has can be handed on, if it is writable.
    let handed = |controller: &String| {
        let file = made.0.join("cgroup.subtree_control");
        fs::write(file, format!("+{controller}")).is_ok()
    };
    let child = Child {
        delegated: has.into_iter().filter(handed).collect(),
        files: FILES
            .iter()
            .filter(|name| made.0.join(name).exists())
            .map(|name| (*name).to_owned())
            .collect(),
    };
    made.remove()?;
    Ok(child)
}

/// A cgroup that is removed whatever happens.
struct Made(PathBuf);

impl Made {
    fn new(at: PathBuf) -> io::Result<Self> {
        fs::create_dir(&at)?;
        Ok(Self(at))
    }

    fn remove(self) -> io::Result<()> {
        let removed = fs::remove_dir(&self.0);
        std::mem::forget(self);
        removed
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            tracing::error!(target: "belljar", path = %self.0.display(), %error, "cannot remove a cgroup");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
    const PURE: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw\n";

    fn own(mounts: &str, cgroups: &str) -> Option<String> {
        place_of(mounts, cgroups)
            .own
            .map(|path| path.display().to_string())
    }

    #[test]
    fn the_callers_cgroup_is_found_below_the_mount_that_shows_it() {
        let hybrid = place_of(HYBRID, "3:cpu:/a\n0::/\n");
        assert_eq!(hybrid.hierarchy, Hierarchy::Hybrid);
        assert_eq!(own(HYBRID, "0::/\n").unwrap(), "/sys/fs/cgroup/unified");
        assert_eq!(hybrid.own, Some(PathBuf::from("/sys/fs/cgroup/unified")));
        let session = "0::/user.slice/user-1000.slice/session-2.scope\n";
        assert_eq!(place_of(PURE, session).hierarchy, Hierarchy::V2);
        assert_eq!(
            own(PURE, session).unwrap(),
            "/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope"
        );
        // A container's mount begins at its own cgroup.
        let inside = PURE.replace(" / /sys", " /docker/ab /sys");
        assert_eq!(
            own(&inside, "0::/docker/ab/c\n").unwrap(),
            "/sys/fs/cgroup/c"
        );
        assert_eq!(own(&inside, "0::/elsewhere\n"), None);
        assert_eq!(own(PURE, "0::/../other\n"), None);
    }

    #[test]
    fn a_machine_without_version_two_has_no_place() {
        let v1 = HYBRID.lines().next().unwrap();
        assert_eq!(place_of(v1, "3:cpu:/\n").hierarchy, Hierarchy::V1);
        assert_eq!(place_of("", "0::/\n").hierarchy, Hierarchy::None);
        assert_eq!(place_of(v1, "0::/\n").own, None);
    }

    #[test]
    fn what_a_killed_trial_left_is_swept_later_and_nothing_else_is() {
        let room = tempfile::tempdir().unwrap();
        let old = std::time::SystemTime::now() - 2 * STALE;
        for (name, age) in [("belljar-trial-a", old), ("other", old)] {
            let path = room.path().join(name);
            fs::create_dir(&path).unwrap();
            let directory = fs::File::open(&path).unwrap();
            directory.set_modified(age).unwrap();
        }
        fs::create_dir(room.path().join("belljar-trial-b")).unwrap();
        try_child(room.path()).unwrap();
        let left = |name: &str| room.path().join(name).exists();
        assert!(!left("belljar-trial-a") && left("belljar-trial-b") && left("other"));
    }

    #[test]
    fn where_no_directory_can_be_made_that_is_the_answer_and_none_is_left() {
        assert!(try_child(Path::new("/proc")).is_err());
        // An ordinary directory has no controllers and no files of cgroups.
        let room = tempfile::tempdir().unwrap();
        assert_eq!(try_child(room.path()).unwrap(), Child::default());
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 0);
    }
}
