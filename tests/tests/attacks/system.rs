//! Attacks on the machine as a whole. The controls reach the kernel, and do
//! nothing there.

use belljar_tests::{Need, bare, need, unshared};

use crate::alike::{both_stop, both_stop_and_bare_does_not};

/// This kernel may be built without it: the control is in `machine`.
#[test]
pub(crate) fn kernel_is_not_replaced() {
    both_stop("load_kernel");
}

/// As above.
#[test]
pub(crate) fn modules_are_refused() {
    both_stop("load_module");
}

#[test]
pub(crate) fn machine_is_not_restarted() {
    both_stop("restart");
    if need(Need::UserNamespaces) {
        // The right to it is that of a pid namespace's owner.
        unshared(&["-rpf"], ["restart"]).escapes();
    }
}

#[test]
pub(crate) fn swap_is_not_changed() {
    both_stop_and_bare_does_not("change_swap");
}

#[test]
pub(crate) fn accounting_is_refused() {
    both_stop("account_processes");
    if need(Need::Root) {
        bare(["account_processes"]).escapes();
    }
}

#[test]
pub(crate) fn quotas_are_refused() {
    both_stop_and_bare_does_not("set_quota");
}
