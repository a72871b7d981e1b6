//! `belljar doctor`: what it finds on this machine, on ones that refuse a part
//! of what a jar is made of, and that it leaves nothing behind.
#![cfg(target_os = "linux")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use belljar::{HostFacts, Jar, Policy, Preset, policy::facts::Ability};
use belljar_tests::{
    Leftovers, Need, VmCommand, VmEnd, VmResult, belljar as program, is_root, need, vm,
};

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

/// As root of a user namespace that an ordinary user made, `$BELLJAR doctor` after
/// what a script does there.
fn in_a_container(script: &str) -> Output {
    let user = [
        "setpriv",
        "--reuid=54321",
        "--regid=54321",
        "--clear-groups",
    ];
    let drop: &[&str] = if is_root() { &user } else { &[] };
    let container = ["unshare", "--user", "--map-root-user", "--mount"];
    let all: Vec<&str> = drop.iter().chain(&container).copied().collect();
    belljar_tests::output(
        Command::new(all[0])
            .args(&all[1..])
            .args(["sh", "-c", script])
            .env("BELLJAR", program())
            .current_dir("/")
            .stdin(Stdio::null()),
    )
}

/// No preset can be met, and this is said to be why, with this remedy.
fn refused(output: &Output, cause: &str, remedy: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    let said = words(&output.stdout);
    for preset in ["strict", "standard", "minimal"] {
        assert!(said.contains(&format!("{preset} no ")), "{said}");
    }
    assert!(said.contains(cause), "{said}");
    assert!(said.contains(&format!("remedy: {remedy}")), "{said}");
    assert_eq!(text(&output.stderr), "");
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
fn sysctl_that_forbids_user_namespaces_is_named_with_its_remedy() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let output =
        in_a_container("echo 0 > /proc/sys/user/max_user_namespaces && exec $BELLJAR doctor");
    refused(
        &output,
        "the sysctl user.max_user_namespaces is 0",
        "`sysctl -w user.max_user_namespaces=15000`",
    );
    let said = words(&output.stdout);
    assert!(said.contains("namespaces no"), "{said}");
    // What comes after could not be tried, and is not said to be there.
    for part in ["mounts", "/proc", "seccomp"] {
        assert!(said.contains(&format!("{part} ? ")), "{part}: {said}");
    }
}

#[test]
fn covered_proc_of_a_container_is_named_with_its_remedy() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let cover = "mount -t tmpfs none /proc/scsi 2> /dev/null || mount -t tmpfs none /proc/sys";
    let output = in_a_container(&format!("{cover} && exec $BELLJAR doctor"));
    refused(
        &output,
        "parts of /proc are covered",
        "run the container with `--security-opt systempaths=unconfined`",
    );
    let said = words(&output.stdout);
    assert!(
        said.contains("namespaces yes") && said.contains("/proc no"),
        "{said}"
    );
    let output = in_a_container(&format!("{cover} && exec $BELLJAR doctor --json"));
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    let facts = facts(&output.stdout);
    assert!(facts.namespaces.is_available() && !facts.proc.is_available());
    // The same refusal is planned from them anywhere.
    let refusal = belljar::policy::trial::of_preset(Preset::Strict, &facts).expect_err("refused");
    assert!(
        refusal.to_string().contains("parts of /proc are covered"),
        "{refusal}"
    );
}

#[test]
fn a_user_without_namespaces_is_told_what_runs_without_them() {
    if !need(Need::UserNamespaces) || !need(Need::Landlock) {
        return;
    }
    let output = in_a_container(
        "echo 1 > /proc/sys/user/max_user_namespaces && exec unshare --user --map-user=1000 --map-group=1000 -- $BELLJAR doctor",
    );
    refused(
        &output,
        "the limit of namespaces is reached",
        "raise the sysctls user.max_*_namespaces",
    );
    let said = words(&output.stdout);
    assert!(
        said.contains("without namespaces yes a program under standard, held by Landlock, seccomp and rlimits alone"),
        "{said}"
    );
    assert!(said.contains("`--best-effort cleanup`"), "{said}");
    // That was tried, though no jar could be made.
    assert!(
        said.contains("seccomp yes") && said.contains("Landlock yes"),
        "{said}"
    );
}

