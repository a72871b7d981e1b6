//! Sees that a run left nothing: no process, mount, file, or object.
//!
//! The test's process is a subreaper, so that whatever outlives its parent
//! anywhere below becomes its child and is found; prctl(2).

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, Once, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, WaitOptions};

use crate::tasks;

/// Children that tests started themselves. Held while one is started, so that
/// it is never taken for an orphan.
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Starts a program as a child that belongs to a test.
///
/// # Panics
/// Where it cannot be started.
pub fn spawn(command: &mut Command) -> Child {
    become_subreaper();
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    let child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    own.insert(i32::try_from(child.id()).expect("a pid"));
    child
}

/// Runs a program that belongs to a test to its end, as [`Command::output`] does.
///
/// # Panics
/// Where it cannot be started.
pub fn output(command: &mut Command) -> Output {
    spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
        .wait_with_output()
        .expect("a child")
}

fn become_subreaper() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustix::process::set_child_subreaper(Pid::from_raw(1)).expect("a subreaper, prctl(2)");
    });
}

/// What there is before a run, to compare with what there is after it.
#[derive(Debug)]
pub struct Leftovers {
    mounts: String,
    objects: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Leftovers {
    /// Remembers the machine's state now.
    #[must_use]
    pub fn before() -> Self {
        become_subreaper();
        Self {
            mounts: mounts(),
            objects: objects(),
            files: files(),
        }
    }

    /// Waits for what is still ending, then fails for whatever is left.
    ///
    /// # Panics
    /// Where something is left behind.
    pub fn assert_none(&self) {
        let end = Instant::now() + Duration::from_secs(5);
        // What goes, and what other tests have come and go meanwhile, is not left.
        let mut left: BTreeSet<String> = self.find().into_iter().collect();
        while !left.is_empty() {
            assert!(
                Instant::now() < end,
                "left behind: {left:#?}; mounts: {}",
                mounts()
            );
            std::thread::sleep(Duration::from_millis(5));
            let now: BTreeSet<String> = self.find().into_iter().collect();
            left.retain(|name| now.contains(name));
        }
    }

    fn find(&self) -> Vec<String> {
        let mut left = orphans();
        if mounts() != self.mounts {
            left.push("mounts".to_owned());
        }
        left.extend(objects().difference(&self.objects).cloned());
        left.extend(files().difference(&self.files).cloned());
        left
    }
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("/proc/self/mountinfo")
}

/// System V objects by kind, key and id.
fn objects() -> BTreeSet<String> {
    ["shm", "msg", "sem"]
        .iter()
        .flat_map(|list| {
            let text = fs::read_to_string(format!("/proc/sysvipc/{list}")).unwrap_or_default();
            text.lines()
                .skip(1)
                .filter_map(|line| {
                    let mut fields = line.split_whitespace();
                    let (key, id) = (fields.next()?, fields.next()?);
                    Some(format!("{list} {key} {id}"))
                })
                .collect::<Vec<_>>()
        })
        // Keys of tests that run at the same time begin so: see the tests of ipc.
        .filter(|line| !line.contains(" 726"))
        .collect()
}

fn files() -> BTreeSet<String> {
    ["/tmp", "/dev/shm", "/run", "/var/tmp"]
        .iter()
        .flat_map(|place| names_of_ours(Path::new(place)))
        .collect()
}

/// Files that belljar might have made outside its state directory.
fn names_of_ours(place: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(place) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name.starts_with("belljar") || name.starts_with(".belljar"))
                // What prove makes is looked for in a directory of each of its tests.
                && !["belljar-prove-", "belljar-xtask-", "belljar-skips-", "belljar-bench-"]
                    .iter()
                    .any(|tool| name.starts_with(tool))
        })
        // The state directory: uids are leased by locks on one file there.
        .filter(|entry| entry.path() != Path::new("/run/belljar"))
        .map(|entry| entry.path().display().to_string())
        .collect()
}

/// Children of this process that no test started; those that have ended are
/// reaped on the way.
fn orphans() -> Vec<String> {
    let own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    tasks::children(std::process::id() as i32)
        .into_iter()
        .filter(|pid| !own.contains(pid))
        .map(|pid| {
            let line = tasks::command_line(pid);
            // One that has ended counts this once: what was below it comes here only now.
            let reaped = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
            match reaped {
                Ok(Some(_)) | Err(_) => format!("process {pid}, ended"),
                Ok(None) => format!("process {pid}: {line}"),
            }
        })
        .collect()
}
