//! `belljar prove`: what it says of real plans, and that it notices a plan that
//! lacks what it claims.
#![cfg(target_os = "linux")]

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use belljar_plan::{
    Report, Rule, Strength,
    proof::{Proof, Proved, Verdict},
};
use belljar_tests::{
    Leftovers, Need, VmCommand, VmEnd, belljar, broken_belljar, is_root, kill, need, source_tree,
    spawn, vm, wait_until, without_namespaces,
};
use rustix::process::Signal;
use tempfile::TempDir;

/// Prove, however it is called.
fn prove(belljar: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(belljar);
    command
        .args(["prove", "--json"])
        .args(words)
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

/// Sees that a prove leaves nothing, wherever the others are that run meanwhile:
/// what it makes for its probes is made in a directory of the test's own.
struct Traces {
    room: TempDir,
    all: Leftovers,
}

impl Traces {
    fn before() -> Self {
        // Below a directory that only its owner enters prove would rather take another.
        let room = tempfile::tempdir_in("/tmp").expect("a directory");
        fs::set_permissions(room.path(), fs::Permissions::from_mode(0o1777)).expect("its mode");
        Self {
            room,
            all: Leftovers::before(),
        }
    }

    fn follow(&self, mut command: Command) -> Command {
        command.env("TMPDIR", self.room.path());
        command
    }

    fn assert_none(&self) {
        let left: Vec<_> = fs::read_dir(self.room.path())
            .expect("a directory")
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        self.all.assert_none();
    }
}

fn output(mut command: Command) -> Output {
    belljar_tests::output(&mut command)
}

/// What prove says, and the status that it ends with.
fn proof(command: Command) -> (Proof, Option<i32>) {
    let output = output(command);
    let proof = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:#?}"));
    (proof, output.status.code())
}

fn of(proof: &Proof, rule: Rule) -> &Proved {
    let mut rules = proof.rules.iter();
    rules
        .find(|proved| proved.rule == rule)
        .unwrap_or_else(|| panic!("no {rule}"))
}

/// Every rule that is claimed was seen to hold, and what is not claimed is told
/// as that.
fn assert_all_held(proof: &Proof, status: Option<i32>) {
    assert_eq!(status, Some(0), "{proof:#?}");
    assert!(proof.holds());
    let told: Vec<Rule> = proof.rules.iter().map(|proved| proved.rule).collect();
    assert_eq!(told, Rule::ALL);
    for proved in &proof.rules {
        let expected = match (proved.rule, proved.claim.strength) {
            (Rule::Cpu | Rule::Io, Strength::None) => Verdict::NotAskedFor,
            (_, Strength::None) => Verdict::NotClaimed,
            _ => Verdict::Held,
        };
        assert_eq!(proved.verdict, expected, "{proved:#?}");
        // What held was denied, and something was let through beside it.
        for trial in &proved.trials {
            assert_ne!(trial.verdict, Verdict::Broken, "{trial:#?}");
        }
    }
}

#[test]
fn each_preset_s_plan_is_seen_to_hold() {
    if !is_root() && !need(Need::UserNamespaces) {
        return;
    }
    let before = Traces::before();
    for (preset, claimed) in [("minimal", 18), ("standard", 19), ("strict", 25)] {
        let command = prove(belljar(), &["--preset", preset, "--", "true"]);
        let (proof, status) = proof(before.follow(command));
        assert_all_held(&proof, status);
        assert_eq!(proof.preset.word(), preset);
        assert!(
            proof.count(Verdict::Held) >= claimed,
            "{preset}: {}",
            proof.count(Verdict::Held)
        );
    }
    before.assert_none();
}

#[test]
fn the_plan_is_that_of_explain_and_every_difference_is_told() {
    if !is_root() && !need(Need::UserNamespaces) {
        return;
    }
    let words = ["--preset", "strict", "--end-on", "nesting", "--", "true"];
    let (proof, status) = proof(prove(belljar(), &words));
    assert_all_held(&proof, status);
    let mut explain = Command::new(belljar());
    explain
        .args(["explain", "--json"])
        .args(words)
        .current_dir("/");
    let explained: serde_json::Value =
        serde_json::from_slice(&output(explain).stdout).expect("JSON");
    assert_eq!(explained["digest"], proof.plan_digest.as_str());
    for part in [
        "exec starts Belljar's prober, /belljar-prober,",
        "not /usr/bin/true",
        "plugin_file puts the prober",
        "allow_path lets /belljar-prober be read and started",
        "a violation does not end the jar, as the policy says of: nesting",
        "memory is tried at 32 MiB instead of 128 MiB",
        "wall is tried at 300 ms instead of 5 min",
        "file_size is tried at 64 KiB instead of 64 MiB",
    ] {
        assert!(
            proof.differences.iter().any(|told| told.contains(part)),
            "{part}: {:#?}",
            proof.differences
        );
    }
}

#[test]
fn each_probe_succeeds_without_a_jar_where_it_is_tried_so() {
    if !is_root() && !need(Need::UserNamespaces) {
        return;
    }
    let (proof, _) = proof(prove(belljar(), &["--preset", "strict", "--", "true"]));
    // Rules whose probe is nothing that any user could do at all, or is dear.
    let seen = [
        Rule::Files,
        Rule::Network,
        Rule::Sockets,
        Rule::Tasks,
        Rule::Ipc,
        Rule::Syscalls,
        Rule::Nesting,
        Rule::Devices,
        Rule::KernelInfo,
        Rule::Descriptors,
        Rule::Exec,
        Rule::WritableCode,
        Rule::Disk,
        Rule::Processes,
        Rule::OpenFiles,
        Rule::FileSize,
    ];
    for rule in seen {
        let without: Vec<_> = of(&proof, rule)
            .trials
            .iter()
            .filter(|trial| trial.verdict == Verdict::Held)
            .filter_map(|trial| trial.without.as_ref())
            .collect();
        assert!(!without.is_empty(), "{rule}");
        for tried in without {
            assert!(
                tried.answer == "done" || tried.answer.contains("by the kernel itself"),
                "{rule}: {tried:?}"
            );
        }
    }
}

#[test]
fn a_plugin_and_grants_are_tried_too_and_nothing_is_written_to_them() {
    if !is_root() && !need(Need::UserNamespaces) {
        return;
    }
    let before = Traces::before();
    let room = tempfile::tempdir().expect("a directory");
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
    fs::create_dir(room.path().join("out")).expect("a directory");
    let path = room.path().to_str().expect("UTF-8");
    let out = format!("{path}/out");
    let plugin = source_tree().join("examples/wordcount");
    let plugin = plugin.to_str().expect("UTF-8");
    for words in [
        vec!["--read", "/etc", "--write", &out, plugin],
        vec!["--read", path, "--write", &out, "--", "true"],
    ] {
        let (proof, status) = proof(before.follow(prove(belljar(), &words)));
        assert_all_held(&proof, status);
        assert_eq!(proof.plugin.is_some(), words.len() == 5);
    }
    let left = fs::read_dir(&out).expect("a directory").count();
    assert_eq!(left, 0, "prove wrote to what was granted");
    drop(room);
    before.assert_none();
}

#[test]
fn a_jar_with_a_terminal_is_tried_over_it() {
    if !is_root() && !need(Need::UserNamespaces) {
        return;
    }
    let (proof, status) = proof(prove(belljar(), &["--tty", "--", "true"]));
    assert_all_held(&proof, status);
}

#[test]
fn small_limits_are_in_the_way_of_probes_and_break_nothing() {
    if !is_root() && !need(Need::UserNamespaces) {
        return;
    }
    let (alone, status) = proof(prove(belljar(), &["--processes", "1", "--", "true"]));
    assert_eq!(status, Some(0), "{alone:#?}");
    assert_eq!(of(&alone, Rule::Processes).verdict, Verdict::Held);
    // Nothing can be tried there that takes a second process.
    for rule in [Rule::Syscalls, Rule::Nesting, Rule::Cleanup] {
        let proved = of(&alone, rule);
        assert_eq!(proved.verdict, Verdict::NotProbed, "{proved:#?}");
        assert!(proved.reason.is_some());
    }
}

#[test]
fn a_policy_that_takes_calls_away_breaks_nothing() {
    if !is_root() && !need(Need::UserNamespaces) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    let policy = room.path().join("policy.toml");
    fs::write(
        &policy,
        "[seccomp]\ndeny = [\"getuid\", \"socketpair\", \"shmget\", \"open\", \"openat\"]\n",
    )
    .expect("a policy");
    let policy = policy.to_str().expect("UTF-8");
    let (proof, status) = proof(prove(belljar(), &["--policy", policy, "--", "true"]));
    assert_eq!(status, Some(0), "{proof:#?}");
    // Without these two nothing of files shows anything.
    assert_eq!(of(&proof, Rule::Files).verdict, Verdict::NotProbed);
    assert_eq!(of(&proof, Rule::Ipc).verdict, Verdict::Held);
}

/// A prober that does not know its own number would take itself for a task of the machine.
#[test]
fn a_policy_that_denies_a_task_its_own_number_lets_it_see_no_other() {
    if !is_root() && !need(Need::UserNamespaces) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    let policy = room.path().join("policy.toml");
    fs::write(&policy, "[seccomp]\ndeny = [\"getpid\"]\n").expect("a policy");
    let policy = policy.to_str().expect("UTF-8");
    let (proof, status) = proof(prove(belljar(), &["--policy", policy, "--", "true"]));
    assert_eq!(status, Some(0), "{proof:#?}");
    assert_eq!(of(&proof, Rule::Tasks).verdict, Verdict::Held);
}

#[test]
fn limits_that_a_policy_keeps_from_being_reached_are_not_broken() {
    if !is_root() && !need(Need::UserNamespaces) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    let policy = room.path().join("policy.toml");
    fs::write(
        &policy,
        "[seccomp]\ndeny = [\"clone\", \"dup\", \"nanosleep\", \"clock_nanosleep\"]\n",
    )
    .expect("a policy");
    let policy = policy.to_str().expect("UTF-8");
    let words = ["--policy", policy, "--wall", "20s", "--", "true"];
    let (proof, status) = proof(prove(belljar(), &words));
    assert_eq!(status, Some(0), "{proof:#?}");
    for rule in [Rule::Processes, Rule::OpenFiles, Rule::Wall, Rule::Memory] {
        let proved = of(&proof, rule);
        assert_eq!(proved.verdict, Verdict::NotProbed, "{proved:#?}");
    }
    assert_eq!(of(&proof, Rule::Disk).verdict, Verdict::Held);
}

#[test]
fn what_is_refused_is_refused_as_a_run_is() {
    let output = output(prove(belljar(), &["--", "no-such-program"]));
    assert_eq!(output.status.code(), Some(125), "{output:#?}");
    assert!(output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.starts_with("belljar: there is no program `no-such-program`"),
        "{said}"
    );
}

#[test]
fn a_machine_without_namespaces_is_tried_as_it_is() {
    if !(need(Need::UserNamespaces) && need(Need::Landlock)) {
        return;
    }
    let before = Traces::before();
    let accepted = [
        "files",
        "tasks",
        "privileges",
        "kernel_info",
        "cleanup",
        "processes",
    ];
    let mut command = without_namespaces(["prove", "--json"]);
    command
        .args(accepted.iter().flat_map(|rule| ["--best-effort", rule]))
        .args(["--", "true"]);
    let (proof, status) = proof(before.follow(command));
    assert_all_held(&proof, status);
    assert_eq!(of(&proof, Rule::Files).verdict, Verdict::NotClaimed);
    assert_eq!(of(&proof, Rule::Cleanup).verdict, Verdict::Held);
    assert!(
        proof
            .differences
            .contains(&"the prober lies on the machine while prove runs".to_owned())
    );
    before.assert_none();
}

#[test]
fn a_signal_ends_prove_and_nothing_is_left() {
    if !is_root() && !need(Need::UserNamespaces) {
        return;
    }
    let before = Traces::before();
    for pause in [20, 60, 120, 250] {
        let command = prove(belljar(), &["--preset", "strict", "--", "true"]);
        let mut command = before.follow(command);
        let mut child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::null()));
        thread::sleep(Duration::from_millis(pause));
        let pid = i32::try_from(child.id()).expect("a pid");
        kill(pid, Signal::TERM);
        let mut said = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        stdout.read_to_string(&mut said).expect("its words");
        let status = child.wait().expect("a child");
        // It may have been done before, or not have come as far as to listen.
        assert!(
            matches!(status.code(), Some(143 | 0) | None),
            "{status}: {said}"
        );
        before.assert_none();
    }
}

