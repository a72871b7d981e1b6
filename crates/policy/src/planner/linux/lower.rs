//! The lower tier: a program without namespaces, held by Landlock, a filter and
//! rlimits, where a machine refuses what a jar is made of. What that loses of a jar is
//! lost openly: each rule says so, and the policy must accept it.
//!
//! Only for a bare program under `standard` that an ordinary user starts: what a
//! plugin is verified by, and what the other presets show or hide, takes mounts.

use belljar_plan::{
    Filter, Limit, Namespaces, Plan, Preset, Resource, Rule, Step, Strength,
    filter::Unix,
    outcome::Unmet,
    plan::{Identity, MachineIdentity, PlannedLimit, SCHEMA},
    step::OwnedStep,
};

use super::{
    Steps, Walls,
    cgroup::Cgroup,
    filter, guest,
    landlock::{Access, Domain, Place, Tcp},
    least, limits, notes,
    places::grants,
    root::Root,
    rules, subject, together, workdir,
};
use crate::{
    effective::{Effective, USER},
    facts::{Ability, HostFacts},
    path::UnixPath,
    planner::{
        environment::{Denied, HOME, environment},
        told,
        tree::{Mount, Node},
    },
    refusal::Refusal,
    verified::{ProgramBytes, Subject, Verified},
};

/// What every program opens, and may here, if it is there.
const FILES: [&str; 5] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
];
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// The first version of Landlock by which files can be moved between directories.
const MOVES: u32 = 2;

/// The plan without namespaces; none where this machine or this launch is not
/// for it.
pub(super) fn plan(
    verified: &Verified,
    effective: &Effective,
    facts: &HostFacts,
) -> Result<Option<Plan>, Refusal> {
    let made_of = [&facts.namespaces, &facts.mounts, &facts.proc];
    let Some(cause) = made_of.into_iter().find_map(|ability| match ability {
        Ability::Unavailable { cause, .. } => Some(cause),
        Ability::Available => None,
    }) else {
        return Ok(None);
    };
    if !is_for(verified, effective, facts) {
        return Ok(None);
    }
    let mut root = Root::new(effective, verified, facts);
    for grant in &effective.grants {
        root.grant(grant, verified, effective, facts)?;
    }
    let workdir = workdir(&mut root, verified, effective, facts)?;
    let (exec, _, _) = subject(&mut root, verified, effective, facts)?;
    let Some(filter) = filter_of(verified, effective, facts) else {
        return Ok(None);
    };
    filter::unseen(effective, Some(&filter), facts)?;
    filter::unobserved(effective, Some(&filter), facts)?;
    let domain = Domain::new(facts.landlock_abi, places(&root), Tcp::Nothing);
    let limits = limits_of(effective, facts);
    let growth = limits
        .iter()
        .any(|limit| limit.covers_grants(effective.preset.value));

    let mut steps = Steps::default();
    let together = together::planned(effective, facts)?;
    least::refuse(&limits, &together, verified)?;
    let cpuset = super::cgroup::cpuset(effective, facts)?;
    let cgroup = Cgroup::planned(&limits, &together, cpuset, facts, 0);
    first(&mut steps, &cgroup);
    let walls = Walls {
        namespaces: NONE,
        domain: Some(&domain),
        filter: Some(&filter),
        cgroup: &cgroup,
    };
    guest(&mut steps, &limits, effective, facts, &workdir, walls)?;
    without_counting_tasks(&mut steps);
    let denied = Denied {
        network: true,
        programs: false,
    };
    let program = exec.path.as_str().into();
    let variables = environment(
        effective,
        &verified.caller,
        &root.tree,
        root.tmp,
        denied,
        told::memory(super::code::executable(verified), &limits),
    );
    steps.push(
        Step::Exec {
            path: exec.path.as_str().into(),
            arguments: exec.arguments,
            variables: without_scratch(variables, effective, root.tmp),
        },
        &[],
    );
    let placed = rules::Placed {
        namespaces: NONE,
        limits: &limits,
        growth,
        // A guest in the machine's own user namespace may give its files to another project.
        quota: None,
        sys: None,
        filter: Some(&filter),
        own_code: None,
        domain: Ok(&domain),
        cgroup: &cgroup,
        lower: true,
        steps: steps.of,
    };
    let mut weakenings = effective.weakenings.clone();
    weakenings.push(format!(
        "no namespaces, since {cause}: held by Landlock, seccomp and rlimits alone"
    ));
    let observed = filter::note(Some(&filter));
    Ok(Some(Plan {
        schema: SCHEMA,
        preset: effective.preset.value,
        plugin: None,
        program,
        rules: rules::planned(effective, facts, placed),
        limits,
        together: together.clone(),
        quota: None,
        grants: grants(verified, effective),
        hidden: Vec::new(),
        sockets: Vec::new(),
        filter: Some(filter),
        landlock: Some(domain.named),
        end_on: effective.end_on.keys().copied().collect(),
        identity: identity(facts),
        slots: Vec::new(),
        image: None,
        terminal: false,
        said: effective.said.clone(),
        dropped: effective.dropped.clone(),
        weakenings,
        notes: [
            notes(facts),
            together::note(&together).into_iter().collect(),
            observed.into_iter().collect(),
        ]
        .concat(),
        steps: steps.list,
    }))
}

