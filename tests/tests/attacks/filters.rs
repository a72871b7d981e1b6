//! Attacks by filters of the guest's own.

use belljar_tests::jar;

use crate::alike::{NONE, bare_does_not_stop_and_both_do, standard_does_not_stop_and_strict_does};

#[test]
pub(crate) fn filters_of_its_own_are_refused() {
    standard_does_not_stop_and_strict_does("add_filter", &[]);
}

#[test]
pub(crate) fn listener_of_its_own_is_refused() {
    bare_does_not_stop_and_both_do("add_listener");
}

#[test]
pub(crate) fn calls_are_not_hidden() {
    standard_does_not_stop_and_strict_does("hide_calls", &[]);
}

/// A denied call that a guest's own filter answers first is no event: Belljar's
/// filter is not asked. The contract says so.
#[test]
fn calls_that_a_guest_hides_in_standard_are_no_events() {
    let ended = jar().preset("standard").guest("hide_calls", NONE).escapes();
    assert_eq!(ended.report().violations, []);
}