#[test]
fn root_without_its_capabilities_is_told_what_to_do() {
    if !need(Need::Root) {
        return;
    }
    let output = belljar_tests::output(
        Command::new("setpriv")
            .args(["--bounding-set=-sys_admin", "--"])
            .arg(program())
            .arg("doctor")
            .stdin(Stdio::null()),
    );
    refused(
        &output,
        "it was started as root without CAP_SETUID, CAP_SETGID and CAP_SYS_ADMIN",
        "start it as an ordinary user, or as root with those capabilities",
    );
}

#[test]
fn want_of_descriptors_or_processes_is_told_with_what_to_raise() {
    let user = [
        "setpriv",
        "--reuid=54321",
        "--regid=54321",
        "--clear-groups",
    ];
    let drop: &[&str] = if is_root() { &user } else { &[] };
    for (limit, cause, remedy) in [
        (
            "--nofile=12",
            "Too many open files",
            "let Belljar have more open files: `ulimit -n 1024`",
        ),
        // Not even the thread that supervises can be had.
        (
            "--nproc=1",
            "Belljar cannot start the thread `belljar`: Resource temporarily unavailable",
            "let this user have more processes (`ulimit -u 4096`",
        ),
    ] {
        let limited = ["prlimit", limit];
        let all: Vec<&str> = drop.iter().chain(&limited).copied().collect();
        let output = belljar_tests::output(
            Command::new(all[0])
                .args(&all[1..])
                .arg(program())
                .arg("doctor")
                .stdin(Stdio::null()),
        );
        refused(&output, cause, remedy);
    }
}

