//! The cgroup that one jar has of its own: how one is made, what it counts, and that nothing
//! of it stays.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, Mode, flock, open},
    io::Errno,
};

use super::{
    made::{DIRECTORY, Made, PATIENCE, field, sweep},
    place::{HOST, SELDOM, is_ours, tasks, words},
    shared::{SHARED, Shared, Together},
};

/// What the cgroups of jars begin with.
const PREFIX: &str = "belljar-jar-";

/// Has new cgroups there have these controllers; gives those that they had not before.
pub(super) fn enable(place: &Path, wanted: &[String]) -> io::Result<Vec<String>> {
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
    for Ready { place, enabled, .. } in ready.drain(..) {
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
    made: Made,
    place: PathBuf,
    /// The files that hold its limits: gone with their controller, which whoever owns the
    /// place can take back.
    holding: Vec<String>,
    /// What other jars of this host are in too.
    above: Option<Arc<Shared>>,
    /// How many want its tasks to stand still.
    frozen: Mutex<u32>,
}

/// A place that was made ready by this process.
struct Ready {
    place: PathBuf,
    /// What was asked for.
    has: Vec<String>,
    /// What it handed on that was not before.
    enabled: Vec<String>,
}

static READY: Mutex<Vec<Ready>> = Mutex::new(Vec::new());

/// Has new cgroups there have these controllers. Gives the place, which nobody takes
/// controllers back from while it is open.
fn ready(place: &Path, controllers: &[String]) -> io::Result<OwnedFd> {
    let parent = open(place, DIRECTORY, Mode::empty())?;
    // Without that lock, which anybody can hold who may read the directory, only a
    // trial of somebody else's takes them back.
    let _ = flock(&parent, FlockOperation::NonBlockingLockShared);
    let mut ready = READY.lock().unwrap_or_else(PoisonError::into_inner);
    match ready.iter_mut().find(|known| known.place == place) {
        Some(known) if controllers.iter().all(|name| known.has.contains(name)) => {}
        Some(known) => {
            known.enabled.extend(enable(place, controllers)?);
            known.has.extend_from_slice(controllers);
        }
        None => {
            let enabled = enable(place, controllers)?;
            sweep(&parent, &[SHARED, PREFIX]);
            ready.push(Ready {
                place: place.to_owned(),
                has: controllers.to_owned(),
                enabled,
            });
        }
    }
    Ok(parent)
}

/// A limit that a jar came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Its own.
    Own,
    /// That of all jars of this host together.
    OfAll,
    /// None of Belljar's: the machine's memory, or the limit of a cgroup above.
    Above,
}

/// A cgroup for a jar that is not planned yet, with nothing set; removed with this value,
/// and what is in it ended.
#[derive(Debug)]
pub(crate) struct EmptyCgroup {
    made: Made,
    place: PathBuf,
    controllers: Vec<String>,
}

impl EmptyCgroup {
    /// Makes one for a jar that asks for no processors of its own.
    pub(crate) fn make(place: &Path, controllers: &[String]) -> io::Result<Self> {
        let controllers: Vec<String> = controllers
            .iter()
            .filter(|name| *name != SELDOM)
            .cloned()
            .collect();
        let parent = ready(place, &controllers)?;
        let made = Made::new(parent, PREFIX)?;
        // Without it what is in one that is not wanted could not be ended; Linux 5.14.
        if !made.has("cgroup.kill") {
            return Err(Errno::NOSYS.into());
        }
        Ok(Self {
            made,
            place: place.to_owned(),
            controllers,
        })
    }

    /// What a jar's first process is made in.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        self.made.share()
    }
}

impl OwnCgroup {
    /// Makes one with these settings, `FILE=VALUE`, each read back, below one that holds
    /// what all of this host may have together.
    /// One that was made ahead is taken where it is the same.
    pub(crate) fn make(
        place: &Path,
        controllers: &[String],
        settings: &[&[u8]],
        together: &Together,
        ahead: Option<EmptyCgroup>,
    ) -> io::Result<Self> {
        let seldom = settings
            .iter()
            .any(|setting| setting.starts_with(SELDOM.as_bytes()));
        let controllers: Vec<String> = controllers
            .iter()
            .filter(|name| seldom || *name != SELDOM)
            .cloned()
            .collect();
        let same = |ahead: &EmptyCgroup| {
            together.is_empty() && ahead.place == place && ahead.controllers == controllers
        };
        if let Some(ahead) = ahead.filter(same) {
            return Self {
                made: ahead.made,
                place: ahead.place,
                holding: Vec::new(),
                above: None,
                frozen: Mutex::default(),
            }
            .with(settings);
        }
        let parent = ready(place, &controllers)?;
        let above = match together {
            [] => None,
            _ => Some(Shared::get(
                place,
                parent.try_clone()?,
                &controllers,
                together,
            )?),
        };
        let (place, parent) = match &above {
            Some(above) => (above.path(), above.open()?),
            None => (place.to_owned(), parent),
        };
        Self {
            made: Made::new(parent, PREFIX)?,
            place,
            holding: Vec::new(),
            above,
            frozen: Mutex::default(),
        }
        .with(settings)
    }

