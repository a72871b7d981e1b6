//! Attacks that look for privileges.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use belljar_tests::{Need, bare, both_presets, guest, ids, is_root, jar, need, unshared};

#[test]
pub(crate) fn every_privilege_is_gone() {
    both_presets(|preset| {
        jar()
            .preset(preset)
            .guest("see_privileges", [""; 0])
            .stops();
        let started = jar()
            .preset(preset)
            .input_open()
            .guest("ignore_signals", ["30"])
            .start();
        started.wait_for("ready");
        for pid in [started.guest(), started.first()] {
            let ids = ids(pid).expect("a running task");
            assert!(!ids.users.contains(&0) || !is_root(), "{ids:?}");
            assert!(!ids.groups.contains(&0) || !is_root(), "{ids:?}");
            assert!(!ids.further.contains(&0) || !is_root(), "{ids:?}");
        }
        let first = started.first();
        let status = fs::read_to_string(format!("/proc/{first}/status")).expect("its status");
        assert!(status.contains("\nNoNewPrivs:\t1"), "{status}");
        belljar_tests::kill(first, rustix::process::Signal::KILL);
        let _ = started.end();
    });
    bare(["see_privileges"]).escapes();
}

#[test]
pub(crate) fn setuid_program_gains_nothing() {
    if !need(Need::Root) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    // For the control: the other user must get there.
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
    let copy = room.path().join("setuid");
    fs::copy(guest(), &copy).expect("a copy");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o6755)).expect("its mode");
    both_presets(|preset| {
        let said = jar()
            .preset(preset)
            .flags(["--read".as_ref(), room.path().as_os_str()])
            .guest("run_setuid", [&copy])
            .stops()
            .stdout;
        eprintln!("{said}");
    });
    let output = belljar_tests::output(
        Command::new("setpriv")
            .args(["--reuid", "54322", "--regid", "54322", "--clear-groups"])
            .arg(guest())
            .arg("run_setuid")
            .arg(&copy)
            .current_dir(Path::new("/")),
    );
    assert_eq!(output.status.code(), Some(42), "{output:?}");
}

#[test]
pub(crate) fn no_identity_is_regained() {
    both_presets(|preset| {
        jar().preset(preset).guest("become_root", [""; 0]).stops();
    });
    if need(Need::UserNamespaces) {
        unshared(&["-ru"], ["become_root"]).escapes();
    }
}

/// What lies in a directory with a set-id bit or a capability of its own.
fn planted(directory: &Path) -> Vec<String> {
    fs::read_dir(directory)
        .expect("a directory")
        .flatten()
        .filter(|entry| {
            let mode = entry.metadata().expect("a file").permissions().mode();
            let mut value = [0_u8; 64];
            let capable = rustix::fs::getxattr(entry.path(), "security.capability", &mut value);
            mode & 0o6000 != 0 || capable.is_ok()
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// A guest owns, on the machine, what it writes into a grant: with a set-id
/// bit that file would lend its owner's identity, root's too, to anybody.
#[test]
pub(crate) fn setuid_file_is_not_planted_in_a_grant() {
    both_presets(|preset| {
        let room = tempfile::tempdir().expect("a directory");
        let ended = jar()
            .preset(preset)
            .flags(["--write".as_ref(), room.path().as_os_str()])
            .guest("plant_setuid", [room.path()])
            .end();
        assert_eq!(planted(room.path()), [""; 0], "{}", ended.stdout);
        ended.stopped();
    });
    let room = tempfile::tempdir().expect("a directory");
    bare(["plant_setuid".as_ref(), room.path().as_os_str()]).escapes();
    assert!(!planted(room.path()).is_empty());
}

#[test]
pub(crate) fn file_capability_is_not_planted_in_a_grant() {
    both_presets(|preset| {
        let room = tempfile::tempdir().expect("a directory");
        let ended = jar()
            .preset(preset)
            .flags(["--write".as_ref(), room.path().as_os_str()])
            .guest("plant_capability", [room.path()])
            .end();
        assert_eq!(planted(room.path()), [""; 0], "{}", ended.stdout);
        ended.stopped();
    });
    if is_root() || need(Need::UserNamespaces) {
        let room = tempfile::tempdir().expect("a directory");
        bare(["plant_capability".as_ref(), room.path().as_os_str()]).escapes();
        assert!(!planted(room.path()).is_empty());
    }
}
