//! Attacks by two jars together, which share a directory that both may write.

use std::{
    fs, io,
    os::{
        fd::AsRawFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    path::Path,
};

use crate::{Verdict, kernel::Try, rights};

/// The other jar's part: `offer DIRECTORY SECRETS NAME` gives directory SECRETS to
/// whoever connects to socket `offer` in DIRECTORY, or to the abstract socket NAME.
/// It says `ready`, and goes on until its input ends.
pub(crate) fn offer(args: &[String]) -> io::Result<()> {
    let secrets = fs::File::open(&args[1])?;
    let pathname = UnixListener::bind(Path::new(&args[0]).join("offer"));
    let named =
        SocketAddr::from_abstract_name(&args[2]).and_then(|at| UnixListener::bind_addr(&at));
    fs::write(
        Path::new(&args[0]).join("word"),
        format!("data of {}", std::process::id()),
    )?;
    println!("ready path={} name={}", pathname.is_ok(), named.is_ok());
    for listener in [pathname, named].into_iter().flatten() {
        let secrets = secrets.try_clone()?;
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                drop(rights::send(stream.as_raw_fd(), secrets.as_raw_fd()));
            }
        });
    }
    io::copy(&mut io::stdin().lock(), &mut io::sink()).map(drop)
}

/// `conspire DIRECTORY FILE NAME`: takes a directory of the other jar from it,
/// and reads FILE there.
pub(crate) fn conspire(args: &[String]) -> Verdict {
    let take = |connected: io::Result<UnixStream>| {
        let stream = connected?;
        let directory = rights::receive(stream.as_raw_fd())?;
        rights::read_below(&directory, &args[1])
    };
    let by_path = UnixStream::connect(Path::new(&args[0]).join("offer"));
    let by_name = SocketAddr::from_abstract_name(&args[2])
        .and_then(|address| UnixStream::connect_addr(&address));
    let tries: [Try; 2] = [
        ("a socket in the directory".into(), take(by_path)),
        ("an abstract socket".into(), take(by_name)),
    ];
    Verdict::of_tries(tries)
}
