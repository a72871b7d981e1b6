//! What a jar's tasks use, by walking the tree below its pid 1 in `/proc`;
//! proc_pid_stat(5), proc_pid_statm(5), proc_pid_status(5), proc_pid_smaps(5).
//!
//! The tasks are hostile: they come and go during the walk, and choose their
//! names. So every number is a lower bound, a task counts only where its parent
//! was seen, and the walk gives way to other work after every few tasks.

use std::{collections::HashSet, fs::File, io::Read as _, sync::OnceLock};

/// The most processes that one walk looks at.
const MOST: usize = 65_536;

/// The most bytes read of one file; a list of 50,000 children has about 350 KiB.
const LONGEST: u64 = 1 << 20;

/// Bytes that hold most of these files, so that one call reads one.
const USUAL: usize = 4096;

/// Other work gets its turn after so many processes.
const SLICE: usize = 64;

/// What the tasks of a jar use, pid 1 not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Tasks; threads count.
    pub(crate) tasks: u64,
    /// Bytes of private memory with swap and the tables of pages; memory shared after a
    /// fork counts for each.
    pub(crate) private: u64,
    /// Nanoseconds of processor time of the living and of those waited for.
    pub(crate) cpu: u64,
    /// The processes that were seen, each by a task that shows its memory.
    pub(crate) processes: Vec<i32>,
}

/// Walks the tree of a jar's pid 1; none where it cannot be seen.
pub(crate) async fn sample(init: i32) -> Option<Sample> {
    let machine = machine();
    let mut buffer = Vec::with_capacity(USUAL);
    let root = read(init, "stat", &mut buffer).and_then(parse_stat)?;
    let mut sample = Sample {
        cpu: root.ticks_waited.saturating_mul(machine.tick),
        ..Sample::default()
    };
    let mut seen = HashSet::from([init]);
    let mut queue = Vec::new();
    children(init, root.threads, &mut buffer, &mut queue)?;
    let mut at = 0;
    while let Some(pid) = queue.get(at).copied() {
        at += 1;
        if at % SLICE == 0 {
            tokio::task::yield_now().await;
        }
        if at > MOST {
            break;
        }
        let Some(stat) = read(pid, "stat", &mut buffer).and_then(parse_stat) else {
            continue;
        };
        // A number may be used again by a process of the machine: that one has another parent.
        if !seen.contains(&stat.parent) || !seen.insert(pid) {
            continue;
        }
        sample.tasks += stat.threads;
        sample.cpu += (stat.ticks + stat.ticks_waited).saturating_mul(machine.tick);
        let shown = with_memory(pid, stat.threads, &mut buffer);
        sample.processes.push(shown);
        if let Some(pages) = read(shown, "statm", &mut buffer).and_then(parse_statm) {
            sample.private += pages.saturating_mul(machine.page);
        }
        if let Some(status) = read(shown, "status", &mut buffer) {
            sample.private += swapped(status).saturating_add(tables(status));
        }
        children(pid, stat.threads, &mut buffer, &mut queue);
    }
    Some(sample)
}

/// Whether every task below a jar's pid 1 is stopped, or has ended, or waits in the kernel for
/// what the kernel alone ends: it stops before it goes on. None where it cannot be seen.
pub(crate) async fn all_stopped(init: i32) -> Option<bool> {
    let mut buffer = Vec::with_capacity(USUAL);
    let root = read(init, "stat", &mut buffer).and_then(parse_stat)?;
    let mut seen = HashSet::from([init]);
    let mut queue = Vec::new();
    children(init, root.threads, &mut buffer, &mut queue)?;
    let mut at = 0;
    while let Some(pid) = queue.get(at).copied() {
        at += 1;
        if at % SLICE == 0 {
            tokio::task::yield_now().await;
        }
        let Some(stat) = read(pid, "stat", &mut buffer).and_then(parse_stat) else {
            continue;
        };
        if !seen.contains(&stat.parent) || !seen.insert(pid) {
            continue;
        }
        let threads = match stat.threads {
            0 | 1 => vec![pid],
            threads => tasks(pid, threads).unwrap_or_default(),
        };
        let (mut stopped, mut waits) = (false, false);
        for thread in threads {
            let path = format!("/proc/{pid}/task/{thread}/stat");
            match read_path(&path, &mut buffer).and_then(parse_stat) {
                // One that has ended meanwhile does nothing.
                None => {}
                Some(stat) => match stat.state {
                    b'T' | b't' => stopped = true,
                    b'Z' | b'X' => {}
                    b'D' => waits = true,
                    _ => return Some(false),
                },
            }
        }
        if waits && !stopped && !read(pid, "status", &mut buffer).is_some_and(stop_pends) {
            return Some(false);
        }
        children(pid, stat.threads, &mut buffer, &mut queue);
    }
    Some(true)
}

