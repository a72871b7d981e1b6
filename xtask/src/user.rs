//! Runs test programs as an unprivileged user: cargo starts each of them, and
//! each doctest, through this runner, so both runs build and find things alike.
//!
//! The user is a number that nobody has: no groups, a home and a temporary
//! directory of its own, and nothing of root's in its environment. Where the
//! clone lies below a directory that only root may enter, such as `/root`, the
//! tests see that directory, in a mount namespace of their own, as a bare one
//! that holds nothing but the clone.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    os::{
        fd::AsRawFd,
        unix::{
            fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::Command,
};

use rustix::mount::{MountFlags, mount, mount_bind_recursive};

use crate::{cache, test::cargo};

/// The word by which main() finds this module.
pub(crate) const RUNNER: &str = "as-user";

/// The same, already in a mount namespace of its own.
const INSIDE: &str = "--inside";

/// The first number that is tried for the user.
const FIRST: u32 = 54_321;

const UID: &str = "BELLJAR_XTASK_UID";
const HOME: &str = "BELLJAR_XTASK_HOME";
const SEEN: &str = "BELLJAR_XTASK_SEEN";

/// An unprivileged user for one run of the tests. Its directory goes with it.
pub(crate) struct User {
    uid: u32,
    dir: PathBuf,
}

impl User {
    /// Makes the user's directory below `/tmp`, and puts a copy of this program
    /// there: cargo may replace the original while it runs.
    pub(crate) fn new() -> Result<Self, String> {
        let uid = unused_uid();
        let dir = PathBuf::from(format!("/tmp/belljar-xtask-{}", std::process::id()));
        let user = Self { uid, dir };
        let made = (|| {
            fs::DirBuilder::new().mode(0o755).create(&user.dir)?;
            fs::set_permissions(&user.dir, fs::Permissions::from_mode(0o755))?;
            for name in ["home", "tmp"] {
                let place = user.dir.join(name);
                fs::DirBuilder::new().mode(0o700).create(&place)?;
                chown(&place, Some(uid), Some(uid))?;
            }
            fs::copy("/proc/self/exe", user.dir.join("xtask")).map(drop)
        })();
        made.map_err(|error| format!("{}: {error}", user.dir.display()))?;
        Ok(user)
    }

    /// A cargo command that starts its programs as this user.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let runner = format!(
            "target.'cfg(unix)'.runner=['{}','{RUNNER}']",
            self.dir.join("xtask").display()
        );
        let seen = [cache::root(), cache::target()];
        let mut command = cargo(&["--config", &runner]);
        command
            .args(args)
            .env(UID, self.uid.to_string())
            .env(HOME, &self.dir)
            .env(
                SEEN,
                std::env::join_paths(seen).expect("paths of a build have no colon"),
            );
        command
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The runner: `PROGRAM ARGS…`. Returns only if that fails.
pub(crate) fn become_user_and_run(args: &[OsString]) -> String {
    let (inside, args) = match args.split_first() {
        Some((first, rest)) if first == INSIDE => (true, rest),
        _ => (false, args),
    };
    let Some((program, args)) = args.split_first() else {
        return "the runner wants a program".to_owned();
    };
    match prepare(Path::new(program), inside) {
        Ok(Prepared::Needs { namespace }) => {
            let mut again = Command::new("unshare");
            again
                .args(["--mount", "--propagation", "private", "--"])
                .arg(namespace)
                .args([RUNNER, INSIDE])
                .arg(program)
                .args(args);
            format!("unshare: {}", again.exec())
        }
        Ok(Prepared::Ready { uid, home }) => {
            let mut command = Command::new(program);
            clean_environment(&mut command, uid, &home);
            // std drops all supplementary groups when root sets a uid here.
            let error = command.args(args).uid(uid).gid(uid).exec();
            format!("{} as user {uid}: {error}", Path::new(program).display())
        }
        Err(message) => message,
    }
}

enum Prepared {
    /// Something that the tests need lies where the user cannot go.
    Needs {
        /// This program, to be started again in a mount namespace of its own.
        namespace: PathBuf,
    },
    /// The user can be taken on now.
    Ready { uid: u32, home: PathBuf },
}

