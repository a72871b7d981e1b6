//! Which mechanism holds each rule on Linux, how strongly, and by which steps.

use std::collections::BTreeMap;

use belljar_plan::{
    Filter, Limit, Namespaces, Preset, Rule, Strength,
    filter::Code,
    landlock::Right,
    plan::{Enforcement, PlannedLimit, PlannedRule, ProjectQuota},
};

use super::{
    super::demand,
    cgroup::Cgroup,
    filter,
    landlock::{self, Domain},
    lower,
};
use crate::{effective::Effective, facts::HostFacts, units::format_value};

/// What the steps of a plan put in place, known once they are listed.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    pub(super) namespaces: Namespaces,
    pub(super) limits: &'a [PlannedLimit],
    /// Some granted directory can be written, and its growth is limited.
    pub(super) growth: bool,
    /// The quota that holds it.
    pub(super) quota: Option<ProjectQuota>,
    /// Something of /sys is granted, and whether for writing.
    pub(super) sys: Option<bool>,
    /// The filter of system calls.
    pub(super) filter: Option<&'a Filter>,
    /// Why code could be made past the filter.
    pub(super) own_code: Option<String>,
    /// The Landlock domain; else why there is none.
    pub(super) domain: Result<&'a Domain, &'a String>,
    /// The jar's own cgroup.
    pub(super) cgroup: &'a Cgroup,
    /// There are no namespaces.
    pub(super) lower: bool,
    pub(super) steps: BTreeMap<Rule, Vec<u16>>,
}

/// Every rule of the contract, in its order.
pub(super) fn planned(
    effective: &Effective,
    facts: &HostFacts,
    mut placed: Placed<'_>,
) -> Vec<PlannedRule> {
    Rule::ALL
        .iter()
        .map(|rule| {
            let (mechanism, strength) = enforcement(*rule, effective, facts, &placed);
            let least = match rule {
                // Granted, so there is no such rule.
                Rule::Exec if effective.subprocesses => Strength::None,
                Rule::WritableCode if effective.jit => Strength::None,
                _ => demand::least(*rule, effective.preset.value),
            };
            // A limit that is not set makes no promise.
            let least = if is_unset_limit(*rule, effective, placed.limits) {
                Strength::None
            } else {
                least
            };
            let (requested, origin) = match effective.require.get(rule) {
                Some(said) => (said.value, said.origin.clone()),
                None => (least, effective.preset.origin.clone()),
            };
            let (requested, origin) = match throttled(*rule, placed.limits) {
                Some(said) if requested < Strength::Kernel => (Strength::Kernel, said),
                _ => (requested, origin),
            };
            PlannedRule {
                rule: *rule,
                requested,
                best_effort: effective.best_effort.contains_key(rule),
                planned: Enforcement {
                    mechanism,
                    strength,
                },
                steps: if strength == Strength::None {
                    Vec::new()
                } else {
                    placed.steps.remove(rule).unwrap_or_default()
                },
                origin,
            }
        })
        .collect()
}

/// Who wants memory to be throttled, which the kernel alone does. A value that is not
/// below the hard limit asks for nothing.
fn throttled(rule: Rule, limits: &[PlannedLimit]) -> Option<String> {
    let find = |limit: Limit| limits.iter().find(|planned| planned.limit == limit);
    let high = find(Limit::MemoryHigh).filter(|_| rule == Rule::Memory)?;
    let most = find(Limit::Memory)?.hard?;
    (high.hard? < most).then(|| high.origin.clone())
}

/// The bound of what no sample sees, where all that it rests on is there.
fn unseen(effective: &Effective, facts: &HostFacts, placed: &Placed<'_>) -> Option<u64> {
    let own = placed.namespaces.network && placed.namespaces.user && !placed.lower;
    // Where code may be made, so may files in memory.
    let no_files = placed.filter.is_some_and(|filter| filter.code != Code::Any);
    let all = effective.preset.value == Preset::Strict && own && no_files;
    all.then(|| super::buffers::unseen(placed.limits, facts))?
}

fn is_unset_limit(rule: Rule, effective: &Effective, limits: &[PlannedLimit]) -> bool {
    let is_limit = Limit::ALL.iter().any(|limit| limit.rule() == rule)
        && (rule != Rule::Cpu || effective.cpuset.is_none());
    is_limit
        && limits.iter().all(|planned| {
            planned.limit.rule() != rule || (planned.hard.is_none() && planned.soft.is_none())
        })
}

/// How processors are kept from a jar, each by what its setting begins with.
const OF_PROCESSORS: [(&str, &str); 3] = [
    (
        "cpu.max=",
        "cpu.max over all tasks, in each tenth of a second",
    ),
    (
        "cpu.weight=",
        "cpu.weight, beside others that want the processors",
    ),
    ("cpuset.cpus=", "cpuset.cpus, which no task leaves"),
];

