//! What each preset demands of each rule at least, and why a machine may fail it.

use belljar_plan::{Preset, Rule, Strength, plan::PlannedRule};

use crate::facts::{Ability, HostFacts};

/// The least strength that a preset demands; `none` where it has no such rule.
pub(super) const fn least(rule: Rule, preset: Preset) -> Strength {
    use Strength::{Kernel, None, Supervisor};
    let minimal = matches!(preset, Preset::Minimal);
    match rule {
        Rule::Files
        | Rule::Identity
        | Rule::Privileges
        | Rule::Terminal
        | Rule::Descriptors
        | Rule::Environment
        | Rule::Processes
        | Rule::OpenFiles
        | Rule::FileSize
        | Rule::Sockets
        | Rule::Syscalls
        | Rule::Nesting => Kernel,
        Rule::Exec | Rule::WritableCode => {
            if matches!(preset, Preset::Strict) {
                Kernel
            } else {
                None
            }
        }
        Rule::Network | Rule::Tasks | Rule::Ipc | Rule::Devices | Rule::KernelInfo => {
            if minimal {
                None
            } else {
                Kernel
            }
        }
        Rule::Cleanup => {
            if minimal {
                Supervisor
            } else {
                Kernel
            }
        }
        Rule::Memory | Rule::CpuTime | Rule::Wall | Rule::Output | Rule::Disk => Supervisor,
        // Asked for, since otherwise there is no such rule.
        Rule::Cpu | Rule::Io => Kernel,
    }
}

/// Why no cgroup here slows a jar down.
fn no_rate(rule: Rule, facts: &HostFacts) -> (String, String) {
    let known = &facts.jar_cgroups;
    let lacks = |name: &str| !known.controllers.iter().any(|has| has == name);
    let name = match rule {
        Rule::Io => "io",
        _ if lacks("cpu") => "cpu",
        _ => "cpuset",
    };
    let accept = format!("or leave the limit out, or accept it by `--best-effort {rule}`");
    match &known.can_be_made {
        Ability::Unavailable { cause, remedy } => (
            format!("no cgroup for jars can be made: {cause}"),
            format!("{remedy}; {accept}"),
        ),
        Ability::Available if lacks(name) => (
            format!("the cgroups that jars can have here lack the controller `{name}`"),
            format!(
                "have it handed on (`Delegate={name}`, or `+{name}` in cgroup.subtree_control above); {accept}"
            ),
        ),
        Ability::Available if !known.disks.is_empty() => (
            "not all disks of this machine share themselves out by weight".to_owned(),
            format!(
                "have each scheduled by bfq, or enable io.cost.qos for each in the root of all cgroups; {accept}"
            ),
        ),
        Ability::Available => (
            "this machine has no disk that io.max bounds".to_owned(),
            accept,
        ),
    }
}

/// Why this machine cannot hold a rule, and what to do about it.
pub(super) fn cause(planned: &PlannedRule, facts: &HostFacts) -> (String, String) {
    let abilities = match planned.rule {
        Rule::Cpu | Rule::Io => return no_rate(planned.rule, facts),
        Rule::Exec | Rule::WritableCode if planned.planned.mechanism.starts_with("granted: ") => {
            let (what, right) = match planned.rule {
                Rule::Exec => ("other programs may be started", "subprocesses"),
                _ => ("code may be made while it runs", "jit"),
            };
            return (
                format!("it is granted that {what}, by the preset or by a right"),
                format!(
                    "say `--preset strict`, and leave the right `{right}` out; or leave out the demand"
                ),
            );
        }
        rule if let Some(reason) = planned
            .planned
            .mechanism
            .strip_prefix("nothing: the policy") =>
        {
            return (
                format!("the policy{reason}"),
                format!("take that out of the policy, or accept it by `--best-effort {rule}`"),
            );
        }
        Rule::WritableCode
            if let Some(reason) = planned
                .planned
                .mechanism
                .strip_prefix("nothing: what is written") =>
        {
            return (
                format!("what is written{reason}"),
                "grant them apart, so that nothing that can be written lies in what can be run; \
                 or say `--allow jit`, which gives the rule up"
                    .to_owned(),
            );
        }
        Rule::WritableCode
            if let Some(reason) = planned.planned.mechanism.strip_prefix("nothing: ") =>
        {
            return (
                reason.to_owned(),
                "link it with `-z noexecstack`; or say `--allow jit`, which gives the rule up"
                    .to_owned(),
            );
        }
        Rule::Memory if planned.planned.strength == Strength::Supervisor => {
            return match &facts.jar_cgroups.can_be_made {
                Ability::Unavailable { cause, remedy } => (
                    format!(
                        "it is held by the supervisor, since there is no cgroup for jars: {cause}"
                    ),
                    remedy.clone(),
                ),
                Ability::Available => (
                    "it is held by the supervisor, since the cgroups here have no memory controller"
                        .to_owned(),
                    "have it handed on (`Delegate=memory`, or `+memory` in cgroup.subtree_control above), or demand `supervisor`, without `memory_high`"
                        .to_owned(),
                ),
            };
        }
        _ if planned.planned.strength == Strength::Supervisor => {
            return (
                "it is held by the supervisor, not by the kernel".to_owned(),
                "demand `supervisor`".to_owned(),
            );
        }
        Rule::Processes => [&facts.namespaces, &facts.processes_counted],
        Rule::Memory | Rule::CpuTime => [&facts.tasks_seen, &facts.tasks],
        Rule::KernelInfo | Rule::Tasks => [&facts.namespaces, &facts.proc],
        Rule::Ipc
        | Rule::Privileges
        | Rule::Syscalls
        | Rule::Nesting
        | Rule::Sockets
        | Rule::Exec
        | Rule::WritableCode => [&facts.namespaces, &facts.seccomp],
        _ => [&facts.namespaces, &facts.mounts],
    };
    abilities
        .into_iter()
        .chain([&facts.mounts, &facts.proc, &facts.tasks])
        .find_map(|ability| match ability {
            Ability::Unavailable { cause, remedy } => Some((cause.clone(), remedy.clone())),
            Ability::Available => None,
        })
        .unwrap_or_else(|| {
            (
                "what the policy leaves of the jar's namespaces does not hold it".to_owned(),
                "take the weakening out of the policy".to_owned(),
            )
        })
}
