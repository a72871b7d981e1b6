//! The planner for Linux: namespaces, a root in memory, no privileges, limits.

use std::collections::BTreeMap;

use belljar_plan::{
    Attributes, Bytes, Filter, Limit, Namespaces, Plan, Preset, Rule, Source, Step,
    plan::{Hidden, PluginName, SCHEMA},
    step::OwnedStep,
};

use super::{
    environment::{Denied, SYSTEM_PATH, environment},
    program,
    program::Exec,
    tree::TreeSteps,
};
use crate::{
    effective::Effective,
    facts::HostFacts,
    path::UnixPath,
    policy::Said,
    refusal::Refusal,
    verified::{Executable, ProgramBytes, Subject, Verified},
};

mod buffers;
mod cgroup;
mod change;
mod code;
pub mod confine;
mod filter;
mod landlock;
mod least;
mod limits;
pub(super) mod lower;
mod places;
mod root;
mod rules;
mod shown;
mod together;
mod who;

use cgroup::Cgroup;
pub use change::{Change, change};
pub(crate) use filter::lifted;
use landlock::Domain;
pub(crate) use landlock::file_bit;
use places::{grants, hidden, refuse_below_hidden, sys_granted, workdir};
use root::{PLUGIN, Root};
pub use together::together;
use who::{identity, notes, refuse_group_only};

/// Steps in order, and which rule each of them serves.
#[derive(Default)]
struct Steps {
    list: Vec<OwnedStep>,
    of: BTreeMap<Rule, Vec<u16>>,
}

impl Steps {
    fn push(&mut self, step: OwnedStep, rules: &[Rule]) {
        let index = u16::try_from(self.list.len()).unwrap_or(u16::MAX);
        for rule in rules {
            self.of.entry(*rule).or_default().push(index);
        }
        self.list.push(step);
    }

    fn extend(&mut self, steps: impl IntoIterator<Item = OwnedStep>, rules: &[Rule]) {
        for step in steps {
            self.push(step, rules);
        }
    }
}

