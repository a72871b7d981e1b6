//! Attacks by a terminal of the guest's own.

use belljar_tests::{bare, both_presets, jar};

use crate::alike::NONE;

#[test]
pub(crate) fn terminal_of_its_own_is_not_steered() {
    let control = bare(["steer_terminal"]).escapes();
    let own = "a terminal of its own: asked";
    assert!(control.stdout.contains(own), "{control:?}");
    both_presets(|preset| {
        jar().preset(preset).guest("steer_terminal", NONE).stops();
    });
}

/// With `--tty` the terminal is the jar's; its other end is the operator's.
#[test]
fn terminal_that_the_jar_was_given_is_not_steered() {
    both_presets(|preset| {
        jar()
            .host(["with_terminal"])
            .preset(preset)
            .flags(["--tty"])
            .guest("steer_terminal", NONE)
            .stops();
    });
}