#[test]
fn what_a_prove_that_is_killed_leaves_is_taken_away_by_the_next() {
    if !is_root() && !need(Need::UserNamespaces) {
        return;
    }
    let before = Traces::before();
    let start = || before.follow(prove(belljar(), &["--preset", "strict", "--", "true"]));
    let entries = || {
        fs::read_dir(before.room.path())
            .expect("a directory")
            .count()
    };
    // One may have ended by itself before the signal came.
    let left = (0..50).any(|_| {
        let mut child = spawn(start().stdout(Stdio::null()).stderr(Stdio::null()));
        wait_until("a directory for what is tried", || {
            let ended = child.try_wait().expect("a child").is_some();
            (ended || entries() > 0).then_some(())
        });
        // Does nothing to one that has been waited for.
        let _ = child.kill();
        child.wait().expect("a child");
        entries() > 0
    });
    assert!(left);
    let (proof, status) = proof(start());
    assert_all_held(&proof, status);
    before.assert_none();
}

/// Words of a run by chance, the same for the same seed; xorshift64.
fn words_by_chance(number: u64, room: &Path) -> Vec<String> {
    let mut seed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut below = |count: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % count
    };
    let room = room.to_str().expect("UTF-8");
    let mut words = Vec::new();
    let preset = ["minimal", "standard", "strict"][number as usize % 3];
    words.extend(["--preset".to_owned(), preset.to_owned()]);
    let choices: [&[String]; 14] = [
        &["--read".into(), "/etc".into()],
        &["--read".into(), format!("{room}/in:/mnt")],
        &["--write".into(), format!("{room}/out")],
        &["--memory".into(), "64MiB".into()],
        &["--wall".into(), "20s".into()],
        &["--cpu-time".into(), "9s".into()],
        &["--output".into(), "1MiB".into()],
        &["--disk".into(), "2MiB".into()],
        &["--processes".into(), "20".into()],
        &["--open-files".into(), "40".into()],
        &["--file-size".into(), "3MiB".into()],
        &["--env".into(), "NAME=value with spaces".into()],
        &["--user".into(), "7:8".into()],
        &["--allow".into(), "jit".into()],
    ];
    for choice in choices {
        if below(3) == 0 {
            words.extend_from_slice(choice);
        }
    }
    words.extend(["--".to_owned(), "true".to_owned()]);
    words
}

