//! Attacks through inherited descriptors.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
};

use belljar_tests::{bare, bare_with_input, both_presets, guest, is_root, jar};

use crate::outside::Canary;

#[test]
pub(crate) fn only_three_descriptors_are_inherited() {
    let canary = Canary::new();
    both_presets(|preset| {
        jar()
            .host(["leaking_host".as_ref(), canary.directory().as_os_str()])
            .preset(preset)
            .guest("find_descriptors", ["canary"])
            .stops();
        canary.sings();
    });
    bare([
        "leaking_host".as_ref(),
        canary.directory().as_os_str(),
        guest().as_os_str(),
        "find_descriptors".as_ref(),
        "canary".as_ref(),
    ])
    .escapes();
}

#[test]
fn leaked_descriptor_is_no_working_directory() {
    let canary = Canary::new();
    both_presets(|preset| {
        for descriptor in [3, 4, 5, 40, 200] {
            let ended = jar()
                .host(["leaking_host".as_ref(), canary.directory().as_os_str()])
                .preset(preset)
                .flags([
                    "--workdir".to_owned(),
                    format!("/proc/self/fd/{descriptor}"),
                ])
                .guest("read_file", ["canary", "../canary"])
                .end();
            assert!(!ended.stdout.contains("ESCAPED"), "{ended:#?}");
        }
    });
}

/// Standard input is a socket on which a directory waits: a relay reads bytes.
#[test]
pub(crate) fn descriptors_do_not_come_by_streams() {
    let canary = Canary::new();
    both_presets(|preset| {
        jar()
            .host(["with_socket_input".as_ref(), canary.directory().as_os_str()])
            .preset(preset)
            .guest("receive_descriptors", ["canary"])
            .stops();
        canary.sings();
    });
    bare([
        "with_socket_input".as_ref(),
        canary.directory().as_os_str(),
        guest().as_os_str(),
        "receive_descriptors".as_ref(),
        "canary".as_ref(),
    ])
    .escapes();
}

#[test]
pub(crate) fn operators_file_is_not_reopened() {
    let canary = Canary::new();
    let mode = |canary: &Canary| {
        fs::metadata(canary.path())
            .expect("the canary")
            .permissions()
            .mode()
    };
    let before = mode(&canary);
    both_presets(|preset| {
        jar()
            .preset(preset)
            .input_file(File::open(canary.path()).expect("the canary"))
            .guest("reopen_stdin", [""; 0])
            .stops();
        canary.sings();
        assert_eq!(mode(&canary), before);
    });
    bare_with_input(
        File::open(canary.path()).expect("the canary"),
        ["reopen_stdin"],
    )
    .escapes();
}

#[test]
pub(crate) fn terminal_takes_no_injected_input() {
    both_presets(|preset| {
        // The terminal's echo would show before the guest's words what was typed.
        jar()
            .host(["with_terminal"])
            .preset(preset)
            .guest("inject_terminal", [""; 0])
            .stops();
    });
    let legacy = fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti");
    if is_root() || legacy.is_ok_and(|legacy| legacy.trim() == "1") {
        bare([
            "with_terminal".as_ref(),
            guest().as_os_str(),
            "inject_terminal".as_ref(),
        ])
        .escapes();
    }
}
