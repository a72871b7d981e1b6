//! `belljar doctor`: what it finds on this machine, on ones that refuse a part
//! of what a jar is made of, and that it leaves nothing behind.
#![cfg(target_os = "linux")]

#[path = "doctor/kernels.rs"]
mod kernels;
#[path = "doctor/worse.rs"]
mod worse;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use belljar::{HostFacts, Jar, Policy, Preset};
use belljar_tests::{Leftovers, Need, belljar as program, is_root, need};

/// Jars can be had: root always may, others need user namespaces.
fn jars() -> bool {
    is_root() || need(Need::UserNamespaces)
}

fn doctor(words: &[&str]) -> Output {
    belljar_tests::output(
        Command::new(program())
            .arg("doctor")
            .args(words)
            .stdin(Stdio::null()),
    )
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn facts(json: &[u8]) -> HostFacts {
    serde_json::from_slice(json)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(json)))
}

/// The words of a page, however its lines are broken.
fn words(page: &[u8]) -> String {
    let words: Vec<&str> = text(page).split_whitespace().collect();
    words.join(" ")
}

#[test]
fn machine_that_makes_jars_is_told_of_so_in_eighty_columns() {
    if !jars() {
        return;
    }
    let output = doctor(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:#?}");
    assert_eq!(text(&output.stderr), "");
    let page = text(&output.stdout);
    assert!(!page.contains('\x1b'), "{page}");
    for line in page.lines() {
        // A command that is to be copied is never broken.
        let copied = line.trim_start().starts_with('`');
        assert!(copied || line.chars().count() <= 80, "{line}");
        assert_eq!(line, line.trim_end());
    }
    let said = words(&output.stdout);
    for told in [
        "strict yes",
        "standard yes",
        "minimal yes",
        "namespaces yes",
        "mounts yes",
    ] {
        assert!(said.contains(told), "{told}: {page}");
    }
    assert!(!said.contains("not tried"), "{page}");
}

#[test]
fn colour_is_for_a_terminal_and_not_where_nobody_wants_it() {
    if !jars() || !need(Need::Program("script")) {
        return;
    }
    let in_terminal = |no_color: &str| {
        let command = format!("{} doctor", program().display());
        let output = belljar_tests::output(
            Command::new("script")
                .args(["-qec", &command, "/dev/null"])
                .env("TERM", "xterm")
                .env("NO_COLOR", no_color)
                .stdin(Stdio::null()),
        );
        assert!(output.status.success(), "{output:#?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(in_terminal("").contains("\x1b[32myes\x1b[0m"));
    assert!(!in_terminal("1").contains("\x1b["));
}

#[test]
fn facts_as_json_are_those_that_launches_are_planned_by() {
    if !jars() {
        return;
    }
    let output = doctor(&["--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:#?}");
    let facts = facts(&output.stdout);
    assert_eq!(
        format!("{}\n", serde_json::to_string_pretty(&facts).expect("JSON")),
        text(&output.stdout),
        "it is the file and nothing else"
    );
    for preset in Preset::ALL {
        let jar = || Jar::program("true").policy(Policy::of(*preset));
        let [here, planned] =
            [jar().plan(), jar().plan_for(&facts)].map(|plan| plan.expect("a plan"));
        if *preset != Preset::Minimal {
            let digest = belljar::policy::digest;
            assert_eq!(digest(&planned), digest(&here), "{preset}");
        }
        // What `minimal` hides changes with every socket that somebody binds.
        let held = |plan: belljar::Plan| -> Vec<_> {
            let rules = plan.rules.into_iter();
            rules
                .map(|rule| (rule.rule, rule.requested, rule.planned))
                .collect()
        };
        assert_eq!(held(planned), held(here), "{preset}");
    }
    let examined = facts.examined.expect("it was examined");
    for step in [
        "clone",
        "map_ids",
        "proc",
        "restrict",
        "filter",
        "rlimit",
        "seal_root",
    ] {
        assert!(examined.done.iter().any(|done| done == step), "{step}");
    }
    assert_eq!(is_root(), !examined.idmapped.is_empty());
    assert_eq!(
        is_root(),
        examined
            .idmapped
            .iter()
            .any(|place| place.is_possible.is_available())
    );
}

/// Cgroups that a trial made, wherever this process's own is.
fn cgroups_of_trials(facts: &HostFacts) -> Vec<PathBuf> {
    let own = facts
        .examined
        .as_ref()
        .and_then(|examined| examined.cgroups.own.clone());
    let Some(Ok(entries)) = own.map(fs::read_dir) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("belljar-trial"))
        .collect()
}

#[test]
fn a_plan_is_explained_from_the_facts_as_it_is_here() {
    if !jars() {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    let file = room.path().join("facts.json");
    fs::write(&file, doctor(&["--json"]).stdout).expect("a file");
    let explain = |words: &[&str]| -> serde_json::Value {
        let output = belljar_tests::output(
            Command::new(program())
                .args(["explain", "--json"])
                .args(words)
                .args(["--", "true"])
                .stdin(Stdio::null()),
        );
        assert_eq!(output.status.code(), Some(0), "{output:#?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let there = explain(&["--for-host", file.to_str().expect("a path")]);
    assert!(there["digest"].is_string());
    assert_eq!(there["digest"], explain(&[])["digest"]);
}

#[test]
fn nothing_is_left_of_an_examination() {
    let before = Leftovers::before();
    let output = doctor(&["--json"]);
    let facts = facts(&output.stdout);
    before.assert_none();
    let cgroups = &facts.examined.as_ref().expect("it was examined").cgroups;
    if cgroups.children.is_available() {
        assert!(!cgroups.files.is_empty(), "one was made: {cgroups:#?}");
    }
    // Another test's may be there for a moment.
    let end = Instant::now() + Duration::from_secs(5);
    while !cgroups_of_trials(&facts).is_empty() {
        assert!(Instant::now() < end, "{:?}", cgroups_of_trials(&facts));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn examination_that_is_killed_leaves_no_process_mount_or_file() {
    if !jars() {
        return;
    }
    for delay in [1, 5, 10, 20, 40] {
        let before = Leftovers::before();
        let mut child = belljar_tests::spawn(
            Command::new(program())
                .args(["doctor", "--json"])
                .stdin(Stdio::null())
                .stdout(Stdio::null()),
        );
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().expect("a child");
        child.wait().expect("a child");
        before.assert_none();
    }
}

#[test]
fn where_nothing_can_be_written_that_is_said() {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let child = belljar_tests::spawn(
        Command::new(program())
            .args(["doctor", "--json"])
            .stdin(Stdio::null())
            .stdout(full)
            .stderr(Stdio::piped()),
    );
    let output = child.wait_with_output().expect("a child");
    assert_eq!(output.status.code(), Some(125), "{output:#?}");
    assert!(text(&output.stderr).starts_with("belljar: cannot write to stdout: "));
}
