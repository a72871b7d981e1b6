//! Every library that a program will ask its loader for, found as the loader
//! finds them (ld.so(8), and musl's own way), without running anything.
//!
//! What a program asks for only later, by dlopen(3), is not seen here.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    rc::Rc,
};

use belljar_plan::Bytes;
use belljar_policy::{UnixPath, verified::Library};

use super::{
    elf::{Elf, Machine},
    places::Places,
};
use crate::sys::look;

/// The most libraries of one program.
const LIBRARIES: usize = 512;
/// The most files that are tried for one program.
const TRIES: usize = 50_000;
/// The most directories that one search path may name.
const DIRECTORIES: usize = 64;

/// A program's libraries.
#[derive(Debug, Default)]
pub(crate) struct Closure {
    pub(crate) libraries: Vec<Library>,
    pub(crate) missing: BTreeSet<String>,
}

/// It asks for more libraries than anything real does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooMany;

/// Finds libraries for one program; asked again for modules that it may load.
pub(crate) struct Finder {
    machine: Machine,
    style: Style,
    /// The system's directories, in order.
    system: Vec<UnixPath>,
    /// Names and sonames that are loaded already.
    loaded: HashSet<Vec<u8>>,
    /// Canonical paths of what was found.
    seen: HashSet<UnixPath>,
    tries: usize,
    pub(crate) closure: Closure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Glibc,
    Musl,
}

/// A file whose wishes are still to be fulfilled.
struct Wish {
    elf: Rc<Elf>,
    /// `$ORIGIN`
    origin: UnixPath,
    /// `DT_RPATH`s of those that asked for it, nearest first, already expanded.
    inherited: Rc<Vec<UnixPath>>,
}

impl Finder {
    /// A finder for programs of this machine, started by this loader.
    pub(crate) fn new(machine: Machine, loader: &UnixPath) -> Self {
        let name = loader.name().unwrap_or_default();
        let style = if name.starts_with("ld-musl-") {
            Style::Musl
        } else {
            Style::Glibc
        };
        let system = match style {
            Style::Glibc => glibc_directories(machine),
            Style::Musl => musl_directories(name),
        };
        Self {
            machine,
            style,
            system,
            loaded: HashSet::from([name.as_bytes().to_vec()]),
            seen: HashSet::new(),
            tries: 0,
            closure: Closure::default(),
        }
    }

    /// The loader itself counts as loaded under its own name too.
    pub(crate) fn loader_is(&mut self, elf: &Elf) {
        self.loaded.extend(elf.name.clone());
    }

    /// Adds what `elf`, which lies at `path`, needs, and what that needs.
    pub(crate) fn add(
        &mut self,
        places: &Places<'_>,
        elf: Rc<Elf>,
        path: &UnixPath,
    ) -> Result<(), TooMany> {
        let origin = path.parent().unwrap_or(UnixPath::root());
        let mut wishes = VecDeque::from([Wish {
            elf,
            origin,
            inherited: Rc::default(),
        }]);
        while let Some(wish) = wishes.pop_front() {
            let own = wish
                .elf
                .rpath
                .as_deref()
                .filter(|_| self.style == Style::Musl || wish.elf.runpath.is_none());
            let mut chain =
                own.map_or_else(Vec::new, |text| self.expand(places, text, &wish.origin));
            let run = wish
                .elf
                .runpath
                .as_deref()
                .map_or_else(Vec::new, |text| self.expand(places, text, &wish.origin));
            if self.style == Style::Musl {
                chain.extend(run.iter().cloned());
            }
            chain.extend(wish.inherited.iter().cloned());
            chain.truncate(DIRECTORIES);
            let chain = Rc::new(chain);

            for name in &wish.elf.needed {
                if self.loaded.contains(name) || self.is_loader(name) {
                    continue;
                }
                let mut ways: Vec<&UnixPath> = Vec::new();
                if wish.elf.runpath.is_none() || self.style == Style::Musl {
                    ways.extend(chain.iter());
                }
                ways.extend(run.iter());
                if !wish.elf.own_paths_only {
                    ways.extend(self.system.iter());
                }
                let ways: Vec<UnixPath> = ways.into_iter().cloned().collect();
                if let Some((path, elf)) = self.find(places, name, &ways)? {
                    let origin = path.parent().unwrap_or(UnixPath::root());
                    wishes.push_back(Wish {
                        elf,
                        origin,
                        inherited: Rc::clone(&chain),
                    });
                }
            }
        }
        Ok(())
    }

