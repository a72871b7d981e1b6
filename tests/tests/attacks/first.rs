//! Attacks on pid 1 of the jar and on what was given up before the guest began.

use belljar_tests::{Need, bare, both_presets, jar, need, unshared};

use crate::alike::{NONE, both_stop};

/// In a pid namespace without a jar the guest is pid 1 itself.
const AS_FIRST: &[&str] = &["-rpf", "--mount-proc"];

#[test]
pub(crate) fn forged_signals_tell_nothing() {
    both_presets(|preset| {
        // The report tells the guest's own end, and not the forged one's.
        let _ = jar()
            .preset(preset)
            .guest("forge_signals", NONE)
            .stops()
            .clean();
    });
    if need(Need::UserNamespaces) {
        unshared(AS_FIRST, ["forge_signals"]).escapes();
    }
}

#[test]
pub(crate) fn first_process_is_not_throttled() {
    both_presets(|preset| {
        let _ = jar()
            .preset(preset)
            .guest("throttle_first", NONE)
            .stops()
            .clean();
    });
    if need(Need::UserNamespaces) {
        unshared(AS_FIRST, ["throttle_first"]).escapes();
    }
}

#[test]
pub(crate) fn nothing_given_up_is_taken_back() {
    both_stop("loosen_itself");
    bare(["loosen_itself"]).escapes();
}
