//! What a jar used: each figure with where it comes from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a jar used, as far as it was measured; none where it was not. Times are
/// nanoseconds, sizes bytes. What docs/usage.md says of each source holds for its figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// From the start of pid 1 to the end of the jar, with the time that it was paused.
    pub wall_ns: Option<u64>,
    /// Of these, paused by the host.
    #[serde(default)]
    pub paused_ns: Option<u64>,
    /// Processor time in user mode.
    pub user_ns: Option<u64>,
    /// Processor time in the kernel.
    pub system_ns: Option<u64>,
    /// Most memory, as the limit `memory` counts it.
    pub memory_peak: Option<u64>,
    /// Its mean over the time of the run, as far as samples tell; none where there were none.
    #[serde(default)]
    pub memory_average: Option<u64>,
    /// Largest resident set of one process.
    pub rss_peak: Option<u64>,
    /// Most tasks at once.
    pub tasks_peak: Option<u64>,
    /// Read from disks.
    #[serde(default)]
    pub io_read: Option<u64>,
    /// Written to disks; by rusage what was to be written to them.
    #[serde(default)]
    pub io_written: Option<u64>,
    /// Reads that disks did.
    #[serde(default)]
    pub io_reads: Option<u64>,
    /// Writes that disks did.
    #[serde(default)]
    pub io_writes: Option<u64>,
    /// Page faults, all of them.
    #[serde(default)]
    pub faults: Option<u64>,
    /// Of these, such as waited for a disk.
    #[serde(default)]
    pub major_faults: Option<u64>,
    /// How often a task gave up its processor to wait.
    #[serde(default)]
    pub voluntary_switches: Option<u64>,
    /// How often a task was made to.
    #[serde(default)]
    pub involuntary_switches: Option<u64>,
    /// Read from the guest's stdout.
    pub stdout: u64,
    /// Read from the guest's stderr.
    pub stderr: u64,
    /// Most that was seen in private scratch, or that granted directories have grown,
    /// whichever is more.
    pub disk_peak: Option<u64>,
    /// Denied calls that are told of; none where the kernel gave no listener.
    #[serde(default)]
    pub denied_calls: Option<u64>,
    /// For how long tasks were kept from a processor by the limit `cpu`, all tasks together;
    /// `throttled_usec` of cpu.stat.
    #[serde(default)]
    pub throttled_ns: Option<u64>,
    /// For how long at least one task waited for a processor; `some` of cpu.pressure,
    /// the kernel's accounting/psi.rst.
    #[serde(default)]
    pub cpu_pressure_ns: Option<u64>,
    /// The same for memory that was being taken back or read in again.
    #[serde(default)]
    pub memory_pressure_ns: Option<u64>,
    /// The same for disks.
    #[serde(default)]
    pub io_pressure_ns: Option<u64>,
    /// Where each of them comes from, by its name here.
    #[serde(default)]
    pub sources: BTreeMap<String, Source>,
}

/// Where a figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The jar's cgroup: the kernel counts every task that ever was in it.
    Cgroup,
    /// What the kernel tells a parent of a process that it waited for, with whatever that one
    /// waited for: tasks that were destroyed with the jar are not in it; getrusage(2).
    Rusage,
    /// Looks at the jar while it ran: what came and went between two of them is not in it.
    Samples,
    /// rusage, raised to what samples saw of tasks that nobody waited for.
    RusageAndSamples,
    /// The supervisor's own clock or count.
    Supervisor,
}

impl Usage {
    /// Processor time, user and system.
    #[must_use]
    pub fn cpu_ns(&self) -> Option<u64> {
        Some(self.user_ns?.saturating_add(self.system_ns?))
    }
}