    fn with(mut self, settings: &[&[u8]]) -> io::Result<Self> {
        for setting in settings {
            self.holding
                .extend(self.made.set(setting)?.map(str::to_owned));
        }
        Ok(self)
    }

    /// Writes a setting, `FILE=VALUE`, to one that is in use, and reads it back.
    pub(crate) fn change(&self, setting: &str) -> io::Result<()> {
        self.made.change(setting).map(drop)
    }

    /// Its tasks can be had stand still; Linux 5.2.
    pub(crate) fn can_freeze(&self) -> bool {
        self.made.has("cgroup.freeze")
    }

    /// Has its tasks stand still until all that was given is dropped. They may take a moment.
    pub(crate) fn freeze(self: &Arc<Self>) -> io::Result<Frozen> {
        let file = self.made.open("cgroup.freeze")?;
        let mut frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        if *frozen == 0 {
            rustix::io::write(&file, b"1")?;
        }
        *frozen += 1;
        Ok(Frozen(Arc::clone(self), file))
    }

    /// A limit that was set, of its own or of all, holds no more: its controller was
    /// taken back.
    pub(crate) fn has_lost_a_limit(&self) -> bool {
        self.holding.iter().any(|file| !self.made.has(file))
            || self
                .above
                .as_ref()
                .is_some_and(|above| above.has_lost_a_limit())
    }

    /// What a jar's first process is made in.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        self.made.share()
    }

    /// What it has counted until now.
    pub(crate) fn counted(&self) -> Counted {
        let made = &self.made;
        let memory = made.number("memory.current").map(|current| {
            let swapped = made.number("memory.swap.current").unwrap_or(0);
            let stat = made.read("memory.stat").unwrap_or_default();
            // What the kernel takes back before it ends anybody.
            let file = field(&stat, "file").unwrap_or(0);
            let cached = file.saturating_sub(field(&stat, "shmem").unwrap_or(0));
            let reclaimable = field(&stat, "slab_reclaimable").unwrap_or(0);
            current
                .saturating_add(swapped)
                .saturating_sub(cached)
                .saturating_sub(reclaimable)
        });
        let cpu = made.read("cpu.stat").unwrap_or_default();
        let nanoseconds = |name: &str| field(&cpu, name).map(|used| used.saturating_mul(1000));
        Counted {
            memory,
            cpu: nanoseconds("usage_usec"),
            user: nanoseconds("user_usec"),
            system: nanoseconds("system_usec"),
            throttled: nanoseconds("throttled_usec"),
            tasks: made.number("pids.current"),
        }
    }

    /// Nanoseconds in which some task of it waited for what there was too little of: `cpu`,
    /// `memory`, `io`; the kernel's accounting/psi.rst.
    pub(crate) fn pressure(&self, of: &str) -> Option<u64> {
        let text = self.made.read(&format!("{of}.pressure")).ok()?;
        waited(&text)
    }

    /// The most memory that it ever had, cached files counted; Linux 5.19.
    pub(crate) fn memory_peak(&self) -> Option<u64> {
        self.made.number("memory.peak")
    }

    /// The most tasks that it ever had at once; Linux 6.1.
    pub(crate) fn tasks_peak(&self) -> Option<u64> {
        self.made.number("pids.peak")
    }

    /// What it had read from disks and written to them, all of them together; io.stat.
    pub(crate) fn io(&self) -> Option<Io> {
        // It is empty until there was any.
        self.made.read("io.stat").ok().map(|text| io(&text))
    }

    /// Page faults of every task that ever was in it, and those of them that waited for a
    /// disk; memory.stat.
    pub(crate) fn faults(&self) -> Option<(u64, u64)> {
        let stat = self.made.read("memory.stat").ok()?;
        field(&stat, "pgfault").zip(field(&stat, "pgmajfault"))
    }

    /// How many tasks of it the kernel has ended for want of memory, and whose limit that was.
    pub(crate) fn out_of_memory(&self) -> Option<(u64, Whose)> {
        let events = self.made.read("memory.events.local").ok()?;
        let killed = field(&events, "oom_kill").filter(|killed| *killed > 0)?;
        let own = field(&events, "oom").is_some_and(|times| times > 0);
        let above = self.above.as_ref();
        let whose = match own {
            true => Whose::Own,
            false if above.is_some_and(|above| above.out_of_memory()) => Whose::OfAll,
            false => Whose::Above,
        };
        Some((killed, whose))
    }

    /// A fork was refused, since there were as many tasks as it may have. Before Linux
    /// 6.11 a limit above is counted too: then there has to be none, or the most that
    /// there were has to be as many.
    pub(crate) fn out_of_tasks(&self, seen: u64) -> bool {
        let made = &self.made;
        if let Some(own) = made.has_counted("pids.events.local", "max") {
            return own;
        }
        let most = made.number("pids.peak").unwrap_or(seen);
        let full = made.number("pids.max").is_none_or(|max| most >= max);
        made.has_counted("pids.events", "max") == Some(true) && (full || !self.is_bounded_above())
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

/// What went to disks and came from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Io {
    /// Bytes.
    pub(crate) read: u64,
    /// Bytes.
    pub(crate) written: u64,
    /// How many reads.
    pub(crate) reads: u64,
    /// How many writes.
    pub(crate) writes: u64,
}

