//! Attacks by kinds of sockets that no plugin needs: each is a part of the
//! kernel with a history of its own, and loads modules where it can.

use std::{
    io,
    os::{fd::AsRawFd, unix::net::UnixDatagram, unix::net::UnixStream},
};

use crate::{
    Verdict,
    kernel::{Arg, Try, UPPER, call, probe},
};

/// Not in libc for every architecture: `<linux/socket.h>`.
const SOCK_DCCP: i32 = 6;

/// Opens a socket and closes it again.
fn socket(what: &str, family: i64, kind: impl Into<i64>, protocol: i64) -> Try {
    let numbers = [family, kind.into(), protocol].map(Arg::Number);
    let opened = call(libc::SYS_socket, &mut { numbers }).map(|descriptor| {
        drop(call(libc::SYS_close, &mut [Arg::Number(descriptor)]));
        "opened".to_owned()
    });
    (what.to_owned(), opened)
}

/// A family in each of its kinds, and with a bit that the kernel does not read.
fn family(what: &str, family: i32, kinds: &[i32]) -> Verdict {
    family_of(what, family, kinds, 0)
}

/// The same by a protocol of its own.
fn family_of(what: &str, family: i32, kinds: &[i32], protocol: i64) -> Verdict {
    let family = i64::from(family);
    let mut tries: Vec<Try> = kinds
        .iter()
        .map(|kind| socket(&format!("{what} of kind {kind}"), family, *kind, protocol))
        .collect();
    let kind = kinds.first().copied().unwrap_or(libc::SOCK_STREAM);
    let flagged = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    tries.push(socket(
        &format!("{what} with flags"),
        family,
        flagged,
        protocol,
    ));
    tries.push(socket(
        &format!("{what} with an upper bit"),
        family | UPPER,
        kind,
        protocol,
    ));
    Verdict::of_calls(tries)
}

/// `open_alg`: the kernel's cryptography.
pub(crate) fn open_alg(_: &[String]) -> Verdict {
    family(
        "AF_ALG",
        libc::AF_ALG,
        &[libc::SOCK_SEQPACKET, libc::SOCK_STREAM],
    )
}

/// `open_vsock`: the way from a virtual machine to what runs it.
pub(crate) fn open_vsock(_: &[String]) -> Verdict {
    family(
        "AF_VSOCK",
        libc::AF_VSOCK,
        &[libc::SOCK_STREAM, libc::SOCK_SEQPACKET, libc::SOCK_DGRAM],
    )
}

/// `open_key`: keys of IPsec.
pub(crate) fn open_key(_: &[String]) -> Verdict {
    /// `<linux/pfkeyv2.h>`
    const PF_KEY_V2: i64 = 2;
    family_of("AF_KEY", libc::AF_KEY, &[libc::SOCK_RAW], PF_KEY_V2)
}

/// `open_packets`: packets as they are on the wire.
pub(crate) fn open_packets(_: &[String]) -> Verdict {
    // With a flag that does not exist, which the kernel sees before it looks for a right.
    const WRONG: i32 = 0x1000;
    family(
        "AF_PACKET",
        libc::AF_PACKET,
        &[
            libc::SOCK_RAW | WRONG,
            libc::SOCK_DGRAM | WRONG,
            libc::SOCK_RAW,
        ],
    )
}

/// `open_raw_socket`: packet and raw sockets, which see or forge what others send.
pub(crate) fn open_raw_socket(_: &[String]) -> Verdict {
    let (four, six) = (i64::from(libc::AF_INET), i64::from(libc::AF_INET6));
    let icmp = i64::from(libc::IPPROTO_ICMP);
    let flagged = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    Verdict::of_calls([
        socket("raw", four, libc::SOCK_RAW, icmp),
        socket("raw with flags", four, flagged, icmp),
        socket(
            "raw with an upper bit",
            four,
            i64::from(libc::SOCK_RAW) | UPPER,
            icmp,
        ),
        socket("raw6", six, libc::SOCK_RAW, libc::IPPROTO_ICMPV6.into()),
        // A number that is no protocol is seen before the right is looked for.
        socket("raw of no protocol", four, libc::SOCK_RAW, -1),
        socket("raw6 of no protocol", six, libc::SOCK_RAW, -1),
    ])
}

/// `open_netlink`: every netlink protocol but that of routes.
pub(crate) fn open_netlink(_: &[String]) -> Verdict {
    let family = i64::from(libc::AF_NETLINK);
    let protocols = [
        ("USERSOCK", libc::NETLINK_USERSOCK),
        ("SOCK_DIAG", libc::NETLINK_SOCK_DIAG),
        ("XFRM", libc::NETLINK_XFRM),
        ("SELINUX", libc::NETLINK_SELINUX),
        ("ISCSI", libc::NETLINK_ISCSI),
        ("AUDIT", libc::NETLINK_AUDIT),
        ("FIB_LOOKUP", libc::NETLINK_FIB_LOOKUP),
        ("CONNECTOR", libc::NETLINK_CONNECTOR),
        ("NETFILTER", libc::NETLINK_NETFILTER),
        ("KOBJECT_UEVENT", libc::NETLINK_KOBJECT_UEVENT),
        ("GENERIC", libc::NETLINK_GENERIC),
        ("SCSITRANSPORT", libc::NETLINK_SCSITRANSPORT),
        ("RDMA", libc::NETLINK_RDMA),
        ("CRYPTO", libc::NETLINK_CRYPTO),
    ];
    let mut tries: Vec<Try> = protocols
        .iter()
        .map(|(name, protocol)| socket(name, family, libc::SOCK_RAW, i64::from(*protocol)))
        .collect();
    let audit = i64::from(libc::NETLINK_AUDIT);
    tries.push(socket("AUDIT, DGRAM", family, libc::SOCK_DGRAM, audit));
    tries.push(socket(
        "AUDIT, an upper bit",
        family,
        libc::SOCK_RAW,
        audit | UPPER,
    ));
    Verdict::of_calls(tries)
}

