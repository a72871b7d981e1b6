//! Attacks on the machine's files.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use belljar_tests::{Need, bare, belljar, both_presets, guest, is_root, jar, need, unshared};

use crate::outside::Canary;

#[test]
pub(crate) fn canary_outside_stays_unread() {
    let canary = Canary::new();
    both_presets(|preset| {
        jar()
            .preset(preset)
            .guest("read_file", [canary.path()])
            .stops();
        canary.sings();
    });
    bare(["read_file".as_ref(), canary.path().as_os_str()]).escapes();
}

#[test]
pub(crate) fn canary_outside_stays_unwritten() {
    both_presets(|preset| {
        let canary = Canary::new();
        jar()
            .preset(preset)
            .guest("write_file", [canary.path()])
            .stops();
        canary.sings();
    });
    let harmed = Canary::new();
    bare(["write_file".as_ref(), harmed.path().as_os_str()]).escapes();
}

#[test]
fn canary_in_a_granted_directory_stays_unwritten_by_read() {
    both_presets(|preset| {
        let canary = Canary::new();
        jar()
            .preset(preset)
            .flags(["--read".as_ref(), canary.directory().as_os_str()])
            .guest("write_file", [canary.path()])
            .stops();
        canary.sings();
    });
}

#[test]
pub(crate) fn links_and_dot_dots_lead_nowhere() {
    let canary = Canary::new();
    both_presets(|preset| {
        jar()
            .preset(preset)
            .guest("walk_out", [canary.path()])
            .stops();
        canary.sings();
    });
    bare(["walk_out".as_ref(), canary.path().as_os_str()]).escapes();
}

#[test]
fn links_in_a_granted_directory_lead_nowhere() {
    both_presets(|preset| {
        let canary = Canary::new();
        let granted = tempfile::tempdir().expect("a directory");
        for (name, target) in [
            ("file", canary.path()),
            ("directory", canary.directory().to_owned()),
            ("root", "/".into()),
            ("proc", "/proc/1/root".into()),
        ] {
            std::os::unix::fs::symlink(target, granted.path().join(name)).expect("a link");
        }
        let inside = granted.path();
        let below = canary.path();
        let below = below.strip_prefix("/").expect("absolute");
        jar()
            .preset(preset)
            .flags(["--write".as_ref(), inside.as_os_str()])
            .guest(
                "read_file",
                [
                    inside.join("file"),
                    inside.join("directory/canary"),
                    inside.join("root").join(below),
                    inside.join("proc").join(below),
                    inside
                        .join("..")
                        .join(below.strip_prefix("tmp").unwrap_or(below)),
                ],
            )
            .stops();
        canary.sings();
    });
}

#[test]
pub(crate) fn passwd_and_shadow_of_the_machine_stay_unread() {
    let passwd = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let markers: Vec<String> = passwd
        .lines()
        .filter(|line| {
            !["root:", "nobody:", "plugin:"]
                .iter()
                .any(|own| line.starts_with(own))
        })
        .map(str::to_owned)
        .collect();
    assert!(!markers.is_empty(), "a machine without users");
    let words = || {
        ["/etc/passwd".to_owned()]
            .into_iter()
            .chain(markers.iter().cloned())
    };
    both_presets(|preset| {
        jar().preset(preset).guest("read_marked", words()).stops();
        jar()
            .preset(preset)
            .guest("read_file", ["/etc/shadow", "/etc/gshadow", "/etc/shadow-"])
            .stops();
    });
    bare(["read_marked".to_owned()].into_iter().chain(words())).escapes();
    if is_root() {
        bare(["read_file", "/etc/shadow"]).escapes();
    }
}

/// What must not change of a program's file.
fn state(path: &Path) -> (Vec<u8>, i64, i64, u32, u64) {
    let metadata = fs::metadata(path).expect("a program");
    (
        fs::read(path).expect("its bytes"),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.mode(),
        metadata.ino(),
    )
}

#[test]
pub(crate) fn programs_bytes_stay_as_they_are() {
    let before = [belljar(), guest()].map(state);
    let ways = ["/proc/self/exe", "/proc/1/exe", "/proc/1/task/1/exe"];
    both_presets(|preset| {
        jar()
            .preset(preset)
            .guest("touch_program", ways.map(str::to_owned))
            .stops();
        let by_name = guest().to_string_lossy().into_owned();
        jar()
            .preset(preset)
            .guest("touch_program", [by_name])
            .stops();
    });
    assert!(
        [belljar(), guest()].map(state) == before,
        "a program changed"
    );

    let room = tempfile::tempdir().expect("a directory");
    let copy = room.path().join("copy");
    fs::copy(guest(), &copy).expect("a copy");
    bare(["touch_program".as_ref(), copy.as_os_str()]).escapes();
}

#[test]
pub(crate) fn kernel_settings_stay_closed() {
    let settings = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/user/max_user_namespaces",
        "/proc/sys/vm/drop_caches",
        "/proc/sysrq-trigger",
        "/proc/kcore",
        "/proc/kmsg",
        "/proc/1/oom_score_adj",
        "/proc/1/uid_map",
        "/sys/kernel/uevent_helper",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/release_agent",
    ];
    let before = fs::read("/proc/sys/kernel/core_pattern").ok();
    both_presets(|preset| {
        jar()
            .preset(preset)
            .guest("open_for_writing", settings)
            .stops();
    });
    assert_eq!(fs::read("/proc/sys/kernel/core_pattern").ok(), before);
    if need(Need::UserNamespaces) {
        let setting = "/proc/sys/net/ipv4/ip_forward";
        unshared(&["-rn"], ["open_for_writing", setting]).escapes();
    }
}

#[test]
pub(crate) fn mounts_show_no_machine_root() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let device = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields[4] == "/" && fields[3] == "/")
        .map(|fields| fields[2].to_owned());
    let Some(device) = device else {
        // A container's root is itself a part of something.
        return;
    };
    both_presets(|preset| {
        jar()
            .preset(preset)
            .guest("see_machine_root", [&device])
            .stops();
    });
    bare(["see_machine_root", &device]).escapes();
}

#[test]
pub(crate) fn handles_open_nothing() {
    let canary = Canary::new();
    both_presets(|preset| {
        let granted = ["--read".as_ref(), canary.directory().as_os_str()];
        jar()
            .preset(preset)
            .flags(granted)
            .guest("open_by_handle", [canary.path()])
            .stops();
        jar().preset(preset).guest("open_by_handle", ["/"]).stops();
    });
    if need(Need::Root) {
        bare(["open_by_handle".as_ref(), canary.path().as_os_str()]).escapes();
    }
}

#[test]
pub(crate) fn devices_are_only_the_listed() {
    both_presets(|preset| {
        jar().preset(preset).guest("see_devices", [""; 0]).stops();
    });
    if is_root() {
        bare(["see_devices"]).escapes();
    }
}

#[test]
pub(crate) fn mounts_stay_as_they_are() {
    both_presets(|preset| {
        jar().preset(preset).guest("change_mounts", [""; 0]).stops();
    });
    if need(Need::UserNamespaces) {
        unshared(&["-rm"], ["change_mounts"]).escapes();
    }
}

#[test]
pub(crate) fn nested_namespace_uncovers_nothing() {
    both_presets(|preset| {
        jar()
            .preset(preset)
            .guest("undo_mounts_in_new_namespace", [""; 0])
            .stops();
    });
    if need(Need::UserNamespaces) {
        unshared(&["-rm"], ["undo_mounts_in_new_namespace"]).escapes();
    }
}