const NONE: Namespaces = Namespaces {
    user: false,
    pid: false,
    mount: false,
    network: false,
    uts: false,
    ipc: false,
    cgroup: false,
};

/// Whether it can hold anything here, and nothing is asked for that takes mounts
/// or another identity.
fn is_for(verified: &Verified, effective: &Effective, facts: &HostFacts) -> bool {
    facts.uid != 0
        && facts.tasks.is_available()
        && facts.seccomp.is_available()
        && facts.landlock.is_available()
        && facts.landlock_abi >= MOVES
        && effective.preset.value == Preset::Standard
        // It starts what is at a path by then, which has to do.
        && matches!(&verified.subject, Subject::Program(program) if program.bytes == ProgramBytes::AtPath)
        && effective.terminal.is_none()
        && effective.user == USER
        && effective.hidden.is_empty()
        && effective.capabilities == (0, 0)
        && effective.grants.iter().all(|grant| grant.at.is_none())
}

/// Sockets reach nothing but each other, and shared objects are the machine's.
fn filter_of(verified: &Verified, effective: &Effective, facts: &HostFacts) -> Option<Filter> {
    let whole = filter::planned(verified, effective, facts, NONE)?;
    Some(Filter {
        unix: Unix::Pairs,
        internet: false,
        objects: false,
        ..whole
    })
}

/// What a jar would show at the machine's own paths, what programs cannot do
/// without, and nothing of `/` itself.
fn places(root: &Root) -> Vec<Place> {
    let place = |path: &str, access: Access| {
        UnixPath::new(path).ok().map(|path| Place {
            path,
            access,
            optional: true,
        })
    };
    let devices = Access::READ.and(Access::WRITE).and(Access::DEVICE);
    let shown = root.tree.nodes().filter_map(|(path, node)| match node {
        Node::Mount(mount) if mount.shows.as_ref() == Some(path) => Some(Place {
            path: path.clone(),
            access: access(mount),
            optional: mount.optional,
        }),
        _ => None,
    });
    shown
        .chain(FILES.iter().filter_map(|path| place(path, Access::READ)))
        .chain(DEVICES.iter().filter_map(|path| place(path, devices)))
        .chain(place("/proc", Access::READ.and(Access::READ_DIR)))
        .collect()
}

fn access(mount: &Mount) -> Access {
    let mut access = Access::READ;
    if !mount.attributes.no_exec {
        access = access.and(Access::EXECUTE);
    }
    if !mount.attributes.read_only {
        access = access.and(Access::WRITE).and(Access::TRUNCATE);
    }
    if !mount.directory {
        return access;
    }
    access = access.and(Access::READ_DIR);
    if mount.attributes.read_only {
        return access;
    }
    access.and(Access::ARRANGE)
}

/// There is no private scratch to bound.
fn limits_of(effective: &Effective, facts: &HostFacts) -> Vec<PlannedLimit> {
    let preset = effective.preset.value;
    let mut planned = limits::planned(effective, &facts.bounds);
    planned.retain(|limit| limit.limit != Limit::Disk || limit.covers_grants(preset));
    planned
}

/// The launcher's step, and those of the jar's first process.
fn first(steps: &mut Steps, cgroup: &Cgroup) {
    let cleanup = &[Rule::Cleanup];
    if let Some((step, rules)) = cgroup.step() {
        steps.push(step, &rules);
    }
    steps.push(Step::Clone { namespaces: NONE }, cleanup);
    steps.push(Step::OomScore { value: 1000 }, &[]);
    steps.push(Step::Undumpable {}, &[]);
    // No signal at the launcher's death: by the lifeline this process learns of it
    // and still ends what it has adopted.
    steps.push(Step::Adopt {}, cleanup);
    steps.push(Step::MachineRoot {}, &[Rule::Devices]);
    steps.push(Step::NoNewPrivs {}, &[Rule::Nesting]);
    steps.push(Step::Fork {}, &[]);
    steps.push(Step::DieWithFirst {}, cleanup);
}

