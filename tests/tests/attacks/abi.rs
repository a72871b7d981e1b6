//! Attacks by other ways into the kernel than a program's own.

use crate::alike::{bare_does_not_stop_and_both_do, both_stop};

#[test]
pub(crate) fn calls_of_32_bits_are_refused() {
    bare_does_not_stop_and_both_do("make_32_bit_calls");
}

/// This kernel may be built without x32: the control is in `machine`.
#[test]
pub(crate) fn calls_of_x32_are_refused() {
    both_stop("make_x32_calls");
}

/// As above.
#[test]
pub(crate) fn ports_are_refused() {
    both_stop("use_ports");
}
