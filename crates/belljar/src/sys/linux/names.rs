//! What a call that waits names: read out of the guest's memory, for a report
//! and for nothing else. The guest may change it at any time, before and after.

use std::{net, os::fd::OwnedFd};

use belljar_policy::seccomp::Named;
use rustix::{fs::readlinkat, io::Errno};

use super::notify::{Asked, is_waiting};

/// With its NUL no path is longer; `<linux/limits.h>`.
const LONGEST_PATH: usize = 4096;
/// Most paths are shorter: so much is read at first.
const SHORT: usize = 256;
/// No part of memory that is smaller is mapped, or not, by itself.
const PAGE: u64 = 4096;
/// `sizeof(struct sockaddr_storage)`: no address is longer.
const LONGEST_ADDRESS: usize = 128;

/// Why there is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// There is none: a call without an address, or about what is open.
    Nothing,
    /// It cannot be read, or is none.
    Unreadable,
    /// Whoever asked is gone.
    Gone,
}

/// What a call names: a path from the jar's root, as far as that can be told, or
/// the address of a socket in words.
pub(crate) fn name(listener: &OwnedFd, asked: &Asked, named: Named) -> Result<Vec<u8>, Unread> {
    let argument = |at: u8| asked.attempt.arguments.get(usize::from(at)).copied();
    let name = match named {
        Named::Path {
            directory, path, ..
        } => path_of(
            asked.pid,
            directory.and_then(argument),
            argument(path).unwrap_or(0),
        ),
        Named::Address { address, length } => address_of(
            asked.pid,
            argument(address).unwrap_or(0),
            argument(length).unwrap_or(0),
        ),
    };
    // Else it may be another's, by the same number.
    is_waiting(listener, asked).map_err(|_| Unread::Gone)?;
    name
}

fn path_of(tid: i32, directory: Option<u64>, address: u64) -> Result<Vec<u8>, Unread> {
    let path = match (address, directory) {
        // About a descriptor itself, as futimens(3) is.
        (0, Some(_)) => Vec::new(),
        _ => text(tid, address).map_err(|_| Unread::Unreadable)?,
    };
    if path.starts_with(b"/") {
        return Ok(plain(&path));
    }
    let from = match directory.map(|number| number as u32 as i32) {
        None | Some(libc::AT_FDCWD) if path.is_empty() => return Err(Unread::Nothing),
        None | Some(libc::AT_FDCWD) => format!("/proc/{tid}/cwd"),
        Some(number) => format!("/proc/{tid}/fd/{number}"),
    };
    // As its own mounts have it: the walk up from there ends at the jar's root.
    let whole = match readlinkat(rustix::fs::CWD, from, Vec::new()) {
        Ok(from) => [from.as_bytes(), b"/", &path].concat(),
        Err(_) if path.is_empty() => return Err(Unread::Nothing),
        // A descriptor that is none.
        Err(_) => return Err(Unread::Unreadable),
    };
    match whole.starts_with(b"/") {
        true => Ok(plain(&whole)),
        // A pipe or a socket has no place.
        false => Err(Unread::Nothing),
    }
}

/// Without empty parts and those that stay where they are. What goes up stays,
/// since links may lead elsewhere.
fn plain(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    for part in path.split(|byte| *byte == b'/') {
        if !matches!(part, b"" | b".") {
            plain.push(b'/');
            plain.extend(part);
        }
    }
    if plain.is_empty() {
        plain.push(b'/');
    }
    plain
}

/// Text up to its NUL.
fn text(tid: i32, address: u64) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::new();
    let mut at = address;
    while text.len() < LONGEST_PATH {
        // What lies behind the end of a page need not be there.
        let page = (PAGE - at % PAGE) as usize;
        let length = if text.is_empty() { SHORT } else { LONGEST_PATH }.min(page);
        let mut chunk = [0; LONGEST_PATH];
        let chunk = &mut chunk[..length];
        super::connect::read_memory(tid, at, chunk)?;
        if let Some(end) = chunk.iter().position(|byte| *byte == 0) {
            text.extend_from_slice(&chunk[..end]);
            return match text.len() < LONGEST_PATH {
                true => Ok(text),
                false => Err(Errno::NAMETOOLONG),
            };
        }
        text.extend_from_slice(chunk);
        at = at.checked_add(length as u64).ok_or(Errno::FAULT)?;
    }
    Err(Errno::NAMETOOLONG)
}

fn address_of(tid: i32, address: u64, length: u64) -> Result<Vec<u8>, Unread> {
    if address == 0 {
        return Err(Unread::Nothing);
    }
    let length = usize::try_from(length as u32 as i32).map_err(|_| Unread::Unreadable)?;
    let mut copy = [0; LONGEST_ADDRESS];
    let copy = copy.get_mut(..length).ok_or(Unread::Unreadable)?;
    super::connect::read_memory(tid, address, copy).map_err(|_| Unread::Unreadable)?;
    words(copy)
}

