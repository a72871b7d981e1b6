//! The cgroup that one jar has of its own: where such can be made, how one is made,
//! what it counts, and that nothing of it stays.

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    fs::{
        Access, AtFlags, CWD, FlockOperation, Mode, OFlags, accessat, flock, fstat, mkdirat, open,
        openat, statat, unlinkat,
    },
    io::Errno,
};

use super::{Place, controllers};

/// Controllers that jars are held by, where they are to be had.
const WANTED: [&str; 4] = ["memory", "pids", "cpu", "io"];

/// What the cgroups of jars begin with.
const PREFIX: &str = "belljar-jar-";

/// The cgroup that the host and its launcher are moved to, where they are in the way.
const HOST: &str = "belljar-host";

/// A cgroup whose last task has ended may be busy for so many milliseconds.
const PATIENCE: u32 = 50;

/// Where cgroups of jars can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) place: PathBuf,
    pub(crate) controllers: Vec<String>,
}

/// Why none can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// No cgroup of version 2 is mounted, or the caller's is not shown.
    NotShown,
    /// It is mounted read-only.
    ReadOnly,
    /// It belongs to somebody else.
    NotAllowed(PathBuf),
    /// It is systemd's, which has not delegated it.
    Managed(PathBuf),
}

/// Looks for the place, changing nothing: the caller's own cgroup, or the nearest
/// above it that may be used and has more.
pub(crate) fn find(place: &Place) -> Result<Found, Missing> {
    let (Some(mount), Some(own)) = (&place.mount, &place.own) else {
        return Err(Missing::NotShown);
    };
    let systemd = Path::new("/run/systemd/system").exists();
    let mut best: Option<Found> = None;
    let mut missing = Missing::NotShown;
    for at in own.ancestors().take_while(|at| at.starts_with(mount)) {
        match may_be_used(at, mount, systemd) {
            Ok(()) => {}
            Err(why) => {
                missing = why;
                break;
            }
        }
        let has = to_be_had(at, at == own);
        let more = best
            .as_ref()
            .is_none_or(|best| has.len() > best.controllers.len());
        if more {
            best = Some(Found {
                place: at.to_owned(),
                controllers: has,
            });
        }
    }
    best.ok_or(missing)
}

fn may_be_used(at: &Path, mount: &Path, systemd: bool) -> Result<(), Missing> {
    for file in [at.to_owned(), at.join("cgroup.procs")] {
        match accessat(CWD, &file, Access::WRITE_OK, AtFlags::EACCESS) {
            Ok(()) => {}
            Err(Errno::ROFS) => return Err(Missing::ReadOnly),
            Err(_) => return Err(Missing::NotAllowed(at.to_owned())),
        }
    }
    // To others a cgroup is delegated by giving it to them.
    let others = !rustix::process::geteuid().is_root();
    let delegated = || {
        at.ancestors()
            .take_while(|at| at.starts_with(mount))
            .any(is_delegated)
    };
    match others || !systemd || delegated() {
        true => Ok(()),
        false => Err(Missing::Managed(at.to_owned())),
    }
}

/// systemd's mark on what is its unit's own to arrange; systemd.resource-control(5).
fn is_delegated(at: &Path) -> bool {
    ["trusted.delegate", "user.delegate"].iter().any(|name| {
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(at, *name, value.as_mut_slice());
        length.is_ok_and(|length| value.get(..length) == Some(b"1"))
    })
}

/// Controllers that a new cgroup in this one has, or can be given.
fn to_be_had(at: &Path, own: bool) -> Vec<String> {
    let enabled = words(at, "cgroup.subtree_control");
    // Of a cgroup with tasks only the root hands controllers on.
    let free = !at.join("cgroup.type").exists() || tasks(at).is_empty() || (own && is_ours(at));
    let known = controllers(at);
    WANTED
        .iter()
        .map(|name| (*name).to_owned())
        .filter(|name| enabled.contains(name) || (free && known.contains(name)))
        .collect()
}

