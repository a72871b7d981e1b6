//! Limits as the kernel's per-process bounds, and as the plan tells them.

use belljar_plan::{
    Limit, Preset, Resource, Step,
    plan::{PlannedLimit, ProjectQuota},
    step::OwnedStep,
};

use super::cgroup::Cgroup;
use crate::{
    effective::Effective,
    facts::{Bounds, HostFacts},
};

const MIB: u64 = 1 << 20;

/// Stack of a thread as libcs make it where nothing else is said.
const THREAD_STACK: u64 = 8 * MIB;

/// Every limit that is set, lowered to what the caller itself is held to.
pub(super) fn planned(effective: &Effective, bounds: &Bounds) -> Vec<PlannedLimit> {
    effective
        .limits
        .iter()
        .map(|(limit, said)| {
            let own = match limit {
                Limit::OpenFiles => Some((bounds.open_files, "RLIMIT_NOFILE")),
                Limit::FileSize => Some((bounds.file_size, "RLIMIT_FSIZE")),
                Limit::Processes => Some((bounds.processes.saturating_sub(1), "RLIMIT_NPROC")),
                _ => None,
            };
            let mut planned = PlannedLimit {
                limit: *limit,
                soft: said.value.soft,
                hard: said.value.hard,
                stop: said.value.stop,
                origin: said.origin.clone(),
            };
            if let Some((most, name)) = own
                && most != u64::MAX
                && planned.hard.is_none_or(|hard| hard > most)
            {
                planned.hard = Some(most);
                planned.soft = planned.soft.map(|soft| soft.min(most));
                planned.origin = format!("the caller's own {name}");
            }
            planned
        })
        .collect()
}

/// The bounds of each process, before the guest starts.
pub(super) fn rlimits(
    limits: &[PlannedLimit],
    cgroup: &Cgroup,
    preset: Preset,
    facts: &HostFacts,
) -> Vec<(OwnedStep, Option<Limit>)> {
    let bounds = &facts.bounds;
    let find = |limit: Limit| limits.iter().find(|planned| planned.limit == limit);
    let hard = |limit: Limit| find(limit).and_then(|planned| planned.hard);
    let mut steps = Vec::new();
    let mut bound = |resource: Resource, soft: u64, hard: u64, limit: Option<Limit>| {
        steps.push((
            Step::Rlimit {
                resource,
                soft: soft.min(hard),
                hard,
            },
            limit,
        ));
    };
    if let Some(open_files) = find(Limit::OpenFiles)
        && let Some(most) = open_files.hard
    {
        bound(
            Resource::OpenFiles,
            open_files.soft.unwrap_or(most),
            most,
            Some(Limit::OpenFiles),
        );
    }
    if let Some(most) = hard(Limit::FileSize) {
        bound(Resource::FileSize, most, most, Some(Limit::FileSize));
    }
    // It would be met first, and tells nobody that it was.
    if let Some(most) = hard(Limit::Processes).filter(|_| !cgroup.tasks) {
        // pid 1 of the jar is one of them.
        let most = most.saturating_add(1).min(bounds.processes);
        bound(Resource::Processes, most, most, Some(Limit::Processes));
    }
    // Where the kernel holds all of it, this would only be in the way of programs
    // that reserve more than they use.
    if let Some(memory) = hard(Limit::Memory).filter(|_| !cgroup.memory) {
        let most = data_backstop(memory, hard(Limit::Processes)).min(bounds.data);
        bound(Resource::Data, most, most, Some(Limit::Memory));
    }
    if let Some(nanoseconds) = hard(Limit::CpuTime) {
        let most = cpu_backstop(nanoseconds).min(bounds.cpu);
        bound(Resource::Cpu, most, most, Some(Limit::CpuTime));
    }
    // One byte instead of none: with a piped core_pattern a limit of 0 still
    // starts the machine's handler, a limit of 1 does not; core(5).
    bound(Resource::Core, 1, 1.min(bounds.core), None);
    bound(
        Resource::Stack,
        THREAD_STACK,
        (64 * MIB).min(bounds.stack),
        None,
    );
    bound(
        Resource::LockedMemory,
        8 * MIB,
        (8 * MIB).min(bounds.locked_memory),
        None,
    );
    bound(
        Resource::PendingSignals,
        1024,
        1024.min(bounds.pending_signals),
        None,
    );
    let queues = if preset == Preset::Strict { 0 } else { 819_200 };
    bound(
        Resource::MessageQueues,
        queues,
        queues.min(bounds.message_queues),
        None,
    );
    bound(Resource::Nice, 0, 0, None);
    bound(Resource::RealTimePriority, 0, 0, None);
    steps
}

/// What a hard limit on cores of 0 leaves, which is as it was found; core(5).
pub(super) fn note(bounds: &Bounds) -> Option<String> {
    (bounds.core == 0).then(|| {
        "the hard limit on core dumps here is 0, and only 1 keeps the kernel from a program that core_pattern may name: \
         where it names one, the kernel starts that on the machine, with the memory of each program held here that crashes; \
         start belljar where `ulimit -Hc` is at least 1"
            .to_owned()
    })
}

/// Seconds, late enough that the supervisor's own reading comes first.
pub(super) const fn cpu_backstop(nanoseconds: u64) -> u64 {
    nanoseconds.div_ceil(1_000_000_000) + 2
}

/// `RLIMIT_DATA` is per process and counts what is reserved, not what is used:
/// only a loose backstop behind the supervisor's sampling.
pub(super) fn data_backstop(memory: u64, tasks: Option<u64>) -> u64 {
    memory
        .saturating_add(256 * MIB)
        .saturating_add(tasks.unwrap_or(1024).saturating_mul(THREAD_STACK))
}

/// What a project may grow by. A file that holds a byte takes a block of the file system,
/// so that only empty ones and links come to the number of files first.
pub(super) fn quota(bytes: u64, project: u32) -> Option<ProjectQuota> {
    const BLOCK: u64 = 4096;
    (project != 0).then(|| ProjectQuota {
        project,
        bytes,
        inodes: (bytes / BLOCK).max(1024),
    })
}

/// Files that a scratch of this size may hold: each takes about 1 KiB of
/// kernel memory that its bytes do not count.
pub(super) const fn inodes(bytes: u64) -> u64 {
    let wanted = bytes / (16 * 1024);
    if wanted < 1024 {
        1024
    } else if wanted > 65_536 {
        65_536
    } else {
        wanted
    }
}
