//! A `SOCK_SEQPACKET` socket on the supervisor's runtime: whole packets with
//! descriptors; unix(7).

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use belljar_plan::message::DESCRIPTORS_PER_PACKET;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use tokio::io::{Interest, unix::AsyncFd};

/// Nobody sends us more descriptors than this in one packet.
const DESCRIPTORS_RECEIVED: usize = 4;

/// One end of a socket of packets.
#[derive(Debug)]
pub(crate) struct Packets(AsyncFd<OwnedFd>);

/// A pair of sockets of packets, both closed on exec. The first does not block.
pub(crate) fn connected_packets() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

impl Packets {
    /// Takes one end; it must not block. Call it on the supervisor's runtime.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        super::watch(socket, Interest::READABLE | Interest::WRITABLE).map(Self)
    }

    /// Sends one packet with its descriptors, from any thread; an error of kind
    /// `WouldBlock` where it does not fit now.
    pub(crate) fn send_now(&self, bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
        send_now(self.0.get_ref(), bytes, descriptors)
    }

    /// Sends one packet with its descriptors.
    pub(crate) async fn send(&self, bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
        self.0
            .async_io(Interest::WRITABLE, |socket| {
                send_now(socket, bytes, descriptors)
            })
            .await
    }

    /// Lets both ends know that nothing more comes.
    pub(crate) fn end(&self) {
        // Where the other end is gone, it knows.
        let _ = rustix::net::shutdown(self.0.get_ref(), rustix::net::Shutdown::Both);
    }

    /// Receives one packet: its length, 0 at the end, and its descriptors, none where there was
    /// no room for all. A packet that was cut short has length `usize::MAX`: it is no record.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.0
            .async_io(Interest::READABLE, |socket| receive_now(socket, buffer))
            .await
    }
}

/// Sends one packet; at most [`DESCRIPTORS_PER_PACKET`] descriptors.
pub(super) fn send_now(socket: &OwnedFd, bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_PACKET))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

fn receive_now(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_RECEIVED))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(buffer)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptors = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = part {
            descriptors.extend(fds);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        descriptors.clear();
    }
    let cut = message.flags.contains(ReturnFlags::TRUNC);
    Ok((if cut { usize::MAX } else { message.bytes }, descriptors))
}
