//! Machines that refuse a part of what a jar is made of, each made for one test.

use std::process::{Command, Output, Stdio};

use belljar::{Preset, policy::trial};
use belljar_tests::{Need, belljar as program, guest, in_a_container, is_root, need};

use crate::{facts, jars, text, words};

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
    let refusal = trial::of_preset(Preset::Strict, &facts).expect_err("refused");
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

/// A filter with the one listener that the kernel allows in a tree, and then the words.
const LISTENER: &str = "
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
program = (ctypes.c_uint8 * 8)(*struct.pack('HBBI', 6, 0, 0, 0x7fff0000))
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
whole = Program(1, ctypes.addressof(program))
libc.prctl(38, 1, 0, 0, 0)
listener = libc.syscall(317, 1, 8, ctypes.byref(whole))
assert listener >= 0, ctypes.get_errno()
os.set_inheritable(listener, True)
os.execv(sys.argv[1], sys.argv[1:])
";

/// The doctor under something that takes a part from it, but no preset.
fn lost(around: &[&str], part: &str, cause: &str, costs: &str) {
    let output = belljar_tests::output(
        Command::new(around[0])
            .args(&around[1..])
            .arg(program())
            .arg("doctor")
            .stdin(Stdio::null()),
    );
    assert_eq!(output.status.code(), Some(0), "{output:#?}");
    let said = words(&output.stdout);
    let costs = format!("costs: {costs} remedy: ");
    for told in ["strict yes", part, cause, &costs] {
        assert!(said.contains(told), "{told}: {said}");
    }
}

#[test]
fn a_listener_around_is_told_with_what_it_costs() {
    if !jars() || !need(Need::Python) {
        return;
    }
    lost(
        &["python3", "-c", LISTENER],
        "events no",
        "something around this process listens to system calls already",
        "denied calls are refused as ever, but not told of",
    );
}

#[test]
fn landlock_that_is_used_up_is_told_with_what_it_costs() {
    if !jars() || !need(Need::Landlock) {
        return;
    }
    let guest = guest().to_str().expect("a path");
    lost(
        &[guest, "held_host", "16"],
        "Landlock no",
        "16 Landlock domains lie around this process already",
        "a jar's files are held by its mounts alone",
    );
}

/// Calls that a launch makes, by their numbers on x86_64.
#[cfg(target_arch = "x86_64")]
const CALLS: [(&str, i64); 27] = [
    ("setsid", 112),
    ("setgroups", 116),
    ("setresuid", 117),
    ("capset", 126),
    ("pivot_root", 155),
    ("prctl", 157),
    ("umount2", 166),
    ("sethostname", 170),
    ("keyctl", 250),
    ("mkdirat", 258),
    ("mknodat", 259),
    ("symlinkat", 266),
    ("prlimit64", 302),
    ("seccomp", 317),
    ("memfd_create", 319),
    ("open_tree", 428),
    ("move_mount", 429),
    ("fsopen", 430),
    ("fsconfig", 431),
    ("fsmount", 432),
    ("pidfd_open", 434),
    ("clone3", 435),
    ("close_range", 436),
    ("openat2", 437),
    ("pidfd_getfd", 438),
    ("mount_setattr", 442),
    ("landlock_restrict_self", 446),
];

/// Whatever call something around belljar refuses, the doctor says what a launch
/// then meets, and what to do about it.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_verdict_is_that_of_a_launch_whatever_call_is_refused() {
    const EPERM: &str = "1";
    const ENOSYS: &str = "38";
    if !jars() {
        return;
    }
    let mut refused = 0;
    for (name, number) in CALLS {
        for errno in [EPERM, ENOSYS] {
            let around = |words: &[&str]| {
                belljar_tests::output(
                    Command::new(guest())
                        .args(["answered_host", &number.to_string(), errno])
                        .arg(program())
                        .args(words)
                        .stdin(Stdio::null()),
                )
            };
            let told = around(&["doctor"]);
            let ran = around(&["run", "--preset", "strict", "--", "true"]);
            assert_eq!(
                told.status.code() == Some(0),
                ran.status.code() == Some(0),
                "{name}, errno {errno}: {told:#?} {ran:#?}"
            );
            if told.status.code() != Some(0) {
                refused += 1;
                assert_eq!(
                    told.status.code(),
                    Some(1),
                    "{name}, errno {errno}: {told:#?}"
                );
                let page = text(&told.stdout);
                assert!(
                    page.contains("    remedy: "),
                    "{name}, errno {errno}: {page}"
                );
            }
        }
    }
    assert!(refused > CALLS.len(), "{refused} refusals");
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
