//! What interpreters read besides their libraries: a table of where each keeps
//! its own modules. It is for the preset that shows nothing else.

use std::{collections::BTreeSet, rc::Rc};

use belljar_policy::{
    UnixPath,
    verified::{FileKind, Library},
};

use super::{
    libraries::{Finder, TooMany},
    places::Places,
};
use crate::sys::look::{self, EntryKind};

/// Where an interpreter keeps what it reads. `{prefix}` is the directory above
/// its `bin`, `{version}` what follows its name (`3.11`), `{triple}` the
/// machine's name in Debian's library directories; `*` stands for any letters
/// of one component.
struct Runtime {
    /// The file name that is left when links are followed, without its version.
    names: &'static [&'static str],
    /// Directories and files that it reads, where they exist.
    places: &'static [&'static str],
    /// The same, outside of the system's directories: shown though no other
    /// program is. So a place here is a whole path, of which no program that
    /// bears the name can choose a part.
    elsewhere: &'static [&'static str],
    /// Of these, the ones that hold libraries it loads when asked for a module.
    modules: &'static [&'static str],
}

const RUNTIMES: &[Runtime] = &[
    // The standard library, Debian's packages, and local ones. Python finds its
    // prefix by `os.py` beside its own path, so the places keep their names.
    Runtime {
        names: &["python", "pypy"],
        places: &[
            "{prefix}/lib/python{version}",
            "{prefix}/lib64/python{version}",
            "{prefix}/lib/pypy{version}",
            "{prefix}/lib/python3",
            "/usr/local/lib/python{version}",
        ],
        elsewhere: &[],
        modules: &[
            "{prefix}/lib/python{version}",
            "{prefix}/lib64/python{version}",
            "{prefix}/lib/python3",
            "/usr/local/lib/python{version}",
        ],
    },
    // @INC as Debian, Fedora, Alpine and perlbrew build it. /etc/perl holds the
    // machine's configuration, which no plugin needs.
    Runtime {
        names: &["perl"],
        places: &[
            "{prefix}/lib/{triple}/perl*",
            "{prefix}/lib/perl5",
            "{prefix}/lib64/perl5",
            "{prefix}/share/perl*",
            "/usr/local/lib/{triple}/perl",
            "/usr/local/share/perl",
        ],
        elsewhere: &[],
        modules: &[
            "{prefix}/lib/{triple}/perl*",
            "{prefix}/lib/perl5",
            "{prefix}/lib64/perl5",
        ],
    },
    // Debian's node reads parts of itself from /usr/share/nodejs.
    Runtime {
        names: &["node", "nodejs"],
        places: &["/usr/share/nodejs", "{prefix}/lib/node_modules"],
        elsewhere: &[],
        modules: &[],
    },
    Runtime {
        names: &["ruby"],
        places: &[
            "{prefix}/lib/ruby",
            "{prefix}/lib64/ruby",
            "{prefix}/lib/{triple}/ruby",
            "{prefix}/share/ruby",
            "{prefix}/share/rubygems*",
        ],
        elsewhere: &["/var/lib/gems"],
        modules: &[
            "{prefix}/lib/ruby",
            "{prefix}/lib64/ruby",
            "{prefix}/lib/{triple}/ruby",
        ],
    },
    // php.ini and what it includes lie in /etc and may hold credentials of an
    // application: only the modules and the library in PHP are shown.
    Runtime {
        names: &["php"],
        places: &[
            "{prefix}/lib/php",
            "{prefix}/lib64/php",
            "{prefix}/share/php",
        ],
        elsewhere: &[],
        modules: &["{prefix}/lib/php", "{prefix}/lib64/php"],
    },
    Runtime {
        names: &["lua", "luajit"],
        places: &[
            "{prefix}/share/lua",
            "{prefix}/lib/lua",
            "{prefix}/lib/{triple}/lua",
            "/usr/local/share/lua",
            "/usr/local/lib/lua",
        ],
        elsewhere: &[],
        modules: &[
            "{prefix}/lib/lua",
            "{prefix}/lib/{triple}/lua",
            "/usr/local/lib/lua",
        ],
    },
    // A JVM is a directory; distributions keep its configuration in /etc, with
    // links to it, and its trusted certificates too.
    Runtime {
        names: &["java"],
        places: &["{prefix}"],
        elsewhere: &["/etc/java-*-openjdk", "/etc/.java", "/etc/ssl/certs/java"],
        modules: &["{prefix}/lib"],
    },
    Runtime {
        names: &["tclsh"],
        places: &[
            "{prefix}/share/tcltk",
            "{prefix}/lib/tcltk",
            "{prefix}/lib/tcl*",
        ],
        elsewhere: &[],
        modules: &["{prefix}/lib/tcltk"],
    },
    // awk, the shells and sed read nothing but their libraries.
];

