//! Attacks by system calls that no plugin needs.

use std::fs;

use belljar_tests::{bare, is_root};

use crate::alike::{both_stop, both_stop_and_bare_does_not};

#[test]
pub(crate) fn bpf_is_refused() {
    both_stop_and_bare_does_not("use_bpf");
}

#[test]
pub(crate) fn performance_counters_are_refused() {
    both_stop_and_bare_does_not("open_perf_event");
}

#[test]
pub(crate) fn faults_are_not_the_guest_s_to_handle() {
    both_stop_and_bare_does_not("use_userfaultfd");
}

#[test]
pub(crate) fn calls_on_keys_are_refused() {
    both_stop_and_bare_does_not("use_keys");
}

#[test]
pub(crate) fn personalities_are_refused() {
    both_stop_and_bare_does_not("change_personality");
}

#[test]
pub(crate) fn log_of_the_kernel_is_not_read() {
    both_stop("read_kernel_log");
    let restricted = fs::read_to_string("/proc/sys/kernel/dmesg_restrict");
    if is_root() || restricted.is_ok_and(|restricted| restricted.trim() == "0") {
        bare(["read_kernel_log"]).escapes();
    }
}

#[test]
pub(crate) fn real_time_is_refused() {
    both_stop_and_bare_does_not("take_real_time");
}

#[test]
pub(crate) fn clock_is_not_set() {
    both_stop_and_bare_does_not("set_clock");
}
