//! Machines that refuse a part of what a jar is made of: the error names the
//! true cause and the remedy, and nothing is launched. Each is made for one
//! test, as a user namespace of its own; unshare(1).
#![cfg(target_os = "linux")]

use std::process::{Command, Output, Stdio};

use belljar_tests::{Need, belljar, in_a_container, need};

/// The jar is refused for what `cause` and `remedy` name, once.
fn refused(output: &Output, cause: &str, remedy: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{output:#?}");
    assert_eq!(said.matches("belljar: refused: ").count(), 1, "{said}");
    assert!(said.contains(cause) && said.contains(remedy), "{said}");
}

#[test]
fn sysctl_that_forbids_user_namespaces_is_named_with_its_remedy() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let output = in_a_container(
        "echo 0 > /proc/sys/user/max_user_namespaces && exec $BELLJAR run -- echo ran",
    );
    refused(
        &output,
        "the sysctl user.max_user_namespaces is 0",
        "sysctl -w user.max_user_namespaces=",
    );
    assert!(output.stdout.is_empty(), "{output:#?}");
}

#[test]
fn covered_proc_of_a_container_is_named_with_its_remedy() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let output = in_a_container(
        "mount -t tmpfs none /proc/scsi 2> /dev/null || mount -t tmpfs none /proc/sys && exec $BELLJAR run -- echo ran",
    );
    refused(
        &output,
        "parts of /proc are covered",
        "systempaths=unconfined",
    );
    assert!(output.stdout.is_empty(), "{output:#?}");
}

#[test]
fn root_of_a_rootless_container_runs_jars() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let output = in_a_container("exec $BELLJAR run -- id -u");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "1000\n",
        "{output:#?}"
    );
}

#[test]
fn root_without_its_capabilities_is_refused() {
    if !need(Need::Root) {
        return;
    }
    let output = belljar_tests::output(
        Command::new("setpriv")
            .args(["--bounding-set=-sys_admin", "--"])
            .arg(belljar())
            .args(["run", "--best-effort", "identity", "--", "echo", "ran"])
            .stdin(Stdio::null()),
    );
    refused(&output, "CAP_SYS_ADMIN", "start it as an ordinary user");
    assert!(output.stdout.is_empty(), "{output:#?}");
}
