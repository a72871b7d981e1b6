//! Why a step of a launch failed: the machine's switches are read only then,
//! so that a launch that works does not pay for them.

use belljar_policy::{HostFacts, facts::Ability};

use super::{boot, unavailable};
use crate::sys::facts::read_proc;

const EPERM: i32 = 1;
const E2BIG: i32 = 7;
const ENOMEM: i32 = 12;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const EACCES: i32 = 13;
const ENOSYS: i32 = 38;
const EUSERS: i32 = 87;
const EOPNOTSUPP: i32 = 95;
const EAGAIN: i32 = 11;
const EBUSY: i32 = 16;

/// The facts with what a failed step has taught: the true cause, and what an
/// administrator can do. They are `facts` unchanged where the step's failure
/// says nothing about the machine; the plan made of them is then the same, and
/// the step's own error is the outcome.
#[must_use]
pub fn after_failure(facts: &HostFacts, step: &str, errno: i32) -> HostFacts {
    let machine = Machine::look();
    let mut learnt = facts.clone();
    match step {
        "cgroup" => {
            let known = &mut learnt.jar_cgroups;
            let shown = known.place.clone();
            // First without those controllers that may be in somebody's way, then without any.
            if known.controllers.is_empty() {
                known.can_be_made = unavailable(
                    format!(
                        "no jar can be made in a cgroup below {shown} ({})",
                        std::io::Error::from_raw_os_error(errno)
                    ),
                    "look at its cgroup.type, cgroup.max.descendants and owner, and in the kernel's log",
                );
            } else {
                known.controllers.clear();
            }
        }
        "clone" => {
            let ability = machine.namespaces(facts, errno);
            if errno == ENOSYS {
                learnt.tasks = ability.unwrap_or(Ability::Available);
            } else if let Some(ability) = ability {
                learnt.namespaces = ability;
            }
        }
        "map_ids" | "take_ids" | "drop_groups" => {
            if let Some(ability) = machine.ids(facts, errno) {
                learnt.namespaces = ability;
            }
        }
        "private_mounts" | "root" | "bind" | "scratch" | "devpts" | "leave_machine"
        | "seal_root" | "mask" | "read_only" => {
            if let Some(ability) = machine.mounts(step, errno) {
                // AppArmor gives the namespace and takes away what is done in it.
                if machine.apparmor_restricts() && !facts.privileged {
                    learnt.namespaces = ability;
                } else {
                    learnt.mounts = ability;
                }
            }
        }
        // Settings are written by a `/proc` too.
        "proc" | "sysctls" => {
            if let Some(ability) = machine.proc(errno) {
                learnt.proc = ability;
            }
        }
        "detach" => {
            if let Some(ability) = machine.idmap(errno) {
                learnt.idmap = ability;
            }
        }
        "filter" if errno == EBUSY => {
            learnt.listener = unavailable(
                "something around this process listens to system calls already (a jar, a container, WSL2's mirrored \
                 networking), and the kernel allows one listener in a tree of tasks",
                "run belljar outside of it to have events; denials hold all the same",
            );
        }
        "ruleset" | "restrict" => {
            if let Some(ability) = machine.landlock(step, errno) {
                learnt.landlock = ability;
                learnt.landlock_abi = 0;
            }
        }
        "filter" | "no_new_privs" => {
            if let Some(ability) = machine.seccomp(errno) {
                learnt.seccomp = ability;
            }
        }
        _ => {}
    }
    learnt
}

/// The switches of this machine that bear on jars.
#[derive(Clone, Debug, Default)]
struct Machine {
    /// Debian's `kernel.unprivileged_userns_clone`.
    userns_clone: Option<u64>,
    /// `user.max_user_namespaces`; namespaces(7).
    max_user_namespaces: Option<u64>,
    /// Ubuntu's `kernel.apparmor_restrict_unprivileged_userns`.
    apparmor: Option<u64>,
    /// Other limits of `user.max_*_namespaces` that are zero.
    zero: Vec<String>,
    /// A seccomp filter was on this process before Belljar came.
    filtered: bool,
    /// Something lies over parts of `/proc`.
    proc_masked: bool,
    /// `selinux` or such, where one is named.
    modules: String,
    /// This process runs in a container, as far as one can tell.
    container: bool,
}

