//! Attacks by mounts, roots, device files and cgroups.

use belljar_tests::{Need, bare, both_presets, jar, need, unshared};

use crate::alike::{bare_does_not_stop_and_both_do, both_stop};

#[test]
pub(crate) fn old_mount_calls_are_refused() {
    bare_does_not_stop_and_both_do("mount_by_old_calls");
}

#[test]
pub(crate) fn new_mount_calls_are_refused() {
    bare_does_not_stop_and_both_do("mount_by_new_calls");
}

#[test]
pub(crate) fn root_is_not_changed() {
    if need(Need::UserNamespaces) {
        let walked = unshared(&["-rm"], ["change_root"]).escapes();
        assert!(walked.stdout.contains("walk out: walked"), "{walked:?}");
    }
    bare_does_not_stop_and_both_do("change_root");
}

#[test]
pub(crate) fn devices_are_not_made() {
    let room = tempfile::tempdir().expect("a directory");
    bare(["make_devices".as_ref(), room.path().as_os_str()]).escapes();
    assert!(room.path().join("made-device").exists());
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
}

#[test]
pub(crate) fn cgroup_is_not_left() {
    if need(Need::UserNamespaces) {
        unshared(&["-rmC"], ["leave_cgroup"]).escapes();
    }
    both_stop("leave_cgroup");
}
