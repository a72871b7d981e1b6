//! Attacks by the calls with which one task reaches into another, among the
//! guest's own. That others are out of reach: see `tasks`.

use belljar_tests::{bare, is_root};

use crate::alike::{bare_does_not_stop_and_both_do, both_stop};

/// Where the machine lets only parents trace, a sibling is no control.
fn siblings_may_trace() -> bool {
    is_root()
        || std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope")
            .map_or(true, |scope| scope.trim() == "0")
}

#[test]
pub(crate) fn own_child_is_not_traced() {
    bare_does_not_stop_and_both_do("trace_child");
}

#[test]
pub(crate) fn sibling_is_not_traced() {
    if siblings_may_trace() {
        bare(["trace_sibling"]).escapes();
    }
    both_stop("trace_sibling");
}

#[test]
pub(crate) fn memory_is_not_copied_between_tasks() {
    bare_does_not_stop_and_both_do("copy_memory");
}

#[test]
pub(crate) fn descriptors_are_not_taken_from_tasks() {
    bare_does_not_stop_and_both_do("take_child_s_descriptor");
}

#[test]
pub(crate) fn tasks_are_not_compared() {
    bare_does_not_stop_and_both_do("compare_tasks");
}