#[test]
fn inside_of_a_jar_the_filter_around_is_the_cause() {
    if !jars() {
        return;
    }
    let output = belljar_tests::output(
        Command::new(program())
            .args(["run", "--"])
            .arg(program())
            .arg("doctor")
            .stdin(Stdio::null()),
    );
    refused(
        &output,
        "a seccomp filter around this process (a container's, most often) hides clone3(2)",
        "run the container with `--security-opt seccomp=unconfined`",
    );
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

/// What a kernel decides, without what belongs to one machine.
fn of_kernel(facts: &HostFacts) -> impl PartialEq + std::fmt::Debug {
    let can = |ability: &Ability| format!("{ability:?}");
    let examined = facts.examined.clone().expect("it was examined");
    (
        [
            can(&facts.namespaces),
            can(&facts.mounts),
            can(&facts.proc),
            can(&facts.idmap),
            can(&facts.tasks),
            can(&facts.seccomp),
            can(&facts.listener),
            can(&facts.landlock),
            can(&facts.processes_counted),
        ],
        (facts.fixed_code, facts.landlock_abi, facts.privileged),
        (examined.done, examined.cgroups, examined.idmapped),
    )
}

/// The recorded facts of a Debian's kernel.
fn recorded(release: &str, who: &str) -> Option<HostFacts> {
    let debian = match release {
        release if release.starts_with("5.10.") => 11,
        release if release.starts_with("6.1.") => 12,
        release if release.starts_with("6.12.") => 13,
        _ => return None,
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!(
        "../crates/policy/tests/machines/debian-{debian}-{who}.json"
    ));
    Some(facts(&fs::read(&path).expect("a recorded machine")))
}

#[test]
fn another_kernel_is_what_was_recorded_of_it_and_keeps_nothing_of_the_trial() {
    if !need(Need::Vm) {
        return;
    }
    let state =
        "find /sys/fs/cgroup -type d; cat /proc/self/mountinfo; ls -A /tmp /var/tmp /dev/shm";
    let after = |result: &VmResult| {
        assert_eq!(result.end, VmEnd::Exited(0), "{result:?}");
        result.text()
    };
    let results = vm().run(&[
        VmCommand::root(["sh", "-c", state]),
        VmCommand::root(["belljar", "doctor", "--json"]),
        VmCommand::user(["belljar", "doctor", "--json"]),
        VmCommand::root(["sh", "-c", state]),
        VmCommand::user(["sh", "-c", "ps | grep -c '[b]elljar'"]),
        VmCommand::user(["belljar", "doctor"]),
    ]);
    for (who, result) in ["root", "user"].iter().zip(&results[1..3]) {
        assert_eq!(result.stderr, b"", "{result:?}");
        let facts = facts(&result.stdout);
        if let Some(recorded) = recorded(&facts.release, who) {
            assert_eq!(of_kernel(&facts), of_kernel(&recorded), "{who}");
        }
    }
    assert_eq!(after(&results[0]), after(&results[3]));
    assert_eq!(results[4].text(), "0\n", "no process");
    assert!(
        results[5].text().contains("\nWhat a jar can be here\n"),
        "{:?}",
        results[5]
    );
}

/// What a machine is told to do is done there, word by word.
#[test]
fn remedies_that_are_commands_do_what_they_promise() {
    if !need(Need::Vm) {
        return;
    }
    // Each prints the doctor's status before and after; `told` gives the command
    // that begins with a word.
    let head = "as='/usr/bin/setpriv --reuid=1000 --regid=1000 --clear-groups'
        told() { $as belljar doctor --json | grep -o \"\\`$1[^\\`]*\\`\" | tr -d '\\`' | head -n 1; }
        status() { $as belljar doctor > /tmp/page; echo $?; }
        can_make() { $as belljar doctor | grep '^  cgroups' | cut -c 23-25; }\n";
    let switch = |name: &str| {
        format!(
            "{head} echo 0 > /proc/sys/{name}; status; sh -c \"$(told sysctl)\"; status; cat /proc/sys/{name}"
        )
    };
    let delegate = format!(
        "{head} can_make; command=$(told mkdir | sed s/PID/$$/); eval \"$command\"; can_make; cat /proc/self/cgroup"
    );
    let results = vm().run(&[
        VmCommand::root(["sh", "-c", &switch("user/max_user_namespaces")]),
        VmCommand::root(["sh", "-c", &switch("kernel/unprivileged_userns_clone")]),
        VmCommand::root(["sh", "-c", &delegate]),
    ]);
    assert_eq!(
        results[0].text(),
        "1\nuser.max_user_namespaces = 15000\n0\n15000\n",
        "{results:#?}"
    );
    assert_eq!(
        results[1].text(),
        "1\nkernel.unprivileged_userns_clone = 1\n0\n1\n",
        "{results:#?}"
    );
    assert_eq!(results[2].text(), "no \nyes\n0::/belljar\n", "{results:#?}");
}

/// Writes the facts of the kernel that `BELLJAR_VM` names, for root and for a user,
/// into the directory that `BELLJAR_RECORD` names; see `crates/policy/tests/machines`.
/// Before, the machine runs the script `BELLJAR_RECORD_FIRST` as root.
#[test]
#[ignore = "by hand, for a kernel that is named"]
fn record_a_machine() {
    assert!(need(Need::Vm));
    let to = PathBuf::from(std::env::var_os("BELLJAR_RECORD").expect("BELLJAR_RECORD"));
    let first = std::env::var("BELLJAR_RECORD_FIRST").unwrap_or_default();
    let doctor = ["belljar", "doctor", "--json"];
    let within = Duration::from_secs(120);
    let results = vm().without_modules().run(&[
        VmCommand::root(["sh", "-c", &first]).within(within),
        VmCommand::root(doctor).within(within),
        VmCommand::user(doctor).within(within),
    ]);
    assert_eq!(results[0].end, VmEnd::Exited(0), "{:?}", results[0]);
    eprintln!("{}", results[0].text());
    for (who, result) in ["root", "user"].iter().zip(&results[1..]) {
        assert!(
            matches!(result.end, VmEnd::Exited(0 | 1)),
            "{who}: {result:?}"
        );
        fs::write(to.join(format!("{who}.json")), &result.stdout).expect("a file");
    }
}
