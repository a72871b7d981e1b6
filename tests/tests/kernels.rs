//! The kernels that belljar is tested on, in the tests' virtual machine: what the
//! machine has on each, and that belljar says the truth of each.
#![cfg(target_os = "linux")]

use belljar_tests::{KernelName, Need, VmCommand, VmEnd, need, vm};

fn shell(script: &str) -> VmCommand {
    VmCommand::root(["sh", "-c", script])
}

/// What lane each kernel is in: `cargo xtask test` has the two that most machines
/// run, `cargo xtask long` all.
fn on_each(kernels: &[KernelName], test: impl Fn(KernelName)) {
    for &kernel in kernels {
        if need(Need::Kernel(kernel)) {
            eprintln!("{}", kernel.word());
            test(kernel);
        }
    }
}

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

#[test]
fn machine_has_what_limits_need() {
    on_each(&USUAL, has_what_limits_need);
}

#[test]
#[ignore = "long: kernels that few run"]
fn long_machine_has_what_limits_need() {
    on_each(&OTHERS, has_what_limits_need);
}
