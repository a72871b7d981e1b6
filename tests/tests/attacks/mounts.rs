//! Attacks by mounts, roots, device files and cgroups.

use belljar_tests::{Need, bare, both_presets, jar, need, unshared};

use crate::alike::{both_stop, both_stop_and_bare_does_not};

#[test]
pub(crate) fn old_mount_calls_are_refused() {
    both_stop_and_bare_does_not("mount_by_old_calls");
}

#[test]
pub(crate) fn new_mount_calls_are_refused() {
    both_stop_and_bare_does_not("mount_by_new_calls");
}

#[test]
pub(crate) fn root_is_not_changed() {
    both_stop_and_bare_does_not("change_root");
    if need(Need::UserNamespaces) {
        let walked = unshared(&["-rm"], ["change_root"]).escapes();
        assert!(walked.stdout.contains("walk out: walked"), "{walked:?}");
    }
}

#[test]
pub(crate) fn devices_are_not_made() {
    both_presets(|preset| {
        let room = tempfile::tempdir().expect("a directory");
        let granted = room.path().to_string_lossy().into_owned();
        jar()
            .preset(preset)
            .flags(["--write", &granted])
            .guest("make_devices", ["/tmp", &granted])
            .stops();
        assert!(!room.path().join("made-device").exists());
    });
    let room = tempfile::tempdir().expect("a directory");
    bare(["make_devices".as_ref(), room.path().as_os_str()]).escapes();
    assert!(room.path().join("made-device").exists());
}

#[test]
pub(crate) fn cgroup_is_not_left() {
    both_stop("leave_cgroup");
    if need(Need::UserNamespaces) {
        unshared(&["-rmC"], ["leave_cgroup"]).escapes();
    }
}