/// What an interpreter reads besides its libraries.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Its own modules and data.
    pub(crate) places: Vec<Library>,
    /// What it keeps outside of the system's directories.
    pub(crate) elsewhere: Vec<Library>,
}

/// Libraries that glibc loads by itself when a thread is cancelled and, before
/// 2.34, when a user is looked up.
const GLIBC_LATER: &[&str] = &["libgcc_s.so.1", "libnss_files.so.2"];

/// The most modules of one interpreter whose libraries are looked for.
const MODULES: usize = 4096;
/// The most directories that are walked for them.
const DIRECTORIES: usize = 8192;

/// Adds what the program at `path` (as it is asked for; `canonical` with links
/// followed) reads besides its libraries; their libraries go to `finder`.
pub(crate) fn add(
    places: &Places<'_>,
    finder: &mut Finder,
    path: &UnixPath,
    canonical: &UnixPath,
) -> Result<Read, TooMany> {
    for name in GLIBC_LATER {
        finder.system_library(places, name)?;
    }
    let name = canonical.name().unwrap_or_default();
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    let Some(runtime) = RUNTIMES
        .iter()
        .find(|runtime| runtime.names.contains(&stem))
    else {
        return Ok(Read::default());
    };
    let version = name[stem.len()..].trim_matches('-');
    let prefix = above_bin(canonical);
    let mut shown = BTreeSet::new();
    let mut elsewhere = BTreeSet::new();
    let mut modules = BTreeSet::new();
    for (patterns, into) in [
        (runtime.places, &mut shown),
        (runtime.elsewhere, &mut elsewhere),
        (runtime.modules, &mut modules),
    ] {
        for pattern in patterns {
            into.extend(expand(pattern, &prefix, version));
        }
    }
    if stem == "python" {
        add_venv(path, &mut shown, &mut modules);
    }
    let mut walked = Walked::default();
    for directory in &modules {
        walk_modules(places, finder, directory, 0, &mut walked)?;
    }
    let found = |paths: BTreeSet<UnixPath>| {
        paths
            .into_iter()
            .filter_map(|path| {
                let file = places.look(&path).ok()?;
                matches!(file.kind, FileKind::Directory | FileKind::File)
                    .then_some(Library { path, file })
            })
            .collect()
    };
    Ok(Read {
        places: found(shown),
        elsewhere: found(elsewhere),
    })
}

/// A virtual environment is known by `pyvenv.cfg` beside or above the
/// interpreter, before links are followed; site(3) of Python's library.
fn add_venv(path: &UnixPath, shown: &mut BTreeSet<UnixPath>, modules: &mut BTreeSet<UnixPath>) {
    let environment = above_bin(path);
    let Ok(config) = environment.join("pyvenv.cfg") else {
        return;
    };
    if !look::exists(config.as_str()) {
        return;
    }
    shown.insert(config);
    for name in ["lib", "lib64"] {
        let library = environment.join(name).ok();
        if let Some(library) = library.filter(|path| look::exists(path.as_str())) {
            shown.insert(library.clone());
            modules.insert(library);
        }
    }
}

/// `/opt/x` of `/opt/x/bin/python3`.
fn above_bin(program: &UnixPath) -> UnixPath {
    let directory = program.parent().unwrap_or(UnixPath::root());
    match (directory.as_str(), directory.parent()) {
        // What lies in /bin belongs to /usr, merged or not.
        ("/bin" | "/sbin", _) => UnixPath::new("/usr").unwrap_or(directory),
        (_, Some(prefix)) => prefix,
        (_, None) => directory,
    }
}

fn expand(pattern: &str, prefix: &UnixPath, version: &str) -> Vec<UnixPath> {
    let prefix = prefix.as_str().trim_end_matches('/');
    let pattern = pattern
        .replace("{prefix}", prefix)
        .replace("{version}", version);
    if !pattern.contains("{triple}") {
        return matching(&pattern);
    }
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    matching(&pattern.replace("{triple}", &triple))
}

