//! The prober's program, and what the machine tells of a task and of what can be
//! opened: all that `prove` asks of the system besides launches.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        linux::net::SocketAddrExt as _,
        unix::{
            net::{SocketAddr, UnixListener},
            process::CommandExt as _,
        },
    },
    path::Path,
    process::Command,
};

use rustix::{
    fs::{Access, AtFlags, CWD, FileType, Mode, OFlags},
    process::{Pid, PidfdFlags, Signal},
};

use super::files;

/// The prober's program, carried in the library.
pub(crate) const PROBER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/prober.bin"));

/// The prober, to be started as it is, without a jar.
#[derive(Debug)]
pub(crate) struct Prober(OwnedFd);

impl Prober {
    /// Puts it where it can be started from.
    pub(crate) fn new() -> io::Result<Self> {
        files::program("belljar-prober", PROBER).map(Self)
    }

    /// A start of it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        command.arg0("belljar-prober");
        command
    }
}

/// What the machine says of a process; proc_pid_status(5), proc_pid_stat(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) pid: i32,
    /// Real, effective, saved, of the file system.
    pub(crate) uids: Vec<u32>,
    pub(crate) gids: Vec<u32>,
    pub(crate) groups: Vec<u32>,
    /// Inheritable, permitted, effective, bounding, ambient.
    pub(crate) capabilities: Vec<u64>,
    pub(crate) no_new_privs: bool,
    pub(crate) session: i32,
    /// The device of its terminal, 0 for none.
    pub(crate) terminal: i32,
    /// When it began: with the number it is never another task's.
    pub(crate) started: u64,
}

/// What the machine says of a process now.
pub(crate) fn task(pid: i32) -> io::Result<Task> {
    let status = read(&format!("/proc/{pid}/status"))?;
    let stat = read(&format!("/proc/{pid}/stat"))?;
    parse(pid, &status, &stat).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn read(path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(64 << 10).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse(pid: i32, status: &str, stat: &str) -> Option<Task> {
    let line = |label: &str| {
        let mut lines = status.lines();
        lines.find_map(|line| line.strip_prefix(label)?.strip_prefix(':'))
    };
    let numbers = |label| -> Option<Vec<u32>> {
        let words = line(label)?.split_ascii_whitespace();
        words.map(|word| word.parse().ok()).collect()
    };
    let set = |label| u64::from_str_radix(line(label)?.trim(), 16).ok();
    let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    // The name may hold anything; nothing behind its last `)` does.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..]
        .split_ascii_whitespace()
        .collect();
    Some(Task {
        pid,
        uids: numbers("Uid")?,
        gids: numbers("Gid")?,
        groups: numbers("Groups")?,
        capabilities: sets.into_iter().map(set).collect::<Option<_>>()?,
        no_new_privs: line("NoNewPrivs")?.trim() == "1",
        // Field 3, the state, is the first here.
        session: fields.get(6 - 3)?.parse().ok()?,
        terminal: fields.get(7 - 3)?.parse().ok()?,
        started: fields.get(22 - 3)?.parse().ok()?,
    })
}

/// The processes right below another.
pub(crate) fn children(pid: i32) -> io::Result<Vec<i32>> {
    let list = read(&format!("/proc/{pid}/task/{pid}/children"))?;
    let words = list.split_ascii_whitespace();
    Ok(words.filter_map(|word| word.parse().ok()).collect())
}

/// Whether this very process still runs.
pub(crate) fn still_runs(seen: &Task) -> bool {
    let stat = read(&format!("/proc/{}/stat", seen.pid)).unwrap_or_default();
    let Some(end) = stat.rfind(')') else {
        return false;
    };
    let fields: Vec<&str> = stat[end + 1..].split_ascii_whitespace().collect();
    let same = fields.get(22 - 3).and_then(|word| word.parse().ok()) == Some(seen.started);
    // What only waits to be waited for does not run.
    same && !matches!(fields.first(), Some(&"Z" | &"X"))
}

/// Ends this very process.
pub(crate) fn end(seen: &Task) {
    let handle = Pid::from_raw(seen.pid)
        .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    // Looked at again with the handle in hand, it can't be another.
    if let Some(handle) = handle
        && still_runs(seen)
    {
        // It may end by itself meanwhile, which is as well.
        let _ = rustix::process::pidfd_send_signal(handle, Signal::KILL);
    }
}

/// Whether this process can open something for reading, and there is something
/// in it; it never waits for it.
pub(crate) fn can_read(path: &str) -> bool {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else {
        return false;
    };
    match rustix::fs::fstat(&file).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        Ok(FileType::Directory) => {
            fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
        }
        Ok(FileType::RegularFile) => rustix::io::read(&file, &mut [0; 1]) == Ok(1),
        Ok(_) => true,
        Err(_) => false,
    }
}

/// Whether this process can open something for writing. Nothing is written.
pub(crate) fn can_write(path: &str) -> bool {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).is_ok()
}

/// Whether this process can make files in a directory.
pub(crate) fn can_make_files(directory: &Path) -> bool {
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::accessat(CWD, directory, wanted, AtFlags::EACCESS).is_ok()
}

/// Whether everybody can pass through a directory and all above it.
pub(crate) fn is_open_to_all(directory: &str) -> bool {
    let mut paths = Path::new(directory).ancestors();
    paths.all(|path| rustix::fs::stat(path).is_ok_and(|stat| stat.st_mode & 0o001 != 0))
}

/// Listens at an abstract name; unix(7).
pub(crate) fn listen_by_name(name: &str) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

/// A descriptor that every program inherits which is started meanwhile.
pub(crate) fn inheritable() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        "/dev/null",
        OFlags::RDONLY,
        Mode::empty(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_read_whatever_its_name_is() {
        let status = "Name:\tUid:\\n\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \n\
            CapInh:\t0\nCapPrm:\t00000000a80425fb\nCapEff:\t0\nCapBnd:\t1\nCapAmb:\t0\nNoNewPrivs:\t1\n";
        let stat = "7 (a) S 1 1\n9 (b)) R 42 1 77 34816 -1 4194560 1 2 3 4 100 20 300 4000 20 0 7 0 555 1 1";
        assert_eq!(
            parse(7, status, stat),
            Some(Task {
                pid: 7,
                uids: vec![1, 2, 3, 4],
                gids: vec![5, 6, 7, 8],
                groups: vec![9, 10],
                capabilities: vec![0, 0xa804_25fb, 0, 1, 0],
                no_new_privs: true,
                session: 77,
                terminal: 34816,
                started: 555,
            })
        );
        assert_eq!(parse(7, "", stat), None);
        assert_eq!(parse(7, status, "7 (a) S"), None);
    }

    #[test]
    fn this_process_is_seen_as_it_is() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let seen = task(pid).unwrap();
        assert_eq!(seen.uids[1], rustix::process::geteuid().as_raw());
        assert!(still_runs(&seen));
        let other = Task {
            started: seen.started + 1,
            ..seen
        };
        assert!(!still_runs(&other));
    }
}