#[test]
fn whatever_is_said_prove_explain_and_the_report_tell_the_same_of_each_rule() {
    if !is_root() && !need(Need::UserNamespaces) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
    for name in ["in", "out"] {
        fs::create_dir(room.path().join(name)).expect("a directory");
    }
    for seed in 1..=10_u64 {
        let words = words_by_chance(seed, room.path());
        eprintln!("{}", words.join(" "));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let explain = || -> serde_json::Value {
            let mut explain = Command::new(belljar());
            explain.args(["explain", "--json"]).args(&words);
            explain.current_dir("/");
            let told = output(explain);
            let stderr = String::from_utf8_lossy(&told.stderr);
            serde_json::from_slice(&told.stdout).unwrap_or_else(|_| panic!("no plan: {stderr}"))
        };
        // What minimal hides changes with what other programs do meanwhile.
        let (explained, proof, report) = loop {
            let before = explain();
            let (proof, status) = proof(prove(belljar(), &words));
            assert_all_held(&proof, status);
            let file = room.path().join("report.json");
            let mut run = Command::new(belljar());
            run.arg("run").arg("--report").arg(&file).args(&words);
            run.current_dir("/");
            assert!(output(run).status.success());
            let report = fs::read(&file).expect("a report");
            let report: Report = serde_json::from_slice(&report).expect("a report");
            if explain() == before {
                break (before, proof, report);
            }
        };
        assert_eq!(explained["digest"], proof.plan_digest.as_str());
        assert_eq!(report.plan_digest.as_ref(), Some(&proof.plan_digest));
        let planned = explained["plan"]["rules"].as_array().expect("rules");
        for ((proved, planned), reported) in
            proof.rules.iter().zip(planned).zip(&report.enforcement)
        {
            let claim = serde_json::to_value(&proved.claim).expect("JSON");
            assert_eq!(planned["planned"], claim, "{}", proved.rule);
            assert_eq!(reported.planned, proved.claim, "{}", proved.rule);
            assert_eq!(reported.applied, proved.claim.strength, "{}", proved.rule);
        }
        assert_eq!(report.enforcement.len(), proof.rules.len());
    }
}