/// The sum of all lines of io.stat: a device each, and words `key=value`.
fn io(stat: &str) -> Io {
    let mut sum = Io::default();
    let words = stat.lines().flat_map(|line| line.split(' '));
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let into = match key {
            "rbytes" => &mut sum.read,
            "wbytes" => &mut sum.written,
            "rios" => &mut sum.reads,
            "wios" => &mut sum.writes,
            _ => continue,
        };
        *into = into.saturating_add(value.parse().unwrap_or(0));
    }
    sum
}

/// The total of the line `some`, in nanoseconds.
fn waited(pressure: &str) -> Option<u64> {
    let mut lines = pressure.lines();
    let some = lines.find_map(|line| line.strip_prefix("some "))?;
    let total = some
        .split(' ')
        .find_map(|word| word.strip_prefix("total="))?;
    total.parse::<u64>().ok()?.checked_mul(1000)
}

/// A cgroup whose tasks stand still, or are about to.
pub(crate) struct Frozen(Arc<OwnCgroup>, OwnedFd);

impl Frozen {
    /// All of them do.
    pub(crate) fn is_still(&self) -> bool {
        self.0.made.has_counted("cgroup.events", "frozen") == Some(true)
    }

    /// Waits until all do, or for a moment: a task that the kernel can't stop yet starts no
    /// other one either.
    pub(crate) async fn settle(&self) {
        for _ in 0..PATIENCE {
            if self.is_still() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The processes in it.
    pub(crate) fn processes(&self) -> io::Result<Vec<i32>> {
        let list = self.0.made.read("cgroup.procs")?;
        Ok(list.lines().filter_map(|line| line.parse().ok()).collect())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let mut frozen = self.0.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        *frozen = frozen.saturating_sub(1);
        if *frozen > 0 {
            return;
        }
        if let Err(error) = rustix::io::write(&self.1, b"0") {
            tracing::error!(target: "belljar", name = self.0.made.name(), %error, "cannot thaw a cgroup");
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
    /// Nanoseconds that they were kept from a processor by its limit.
    pub(crate) throttled: Option<u64>,
    /// Tasks.
    pub(crate) tasks: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_is_the_sum_over_all_disks() {
        let text = "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n\
            8:0 rbytes=1 wbytes=2 rios=3 wios=4\n\
            7:0 \n";
        let sum = Io {
            read: 1_459_201,
            written: 314_773_506,
            reads: 195,
            writes: 357,
        };
        assert_eq!(io(text), sum);
        assert_eq!(io(""), Io::default());
    }

    #[test]
    fn pressure_is_the_time_in_which_some_task_waited() {
        let text = "some avg10=0.10 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n";
        assert_eq!(waited(text), Some(1_234_000));
        assert_eq!(waited("full avg10=0.00 total=5\n"), None);
        assert_eq!(waited(""), None);
    }
}