/// Makes the plan for a Linux machine.
pub(super) fn plan(
    verified: &Verified,
    effective: &Effective,
    facts: &HostFacts,
) -> Result<Plan, Refusal> {
    refuse_group_only(verified, effective, facts)?;
    if let Some(plan) = lower::plan(verified, effective, facts)? {
        return Ok(plan);
    }
    let mut root = Root::new(effective, verified, facts);
    for grant in &effective.grants {
        root.grant(grant, verified, effective, facts)?;
    }
    let workdir = workdir(&mut root, verified, effective, facts)?;
    let (exec, plugin, image) = subject(&mut root, verified, effective, facts)?;
    let foreseen =
        code::executable(verified).and_then(|program| code::foreseen(program, effective));
    let hidden = hidden(&root, effective, facts);
    refuse_below_hidden(&hidden, verified, effective)?;
    let unseen = shown::unseen(&root, &hidden, verified, effective)?;
    let namespaces = Namespaces {
        network: effective.namespaces.network && effective.preset.value != Preset::Minimal,
        ..effective.namespaces
    };
    if !(namespaces.user && namespaces.pid && namespaces.mount) {
        return Err(Refusal::Invalid {
            reason: "[linux] namespaces must keep user, pid and mount: a jar is made of them"
                .to_owned(),
        });
    }
    let mut limits = limits::planned(effective, &facts.bounds);
    let filter = filter::planned(verified, effective, facts, namespaces);
    filter::unseen(effective, filter.as_ref(), facts)?;
    filter::unobserved(effective, filter.as_ref(), facts)?;
    let variables = environment(
        effective,
        &verified.caller,
        &root.tree,
        root.tmp,
        Denied {
            network: namespaces.network,
            programs: filter
                .as_ref()
                .is_some_and(|filter| filter.exec == belljar_plan::filter::Exec::Once),
        },
        super::told::memory(code::executable(verified), &limits),
    );
    let domain = landlock::planned(&root, effective, facts, namespaces, filter.as_ref());

    let mut steps = Steps::default();
    let of_tree = root.tree.steps();
    let together = together::planned(effective, facts)?;
    least::refuse(&limits, &together, verified)?;
    let cpuset = cgroup::cpuset(effective, facts)?;
    let cgroup = Cgroup::planned(&limits, &together, cpuset, facts, own_bytes(&of_tree));
    let unheld = cgroup.without_optional(&mut limits, verified);
    // What is left may be held.
    let cgroup = Cgroup::planned(&limits, &together, cpuset, facts, own_bytes(&of_tree));
    before(&mut steps, &root, namespaces, &cgroup, effective, facts);
    own_root(&mut steps, &of_tree, facts, domain.is_ok());
    files(
        &mut steps, of_tree, &hidden, &limits, namespaces, effective, facts,
    );
    privileges(&mut steps, namespaces, effective, domain.as_ref().ok());
    guest(
        &mut steps,
        &limits,
        effective,
        facts,
        &workdir,
        Walls {
            namespaces,
            domain: domain.as_ref().ok(),
            filter: filter.as_ref(),
            cgroup: &cgroup,
        },
    )?;
    let growth = effective.grants.iter().any(|grant| grant.write);
    let quota = limits
        .iter()
        .find(|limit| growth && limit.covers_grants(effective.preset.value))
        .and_then(|limit| limits::quota(limit.hard?, verified.project?));
    let program = exec.path.as_str().into();
    steps.push(
        Step::Exec {
            path: exec.path.as_str().into(),
            arguments: exec.arguments,
            variables,
        },
        &[],
    );
    if steps.list.len() > usize::from(u16::MAX) {
        return Err(Refusal::Invalid {
            reason: "the plan has more than 65,535 steps: ship fewer files, or grant directories instead of files".to_owned(),
        });
    }
    // The environment is part of exec itself, which leaves no receipt but the
    // program's start.
    let rules = rules::planned(
        effective,
        facts,
        rules::Placed {
            namespaces,
            limits: &limits,
            growth: growth
                && limits
                    .iter()
                    .any(|limit| limit.covers_grants(effective.preset.value)),
            quota,
            sys: sys_granted(verified, effective),
            filter: filter.as_ref(),
            own_code: code::asked_for(verified, effective, &root.tree),
            domain: domain.as_ref(),
            cgroup: &cgroup,
            lower: false,
            steps: steps.of,
        },
    );
    let observed = filter::note(filter.as_ref());
    Ok(Plan {
        schema: SCHEMA,
        preset: effective.preset.value,
        plugin,
        program,
        rules,
        limits,
        together: together.clone(),
        quota,
        grants: grants(verified, effective),
        hidden: hidden
            .into_iter()
            .map(|said| Hidden {
                path: said.value.as_str().into(),
                origin: said.origin,
            })
            .collect(),
        sockets: filter::sockets(verified, effective),
        filter,
        landlock: domain.ok().map(|domain| domain.named),
        end_on: effective.end_on.keys().copied().collect(),
        identity: identity(effective, facts),
        slots: root.slots,
        image,
        terminal: effective.terminal.is_some(),
        said: effective.said.clone(),
        dropped: [&effective.dropped[..], &unseen, &unheld].concat(),
        weakenings: effective.weakenings.clone(),
        notes: [
            notes(facts),
            together::note(&together).into_iter().collect(),
            cgroup::note(&cgroup, facts),
            self::limits::note(&facts.bounds).into_iter().collect(),
            foreseen.into_iter().collect(),
            observed.into_iter().collect(),
        ]
        .concat(),
        steps: steps.list,
    })
}

