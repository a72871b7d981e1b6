//! Other kernels than this one's, in the tests' virtual machine.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use belljar::{HostFacts, policy::facts::Ability};
use belljar_tests::{Need, VmCommand, VmEnd, VmResult, need, vm};

use crate::facts;

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
    Some(in_the_root(&fs::read(&path).expect("a recorded machine")))
}

/// Facts as if commands were in the root of cgroups, as they were on the first
/// machines that were recorded.
fn in_the_root(json: &[u8]) -> HostFacts {
    let json = String::from_utf8_lossy(json);
    facts(
        json.replace("/sys/fs/cgroup/commands", "/sys/fs/cgroup")
            .as_bytes(),
    )
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
        let facts = in_the_root(&result.stdout);
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
