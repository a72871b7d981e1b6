//! What the machine says of processes and of its own memory; proc(5).

use std::{fs, path::PathBuf};

/// The children of this process, by pid.
pub(crate) fn children(of: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| parent(*pid) == Some(of))
        .collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, parentheses too.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1)?.parse().ok()
}

/// The program that a process runs, to be read or copied even where it has no path.
pub(crate) fn program(pid: u32) -> PathBuf {
    format!("/proc/{pid}/exe").into()
}

/// A process's private pages, KiB; none where they may not be read.
pub(crate) fn private(pid: u32) -> Option<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(field(&rollup, "Private_Clean:")? + field(&rollup, "Private_Dirty:")?)
}

/// Memory of the machine, KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) available: f64,
    pub(crate) slab: f64,
    pub(crate) page_tables: f64,
    pub(crate) kernel_stack: f64,
    pub(crate) per_cpu: f64,
}

/// Memory of the machine now.
pub(crate) fn memory() -> Option<Memory> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    Some(Memory {
        available: field(&text, "MemAvailable:")?,
        slab: field(&text, "Slab:")?,
        page_tables: field(&text, "PageTables:")?,
        kernel_stack: field(&text, "KernelStack:")?,
        per_cpu: field(&text, "Percpu:")?,
    })
}

fn field(text: &str, name: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_its_first_number() {
        assert_eq!(field("A:  1 kB\nSlab:   25 kB\n", "Slab:"), Some(25.0));
        assert_eq!(field("A:  1 kB\n", "Slab:"), None);
    }

    #[test]
    fn this_process_is_a_child_of_its_parent() {
        let own = std::process::id();
        let parent = parent(own).unwrap();
        assert!(children(parent).contains(&own));
    }
}

/// How many threads this process has.
pub(crate) fn threads() -> u64 {
    std::fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count() as u64)
}