/// The launcher's steps, and pid 1's until it has a root to build.
fn before(
    steps: &mut Steps,
    root: &Root,
    namespaces: Namespaces,
    cgroup: &Cgroup,
    effective: &Effective,
    facts: &HostFacts,
) {
    let (uid, gid) = effective.user;
    steps.extend(root.detach.iter().cloned(), &[Rule::Files]);
    if let Some((step, rules)) = cgroup.step() {
        steps.push(step, &rules);
    }
    let mut of_clone = vec![Rule::Files, Rule::Identity, Rule::Cleanup];
    of_clone.extend(namespaces.network.then_some(Rule::Network));
    of_clone.extend(namespaces.pid.then_some(Rule::Tasks));
    of_clone.extend(namespaces.ipc.then_some(Rule::Ipc));
    steps.push(Step::Clone { namespaces }, &of_clone);
    steps.push(
        Step::MapIds {
            uid,
            gid,
            deny_setgroups: !facts.privileged,
        },
        &[Rule::Identity, Rule::Processes],
    );
    if facts.privileged {
        steps.push(Step::DropGroups {}, &[Rule::Identity]);
    }
    steps.push(
        Step::TakeIds { uid, gid },
        &[Rule::Identity, Rule::Processes],
    );
    steps.push(Step::OomScore { value: 1000 }, &[]);
    steps.push(Step::Undumpable {}, &[Rule::Tasks]);
    steps.push(Step::DieWithLauncher {}, &[Rule::Cleanup]);
    steps.push(Step::PrivateMounts {}, &[Rule::Files, Rule::Cleanup]);
}

/// How many bytes the plugin's own files, directories and links take.
fn own_bytes(of_tree: &TreeSteps) -> u64 {
    let bytes = of_tree.own.iter().map(|step| match step {
        Step::PluginFile { length, .. } => length.next_multiple_of(4096),
        _ => 4096,
    });
    bytes.sum()
}

/// The jar's own root, and what lies in it itself.
fn own_root(steps: &mut Steps, of_tree: &TreeSteps, facts: &HostFacts, canary: bool) {
    // Room for the plugin's own files, and a little for directories and links.
    let own = &of_tree.own;
    let image = own_bytes(of_tree);
    let count = u64::try_from(own.len()).unwrap_or(u64::MAX);
    steps.push(
        Step::Root {
            size: image + (1 << 20),
            inodes: count + 256,
            stage: facts.layout.stage.as_str().into(),
        },
        &[Rule::Files, Rule::Cleanup],
    );
    steps.extend(own.iter().cloned(), &[]);
    if canary {
        steps.push(Step::Canary {}, &[Rule::Files]);
    }
}

/// What is mounted in it.
fn files(
    steps: &mut Steps,
    of_tree: TreeSteps,
    hidden: &[Said<UnixPath>],
    limits: &[belljar_plan::plan::PlannedLimit],
    namespaces: Namespaces,
    effective: &Effective,
    facts: &HostFacts,
) {
    let disk = limits
        .iter()
        .find(|planned| planned.limit == Limit::Disk)
        .and_then(|planned| planned.hard)
        .unwrap_or(1 << 30);
    steps.push(
        Step::Scratch {
            size: disk,
            inodes: limits::inodes(disk),
            stage: ".scratch".into(),
        },
        &[Rule::Disk, Rule::Cleanup],
    );
    steps.extend(of_tree.scratch, &[Rule::Disk]);
    steps.extend(of_tree.inside_scratch, &[]);
    let (early, late) = by_descriptor_last(of_tree.binds);
    steps.extend(early, &[Rule::Files]);
    let strict = effective.preset.value == Preset::Strict;
    let settings = buffers::sysctls(namespaces, effective.preset.value);
    if !settings.is_empty() {
        steps.push(Step::Sysctls { settings }, &[Rule::Memory]);
    }
    steps.push(
        Step::Proc {
            target: "proc".into(),
            attributes: proc_attributes(strict),
        },
        &[Rule::Tasks, Rule::KernelInfo],
    );
    steps.push(
        Step::Devpts {
            target: "dev/pts".into(),
        },
        &[Rule::Devices],
    );
    for (name, major, minor) in devices(effective.terminal.is_some()) {
        steps.push(
            Step::Device {
                name: name.into(),
                major,
                minor,
            },
            &[Rule::Devices],
        );
    }
    for name in &facts.layout.proc_hidden {
        steps.push(
            Step::Mask {
                path: format!("proc/{name}").into(),
            },
            &[Rule::KernelInfo],
        );
    }
    if !strict {
        for name in &facts.layout.proc_read_only {
            steps.push(
                Step::ReadOnly {
                    path: format!("proc/{name}").into(),
                },
                &[Rule::KernelInfo],
            );
        }
    }
    steps.extend(late, &[Rule::Files]);
    for said in hidden {
        steps.push(
            Step::Mask {
                path: said.value.relative().into(),
            },
            &[Rule::Files],
        );
    }
    steps.push(Step::LeaveMachine {}, &[Rule::Files, Rule::Cleanup]);
    steps.push(Step::SealRoot {}, &[Rule::Files]);
}

