//! What is told of a jar: one event at a time, the same for a host that listens and in
//! the file of `--events`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    outcome::Outcome,
    plan::PluginName,
    report::{Edge, LimitChange, LimitHit, LimitReport, Report},
    rule::{Limit, Rule},
};

/// Something that happened in a jar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Counts what happened in the jar, from 1. Of alike ones that were put together it is
    /// the first one's.
    pub id: u64,
    /// The jar's unique id.
    pub jar: String,
    /// The host's own name for the run.
    pub task: Option<String>,
    /// What runs, where it is a plugin.
    pub plugin: Option<PluginName>,
    /// How many this stands for. More than 1 where a host was slow to hear, and alike ones
    /// came meanwhile.
    pub count: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. Times are nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event")]
#[non_exhaustive]
pub enum What {
    /// A limit was reached, for the first time since it was set or changed.
    #[serde(rename = "sandbox.limit")]
    Limit(LimitHit),
    /// The host changed a limit.
    #[serde(rename = "sandbox.limit_changed")]
    LimitChanged {
        /// Which, from what to what, and when.
        change: LimitChange,
    },
    /// A guest tried what is denied, and was refused.
    #[serde(rename = "sandbox.violation")]
    Violation(Box<Violation>),
    /// The kernel ended tasks of the jar for want of memory; `oom_kill` of
    /// memory.events.local, cgroup-v2.rst.
    #[serde(rename = "sandbox.oom")]
    OutOfMemory {
        /// How many tasks until now.
        killed: u64,
        /// Who was short of memory.
        of: Short,
    },
    /// The limit `cpu` began to keep tasks from a processor; cpu.stat, cgroup-v2.rst.
    #[serde(rename = "sandbox.throttled")]
    Throttled {
        /// For how long until now, all tasks together.
        throttled_ns: u64,
    },
    /// Tasks began to wait for what there is too little of, for more than a tenth of the time;
    /// `some` of the kernel's accounting/psi.rst.
    #[serde(rename = "sandbox.pressure")]
    Pressure {
        /// Of what.
        of: Resource,
        /// For so long,
        stalled_ns: u64,
        /// within so long.
        within_ns: u64,
    },
    /// The host paused the jar: every task of it stands still.
    #[serde(rename = "sandbox.paused")]
    Paused {
        /// What has them stand still.
        by: Freezer,
    },
    /// It goes on.
    #[serde(rename = "sandbox.resumed")]
    Resumed {
        /// It stood still for so long.
        paused_ns: u64,
    },
    /// The jar has ended, or was never begun. Nothing comes after it.
    #[serde(rename = "supervisor.termination")]
    Terminated(Box<Termination>),
}

/// A denied call. Whatever the guest chose in it is a number or escaped for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Violation {
    /// The row of the report that it is counted in, which `belljar why` is asked by;
    /// none where that has no more room.
    pub denial: Option<String>,
    /// The thread that tried it, as the machine numbers it.
    pub pid: i32,
    /// The rule that refused it.
    pub rule: Rule,
    /// What was tried, such as `a new namespace`.
    pub action: String,
    /// The system call's name; `syscall_N` for one without.
    pub syscall: String,
    /// Its arguments, as `name=value`.
    pub arguments: Vec<String>,
    /// What it was answered, such as `EPERM`; errno(3).
    pub answer: String,
}

/// Who was short of memory when the kernel ended tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Short {
    /// The jar came to its own limit.
    Jar,
    /// All jars of the host came to theirs, `[host] memory`.
    Host,
    /// The machine, or a cgroup above Belljar's.
    Machine,
}

/// What tasks wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// A processor.
    Cpu,
    /// Memory that is taken back or read in again.
    Memory,
    /// Disks.
    Io,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Io];

    /// Its name in the kernel's files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Io => "io",
        }
    }
}

/// What has the tasks of a paused jar stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Freezer {
    /// The jar's cgroup. Nothing in the jar can tell.
    Cgroup,
    /// `SIGSTOP` from pid 1 of the jar to all its processes. Whoever has the jar's uid outside
    /// of it can let them go on, and so can a timer that the guest prepared; parents in it are
    /// told that their children stopped, and what had stopped by itself goes on with the rest.
    Signals,
}

