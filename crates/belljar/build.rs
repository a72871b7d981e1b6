//! Builds the launcher's program, which the library carries.
//!
//! The program has no std and no libc, and aborts on a panic: settings that a
//! dependency can't have of its own, hence a build of its own, in `OUT_DIR`.
//! Its sources are the crate `belljar-launcher` and `start/main.rs.in`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the outer build may have set and must not reach the inner one: flags
/// for another target, wrappers that expect the outer workspace, its folders.
const NOT_INHERITED: &[&str] = &[
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MAKEFLAGS",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_DIR",
    "CARGO_UNSTABLE_BUILD_STD",
    "CLIPPY_ARGS",
    "CLIPPY_CONF_DIR",
    "CLIPPY_TERMINAL_WIDTH",
    "MAKEFLAGS",
    "MFLAGS",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
];

/// How a static program without start-up code is linked.
const LINK: &[&str] = &[
    "-Crelocation-model=static",
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-static",
    "-Clink-arg=-Wl,--build-id=none",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=start/main.rs.in");
    let out = PathBuf::from(required("OUT_DIR"));
    let carried = out.join("launcher.bin");
    let on_linux = required("CARGO_CFG_TARGET_OS") == "linux";
    let known = matches!(
        required("CARGO_CFG_TARGET_ARCH").as_str(),
        "x86_64" | "aarch64"
    );
    // docs.rs builds without the network; the documentation needs no program.
    if !on_linux || !known || env::var_os("DOCS_RS").is_some() {
        fs::write(&carried, b"").expect("OUT_DIR can be written");
        return;
    }
    let launcher = launcher();
    println!("cargo::rerun-if-changed={}", launcher.join("src").display());
    let plan = launcher.join("../plan/src");
    if plan.exists() {
        println!("cargo::rerun-if-changed={}", plan.display());
    }
    let package = out.join("program");
    write_package(&package, &launcher);
    let program = build(&package, &out.join("program-target"));
    fs::copy(&program, &carried).expect("the program was built and can be copied");
}

/// The launcher's sources: beside these, where both are of one tree. What its
/// own build script says is kept with build output, and may be of another tree
/// that has the same output folder.
fn launcher() -> PathBuf {
    let beside = PathBuf::from(required("CARGO_MANIFEST_DIR")).join("../launcher");
    if beside.join("Cargo.toml").exists() {
        beside
    } else {
        PathBuf::from(required("DEP_BELLJAR_LAUNCHER_SRC"))
    }
}

fn required(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

/// Writes the package of the program, with the versions that the workspace has.
fn write_package(package: &Path, launcher: &Path) {
    let here = PathBuf::from(required("CARGO_MANIFEST_DIR"));
    let manifest = format!(
        r#"[package]
name = "belljar-launcher-program"
version = "0.0.0"
edition = "2024"
publish = false

[[bin]]
name = "launcher"
path = "main.rs"

[dependencies]
belljar-launcher = {{ path = {launcher:?} }}

[profile.release]
panic = "abort"
opt-level = "s"
lto = true
codegen-units = 1
strip = true
debug = false

[workspace]
"#
    );
    fs::create_dir_all(package).expect("OUT_DIR can be written");
    fs::write(package.join("Cargo.toml"), manifest).expect("OUT_DIR can be written");
    fs::copy(here.join("start/main.rs.in"), package.join("main.rs"))
        .expect("start/main.rs.in is part of this package");
    let lock = here.join("../../Cargo.lock");
    if lock.exists() {
        println!("cargo::rerun-if-changed={}", lock.display());
        fs::copy(lock, package.join("Cargo.lock")).expect("OUT_DIR can be written");
    }
}

/// Builds the program and says where it is.
fn build(package: &Path, target_folder: &Path) -> PathBuf {
    let target = required("TARGET");
    let mut cargo = Command::new(required("CARGO"));
    cargo
        .current_dir(package)
        .args(["rustc", "--release", "--bin", "launcher", "--target"])
        .arg(&target)
        .arg("--target-dir")
        .arg(target_folder)
        .arg("--")
        .args(LINK);
    for name in NOT_INHERITED {
        cargo.env_remove(name);
    }
    // Flags that are set for one target only.
    let per_target = format!(
        "CARGO_TARGET_{}_RUSTFLAGS",
        target.to_uppercase().replace('-', "_")
    );
    cargo.env_remove(per_target);
    let status = cargo.status().expect("cargo can be started");
    assert!(
        status.success(),
        "the launcher's program could not be built"
    );
    target_folder.join(target).join("release/launcher")
}
