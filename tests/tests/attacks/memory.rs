//! Attacks by code that was written at run time. `standard` lets programs make
//! code, as every compiler at run time does: there is the control.

use belljar_tests::jar;

use crate::alike::{both_stop_and_bare_does_not, only_strict_stops};

#[test]
pub(crate) fn no_memory_is_writable_code() {
    only_strict_stops("map_writable_code", &[]);
}

#[test]
pub(crate) fn data_does_not_become_code() {
    only_strict_stops("make_code_of_data", &[]);
}

#[test]
pub(crate) fn code_is_not_rewritten() {
    only_strict_stops("rewrite_code", &[]);
}

#[test]
pub(crate) fn attached_memory_is_no_code() {
    only_strict_stops("attach_code", &[]);
}

#[test]
pub(crate) fn code_has_no_writable_alias() {
    only_strict_stops("alias_code", &[]);
}

#[test]
pub(crate) fn written_files_are_no_code() {
    only_strict_stops("map_written_file", &[]);
    let room = tempfile::tempdir().expect("a directory");
    let granted = room.path().to_string_lossy().into_owned();
    jar()
        .preset("strict")
        .flags(["--write", &granted])
        .guest("map_written_file", [&granted])
        .stops();
}

#[test]
pub(crate) fn own_code_is_not_overwritten() {
    only_strict_stops("write_over_code", &[]);
}

#[test]
pub(crate) fn reading_implies_no_running() {
    both_stop_and_bare_does_not("imply_code");
}