    /// A library that lies in one of the system's directories, by name, where there is one.
    pub(crate) fn system_library(
        &mut self,
        places: &Places<'_>,
        name: &str,
    ) -> Result<(), TooMany> {
        if self.loaded.contains(name.as_bytes()) {
            return Ok(());
        }
        let before = self.closure.missing.clone();
        let ways = self.system.clone();
        if let Some((path, elf)) = self.find(places, name.as_bytes(), &ways)? {
            self.add(places, elf, &path)?;
        }
        self.closure.missing = before;
        Ok(())
    }

    /// Adds what a module needs that an interpreter may load later. What it
    /// misses is the interpreter's own affair, and most often for another system.
    pub(crate) fn add_module(
        &mut self,
        places: &Places<'_>,
        elf: Rc<Elf>,
        path: &UnixPath,
    ) -> Result<(), TooMany> {
        if elf.machine != self.machine {
            return Ok(());
        }
        let before = self.closure.missing.clone();
        self.add(places, elf, path)?;
        self.closure.missing = before;
        Ok(())
    }

    fn find(
        &mut self,
        places: &Places<'_>,
        name: &[u8],
        ways: &[UnixPath],
    ) -> Result<Option<(UnixPath, Rc<Elf>)>, TooMany> {
        self.loaded.insert(name.to_vec());
        let Ok(text) = std::str::from_utf8(name) else {
            self.missing(name)?;
            return Ok(None);
        };
        let whole = text.contains('/').then(|| places.normal(text));
        let candidates: Vec<UnixPath> = match whole {
            Some(path) => path.into_iter().collect(),
            None => ways
                .iter()
                .filter_map(|directory| directory.join(text).ok())
                .collect(),
        };
        for path in candidates {
            self.tries += 1;
            if self.tries > TRIES {
                return Err(TooMany);
            }
            let Some((found, inside, elf)) = places.elf(&path) else {
                continue;
            };
            if elf.machine != self.machine {
                continue;
            }
            self.loaded.extend(elf.name.clone());
            if !self.seen.insert(found.path.clone()) {
                return Ok(None);
            }
            if self.seen.len() > LIBRARIES {
                return Err(TooMany);
            }
            if !inside {
                self.closure.libraries.push(Library {
                    path: path.clone(),
                    file: found,
                });
            }
            return Ok(Some((path, elf)));
        }
        self.missing(name)?;
        Ok(None)
    }

    fn missing(&mut self, name: &[u8]) -> Result<(), TooMany> {
        if self.closure.missing.len() == LIBRARIES {
            return Err(TooMany);
        }
        self.closure.missing.insert(Bytes(name.to_vec()).escaped());
        Ok(())
    }

    /// musl's loader is its libc, under every name that it reserves.
    fn is_loader(&self, name: &[u8]) -> bool {
        const RESERVED: &[&[u8]] = &[b"c", b"pthread", b"rt", b"m", b"dl", b"util", b"xnet"];
        self.style == Style::Musl
            && name
                .strip_prefix(b"lib")
                .and_then(|rest| rest.split(|byte| *byte == b'.').next())
                .is_some_and(|stem| RESERVED.contains(&stem))
    }