/// Bytes of private memory with what is shared between processes counted once;
/// dear, so only asked near a limit.
pub(crate) async fn shared_once(processes: &[i32]) -> u64 {
    let mut buffer = Vec::with_capacity(USUAL);
    let mut sum = 0;
    for (at, pid) in processes.iter().enumerate() {
        if at % 8 == 7 {
            tokio::task::yield_now().await;
        }
        let part = read(*pid, "smaps_rollup", &mut buffer).and_then(proportional);
        // Where it cannot be read, the larger number is the safe one.
        sum += part.unwrap_or_else(|| {
            read(*pid, "statm", &mut buffer)
                .and_then(parse_statm)
                .map_or(0, |pages| pages * machine().page)
        });
        sum += read(*pid, "status", &mut buffer).map_or(0, tables);
    }
    sum
}

/// What does not change while the machine runs.
struct Machine {
    page: u64,
    tick: u64,
}

fn machine() -> &'static Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    MACHINE.get_or_init(|| Machine {
        page: u64::try_from(rustix::param::page_size()).unwrap_or(4096),
        tick: 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1),
    })
}

fn read<'a>(pid: i32, file: &str, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    read_path(&format!("/proc/{pid}/{file}"), buffer)
}

fn read_path<'a>(path: &str, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    buffer.clear();
    File::open(path)
        .and_then(|file| file.take(LONGEST).read_to_end(buffer))
        .ok()?;
    Some(buffer)
}

/// A task of the process that shows its memory. A first thread that has ended
/// shows none while the others go on, which would be a place to hide.
fn with_memory(pid: i32, threads: u64, buffer: &mut Vec<u8>) -> i32 {
    let mut shows = |task| read(task, "statm", buffer).is_some_and(|text| !text.starts_with(b"0 "));
    if threads <= 1 || shows(pid) {
        return pid;
    }
    let tasks = tasks(pid, threads).unwrap_or_default();
    tasks.into_iter().find(|task| shows(*task)).unwrap_or(pid)
}

/// Adds the children of every thread of a process.
fn children(pid: i32, threads: u64, buffer: &mut Vec<u8>, queue: &mut Vec<i32>) -> Option<()> {
    if threads <= 1 {
        let list = read_path(&format!("/proc/{pid}/task/{pid}/children"), buffer)?;
        queue.extend(parse_children(list).take(MOST));
        return Some(());
    }
    for tid in tasks(pid, threads)? {
        if queue.len() >= 2 * MOST {
            break;
        }
        if let Some(list) = read_path(&format!("/proc/{pid}/task/{tid}/children"), buffer) {
            queue.extend(parse_children(list).take(MOST));
        }
    }
    Some(())
}

/// The threads of a process. The kernel's listing may skip some while others
/// end, so it is read again where it has fewer than there should be.
fn tasks(pid: i32, threads: u64) -> Option<Vec<i32>> {
    let mut most = Vec::new();
    for _ in 0..3 {
        let listed: Vec<i32> = std::fs::read_dir(format!("/proc/{pid}/task"))
            .ok()?
            .take(MOST)
            .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        if listed.len() > most.len() {
            most = listed;
        }
        if most.len() as u64 >= threads {
            break;
        }
    }
    Some(most)
}

fn parse_children(list: &[u8]) -> impl Iterator<Item = i32> + '_ {
    list.split(|byte| byte.is_ascii_whitespace())
        .filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: u8,
    parent: i32,
    ticks: u64,
    ticks_waited: u64,
    threads: u64,
}

/// Reads `/proc/PID/stat`. The name in it is the plugin's: it may hold spaces,
/// newlines and `)`, but nothing behind it does.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Field 3, the state, is the first here.
    let number = |field: usize| fields.get(field - 3)?.parse::<i64>().ok();
    let unsigned = |field| number(field).map(|value| u64::try_from(value).unwrap_or(0));
    Some(Stat {
        state: fields.first()?.bytes().next()?,
        parent: i32::try_from(number(4)?).ok()?,
        ticks: unsigned(14)?.saturating_add(unsigned(15)?),
        ticks_waited: unsigned(16)?.saturating_add(unsigned(17)?),
        threads: unsigned(20)?,
    })
}

