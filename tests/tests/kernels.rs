//! The kernels that belljar is tested on, in the tests' virtual machine: what the
//! machine has on each, and that belljar says the truth of each.
#![cfg(target_os = "linux")]

use belljar_plan::{Report, Rule, Strength};
use belljar_tests::{KernelName, VmCommand, VmEnd, VmResult, on_each, vm};

fn shell(script: &str) -> VmCommand {
    VmCommand::root(["sh", "-c", script])
}

/// What lane each kernel is in: `cargo xtask test` has the two that most machines run,
/// `cargo xtask long` all.
const USUAL: [KernelName; 2] = [KernelName::Bookworm61, KernelName::Backports612];
const OTHERS: [KernelName; 2] = [KernelName::Bullseye510, KernelName::Sid];

/// A machine of each kernel has what limits are tested with: cgroups of version 2
/// alone, with all controllers, and a disk whose projects are bounded.
fn has_what_limits_need(kernel: KernelName) {
    let results = vm().on(kernel).disk(64 << 20).memory(300).run(&[
        shell("uname -r"),
        shell("cat /proc/self/cgroup; cat /sys/fs/cgroup/commands/cgroup.controllers"),
        shell("grep -c cgroup /proc/mounts; grep MemTotal /proc/meminfo"),
        VmCommand::user(["sh", "-c", "grep /disk /proc/mounts; echo x > /disk/file"]),
    ]);
    for result in &results {
        assert_eq!(result.end, VmEnd::Exited(0), "{results:#?}");
    }
    let release = results[0].text();
    let begins = match kernel {
        KernelName::Bullseye510 => "5.10.",
        KernelName::Bookworm61 => "6.1.",
        KernelName::Backports612 => "6.12.",
        KernelName::Sid => "7.",
    };
    assert!(release.starts_with(begins), "{release}");
    let cgroups = results[1].text();
    let (place, controllers) = cgroups.split_once('\n').expect("two lines");
    assert_eq!(place, "0::/commands");
    for controller in ["cpu", "cpuset", "io", "memory", "pids"] {
        assert!(
            controllers.split_whitespace().any(|had| had == controller),
            "{controllers}"
        );
    }
    let (mounts, memory) = (results[2].text(), 300 << 10);
    let mut lines = mounts.lines();
    assert_eq!(lines.next(), Some("1"));
    let total: u64 = lines
        .next()
        .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .expect("a number");
    assert!(total < memory && total > memory / 2, "{total} KiB");
    assert!(results[3].text().contains("prjquota"), "{:?}", results[3]);
}

/// Every rule that a bare program's jar has, accepted to be lost.
const ALL_ACCEPTED: [&str; 10] = [
    "files",
    "tasks",
    "privileges",
    "kernel_info",
    "cleanup",
    "processes",
    "network",
    "sockets",
    "ipc",
    "syscalls",
];

/// Those that a program without namespaces loses.
const LOST: &[&str] = ALL_ACCEPTED.split_at(6).0;