/// A socket's address in words; ip(7), ipv6(7), unix(7).
fn words(address: &[u8]) -> Result<Vec<u8>, Unread> {
    let [family_low, family_high, rest @ ..] = address else {
        return Err(Unread::Unreadable);
    };
    let family = i32::from(u16::from_ne_bytes([*family_low, *family_high]));
    let port = |rest: &[u8]| rest.first_chunk().map(|port| u16::from_be_bytes(*port));
    let part = |from: usize, length: usize| rest.get(from..from + length);
    Ok(match family {
        // It only lets go of what it is connected to.
        libc::AF_UNSPEC => return Err(Unread::Nothing),
        libc::AF_INET => {
            let host = part(2, 4).and_then(|host| <[u8; 4]>::try_from(host).ok());
            let (host, port) = host.zip(port(rest)).ok_or(Unread::Unreadable)?;
            net::SocketAddrV4::new(host.into(), port)
                .to_string()
                .into_bytes()
        }
        libc::AF_INET6 => {
            let host = part(6, 16).and_then(|host| <[u8; 16]>::try_from(host).ok());
            let (host, port) = host.zip(port(rest)).ok_or(Unread::Unreadable)?;
            net::SocketAddrV6::new(host.into(), port, 0, 0)
                .to_string()
                .into_bytes()
        }
        libc::AF_UNIX => match rest {
            [] => return Err(Unread::Nothing),
            [0, name @ ..] => [b"unix:@", name].concat(),
            path => {
                let end = path.iter().position(|byte| *byte == 0);
                [b"unix:", &path[..end.unwrap_or(path.len())]].concat()
            }
        },
        family => format!("family {family}").into_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> i32 {
        rustix::thread::gettid().as_raw_nonzero().get()
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>, Errno> {
        text(here(), bytes.as_ptr() as u64)
    }

    #[test]
    fn text_is_read_to_its_end_and_no_further_than_a_path_may_be() {
        for length in [0, 1, 255, 256, 257, 4094, 4095] {
            let mut bytes = vec![b'x'; length];
            bytes.push(0);
            assert_eq!(read(&bytes).map(|text| text.len()), Ok(length));
        }
        let endless = vec![b'x'; 3 * LONGEST_PATH];
        assert_eq!(read(&endless), Err(Errno::NAMETOOLONG));
        assert_eq!(text(here(), 8), Err(Errno::FAULT));
        assert!(text(here(), u64::MAX - 5).is_err());
    }

    #[test]
    fn text_that_ends_where_memory_does_is_read() {
        use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
        let page = PAGE as usize;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let place = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                2 * page,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }
        .unwrap();
        let end = place.wrapping_byte_add(page);
        // SAFETY: within the mapping, which is zeroed: a NUL follows.
        unsafe { end.wrapping_byte_sub(3).cast::<[u8; 2]>().write(*b"ab") };
        // SAFETY: the second half of the mapping.
        unsafe { mprotect(end, page, MprotectFlags::empty()) }.unwrap();
        let read = text(here(), end as u64 - 3);
        assert_eq!(read, Ok(b"ab".to_vec()));
        // SAFETY: within the first half.
        unsafe { end.wrapping_byte_sub(1).cast::<u8>().write(b'c') };
        let beyond = text(here(), end as u64 - 3);
        // SAFETY: nothing refers to it.
        unsafe { munmap(place, 2 * page) }.unwrap();
        assert_eq!(beyond, Err(Errno::FAULT));
    }

    #[test]
    fn a_relative_path_is_told_from_the_root() {
        let workdir = std::env::current_dir().unwrap();
        let path = |directory: Option<u64>, path: &str| {
            let path = std::ffi::CString::new(path).unwrap();
            path_of(here(), directory, path.as_ptr() as u64)
        };
        let expected = workdir.join("a/b").into_os_string().into_encoded_bytes();
        assert_eq!(path(None, "a/./b"), Ok(expected.clone()));
        let here = libc::AT_FDCWD as u32;
        assert_eq!(path(Some(here.into()), "./a//b/"), Ok(expected));
        let etc = std::fs::File::open("/etc").unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&etc) as u64;
        // The kernel looks at 32 bits of it.
        for number in [number, number | 7 << 32] {
            assert_eq!(path(Some(number), "x"), Ok(b"/etc/x".to_vec()));
            assert_eq!(path(Some(number), ""), Ok(b"/etc".to_vec()));
        }
        assert_eq!(path(Some(number), "/x/../y"), Ok(b"/x/../y".to_vec()));
        assert_eq!(path(Some(9999), "x"), Err(Unread::Unreadable));
        assert_eq!(path(None, ""), Err(Unread::Nothing));
    }

    #[test]
    fn addresses_are_told_in_words_and_short_ones_are_none() {
        let with = |family: i32, rest: &[u8]| {
            words(&[&(family as u16).to_ne_bytes()[..], rest].concat())
                .map(|words| String::from_utf8(words).unwrap())
        };
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(
            with(libc::AF_INET, &[1, 187, 192, 0, 2, 1]),
            ok("192.0.2.1:443")
        );
        let mut six = vec![0, 53, 0, 0, 0, 0];
        six.extend(net::Ipv6Addr::LOCALHOST.octets());
        assert_eq!(with(libc::AF_INET6, &six), ok("[::1]:53"));
        assert_eq!(with(libc::AF_UNIX, b"/run/x\0junk"), ok("unix:/run/x"));
        assert_eq!(with(libc::AF_UNIX, b"\0bus"), ok("unix:@bus"));
        assert_eq!(with(libc::AF_UNIX, b""), Err(Unread::Nothing));
        assert_eq!(with(38, b"x"), ok("family 38"));
        assert_eq!(with(libc::AF_INET, &[1]), Err(Unread::Unreadable));
        assert_eq!(words(&[1]), Err(Unread::Unreadable));
    }
}
