//! What this machine can enforce, found by doing it: the plan of a launch is
//! made and every step of it done by the real launcher, up to a program that is not
//! there. What fails teaches, and the next plan is made with that.
//!
//! It takes some twenty times as long as a launch, which is why no launch does it.

use std::{collections::BTreeSet, io, sync::Arc};

use belljar_plan::{Plan, Preset, Resource, Step};
use belljar_policy::{
    HostFacts, Policy, UnixPath, Verified,
    facts::{Ability, Examined, Idmapped},
    trial,
};

use super::{after_failure, examine, found, layout, remember, unavailable};
use crate::{
    launch::{self, Basis, Came, Decided, Fixed},
    supervise::Failure,
    sys::{facts::filtered, look},
    verify::Image,
};

/// A plan that fits better is tried this often: each time the machine has turned
/// out to hold less.
const ATTEMPTS: usize = 12;

/// Directories of which each may lie on a file system of its own.
const PLACES: [&str; 8] = [
    "/usr", "/home", "/root", "/srv", "/var", "/tmp", "/run", "/dev/shm",
];

/// What this machine can enforce, and what it turned out not to, tried for each
/// preset. The places of all presets are in it, and what was examined besides.
///
/// Nothing is run but Belljar's own set-up, and nothing is left of it; where root
/// asks, the file of leases in `/run/belljar` is made as by any launch.
pub async fn tried() -> HostFacts {
    let mut facts = found(layout::whole());
    let mut done = BTreeSet::new();
    for preset in [Preset::Strict, Preset::Standard, Preset::Minimal] {
        let policy = Policy::of(preset);
        hold(&mut facts, &mut done, trial::plugin(), &policy).await;
    }
    if let Some((program, policy)) = lower(&facts) {
        hold(&mut facts, &mut done, program, &policy).await;
    }
    count_tasks(&mut facts).await;
    let idmapped = map_ids(&mut facts, &mut done).await;
    crate::sys::cgroup::take_back();
    facts.examined = Some(Examined {
        done: done.into_iter().map(str::to_owned).collect(),
        idmapped,
        ..examine::examine(&facts)
    });
    remember(&facts);
    facts
}

/// What is to be tried where a machine refuses namespaces.
fn lower(facts: &HostFacts) -> Option<(Verified, Policy)> {
    let (_, lost) = trial::without_namespaces(facts)?;
    let accepting = lost
        .iter()
        .fold(Policy::standard(), |policy, rule| policy.best_effort(*rule));
    Some((trial::program(facts)?, accepting))
}

/// Plans and tries until a plan holds, or there is none. Gives whether one holds.
async fn hold(
    facts: &mut HostFacts,
    done: &mut BTreeSet<&'static str>,
    verified: Verified,
    policy: &Policy,
) -> bool {
    let mut looked_again = false;
    for _ in 0..ATTEMPTS {
        let Ok(plan) = belljar_policy::plan(&verified, policy, facts) else {
            return false;
        };
        let decided = match decided(verified.clone(), policy, facts, plan) {
            Ok(decided) => decided,
            Err(error) => {
                facts.tasks = cannot("make a file in memory", &error);
                return false;
            }
        };
        let trial = decided.try_out().await;
        done.extend(trial.done);
        let failure = match trial.came {
            Came::Through => return true,
            Came::Short(failure) => failure,
        };
        // What was there when it was looked at may be gone.
        if !looked_again {
            looked_again = true;
            let fresh = layout::whole();
            if without_sockets(&fresh) != without_sockets(&facts.layout) {
                facts.layout = fresh;
                continue;
            }
        }
        learn(facts, &decided.plan, &failure);
    }
    // Something else comes each time: a machine on which nothing can be relied on.
    facts.tasks = unavailable(
        "a trial failed in another way each time that it was made",
        "look in the kernel's log and in the audit log",
    );
    false
}

/// Takes what failed out of what can be done. It always takes something out.
fn learn(facts: &mut HostFacts, plan: &Plan, failure: &Failure) {
    match failure {
        Failure::Step { index, errno } => {
            let step = plan.steps.get(*index).map_or("exec", Step::word);
            let learnt = after_failure(facts, step, *errno);
            if learnt == *facts {
                unexplained(facts, step, &plan.describe_step(*index), *errno);
            } else {
                *facts = learnt;
            }
        }
        Failure::Before { what, errno } => {
            facts.tasks = cannot(what, &io::Error::from_raw_os_error(*errno));
        }
        Failure::Lost | Failure::Limit(_) => {
            facts.tasks = unavailable(
                "the launcher or the jar's first process was killed while it set up a jar",
                "look in the kernel's log and in the audit log for what killed it: a seccomp filter around this process, \
                 or a want of memory",
            );
        }
    }
}

fn without_sockets(layout: &belljar_policy::facts::Layout) -> belljar_policy::facts::Layout {
    belljar_policy::facts::Layout {
        sockets: Vec::new(),
        ..layout.clone()
    }
}

fn cannot(what: &str, error: &io::Error) -> Ability {
    unavailable(
        format!("Belljar cannot {what}: {error}"),
        remedy(error.raw_os_error().unwrap_or(0)),
    )
}