/// Private pages: resident without what is backed by files or shared.
fn parse_statm(text: &[u8]) -> Option<u64> {
    let mut words = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
    let resident: u64 = words.nth(1)?.parse().ok()?;
    let shared: u64 = words.next()?.parse().ok()?;
    Some(resident.saturating_sub(shared))
}

/// Bytes behind a label at the start of a line.
fn labelled(text: &[u8], label: &[u8]) -> Option<u64> {
    let line = text
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(label))?;
    let number = std::str::from_utf8(line).ok()?.trim().strip_suffix("kB")?;
    number.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// SIGSTOP waits to be taken by one of its threads.
fn stop_pends(status: &[u8]) -> bool {
    const STOP: u64 = 1 << (19 - 1);
    [b"ShdPnd:".as_slice(), b"SigPnd:"].iter().any(|label| {
        let mut lines = status.split(|byte| *byte == b'\n');
        let line = lines.find_map(|line| line.strip_prefix(*label));
        line.and_then(|line| std::str::from_utf8(line).ok())
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .is_some_and(|mask| mask & STOP != 0)
    })
}

fn swapped(status: &[u8]) -> u64 {
    labelled(status, b"VmSwap:").unwrap_or(0)
}

/// Bytes of tables of pages. One page in use may need a table of its own, and those that are
/// only read count nowhere else, so that the size of what is mapped bounds nothing.
fn tables(status: &[u8]) -> u64 {
    labelled(status, b"VmPTE:").unwrap_or(0)
}

fn proportional(rollup: &[u8]) -> Option<u64> {
    let anonymous = labelled(rollup, b"Pss_Anon:")?;
    Some(anonymous + labelled(rollup, b"SwapPss:").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_the_fields_behind_it() {
        let stat =
            b"77 (a) S 1 1\n9 (b)) R 42 1 1 0 -1 4194560 1 2 3 4 100 20 300 4000 20 0 7 0 55 1 1";
        assert_eq!(
            parse_stat(stat),
            Some(Stat {
                state: b'R',
                parent: 42,
                ticks: 120,
                ticks_waited: 4300,
                threads: 7
            })
        );
    }

    #[test]
    fn cut_or_strange_text_is_nothing_and_no_panic() {
        for text in [
            b"".as_slice(),
            b"1 (",
            b"1 ()",
            b"1 (x) R",
            b"1 (x) R \xff 1",
            b"1 (x) R 99999999999 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        ] {
            assert_eq!(parse_stat(text), None);
        }
        assert_eq!(parse_statm(b"12 5"), None);
        assert_eq!(parse_statm(b"12 5 9 1"), Some(0));
        assert_eq!(parse_statm(b"12 5 3 1 0 2 0\n"), Some(2));
        assert_eq!(
            parse_children(b"1 22 x 333 ").collect::<Vec<_>>(),
            [1, 22, 333]
        );
    }

    #[test]
    fn a_stop_that_waits_is_seen_among_pending_signals() {
        let status = |pending| format!("Name:\tx\nSigPnd:\t{pending}\nShdPnd:\t0000000000000000\n");
        assert!(stop_pends(status("0000000000040000").as_bytes()));
        assert!(!stop_pends(status("0000000000020000").as_bytes()));
        assert!(!stop_pends(b""));
    }

    #[test]
    fn a_label_counts_only_at_the_start_of_a_line() {
        // The kernel escapes a newline in the name here, unlike in stat.
        let status =
            b"Name:\tVmSwap:\\n99 kB\nVmRSS:\t 10 kB\nVmPTE:\t      12 kB\nVmSwap:\t       4 kB\n";
        assert_eq!(swapped(status), 4096);
        assert_eq!(tables(status), 12 * 1024);
        assert_eq!(swapped(b"Name:\tx\n"), 0);
        let rollup = b"1-2 ---p 0 00:00 0 [rollup]\nRss: 9 kB\nPss_Anon:   8 kB\nSwapPss: 1 kB\n";
        assert_eq!(proportional(rollup), Some(9 * 1024));
    }

    #[test]
    fn a_walk_sees_children_and_their_memory() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("5")
            .spawn()
            .unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // The other tests' threads come and go: one look may miss ours, not all.
        let sample = (0..20)
            .filter_map(|_| runtime.block_on(sample(me)))
            .find(|sample| sample.processes.contains(&pid) && sample.private > 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(sample.is_some_and(|sample| sample.tasks >= 1));
    }
}
