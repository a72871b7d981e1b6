//! Places of the machine that a lesson treats in a way of their own, as data.

use crate::{
    path::UnixPath,
    why::{EntryKind, Machine, Surroundings},
};

/// As many links as the kernel follows; path_resolution(7).
const LINKS_FOLLOWED: usize = 40;

/// What runtimes look for and do without: a grant of it is seldom what a failing
/// program lacks.
const DONE_WITHOUT: &[&str] = &[
    "/etc/gai.conf",
    "/etc/inputrc",
    "/etc/ld.so.preload",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/fs/cgroup",
    "/sys/kernel/mm",
    "/usr/lib/locale",
    "/usr/lib/ssl/openssl.cnf",
    "/usr/share/locale",
    "/usr/share/zoneinfo",
];

/// The same by name, wherever it lies.
const NAMED_DONE_WITHOUT: &[&str] = &["pyvenv.cfg", "sitecustomize.py", "usercustomize.py"];

/// Directories that are never proposed for what lies in them, nor anything
/// below: what is next to one file there is for others.
const NEVER_WITH_BELOW: &[&str] = &["/boot", "/dev", "/etc", "/proc", "/run", "/sys"];

/// Nor these themselves.
const NEVER: &[&str] = &[
    "/",
    "/bin",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/sbin",
    "/srv",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/share",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];

/// What all programs share in a home, the longest first.
pub(super) const SHARED_IN_HOMES: &[&str] = &[
    ".local/share",
    ".local/state",
    ".local/lib",
    ".local/bin",
    ".local",
    ".cache",
    ".config",
];

pub(super) fn is_done_without(path: &UnixPath) -> bool {
    within_any(path, DONE_WITHOUT)
        || path
            .name()
            .is_some_and(|name| NAMED_DONE_WITHOUT.contains(&name))
}

/// Whether a directory that is not there may be made to be granted: one of the
/// program's own, and none that others look for.
pub(super) fn may_be_made(directory: &UnixPath, around: &Surroundings) -> bool {
    let shared = around.home.iter().chain(&around.risk.homes).any(|home| {
        home.is_within(directory)
            || SHARED_IN_HOMES
                .iter()
                .any(|shared| home.join(shared).is_ok_and(|shared| shared == *directory))
    });
    !shared && !NEVER.contains(&directory.as_str()) && !within_any(directory, NEVER_WITH_BELOW)
}

/// Whether a directory may be proposed for what lies in it: never `/etc`, a home,
/// or what a home keeps behind a dot. What is known for its secrets is for its risk to say.
pub(super) fn may_stand_for_its_files(directory: &UnixPath, around: &Surroundings) -> bool {
    let in_home = around.home.iter().chain(&around.risk.homes).any(|home| {
        home.is_within(directory)
            || directory
                .rebased(home, &UnixPath::root())
                .is_some_and(|rest| rest.as_str().starts_with("/."))
    });
    // Whosever home it is.
    let in_homes = directory
        .as_str()
        .strip_prefix("/home/")
        .is_some_and(|rest| match rest.split_once('/') {
            None => true,
            Some((_, rest)) => rest.starts_with('.'),
        });
    !in_home
        && !in_homes
        && !NEVER.contains(&directory.as_str())
        && !within_any(directory, NEVER_WITH_BELOW)
}

fn within_any(path: &UnixPath, list: &[&str]) -> bool {
    list.iter()
        .any(|other| UnixPath::new(other).is_ok_and(|other| path.is_within(&other)))
}

/// Where a path of the machine leads, as far as it is there; the rest stays as
/// it is said.
pub(super) fn real(machine: &dyn Machine, path: &UnixPath) -> UnixPath {
    let mut links = 0;
    let mut rest: Vec<String> = parts(path.as_str());
    let mut here = UnixPath::root();
    while let Some(name) = rest.pop() {
        if name == ".." {
            here = here.parent().unwrap_or_else(UnixPath::root);
            continue;
        }
        let Ok(next) = here.join(&name) else {
            return path.clone();
        };
        let target = match machine.entry(&next).map(|entry| entry.kind) {
            Ok(EntryKind::Link(target)) => target,
            _ => {
                here = next;
                continue;
            }
        };
        links += 1;
        let Ok(target) = String::from_utf8(target.0) else {
            return path.clone();
        };
        if links > LINKS_FOLLOWED {
            return path.clone();
        }
        if target.starts_with('/') {
            here = UnixPath::root();
        }
        rest.extend(parts(&target));
    }
    here
}

/// The last one first.
fn parts(text: &str) -> Vec<String> {
    text.split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .rev()
        .map(str::to_owned)
        .collect()
}

pub(super) fn is_directory(machine: &dyn Machine, path: &UnixPath) -> bool {
    machine
        .entry(&real(machine, path))
        .is_ok_and(|entry| entry.kind == EntryKind::Directory)
}