/// The paths that exist and match a pattern, in which `*` stands for any
/// letters of one component, in order.
pub(crate) fn matching(pattern: &str) -> Vec<UnixPath> {
    matching_or_above(pattern).0
}

/// The same, and the directories that have too many names to look for such in them.
pub(crate) fn matching_or_above(pattern: &str) -> (Vec<UnixPath>, Vec<UnixPath>) {
    let mut too_large = Vec::new();
    let mut found = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let Some((before, after)) = part.split_once('*') else {
            for path in &mut found {
                path.push('/');
                path.push_str(part);
            }
            continue;
        };
        let mut next = Vec::new();
        for path in &found {
            let base = if path.is_empty() { "/" } else { path };
            let names = look::open_directory(base.as_ref())
                .and_then(|directory| look::names(std::os::fd::AsFd::as_fd(&directory), 4096));
            let names = match names {
                Ok(Some(names)) => names,
                Ok(None) => {
                    too_large.extend(UnixPath::new(base));
                    continue;
                }
                Err(_) => continue,
            };
            let names = names
                .iter()
                .filter_map(|name| std::str::from_utf8(name).ok());
            next.extend(
                names
                    .filter(|name| {
                        name.len() >= before.len() + after.len()
                            && name.starts_with(before)
                            && name.ends_with(after)
                            && !name.starts_with('.')
                    })
                    .map(|name| format!("{path}/{name}")),
            );
        }
        found = next;
    }
    let found = found
        .iter()
        .filter(|path| look::exists(path))
        .filter_map(|path| UnixPath::new(path).ok());
    (found.collect(), too_large)
}

#[derive(Default)]
struct Walked {
    modules: usize,
    directories: usize,
}

/// Adds what every `*.so` below a directory needs. A module that is not found
/// or not for this machine is the interpreter's own affair.
fn walk_modules(
    places: &Places<'_>,
    finder: &mut Finder,
    directory: &UnixPath,
    depth: usize,
    walked: &mut Walked,
) -> Result<(), TooMany> {
    use std::os::fd::AsFd as _;
    walked.directories += 1;
    if depth > 12 || walked.directories > DIRECTORIES {
        return Ok(());
    }
    let Ok(opened) = look::open_directory(directory.as_str().as_ref()) else {
        return Ok(());
    };
    let Ok(Some(entries)) = look::entries(opened.as_fd(), 20_000) else {
        return Ok(());
    };
    for (name, kind) in entries {
        let Ok(name) = std::str::from_utf8(&name) else {
            continue;
        };
        let Ok(path) = directory.join(name) else {
            continue;
        };
        match kind {
            EntryKind::Directory if !without_modules(name) => {
                walk_modules(places, finder, &path, depth + 1, walked)?;
            }
            EntryKind::File | EntryKind::Link if name.ends_with(".so") || name.contains(".so.") => {
                walked.modules += 1;
                if walked.modules > MODULES {
                    return Ok(());
                }
                if let Some((_, _, elf)) = places.elf(&path) {
                    finder.add_module(places, Rc::clone(&elf), &path)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Directories of the library in Python that hold no module a program loads.
fn without_modules(name: &str) -> bool {
    matches!(name, "__pycache__" | "test" | "tests")
        || name.ends_with(".dist-info")
        || name.ends_with(".egg-info")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_too_many_names_is_told_and_not_taken_for_empty() {
        let room = tempfile::tempdir().unwrap();
        let place = UnixPath::new(room.path().to_str().unwrap()).unwrap();
        let pattern = format!("{place}/secret_*");
        std::fs::write(room.path().join("secret_1"), "").unwrap();
        let found = place.join("secret_1").unwrap();
        assert_eq!(matching_or_above(&pattern), (vec![found], Vec::new()));
        for number in 0..4096 {
            std::fs::write(room.path().join(number.to_string()), "").unwrap();
        }
        assert_eq!(matching_or_above(&pattern), (Vec::new(), vec![place]));
    }

    #[test]
    fn no_program_can_choose_a_place_elsewhere() {
        for runtime in RUNTIMES {
            for place in runtime.elsewhere {
                assert!(place.starts_with('/') && !place.contains('{'), "{place}");
            }
        }
    }
}
