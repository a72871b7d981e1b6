//! Builds the programs that the library carries: the launcher and the prober.
//!
//! They have no std and no libc, and abort on a panic: settings that a
//! dependency can't have of its own, hence a build of its own, in `OUT_DIR`.
//! Their sources are the crates `belljar-launcher` and `belljar-prober`, and
//! `start/`.

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

/// The programs, as their crates and files here are called.
const PROGRAMS: [&str; 2] = ["launcher", "prober"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=start");
    let out = PathBuf::from(required("OUT_DIR"));
    let carried = |name: &str| out.join(format!("{name}.bin"));
    let on_linux = required("CARGO_CFG_TARGET_OS") == "linux";
    let known = matches!(
        required("CARGO_CFG_TARGET_ARCH").as_str(),
        "x86_64" | "aarch64"
    );
    // docs.rs builds without the network; the documentation needs no program.
    if !on_linux || !known || env::var_os("DOCS_RS").is_some() {
        for name in PROGRAMS {
            fs::write(carried(name), b"").expect("OUT_DIR can be written");
        }
        return;
    }
    let sources = PROGRAMS.map(sources);
    for folder in &sources {
        println!("cargo::rerun-if-changed={}", folder.join("src").display());
    }
    let plan = sources[0].join("../plan/src");
    if plan.exists() {
        println!("cargo::rerun-if-changed={}", plan.display());
    }
    let package = out.join("program");
    write_package(&package, &sources);
    for name in PROGRAMS {
        let program = build(&package, name, &out.join("program-target"));
        fs::copy(&program, carried(name)).expect("the program was built and can be copied");
    }
}

/// A program's sources: beside these, where both are of one tree. What its
/// own build script says is kept with build output, and may be of another tree
/// that has the same output folder.
fn sources(name: &str) -> PathBuf {
    let beside = PathBuf::from(required("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(name);
    if beside.join("Cargo.toml").exists() {
        beside
    } else {
        let name = name.to_uppercase();
        PathBuf::from(required(&format!("DEP_BELLJAR_{name}_SRC")))
    }
}

fn required(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

/// Writes the package of the programs, with the versions that the workspace has.
fn write_package(package: &Path, sources: &[PathBuf; 2]) {
    let here = PathBuf::from(required("CARGO_MANIFEST_DIR"));
    let [launcher, prober] = sources;
    let faults = match env::var_os("CARGO_FEATURE_FAULTS") {
        Some(_) => r#""faults""#,
        None => "",
    };
    let manifest = format!(
        r#"[package]
name = "belljar-programs"
version = "0.0.0"
edition = "2024"
publish = false

[[bin]]
name = "launcher"
path = "launcher.rs"

[[bin]]
name = "prober"
path = "prober.rs"

[dependencies]
belljar-launcher = {{ path = {launcher:?}, features = [{faults}] }}
belljar-prober = {{ path = {prober:?} }}

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
    for name in PROGRAMS.into_iter().chain(["memory"]) {
        let source = here.join(format!("start/{name}.rs.in"));
        fs::copy(source, package.join(format!("{name}.rs")))
            .expect("start/ is part of this package");
    }
    let lock = here.join("../../Cargo.lock");
    if lock.exists() {
        println!("cargo::rerun-if-changed={}", lock.display());
        fs::copy(lock, package.join("Cargo.lock")).expect("OUT_DIR can be written");
    }
}

/// Builds a program and says where it is.
fn build(package: &Path, name: &str, target_folder: &Path) -> PathBuf {
    let target = required("TARGET");
    let mut cargo = Command::new(required("CARGO"));
    cargo
        .current_dir(package)
        .args(["rustc", "--release", "--bin", name, "--target"])
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
    assert!(status.success(), "the {name}'s program could not be built");
    target_folder.join(target).join("release").join(name)
}
