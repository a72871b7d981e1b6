//! Packets with descriptors over `SOCK_SEQPACKET` sockets; unix(7).

use core::mem::MaybeUninit;

use crate::calls::{recvmsg, sendmsg};
use belljar_plan::message::DESCRIPTORS_PER_PACKET;
use rustix::cmsg_space;
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// The most descriptors that one launch may carry.
pub(crate) const MOST: usize = 1024;

/// Room for the descriptors of one full packet.
const SPACE: usize = cmsg_space!(ScmRights(DESCRIPTORS_PER_PACKET));

/// The descriptors of one launch, in the order in which they came.
pub(crate) struct Descriptors {
    list: [Option<OwnedFd>; MOST],
    count: usize,
    overflowed: bool,
}

impl Descriptors {
    pub(crate) const fn new() -> Self {
        Self {
            list: [const { None }; MOST],
            count: 0,
            overflowed: false,
        }
    }

    /// Whether some were lost, for want of room here or in the process.
    pub(crate) const fn overflowed(&self) -> bool {
        self.overflowed
    }

    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    fn push(&mut self, fd: OwnedFd) {
        match self.list.get_mut(self.count) {
            Some(place) => {
                *place = Some(fd);
                self.count += 1;
            }
            None => self.overflowed = true,
        }
    }

    pub(crate) fn at(&self, index: usize) -> Result<BorrowedFd<'_>> {
        let fd = self.list.get(index).and_then(Option::as_ref);
        fd.map(OwnedFd::as_fd).ok_or(Errno::BADF)
    }

    pub(crate) fn replace(&mut self, index: usize, fd: OwnedFd) -> Result<()> {
        let place = self.list.get_mut(index).ok_or(Errno::BADF)?;
        *place = Some(fd);
        Ok(())
    }

    /// Takes one out, so that the others can be handed on without it.
    pub(crate) fn take(&mut self, index: usize) -> Option<OwnedFd> {
        self.list.get_mut(index).and_then(Option::take)
    }

    /// Those that are there, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let list = self.list.get(..self.count).unwrap_or(&[]);
        list.iter().flatten().map(OwnedFd::as_fd)
    }

    /// Closes all.
    pub(crate) fn clear(&mut self) {
        for place in self.list.iter_mut().take(self.count) {
            *place = None;
        }
        self.count = 0;
        self.overflowed = false;
    }
}

/// Whether to wait until there is a packet, or room for one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Yes,
    No,
}

/// Sends one packet; at most [`DESCRIPTORS_PER_PACKET`] descriptors go along.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    wait: Wait,
) -> Result<()> {
    let mut space = [const { MaybeUninit::<u8>::uninit() }; SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::MSGSIZE);
    }
    let flags = match wait {
        Wait::Yes => SendFlags::NOSIGNAL,
        Wait::No => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    };
    let data = [IoSlice::new(bytes)];
    match sendmsg(socket, &data, &mut control, flags)? == bytes.len() {
        true => Ok(()),
        false => Err(Errno::MSGSIZE),
    }
}

/// Sends a packet with any number of descriptors: what does not fit goes in
/// further packets with `more` as their bytes.
pub(crate) fn send_all(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    more: &[u8],
    fds: &Descriptors,
) -> Result<()> {
    let mut chunk = [socket; DESCRIPTORS_PER_PACKET];
    let mut count = 0;
    let mut head = bytes;
    for fd in fds.iter() {
        if count == chunk.len() {
            send(socket, head, &chunk, Wait::Yes)?;
            head = more;
            count = 0;
        }
        if let Some(place) = chunk.get_mut(count) {
            *place = fd;
        }
        count += 1;
    }
    send(socket, head, chunk.get(..count).unwrap_or(&[]), Wait::Yes)
}

/// Takes one packet; its descriptors, all close-on-exec, are added to `fds`.
///
/// Gives the length, which is 0 when the other side is gone.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    fds: &mut Descriptors,
    wait: Wait,
) -> Result<usize> {
    let mut space = [const { MaybeUninit::<u8>::uninit() }; SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = match wait {
        Wait::Yes => RecvFlags::CMSG_CLOEXEC,
        Wait::No => RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    };
    let mut data = [IoSliceMut::new(bytes)];
    let received = recvmsg(socket, &mut data, &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            for fd in rights {
                fds.push(fd);
            }
        }
    }
    fds.overflowed |= received.flags.contains(ReturnFlags::CTRUNC);
    match received.flags.contains(ReturnFlags::TRUNC) {
        true => Err(Errno::MSGSIZE),
        false => Ok(received.bytes),
    }
}