    /// The directories of a search path, with what a `$WORD` stands for.
    fn expand(&self, places: &Places<'_>, text: &[u8], origin: &UnixPath) -> Vec<UnixPath> {
        let Ok(text) = std::str::from_utf8(text) else {
            return Vec::new();
        };
        let triple = triple(self.machine);
        let libs = [
            triple.map(|triple| format!("lib/{triple}")),
            Some("lib64".into()),
            Some("lib".into()),
        ];
        let mut all = Vec::new();
        for entry in text.split(':').take(DIRECTORIES) {
            let entry = entry
                .replace("${ORIGIN}", origin.as_str())
                .replace("$ORIGIN", origin.as_str())
                .replace("${PLATFORM}", std::env::consts::ARCH)
                .replace("$PLATFORM", std::env::consts::ARCH)
                .replace("${LIB}", "$LIB");
            if entry.len() > 4095 || !entry.starts_with('/') {
                continue;
            }
            if entry.contains("$LIB") {
                all.extend(
                    libs.iter()
                        .flatten()
                        .filter_map(|lib| places.normal(&entry.replace("$LIB", lib))),
                );
            } else {
                all.extend(places.normal(&entry));
            }
        }
        all
    }
}

fn triple(machine: Machine) -> Option<&'static str> {
    Some(match (machine.wide, machine.number) {
        (true, 62) => "x86_64-linux-gnu",
        (false, 3) => "i386-linux-gnu",
        (true, 183) => "aarch64-linux-gnu",
        (false, 40) => "arm-linux-gnueabihf",
        (true, 243) => "riscv64-linux-gnu",
        (true, 22) => "s390x-linux-gnu",
        (true, 21) => "powerpc64le-linux-gnu",
        (true, 258) => "loongarch64-linux-gnu",
        _ => return None,
    })
}

/// Those of `/etc/ld.so.conf` in order, then those built into the loader by
/// the distributions that there are. ld.so reads its cache instead, which
/// ldconfig(8) made of the same directories in the same order.
fn glibc_directories(machine: Machine) -> Vec<UnixPath> {
    let mut all = Vec::new();
    configured("/etc/ld.so.conf", 0, &mut all);
    let wide = if machine.wide { "64" } else { "32" };
    let triple = triple(machine);
    for base in ["/lib", "/usr/lib"] {
        all.extend(triple.and_then(|triple| UnixPath::new(&format!("{base}/{triple}")).ok()));
    }
    for base in ["/lib", "/usr/lib"] {
        all.extend(UnixPath::new(&format!("{base}{wide}")).ok());
        all.extend(UnixPath::new(base).ok());
    }
    let mut seen = HashSet::new();
    all.retain(|directory| seen.insert(directory.clone()) && look::exists(directory.as_str()));
    all
}

fn configured(file: &str, depth: usize, all: &mut Vec<UnixPath>) {
    let Ok(bytes) = look::read_small(file, 64 * 1024) else {
        return;
    };
    for line in String::from_utf8_lossy(&bytes).lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if all.len() >= DIRECTORIES {
            return;
        }
        if let Some(pattern) = line
            .strip_prefix("include")
            .filter(|rest| rest.starts_with([' ', '\t']))
        {
            if depth < 4 {
                for file in super::runtime::matching(pattern.trim()) {
                    configured(file.as_str(), depth + 1, all);
                }
            }
        } else if !line.starts_with("hwcap") {
            all.extend(UnixPath::new(line.split('=').next().unwrap_or_default()).ok());
        }
    }
}

/// Those of `/etc/ld-musl-ARCH.path`, else the ones built in.
fn musl_directories(loader: &str) -> Vec<UnixPath> {
    let arch = loader
        .trim_start_matches("ld-musl-")
        .split('.')
        .next()
        .unwrap_or_default();
    let text = look::read_small(&format!("/etc/ld-musl-{arch}.path"), 64 * 1024);
    let text = text.map_or_else(
        |_| "/lib:/usr/local/lib:/usr/lib".into(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    );
    text.split([':', '\n'])
        .filter_map(|text| UnixPath::new(text).ok())
        .take(DIRECTORIES)
        .collect()
}
