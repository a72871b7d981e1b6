//! The kernel of the virtual machine: where it is, and its modules.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Names the folder of a kernel, as `cargo xtask test` unpacked it.
const FOLDER: &str = "BELLJAR_VM";

/// The modules that every machine has: families of sockets that the machine
/// of the tests may not have.
const MODULES: &[&str] = &[
    "algif_hash",
    "algif_skcipher",
    "algif_aead",
    "algif_rng",
    "af_key",
    "vsock_loopback",
    // The checksum that sctp asks for by name, so no list of needs has it.
    "crc32c_generic",
    "sctp",
];

/// A kernel package, unpacked.
#[derive(Debug)]
pub(super) struct Kernel {
    /// What is booted: `vmlinux`, or the `vmlinuz-RELEASE` that unpacks it.
    pub(super) image: PathBuf,
    /// `lib/modules/RELEASE`
    modules: PathBuf,
}

impl Kernel {
    /// The kernel of `BELLJAR_VM`, else the one that `cargo xtask test` keeps in its cache.
    pub(super) fn find() -> Option<Self> {
        let folder = match env::var_os(FOLDER) {
            Some(folder) => PathBuf::from(folder),
            None => cache()?.join("vm/current"),
        };
        let only = |place: &str, start: &str| {
            fs::read_dir(folder.join(place))
                .ok()?
                .flatten()
                .map(|entry| entry.path())
                .find(|path| {
                    let name = path.file_name().unwrap_or_default();
                    name.to_string_lossy().starts_with(start)
                })
        };
        Some(Self {
            image: only("boot", "vmlinu")?,
            modules: only("lib/modules", "")?,
        })
    }

    /// The files of the modules, each after those that it needs.
    pub(super) fn modules(&self) -> Vec<PathBuf> {
        // `a.ko: b.ko c.ko`, relative to this file's directory; modules.dep(5)
        let list = self.modules.join("modules.dep");
        let list = fs::read_to_string(&list).unwrap_or_else(|error| panic!("{list:?}: {error}"));
        let mut wanted = Vec::new();
        for name in MODULES {
            let file = format!("/{name}.ko");
            let line = list
                .lines()
                .find(|line| line.split(':').next().is_some_and(|of| of.ends_with(&file)))
                .unwrap_or_else(|| panic!("this kernel has no module {name}"));
            add_with_needs(&list, line, &mut wanted);
        }
        wanted.iter().map(|path| self.modules.join(path)).collect()
    }
}

fn add_with_needs<'a>(list: &'a str, line: &'a str, wanted: &mut Vec<&'a str>) {
    let (module, needs) = line.split_once(':').expect("a line of modules.dep");
    if wanted.contains(&module) {
        return;
    }
    for need in needs.split_whitespace() {
        let line = list
            .lines()
            .find(|line| line.split(':').next() == Some(need))
            .unwrap_or_else(|| panic!("modules.dep does not tell of {need}"));
        add_with_needs(list, line, wanted);
    }
    wanted.push(module);
}

/// The cache of xtask; see its `cache.rs`.
fn cache() -> Option<PathBuf> {
    if crate::is_root() {
        return Some(Path::new("/var/cache/belljar").to_owned());
    }
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    Some(base?.join("belljar"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_after_all_that_it_needs() {
        let list = "k/a.ko: k/b.ko k/c.ko\nk/b.ko:\nk/c.ko: k/d.ko k/b.ko\nk/d.ko: k/b.ko\n";
        let mut wanted = Vec::new();
        add_with_needs(list, list.lines().next().unwrap(), &mut wanted);
        add_with_needs(list, list.lines().nth(3).unwrap(), &mut wanted);
        assert_eq!(wanted, ["k/b.ko", "k/d.ko", "k/c.ko", "k/a.ko"]);
    }
}
