//! Tasks as they are seen from the machine's side, by /proc.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

/// Users, groups and further groups of a task, as the machine numbers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Real, effective, saved and file-system user.
    pub users: Vec<u32>,
    /// Real, effective, saved and file-system group.
    pub groups: Vec<u32>,
    /// Supplementary groups.
    pub further: Vec<u32>,
}

/// The ids of a task, while it lives.
#[must_use]
pub fn ids(pid: i32) -> Option<Ids> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(
            line.split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect(),
        )
    };
    Some(Ids {
        users: numbers("Uid:")?,
        groups: numbers("Gid:")?,
        further: numbers("Groups:")?,
    })
}

/// A task's command line with spaces, empty where it has none.
#[must_use]
pub fn command_line(pid: i32) -> String {
    fs::read(format!("/proc/{pid}/cmdline"))
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .unwrap_or_default()
}

/// State and parent of a task; proc_pid_stat(5).
fn state(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

fn all() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether a task is there and has not ended.
#[must_use]
pub fn alive(pid: i32) -> bool {
    state(pid).is_some_and(|(state, _)| !['Z', 'X'].contains(&state))
}

/// Children of a task, ended ones too.
#[must_use]
pub fn children(pid: i32) -> Vec<i32> {
    all()
        .filter(|child| state(*child).is_some_and(|(_, parent)| parent == pid))
        .collect()
}

/// All tasks below a task, parents first.
#[must_use]
pub fn descendants(pid: i32) -> Vec<i32> {
    let mut found = children(pid);
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let below = children(*parent);
        found.extend(below);
        next += 1;
    }
    found
}

/// A task below `pid` whose command line has `word`.
#[must_use]
pub fn task_with_word(pid: i32, word: &str) -> Option<i32> {
    descendants(pid)
        .into_iter()
        .find(|task| command_line(*task).contains(word))
}

/// Whether a task is the first of a pid namespace below the machine's.
#[must_use]
pub fn is_namespace_root(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| {
        status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .is_some_and(|line| {
                let numbers: Vec<&str> = line.split_whitespace().collect();
                numbers.len() > 1 && numbers.last() == Some(&"1")
            })
    })
}

/// Sends a signal to a task that the test started, or that is below one.
pub fn kill(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Waits until `found` has something, for a while.
///
/// # Panics
/// Where it never does.
pub fn wait_until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
