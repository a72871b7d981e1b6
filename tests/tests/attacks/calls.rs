//! Attacks by system calls that no plugin needs.

use std::fs;

use belljar_tests::{bare, is_root};

use crate::alike::{bare_does_not_stop_and_both_do, both_stop};

#[test]
pub(crate) fn bpf_is_refused() {
    bare_does_not_stop_and_both_do("use_bpf");
}

#[test]
pub(crate) fn performance_counters_are_refused() {
    bare_does_not_stop_and_both_do("open_perf_event");
}

#[test]
pub(crate) fn faults_are_not_the_guest_s_to_handle() {
    bare_does_not_stop_and_both_do("use_userfaultfd");
}

#[test]
pub(crate) fn calls_on_keys_are_refused() {
    bare_does_not_stop_and_both_do("use_keys");
}

#[test]
pub(crate) fn personalities_are_refused() {
    bare_does_not_stop_and_both_do("change_personality");
}

#[test]
pub(crate) fn log_of_the_kernel_is_not_read() {
    let restricted = fs::read_to_string("/proc/sys/kernel/dmesg_restrict");
    if is_root() || restricted.is_ok_and(|restricted| restricted.trim() == "0") {
        bare(["read_kernel_log"]).escapes();
    }
    both_stop("read_kernel_log");
}

#[test]
pub(crate) fn real_time_is_refused() {
    bare_does_not_stop_and_both_do("take_real_time");
}

#[test]
pub(crate) fn clock_is_not_set() {
    bare_does_not_stop_and_both_do("set_clock");
}
