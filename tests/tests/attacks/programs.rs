//! Attacks by starting another program than the plugin. `standard` lets
//! programs start others: there is the control.

use std::{fs, os::unix::fs::PermissionsExt};

use belljar_tests::{guest, jar};

use crate::alike::only_strict_stops;

#[test]
pub(crate) fn no_program_is_started_by_name() {
    only_strict_stops("start_by_path", &[]);
}

#[test]
pub(crate) fn no_program_is_started_by_descriptor() {
    only_strict_stops("start_by_descriptor", &[]);
}

#[test]
pub(crate) fn no_program_is_started_from_memory() {
    only_strict_stops("start_from_memory", &[]);
}

#[test]
pub(crate) fn no_written_program_is_started() {
    only_strict_stops("start_written", &[]);
    let room = tempfile::tempdir().expect("a directory");
    let granted = room.path().to_string_lossy().into_owned();
    jar()
        .preset("strict")
        .flags(["--write", &granted])
        .guest("start_written", [&granted])
        .stops();
}

#[test]
pub(crate) fn loader_starts_no_program() {
    only_strict_stops("start_by_loader", &[]);
}

#[test]
pub(crate) fn no_script_is_started() {
    let room = tempfile::tempdir().expect("a directory");
    let script = room.path().join("script");
    fs::write(&script, format!("#!{} came_through\n", guest().display())).expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its mode");
    for preset in ["strict", "standard"] {
        let run = jar()
            .preset(preset)
            .flags(["--read".as_ref(), room.path().as_os_str()])
            .guest("start_script", [&script]);
        if preset == "strict" {
            run.stops();
        } else {
            run.escapes();
        }
    }
}