fn prepare(program: &Path, inside: bool) -> Result<Prepared, String> {
    let uid: u32 = std::env::var(UID)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("{UID} is not set; this runner is for `cargo xtask test`"))?;
    let home = PathBuf::from(std::env::var_os(HOME).unwrap_or_default());
    open_doctest(program)?;

    let seen: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os(SEEN).unwrap_or_default()).collect();
    let mut closed: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for place in seen {
        if let Some(at) = closed_ancestor(&place, uid) {
            closed.entry(at).or_default().push(place);
        }
    }
    if closed.is_empty() {
        return Ok(Prepared::Ready { uid, home });
    }
    if !inside {
        let namespace = home.join("xtask");
        return Ok(Prepared::Needs { namespace });
    }
    for (at, places) in &closed {
        uncover(at, places)?;
    }
    Ok(Prepared::Ready { uid, home })
}

/// The topmost directory on the way to `place` that `uid`, in no group, cannot enter.
fn closed_ancestor(place: &Path, uid: u32) -> Option<PathBuf> {
    let mut ancestors: Vec<&Path> = place.ancestors().skip(1).collect();
    ancestors.reverse();
    ancestors
        .into_iter()
        .find(|ancestor| {
            fs::metadata(ancestor).is_ok_and(|found| {
                let bit = if found.uid() == uid { 0o100 } else { 0o001 };
                found.mode() & bit == 0
            })
        })
        .map(Path::to_owned)
}

/// Covers `at` with a bare directory in which only `places` can be found.
fn uncover(at: &Path, places: &[PathBuf]) -> Result<(), String> {
    let says = |place: &Path, error: std::io::Error| format!("{}: {error}", place.display());
    let mut held = Vec::new();
    for place in places {
        let found = fs::File::open(place).map_err(|error| says(place, error))?;
        let mode = found.metadata().map_err(|error| says(place, error))?.mode();
        if mode & 0o005 != 0o005 {
            return Err(format!(
                "{} is closed to other users, and the tests also run as one: chmod o+rx",
                place.display()
            ));
        }
        held.push((place, found));
    }
    mount(
        "tmpfs",
        at,
        "tmpfs",
        MountFlags::NODEV,
        Some(c"mode=755,size=1m"),
    )
    .map_err(|error| says(at, error.into()))?;
    for (place, found) in held {
        fs::create_dir_all(place).map_err(|error| says(place, error))?;
        mount_bind_recursive(format!("/proc/self/fd/{}", found.as_raw_fd()), place)
            .map_err(|error| says(place, error.into()))?;
    }
    Ok(())
}

/// rustdoc puts doctests into a directory that only root can enter.
fn open_doctest(program: &Path) -> Result<(), String> {
    let mine = program
        .ancestors()
        .find(|place| {
            place
                .file_name()
                .and_then(OsStr::to_str)
                .is_some_and(|name| name.starts_with("rustdoctest"))
        })
        .map(Path::to_owned);
    match mine {
        Some(place) => fs::set_permissions(&place, fs::Permissions::from_mode(0o755))
            .map_err(|error| format!("{}: {error}", place.display())),
        None => Ok(()),
    }
}

/// Nothing of root's: no home, no runtime directory, no tools that only root reaches.
fn clean_environment(command: &mut Command, uid: u32, home: &Path) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let roots = text.starts_with("XDG_") || text.starts_with("BELLJAR_XTASK_");
        if roots
            || [
                "CARGO_HOME",
                "RUSTUP_HOME",
                "SUDO_USER",
                "SUDO_UID",
                "SUDO_GID",
                "MAIL",
            ]
            .contains(&&*text)
        {
            command.env_remove(&name);
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let reachable = std::env::split_paths(&path).filter(|place| {
        place.is_absolute() && place.is_dir() && closed_ancestor(&place.join("x"), uid).is_none()
    });
    command
        .env("PATH", std::env::join_paths(reachable).unwrap_or_default())
        .env("HOME", home.join("home"))
        .env("TMPDIR", home.join("tmp"))
        .env("USER", "belljar-test")
        .env("LOGNAME", "belljar-test")
        .env("SHELL", "/bin/sh");
}

/// A number that no user of this machine has.
fn unused_uid() -> u32 {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let taken: Vec<u32> = users
        .lines()
        .filter_map(|line| line.split(':').nth(2)?.parse().ok())
        .collect();
    (FIRST..).find(|uid| !taken.contains(uid)).unwrap_or(FIRST)
}