/// `open_rare_protocol`: protocols of the internet that hardly anybody speaks.
pub(crate) fn open_rare_protocol(_: &[String]) -> Verdict {
    const L2TP: i64 = 115;
    const SMC: i64 = 256;
    let sctp = i64::from(libc::IPPROTO_SCTP);
    let dccp = i64::from(libc::IPPROTO_DCCP);
    let udp_lite = i64::from(libc::IPPROTO_UDPLITE);
    let families = [("", libc::AF_INET), (" on 6", libc::AF_INET6)];
    Verdict::of_calls(families.into_iter().flat_map(|(on, family)| {
        let family = i64::from(family);
        [
            ("SCTP", libc::SOCK_STREAM, sctp),
            ("SCTP, many", libc::SOCK_SEQPACKET, sctp),
            ("SCTP, an upper bit", libc::SOCK_STREAM, sctp | UPPER),
            ("DCCP", SOCK_DCCP, dccp),
            ("UDP-Lite", libc::SOCK_DGRAM, udp_lite),
            ("L2TP", libc::SOCK_DGRAM, L2TP),
            ("SMC", libc::SOCK_STREAM, SMC),
        ]
        .map(|(name, kind, protocol)| socket(&format!("{name}{on}"), family, kind, protocol))
    }))
}

/// `sweep_families`: every family of sockets, known or not, but the four that
/// plugins may use.
pub(crate) fn sweep_families(_: &[String]) -> Verdict {
    let usual = [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
    ];
    let kinds = [
        libc::SOCK_STREAM,
        libc::SOCK_DGRAM,
        libc::SOCK_RAW,
        libc::SOCK_RDM,
        libc::SOCK_SEQPACKET,
        SOCK_DCCP,
    ];
    let rare = || (0..=50_i32).filter(|family| !usual.contains(family));
    let mut tries = Vec::new();
    for family in rare() {
        for kind in kinds {
            for upper in [0, UPPER] {
                let what = format!("family {family} kind {kind}");
                tries.push(socket(&what, i64::from(family) | upper, kind, 0));
            }
            // No pair is made: there is no place to put it.
            tries.push(probe(
                &format!("pair of family {family} kind {kind}"),
                libc::SYS_socketpair,
                &[family.into(), kind.into(), 0, crate::kernel::NOWHERE],
            ));
        }
    }
    Verdict::of_calls(tries)
}

/// `send_out_of_band`: urgent bytes on unix sockets, by each call that has flags.
pub(crate) fn send_out_of_band(_: &[String]) -> Verdict {
    let oob = i64::from(libc::MSG_OOB);
    let pair = UnixStream::pair().and_then(|pair| Ok((pair, UnixDatagram::pair()?)));
    let ((from, to), (datagrams, _peer)) = match pair {
        Ok(pairs) => pairs,
        Err(error) => return Verdict::Stopped(format!("no pair: {error}")),
    };
    let (from, to) = (i64::from(from.as_raw_fd()), i64::from(to.as_raw_fd()));
    let datagrams = i64::from(datagrams.as_raw_fd());
    let mut byte = [b'!'];
    let mut vector = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: all zeros is an empty struct mmsghdr.
    let mut messages: [libc::mmsghdr; 1] = [unsafe { std::mem::zeroed() }];
    messages[0].msg_hdr.msg_iov = &raw mut vector;
    messages[0].msg_hdr.msg_iovlen = 1;
    let one = (&raw mut messages[0].msg_hdr) as i64;
    let many = messages.as_mut_ptr() as i64;
    let at = byte.as_mut_ptr() as i64;
    let tried = [
        ("sendto", libc::SYS_sendto, [from, at, 1, oob]),
        ("recvfrom", libc::SYS_recvfrom, [to, at, 1, oob]),
        ("sendmsg", libc::SYS_sendmsg, [from, one, oob, 0]),
        ("recvmsg", libc::SYS_recvmsg, [to, one, oob, 0]),
        ("sendmmsg", libc::SYS_sendmmsg, [from, many, 1, oob]),
        ("recvmmsg", libc::SYS_recvmmsg, [to, many, 1, oob]),
        ("an upper bit", libc::SYS_sendto, [from, at, 1, oob | UPPER]),
        ("a datagram", libc::SYS_sendto, [datagrams, at, 1, oob]),
    ];
    // Each of these blocks only where a byte could come, and none is left.
    Verdict::of_calls(tried.map(|(what, number, [a, b, c, d])| {
        let answer = numbers(number, [a, b, c, d, 0, 0]);
        (what.to_owned(), answer)
    }))
}

/// A call whose memory outlives it: that of the one guest above.
fn numbers(number: libc::c_long, args: [i64; 6]) -> io::Result<String> {
    call(number, &mut args.map(Arg::Number)).map(|count| format!("{count} sent or received"))
}
