//! Tells the crate that carries the launcher where its sources are; with the feature
//! `faults`, lists in `points.rs` where in them a system call is made.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

#[path = "src/faults/table.rs"]
#[allow(dead_code, unreachable_pub, reason = "most of it is for who injects")]
mod table;

fn main() {
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::metadata=src={folder}");
    println!("cargo::rerun-if-changed=src");
    if env::var_os("CARGO_FEATURE_FAULTS").is_some() {
        let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
        let text = listed(&Path::new(&folder).join("src"));
        fs::write(out.join("points.rs"), text).expect("OUT_DIR can be written");
    }
}

/// The points of all sources, as a Rust expression, sorted by place.
fn listed(sources: &Path) -> String {
    let mut files = Vec::new();
    find(sources, sources, &mut files);
    files.sort();
    let mut points = Vec::new();
    for name in files {
        let text = fs::read_to_string(sources.join(&name)).expect("a source can be read");
        for (number, line) in text.lines().enumerate() {
            if line == "mod tests {" {
                break;
            }
            for (column, call) in calls(line) {
                points.push((name.clone(), number + 1, column, call));
            }
        }
    }
    points.sort();
    let lines: Vec<String> = points
        .iter()
        .map(|(file, line, column, call)| {
            format!(
                "    Site {{ file: {file:?}, line: {line}, column: {column}, call: {call} }},\n"
            )
        })
        .collect();
    format!("&[\n{}]\n", lines.concat())
}

fn find(top: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("src/ can be read") {
        let path = entry.expect("src/ can be read").path();
        let name = path.strip_prefix(top).expect("it lies there");
        let name = name.display().to_string();
        // Where the calls themselves are, and where there are none.
        if ["faults", "faults.rs", "raw.rs", "calls.rs", "arch"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            find(top, &path, files);
        } else {
            files.push(name);
        }
    }
}

/// The calls in a line of source: the column where each expression begins, from 1 on,
/// and its index in the table.
fn calls(line: &str) -> Vec<(usize, usize)> {
    let code = line.split("//").next().unwrap_or("");
    let is_path = |character: char| character.is_alphanumeric() || "_:".contains(character);
    let mut found = Vec::new();
    for (at, _) in code.match_indices('(') {
        let before = code.get(..at).unwrap_or("");
        let start = before
            .char_indices()
            .rev()
            .find(|(_, character)| !is_path(*character))
            .map_or(0, |(index, character)| index + character.len_utf8());
        let path = before.get(start..).unwrap_or("");
        let ahead = before.get(..start).unwrap_or("");
        if ahead.ends_with('.') || ahead.ends_with("fn ") {
            continue;
        }
        // A bare name is taken from the door, and may be written with it.
        let index = table::CALLS
            .iter()
            .position(|call| call.name == path || path.strip_prefix("calls::") == Some(call.name));
        if let Some(index) = index {
            found.push((ahead.chars().count() + 1, index));
        }
    }
    found
}
