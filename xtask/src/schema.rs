//! What of docs is written from types and tables, kept in the tree so that a
//! change of them is seen in review; tests compare: docs/schemas, which `belljar
//! schema` prints, docs/syscalls.md and docs/groups.md.

use std::{
    ffi::OsString,
    fs,
    process::{ExitCode, Stdio},
};

use crate::{
    cache,
    test::{cargo, no_arguments},
};

/// The forms that have a schema, as `belljar schema` calls them.
const NAMES: &[&str] = &[
    "manifest",
    "policy",
    "report",
    "plan",
    "event",
    "explanation",
    "answer",
    "denials",
    "runs",
    "groups",
    "warnings",
    "lines",
    "lesson",
    "facts",
    "proof",
    "confined",
];

/// Writes the files anew, and names those that changed.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    no_arguments("schema", args)?;
    let dir = cache::root().join("docs/schemas");
    for name in NAMES {
        let file = dir.join(format!("{name}.json"));
        let now = generate(name)?;
        if fs::read(&file).ok().as_ref() == Some(&now) {
            continue;
        }
        fs::create_dir_all(&dir)
            .and_then(|()| fs::write(&file, now))
            .map_err(|error| format!("{}: {error}", file.display()))?;
        println!("wrote {}", file.display());
    }
    write_page("docs/syscalls.md", &belljar_policy::seccomp::page())?;
    write_page("docs/groups.md", &belljar_policy::group::page())?;
    Ok(ExitCode::SUCCESS)
}

/// A page that is written from tables.
fn write_page(path: &str, text: &str) -> Result<(), String> {
    let file = cache::root().join(path);
    if fs::read_to_string(&file).is_ok_and(|there| there == text) {
        return Ok(());
    }
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    println!("wrote {}", file.display());
    Ok(())
}

fn generate(name: &str) -> Result<Vec<u8>, String> {
    let out = cargo(&["run", "--quiet", "-p", "belljar-cli", "--", "schema", name])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if out.status.success() {
        Ok(out.stdout)
    } else {
        Err(format!("belljar schema {name}: {}", out.status))
    }
}