/// The jar's own view of its tasks: `strict` writes nothing in it.
const fn proc_attributes(strict: bool) -> Attributes {
    Attributes {
        read_only: strict,
        no_suid: true,
        no_dev: true,
        no_exec: true,
    }
}

/// The devices that every jar has, by name and number.
fn devices(terminal: bool) -> impl Iterator<Item = (&'static str, u32, u32)> {
    [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
    ]
    .into_iter()
    .chain(terminal.then_some(("tty", 5, 0)))
}

/// The binds in two lots: what enters by descriptor, and what is shown inside
/// of that, comes last, since a child that is made ahead can do all that comes
/// before without it.
fn by_descriptor_last(binds: Vec<OwnedStep>) -> (Vec<OwnedStep>, Vec<OwnedStep>) {
    let mut late_targets: Vec<Bytes> = Vec::new();
    binds.into_iter().partition(|step| {
        let Step::Bind { source, target, .. } = step else {
            return true;
        };
        let below = |other: &Bytes| {
            target
                .0
                .strip_prefix(other.0.as_slice())
                .is_some_and(|rest| rest.starts_with(b"/"))
        };
        let late = matches!(source, Source::Slot { .. }) || late_targets.iter().any(below);
        if late {
            late_targets.push(target.clone());
        }
        !late
    })
}

/// The rest of pid 1's steps.
fn privileges(
    steps: &mut Steps,
    namespaces: Namespaces,
    effective: &Effective,
    domain: Option<&Domain>,
) {
    if namespaces.uts {
        steps.push(
            Step::Hostname {
                name: effective.hostname.as_str().into(),
            },
            &[],
        );
    }
    if namespaces.network {
        steps.push(Step::Loopback {}, &[]);
    }
    if let Some((rows, columns)) = effective.terminal {
        steps.push(Step::Terminal { rows, columns }, &[Rule::Terminal]);
    }
    if domain.is_some_and(Domain::has_queues) {
        steps.push(Step::Queues {}, &[]);
    }
    steps.push(Step::Keyring {}, &[Rule::Ipc]);
    steps.push(Step::NoNewPrivs {}, &[Rule::Privileges]);
    steps.push(Step::Securebits {}, &[Rule::Privileges]);
    let (keep, ambient) = effective.capabilities;
    steps.push(Step::Capabilities { keep, ambient }, &[Rule::Privileges]);
    steps.push(Step::Fork {}, &[]);
}

/// What the guest's own process puts around itself.
#[derive(Clone, Copy)]
struct Walls<'a> {
    namespaces: Namespaces,
    domain: Option<&'a Domain>,
    filter: Option<&'a Filter>,
    cgroup: &'a Cgroup,
}