impl Machine {
    fn look() -> Self {
        let number = |path: &str| read_proc(path)?.trim().parse().ok();
        let zero = ["mnt", "pid", "net", "uts", "ipc", "cgroup"]
            .iter()
            .map(|name| format!("user.max_{name}_namespaces"))
            .filter(|name| number(&format!("/proc/sys/{}", name.replace('.', "/"))) == Some(0))
            .collect();
        let mounts = read_proc("/proc/self/mountinfo").unwrap_or_default();
        Self {
            userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            apparmor: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            zero,
            filtered: crate::sys::facts::filtered(),
            proc_masked: mounts
                .lines()
                .filter_map(|line| line.split(' ').nth(4))
                .any(|path| path.starts_with("/proc/")),
            modules: read_proc("/sys/kernel/security/lsm").unwrap_or_default(),
            container: ["/.dockerenv", "/run/.containerenv"]
                .iter()
                .any(|path| crate::sys::look::exists(path)),
        }
    }

    fn apparmor_restricts(&self) -> bool {
        self.apparmor.is_some_and(|value| value != 0)
    }

    fn namespaces(&self, facts: &HostFacts, errno: i32) -> Option<Ability> {
        Some(match errno {
            ENOSYS if self.filtered => unavailable(
                "a seccomp filter around this process (a container's, most often) hides clone3(2)",
                "run the container with `--security-opt seccomp=unconfined`, or with a profile that allows clone3 and namespaces",
            ),
            ENOSYS => unavailable("the kernel has no clone3(2)", boot("Linux 5.9 or later")),
            EPERM | EACCES if !facts.privileged && self.userns_clone == Some(0) => unavailable(
                "the sysctl kernel.unprivileged_userns_clone is 0: only root may make user namespaces",
                "`sysctl -w kernel.unprivileged_userns_clone=1`, and the setting in a file of /etc/sysctl.d to keep it",
            ),
            ENOSPC | EUSERS if self.max_user_namespaces == Some(0) => unavailable(
                "the sysctl user.max_user_namespaces is 0: nobody may make user namespaces",
                "`sysctl -w user.max_user_namespaces=15000`, and the setting in a file of /etc/sysctl.d to keep it",
            ),
            ENOSPC | EUSERS if !self.zero.is_empty() => unavailable(
                format!("the sysctl {} is 0", self.zero.join(" and ")),
                format!("`sysctl -w {}=15000`", self.zero.join("=15000 ")),
            ),
            ENOSPC | EUSERS => unavailable(
                "the limit of namespaces is reached, by their number or because 32 lie inside one another",
                "raise the sysctls user.max_*_namespaces, or end what holds them",
            ),
            EPERM | EACCES if !facts.privileged && self.apparmor_restricts() => apparmor(),
            EPERM | EACCES if self.filtered => unavailable(
                "a seccomp filter around this process (a container's, most often) refuses namespaces",
                "run the container with `--security-opt seccomp=unconfined`, or with a profile that allows clone3, unshare, mount and pivot_root",
            ),
            EPERM | EACCES if self.modules.contains("selinux") => unavailable(
                "user namespaces are refused, most likely by SELinux",
                "look for `denied { create } … user_namespace` in the audit log and allow it for Belljar's domain",
            ),
            EPERM => unavailable(
                "user namespaces are refused (EPERM): this uid or gid has no mapping in the user namespace around it, \
                 or the process is in a chroot, or a security module says no",
                "map both uid and gid, start Belljar outside of the chroot, or allow user namespaces in what confines it",
            ),
            EINVAL => unavailable(
                "the kernel was built without one of the namespaces",
                boot(
                    "a kernel with CONFIG_USER_NS, CONFIG_PID_NS, CONFIG_NET_NS, CONFIG_UTS_NS, CONFIG_IPC_NS and CONFIG_CGROUPS",
                ),
            ),
            EAGAIN | ENOMEM => return None,
            _ => return None,
        })
    }

    fn ids(&self, facts: &HostFacts, errno: i32) -> Option<Ability> {
        match errno {
            EPERM | EACCES if !facts.privileged && self.apparmor_restricts() => Some(apparmor()),
            EPERM | EACCES if facts.privileged => Some(unavailable(
                "the id map of a new user namespace is refused: a capability is missing or the machine's ids end earlier",
                "start Belljar with CAP_SETUID, CAP_SETGID and CAP_SYS_ADMIN in the machine's own user namespace, or as an ordinary user",
            )),
            EPERM | EACCES if self.container => Some(unavailable(
                "the id map of a new user namespace is refused inside of this container",
                "run the container with user namespaces allowed (`--security-opt seccomp=unconfined`, podman: `--userns=keep-id`)",
            )),
            EPERM | EACCES => Some(unavailable(
                "the id map of a new user namespace is refused",
                "look in the audit log for what refused it",
            )),
            _ => None,
        }
    }

