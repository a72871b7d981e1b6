//! Attacks by kinds of sockets. Where this machine's kernel has a kind, the
//! control opens it; where it has not, see `machine`.

use belljar_tests::{Need, need, unshared};

use crate::alike::both_stop_and_bare_does_not;

#[test]
pub(crate) fn cryptography_sockets_are_refused() {
    both_stop_and_bare_does_not("open_alg");
}

#[test]
pub(crate) fn sockets_to_the_hypervisor_are_refused() {
    both_stop_and_bare_does_not("open_vsock");
}

#[test]
pub(crate) fn key_sockets_are_refused() {
    both_stop_and_bare_does_not("open_key");
}

#[test]
pub(crate) fn packet_sockets_are_refused() {
    both_stop_and_bare_does_not("open_packets");
    if need(Need::UserNamespaces) {
        unshared(&["-rn"], ["open_packets"]).escapes();
    }
}

#[test]
pub(crate) fn raw_sockets_are_refused() {
    both_stop_and_bare_does_not("open_raw_socket");
    if need(Need::UserNamespaces) {
        unshared(&["-rn"], ["open_raw_socket"]).escapes();
    }
}

#[test]
pub(crate) fn netlink_beyond_routes_is_refused() {
    both_stop_and_bare_does_not("open_netlink");
}

#[test]
pub(crate) fn rare_protocols_are_refused() {
    both_stop_and_bare_does_not("open_rare_protocol");
}

#[test]
pub(crate) fn every_other_family_is_refused() {
    both_stop_and_bare_does_not("sweep_families");
}

#[test]
pub(crate) fn urgent_bytes_are_refused() {
    both_stop_and_bare_does_not("send_out_of_band");
}
