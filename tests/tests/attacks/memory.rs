//! Attacks by code that was written at run time. `standard` lets programs make
//! code, as every compiler at run time does: there is the control.

use belljar_tests::jar;

use crate::alike::{bare_does_not_stop_and_both_do, standard_does_not_stop_and_strict_does};

#[test]
pub(crate) fn no_memory_is_writable_code() {
    standard_does_not_stop_and_strict_does("map_writable_code", &[]);
}

#[test]
pub(crate) fn data_does_not_become_code() {
    standard_does_not_stop_and_strict_does("make_code_of_data", &[]);
}

#[test]
pub(crate) fn code_is_not_rewritten() {
    standard_does_not_stop_and_strict_does("rewrite_code", &[]);
}

#[test]
pub(crate) fn attached_memory_is_no_code() {
    standard_does_not_stop_and_strict_does("attach_code", &[]);
}

#[test]
pub(crate) fn code_has_no_writable_alias() {
    standard_does_not_stop_and_strict_does("alias_code", &[]);
}

#[test]
pub(crate) fn written_files_are_no_code() {
    standard_does_not_stop_and_strict_does("map_written_file", &[]);
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
    standard_does_not_stop_and_strict_does("write_over_code", &[]);
}

#[test]
pub(crate) fn reading_implies_no_running() {
    bare_does_not_stop_and_both_do("imply_code");
}
