//! What this machine can enforce, found out fast: by system calls that change
//! nothing, and by looking at the usual places. The launch is the proof; when
//! one of its steps fails, [`after_failure`] finds the true cause. [`tried`] takes
//! its time instead, and does every step.

mod cgroups;
mod examine;
mod failure;
mod layout;
mod tried;

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use belljar_plan::Preset;
use belljar_policy::{
    HostFacts,
    facts::{Ability, JarCgroups, Layout, Os},
};

pub(crate) use self::cgroups::will_have_one;
pub use self::{failure::after_failure, tried::tried};
use crate::sys::facts::{self, Call};

/// What this machine can enforce, with the places that the presets `standard`
/// and `strict` show.
#[must_use]
pub fn facts() -> HostFacts {
    facts_for(Preset::Standard)
}

/// The same as [`facts_for`], looked at once in the life of the host: places
/// like `/usr` don't move. Where they did, the launch fails on what it finds
/// instead, and [`refreshed`] looks again. Sockets come and go, so they, and what
/// `minimal` hides, are looked at each time.
pub(crate) fn known_for(preset: Preset) -> HostFacts {
    if preset == Preset::Minimal {
        return facts_for(preset);
    }
    let user = facts::user();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |at: &&Known| at.preset == preset && at.user == user;
    if let Some(known) = known.iter().find(same) {
        let mut facts = known.facts.clone();
        facts.layout.sockets = layout::system_sockets(&facts.layout);
        return facts;
    }
    let facts = facts_for(preset);
    known.push(Known {
        preset,
        user,
        facts: facts.clone(),
    });
    facts
}

/// Looks again, after a launch failed on what was known.
pub(crate) fn refreshed(preset: Preset) -> HostFacts {
    drop(just_seen());
    KNOWN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|known| known.preset != preset);
    known_for(preset)
}

/// Where jars can have cgroups, which a launch wants to know before all else.
pub(crate) fn jar_cgroups(preset: Preset) -> JarCgroups {
    let user = facts::user();
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |at: &&Known| at.preset == preset && at.user == user;
    if let Some(known) = known.iter().find(same) {
        return known.facts.jar_cgroups.clone();
    }
    drop(known);
    let learnt = LEARNT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(learnt) = &learnt.jar_cgroups {
        return learnt.clone();
    }
    drop(learnt);
    let found = cgroups::jar_cgroups();
    let mut just_seen = JUST_SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    *just_seen = Some((Instant::now(), user, found.clone()));
    found
}

/// What a launch saw of cgroups before it looked at the rest, which it need not see twice.
static JUST_SEEN: Mutex<Option<(Instant, facts::User, JarCgroups)>> = Mutex::new(None);

fn just_seen() -> Option<JarCgroups> {
    const FRESH: Duration = Duration::from_millis(20);
    let mut seen = JUST_SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let (when, user, found) = seen.take()?;
    (when.elapsed() < FRESH && user == facts::user()).then_some(found)
}

/// What was found, for whom and for which preset.
struct Known {
    preset: Preset,
    user: facts::User,
    facts: HostFacts,
}

static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

/// What this machine can enforce, with the places that a preset shows. Only
/// `minimal` needs a list of the machine's secrets, which takes longer.
#[must_use]
pub fn facts_for(preset: Preset) -> HostFacts {
    found(layout::layout(preset))
}

