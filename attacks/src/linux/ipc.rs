//! Attacks on what tasks share: System V and POSIX objects, keyrings, sockets.

use std::{
    ffi::CString,
    fs,
    io::{self, Read},
    net::TcpStream,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
    time::Duration,
};

use crate::{
    Verdict,
    kernel::{Arg, call},
};

/// `find_sysv KEY`: shared memory, semaphores and message queues by key, and
/// any object at all in the lists.
pub(crate) fn find_sysv(args: &[String]) -> Verdict {
    let key: i64 = args[0].parse().expect("a key");
    let mut tries = vec![
        (
            "shmget".to_owned(),
            call(
                libc::SYS_shmget,
                &mut [Arg::Number(key), Arg::Number(0), Arg::Number(0)],
            ),
        ),
        (
            "msgget".into(),
            call(libc::SYS_msgget, &mut [Arg::Number(key), Arg::Number(0)]),
        ),
        (
            "semget".into(),
            call(
                libc::SYS_semget,
                &mut [Arg::Number(key), Arg::Number(0), Arg::Number(0)],
            ),
        ),
    ];
    for list in ["shm", "msg", "sem"] {
        let lines = fs::read_to_string(format!("/proc/sysvipc/{list}"))
            .map(|text| text.lines().count().saturating_sub(1));
        tries.push((
            format!("/proc/sysvipc/{list}"),
            match lines {
                Ok(0) => Err(io::Error::other("empty")),
                Ok(count) => Ok(count as i64),
                Err(error) => Err(error),
            },
        ));
    }
    Verdict::of_tries(
        tries
            .into_iter()
            .map(|(name, result)| (name, result.map(|id| format!("found {id}")))),
    )
}

/// `find_queue NAME`: a POSIX message queue.
pub(crate) fn find_queue(args: &[String]) -> Verdict {
    let name = CString::new(args[0].as_str()).expect("no NUL");
    Verdict::of_tries([(
        "mq_open".into(),
        call(
            libc::SYS_mq_open,
            &mut [
                Arg::Text(&name),
                Arg::Number(libc::O_RDONLY.into()),
                Arg::Number(0),
                Arg::Number(0),
            ],
        )
        .map(|_| "opened".into()),
    )])
}

/// `find_shared_memory NAME`: POSIX shared memory of that name.
pub(crate) fn find_shared_memory(args: &[String]) -> Verdict {
    Verdict::of_tries(
        ["/dev/shm", "/run/shm", "/proc/1/root/dev/shm"].map(|place| {
            let path = format!("{place}/{}", args[0]);
            (place.to_owned(), fs::read(&path).map(|_| "read".to_owned()))
        }),
    )
}

/// `find_key DESCRIPTION`: searches every keyring at hand for a key.
pub(crate) fn find_key(args: &[String]) -> Verdict {
    const KEYCTL_SEARCH: i64 = 10;
    let description = CString::new(args[0].as_str()).expect("no NUL");
    // thread, process, session, user, user session: keyctl(2)
    let mut tries: Vec<(String, io::Result<String>)> = (1..=5)
        .map(|ring: i64| {
            let found = call(
                libc::SYS_keyctl,
                &mut [
                    Arg::Number(KEYCTL_SEARCH),
                    Arg::Number(-ring),
                    Arg::Text(c"user"),
                    Arg::Text(&description),
                    Arg::Number(0),
                ],
            );
            (
                format!("keyring {}", -ring),
                found.map(|key| format!("key {key}")),
            )
        })
        .collect();
    tries.push((
        "request_key".into(),
        call(
            libc::SYS_request_key,
            &mut [
                Arg::Text(c"user"),
                Arg::Text(&description),
                Arg::Number(0),
                Arg::Number(0),
            ],
        )
        .map(|key| format!("key {key}")),
    ));
    tries.push((
        "/proc/keys".into(),
        fs::read_to_string("/proc/keys").and_then(|keys| {
            if keys.contains(args[0].as_str()) {
                Ok("listed".into())
            } else {
                Err(io::ErrorKind::NotFound.into())
            }
        }),
    ));
    Verdict::of_tries(tries)
}

/// `connect_abstract NAME`: an abstract socket of that name, of the machine or
/// of another jar.
pub(crate) fn connect_abstract(args: &[String]) -> Verdict {
    let connected = SocketAddr::from_abstract_name(&args[0])
        .and_then(|address| UnixStream::connect_addr(&address));
    let listed = fs::read_to_string("/proc/net/unix").and_then(|sockets| {
        if sockets.contains(args[0].as_str()) {
            Ok("listed".to_owned())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    });
    Verdict::of_tries([
        ("connect".into(), connected.map(|_| "connected".into())),
        ("/proc/net/unix".into(), listed),
    ])
}

/// `connect_tcp ADDRESS…`: a listener of the machine.
pub(crate) fn connect_tcp(args: &[String]) -> Verdict {
    Verdict::of_tries(args.iter().map(|address| {
        let connected = address
            .parse()
            .map_err(io::Error::other)
            .and_then(|address| TcpStream::connect_timeout(&address, Duration::from_secs(2)))
            .map(|mut stream| {
                let mut greeting = String::new();
                drop(stream.set_read_timeout(Some(Duration::from_millis(200))));
                drop(stream.read_to_string(&mut greeting));
                format!("connected {greeting}")
            });
        (address.clone(), connected)
    }))
}