fn words(at: &Path, file: &str) -> Vec<String> {
    let text = fs::read_to_string(at.join(file)).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

fn tasks(at: &Path) -> Vec<u32> {
    let text = fs::read_to_string(at.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Nobody is in it but this process and its children.
fn is_ours(at: &Path) -> bool {
    let own = std::process::id();
    let is_child = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // `pid (name) state ppid`, where the name may hold anything; proc_pid_stat(5).
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        rest.split(' ').nth(1) == Some(own.to_string().as_str())
    };
    tasks(at).into_iter().all(|pid| pid == own || is_child(pid))
}

/// Has new cgroups there have these controllers; gives those that they had not before.
fn enable(place: &Path, wanted: &[String]) -> io::Result<Vec<String>> {
    let enabled = words(place, "cgroup.subtree_control");
    let missing: Vec<String> = wanted
        .iter()
        .filter(|name| !enabled.contains(name))
        .cloned()
        .collect();
    for name in &missing {
        let hand_on = || fs::write(place.join("cgroup.subtree_control"), format!("+{name}"));
        match hand_on() {
            Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
                make_way(place)?;
                hand_on()?;
            }
            other => other?,
        }
    }
    Ok(missing)
}

/// Takes back what this process handed on, where nothing has it: after a trial, which
/// leaves nothing. A jar of anybody's would lose its limits by that, so that a launch
/// never does it.
pub(crate) fn take_back() {
    let mut ready = READY.lock().unwrap_or_else(PoisonError::into_inner);
    for Ready { place, enabled } in ready.drain(..) {
        let Ok(directory) = open(&place, DIRECTORY, Mode::empty()) else {
            continue;
        };
        // Whoever makes a jar there holds the other kind of lock.
        let alone = flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok();
        let others = fs::read_dir(&place)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        if alone && !others {
            for name in enabled {
                // What stays handed on does no harm.
                let _ = fs::write(place.join("cgroup.subtree_control"), format!("-{name}"));
            }
        }
    }
}

/// Moves this process and its children out of a cgroup that is theirs alone, into one
/// below it: tasks and controllers go together in the root alone.
fn make_way(place: &Path) -> io::Result<()> {
    if !is_ours(place) {
        return Err(Errno::BUSY.into());
    }
    let below = place.join(HOST);
    match fs::create_dir(&below) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for pid in tasks(place) {
        match fs::write(below.join("cgroup.procs"), pid.to_string()) {
            // It has ended meanwhile.
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
            other => other?,
        }
    }
    Ok(())
}

/// A jar's cgroup; removed with this value.
#[derive(Debug)]
pub(crate) struct OwnCgroup {
    place: PathBuf,
    parent: OwnedFd,
    name: String,
    /// The files that hold its limits: gone with their controller, which whoever owns the
    /// place can take back.
    holding: Vec<String>,
    /// Held with a lock, by which others see that its maker lives.
    directory: OwnedFd,
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A place that was made ready by this process.
struct Ready {
    place: PathBuf,
    /// What it handed on that was not before.
    enabled: Vec<String>,
}

static READY: Mutex<Vec<Ready>> = Mutex::new(Vec::new());

impl OwnCgroup {
    /// Makes one with these settings, `FILE=VALUE`, each read back.
    pub(crate) fn make(
        place: &Path,
        controllers: &[String],
        settings: &[&[u8]],
    ) -> io::Result<Self> {
        let parent = open(place, DIRECTORY, Mode::empty())?;
        // Nobody takes controllers back meanwhile. Without that lock, which anybody can
        // hold who may read the directory, only a trial of somebody else's does.
        let _ = flock(&parent, FlockOperation::NonBlockingLockShared);
        let mut ready = READY.lock().unwrap_or_else(PoisonError::into_inner);
        if !ready.iter().any(|known| known.place == place) {
            let enabled = enable(place, controllers)?;
            sweep(&parent);
            ready.push(Ready {
                place: place.to_owned(),
                enabled,
            });
        }
        drop(ready);
        let mut made = Self::new(place, parent)?;
        for setting in settings {
            made.set(setting)?;
        }
        Ok(made)
    }

    fn new(place: &Path, parent: OwnedFd) -> io::Result<Self> {
        let name: String = super::super::random()?
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let name = format!("{PREFIX}{name}");
        // Nobody else can open it, and hold a lock on it.
        mkdirat(&parent, &name, Mode::from_raw_mode(0o700))?;
        let held = openat(&parent, &name, DIRECTORY, Mode::empty()).and_then(|directory| {
            flock(&directory, FlockOperation::NonBlockingLockShared)?;
            // Somebody may have swept it before it was locked.
            let (here, there) = (fstat(&directory)?, statat(&parent, &name, NO_LINK)?);
            match here.st_ino == there.st_ino {
                true => Ok(directory),
                false => Err(Errno::NOENT),
            }
        });
        match held {
            Ok(directory) => Ok(Self {
                place: place.to_owned(),
                parent,
                name,
                holding: Vec::new(),
                directory,
            }),
            Err(errno) => {
                let _ = unlinkat(&parent, &name, AtFlags::REMOVEDIR);
                Err(errno.into())
            }
        }
    }

    fn set(&mut self, setting: &[u8]) -> io::Result<()> {
        let wrong = || io::Error::from(Errno::INVAL);
        let text = std::str::from_utf8(setting).map_err(|_| wrong())?;
        match self.change(text) {
            // Where nothing can be swapped out, nothing has to be bounded.
            Err(error) if text.starts_with("memory.swap.max=") && is_absent(&error) && !swaps() => {
                Ok(())
            }
            Err(error) => Err(error),
            Ok(file) => {
                self.holding.push(file.to_owned());
                Ok(())
            }
        }
    }

    /// Writes a setting, `FILE=VALUE`, and reads it back. Gives the file.
    pub(crate) fn change<'a>(&self, setting: &'a str) -> io::Result<&'a str> {
        let wrong = || io::Error::from(Errno::INVAL);
        let (file, value) = setting.split_once('=').ok_or_else(wrong)?;
        self.write(file, value)?;
        let said = self.read(file)?;
        let held = match file {
            "io.max" => rates_hold(value, &said),
            _ => holds(value, said.trim_end()),
        };
        match held {
            true => Ok(file),
            false => Err(wrong()),
        }
    }

    /// Has its tasks stand still until what is given is dropped.
    pub(crate) async fn freeze(&self) -> io::Result<Frozen<'_>> {
        self.write("cgroup.freeze", "1")?;
        let frozen = Frozen(self);
        for _ in 0..PATIENCE {
            let events = self.read("cgroup.events").unwrap_or_default();
            if field(&events, "frozen") == Some(1) {
                break;
            }
            // A task that the kernel can't stop yet starts no other one either.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(frozen)
    }

    /// A limit that was set holds no more: its controller was taken back.
    pub(crate) fn has_lost_a_limit(&self) -> bool {
        self.holding.iter().any(|file| {
            let there = accessat(&self.directory, file, Access::EXISTS, AtFlags::empty());
            there == Err(Errno::NOENT)
        })
    }

    fn write(&self, file: &str, value: &str) -> io::Result<()> {
        let file = openat(&self.directory, file, WRITE, Mode::empty())?;
        rustix::io::write(&file, value.as_bytes())?;
        Ok(())
    }

    /// What one of its files says.
    pub(crate) fn read(&self, file: &str) -> io::Result<String> {
        let file = openat(&self.directory, file, READ, Mode::empty())?;
        io::read_to_string(fs::File::from(file))
    }

    /// What a jar's first process is made in.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        self.directory.as_fd().try_clone_to_owned()
    }

    /// What it has counted until now.
    pub(crate) fn counted(&self) -> Counted {
        let number = |file: &str| self.read(file).ok()?.trim_end().parse::<u64>().ok();
        let memory = number("memory.current").map(|current| {
            let swapped = number("memory.swap.current").unwrap_or(0);
            let stat = self.read("memory.stat").unwrap_or_default();
            // What the kernel takes back before it ends anybody.
            let file = field(&stat, "file").unwrap_or(0);
            let cached = file.saturating_sub(field(&stat, "shmem").unwrap_or(0));
            let reclaimable = field(&stat, "slab_reclaimable").unwrap_or(0);
            current
                .saturating_add(swapped)
                .saturating_sub(cached)
                .saturating_sub(reclaimable)
        });
        let cpu = self.read("cpu.stat").unwrap_or_default();
        let nanoseconds = |name: &str| field(&cpu, name).map(|used| used.saturating_mul(1000));
        Counted {
            memory,
            cpu: nanoseconds("usage_usec"),
            user: nanoseconds("user_usec"),
            system: nanoseconds("system_usec"),
            tasks: number("pids.current"),
        }
    }

    /// The most memory that it ever had, cached files counted; Linux 5.19.
    pub(crate) fn memory_peak(&self) -> Option<u64> {
        self.read("memory.peak").ok()?.trim_end().parse().ok()
    }

    /// The kernel ended tasks of it, since it came to its own limit.
    pub(crate) fn out_of_memory(&self) -> bool {
        let events = self.read("memory.events.local").unwrap_or_default();
        let raised = |name: &str| field(&events, name).is_some_and(|count| count > 0);
        raised("oom") && raised("oom_kill")
    }

    /// A fork was refused, since there were as many tasks as it may have. Before Linux
    /// 6.11 a limit above is counted too: then there has to be none, or the most that
    /// there were has to be as many.
    pub(crate) fn out_of_tasks(&self, seen: u64) -> bool {
        let events = |file: &str| {
            let text = self.read(file).ok()?;
            Some(field(&text, "max").is_some_and(|count| count > 0))
        };
        if let Some(own) = events("pids.events.local") {
            return own;
        }
        let number = |file: &str| self.read(file).ok()?.trim_end().parse::<u64>().ok();
        let most = number("pids.peak").unwrap_or(seen);
        let full = number("pids.max").is_none_or(|max| most >= max);
        events("pids.events") == Some(true) && (full || !self.is_bounded_above())
    }

    /// A cgroup above may have fewer tasks than this one by itself.
    fn is_bounded_above(&self) -> bool {
        let mut above = Some(self.place.as_path());
        while let Some(at) = above {
            match fs::read_to_string(at.join("pids.max")) {
                Ok(most) if most.trim_end() == "max" => {}
                Ok(_) => return true,
                // Only the root of all has no such file.
                Err(_) => return at.join("cgroup.type").exists(),
            }
            above = at.parent();
        }
        true
    }
}

