//! Where the programs under test are.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The program `belljar`: `BELLJAR_BIN`, or beside this test's own directory.
///
/// # Panics
/// Where it is not found and cannot be built.
#[must_use]
pub fn belljar() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| find("BELLJAR_BIN", "belljar"))
}

/// The program of the guests: `BELLJAR_GUEST`, or beside this test's own directory.
///
/// # Panics
/// Where it is not found and cannot be built.
#[must_use]
pub fn guest() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| find("BELLJAR_GUEST", "belljar-guest"))
}

/// The program `belljar` with the feature `break-plan`: `BELLJAR_BROKEN_BIN`, or
/// beside this test's own directory.
///
/// # Panics
/// Where it is not found and cannot be built.
#[must_use]
pub fn broken_belljar() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Some(path) = std::env::var_os("BELLJAR_BROKEN_BIN") {
            return path.into();
        }
        let profile = profile();
        let words = [
            "-p",
            "belljar-cli",
            "--features",
            "break-plan",
            "--bin",
            "belljar-broken",
        ];
        cargo_build(&profile, &words);
        there(profile.join("belljar-broken"), &words)
    })
}

/// The program `belljar-faulty`: `BELLJAR_FAULTY_BIN`, or beside this test's own directory.
///
/// # Panics
/// Where it is not found and cannot be built.
#[must_use]
pub fn faulty_belljar() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| find_faulty("BELLJAR_FAULTY_BIN", "belljar-faulty"))
}

/// The program `faulty-host`: `BELLJAR_FAULTY_HOST`, or beside this test's own directory.
///
/// # Panics
/// Where it is not found and cannot be built.
#[must_use]
pub fn faulty_host() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| find_faulty("BELLJAR_FAULTY_HOST", "faulty-host"))
}

fn find_faulty(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let profile = profile();
    let words = [
        "-p",
        "belljar-cli",
        "-p",
        "belljar-tests",
        "--features",
        "belljar-cli/faults,belljar-tests/faults",
        "--bin",
        "belljar-faulty",
        "--bin",
        "faulty-host",
    ];
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| cargo_build(&profile, &words));
    there(profile.join(name), &words)
}

/// The root of the project's sources.
///
/// # Panics
/// Never: this package has a parent directory.
#[must_use]
pub fn source_tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the tree")
}

/// The directory of the toolchain that is on the path. Root's own lies where
/// no other user can read it, and then there is none for them.
#[must_use]
pub fn toolchain() -> Option<PathBuf> {
    let said = crate::output(Command::new("sh").args(["-c", "rustc --print sysroot"]));
    let path = PathBuf::from(String::from_utf8(said.stdout).ok()?.trim_end());
    path.join("bin/cargo").exists().then_some(path)
}

/// target/PROFILE/deps/test-HASH -> target/PROFILE
fn profile() -> PathBuf {
    let own = std::env::current_exe().expect("a test has a path");
    own.ancestors()
        .nth(2)
        .expect("cargo's target directory has this shape")
        .to_owned()
}

fn find(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let profile = profile();
    let words = ["-p", "belljar-cli", "-p", "belljar-attacks"];
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| cargo_build(&profile, &words));
    there(profile.join(name), &words)
}

fn there(path: PathBuf, words: &[&str]) -> PathBuf {
    let shown = path.display();
    assert!(
        path.exists(),
        "{shown} is not there: cargo build {}",
        words.join(" ")
    );
    path
}

/// Builds programs, so that `cargo test -p belljar-tests` alone tests what is in
/// the tree. A user who may not write there takes what there is.
fn cargo_build(profile: &Path, words: &[&str]) {
    if rustix::fs::access(profile, rustix::fs::Access::WRITE_OK).is_err() {
        return;
    }
    let target = profile.parent().expect("a profile is in a directory");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet"])
        .args(words)
        .arg("--target-dir")
        .arg(target)
        .current_dir(source_tree());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    // As a child of the tests' own: other tests look for what is left behind.
    let status = crate::spawn(&mut cargo).wait().expect("a child");
    assert!(status.success(), "the programs under test do not build");
}
