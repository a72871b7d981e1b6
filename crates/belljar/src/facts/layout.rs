//! The usual places of a Linux machine that exist on this one: what programs
//! run from, what they are configured by, and what holds secrets.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::AsFd as _,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use belljar_plan::Preset;
use belljar_policy::{
    UnixPath,
    facts::{Layout, Place, PlaceKind},
    risk,
};

use crate::{
    sys::{
        self,
        look::{self, EntryKind, Status},
    },
    verify::{program::SYSTEM, survey},
};

/// Entries of /etc that programs read and that hold no secret. Of `ssl` and
/// `pki` only what is public is shown: their `private` is not.
const CONFIGURATION: &[&str] = &[
    // The loader and what commands really are.
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    // Which certificates are trusted.
    "ssl/certs",
    "ssl/openssl.cnf",
    "ssl/cert.pem",
    "ssl/ca-bundle.pem",
    "pki/tls/certs",
    "pki/tls/cert.pem",
    "pki/tls/openssl.cnf",
    "pki/ca-trust/extracted",
    "crypto-policies",
    "gnutls",
    // Time, language and names of things.
    "localtime",
    "timezone",
    "locale.alias",
    "locale.conf",
    "services",
    "protocols",
    "rpc",
    "ethertypes",
    "networks",
    "gai.conf",
    "host.conf",
    "mime.types",
    "magic",
    "magic.mime",
    "os-release",
    "debian_version",
    "alpine-release",
    "redhat-release",
    "fedora-release",
    "system-release",
    "arch-release",
    "lsb-release",
    // Shells, terminals and tools.
    "profile",
    "bash.bashrc",
    "bashrc",
    "inputrc",
    "shells",
    "terminfo",
    "manpath.config",
    "groff",
    "vim",
    "xdg",
    "fonts",
    "papersize",
    "OpenCL",
    "vulkan",
    "glvnd",
    "X11",
    // Runtimes.
    "perl",
    ".java",
    "maven",
    "php",
    "lua",
    "ruby",
    "nodejs",
    "gdb",
    "xml",
    "sgml",
    "dotnet",
    "mono",
];

/// The same, where `*` stands for any letters.
const CONFIGURATION_PATTERNS: &[&str] = &[
    "ld-musl-*.path",
    "ca-certificates*",
    "ImageMagick*",
    "python*",
    "java*",
];

/// Names in a home, beyond its dot entries, that hold keys.
const HOME_SECRETS: &[&str] = &["snap", "Library/Keychains"];

/// The most secrets that are listed, so that no directory can make the list
/// endless; a home with more is hidden as a whole.
const SECRETS_MOST: usize = 8192;

/// What tells about the kernel, the machine's hardware or other people's keys;
/// or is a door into it.
const PROC_HIDDEN: &[&str] = &[
    "acpi",
    "asound",
    "bootconfig",
    "interrupts",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "modules",
    "pagetypeinfo",
    "sched_debug",
    "scsi",
    "slabinfo",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
    "vmcore",
];

/// What can be written to change the machine.
const PROC_READ_ONLY: &[&str] = &[
    "bus",
    "driver",
    "dynamic_debug",
    "fs",
    "irq",
    "mtrr",
    "sys",
    "sysrq-trigger",
];

/// A directory on which a root can be attached, best first.
const STAGES: &[&str] = &["/tmp", "/run", "/var", "/mnt", "/usr", "/etc", "/proc"];

/// Unix sockets that are bound in places of the system at the moment; unix(7).
pub(super) fn system_sockets(layout: &Layout) -> Vec<UnixPath> {
    let mut sockets = sockets();
    let places = || layout.system.iter().chain(&layout.configuration);
    sockets.retain(|path| places().any(|place| path.is_within(&place.path)));
    sockets
}

/// Looks at the usual places of all presets; the planner takes of them what its
/// preset shows.
pub(super) fn whole() -> Layout {
    let Layout { top, secrets, .. } = layout(Preset::Minimal);
    Layout {
        top,
        secrets,
        ..layout(Preset::Standard)
    }
}

