//! What most tests of attacks do alike.

use belljar_tests::{bare, both_presets, jar};

/// Without words.
pub(crate) const NONE: [&str; 0] = [];

/// Both presets stop a guest that needs no words.
pub(crate) fn both_stop(guest: &str) {
    both_presets(|preset| {
        jar().preset(preset).guest(guest, NONE).stops();
    });
}

/// The same, and it comes through without a jar, where all that it does is to
/// be heard by the kernel.
pub(crate) fn both_stop_and_bare_does_not(guest: &str) {
    both_stop(guest);
    bare([guest]).escapes();
}

/// `strict` stops a guest that `standard` lets be, which is the control.
pub(crate) fn only_strict_stops(guest: &str, words: &[&str]) {
    jar().preset("strict").guest(guest, words).stops();
    jar().preset("standard").guest(guest, words).escapes();
}
