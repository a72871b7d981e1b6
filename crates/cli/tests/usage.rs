//! What `belljar` says to a call that it cannot follow, and to one that asks for
//! help: no jar is needed for any of it.

use std::process::{Command, Output, Stdio};

fn belljar(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_belljar"))
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn bad_usage_is_one_complaint_and_status_125() {
    for words in [
        vec!["run"],
        vec!["run", "--"],
        vec!["run", "--memory", "128", "--", "true"],
        vec!["run", "--memory", "5s", "--", "true"],
        vec!["run", "--wall", "soon", "--", "true"],
        vec!["run", "--no-such-option", "true"],
        vec!["run", "--preset", "lax", "true"],
        vec!["run", "--policy", "/no/such/policy.toml", "--", "true"],
        vec!["run", "--report", "fd:99", "--", "true"],
        vec![
            "run",
            "--report",
            "/no/such/directory/report.json",
            "--",
            "true",
        ],
        vec!["run", "/no/such/belljar.toml"],
        vec!["run", "/usr/bin"],
        vec!["run", "/usr/bin", "--memory", "1GiB"],
        vec!["run", "--read", "/no/such/../path", "--", "true"],
        vec!["runn"],
        vec!["schema", "nothing"],
        vec!["doctor", "now"],
    ] {
        let output = belljar(&words);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{words:?}: {stderr}");
        assert_eq!(text(&output.stdout), "", "{words:?}");
        let lines: Vec<_> = stderr.lines().collect();
        assert!((1..=2).contains(&lines.len()), "{words:?}: {stderr}");
        assert!(lines[0].starts_with("belljar: "), "{words:?}: {stderr}");
        if let Some(second) = lines.get(1) {
            assert!(
                second.starts_with("belljar: remedy: "),
                "{words:?}: {stderr}"
            );
        }
    }
}

#[test]
fn a_complaint_cannot_carry_control_characters_of_what_was_said() {
    let output = belljar(&["run", "--memory", "\x1b[2J\nbelljar: fine", "--", "true"]);
    let stderr = text(&output.stderr);
    assert!(!stderr.contains('\x1b'), "{stderr:?}");
    assert!(!stderr.contains("\nbelljar: fine"), "{stderr:?}");
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf8_is_one_clear_complaint() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let output = Command::new(env!("CARGO_BIN_EXE_belljar"))
        .args(["run", "--read"])
        .arg(OsStr::from_bytes(b"/caf\xe9"))
        .args(["--", "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(
        text(&output.stderr).starts_with("belljar: --read: `/caf\\xe9` is not UTF-8 text\n"),
        "{output:?}"
    );
}

#[test]
fn help_and_version_go_to_stdout_with_status_0() {
    for (words, expected) in [
        (vec!["--version"], "belljar "),
        (vec!["--help"], "Usage: belljar <COMMAND>"),
        (vec!["help", "run"], "Exit status:"),
        (vec!["run", "--help"], "Exit status:"),
    ] {
        let output = belljar(&words);
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(text(&output.stdout).contains(expected), "{words:?}");
        assert_eq!(text(&output.stderr), "", "{words:?}");
    }
}

#[test]
fn a_call_without_a_word_shows_the_help_and_fails() {
    let output = belljar(&[]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("Usage: belljar <COMMAND>"));
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn every_schema_is_json() {
    for document in ["manifest", "policy", "report", "plan", "facts"] {
        let output = belljar(&["schema", document]);
        assert_eq!(output.status.code(), Some(0), "{document}");
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(schema["$schema"].is_string(), "{document}");
    }
}