/// The same of disks.
const OF_DISKS: [(&str, &str); 2] = [
    (
        "io.max=",
        "io.max over all tasks, on each disk of this machine; files that the page cache has take none",
    ),
    ("io.", "a weight beside others that want the disks"),
];

/// What the jar's own cgroup holds, with or without namespaces.
fn by_cgroup(rule: Rule, effective: &Effective, placed: &Placed<'_>) -> Option<(String, Strength)> {
    if is_unset_limit(rule, effective, placed.limits) {
        return None;
    }
    let cgroup = placed.cgroup;
    let (mechanism, strength) = match rule {
        Rule::Memory if cgroup.memory => (
            "the jar's own cgroup: memory.max over all tasks, scratch, and what the kernel holds for them; no swap; \
             all are killed together",
            Strength::Kernel,
        ),
        Rule::Processes if cgroup.tasks => (
            "the jar's own cgroup: pids.max over all tasks",
            Strength::Kernel,
        ),
        Rule::Cpu if cgroup.cpu => return Some((cgroup.slows(&OF_PROCESSORS), Strength::Kernel)),
        Rule::Io if cgroup.io => return Some((cgroup.slows(&OF_DISKS), Strength::Kernel)),
        Rule::CpuTime if cgroup.time => (
            "the supervisor's reading of cpu.stat of the jar's own cgroup, in which every task counts that ever was in it; \
             behind it RLIMIT_CPU for each process",
            Strength::Supervisor,
        ),
        _ => return None,
    };
    Some((mechanism.to_owned(), strength))
}

