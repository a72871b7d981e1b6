//! A plain program that tries what it is told to and says what each came to, so
//! that answers given beforehand can be held against it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::{Command, Stdio},
};

use crate::kernel;

/// `try_all QUESTION…`: each is `read=PATH`, `write=PATH`, `exec=PATH`,
/// `connect=ADDRESS` or `call=NUMBER,ARGUMENT…`. One line an answer: `ok` and what
/// was read, or `errno` and the number.
pub(crate) fn try_all(args: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for question in args {
        let (verb, about) = question.split_once('=').expect("a question");
        let came = match verb {
            "read" => read(Path::new(about)),
            "write" => write(Path::new(about)),
            "exec" => exec(about),
            "connect" => TcpStream::connect(about).map(|_| String::new()),
            "call" => call(about),
            other => panic!("no such question: {other}"),
        };
        match came {
            Ok(read) => writeln!(out, "ok {}", read.escape_debug())?,
            Err(error) => writeln!(out, "errno {}", error.raw_os_error().unwrap_or(0))?,
        }
    }
    Ok(())
}

/// The first bytes of a file, or that a directory has entries.
fn read(path: &Path) -> io::Result<String> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    if file.metadata()?.is_dir() {
        let entries = std::fs::read_dir(path)?.count();
        return Ok(format!("{entries} entries"));
    }
    let mut bytes = vec![0; 64];
    let read = file.read(&mut bytes)?;
    bytes.truncate(read);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Opens for writing, or makes what is not there; what was made is removed.
fn write(path: &Path) -> io::Result<String> {
    let open = |path: &Path, new: bool| {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create_new(new)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .mode(0o644);
        options.open(path)
    };
    if path.is_dir() {
        let inside = path.join(".tried");
        open(&inside, true)?;
        std::fs::remove_file(inside)?;
        return Ok(String::new());
    }
    match open(path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Through a link whose target is not there, what is made is the target.
            let mut options = OpenOptions::new();
            let made: File = options.write(true).create(true).mode(0o644).open(path)?;
            drop(made);
            std::fs::remove_file(path.canonicalize()?)?;
            Ok(String::new())
        }
        other => other.map(|_| String::new()),
    }
}

/// Starts a program; how it ends is its own affair.
fn exec(path: &str) -> io::Result<String> {
    let mut started = Command::new(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    started.wait()?;
    Ok(String::new())
}

fn call(about: &str) -> io::Result<String> {
    let numbers: Vec<i64> = about
        .split(',')
        .map(|number| number.parse().expect("a number"))
        .collect();
    let (number, arguments) = numbers.split_first().expect("a call's number");
    kernel::call_with(*number, arguments).map(|answer| answer.to_string())
}
