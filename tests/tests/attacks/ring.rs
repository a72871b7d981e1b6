//! Attacks by `io_uring`.

use crate::alike::both_stop_and_bare_does_not;

#[test]
pub(crate) fn rings_are_refused() {
    both_stop_and_bare_does_not("set_up_io_uring");
}
