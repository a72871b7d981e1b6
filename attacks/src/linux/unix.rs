//! Attacks by unix sockets: a socket of the machine is a way to a program there
//! that trusts whoever reaches it. A read-only mount does not stop a connection.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, IntoRawFd, RawFd},
        linux::net::SocketAddrExt,
        unix::{
            fs::{OpenOptionsExt, symlink},
            net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
    time::{Duration, Instant},
};

use crate::{
    Verdict,
    kernel::{Arg, Try, call},
};

fn scratch() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| "/tmp".into(), PathBuf::from)
}

/// Names by which one socket can be called.
fn names(path: &Path) -> Vec<(String, PathBuf)> {
    let mut names = vec![("its path".to_owned(), path.to_owned())];
    let link = scratch().join("link");
    if symlink(path, &link).is_ok() {
        names.push(("a link in scratch".into(), link));
    }
    // O_PATH opens a socket, and connect(2) follows the link to it.
    let place = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path);
    if let Ok(file) = place {
        let name = format!("/proc/self/fd/{}", file.into_raw_fd());
        names.push(("a descriptor of it".into(), name.into()));
    }
    names
}

/// `connect_pathname PATH`: a listening socket of the machine, by each of its names.
pub(crate) fn connect_pathname(args: &[String]) -> Verdict {
    let path = Path::new(&args[0]);
    let mut tries: Vec<Try> = names(path)
        .into_iter()
        .map(|(what, name)| {
            let connected = UnixStream::connect(name);
            (what, connected.map(|_| "connected".into()))
        })
        .collect();
    let relative = path
        .parent()
        .zip(path.file_name())
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
        .and_then(|(directory, name)| {
            std::env::set_current_dir(directory)?;
            UnixStream::connect(name)
        });
    tries.push((
        "a name from its directory".into(),
        relative.map(|_| "connected".into()),
    ));
    Verdict::of_tries(tries)
}

/// `sockaddr_un` with a path.
fn address(path: &Path) -> Vec<u8> {
    let mut bytes = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    bytes.extend_from_slice(path.as_os_str().as_encoded_bytes());
    bytes.push(0);
    bytes
}

/// Sends one byte to `address` by sendmsg(2), or by sendmmsg(2).
fn send_message(from: RawFd, address: &mut [u8], many: bool) -> io::Result<i64> {
    let mut byte = [b'!'];
    let mut vector = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: all zeros is an empty struct mmsghdr.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    message.msg_hdr.msg_name = address.as_mut_ptr().cast();
    message.msg_hdr.msg_namelen = address.len() as u32;
    message.msg_hdr.msg_iov = &raw mut vector;
    message.msg_hdr.msg_iovlen = 1;
    let at = Arg::Number((&raw mut message) as i64);
    let from = Arg::Number(from.into());
    if many {
        call(
            libc::SYS_sendmmsg,
            &mut [from, at, Arg::Number(1), Arg::Number(0)],
        )
    } else {
        call(libc::SYS_sendmsg, &mut [from, at, Arg::Number(0)])
    }
}

/// `send_to_pathname PATH`: a datagram socket of the machine, by each call
/// that takes an address.
pub(crate) fn send_to_pathname(args: &[String]) -> Verdict {
    let path = Path::new(&args[0]);
    let mut bytes = address(path);
    let (unbound, pair) = match (UnixDatagram::unbound(), UnixDatagram::pair()) {
        (Ok(unbound), Ok(pair)) => (unbound, pair),
        (Err(error), _) | (_, Err(error)) => {
            return Verdict::Stopped(format!("no socket: {error}"));
        }
    };
    let from = unbound.as_raw_fd();
    // A full queue must not keep the guest waiting.
    for socket in [&unbound, &pair.0] {
        drop(socket.set_nonblocking(true));
    }
    let mut tries: Vec<Try> = Vec::new();
    for (what, name) in names(path) {
        tries.push((
            format!("sendto {what}"),
            unbound.send_to(b"!", name).map(|_| "sent".to_owned()),
        ));
    }
    for (what, many) in [("sendmsg", false), ("sendmmsg", true)] {
        let sent = send_message(from, &mut bytes, many);
        tries.push((what.into(), sent.map(|_| "sent".into())));
    }
    for (what, socket) in [
        ("connect, write", &unbound),
        ("connect one of a pair", &pair.0),
    ] {
        let sent = socket.connect(path).and_then(|()| socket.send(b"!"));
        tries.push((what.into(), sent.map(|_| "sent".into())));
    }
    Verdict::of_tries(tries)
}

/// `sockaddr_un` whose path another thread changes while the kernel, or whoever
/// decides in its place, reads it.
struct Flipped {
    bytes: Vec<AtomicU8>,
    /// Which byte is flipped, and between what.
    at: usize,
    values: [u8; 2],
}

