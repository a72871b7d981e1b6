//! Attacks on the machine as a whole. The controls reach the kernel, and do
//! nothing there.

use belljar_tests::{Need, bare, is_root, need, unshared};

use crate::alike::{bare_does_not_stop_and_both_do, both_stop};

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
    if need(Need::UserNamespaces) {
        // The right to it is that of a pid namespace's owner.
        unshared(&["-rpf"], ["restart"]).escapes();
    }
    both_stop("restart");
}

#[test]
pub(crate) fn swap_is_not_changed() {
    bare_does_not_stop_and_both_do("change_swap");
}

#[test]
pub(crate) fn accounting_is_refused() {
    if is_root() {
        bare(["account_processes"]).escapes();
    }
    both_stop("account_processes");
}

#[test]
pub(crate) fn quotas_are_refused() {
    bare_does_not_stop_and_both_do("set_quota");
}