/// A cgroup whose tasks stand still.
pub(crate) struct Frozen<'a>(&'a OwnCgroup);

impl Frozen<'_> {
    /// The processes in it.
    pub(crate) fn processes(&self) -> io::Result<Vec<i32>> {
        let list = self.0.read("cgroup.procs")?;
        Ok(list.lines().filter_map(|line| line.parse().ok()).collect())
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.write("cgroup.freeze", "0") {
            tracing::error!(target: "belljar", name = self.0.name, %error, "cannot thaw a cgroup");
        }
    }
}

impl Drop for OwnCgroup {
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

const NO_LINK: AtFlags = AtFlags::SYMLINK_NOFOLLOW;
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);
const WRITE: OFlags = OFlags::WRONLY.union(OFlags::CLOEXEC);

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
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
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (of, value) = line.split_once(' ')?;
        (of == name).then(|| value.parse().ok()).flatten()
    })
}

/// Removes what makers left that were killed: nobody holds the lock of those any more.
fn sweep(parent: &OwnedFd) {
    let Ok(entries) = rustix::fs::Dir::read_from(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.to_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let Ok(directory) = openat(parent, name, DIRECTORY, Mode::empty()) else {
            continue;
        };
        if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // One with tasks stays: it is busy.
            let _ = unlinkat(parent, name, AtFlags::REMOVEDIR);
        }
    }
}

/// What a cgroup has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Bytes that the kernel can't take back.
    pub(crate) memory: Option<u64>,
    /// Nanoseconds of processor time of every task that ever was in it.
    pub(crate) cpu: Option<u64>,
    /// Of these, in programs.
    pub(crate) user: Option<u64>,
    /// Of these, in the kernel.
    pub(crate) system: Option<u64>,
    /// Tasks.
    pub(crate) tasks: Option<u64>,
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
        let parent = open(room.path(), DIRECTORY, Mode::empty()).unwrap();
        let held = OwnCgroup::new(room.path(), parent.try_clone().unwrap()).unwrap();
        for name in ["belljar-jar-left", "other"] {
            fs::create_dir(room.path().join(name)).unwrap();
        }
        sweep(&parent);
        let left = |name: &str| room.path().join(name).exists();
        assert!(!left("belljar-jar-left") && left("other"));
        assert!(left(&held.name));
        let name = held.name.clone();
        drop(held);
        assert!(!left(&name));
    }
}