/// Looks at the usual places that a preset needs.
pub(super) fn layout(preset: Preset) -> Layout {
    let minimal = preset == Preset::Minimal;
    let strict = preset == Preset::Strict;
    let there = |names: &[&str], wanted: fn(&Status) -> bool| -> Vec<String> {
        let proc = look::open_directory("/proc".as_ref());
        proc.map_or_else(
            |_| Vec::new(),
            |proc| {
                let there = |name: &&&str| {
                    let status = look::status_below(proc.as_fd(), name.as_bytes());
                    status.is_ok_and(|status| wanted(&status))
                };
                names
                    .iter()
                    .filter(there)
                    .map(|name| (*name).to_owned())
                    .collect()
            },
        )
    };
    let mut layout = Layout {
        sockets: Vec::new(),
        system: SYSTEM.iter().filter_map(|path| place(path)).collect(),
        configuration: match preset {
            Preset::Minimal => Vec::new(),
            Preset::Standard => configuration(),
            // A strict jar gets what the loader reads, and nothing else.
            Preset::Strict => place("/etc/ld.so.cache").into_iter().collect(),
        },
        top: if minimal {
            children("/", |_| true).unwrap_or_default()
        } else {
            Vec::new()
        },
        secrets: if minimal { secrets() } else { Vec::new() },
        // What is open to root alone is closed to a guest, which is never root
        // on the machine and has no capability.
        proc_hidden: there(PROC_HIDDEN, |status| status.open_to_others),
        // All of a strict jar's /proc is read-only.
        proc_read_only: if strict {
            Vec::new()
        } else {
            there(PROC_READ_ONLY, |_| true)
        },
        stage: STAGES
            .iter()
            .find(|path| look::status(path).is_ok_and(|status| status.kind == EntryKind::Directory))
            .map_or_else(|| "/".to_owned(), |path| (*path).to_owned()),
    };
    if !minimal {
        layout.sockets = system_sockets(&layout);
    }
    layout
}

fn configuration() -> Vec<Place> {
    let places = children("/etc", |name| {
        CONFIGURATION.contains(&name)
            || CONFIGURATION_PATTERNS
                .iter()
                .any(|pattern| matches(pattern, name))
    });
    let mut places = places.unwrap_or_default();
    let deeper = CONFIGURATION.iter().filter(|name| name.contains('/'));
    places.extend(deeper.filter_map(|name| place(&format!("/etc/{name}"))));
    places.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    places
}

fn secrets() -> Vec<Place> {
    let mut found = BTreeMap::new();
    let mut add = |place: Place| {
        // Of more than can be listed whatever is around them is hidden as well.
        let place = match found.len() < SECRETS_MOST {
            true => Some(place),
            false => place
                .path
                .parent()
                .and_then(|above| self::place(above.as_str())),
        };
        if let Some(place) = place {
            found.insert(place.path.clone(), place);
        }
    };
    for pattern in risk::system_secrets() {
        let (matching, too_large) = crate::verify::runtime::matching_or_above(pattern);
        // Nor is a directory shown that has too many names to find them there.
        for path in matching.into_iter().chain(too_large) {
            // Through a link it is hidden at its true place.
            let canonical = look::look(&path).ok().map(|seen| seen.path);
            canonical
                .and_then(|path| place(path.as_str()))
                .into_iter()
                .for_each(&mut add);
        }
    }
    for home in survey::homes() {
        let home = look::look(&home).map_or(home, |seen| seen.path);
        let dots = children(home.as_str(), |name| name.starts_with('.'));
        let Some(dots) = dots.filter(|dots| dots.len() < SECRETS_MOST / 8) else {
            place(home.as_str()).into_iter().for_each(&mut add);
            continue;
        };
        dots.into_iter().for_each(&mut add);
        let others = HOME_SECRETS
            .iter()
            .filter_map(|name| place(home.join(name).ok()?.as_str()));
        others.for_each(&mut add);
    }
    for path in sockets() {
        let canonical = look::look(&path).ok().map(|seen| seen.path);
        canonical
            .and_then(|path| place(path.as_str()))
            .into_iter()
            .for_each(&mut add);
    }
    // What lies inside of a hidden directory needs no hiding of its own, and a
    // link is no secret: what it leads to is.
    let mut kept: BTreeSet<UnixPath> = BTreeSet::new();
    let mut places = Vec::new();
    for place in found.into_values() {
        let covered = place
            .path
            .ancestors_from_root()
            .any(|above| kept.contains(&above));
        match place.kind {
            PlaceKind::Link { .. } => {}
            _ if covered => {}
            PlaceKind::Directory { .. } => {
                kept.insert(place.path.clone());
                places.push(place);
            }
            PlaceKind::File { .. } => places.push(place),
        }
    }
    places
}

