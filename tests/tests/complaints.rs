//! Where belljar does not do what it was called for, it says why in lines that can be
//! read, each said once, and what to do about it by the words that were used.
#![cfg(target_os = "linux")]

use std::{
    fs,
    process::{Command, Stdio},
};

use belljar_tests::{Need, belljar, need, output, source_tree};

/// Calls belljar in a directory with the policies `bad.toml`, which is no TOML,
/// `calls.toml`, which names no call, and `extends.toml`, which extends nothing, and
/// gives its status and what it says on stderr.
fn said(words: &[&str]) -> (Option<i32>, String) {
    let room = tempfile::tempdir().expect("a directory");
    for (name, text) in [
        ("bad.toml", "preset = [\n"),
        ("calls.toml", "seccomp.allow = ['nosuchcall']\n"),
        ("extends.toml", "extends = ['none.toml']\n"),
        ("plugin/belljar.toml", "[plugin"),
    ] {
        let path = room.path().join(name);
        fs::create_dir_all(path.parent().expect("below")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    let out = output(
        Command::new(belljar())
            .args(words)
            .current_dir(room.path())
            .env("HOME", room.path())
            .env_remove("XDG_STATE_HOME")
            .stdin(Stdio::null()),
    );
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    eprintln!("{words:?}: {:?}\n{text}", out.status.code());
    (out.status.code(), text)
}

#[test]
fn what_is_wrong_with_a_file_is_said_alike_by_every_subcommand() {
    for (file, expected) in [
        ("bad.toml", "line 1: unclosed array"),
        ("calls.toml", "line 1: unknown system call `nosuchcall`"),
        ("extends.toml", "line 1: cannot extend `none.toml`"),
    ] {
        for words in [
            &["run", "--policy", file, "true"][..],
            &["explain", "--policy", file, "true"],
            &["prove", "--policy", file, "true"],
            &["learn", "--policy", file, "true"],
            &["why", "--policy", file, "--", "read", "/x"],
            &["policy", "check", file],
            &["policy", "show", "--policy", file],
        ] {
            let (status, text) = said(words);
            assert_eq!(status, Some(125), "{words:?}");
            assert!(text.contains(expected), "{words:?}: {text}");
            assert!(text.len() < 400 && !text.contains("\\u{"), "{words:?}");
        }
    }
    let (status, text) = said(&["learn", "--update", "bad.toml", "true"]);
    assert_eq!(status, Some(125));
    assert!(
        text.contains("it is no TOML: line 1: unclosed array"),
        "{text}"
    );
    assert!(!text.contains("\\u{"), "{text}");
}

#[test]
fn what_is_not_there_comes_with_a_remedy_that_names_the_subcommand_at_hand() {
    for (words, remedies) in [
        (
            &["run", "--read", "/nosuch", "true"][..],
            "make it before the jar is started",
        ),
        (&["explain", "--read", "/nosuch", "true"], "make it before"),
        (
            &["why", "--read", "/nosuch", "--", "read", "/x"],
            "make it before",
        ),
        (
            &["run", "--policy", "extends.toml", "true"],
            "name a file that is there",
        ),
        (&["why", "--", "call", "nosuchcall"], "docs/syscalls.md"),
        (&["why", "zzz"], "belljar why jar-…"),
        (&["why", "zzz"], "belljar why zzz -- read "),
        (&["explain"], "`belljar explain -- PROGRAM`"),
        (&["prove"], "`belljar help prove`"),
        (
            &["learn", "--out", "fd:99", "true"],
            "`belljar learn --out fd:99 ",
        ),
        (
            &["run", "--report", "fd:99", "true"],
            "`belljar run --report fd:99 ",
        ),
        (&["learn", "."], "`belljar learn -- PROGRAM`"),
        (
            &["run", "--best-effort", "foo", "true"],
            "the rules are files, ",
        ),
    ] {
        let (status, text) = said(words);
        assert_eq!(status, Some(125), "{words:?}");
        let remedy = text
            .lines()
            .find_map(|line| line.strip_prefix("belljar: remedy: "));
        assert!(
            remedy.is_some_and(|remedy| remedy.contains(remedies)),
            "{words:?}: {text}"
        );
    }
}

#[test]
fn a_program_that_is_not_there_is_told_once_and_by_the_same_status() {
    if !need(Need::UserNamespaces) {
        return;
    }
    for subcommand in ["run", "learn", "explain"] {
        let (status, text) = said(&[subcommand, "--", "nosuch"]);
        assert_eq!(status, Some(127), "{subcommand}");
        assert_eq!(text.matches("nosuch` in ").count(), 1, "{text}");
        assert!(!text.contains("no lesson can be drawn"), "{text}");
    }
}

#[test]
fn what_a_machine_cannot_hold_is_a_line_for_each_rule() {
    let machines = source_tree().join("crates/policy/tests/machines");
    let machine = machines.join("gvisor-root.json").display().to_string();
    let (status, text) = said(&["explain", "--for-host", &machine, "--", "true"]);
    assert_eq!(status, Some(125));
    assert!(
        text.contains("belljar:   files (kernel, here none)\n"),
        "{text}"
    );
    for line in text.lines() {
        assert!(line.matches("(kernel, here none)").count() <= 1, "{line}");
    }
}

#[test]
fn what_is_accepted_by_a_flag_is_told_so_once() {
    let machines = source_tree().join("crates/policy/tests/machines");
    for entry in fs::read_dir(machines).expect("machines") {
        let machine = entry.expect("an entry").path().display().to_string();
        if !machine.ends_with(".json") {
            continue;
        }
        let (_, text) = said(&["explain", "--for-host", &machine, "--", "true"]);
        for line in text.lines().filter(|line| line.contains("remedy: ")) {
            let flags: Vec<&str> = line
                .split("--best-effort ")
                .skip(1)
                .filter_map(|rest| rest.split(['`', ' ']).next())
                .collect();
            let mut once = flags.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), flags.len(), "{machine}: {line}");
        }
    }
}
