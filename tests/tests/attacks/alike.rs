//! What most tests of attacks do alike. The control comes first: what does not
//! come through where nothing stops it is no attack.

use belljar_tests::{Ended, bare, both_presets, jar};

/// Without words.
pub(crate) const NONE: [&str; 0] = [];

/// Both presets stop a guest that needs no words.
pub(crate) fn both_stop(guest: &str) {
    both_presets(|preset| {
        jar().preset(preset).guest(guest, NONE).stops();
    });
}

/// The same, for a guest that comes through without a jar, where all that it
/// does is to be heard by the kernel.
pub(crate) fn bare_does_not_stop_and_both_do(guest: &str) {
    bare([guest]).escapes();
    both_stop(guest);
}

/// `strict` stops a guest that `standard` lets be.
pub(crate) fn standard_does_not_stop_and_strict_does(guest: &str, words: &[&str]) -> Ended {
    jar().preset("standard").guest(guest, words).escapes();
    jar().preset("strict").guest(guest, words).stops()
}