/// Every unix socket that can be connected to by a path now. A short table is read sooner
/// than the kernel is asked, and whoever is in a jar may not ask it.
fn sockets() -> Vec<UnixPath> {
    const SHORT: usize = 16 * 1024;
    /// It was too long, and is not begun in vain again.
    static LONG: AtomicBool = AtomicBool::new(false);
    let table = match LONG.load(Relaxed) {
        true => None,
        false => sockets_of_table(SHORT),
    };
    let paths = match table {
        Some(paths) => paths,
        None => {
            LONG.store(true, Relaxed);
            sys::sockets::paths()
                .ok()
                .or_else(|| sockets_of_table(usize::MAX))
                .unwrap_or_default()
        }
    };
    let mut paths: Vec<UnixPath> = paths
        .into_iter()
        .filter_map(|path| UnixPath::new(&String::from_utf8(path).ok()?).ok())
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// Those of the table of all; none where that has as many bytes; proc_net(5).
fn sockets_of_table(bound: usize) -> Option<Vec<Vec<u8>>> {
    let table = look::read_small("/proc/net/unix", bound).unwrap_or_default();
    let lines = table.split(|byte| *byte == b'\n').filter_map(|line| {
        // An abstract name begins with an `@`.
        let before = line.windows(2).position(|bytes| bytes == b" /")?;
        Some(line[before + 1..].to_vec())
    });
    (table.len() < bound).then(|| lines.collect())
}

/// The entries of a directory whose names are wanted, links not followed; none where there
/// are too many to look for such.
fn children(directory: &str, wanted: impl Fn(&str) -> bool) -> Option<Vec<Place>> {
    let Ok(opened) = look::open_directory(directory.as_ref()) else {
        return Some(Vec::new());
    };
    let names = match look::names(opened.as_fd(), 20_000) {
        Ok(names) => names?,
        Err(_) => return Some(Vec::new()),
    };
    let base = directory.trim_end_matches('/');
    let names = names
        .iter()
        .filter_map(|name| std::str::from_utf8(name).ok());
    let places = names.filter(|name| wanted(name)).filter_map(|name| {
        let path = UnixPath::new(&format!("{base}/{name}")).ok()?;
        let status = look::status_below(opened.as_fd(), name.as_bytes()).ok()?;
        let link = || look::link_text(opened.as_fd(), name.as_bytes());
        Some(Place {
            path,
            kind: kind(&status, link)?,
        })
    });
    Some(places.collect())
}

fn place(path: &str) -> Option<Place> {
    let status = look::status(path).ok()?;
    let kind = kind(&status, || look::link_text_at(path))?;
    Some(Place {
        path: UnixPath::new(path).ok()?,
        kind,
    })
}

fn kind(status: &Status, link: impl FnOnce() -> std::io::Result<Vec<u8>>) -> Option<PlaceKind> {
    let &Status { device, inode, .. } = status;
    Some(match status.kind {
        EntryKind::Directory => PlaceKind::Directory { device, inode },
        EntryKind::Link => PlaceKind::Link {
            target: String::from_utf8(link().ok()?).ok()?,
        },
        EntryKind::File | EntryKind::Other(_) => PlaceKind::File { device, inode },
    })
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            name.len() >= before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_in_a_place_of_the_system_is_found_while_somebody_has_it_bound() {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            let path = room.path().join(name);
            UnixPath::new(path.to_str().unwrap()).unwrap()
        };
        let place = Place {
            path: at("system"),
            kind: PlaceKind::Directory {
                device: 0,
                inode: 0,
            },
        };
        let layout = Layout {
            system: vec![place],
            ..Layout::default()
        };
        std::fs::create_dir(room.path().join("system")).unwrap();
        let bind = |path: &UnixPath| std::os::unix::net::UnixListener::bind(path.as_str()).unwrap();
        let (inside, outside) = (at("system/in.sock"), at("out.sock"));
        let listeners = [bind(&inside), bind(&outside)];
        assert_eq!(system_sockets(&layout), [inside]);
        drop(listeners);
        assert_eq!(system_sockets(&layout), []);
    }

    #[test]
    fn configuration_never_shows_a_known_secret() {
        for secret in risk::system_secrets().filter_map(|path| path.strip_prefix("/etc/")) {
            for shown in CONFIGURATION.iter().chain(CONFIGURATION_PATTERNS) {
                let top = secret.split('/').next().unwrap_or_default();
                assert!(
                    !matches(shown, top) && !matches(shown, secret),
                    "{shown} shows {secret}"
                );
            }
        }
    }

    #[test]
    fn a_bound_socket_is_a_secret_of_minimal() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join("s");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let hidden = secrets();
        assert!(
            hidden
                .iter()
                .any(|place| place.path.as_str() == path.to_str().unwrap())
        );
    }
}
