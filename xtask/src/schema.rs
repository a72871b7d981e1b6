//! docs/schemas: what `belljar schema` prints, kept in the tree so that a change
//! of a public form is seen in review.

use std::{
    ffi::OsString,
    fs,
    process::{Command, ExitCode},
};

use crate::{cache, test::cargo};

/// The forms that have a schema, as `belljar schema` calls them.
const NAMES: &[&str] = &["manifest", "policy", "report"];

/// Writes the files anew; with `--check`, fails where that would change one.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    let check = match args {
        [] => false,
        [only] if only == "--check" => true,
        _ => return Err("schema takes --check or nothing".to_owned()),
    };
    let dir = cache::root().join("docs/schemas");
    let mut stale = Vec::new();
    for name in NAMES {
        let file = dir.join(format!("{name}.json"));
        let now = generate(name)?;
        if fs::read(&file).ok().as_ref() == Some(&now) {
            continue;
        }
        if check {
            stale.push(file.display().to_string());
        } else {
            fs::create_dir_all(&dir)
                .and_then(|()| fs::write(&file, now))
                .map_err(|error| format!("{}: {error}", file.display()))?;
            println!("wrote {}", file.display());
        }
    }
    if stale.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!(
        "not what the types say: {}; `cargo xtask schema` writes them",
        stale.join(", ")
    ))
}

fn generate(name: &str) -> Result<Vec<u8>, String> {
    let mut command: Command = cargo(["run", "--quiet", "-p", "belljar-cli", "--", "schema", name]);
    let out = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if out.status.success() {
        Ok(out.stdout)
    } else {
        Err(format!("belljar schema {name}: {}", out.status))
    }
}
