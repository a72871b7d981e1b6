//! Where a jar can have a cgroup of its own, by a look that changes nothing.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    io::Errno,
};

use super::{Place, controllers, units};

/// Controllers that jars are held by, where they are to be had.
const WANTED: [&str; 5] = ["memory", "pids", "cpu", "io", SELDOM];

/// This one is handed on only where a jar asks for it: the kernel looks at it wherever it
/// places a task or a page.
pub(super) const SELDOM: &str = "cpuset";

/// The cgroup that the host and its launcher are moved to, where they are in the way.
pub(super) const HOST: &str = "belljar-host";

/// Where cgroups of jars can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where; none where systemd is asked for a scope, which is not there yet.
    pub(crate) place: Option<PathBuf>,
    pub(crate) controllers: Vec<String>,
}

/// Why none can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// No cgroup of version 2 is mounted, or the caller's is not shown.
    NotShown,
    /// It is mounted read-only.
    ReadOnly,
    /// It belongs to somebody else.
    NotAllowed(PathBuf),
    /// It is systemd's, which has not delegated it.
    Managed(PathBuf),
    /// It is systemd's, which was asked for a scope and gave none.
    NotGiven(String),
}

/// Looks for the place, changing nothing: the caller's own cgroup, or the nearest
/// above it that may be used and has more.
pub(crate) fn find(place: &Place) -> Result<Found, Missing> {
    let (Some(mount), Some(own)) = (&place.mount, &place.own) else {
        return Err(Missing::NotShown);
    };
    let own = beside_jars(own);
    let systemd = Path::new("/run/systemd/system").exists();
    let mut best: Option<Found> = None;
    let mut missing = Missing::NotShown;
    for at in own.ancestors().take_while(|at| at.starts_with(mount)) {
        match may_be_used(at, mount, systemd) {
            Ok(()) => {}
            Err(why) => {
                missing = why;
                break;
            }
        }
        let has = to_be_had(at, at == own);
        let often = |all: &[String]| all.iter().filter(|name| *name != SELDOM).count();
        let more = best
            .as_ref()
            .is_none_or(|best| often(&has) > often(&best.controllers));
        if more {
            best = Some(Found {
                place: Some(at.to_owned()),
                controllers: has,
            });
        }
    }
    best.ok_or(missing)
}

/// The cgroup that was this process's own before it made way for jars.
fn beside_jars(own: &Path) -> &Path {
    match own.parent() {
        Some(above) if own.file_name() == Some(OsStr::new(HOST)) => above,
        _ => own,
    }
}

fn may_be_used(at: &Path, mount: &Path, systemd: bool) -> Result<(), Missing> {
    for file in [at.to_owned(), at.join("cgroup.procs")] {
        match accessat(CWD, &file, Access::WRITE_OK, AtFlags::EACCESS) {
            Ok(()) => {}
            Err(Errno::ROFS) => return Err(Missing::ReadOnly),
            Err(_) => return Err(Missing::NotAllowed(at.to_owned())),
        }
    }
    // To others a cgroup is delegated by giving it to them, but for those that are given
    // to their own manager of units, who gives them on.
    let others = !rustix::process::geteuid().is_root();
    let managed = match others {
        true => at.ancestors().any(is_manager_of_user),
        false => systemd,
    };
    let delegated = || {
        let mut units = at
            .ancestors()
            .take_while(|at| at.starts_with(mount) && !is_manager_of_user(at));
        units.any(is_delegated) || units::is_delegated(at)
    };
    match !managed || delegated() {
        true => Ok(()),
        false => Err(Missing::Managed(at.to_owned())),
    }
}

/// The unit of a user's own systemd; user@.service(5).
pub(super) fn is_manager_of_user(at: &Path) -> bool {
    let name = at.file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.starts_with("user@") && name.ends_with(".service")
}

/// systemd's mark on what is its unit's own to arrange; systemd.resource-control(5).
fn is_delegated(at: &Path) -> bool {
    ["trusted.delegate", "user.delegate"].iter().any(|name| {
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(at, *name, value.as_mut_slice());
        length.is_ok_and(|length| value.get(..length) == Some(b"1"))
    })
}

/// Controllers that a new cgroup in this one has, or can be given.
fn to_be_had(at: &Path, own: bool) -> Vec<String> {
    let enabled = words(at, "cgroup.subtree_control");
    // Of a cgroup with tasks only the root hands controllers on.
    let free = !at.join("cgroup.type").exists() || tasks(at).is_empty() || (own && is_ours(at));
    let known = controllers(at);
    WANTED
        .iter()
        .map(|name| (*name).to_owned())
        .filter(|name| enabled.contains(name) || (free && known.contains(name)))
        .collect()
}

/// The processors that a cgroup in this one can have; empty where nothing tells.
pub(crate) fn processors(at: Option<&Path>) -> String {
    let of_all = Path::new("/sys/devices/system/cpu/online");
    let here = at.map(|at| fs::read_to_string(at.join("cpuset.cpus.effective")));
    let text = match here {
        Some(Ok(text)) => Ok(text),
        _ => fs::read_to_string(of_all),
    };
    text.unwrap_or_default().trim_end().to_owned()
}

/// Of some controllers those that are of use to jars.
pub(super) fn wanted_of(known: &[String]) -> Vec<String> {
    let wanted = WANTED.iter().map(|name| (*name).to_owned());
    wanted.filter(|name| known.contains(name)).collect()
}

pub(super) fn words(at: &Path, file: &str) -> Vec<String> {
    let text = fs::read_to_string(at.join(file)).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

pub(super) fn tasks(at: &Path) -> Vec<u32> {
    let text = fs::read_to_string(at.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Nobody is in it but this process, its children and theirs: what a launcher has made.
pub(super) fn is_ours(at: &Path) -> bool {
    const GENERATIONS: usize = 4;
    let own = std::process::id();
    let parent = |pid: &u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // `pid (name) state ppid`, where the name may hold anything; proc_pid_stat(5).
        let (_, rest) = stat.rsplit_once(") ")?;
        rest.split(' ').nth(1)?.parse().ok()
    };
    let is_of_us = |pid: u32| {
        std::iter::successors(Some(pid), parent)
            .take(GENERATIONS)
            .any(|pid| pid == own)
    };
    tasks(at).into_iter().all(is_of_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_made_way_is_looked_for_where_it_was() {
        let beside = |own: &str| beside_jars(Path::new(own)).to_owned();
        assert_eq!(beside("/a/belljar-host"), Path::new("/a"));
        assert_eq!(beside("/a/belljar-hosts"), Path::new("/a/belljar-hosts"));
        assert_eq!(beside("/"), Path::new("/"));
    }
}