/// How a jar ended: the report in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Termination {
    /// Why, in a word or two, such as `exited` or `limit: memory`.
    pub reason: String,
    /// The same with everything that is known of it.
    pub outcome: Outcome,
    /// Every limit that was set, with how much of it was used.
    pub limits: Vec<LimitReport>,
    /// Nanoseconds from the start of pid 1 to the end of the jar.
    pub wall_ns: Option<u64>,
    /// Nanoseconds of processor time.
    pub cpu_ns: Option<u64>,
    /// Most memory, bytes.
    pub memory_peak: Option<u64>,
}

impl Termination {
    /// Of this report.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let usage = &report.usage;
        Self {
            reason: report.outcome.reason(),
            outcome: report.outcome.clone(),
            limits: report.limits.clone(),
            wall_ns: usage.wall_ns,
            cpu_ns: usage.cpu_ns(),
            memory_peak: usage.memory_peak,
        }
    }
}

impl What {
    /// Whether one of them can stand for both, where a host is slow to hear.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Limit(one), Self::Limit(two)) => one == two,
            (Self::Violation(one), Self::Violation(two)) => {
                one.denial == two.denial && (one.denial.is_some() || one.rule == two.rule)
            }
            (Self::OutOfMemory { of: one, .. }, Self::OutOfMemory { of: two, .. }) => one == two,
            (Self::Pressure { of: one, .. }, Self::Pressure { of: two, .. }) => one == two,
            (Self::Throttled { .. }, Self::Throttled { .. })
            | (Self::Paused { .. }, Self::Paused { .. })
            | (Self::Resumed { .. }, Self::Resumed { .. }) => true,
            (Self::LimitChanged { change: one }, Self::LimitChanged { change: two }) => {
                one.limit == two.limit
            }
            _ => false,
        }
    }
}

impl What {
    /// Has it stand for a later one that is alike: counts go on, and what was chosen by a
    /// guest stays that of the first.
    pub fn update(&mut self, later: Self) {
        match (&mut *self, &later) {
            (Self::Resumed { paused_ns }, Self::Resumed { paused_ns: more }) => {
                *paused_ns = paused_ns.saturating_add(*more);
                return;
            }
            (Self::LimitChanged { change }, Self::LimitChanged { change: later }) => {
                change.after = later.after;
                change.wall_ns = later.wall_ns;
                return;
            }
            _ => {}
        }
        match later {
            Self::OutOfMemory { .. } | Self::Pressure { .. } | Self::Throttled { .. } => {
                *self = later;
            }
            _ => {}
        }
    }
}

/// What a look at a running jar saw. Times are nanoseconds, sizes bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// Since the start of pid 1.
    pub wall_ns: u64,
    /// Processor time of all its tasks.
    pub cpu_ns: u64,
    /// Memory, as the limit `memory` counts it.
    pub memory: u64,
    /// Tasks.
    pub tasks: u64,
    /// What its scratch holds; none where it has none.
    pub disk: Option<u64>,
    /// Written to stdout and read by Belljar.
    pub stdout: u64,
    /// The same of stderr.
    pub stderr: u64,
    /// For how long tasks were kept from a processor by the limit `cpu`; none where no cgroup
    /// counts it.
    pub throttled_ns: Option<u64>,
    /// For how long a task waited for a processor; accounting/psi.rst.
    pub cpu_pressure_ns: Option<u64>,
    /// The same for memory.
    pub memory_pressure_ns: Option<u64>,
    /// The same for disks.
    pub io_pressure_ns: Option<u64>,
    /// The jar is paused.
    pub paused: bool,
}

impl Event {
    /// The limit that was reached, where that is what happened.
    #[must_use]
    pub const fn limit(&self) -> Option<(Limit, Edge)> {
        match &self.what {
            What::Limit(hit) => Some((hit.limit, hit.at)),
            _ => None,
        }
    }
}