fn enforcement(
    rule: Rule,
    effective: &Effective,
    facts: &HostFacts,
    placed: &Placed<'_>,
) -> (String, Strength) {
    use Strength::{Kernel, None, Supervisor};
    if let Some(held) = by_cgroup(rule, effective, placed) {
        return held;
    }
    if let (true, Ok(domain)) = (placed.lower, placed.domain)
        && !is_unset_limit(rule, effective, placed.limits)
        && let Some(held) = lower::enforcement(rule, facts, domain)
    {
        return held;
    }
    // A jar is made of all of them, and there is none where one is missing.
    let whole =
        facts.namespaces.is_available() && facts.mounts.is_available() && facts.proc.is_available();
    let jar = (placed.lower || whole) && facts.tasks.is_available();
    let own = |has: bool, able: bool, mechanism: &str| {
        if has && able {
            (mechanism.to_owned(), Kernel)
        } else {
            ("nothing".to_owned(), None)
        }
    };
    let keeps_abstract_names = placed
        .domain
        .is_ok_and(|domain| landlock::keeps_abstract_names(domain, placed.namespaces));
    if placed
        .filter
        .is_some_and(|filter| filter::lifted(filter).contains(&rule))
    {
        return (
            "nothing: the policy's [seccomp] allow gives it up".to_owned(),
            None,
        );
    }
    if is_unset_limit(rule, effective, placed.limits) {
        return ("no limit is set".to_owned(), None);
    }
    match rule {
        Rule::Files => {
            let landlock = match placed.domain {
                Ok(domain) => domain.mechanism(),
                Err(cause) => format!("no Landlock: {cause}"),
            };
            own(true, jar, &format!("mount namespace with a root of its own in memory; granted paths bound into it; {landlock}"))
        }
        Rule::Network => {
            if placed.namespaces.network {
                own(true, jar, "network namespace with nothing but its own loopback")
            } else {
                ("the machine's network, as the policy says".to_owned(), None)
            }
        }
        Rule::Exec if effective.subprocesses => ("granted: other programs may be started".to_owned(), None),
        Rule::WritableCode if effective.jit => ("granted: code may be made".to_owned(), None),
        Rule::WritableCode
            if placed.own_code.is_some()
                && placed
                    .filter
                    .is_some_and(|filter| filter.code != Code::Any) =>
        {
            let reason = placed.own_code.as_deref().unwrap_or_default();
            (format!("nothing: {reason}"), None)
        }
        Rule::Sockets | Rule::Syscalls | Rule::Nesting | Rule::Exec | Rule::WritableCode => {
            match placed.filter.and_then(|placed| filter::mechanism(rule, placed, facts)) {
                Some(mechanism) if rule == Rule::Sockets && keeps_abstract_names => {
                    own(true, jar, &format!("{mechanism}; abstract names of the machine refused by Landlock too"))
                }
                Some(mechanism) => own(true, jar, &mechanism),
                std::option::Option::None => ("nothing".to_owned(), None),
            }
        }
        Rule::Tasks => {
            let signals = match placed.domain {
                Ok(domain) if domain.handles(Right::Signal) => {
                    "; Landlock lets no signal out of the guest's own domain"
                }
                _ => "",
            };
            let mechanism = format!("pid namespace and a /proc of its own{signals}");
            own(placed.namespaces.pid, jar, &mechanism)
        }
        Rule::Ipc => own(
            placed.namespaces.ipc && placed.filter.is_some(),
            jar,
            "ipc namespace; session keyring of its own and keyring calls refused by seccomp; /dev/shm of its own",
        ),
        Rule::Identity => {
            if facts.privileged {
                own(true, jar, "user namespace; a machine uid and gid of the jar's own, no groups")
            } else {
                own(true, jar, &format!("user namespace; the machine sees uid {}, who started it", facts.uid))
            }
        }
        Rule::Privileges if effective.capabilities != (0, 0) => {
            ("nothing: the policy's [linux] caps keep capabilities".to_owned(), None)
        }
        Rule::Privileges => own(
            placed.filter.is_some(),
            jar,
            "no_new_privs; bounding, permitted, effective, inheritable and ambient sets emptied and read back; securebits locked; \
             set-id bits and new user namespaces refused by seccomp",
        ),
        Rule::Devices => own(true, jar, "a /dev of its own: null, zero, full, random, urandom, own ptys"),
        Rule::KernelInfo if placed.sys == Some(true) => {
            ("nothing: /sys is granted for writing".to_owned(), None)
        }
        Rule::KernelInfo => {
            let sys = match effective.preset.value {
                _ if placed.sys.is_some() => "/sys read-only, as granted",
                Preset::Minimal => "/sys read-only",
                Preset::Standard | Preset::Strict => "no /sys",
            };
            let mechanism = format!("a /proc of its own with machine-wide entries hidden or read-only; {sys}");
            own(true, jar, &mechanism)
        }
        Rule::Terminal => own(true, jar, "session of its own; streams are pipes or a pseudo-terminal of the jar's own"),
        Rule::Descriptors => own(true, jar, "every descriptor but 0, 1 and 2 closed before exec"),
        Rule::Environment => own(true, jar, "exec with exactly the granted variables"),
        Rule::Cleanup => own(
            placed.namespaces.pid,
            jar,
            "pid namespace whose init dies with the launcher, and the launcher with the host; all mounts and scratch in the jar's own namespace",
        ),
        Rule::Memory | Rule::CpuTime if !facts.tasks_seen.is_available() => {
            ("nothing: what the jar's tasks use cannot be seen".to_owned(), None)
        }
        Rule::Memory if let Some(most) = unseen(effective, facts, placed) => {
            let most = format_value(Limit::Memory, most.next_multiple_of(1 << 20));
            (
                format!(
                    "sampling of private memory of all tasks (resident less shared, with swap and tables of pages), behind it \
                     RLIMIT_DATA for each process; what escapes both (buffers of sockets and pipes, scratch, watches) comes to {most} at \
                     most, by the limits of processes, open files and disk, beside connections that nobody has accepted and locks"
                ),
                Supervisor,
            )
        }
        Rule::Memory => (
            "sampling of private memory of all tasks (resident less shared, with swap and tables of pages), behind it RLIMIT_DATA for each process; \
             memfd, shared anonymous memory, tmpfs, socket and pipe buffers escape both"
                .to_owned(),
            Supervisor,
        ),
        Rule::CpuTime => (
            "sampling of the tasks' processor clocks, behind it RLIMIT_CPU for each process; children that nobody waits for are undercounted"
                .to_owned(),
            Supervisor,
        ),
        Rule::Wall => ("the supervisor's monotonic timer".to_owned(), Supervisor),
        Rule::Output => ("the relay's count; pipes are bounded by the kernel".to_owned(), Supervisor),
        Rule::Disk => {
            if let Some(quota) = placed.quota {
                let ProjectQuota { project, inodes, .. } = quota;
                let mechanism = format!(
                    "scratch: tmpfs sized in bytes and files; granted directories: the quota of project {project} of their file system, \
                     in bytes and {inodes} more files, shared with whoever else writes there"
                );
                own(true, jar, &mechanism)
            } else if placed.growth {
                ("scratch: tmpfs sized in bytes and files; granted directories: sampled growth".to_owned(), Supervisor)
            } else {
                own(true, jar, "tmpfs sized in bytes and files; no other place that can be written has a limit")
            }
        }
        Rule::Processes => {
            own(
                true,
                jar && facts.processes_counted.is_available(),
                "RLIMIT_NPROC, counted for this user in the jar's user namespace",
            )
        }
        Rule::OpenFiles => own(true, jar, "RLIMIT_NOFILE of each process"),
        Rule::FileSize => own(true, jar, "RLIMIT_FSIZE of each process"),
        Rule::Cpu | Rule::Io => ("nothing: no cgroup here slows a jar so".to_owned(), None),
    }
}
