//! Attacks through descriptors that were inherited.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::FileTypeExt,
    path::Path,
};

use crate::{
    Verdict,
    kernel::{Arg, call},
    rights,
};

/// `find_descriptors [NAME]`: finds an open descriptor besides the three
/// streams, a stream that is no pipe, or a way to file NAME by one of them.
pub(crate) fn find_descriptors(args: &[String]) -> Verdict {
    let listing = match fs::read_dir("/proc/self/fd") {
        Ok(listing) => listing,
        Err(error) => return Verdict::Stopped(error.to_string()),
    };
    let open: Vec<(String, String)> = listing
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            Some((
                entry.file_name().to_string_lossy().into_owned(),
                target.to_string_lossy().into_owned(),
            ))
        })
        // The listing's own descriptor.
        .filter(|(_, target)| !(target.starts_with("/proc/") && target.ends_with("/fd")))
        .collect();
    for (number, target) in &open {
        if let Some(name) = args.first() {
            for way in ["", "..", "../.."] {
                let path = Path::new("/proc/self/fd").join(number).join(way).join(name);
                if fs::read(&path).is_ok() {
                    return Verdict::Escaped(format!("read {}", path.display()));
                }
            }
        }
        if !["0", "1", "2"].contains(&number.as_str()) {
            return Verdict::Escaped(format!("descriptor {number} is {target}"));
        }
        if !target.starts_with("pipe:") {
            return Verdict::Escaped(format!("stream {number} is {target}"));
        }
    }
    Verdict::Stopped(format!("{open:?}"))
}

/// `reopen_stdin`: changes the file behind standard input.
pub(crate) fn reopen_stdin(_: &[String]) -> Verdict {
    let kind = match fs::metadata("/proc/self/fd/0") {
        Ok(metadata) => metadata.file_type(),
        Err(error) => return Verdict::Stopped(error.to_string()),
    };
    if kind.is_fifo() {
        return Verdict::Stopped("standard input is a pipe".into());
    }
    Verdict::of_tries([
        (
            "reopen".to_owned(),
            OpenOptions::new()
                .append(true)
                .open("/proc/self/fd/0")
                .and_then(|mut file| io::Write::write_all(&mut file, b"written by a guest"))
                .map(|()| "wrote to the operator's file".to_owned()),
        ),
        (
            "fchmod".into(),
            call(libc::SYS_fchmod, &mut [Arg::Number(0), Arg::Number(0o666)])
                .map(|_| "changed its mode".into()),
        ),
    ])
}

/// `receive_descriptors NAME`: takes a descriptor that waits on one of its
/// streams, and reads file NAME below it.
pub(crate) fn receive_descriptors(args: &[String]) -> Verdict {
    Verdict::of_tries((0..3).map(|stream| {
        let read = rights::receive(stream).and_then(|found| rights::read_below(&found, &args[0]));
        (format!("stream {stream}"), read)
    }))
}

/// `inject_terminal`: types into the operator's terminal.
pub(crate) fn inject_terminal(_: &[String]) -> Verdict {
    let mut tries = Vec::new();
    for descriptor in 0..3 {
        // The upper half of the request is cut off by the kernel, and was by some filters not.
        for request in [libc::TIOCSTI as i64, libc::TIOCSTI as i64 | 1 << 32] {
            let mut letter = *b"x";
            tries.push((
                format!("TIOCSTI on {descriptor}"),
                call(
                    libc::SYS_ioctl,
                    &mut [
                        Arg::Number(descriptor),
                        Arg::Number(request),
                        Arg::Out(&mut letter),
                    ],
                )
                .map(|_| "typed".to_owned()),
            ));
        }
    }
    tries.push((
        "/dev/tty".into(),
        OpenOptions::new()
            .write(true)
            .open("/dev/tty")
            .map(|_| "opened".into()),
    ));
    Verdict::of_tries(tries)
}
