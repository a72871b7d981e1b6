//! Attacks by other ways into the kernel than a program's own.

use crate::alike::{both_stop, both_stop_and_bare_does_not};

#[test]
pub(crate) fn calls_of_32_bits_are_refused() {
    both_stop_and_bare_does_not("make_32_bit_calls");
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
