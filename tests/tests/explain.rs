//! What `explain` tells beforehand is what a run does: the same plan, the same
//! digest, the same words for each rule.
#![cfg(target_os = "linux")]

use std::{fs, process::Command};

use belljar::{Plan, Report, Rule};
use belljar_tests::{Need, belljar, guest, need, output, source_tree};
use serde_json::Value;

fn explained(words: &[&str]) -> Value {
    let out = output(
        Command::new(belljar())
            .args(["explain", "--json"])
            .args(words),
    );
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{words:?}: {stderr}");
    serde_json::from_slice(&out.stdout).expect("JSON")
}

/// What is explained and run: flags, then a plugin or the guest.
fn command_lines(policy: &str) -> Vec<(Vec<&str>, bool)> {
    vec![
        (vec![], false),
        (vec!["--preset", "strict"], false),
        (vec!["--preset", "minimal"], false),
        (
            vec!["--read", "/var", "--memory", "64MiB", "--wall", "9s"],
            false,
        ),
        (
            vec!["--write", "/tmp", "--preset", "strict", "--allow", "jit"],
            false,
        ),
        (
            vec!["--env", "A=b", "--hostname", "x", "--user", "5:6"],
            false,
        ),
        (
            vec!["--require", "memory=supervisor", "--end-on", "nesting"],
            false,
        ),
        (vec!["--policy", policy], false),
        (vec![], true),
        (vec!["--preset", "standard", "--processes", "30"], true),
    ]
}

#[test]
fn the_plan_that_is_explained_is_the_one_that_is_run_and_kept() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    let policy = room.path().join("p.toml");
    fs::write(
        &policy,
        "preset = \"standard\"\n[limits]\nmemory = \"128MiB\"\n[seccomp]\ndeny = [\"fsync\"]\n",
    )
    .expect("a file");
    let policy = policy.to_str().expect("text");
    let plugin = source_tree().join("examples/wordcount");
    let (plugin, program) = (
        plugin.to_str().expect("text"),
        guest().to_str().expect("text"),
    );
    for (flags, is_plugin) in command_lines(policy) {
        let mut words = flags.clone();
        match is_plugin {
            true => words.push(plugin),
            false => words.extend(["--", program, "exit", "0"]),
        }
        let told = explained(&words);
        let plan: Plan = serde_json::from_value(told["plan"].clone()).expect("a plan");
        assert_eq!(told["digest"], belljar::policy::digest(&plan));

        // By the same caller: what `minimal` passes on is part of the plan.
        let file = room.path().join("report.json");
        let ran = output(
            Command::new(belljar())
                .args(["run", "--no-record", "--report"])
                .arg(&file)
                .args(&words),
        );
        assert!(
            ran.status.success(),
            "{flags:?}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
        let report: Report =
            serde_json::from_slice(&fs::read(&file).expect("a report")).expect("its form");
        assert_eq!(
            report.plan_digest.as_deref(),
            told["digest"].as_str(),
            "{flags:?}"
        );
        for (planned, held) in plan.rules.iter().zip(&report.enforcement) {
            assert_eq!(planned.rule, held.rule);
            assert_eq!(planned.requested, held.requested);
            assert_eq!(planned.planned, held.planned);
            assert_eq!(
                planned.planned.strength, held.applied,
                "{flags:?}: {planned:?}"
            );
        }
    }
}

#[test]
fn a_page_fits_80_columns_and_names_every_rule_and_step() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let words = [
        "--preset",
        "strict",
        "--read",
        "/var",
        "--",
        "/bin/cat",
        "/etc/passwd",
    ];
    let told = explained(&words);
    let steps = told["plan"]["steps"].as_array().expect("steps").len();
    let out = output(Command::new(belljar()).arg("explain").args(words));
    let text = String::from_utf8(out.stdout).expect("text");
    // What is there to be pasted or compared is not broken.
    let breaks = |line: &str| !line.split_whitespace().any(|word| word.len() > 50);
    for line in text.lines().filter(|line| breaks(line)) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(!text.contains('\x1b'), "no terminal, no colour");
    for rule in Rule::ALL {
        assert!(
            text.lines()
                .any(|line| line.trim_start().starts_with(rule.word())),
            "{rule}"
        );
    }
    assert!(text.contains(&format!("  {steps:>4}  exec ")), "{text}");
    assert!(text.contains("/var (--read)"), "{text}");
    assert!(text.contains("--preset strict"), "{text}");
}

#[test]
fn a_plan_for_another_machine_tells_what_would_hold_there() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    let file = room.path().join("facts.json");
    let mut facts = belljar::facts();
    facts.landlock = serde_json::from_value(serde_json::json!({
        "is": "unavailable", "cause": "no Landlock there", "remedy": "another kernel",
    }))
    .expect("an ability");
    facts.landlock_abi = 0;
    fs::write(&file, serde_json::to_vec(&facts).expect("JSON")).expect("a file");
    let file = file.to_str().expect("text");
    let told = explained(&["--for-host", file, "--", "/bin/true"]);
    let files = &told["plan"]["rules"][0];
    assert_eq!(files["rule"], "files");
    let mechanism = files["planned"]["mechanism"].as_str().expect("text");
    assert!(mechanism.contains("no Landlock there"), "{mechanism}");

    // Where it would be refused, that is told, and is no plan.
    facts.seccomp = facts.landlock.clone();
    fs::write(file, serde_json::to_vec(&facts).expect("JSON")).expect("a file");
    let out = output(Command::new(belljar()).args([
        "explain",
        "--json",
        "--for-host",
        file,
        "--",
        "/bin/true",
    ]));
    assert_eq!(out.status.code(), Some(125));
    let told: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(told["plan"], Value::Null);
    let rules: Vec<&str> = told["unmet"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|unmet| unmet["rule"].as_str())
        .collect();
    assert!(rules.contains(&"syscalls"), "{rules:?}");
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(stderr.contains("remedy: "), "{stderr}");

    for (text, expected) in [
        ("{}", "does not hold the facts"),
        ("", "does not hold the facts"),
    ] {
        fs::write(file, text).expect("a file");
        let out = output(Command::new(belljar()).args([
            "explain",
            "--for-host",
            file,
            "--",
            "/bin/true",
        ]));
        assert_eq!(out.status.code(), Some(125));
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn nothing_of_the_run_is_started_and_nothing_is_kept() {
    let room = tempfile::tempdir().expect("a directory");
    let touched = room.path().join("touched");
    let shown = touched.to_str().expect("text");
    let out = output(
        Command::new(belljar())
            .args([
                "explain",
                "--write",
                room.path().to_str().expect("text"),
                "--",
            ])
            .args(["/bin/sh", "-c", &format!("echo > {shown}")])
            .env("XDG_STATE_HOME", room.path().join("state")),
    );
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert_eq!(fs::read_dir(room.path()).expect("it is there").count(), 0);
}