/// Rules that hold although a plan lacks the step that is theirs.
const HELD_TWICE: [Rule; 2] = [
    // Each descriptor is closed on exec besides.
    Rule::Descriptors,
    // The launcher ends what leaves a jar without a pid namespace.
    Rule::Cleanup,
];

#[test]
fn a_plan_that_lacks_what_it_claims_is_noticed_rule_by_rule() {
    if !is_root() && !need(Need::UserNamespaces) {
        return;
    }
    let before = Traces::before();
    let broken = broken_belljar();
    let words = ["--preset", "strict", "--", "true"];
    let (whole, status) = proof(prove(broken, &words));
    assert_all_held(&whole, status);

    let begun = Instant::now();
    let rules: Vec<Rule> = Rule::ALL
        .iter()
        .copied()
        .filter(|rule| !HELD_TWICE.contains(rule) && !matches!(rule, Rule::Cpu | Rule::Io))
        .collect();
    let queue = Mutex::new(rules.clone());
    let seen = Mutex::new(BTreeMap::new());
    // A few at a time: what ends by time costs more time than work.
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(rule) = queue.lock().expect("a lock").pop() {
                    let mut command = prove(broken, &words);
                    command.env("BELLJAR_BREAK", rule.word());
                    let (proof, status) = proof(before.follow(command));
                    let verdict = of(&proof, rule).verdict;
                    let mut seen = seen.lock().expect("a lock");
                    seen.insert(rule, (verdict, status, proof.holds()));
                }
            });
        }
    });
    eprintln!("broken plans took {:?}", begun.elapsed());
    let expected: BTreeMap<Rule, _> = rules
        .iter()
        .map(|rule| (*rule, (Verdict::Broken, Some(1), false)))
        .collect();
    assert_eq!(*seen.lock().expect("a lock"), expected);

    // The real program knows no such variable.
    let mut command = prove(belljar(), &words);
    command.env("BELLJAR_BREAK", Rule::Files.word());
    let (real, status) = proof(command);
    assert_all_held(&real, status);

    let mut command = prove(broken, &words);
    command.env("BELLJAR_BREAK", Rule::Descriptors.word());
    let (twice, status) = proof(command);
    assert_all_held(&twice, status);
    before.assert_none();
}

#[test]
fn an_older_kernel_is_tried_as_it_is() {
    if !need(Need::Vm) {
        return;
    }
    let prove = |preset| ["belljar", "prove", "--preset", preset, "--", "true"];
    let commands = [
        VmCommand::root(prove("strict")).within(Duration::from_secs(60)),
        VmCommand::user(prove("strict")).within(Duration::from_secs(60)),
        VmCommand::root(prove("minimal")).within(Duration::from_secs(60)),
    ];
    for result in vm().run(&commands) {
        assert_eq!(result.end, VmEnd::Exited(0), "{}", result.text());
        assert!(!result.text().contains("broken"), "{}", result.text());
    }
}
