//! A cgroup that was made: its files, that others see that its maker lives, and that
//! nothing of it stays.

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use rustix::{
    fs::{
        Access, AtFlags, FlockOperation, Mode, OFlags, accessat, flock, fstat, mkdirat, openat,
        statat, unlinkat,
    },
    io::Errno,
};

/// A cgroup whose last task has ended may be busy for so many milliseconds.
pub(super) const PATIENCE: u32 = 50;

pub(super) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);
const WRITE: OFlags = OFlags::WRONLY.union(OFlags::CLOEXEC);

/// A cgroup of this process's own; removed with this value.
#[derive(Debug)]
pub(super) struct Made {
    parent: OwnedFd,
    name: String,
    /// Held with a lock, by which others see that its maker lives.
    directory: OwnedFd,
}

impl Made {
    /// Makes one of a name that nobody knows before.
    pub(super) fn new(parent: OwnedFd, prefix: &str) -> io::Result<Self> {
        let name: String = super::super::random()?
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let name = format!("{prefix}{name}");
        // Nobody else can open it, and hold a lock on it.
        mkdirat(&parent, &name, Mode::from_raw_mode(0o700))?;
        let held = openat(&parent, &name, DIRECTORY, Mode::empty()).and_then(|directory| {
            flock(&directory, FlockOperation::NonBlockingLockShared)?;
            // Somebody may have swept it before it was locked.
            let here = fstat(&directory)?;
            let there = statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            match here.st_ino == there.st_ino {
                true => Ok(directory),
                false => Err(Errno::NOENT),
            }
        });
        match held {
            Ok(directory) => Ok(Self {
                parent,
                name,
                directory,
            }),
            Err(errno) => {
                let _ = unlinkat(&parent, &name, AtFlags::REMOVEDIR);
                Err(errno.into())
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Writes a setting, `FILE=VALUE`, and reads it back. Gives the file; none where
    /// there is none, and nothing that it would have to hold.
    pub(super) fn set<'a>(&self, setting: &'a [u8]) -> io::Result<Option<&'a str>> {
        let text = std::str::from_utf8(setting).map_err(|_| wrong())?;
        match self.change(text) {
            // Where nothing can be swapped out, nothing has to be bounded.
            Err(error)
                if text.starts_with("memory.swap.max=")
                    && error.kind() == io::ErrorKind::NotFound
                    && !swaps() =>
            {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// The same for a file that is there.
    pub(super) fn change<'a>(&self, setting: &'a str) -> io::Result<&'a str> {
        let (file, value) = setting.split_once('=').ok_or_else(wrong)?;
        self.write(file, value)?;
        let said = self.read(file)?;
        let held = match file {
            "io.max" => rates_hold(value, &said),
            // The kernel takes processors that the cgroup above has not, and goes on with others.
            "cpuset.cpus" => {
                let has = self.read("cpuset.cpus.effective")?;
                holds(value, said.trim_end()) && holds(value, has.trim_end())
            }
            // A line more for each disk that has another one.
            "io.weight" | "io.bfq.weight" => {
                said.lines().next() == Some(&format!("default {value}"))
            }
            _ => holds(value, said.trim_end()),
        };
        match held {
            true => Ok(file),
            false => Err(wrong()),
        }
    }

    pub(super) fn write(&self, file: &str, value: &str) -> io::Result<()> {
        rustix::io::write(self.open(file)?, value.as_bytes())?;
        Ok(())
    }

    /// A file of it, to be written later, when there may be no descriptor to be had.
    pub(super) fn open(&self, file: &str) -> io::Result<OwnedFd> {
        Ok(openat(&self.directory, file, WRITE, Mode::empty())?)
    }

    pub(super) fn read(&self, file: &str) -> io::Result<String> {
        let file = openat(&self.directory, file, READ, Mode::empty())?;
        io::read_to_string(fs::File::from(file))
    }

    /// A file of it is there.
    pub(super) fn has(&self, file: &str) -> bool {
        accessat(&self.directory, file, Access::EXISTS, AtFlags::empty()) != Err(Errno::NOENT)
    }

    /// A file that holds one number.
    pub(super) fn number(&self, file: &str) -> Option<u64> {
        self.read(file).ok()?.trim_end().parse().ok()
    }

    /// An event of a file was counted at least once; none where there is no such file.
    pub(super) fn has_counted(&self, file: &str, event: &str) -> Option<bool> {
        let text = self.read(file).ok()?;
        Some(field(&text, event).is_some_and(|count| count > 0))
    }

    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        self.directory.as_fd().try_clone_to_owned()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for attempt in 0..PATIENCE {
            match unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR) {
                Err(Errno::BUSY) => {
                    // Without a pid namespace a task may have got away from its first
                    // process; from here none does. Linux 5.14.
                    if attempt == 0 {
                        let _ = self.write("cgroup.kill", "1");
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(()) | Err(Errno::NOENT) => return,
                Err(error) => {
                    tracing::error!(target: "belljar", name = self.name, %error, "cannot remove a cgroup");
                    return;
                }
            }
        }
        tracing::error!(target: "belljar", name = self.name, "a cgroup stays busy, and is left");
    }
}

/// Removes what makers left that were killed: nobody holds the lock of those any more.
/// Each prefix may be below the one before.
pub(super) fn sweep(parent: &OwnedFd, prefixes: &[&str]) {
    let Ok(entries) = rustix::fs::Dir::read_from(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_of = |prefix: &&str| name.to_bytes().starts_with(prefix.as_bytes());
        if !prefixes.iter().any(is_of) {
            continue;
        }
        let Ok(directory) = openat(parent, name, DIRECTORY, Mode::empty()) else {
            continue;
        };
        if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            sweep(&directory, prefixes);
            // One with tasks stays: it is busy.
            let _ = unlinkat(parent, name, AtFlags::REMOVEDIR);
        }
    }
}

fn wrong() -> io::Error {
    Errno::INVAL.into()
}

/// Memory can be swapped out on this machine.
fn swaps() -> bool {
    let list = super::read_proc("/proc/swaps").unwrap_or_default();
    list.lines().nth(1).is_some()
}

/// Whether the kernel took what was written: numbers of bytes lose a part of a page.
fn holds(written: &str, said: &str) -> bool {
    match (written.parse::<u64>(), said.parse::<u64>()) {
        (Ok(written), Ok(said)) => said <= written && written - said < 4096,
        _ => written == said,
    }
}

/// Whether a disk's line has every rate that was written.
fn rates_hold(written: &str, said: &str) -> bool {
    let mut written = written.split(' ');
    let disk = written.next();
    let line = said.lines().find(|line| line.split(' ').next() == disk);
    line.is_some_and(|line| written.all(|rate| line.split(' ').any(|said| said == rate)))
}

/// A line of `NAME NUMBER`.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (of, value) = line.split_once(' ')?;
        (of == name).then(|| value.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_held_where_it_lost_no_more_than_a_part_of_a_page() {
        for (written, said, held) in [
            ("4096", "4096", true),
            ("5000", "4096", true),
            ("5000", "8192", false),
            ("9000", "4096", false),
            ("5000", "max", false),
            ("max", "max", true),
        ] {
            assert_eq!(holds(written, said), held, "{written} {said}");
        }
    }

    #[test]
    fn a_count_is_found_by_its_whole_name() {
        let text = "low 0\noom 2\noom_kill 3\n";
        assert_eq!(field(text, "oom"), Some(2));
        assert_eq!(field(text, "oom_kill"), Some(3));
        assert_eq!(field(text, "max"), None);
    }

    #[test]
    fn what_a_killed_maker_left_is_swept_and_what_somebody_holds_is_not() {
        let room = tempfile::tempdir().unwrap();
        let parent = || rustix::fs::open(room.path(), DIRECTORY, Mode::empty()).unwrap();
        let held = Made::new(parent(), "a-").unwrap();
        for name in ["a-left", "b-left", "b-left/a-left", "other"] {
            fs::create_dir(room.path().join(name)).unwrap();
        }
        sweep(&parent(), &["b-", "a-"]);
        let left = |name: &str| room.path().join(name).exists();
        assert!(!left("a-left") && !left("b-left") && left("other"));
        let name = held.name().to_owned();
        assert!(left(&name));
        drop(held);
        assert!(!left(&name));
    }
}
