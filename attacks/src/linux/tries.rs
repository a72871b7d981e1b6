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
/// `connect=ADDRESS`, `call=NUMBER,ARGUMENT…`, `project=PATH` or `project=PATH,NUMBER`, which
/// puts it in that project of its file system, `quota=PATH,NUMBER` or `quota=PATH,NUMBER,KIB`,
/// which bounds what a project takes. One line an answer: `ok` and what
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
            "project" => project(about),
            "quota" => quota(about),
            other => panic!("no such question: {other}"),
        };
        match came {
            Ok(read) => writeln!(out, "ok {}", read.escape_debug())?,
            Err(error) => writeln!(out, "errno {}", error.raw_os_error().unwrap_or(0))?,
        }
    }
    Ok(())
}

/// The project that a file or directory is in, after it was put there where a number says so;
/// ioctl_xfs_fsgetxattr(2).
fn project(about: &str) -> io::Result<String> {
    use std::os::fd::AsRawFd as _;
    const FSGETXATTR: i64 = 0x801c_581f;
    const FSSETXATTR: i64 = 0x401c_5820;
    /// Words of `struct fsxattr`.
    const WORDS: usize = 7;
    const PROJECT: usize = 3;
    /// `FS_XFLAG_PROJINHERIT`
    const INHERITS: u32 = 0x200;
    let (path, wanted) = match about.split_once(',') {
        Some((path, number)) => (path, Some(number.parse::<u32>().expect("a number"))),
        None => (about, None),
    };
    let file = File::open(path)?;
    let mut words = [0u32; WORDS];
    let descriptor = i64::from(file.as_raw_fd());
    let at = words.as_mut_ptr() as i64;
    kernel::call_with(libc::SYS_ioctl, &[descriptor, FSGETXATTR, at])?;
    if let Some(wanted) = wanted {
        words[PROJECT] = wanted;
        if file.metadata()?.is_dir() {
            words[0] |= INHERITS;
        }
        kernel::call_with(libc::SYS_ioctl, &[descriptor, FSSETXATTR, at])?;
    }
    Ok(words[PROJECT].to_string())
}

/// The KiB that a project may take, and the number of its files, 0 for any; quotactl(2).
fn quota(about: &str) -> io::Result<String> {
    use std::os::fd::AsRawFd as _;
    const PROJECTS: i64 = 2;
    let words: Vec<&str> = about.split(',').collect();
    let file = File::open(words[0])?;
    let number: i64 = words[1].parse().expect("a number");
    // `struct if_dqblk`: bounds, use, bounds, use, times, and which of them are meant.
    let mut block = [0u64; 9];
    let descriptor = i64::from(file.as_raw_fd());
    let command = |command: i32| (i64::from(command) << 8) | PROJECTS;
    let at = block.as_mut_ptr() as i64;
    let ask = [descriptor, command(libc::Q_GETQUOTA), number, at];
    kernel::call_with(libc::SYS_quotactl_fd, &ask)?;
    if let Some(wanted) = words.get(2) {
        block[0] = wanted.parse().expect("a number");
        block[8] = u64::from(libc::QIF_LIMITS);
        let set = [descriptor, command(libc::Q_SETQUOTA), number, at];
        kernel::call_with(libc::SYS_quotactl_fd, &set)?;
    }
    Ok(format!("{} {}", block[0], block[3]))
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