    fn mounts(&self, step: &str, errno: i32) -> Option<Ability> {
        match errno {
            EPERM | EACCES if self.apparmor_restricts() => Some(apparmor()),
            EPERM | EACCES if self.filtered => Some(unavailable(
                "a seccomp filter around this process (a container's, most often) refuses mounts",
                "run the container with `--security-opt seccomp=unconfined`, or with a profile that allows the mount calls and pivot_root",
            )),
            EPERM | EACCES if self.container && step != "bind" => Some(unavailable(
                "mounts are refused inside of this container, most likely by its AppArmor profile",
                "run the container with `--security-opt apparmor=unconfined`",
            )),
            ENOSYS => Some(unavailable(
                "the kernel lacks a mount call",
                boot("Linux 5.12 or later"),
            )),
            _ => None,
        }
    }

    fn proc(&self, errno: i32) -> Option<Ability> {
        match errno {
            EPERM | EACCES if self.proc_masked => Some(unavailable(
                "parts of /proc are covered here (a container does so), and then the kernel gives nobody a fresh /proc",
                "run the container with `--security-opt systempaths=unconfined` (podman: `--security-opt unmask=ALL`), or pass it the whole /proc",
            )),
            EPERM | EACCES if self.apparmor_restricts() => Some(apparmor()),
            EPERM | EACCES => Some(unavailable(
                "a fresh /proc is refused; the kernel gives one only where an uncovered /proc is mounted already",
                "mount /proc whole, without anything over its parts",
            )),
            _ => None,
        }
    }

    fn idmap(&self, errno: i32) -> Option<Ability> {
        match errno {
            EINVAL | EOPNOTSUPP => Some(unavailable(
                "the file system of a granted path takes no idmapped mounts",
                "grant a path on ext4, xfs, btrfs or (Linux 6.3) tmpfs, or give the path to the jar's user with --user and chown",
            )),
            EPERM | EACCES => Some(unavailable(
                "a mount of a granted path cannot be idmapped: it is idmapped already, or its file system belongs to another user namespace",
                "grant the path where it is mounted first",
            )),
            ENOSYS => Some(unavailable(
                "the kernel has no mount_setattr(2)",
                boot("Linux 5.12 or later"),
            )),
            _ => None,
        }
    }

    /// A domain that was entered and did not hold is none of these: the step
    /// says so with an error of its own, and the launch ends there.
    fn landlock(&self, step: &str, errno: i32) -> Option<Ability> {
        match errno {
            E2BIG if step == "restrict" => Some(unavailable(
                "16 Landlock domains lie around this process already, and the kernel allows no more inside one another",
                "start Belljar outside of some of them",
            )),
            ENOSYS | EPERM if self.filtered => Some(unavailable(
                "a seccomp filter around this process (a container's, most often) refuses Landlock",
                "run the container with `--security-opt seccomp=unconfined`, or with a profile that allows the landlock calls",
            )),
            ENOSYS => Some(unavailable(
                "the kernel has no Landlock",
                boot("Linux 5.19 or later with CONFIG_SECURITY_LANDLOCK"),
            )),
            EOPNOTSUPP => Some(unavailable(
                "Landlock is built into the kernel and switched off",
                "add `landlock` to the kernel's parameter `lsm=`",
            )),
            // Something answers for the kernel, with another version's number.
            E2BIG | EINVAL if step == "ruleset" => Some(unavailable(
                "what is asked for the version of Landlock tells another one than what is asked for a set of rules",
                "look what is around this process: a container's runtime or an emulated kernel",
            )),
            EPERM => Some(unavailable(
                "a security module refuses Landlock (EPERM)",
                "look in the audit log for what refused it",
            )),
            _ => None,
        }
    }

    fn seccomp(&self, errno: i32) -> Option<Ability> {
        (errno == ENOSYS || errno == EINVAL).then(|| {
            unavailable(
                "the kernel takes no seccomp filter",
                boot("a kernel with CONFIG_SECCOMP_FILTER, for this architecture"),
            )
        })
    }
}