/// What cheap calls tell, beside the places that were looked at.
fn found(layout: Layout) -> HostFacts {
    let process = facts::process();
    let privileged = facts::privileged();
    let all_gids = [&[process.gid], process.groups.as_slice()].concat();
    let calls = Calls {
        filtered: facts::filtered(),
    };
    let landlock_abi = facts::landlock_abi();
    let learnt = LEARNT
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let learnt_cgroups = learnt.jar_cgroups.clone();
    learnt.correct(HostFacts {
        os: Os::Linux,
        release: process.release,
        machine: process.machine,
        uid: process.uid,
        gid: process.gid,
        groups: process.groups,
        privileged,
        mapped_root: facts::mapped_root(),
        namespaces: if crate::sys::look::exists("/proc/self/ns/user")
            || !crate::sys::look::exists("/proc/self")
        {
            Ability::Available
        } else {
            unavailable(
                "the kernel was built without user namespaces",
                boot("a kernel with CONFIG_USER_NS"),
            )
        },
        mounts: calls.all(
            &[
                (Call::OpenTree, "open_tree"),
                (Call::MoveMount, "move_mount"),
                (Call::Fsopen, "fsopen"),
                (Call::Fsmount, "fsmount"),
                (Call::Openat2, "openat2"),
                (Call::MountSetattr, "mount_setattr"),
            ],
            "5.12",
        ),
        proc: if crate::sys::look::exists("/proc/self") {
            Ability::Available
        } else {
            unavailable(
                "/proc is not mounted",
                "mount it: `mount -t proc proc /proc`",
            )
        },
        idmap: if privileged {
            calls.all(&[(Call::MountSetattr, "mount_setattr")], "5.12")
        } else {
            unavailable(
                "only root in the machine's own user namespace may map the ids of a mount",
                "start Belljar as root, or grant paths that the user can read",
            )
        },
        tasks: calls.all(
            &[
                (Call::Clone3, "clone3"),
                (Call::PidfdOpen, "pidfd_open"),
                (Call::CloseRange, "close_range"),
            ],
            "5.9",
        ),
        seccomp: if calls.filtered || facts::has(Call::SeccompFilter) {
            Ability::Available
        } else {
            unavailable(
                "the kernel was built without seccomp filters",
                boot("a kernel with CONFIG_SECCOMP_FILTER"),
            )
        },
        listener: listener(&calls),
        fixed_code: !calls.filtered && facts::has(Call::FixedCode),
        landlock: landlock(landlock_abi),
        landlock_abi: landlock_abi.unwrap_or(0),
        processes_counted: if calls.filtered || facts::has(Call::Since514) {
            Ability::Available
        } else {
            unavailable(
                "this kernel counts a user's tasks over all user namespaces",
                boot("Linux 5.14 or later"),
            )
        },
        jar_cgroups: learnt_cgroups
            .or_else(just_seen)
            .unwrap_or_else(cgroups::jar_cgroups),
        socket_buffer: facts::socket_buffer(),
        tasks_seen: tasks_seen(process.uid, &all_gids),
        bounds: facts::bounds(),
        layout,
        examined: None,
    })
}

/// Whether others' tasks are shown. A jar's first process is one to a user, since
/// nobody may attach to it, and what it started is found by it alone.
fn tasks_seen(uid: u32, gids: &[u32]) -> Ability {
    // The machine's first is somebody else's nearly everywhere, and cheap to look at.
    let shown =
        || facts::read_proc("/proc/1/stat").is_some() && facts::owner("/proc/1") != Some(uid);
    let hidden = || {
        let mounts = facts::read_proc("/proc/self/mountinfo").unwrap_or_default();
        hides_tasks(&mounts, gids)
    };
    if facts::may_trace() || shown() || !hidden() {
        return Ability::Available;
    }
    unavailable(
        "/proc is mounted with `hidepid`, and hides a jar's tasks from who started it, so that nobody can watch what they use",
        "as root, mount it so that they are shown: `mount -o remount,hidepid=0 /proc`, or with `gid=` and a group of \
         whoever starts Belljar",
    )
}

/// Whether the mount at `/proc` hides tasks from who has these groups, by its option
/// `hidepid`, a name or a number; proc(5).
fn hides_tasks(mounts: &str, gids: &[u32]) -> bool {
    let at_proc = |line: &&str| line.split(' ').nth(4) == Some("/proc");
    // The last one lies over those before it.
    let options = mounts.lines().rfind(at_proc).and_then(|line| {
        let (_, of_system) = line.split_once(" - ")?;
        of_system.split(' ').nth(2)
    });
    let value = |name: &str| {
        let mut all = options.unwrap_or_default().split(',');
        all.find_map(|one| one.strip_prefix(name)?.strip_prefix('='))
    };
    let group = value("gid").and_then(|gid| gid.parse().ok()).unwrap_or(0);
    let hides = value("hidepid").is_some_and(|value| !matches!(value, "0" | "off"));
    // `ptraceable` looks at no group.
    hides && (matches!(value("hidepid"), Some("4" | "ptraceable")) || !gids.contains(&group))
}

/// Whether denied calls can be heard of. That an outer sandbox has the one
/// listener that the kernel allows shows when a launch tries.
fn listener(calls: &Calls) -> Ability {
    if calls.filtered || facts::has(Call::Listener) {
        Ability::Available
    } else {
        unavailable(
            "the kernel has no `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`",
            boot("Linux 5.19 or later"),
        )
    }
}

fn landlock(abi: Result<u32, i32>) -> Ability {
    const EOPNOTSUPP: i32 = 95;
    match abi {
        Ok(_) => Ability::Available,
        Err(EOPNOTSUPP) => unavailable(
            "Landlock is built into the kernel and switched off",
            "add `landlock` to the kernel's parameter `lsm=`",
        ),
        Err(_) => unavailable(
            "the kernel has no Landlock, or something around this process refuses it",
            boot("Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK"),
        ),
    }
}

