//! Unix sockets that somebody can connect to by a path; `sock_diag(7)`. The table of
//! `/proc/net/unix` has them too, among all that are connected, of which each jar has some:
//! to read that beside 1,000 jars took longer than a launch.

use std::io;

use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send},
};

const HEADER: usize = size_of::<libc::nlmsghdr>();
/// `struct unix_diag_req` and `struct unix_diag_msg`; `linux/unix_diag.h`.
const REQUEST: usize = 24;
const ANSWER: usize = 16;

const BY_FAMILY: u16 = 20; // SOCK_DIAG_BY_FAMILY
const SHOW_NAME: u32 = 1; // UDIAG_SHOW_NAME
const NAME: u16 = 0; // UNIX_DIAG_NAME
/// `TCP_ESTABLISHED`: what has its other end already.
const CONNECTED: u32 = 1;

/// The paths that the sockets of this network namespace are bound to, not those of abstract
/// names.
///
/// # Errors
/// Where the kernel does not tell, as one without `CONFIG_UNIX_DIAG`.
pub(crate) fn paths() -> io::Result<Vec<Vec<u8>>> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    send(&socket, &request(), SendFlags::empty())?;
    let mut paths = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // Each part is there once the one before was taken; a launch waits for none.
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::DONTWAIT)?;
        let messages = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
        if take(messages, &mut paths)? {
            return Ok(paths);
        }
    }
}

fn request() -> Vec<u8> {
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).unwrap_or_default();
    let family = u8::try_from(libc::AF_UNIX).unwrap_or_default();
    let length = u32::try_from(HEADER + REQUEST).unwrap_or_default();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Its number and its sender's: the kernel answers on this socket alone.
    bytes.extend([0; 8]);
    bytes.extend([family, 0, 0, 0]);
    bytes.extend((!(1_u32 << CONNECTED)).to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(SHOW_NAME.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes
}

/// Takes the paths of some messages; whether they were the last.
fn take(mut messages: &[u8], paths: &mut Vec<Vec<u8>>) -> io::Result<bool> {
    while !messages.is_empty() {
        let length = number(messages, 0).filter(|length| *length >= HEADER);
        let length = length.ok_or(Errno::BADMSG)?;
        let message = messages.get(..length).ok_or(Errno::BADMSG)?;
        let kind = short(message, 4).ok_or(Errno::BADMSG)?;
        let flags = short(message, 6).ok_or(Errno::BADMSG)?;
        let changed = libc::NLM_F_DUMP_INTR;
        if i32::from(flags) & changed != 0 {
            return Err(Errno::INTR.into());
        }
        match i32::from(kind) {
            libc::NLMSG_DONE => return Ok(true),
            libc::NLMSG_ERROR => {
                let errno = number(message, HEADER).unwrap_or_default();
                let errno = i32::from_ne_bytes(u32::try_from(errno).unwrap_or(0).to_ne_bytes());
                return Err(io::Error::from_raw_os_error(-errno));
            }
            _ => paths.extend(name(message.get(HEADER + ANSWER..).unwrap_or(&[]))),
        }
        messages = messages.get(aligned(length)..).unwrap_or(&[]);
    }
    Ok(false)
}

/// The name among a socket's attributes, where it is a path.
fn name(mut attributes: &[u8]) -> Option<Vec<u8>> {
    loop {
        let length = usize::from(short(attributes, 0)?);
        let value = attributes.get(4..length)?;
        if short(attributes, 2)? == NAME {
            // It may end with its terminator; unix(7).
            let end = value.iter().position(|byte| *byte == 0);
            let path = &value[..end.unwrap_or(value.len())];
            return path.starts_with(b"/").then(|| path.to_vec());
        }
        attributes = attributes.get(aligned(length)..)?;
    }
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_ne_bytes(bytes)).ok()
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
        },
    };

    use super::*;

    #[test]
    fn whoever_can_be_connected_to_by_a_path_is_there_and_no_other() {
        let room = tempfile::tempdir().unwrap();
        let place = |name: &str| room.path().join(name);
        let listener = UnixListener::bind(place("stream")).unwrap();
        let datagrams = UnixDatagram::bind(place("datagrams")).unwrap();
        let bound = UnixDatagram::bind(place("gone")).unwrap();
        drop(bound);
        let abstract_name = SocketAddr::from_abstract_name("/belljar/test").unwrap();
        let abstract_one = UnixListener::bind_addr(&abstract_name).unwrap();
        // More than one message has room for.
        let many: Vec<_> = (0..2000)
            .map(|number| UnixDatagram::bind(place(&number.to_string())).unwrap())
            .collect();
        let pairs: Vec<_> = (0..100).map(|_| UnixStream::pair().unwrap()).collect();
        let paths = paths().unwrap();
        let below = room.path().as_os_str().as_bytes();
        let here = paths.iter().filter(|path| path.starts_with(below));
        assert_eq!(here.count(), 2002);
        for name in ["stream", "datagrams", "0", "1999"] {
            assert!(
                paths
                    .iter()
                    .any(|path| path == place(name).as_os_str().as_bytes())
            );
        }
        assert!(!paths.iter().any(|path| path == b"/belljar/test"));
        drop((listener, datagrams, abstract_one, many, pairs));
    }

    #[test]
    fn nonsense_is_an_error_or_nothing() {
        let mut paths = Vec::new();
        for bytes in [&[1, 2, 3][..], &[255; 40], &[16, 0, 0, 0], &[0; 16]] {
            assert!(take(bytes, &mut paths).is_err());
        }
        assert_eq!(name(&[255; 8]), None);
        assert_eq!(name(&[0; 8]), None);
    }
}