/// Ubuntu's restriction, with the profile that lifts it for Belljar alone.
fn apparmor() -> Ability {
    let program = std::env::current_exe()
        .ok()
        .and_then(|path| path.to_str().map(str::to_owned))
        .filter(|path| !path.contains(['"', '\n', '*', '?', '[', '{']))
        .unwrap_or_else(|| "/usr/local/bin/belljar".to_owned());
    unavailable(
        "AppArmor takes every right from user namespaces that have no profile (the sysctl kernel.apparmor_restrict_unprivileged_userns is 1)",
        format!(
            "give Belljar a profile: write the line `abi <abi/4.0>, profile belljar \"{program}\" flags=(unconfined) {{ userns, }}` to /etc/apparmor.d/belljar and run `apparmor_parser -r /etc/apparmor.d/belljar`; the launcher runs from memory and keeps that profile"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(ability: Option<Ability>) -> String {
        match ability {
            Some(Ability::Unavailable { cause, remedy }) => format!("{cause}; {remedy}"),
            other => format!("{other:?}"),
        }
    }

    fn user() -> HostFacts {
        HostFacts {
            privileged: false,
            ..super::super::facts()
        }
    }

    #[test]
    fn a_refused_namespace_names_the_switch_that_refused_it() {
        let off = Machine {
            userns_clone: Some(0),
            apparmor: Some(1),
            ..Machine::default()
        };
        assert!(cause(off.namespaces(&user(), EPERM)).contains("unprivileged_userns_clone=1"));
        let none = Machine {
            max_user_namespaces: Some(0),
            ..Machine::default()
        };
        assert!(cause(none.namespaces(&user(), ENOSPC)).contains("user.max_user_namespaces=15000"));
        let ubuntu = Machine {
            apparmor: Some(1),
            userns_clone: Some(1),
            ..Machine::default()
        };
        let said = cause(ubuntu.namespaces(&user(), EPERM));
        assert!(said.contains("apparmor_restrict_unprivileged_userns") && said.contains("userns,"));
        let docker = Machine {
            filtered: true,
            container: true,
            ..Machine::default()
        };
        assert!(cause(docker.namespaces(&user(), EPERM)).contains("seccomp=unconfined"));
        assert!(cause(docker.namespaces(&user(), ENOSYS)).contains("clone3"));
        let net = Machine {
            zero: vec!["user.max_net_namespaces".into()],
            ..Machine::default()
        };
        assert!(cause(net.namespaces(&user(), ENOSPC)).contains("user.max_net_namespaces"));
    }

    #[test]
    fn a_covered_proc_is_named_as_the_cause() {
        let covered = Machine {
            proc_masked: true,
            ..Machine::default()
        };
        assert!(cause(covered.proc(EPERM)).contains("systempaths=unconfined"));
        assert_eq!(covered.proc(5), None);
    }

    #[test]
    fn a_refused_domain_names_what_refused_it_and_one_that_does_not_hold_teaches_nothing() {
        const ECANCELED: i32 = 125;
        let plain = Machine::default();
        let docker = Machine {
            filtered: true,
            ..Machine::default()
        };
        assert!(cause(plain.landlock("restrict", E2BIG)).contains("16 Landlock domains"));
        assert!(cause(plain.landlock("ruleset", EOPNOTSUPP)).contains("`lsm=`"));
        assert!(cause(docker.landlock("ruleset", EPERM)).contains("seccomp=unconfined"));
        assert!(cause(plain.landlock("ruleset", ENOSYS)).contains("no Landlock"));
        assert_eq!(plain.landlock("restrict", ECANCELED), None);
        let facts = super::super::facts();
        assert_eq!(after_failure(&facts, "restrict", ECANCELED), facts);
        let learnt = after_failure(&facts, "restrict", E2BIG);
        assert_eq!(learnt.landlock_abi, 0);
        assert!(!learnt.landlock.is_available());
    }

    #[test]
    fn a_failure_that_says_nothing_about_the_machine_teaches_nothing() {
        let facts = super::super::facts();
        assert_eq!(after_failure(&facts, "exec", 2), facts);
        assert_eq!(after_failure(&facts, "clone", ENOMEM), facts);
        assert_eq!(after_failure(&facts, "workdir", EACCES), facts);
    }
}
