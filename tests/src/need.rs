//! What a test needs of the machine, said by the test.

use std::{fs::OpenOptions, io::Write, path::Path, process::Command, sync::OnceLock};

use crate::KernelName;

/// Something that not every machine or user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The tests run as root.
    Root,
    /// The tests run as an ordinary user.
    User,
    /// An ordinary program may make user namespaces.
    UserNamespaces,
    /// Mounts with ids mapped, on the file system of temporary files; root only.
    IdmappedMounts,
    /// `python3` in a system directory.
    Python,
    /// `cc`
    Compiler,
    /// Any other program, in `/usr/bin`.
    Program(&'static str),
    /// The toolchain that builds this, where the tests' user can read it.
    Rust,
    /// Landlock as a jar uses it: version 2 or later.
    Landlock,
    /// What a virtual machine is made of; see [`vm`](crate::vm()).
    Vm,
    /// The same with this kernel.
    Kernel(KernelName),
    /// A cgroup can be made for a jar, with the controllers `memory`, `pids` and `cpu`.
    Controllers,
    /// systemd and a bus for it, which the machine can have as its first process.
    Systemd,
    /// The machine can be suspended: only a virtual one that was made for it, never one
    /// that somebody works at.
    Sleep,
}

impl Need {
    fn word(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::User => "user",
            Self::UserNamespaces => "userns",
            Self::IdmappedMounts => "idmap",
            Self::Python => "python3",
            Self::Compiler => "cc",
            Self::Program(name) => name,
            Self::Rust => "rust",
            Self::Landlock => "landlock",
            Self::Vm => "vm",
            Self::Kernel(name) => name.word(),
            Self::Controllers => "controllers",
            Self::Systemd => "systemd",
            Self::Sleep => "sleep",
        }
    }

    fn is_met(self) -> bool {
        match self {
            Self::Root => is_root(),
            Self::User => !is_root(),
            Self::UserNamespaces => {
                crate::output(Command::new("unshare").args(["--user", "--map-root-user", "true"]))
                    .status
                    .success()
            }
            Self::Python => Path::new("/usr/bin/python3").exists(),
            Self::Compiler => Path::new("/usr/bin/cc").exists(),
            Self::Program(name) => Path::new("/usr/bin").join(name).exists(),
            Self::Rust => crate::toolchain().is_some(),
            Self::Landlock => belljar_attacks::landlock_version() >= 2,
            Self::Vm => crate::vm::is_possible(None),
            Self::Kernel(name) => crate::vm::is_possible(Some(name)),
            Self::Controllers => has_controllers(),
            Self::Systemd => crate::vm::has_systemd(),
            Self::Sleep => crate::vm::is_one_that_sleeps(),
            // Every file system of a machine that tests run on has them since 5.19.
            Self::IdmappedMounts => is_root(),
        }
    }
}

/// Whether the tests run as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// As the doctor says, who looks for it as a launch does.
fn has_controllers() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let said = crate::output(Command::new(crate::belljar()).args(["doctor", "--json"]));
        let facts: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
        let known = facts["jar_cgroups"]["controllers"].as_array();
        let has = |name: &&str| known.is_some_and(|known| known.iter().any(|has| has == name));
        ["memory", "pids", "cpu"].iter().all(has)
    })
}

/// Whether a test can go on. It prints why not; and where the environment
/// variable `BELLJAR_TEST_HAS` (words, comma between) says that the machine has
/// what is missing, it fails instead.
///
/// # Panics
/// Where the machine should have it and does not.
#[must_use]
pub fn need(need: Need) -> bool {
    let of_machines = matches!(need, Need::Vm | Need::Kernel(_) | Need::Systemd);
    // The machine inside is the same whoever boots it.
    if of_machines && std::env::var_os("BELLJAR_TEST_MACHINES_DONE").is_some() {
        return false;
    }
    if need.is_met() {
        return true;
    }
    let has = std::env::var("BELLJAR_TEST_HAS").unwrap_or_default();
    assert!(
        !has.split(',').any(|word| word.trim() == need.word()),
        "BELLJAR_TEST_HAS says that there is `{}`, and there is not",
        need.word()
    );
    eprintln!("skipped: needs `{}`", need.word());
    if let Some(list) = std::env::var_os("BELLJAR_TEST_SKIPS") {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test").to_owned();
        // A list that can't be written must not fail a test.
        let _ = OpenOptions::new()
            .append(true)
            .open(list)
            .and_then(|mut file| file.write_all(format!("{test}: {}\n", need.word()).as_bytes()));
    }
    false
}