fn run_accepting(rules: &[&'static str]) -> Vec<&'static str> {
    let mut words = vec!["belljar", "run"];
    words.extend(rules.iter().flat_map(|rule| ["--best-effort", rule]));
    words.extend(["--", "busybox", "echo", "ran"]);
    words
}

fn refused(result: &VmResult, parts: &[&str]) {
    assert_eq!(result.end, VmEnd::Exited(125), "{result:?}");
    assert_eq!(result.text(), "", "nothing ran");
    let said = String::from_utf8_lossy(&result.stderr);
    assert!(said.contains("belljar: refused: "), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// A doctor's page; it ends with 1 where there is no jar.
fn page(result: &VmResult, has_jars: bool) -> String {
    let end = VmEnd::Exited(u8::from(!has_jars));
    assert_eq!(result.end, end, "{result:?}");
    let page = result.text();
    let word = if has_jars { "yes" } else { "no" };
    for preset in ["strict", "standard", "minimal"] {
        let line = page
            .lines()
            .find(|line| line.trim_start().starts_with(preset))
            .unwrap_or_else(|| panic!("{preset}: {page}"));
        assert_eq!(line.split_whitespace().nth(1), Some(word), "{page}");
    }
    // Sentences are broken where a line ends.
    page.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// No rule is quietly left out: a jar is refused with every rule that cannot be held and
/// the kernel that can. Without Landlock there is no lower tier either, whatever
/// is accepted.
#[test]
#[ignore = "long: a kernel that few run"]
fn long_without_jars_every_rule_is_refused_with_the_kernel_that_holds_it() {
    on_each(&[KernelName::Bullseye510], |kernel| {
        let results = vm().on(kernel).run(&[
            VmCommand::root(["belljar", "doctor"]),
            VmCommand::user(["belljar", "doctor"]),
            VmCommand::root(run_accepting(&[])),
            VmCommand::user(run_accepting(&[])),
            VmCommand::user(run_accepting(LOST)),
            VmCommand::user(run_accepting(&ALL_ACCEPTED)),
        ]);
        for (result, user) in results[..2].iter().zip([false, true]) {
            let page = page(result, false);
            // Root's jars would have a cgroup that counts tasks.
            assert_eq!(page.contains("boot Linux 5.14 or later"), user, "{page}");
            for part in [
                "the kernel has no mount_setattr(2)",
                "boot Linux 5.12 or later",
                "boot Linux 5.19 or later",
                "the kernel has no Landlock",
                "boot Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK",
            ] {
                assert!(page.contains(part), "{part}: {page}");
            }
        }
        for result in &results[2..] {
            refused(
                result,
                &[
                    "the kernel has no mount_setattr(2)",
                    "belljar: remedy: boot Linux 5.12 or later",
                ],
            );
        }
        for result in &results[2..4] {
            refused(
                result,
                &[
                    "\nbelljar:   files (",
                    "\nbelljar:   network (",
                    "\nbelljar:   syscalls (",
                    "\nbelljar:   cleanup (",
                ],
            );
        }
        // Root's cgroup would count them.
        refused(
            &results[3],
            &[
                "this kernel counts a user's tasks over all user namespaces",
                "boot Linux 5.14 or later; to run without, say `--best-effort processes`",
            ],
        );
    });
}

/// The setting is named with what undoes it, and what is left runs where it is
/// accepted.
fn refused_namespaces_are_told(kernel: KernelName) {
    let results = vm()
        .on(kernel)
        .boot_with("sysctl.user.max_user_namespaces=0")
        .run(&[
            VmCommand::root(["belljar", "doctor"]),
            VmCommand::user(["belljar", "doctor"]),
            VmCommand::root(run_accepting(&[])),
            VmCommand::user(run_accepting(&[])),
            VmCommand::user(run_accepting(LOST)),
        ]);
    let cause = "the sysctl user.max_user_namespaces is 0";
    let remedy = "sysctl -w user.max_user_namespaces=";
    for result in &results[..2] {
        let page = page(result, false);
        assert!(page.contains(cause) && page.contains(remedy), "{page}");
    }
    for result in &results[2..4] {
        refused(result, &[cause, remedy]);
    }
    refused(&results[3], &["or run it without namespaces"]);
    assert_eq!(results[4].end, VmEnd::Exited(0), "{:?}", results[4]);
    assert_eq!(results[4].text(), "ran\n");
}

/// Jars are made as ever, and nobody says that Landlock holds them. Without both there is
/// nothing that could hold a program.
fn absent_landlock_is_told(kernel: KernelName) {
    let without = || vm().on(kernel).boot_with("lsm=capability,yama,apparmor");
    let report = "belljar run --report /tmp/$$ -- busybox echo ran && cat /tmp/$$";
    let words = ["sh", "-c", report];
    let results = without().run(&[
        VmCommand::root(["belljar", "doctor"]),
        VmCommand::user(["belljar", "doctor"]),
        VmCommand::root(words),
        VmCommand::user(words),
    ]);
    for result in &results[..2] {
        let page = page(result, true);
        for part in [
            "Landlock is built into the kernel and switched off",
            "add `landlock` to the kernel's parameter `lsm=`",
            "costs: a jar's files are held by its mounts alone",
            "Landlock no no version of it",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
    for result in &results[2..] {
        assert_eq!(result.end, VmEnd::Exited(0), "{result:?}");
        let said = result.text();
        let report = said.strip_prefix("ran\n").expect("it ran");
        let report: Report = serde_json::from_str(report).expect("a report");
        assert_eq!(report.landlock, None);
        let files = report
            .enforcement
            .iter()
            .find(|line| line.rule == Rule::Files)
            .expect("every rule");
        assert_eq!(files.applied, Strength::Kernel, "{files:?}");
        assert!(
            files.planned.mechanism.contains("; no Landlock: "),
            "{files:?}"
        );
    }

    let results = without()
        .boot_with("sysctl.user.max_user_namespaces=0")
        .run(&[VmCommand::user(run_accepting(LOST))]);
    refused(&results[0], &["the sysctl user.max_user_namespaces is 0"]);
}

#[test]
fn refused_user_namespaces_are_told_and_the_lower_tier_runs() {
    on_each(&USUAL, refused_namespaces_are_told);
}

#[test]
#[ignore = "long: a kernel that few run"]
fn long_refused_user_namespaces_are_told_on_the_newest() {
    on_each(&[KernelName::Sid], refused_namespaces_are_told);
}

#[test]
fn absent_landlock_is_told_and_jars_run() {
    on_each(&USUAL, absent_landlock_is_told);
}

#[test]
#[ignore = "long: a kernel that few run"]
fn long_absent_landlock_is_told_on_the_newest() {
    on_each(&[KernelName::Sid], absent_landlock_is_told);
}

#[test]
fn machine_has_what_limits_need() {
    on_each(&USUAL, has_what_limits_need);
}

#[test]
#[ignore = "long: kernels that few run"]
fn long_machine_has_what_limits_need() {
    on_each(&OTHERS, has_what_limits_need);
}
