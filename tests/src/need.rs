//! What a test needs of the machine, and of the user who runs it. Where
//! `BELLJAR_TEST_HAS` says that it is there, a test that does not find it
//! fails; otherwise it is skipped, which `cargo xtask test` counts and prints.

use std::{fs, io::Write, path::Path, process::Command, thread};

/// Something that not every machine or user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Root in the machine's own user namespace, with its capabilities.
    Root,
    /// Any other user.
    User,
    /// User namespaces of this user's own; user_namespaces(7).
    UserNamespaces,
    /// Idmapped mounts of the temporary directory's filesystem; mount_setattr(2).
    IdmappedMounts,
    /// A C compiler, `cc`.
    Cc,
    /// `/usr/bin/python3`
    Python3,
    /// `/usr/bin/perl`
    Perl,
    /// `/usr/bin/bwrap`
    Bwrap,
}

impl Need {
    /// Its word in `BELLJAR_TEST_HAS`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::User => "user",
            Self::UserNamespaces => "userns",
            Self::IdmappedMounts => "idmap",
            Self::Cc => "cc",
            Self::Python3 => "python3",
            Self::Perl => "perl",
            Self::Bwrap => "bwrap",
        }
    }

    fn is_there(self) -> bool {
        match self {
            Self::Root => is_root(),
            Self::User => !is_root(),
            Self::UserNamespaces => Command::new("unshare")
                .args(["--user", "--map-current-user", "true"])
                .output()
                .is_ok_and(|out| out.status.success()),
            // Linux 5.12 has the call, and every filesystem that Debian puts `/tmp` on.
            Self::IdmappedMounts => is_root() && release() >= (5, 12),
            Self::Cc => Path::new("/usr/bin/cc").exists(),
            Self::Python3 => Path::new("/usr/bin/python3").exists(),
            Self::Perl => Path::new("/usr/bin/perl").exists(),
            Self::Bwrap => Path::new("/usr/bin/bwrap").exists(),
        }
    }
}

/// Whether the test can go on. It returns where this says no:
///
/// ```
/// use belljar_tests::{Need, need};
///
/// fn only_root_gives_a_jar_a_uid_of_its_own() {
///     if !need(Need::Root) {
///         return;
///     }
/// }
/// ```
///
/// # Panics
///
/// Where `BELLJAR_TEST_HAS` names what is not there.
#[must_use]
pub fn need(what: Need) -> bool {
    if what.is_there() {
        return true;
    }
    let said = std::env::var("BELLJAR_TEST_HAS").unwrap_or_default();
    assert!(
        !said.split([',', ' ']).any(|word| word == what.word()),
        "BELLJAR_TEST_HAS says that there is `{}` here, and there is not",
        what.word()
    );
    let thread = thread::current();
    let line = format!("{}: {}\n", thread.name().unwrap_or("?"), what.word());
    eprint!("skipped: {line}");
    if let Some(list) = std::env::var_os("BELLJAR_TEST_SKIPS") {
        // A list that cannot be written loses a line of the summary, no check.
        let _ = fs::OpenOptions::new()
            .append(true)
            .open(list)
            .and_then(|mut list| list.write_all(line.as_bytes()));
    }
    false
}

/// Effective uid 0 with the machine's own ids: root of a user namespace is a user.
fn is_root() -> bool {
    let effective = fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1)?.parse::<u32>().ok());
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let initial = map.split_whitespace().eq(["0", "0", "4294967295"]);
    effective == Some(0) && initial
}

fn release() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = text.split(['.', '-']).map_while(|part| part.trim().parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
