//! The report's own faults: where it is to go has no room left, or is gone, when the run
//! ends. What stood there is whole, the caller is told, and the exit status is the run's.
#![cfg(target_os = "linux")]

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use belljar_plan::{Outcome, Report};
use belljar_tests::{Need, belljar, is_root, jar, need, output, wait_until};

/// Runs a script in a mount namespace of its own, which sees a small disk at `$DISK`.
fn on_a_small_disk(script: &str) -> Output {
    let room = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("unshare");
    // As root of the machine, so that jars are as they are for root; a user is one of
    // its own namespace.
    let options: &[&str] = match is_root() {
        true => &["--mount"],
        false => &["--user", "--map-root-user", "--mount"],
    };
    let script =
        format!("set -e; mount -t tmpfs -o size=256k,mode=755 none \"$DISK\"; cd /; {script}");
    command
        .args(options)
        .args(["sh", "-c", &script])
        .env("DISK", room.path())
        .env("BELLJAR", belljar())
        .stdin(Stdio::null());
    output(&mut command)
}

/// A run that ends when the disk is full, and what it left there.
const FILLED: &str = "mkfifo $DISK/in; \
    $BELLJAR run --no-record --report $DISK/report.json -- cat < $DISK/in > /dev/null & \
    exec 3> $DISK/in; \
    for i in $(seq 1000); do test -s $DISK/report.json && break; sleep 0.01; done; \
    sleep 0.2; dd if=/dev/zero of=$DISK/fill bs=1k 2> /dev/null || true; \
    exec 3>&-; set +e; wait $!; echo status $?; ls -A $DISK; cat $DISK/report.json";

#[test]
fn a_report_that_the_disk_has_no_room_for_is_told_and_the_one_before_stays_whole() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let ended = on_a_small_disk(FILLED);
    let said = String::from_utf8_lossy(&ended.stderr);
    let text = String::from_utf8_lossy(&ended.stdout);
    let (head, report) = text.split_once('{').expect("a report");
    assert_eq!(head, "status 0\nfill\nin\nreport.json\n", "{said}");
    let report: Report = serde_json::from_str(&format!("{{{report}")).expect("a whole report");
    assert_eq!(report.outcome, Outcome::Lost);
    let told = said
        .lines()
        .find(|line| line.contains("the report could not be written"))
        .unwrap_or_else(|| panic!("nothing is told: {said}"));
    assert!(told.contains("report.json: No space left"), "{told}");
}

#[test]
fn a_report_that_has_no_room_from_the_first_is_one_clear_error_before_any_launch() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let ended = on_a_small_disk(
        "dd if=/dev/zero of=$DISK/fill bs=1k 2> /dev/null || true; set +e; \
         $BELLJAR run --no-record --report $DISK/report.json -- echo ran; echo status $?; ls -A $DISK",
    );
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(
        String::from_utf8_lossy(&ended.stdout),
        "status 125\nfill\n",
        "{said}"
    );
    assert!(said.contains("cannot write the report to"), "{said}");
}

#[test]
fn a_report_whose_directory_is_gone_is_told_and_leaves_nothing() {
    let room = tempfile::tempdir().expect("a directory");
    let folder = room.path().join("reports");
    fs::create_dir(&folder).expect("a directory");
    let path = folder.join("report.json");
    let mut started = jar()
        .no_report()
        .flags(["--report".as_ref(), path.as_os_str()])
        .input_open()
        .guest("cat", [""; 0])
        .start();
    wait_until("the first report", || path.exists().then_some(()));
    let _ = started.guest();
    let first: Report =
        serde_json::from_slice(&fs::read(&path).expect("a report")).expect("a whole report");
    assert_eq!(first.outcome, Outcome::Lost);
    fs::remove_dir_all(&folder).expect("it goes");
    started.close_input();
    let ended = started.end();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    assert!(
        ended.stderr.contains("the report could not be written"),
        "{ended:#?}"
    );
    assert!(!folder.exists(), "it was made again");
}

/// Its directory was moved, not removed: the report goes along.
#[test]
fn a_report_whose_directory_is_renamed_is_written_where_that_is_now() {
    let room = tempfile::tempdir().expect("a directory");
    let (folder, moved) = (room.path().join("reports"), room.path().join("moved"));
    fs::create_dir(&folder).expect("a directory");
    let path = folder.join("report.json");
    let mut started = jar()
        .no_report()
        .flags(["--report".as_ref(), path.as_os_str()])
        .input_open()
        .guest("cat", [""; 0])
        .start();
    wait_until("the first report", || path.exists().then_some(()));
    fs::rename(&folder, &moved).expect("it moves");
    started.close_input();
    let ended = started.end();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    assert_eq!(ended.stderr, "", "{ended:#?}");
    let report: Report =
        serde_json::from_slice(&fs::read(moved.join("report.json")).expect("a report"))
            .expect("a whole report");
    assert_eq!(report.outcome, Outcome::Exited { code: 0 });
}
