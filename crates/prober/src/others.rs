//! Probes of what is outside: tasks, sockets, objects in memory.

use rustix::fd::AsFd as _;
use rustix::fs::{CWD, readlinkat_raw};
use rustix::io::{Errno, read, write};
use rustix::net::{
    AddressFamily, Ipv4Addr, SocketAddrUnix, SocketAddrV4, SocketFlags, SocketType, acceptfrom,
    bind, connect, getsockname, listen, socket_with, socketpair,
};
use rustix::process::{Pid, test_kill_current_process_group, test_kill_process};

use crate::text::{Text, number};
use crate::{Outcome, Result, files, raw};

/// No task that the prober starts lives longer, seconds.
const LONGEST: u32 = 60;

pub(crate) fn signal(pid: u64) -> Result {
    let number = i32::try_from(pid).map_err(|_| Errno::INVAL)?;
    match Pid::from_raw(number) {
        Some(pid) => test_kill_process(pid),
        // Its own number it need not know for that, which a policy may deny it.
        None => test_kill_current_process_group(),
    }
    .map(|()| 0)
}

/// Looks through all of `/proc` but for the prober itself, which has the word
/// among its own arguments.
pub(crate) fn find(word: &[u8]) -> Outcome {
    match myself() {
        Ok(myself) => find_but(myself, word).into(),
        Err(errno) => Outcome::not_tried(errno),
    }
}

/// Its own number as `/proc` has it, whether or not a policy denies getpid(2).
fn myself() -> core::result::Result<i32, Errno> {
    let mut target = [0; 16];
    let length = readlinkat_raw(CWD, c"/proc/self", target.as_mut_slice())?;
    target.get(..length).and_then(number).ok_or(Errno::SRCH)
}

fn find_but(myself: i32, word: &[u8]) -> Result {
    let mut found = 0;
    files::each_name(&files::open_to_read(b"/proc")?, |name| {
        let task = number(name).filter(|task| *task != myself);
        if let Some(task) = task
            && has_word(name, word).unwrap_or(false)
        {
            found = u64::from(task.unsigned_abs());
        }
    })?;
    match found {
        0 => Err(Errno::SRCH),
        task => Ok(task),
    }
}

fn has_word(task: &[u8], word: &[u8]) -> core::result::Result<bool, Errno> {
    let path = Text::of(&[b"/proc/", task, b"/cmdline"])?;
    let file = files::open_to_read(path.c()?.to_bytes())?;
    let mut line = [0; 2048];
    let length = read(&file, &mut line)?;
    let line = line.get(..length).unwrap_or(&[]);
    Ok(!word.is_empty() && line.windows(word.len()).any(|part| part == word))
}

pub(crate) fn leave() -> Outcome {
    match raw::fork() {
        Ok(0) => {
            let _ = rustix::process::setsid();
            // Its parent, which ends at once, is what it runs away from.
            if matches!(raw::fork(), Ok(0)) {
                crate::limits::rest(LONGEST);
            }
            raw::exit(0)
        }
        Ok(child) => {
            raw::wait(child);
            Ok(0).into()
        }
        Err(errno) => Outcome::not_tried(errno),
    }
}

pub(crate) fn tcp(port: u64) -> Result {
    let port = u16::try_from(port).map_err(|_| Errno::INVAL)?;
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).map(|()| 0)
}

pub(crate) fn loopback() -> Result {
    let make = || {
        socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
    };
    let server = make()?;
    bind(&server, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    listen(&server, 1)?;
    let address = SocketAddrV4::try_from(getsockname(&server)?)?;
    let client = make()?;
    connect(&client, &address)?;
    let (accepted, _) = acceptfrom(&server)?;
    write(&client, b"x")?;
    read(&accepted, &mut [0]).map(|count| count as u64)
}

fn connect_unix(address: &SocketAddrUnix) -> Result {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    connect(socket.as_fd(), address).map(|()| 0)
}

pub(crate) fn unix(path: &[u8]) -> Result {
    connect_unix(&SocketAddrUnix::new(Text::of(&[path])?.c()?)?)
}

pub(crate) fn abstract_name(name: &[u8]) -> Result {
    connect_unix(&SocketAddrUnix::new_abstract_name(name)?)
}

pub(crate) fn pair() -> Result {
    let (one, other) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    write(&one, b"x")?;
    read(&other, &mut [0]).map(|count| count as u64)
}

pub(crate) fn attach(id: u64) -> Result {
    let id = i32::try_from(id).map_err(|_| Errno::INVAL)?;
    raw::attach_segment(id).map(|()| 0)
}

pub(crate) fn segment() -> Result {
    let id = raw::make_segment()?;
    raw::remove_segment(id).map(|()| 0)
}

/// Removed at once, it stays for as long as this process has it attached, and
/// its id works until then; shmctl(2).
pub(crate) fn hold_segment() -> Result {
    let id = raw::make_segment()?;
    let attached = raw::attach_segment(id);
    raw::remove_segment(id)?;
    attached?;
    u64::try_from(id).map_err(|_| Errno::INVAL)
}
