//! Attacks by a terminal that is the guest's own: what it types there, whoever
//! reads that terminal next takes for a person's words.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd, FromRawFd},
        unix::fs::OpenOptionsExt,
    },
};

use crate::{
    Verdict,
    kernel::{Arg, Try, UPPER, attempt, call, call_with, ignore, in_child, refuses, setsid},
};

/// Both ends of a new terminal; the second is this session's own.
fn terminal() -> io::Result<(File, File)> {
    let master = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open("/dev/ptmx")?;
    let at = i64::from(master.as_raw_fd());
    call(
        libc::SYS_ioctl,
        &mut [
            Arg::Number(at),
            Arg::Number(libc::TIOCSPTLCK as i64),
            Arg::In(&0_i32.to_ne_bytes()),
        ],
    )?;
    let flags = i64::from(libc::O_RDWR | libc::O_NOCTTY);
    let peer = call_with(libc::SYS_ioctl, &[at, libc::TIOCGPTPEER as i64, flags])?;
    // SAFETY: it was just opened, and nobody else owns it.
    let slave = unsafe { File::from_raw_fd(peer as i32) };
    Ok((master, slave))
}

/// The requests, as the kernel knows them and with a bit that it cuts off.
fn requests(descriptor: i64) -> Vec<Try> {
    let n_tty = 0_i32.to_ne_bytes();
    // A subcode of TIOCLINUX that does nothing to a console: TIOCL_GETFGCONSOLE.
    let code = [12_u8];
    let all: [(&str, i64, &[u8]); 3] = [
        ("TIOCSTI", libc::TIOCSTI as i64, b"x"),
        ("TIOCLINUX", libc::TIOCLINUX as i64, &code),
        ("TIOCSETD", libc::TIOCSETD as i64, &n_tty),
    ];
    all.into_iter()
        .flat_map(|(name, request, value)| {
            [
                (name.to_owned(), request),
                (format!("{name} with an upper bit"), request | UPPER),
                (format!("{name} with all of them"), request | -1 << 32),
            ]
            .map(|(what, request)| {
                attempt(
                    &what,
                    libc::SYS_ioctl,
                    &mut [
                        Arg::Number(descriptor),
                        Arg::Number(request),
                        Arg::In(value),
                    ],
                )
            })
        })
        .collect()
}

/// `steer_terminal`: types into a terminal of its own, asks it for what only
/// consoles do, and changes its line discipline; and asks each of its streams.
pub(crate) fn steer_terminal(_: &[String]) -> Verdict {
    let mut tries: Vec<Try> = (0..3).flat_map(requests).collect();
    // A session of its own can take the terminal, which typing asks for.
    let typed = in_child(|| {
        setsid()?;
        // Which comes when the other end is closed, before this end has told.
        ignore(libc::SIGHUP);
        let (_master, slave) = terminal()?;
        let at = i64::from(slave.as_raw_fd());
        call_with(libc::SYS_ioctl, &[at, libc::TIOCSCTTY as i64, 0])?;
        let reached = |answer: &io::Result<String>| !answer.as_ref().is_err_and(refuses);
        if requests(at).iter().any(|(_, answer)| reached(answer)) {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::EPERM))
        }
    });
    tries.push((
        "a terminal of its own".into(),
        typed.map(|()| "asked".into()),
    ));
    Verdict::of_calls(tries)
}