/// The steps of the guest's own process, but for exec.
fn guest(
    steps: &mut Steps,
    limits: &[belljar_plan::plan::PlannedLimit],
    effective: &Effective,
    facts: &HostFacts,
    workdir: &UnixPath,
    walls: Walls<'_>,
) -> Result<(), Refusal> {
    steps.push(
        Step::Session {
            terminal: effective.terminal.is_some(),
        },
        &[Rule::Terminal],
    );
    steps.push(Step::Streams {}, &[Rule::Terminal, Rule::Descriptors]);
    if let Some(domain) = walls.domain {
        let of_domain = landlock::rules(domain, walls.namespaces);
        let (ruleset, allowed, restrict) = domain.steps();
        steps.push(ruleset, &of_domain);
        steps.extend(allowed, &[Rule::Files]);
        steps.push(restrict, &of_domain);
    }
    steps.push(Step::CloseDescriptors {}, &[Rule::Descriptors]);
    steps.push(
        Step::Workdir {
            path: workdir.as_str().into(),
        },
        &[],
    );
    steps.push(Step::Umask { mask: 0o022 }, &[]);
    for (step, limit) in limits::rlimits(limits, walls.cgroup, effective.preset.value, facts) {
        let rule = limit.map(Limit::rule);
        steps.push(step, rule.as_slice());
    }
    steps.push(Step::Signals {}, &[]);
    if let Some(filter) = walls.filter {
        let rules = filter::rules(filter);
        for step in filter::steps(filter, facts)? {
            let fixes = matches!(step, Step::FixedCode {});
            steps.push(step, if fixes { &[Rule::WritableCode] } else { &rules });
        }
    }
    Ok(())
}

/// What is executed, the plugin's name, and the digest of its image.
fn subject(
    root: &mut Root,
    verified: &Verified,
    effective: &Effective,
    facts: &HostFacts,
) -> Result<(Exec, Option<PluginName>, Option<String>), Refusal> {
    match &verified.subject {
        Subject::Program(asked) => {
            let strict = effective.preset.value == Preset::Strict;
            let searched: Vec<String> = if strict {
                vec!["/bin".to_owned()]
            } else {
                SYSTEM_PATH.map(str::to_owned).to_vec()
            };
            let (at, executable) = program::choose(
                asked,
                |path, found| {
                    (strict && root::in_system(found, facts)) || root.tree.shows(path, &found.path)
                },
                &searched,
            )?;
            let (inside, image) = match &asked.bytes {
                ProgramBytes::AtPath | ProgramBytes::Caller => {
                    (root.program(at, executable, effective, facts)?, None)
                }
                ProgramBytes::CallerImage { digest, length } => {
                    (root.copy(at, *length), Some(digest.clone()))
                }
            };
            prepare(root, executable, facts)?;
            let exec = program::exec(
                &inside,
                asked.asked.clone(),
                executable,
                asked.arguments.iter().cloned(),
            )?;
            Ok((exec, None, image))
        }
        Subject::Plugin(plugin) => {
            let section = &plugin.manifest.plugin;
            let entry = UnixPath::new(PLUGIN)
                .and_then(|directory| directory.join(&section.entry))
                .map_err(|source| Refusal::Invalid {
                    reason: format!("{}: plugin.entry: {source}", plugin.manifest.file),
                })?;
            let executable = plugin
                .entry
                .as_ref()
                .map_err(|errno| Refusal::NotRunnable {
                    path: entry.as_str().into(),
                    errno: *errno,
                    remedy: "the entry must be a program or a script with a `#!` line".to_owned(),
                })?;
            prepare(root, executable, facts)?;
            let arguments = section
                .args
                .iter()
                .map(|argument| Bytes::from(argument.as_str()))
                .chain(plugin.arguments.iter().cloned());
            let exec = program::exec(&entry, entry.as_str().into(), executable, arguments)?;
            let name = PluginName {
                name: section.name.clone(),
                version: section.version.to_string(),
            };
            Ok((exec, Some(name), Some(plugin.image.clone())))
        }
    }
}

/// Shows what an executable needs to start, and refuses an interpreter that is
/// not to be seen.
fn prepare(root: &mut Root, executable: &Executable, facts: &HostFacts) -> Result<(), Refusal> {
    root.needed(&program::needs(executable), facts);
    root.needed_elsewhere(program::elsewhere(executable));
    match program::hidden_interpreter(executable, |path, found| root.tree.shows(path, &found.path))
    {
        Some(unmet) => Err(Refusal::Unmet { unmet: vec![unmet] }),
        None => Ok(()),
    }
}