/// What only a launch finds out and stays so for all that follow, since the
/// host cannot get out of what is around it.
#[derive(Clone, Debug, Default)]
struct Learnt {
    /// That nobody can listen here.
    listener: Option<Ability>,
    /// That no process can be held by Landlock here.
    landlock: Option<Ability>,
    /// What cgroups jars cannot have.
    jar_cgroups: Option<JarCgroups>,
}

static LEARNT: Mutex<Learnt> = Mutex::new(Learnt {
    listener: None,
    landlock: None,
    jar_cgroups: None,
});

/// Remembers, for the life of the host, what a failed launch has taught.
pub(crate) fn remember(taught: &HostFacts) {
    let lost = |ability: &Ability| (!ability.is_available()).then(|| ability.clone());
    let mut learnt = LEARNT.lock().unwrap_or_else(PoisonError::into_inner);
    let fewer = taught.jar_cgroups != cgroups::jar_cgroups();
    if taught.listener.is_available() && taught.landlock.is_available() && !fewer {
        return;
    }
    if fewer {
        learnt.jar_cgroups = Some(taught.jar_cgroups.clone());
    }
    learnt.listener = lost(&taught.listener).or(learnt.listener.take());
    learnt.landlock = lost(&taught.landlock).or(learnt.landlock.take());
    drop(learnt);
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

impl Learnt {
    /// The facts as they were found to be.
    fn correct(self, facts: HostFacts) -> HostFacts {
        HostFacts {
            listener: self.listener.unwrap_or(facts.listener),
            landlock_abi: match self.landlock {
                Some(_) => 0,
                None => facts.landlock_abi,
            },
            landlock: self.landlock.unwrap_or(facts.landlock),
            ..facts
        }
    }
}

/// What to do where the running kernel lacks something. Some kernels can't be
/// booted by whoever reads this; asked only where something is missing.
fn boot(what: &str) -> String {
    let version = facts::read_proc("/proc/version").unwrap_or_default();
    // How gVisor presents itself, unchanged for years.
    if version.starts_with("Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016") {
        "start Belljar outside of gVisor, whose kernel is its own and holds a container by itself"
            .to_owned()
    } else if version.contains("microsoft-standard-WSL2") {
        format!("update the kernel of WSL by `wsl --update`, in Windows; or boot {what}")
    } else {
        format!("boot {what}")
    }
}

fn unavailable(cause: impl Into<String>, remedy: impl Into<String>) -> Ability {
    Ability::Unavailable {
        cause: cause.into(),
        remedy: remedy.into(),
    }
}

/// Which calls the kernel has. Under somebody's filter none is tried, since a
/// forbidden one may end the host, and the launcher then finds out.
struct Calls {
    filtered: bool,
}

impl Calls {
    fn all(&self, calls: &[(Call, &str)], since: &str) -> Ability {
        let missing = calls
            .iter()
            .find(|(call, _)| !self.filtered && !facts::has(*call));
        missing.map_or(Ability::Available, |(_, name)| {
            unavailable(
                format!("the kernel has no {name}(2)"),
                boot(&format!("Linux {since} or later")),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_the_same_when_asked_again() {
        for preset in [Preset::Standard, Preset::Strict] {
            assert_eq!(facts_for(preset), facts_for(preset));
        }
    }

    #[test]
    fn a_proc_that_hides_tasks_is_known_by_its_option() {
        let line = |at: &str, options: &str| {
            format!("21 1 0:20 / {at} rw,nosuid shared:2 - proc proc {options}\n")
        };
        let hides = |mounts: &str| hides_tasks(mounts, &[1000, 27]);
        for options in ["rw,hidepid=2", "rw,gid=4,hidepid=invisible"] {
            assert!(hides(&line("/proc", options)), "{options}");
            assert!(!hides(&line("/srv/proc", options)), "{options}");
            let covered = line("/proc", options) + &line("/proc", "rw");
            assert!(!hides(&covered), "{options}");
        }
        assert!(!hides(&line("/proc", "rw,hidepid=0")) && !hides(""));
        // A group that is shown all, but where who may trace counts alone.
        assert!(!hides(&line("/proc", "rw,gid=27,hidepid=invisible")));
        assert!(hides(&line("/proc", "rw,gid=27,hidepid=ptraceable")));
    }

    #[test]
    fn only_minimal_lists_the_top_and_the_secrets() {
        let standard = facts().layout;
        assert!(standard.top.is_empty() && standard.secrets.is_empty());
        let minimal = facts_for(Preset::Minimal).layout;
        assert!(
            minimal
                .top
                .iter()
                .any(|place| place.path.as_str() == "/usr")
        );
        assert!(
            minimal
                .secrets
                .iter()
                .any(|place| place.path.as_str() == "/etc/shadow")
        );
    }
}
