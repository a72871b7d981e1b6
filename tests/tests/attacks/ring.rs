//! Attacks by `io_uring`.

use crate::alike::bare_does_not_stop_and_both_do;

#[test]
pub(crate) fn rings_are_refused() {
    bare_does_not_stop_and_both_do("set_up_io_uring");
}
