//! The kernels of the virtual machine: where they are, and their modules.

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

/// What the disk of a machine that has one wants. Newer kernels have some of it
/// without a module.
const OF_DISKS: &[&str] = &["virtio_pci", "virtio_blk", "ext4", "quota_v2"];

/// What only older kernels have as a module.
const WITHIN_NEWER: &[&str] = &["crc32c_generic", "virtio_pci"];

/// A kernel that tests know by name; xtask's `kernels.rs` has their packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelName {
    /// 5.10, of Debian 11: no full tier.
    Bullseye510,
    /// 6.1, of Debian 12; a test gets it that asks for none.
    Bookworm61,
    /// 6.12, of Debian 12's backports and of Debian 13.
    Backports612,
    /// The newest that Debian has.
    Sid,
}

impl KernelName {
    /// Every kernel, the oldest first.
    pub const ALL: [Self; 4] = [
        Self::Bullseye510,
        Self::Bookworm61,
        Self::Backports612,
        Self::Sid,
    ];

    /// Its folder in xtask's cache; and the word in `BELLJAR_TEST_HAS` by which
    /// it is there.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Bullseye510 => "linux-5.10",
            Self::Bookworm61 => "linux-6.1",
            Self::Backports612 => "linux-6.12",
            Self::Sid => "linux-sid",
        }
    }
}

/// A kernel package, unpacked.
#[derive(Debug)]
pub(super) struct Kernel {
    /// What is booted: `vmlinux`, or the `vmlinuz` that unpacks it.
    pub(super) image: PathBuf,
    /// `vmlinuz`, where it is kept.
    pub(super) packed: Option<PathBuf>,
    /// `lib/modules/RELEASE`
    modules: PathBuf,
}

impl Kernel {
    /// The kernel of `BELLJAR_VM`, or the named one beside it; else those that
    /// `cargo xtask test` keeps in its cache.
    pub(super) fn find(name: Option<KernelName>) -> Option<Self> {
        let folder = match env::var_os(FOLDER) {
            Some(folder) => PathBuf::from(folder),
            None => cache()?.join("vm/current"),
        };
        let folder = match name {
            Some(name) => folder.parent()?.join(name.word()),
            None => folder,
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
        let packed = only("boot", "vmlinuz");
        Some(Self {
            image: only("boot", "vmlinux").or_else(|| packed.clone())?,
            packed,
            modules: only("lib/modules", "")?,
        })
    }

    /// The files of the modules, each after those that it needs.
    pub(super) fn modules(&self, with_disk: bool) -> Vec<PathBuf> {
        // `a.ko: b.ko c.ko`, relative to this file's directory; modules.dep(5)
        let list = self.modules.join("modules.dep");
        let list = fs::read_to_string(&list).unwrap_or_else(|error| panic!("{list:?}: {error}"));
        let mut wanted = Vec::new();
        let of_disks = if with_disk { OF_DISKS } else { &[] };
        for name in MODULES.iter().chain(of_disks) {
            let file = format!("/{name}.ko");
            let line = list
                .lines()
                .find(|line| line.split(':').next().is_some_and(|of| of.ends_with(&file)));
            match line {
                Some(line) => add_with_needs(&list, line, &mut wanted),
                None if WITHIN_NEWER.contains(name) => {}
                None => panic!("this kernel has no module {name}"),
            }
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
