//! Attacks by starting another program than the plugin. `standard` lets
//! programs start others: there is the control.

use std::{fs, os::unix::fs::PermissionsExt};

use belljar_plan::Rule;
use belljar_tests::{guest, jar};

use crate::alike::standard_does_not_stop_and_strict_does;

#[test]
pub(crate) fn no_program_is_started_by_name() {
    standard_does_not_stop_and_strict_does("start_by_path", &[]).told(Rule::Exec);
}

#[test]
pub(crate) fn no_program_is_started_by_descriptor() {
    standard_does_not_stop_and_strict_does("start_by_descriptor", &[]);
}

#[test]
pub(crate) fn no_program_is_started_from_memory() {
    standard_does_not_stop_and_strict_does("start_from_memory", &[]);
}

#[test]
pub(crate) fn no_written_program_is_started() {
    standard_does_not_stop_and_strict_does("start_written", &[]);
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
    standard_does_not_stop_and_strict_does("start_by_loader", &[]);
}

#[test]
pub(crate) fn no_script_is_started() {
    let room = tempfile::tempdir().expect("a directory");
    let script = room.path().join("script");
    fs::write(&script, format!("#!{} came_through\n", guest().display())).expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its mode");
    for preset in ["standard", "strict"] {
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
