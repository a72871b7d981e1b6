//! Attacks by kinds of sockets. Where this machine's kernel has a kind, the
//! control opens it; where it has not, see `machine`.

use belljar_tests::{Need, need, unshared};

use crate::alike::bare_does_not_stop_and_both_do;

#[test]
pub(crate) fn cryptography_sockets_are_refused() {
    bare_does_not_stop_and_both_do("open_alg");
}

#[test]
pub(crate) fn sockets_to_the_hypervisor_are_refused() {
    bare_does_not_stop_and_both_do("open_vsock");
}

#[test]
pub(crate) fn key_sockets_are_refused() {
    bare_does_not_stop_and_both_do("open_key");
}

#[test]
pub(crate) fn packet_sockets_are_refused() {
    if need(Need::UserNamespaces) {
        unshared(&["-rn"], ["open_packets"]).escapes();
    }
    bare_does_not_stop_and_both_do("open_packets");
}

#[test]
pub(crate) fn raw_sockets_are_refused() {
    if need(Need::UserNamespaces) {
        unshared(&["-rn"], ["open_raw_socket"]).escapes();
    }
    bare_does_not_stop_and_both_do("open_raw_socket");
}

#[test]
pub(crate) fn netlink_beyond_routes_is_refused() {
    bare_does_not_stop_and_both_do("open_netlink");
}

#[test]
pub(crate) fn rare_protocols_are_refused() {
    bare_does_not_stop_and_both_do("open_rare_protocol");
}

#[test]
pub(crate) fn every_other_family_is_refused() {
    bare_does_not_stop_and_both_do("sweep_families");
}

#[test]
pub(crate) fn urgent_bytes_are_refused() {
    bare_does_not_stop_and_both_do("send_out_of_band");
}