/// What there may be too little of, or who may have refused it.
fn remedy(errno: i32) -> &'static str {
    const EPERM: i32 = 1;
    const EAGAIN: i32 = 11;
    const ENOMEM: i32 = 12;
    const EACCES: i32 = 13;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const EFBIG: i32 = 27;
    const ENOSYS: i32 = 38;
    match errno {
        EMFILE => "let Belljar have more open files: `ulimit -n 1024`",
        ENFILE => "raise the sysctl fs.file-max, or end what holds so many files open",
        EAGAIN => {
            "let this user have more processes (`ulimit -u 4096`, `pids.max` of its cgroup), or end some of them"
        }
        ENOMEM => "free some memory, or raise `memory.max` of the cgroup that this process is in",
        EFBIG => {
            "let Belljar write larger files: `ulimit -f unlimited`; what it makes in memory counts"
        }
        EPERM | EACCES | ENOSYS if filtered() => {
            "a seccomp filter is around this process, and may be what refuses it: run the container with \
             `--security-opt seccomp=unconfined`, or Belljar outside of it"
        }
        _ => "look in the kernel's log and in the audit log for what refused it",
    }
}

/// A launch would end at this step too, so nothing may be planned with it.
fn unexplained(facts: &mut HostFacts, step: &str, described: &str, errno: i32) {
    let cause = match errno {
        0 => "it was cut short".to_owned(),
        errno => io::Error::from_raw_os_error(errno).to_string(),
    };
    let ability = unavailable(
        format!("the step `{described}` of a launch fails here: {cause}"),
        remedy(errno),
    );
    match step {
        "clone" | "map_ids" | "take_ids" | "drop_groups" => facts.namespaces = ability,
        "private_mounts" | "root" | "bind" | "scratch" | "devpts" | "device" | "mask"
        | "read_only" | "leave_machine" | "seal_root" => facts.mounts = ability,
        "proc" => facts.proc = ability,
        "detach" => facts.idmap = ability,
        "filter" | "no_new_privs" => facts.seccomp = ability,
        _ => facts.tasks = ability,
    }
}

/// Whether the kernel counts tasks by user namespace. With room for two in the
/// jar's own, its first process starts another, however many tasks the user has
/// elsewhere; with room for one it can't.
async fn count_tasks(facts: &mut HostFacts) {
    const EAGAIN: i32 = 11;
    if !facts.processes_counted.is_available() {
        return;
    }
    let Ok(plan) = trial::of_preset(Preset::Strict, facts) else {
        return;
    };
    let Some(fork) = fork(&plan) else {
        return;
    };
    let mut came = Vec::new();
    for most in [2, 1] {
        let plan = with_room_for(most, plan.clone());
        let Ok(decided) = decided(trial::plugin(), &Policy::strict(), facts, plan) else {
            return;
        };
        came.push(decided.try_out().await.came);
    }
    // The bound's step was put before it.
    let refused = Came::Short(Failure::Step {
        index: fork + 1,
        errno: EAGAIN,
    });
    if came.first() == Some(&refused) {
        facts.processes_counted = unavailable(
            "this kernel counts a user's tasks over all user namespaces",
            "boot Linux 5.14 or later",
        );
    } else if came != [Came::Through, refused] {
        facts.processes_counted = unavailable(
            "RLIMIT_NPROC does not hold the tasks of a user namespace here",
            "run Belljar where the kernel is Linux's own",
        );
    }
}

fn fork(plan: &Plan) -> Option<usize> {
    plan.steps
        .iter()
        .position(|step| matches!(step, Step::Fork {}))
}

/// The same plan with room for so many tasks, bounded by pid 1 before it forks.
fn with_room_for(most: u64, mut plan: Plan) -> Plan {
    plan.steps.retain(|step| {
        !matches!(
            step,
            Step::Rlimit {
                resource: Resource::Processes,
                ..
            }
        )
    });
    if let Some(fork) = fork(&plan) {
        let bound = Step::Rlimit {
            resource: Resource::Processes,
            soft: most,
            hard: most,
        };
        plan.steps.insert(fork, bound);
    }
    plan
}

/// Tries a mount of each file system with the ids of a jar. They can be had
/// where one of them takes them.
async fn map_ids(facts: &mut HostFacts, done: &mut BTreeSet<&'static str>) -> Vec<Idmapped> {
    let jars = trial::of_preset(Preset::Standard, facts).is_ok();
    if !jars || !facts.privileged || !facts.idmap.is_available() {
        return Vec::new();
    }
    let mut devices = Vec::new();
    let mut tried = Vec::new();
    for path in PLACES {
        let Ok(path) = UnixPath::new(path) else {
            continue;
        };
        let Ok(directory) = look::look(&path) else {
            continue;
        };
        if devices.contains(&directory.device) {
            continue;
        }
        devices.push(directory.device);
        let mut learnt = facts.clone();
        let (verified, policy) = trial::granting(&directory);
        let is_possible = match hold(&mut learnt, done, verified, &policy).await {
            true => Ability::Available,
            false if learnt.idmap.is_available() => unavailable(
                "it could not be tried: a launch fails before",
                "look at what else is missing",
            ),
            false => learnt.idmap,
        };
        tried.push(Idmapped {
            path: directory.path,
            is_possible,
        });
    }
    if let Some(first) = tried.first()
        && tried.iter().all(|place| !place.is_possible.is_available())
    {
        facts.idmap = first.is_possible.clone();
    }
    tried
}

fn decided(
    verified: Verified,
    policy: &Policy,
    facts: &HostFacts,
    plan: Plan,
) -> io::Result<Decided> {
    let (plan, digest) = launch::shared(plan);
    Ok(Decided {
        basis: Arc::new(Basis {
            verified,
            image: Some(Image::of(trial::FILE)?),
            policy: policy.clone(),
        }),
        facts: Arc::new(facts.clone()),
        plan,
        digest,
        fixed: Fixed::Yes,
    })
}