/// Here the kernel would count every task of the user's.
fn without_counting_tasks(steps: &mut Steps) {
    let counts = |step: &OwnedStep| {
        matches!(
            step,
            Step::Rlimit {
                resource: Resource::Processes,
                ..
            }
        )
    };
    let Some(at) = steps.list.iter().position(counts) else {
        return;
    };
    steps.list.remove(at);
    for indices in steps.of.values_mut() {
        indices.retain(|index| usize::from(*index) != at);
        for index in indices {
            *index -= u16::from(usize::from(*index) > at);
        }
    }
}

/// No home and no place for temporary files but those that the operator names.
fn without_scratch(
    variables: Vec<belljar_plan::Bytes>,
    effective: &Effective,
    tmp: &str,
) -> Vec<belljar_plan::Bytes> {
    let own = |name: &str, value: &str| format!("{name}={value}").into_bytes();
    let said = |name: &str| {
        effective.set.contains_key(name) || effective.pass.iter().any(|passed| passed == name)
    };
    let (home, temporary) = (own("HOME", HOME), own("TMPDIR", tmp));
    variables
        .into_iter()
        .filter(|variable| said("TMPDIR") || variable.0 != temporary)
        .map(|variable| match variable.0 == home && !said("HOME") {
            true => "HOME=/".into(),
            false => variable,
        })
        .collect()
}

fn identity(facts: &HostFacts) -> Identity {
    let others = facts.groups.iter().filter(|group| **group != facts.gid);
    Identity {
        uid: facts.uid,
        gid: facts.gid,
        machine: MachineIdentity::Caller {
            uid: facts.uid,
            gid: facts.gid,
        },
        groups_kept: others.copied().collect(),
    }
}

/// What holds a rule here, and how strongly; none where it is as with namespaces.
pub(super) fn enforcement(
    rule: Rule,
    facts: &HostFacts,
    domain: &Domain,
) -> Option<(String, Strength)> {
    use Strength::{Kernel, None as Nothing, Supervisor};
    let (mechanism, strength) = match rule {
        Rule::Files => (
            format!(
                "nothing: {} lets only granted paths be opened, but names and attributes of all files can be seen",
                domain.mechanism()
            ),
            Nothing,
        ),
        Rule::Network => (
            "seccomp: no sockets of the internet protocols".to_owned(),
            Kernel,
        ),
        Rule::Tasks => (
            "nothing: other tasks can be seen; signals to them refused by Landlock's scope where its ABI has it (6), tracing by seccomp"
                .to_owned(),
            Nothing,
        ),
        Rule::Ipc => (
            "seccomp: no objects of System V and POSIX, no keyrings; /dev/shm closed by Landlock".to_owned(),
            Kernel,
        ),
        Rule::Identity => (
            format!("the machine sees uid {}, who started it", facts.uid),
            Kernel,
        ),
        Rule::Privileges => (
            "nothing: no_new_privs, and a user's empty sets, but the bounding set is as it was".to_owned(),
            Nothing,
        ),
        Rule::Devices => (
            "Landlock: no device can be opened but null, zero, full, random, urandom; none can be made".to_owned(),
            Kernel,
        ),
        Rule::KernelInfo => ("nothing: /proc is the machine's".to_owned(), Nothing),
        Rule::Cleanup => (
            "the jar's first process adopts what is left behind and ends it, and the launcher what that leaves".to_owned(),
            Supervisor,
        ),
        Rule::Disk => (
            "granted directories: sampled growth; there is no private scratch".to_owned(),
            Supervisor,
        ),
        Rule::Processes => (
            "nothing: without a user namespace the kernel counts all tasks of the user".to_owned(),
            Nothing,
        ),
        _ => return None,
    };
    Some((mechanism, strength))
}

/// What to say besides where rules are lost only for want of namespaces.
pub(in super::super) fn tell_how(plan: &Plan, unmet: &mut [Unmet]) {
    if !plan.steps.contains(&Step::Adopt {}) {
        return;
    }
    let flags: Vec<String> = unmet
        .iter()
        .map(|unmet| format!("--best-effort {}", unmet.rule))
        .collect();
    let how = format!(
        "or run it without namespaces, held by Landlock, seccomp and rlimits alone: `{}`",
        flags.join(" ")
    );
    for unmet in unmet {
        unmet.remedy = format!("{}; {how}", unmet.remedy);
    }
}