impl Flipped {
    /// Two paths of one directory that differ in their last byte.
    fn new(directory: &Path, values: [u8; 2]) -> Self {
        let path = directory.join(char::from(values[0]).to_string());
        let bytes = address(&path);
        Self {
            at: bytes.len() - 2,
            bytes: bytes.into_iter().map(AtomicU8::new).collect(),
            values,
        }
    }

    fn flip(&self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            for value in self.values {
                self.bytes[self.at].store(value, Ordering::Relaxed);
                // About as long as it takes to enter the kernel.
                for _ in 0..self.at {
                    std::hint::spin_loop();
                }
            }
        }
    }

    /// The kernel's view of it. Both of its states are whole addresses.
    fn arg(&self) -> [i64; 2] {
        [self.bytes.as_ptr() as i64, self.bytes.len() as i64]
    }
}

/// `race_pathname DIRECTORY COUNT`: socket `s` there is the machine's; the
/// guest binds `o` beside it, and a thread flips the address between the two
/// while connect(2) and sendto(2) are decided on. What was accepted and does not
/// arrive at the guest's own sockets went to the machine's.
pub(crate) fn race_pathname(args: &[String]) -> Verdict {
    let directory = Path::new(&args[0]);
    let count: u32 = args[1].parse().expect("a number");
    let stream = Flipped::new(directory, [b'o', b's']);
    let datagram = Flipped::new(directory, [b'p', b't']);
    let over = AtomicBool::new(false);
    let raced = std::thread::scope(|scope| {
        scope.spawn(|| stream.flip(&over));
        scope.spawn(|| datagram.flip(&over));
        let raced = race(directory, &stream, &datagram, count);
        over.store(true, Ordering::Relaxed);
        raced
    });
    for own in ["o", "p"] {
        drop(fs::remove_file(directory.join(own)));
    }
    match raced {
        Ok(verdict) => verdict,
        Err(error) => Verdict::Stopped(format!("no race: {error}")),
    }
}

fn race(directory: &Path, stream: &Flipped, datagram: &Flipped, count: u32) -> io::Result<Verdict> {
    let listener = UnixListener::bind(directory.join("o"))?;
    let receiver = UnixDatagram::bind(directory.join("p"))?;
    let sender = UnixDatagram::unbound()?;
    listener.set_nonblocking(true)?;
    receiver.set_nonblocking(true)?;
    let end = Instant::now() + Duration::from_secs(20);
    let (mut tries, mut arrived) = (0, 0);
    while tries < count && Instant::now() < end {
        tries += 1;
        let [at, length] = datagram.arg();
        let sent = call(
            libc::SYS_sendto,
            &mut [
                Arg::Number(sender.as_raw_fd().into()),
                Arg::In(b"!"),
                Arg::Number(1),
                Arg::Number(libc::MSG_DONTWAIT.into()),
                Arg::Number(at),
                Arg::Number(length),
            ],
        );
        if sent.is_ok() {
            if receiver.recv(&mut [0]).is_err() {
                return Ok(Verdict::Escaped(format!("sent, at try {tries}")));
            }
            arrived += 1;
        }
        let client = call(
            libc::SYS_socket,
            &mut [libc::AF_UNIX, libc::SOCK_STREAM, 0].map(|number| Arg::Number(number.into())),
        )?;
        let [at, length] = stream.arg();
        let connected = call(
            libc::SYS_connect,
            &mut [client, at, length].map(Arg::Number),
        );
        if connected.is_ok() {
            if listener.accept().is_err() {
                return Ok(Verdict::Escaped(format!("connected, at try {tries}")));
            }
            arrived += 1;
        }
        drop(call(libc::SYS_close, &mut [Arg::Number(client)]));
    }
    Ok(Verdict::Stopped(format!(
        "{tries} tries, {arrived} arrived where they may"
    )))
}

/// `connect_odd_abstract NAME`: abstract sockets of the machine whose names have
/// a NUL within, end with one, or have nothing but.
pub(crate) fn connect_odd_abstract(args: &[String]) -> Verdict {
    Verdict::of_tries(odd_names(&args[0]).into_iter().map(|name| {
        let what = name.escape_ascii().to_string();
        let connected = SocketAddr::from_abstract_name(&name)
            .and_then(|address| UnixStream::connect_addr(&address));
        (what, connected.map(|_| "connected".into()))
    }))
}

/// The names that [`connect_odd_abstract`] tries.
pub(crate) fn odd_names(name: &str) -> Vec<Vec<u8>> {
    [
        format!("{name}\0within"),
        format!("\0{name}"),
        format!("{name}\0"),
        format!("/{name}\0/../.."),
    ]
    .map(String::into_bytes)
    .into()
}
