//! Every system call that rustix makes for the launcher goes by `calls.rs`, so that in a
//! build with faults it is a point.

use std::{fs, path::Path};

/// Functions that are called from elsewhere, since they cannot fail.
const FREE: [&str; 7] = [
    "clock_gettime",
    "geteuid",
    "getppid",
    "getrlimit",
    "major",
    "minor",
    "umask",
];

/// The names of functions of rustix's that a source mentions.
fn functions(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("rustix::") {
        let rest = &code[at + "rustix::".len()..];
        let Some((module, rest)) = rest.split_once("::") else {
            continue;
        };
        if ["fd", "buffer", "path"].contains(&module) || module.contains(';') {
            continue;
        }
        // One name, or a list of them.
        let names = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or(list),
            None => rest
                .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .next()
                .unwrap_or(rest),
        };
        found.extend(
            names
                .split([',', ' ', '\n'])
                .filter(|name| name.starts_with(|first: char| first.is_ascii_lowercase()))
                .filter(|name| *name != "self" && *name != "as")
                .map(str::to_owned),
        );
    }
    found
}

fn sources(folder: &Path, all: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match () {
            () if ["calls.rs", "faults.rs", "faults"].contains(&&*name) => {}
            () if path.is_dir() => sources(&path, all),
            () => all.push(path),
        }
    }
}

#[test]
fn no_call_of_rustix_s_goes_past_the_door() {
    let mut all = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    assert!(all.len() > 20);
    for path in all {
        let text = fs::read_to_string(&path).expect("a source");
        let past: Vec<_> = functions(&text)
            .into_iter()
            .filter(|name| !FREE.contains(&name.as_str()))
            .collect();
        assert!(past.is_empty(), "{}: {past:?}", path.display());
    }
}

#[test]
fn a_call_past_the_door_is_seen() {
    let past = |text| functions(text).len();
    assert_eq!(past("use rustix::fs::{Mode, OFlags, open};"), 1);
    assert_eq!(past("let x = rustix::io::write(&file, b\"\");"), 1);
    assert_eq!(past("use rustix::fs::{\n    Mode, openat2,\n};"), 1);
    assert_eq!(
        past("use rustix::fs::{Mode, OFlags};\n// rustix::io::read"),
        0
    );
    assert_eq!(past("fn f(x: rustix::fd::BorrowedFd<'_>) {}"), 0);
}
