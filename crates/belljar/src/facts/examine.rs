//! What `belljar doctor` looks at besides: cgroups, the ids that a user may map,
//! the kernel's switches as they stand.

use std::path::Path;

use belljar_policy::{
    HostFacts,
    facts::{Ability, Cgroups, Examined, Hierarchy, IdRange, Switch},
};

use super::unavailable;
use crate::sys::{
    cgroup::{self, Place},
    facts::read_proc,
    look,
};

const EACCES: i32 = 13;
const EPERM: i32 = 1;
const EROFS: i32 = 30;
const EOPNOTSUPP: i32 = 95;
const EAGAIN: i32 = 11;

/// Sysctls that bear on jars; namespaces(7), proc_sys(5), and the documentation of
/// Debian's and Ubuntu's own.
const SYSCTLS: [&str; 17] = [
    "kernel.apparmor_restrict_unprivileged_unconfined",
    "kernel.apparmor_restrict_unprivileged_userns",
    "kernel.io_uring_disabled",
    "kernel.keys.maxkeys",
    "kernel.pid_max",
    "kernel.unprivileged_bpf_disabled",
    "kernel.unprivileged_userns_clone",
    "kernel.yama.ptrace_scope",
    "user.max_cgroup_namespaces",
    "user.max_ipc_namespaces",
    "user.max_mnt_namespaces",
    "user.max_net_namespaces",
    "user.max_pid_namespaces",
    "user.max_user_namespaces",
    "user.max_uts_namespaces",
    "vm.memfd_noexec",
    "vm.overcommit_memory",
];

/// Files that tell of the kernel's security modules.
const FILES: [&str; 2] = [
    "/sys/kernel/security/lsm",
    "/sys/module/apparmor/parameters/enabled",
];

/// Looks at all of it; what is tried by launches is not in it.
pub(super) fn examine(facts: &HostFacts) -> Examined {
    let name = user_name(facts.uid);
    let [uids, gids] = ["/etc/subuid", "/etc/subgid"].map(|file| {
        let text = look::read_small(file, 1 << 20).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    });
    let own = |text: &str| -> Vec<IdRange> {
        let mine = |of: &str| of == facts.uid.to_string() || Some(of) == name.as_deref();
        let ranges = ranges(text).filter(|(of, _)| mine(of));
        ranges.map(|(_, range)| range).collect()
    };
    let (subuids, subgids) = (own(&uids), own(&gids));
    let more_ids = if facts.privileged {
        Ability::Available
    } else if subuids.is_empty() || subgids.is_empty() {
        no_ids(facts, name.as_deref(), [&uids, &gids])
    } else if ["/usr/bin/newuidmap", "/usr/bin/newgidmap"]
        .iter()
        .all(|helper| look::exists(helper))
    {
        Ability::Available
    } else {
        unavailable(
            "newuidmap(1) and newgidmap(1), which write the maps, are not in /usr/bin",
            "install them: the package `uidmap` of Debian and Ubuntu, `shadow-utils` of Fedora",
        )
    };
    Examined {
        cgroups: cgroups(facts, name.as_deref()),
        more_ids,
        subuids,
        subgids,
        done: Vec::new(),
        idmapped: Vec::new(),
        switches: switches(),
    }
}

/// As many ids as a distribution gives to each user; useradd(8), `SUB_UID_COUNT`.
const USUAL: u32 = 65_536;

fn no_ids(facts: &HostFacts, name: Option<&str>, files: [&str; 2]) -> Ability {
    let cause = format!(
        "/etc/subuid and /etc/subgid give uid {} no ids of its own",
        facts.uid
    );
    let Some(name) = name else {
        return unavailable(cause, "give the user a name first: /etc/passwd has none");
    };
    // Behind all that anybody has.
    let first = files
        .iter()
        .flat_map(|text| ranges(text))
        .filter_map(|(_, range)| range.first.checked_add(range.count))
        .fold(100_000, u32::max);
    match first.checked_add(USUAL - 1) {
        Some(last) => unavailable(
            cause,
            format!(
                "as root: `usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {name}`"
            ),
        ),
        None => unavailable(
            cause,
            "as root, give the user a range that nobody has in both; none is left behind the last",
        ),
    }
}

fn switches() -> Vec<Switch> {
    let sysctls = SYSCTLS.iter().map(|name| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        ((*name).to_owned(), path)
    });
    let files = FILES
        .iter()
        .map(|path| ((*path).to_owned(), (*path).to_owned()));
    sysctls
        .chain(files)
        .filter_map(|(name, path)| {
            let value = read_proc(&path)?.trim_end().to_owned();
            Some(Switch { name, value })
        })
        .collect()
}

fn user_name(uid: u32) -> Option<String> {
    let passwd = look::read_small("/etc/passwd", 1 << 20).ok()?;
    let passwd = String::from_utf8_lossy(&passwd);
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let known: u32 = fields.nth(1)?.parse().ok()?;
        (known == uid && !name.is_empty()).then(|| name.to_owned())
    })
}

/// What each line gives, and to whom, by name or number; subuid(5).
fn ranges(text: &str) -> impl Iterator<Item = (&str, IdRange)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let of = fields.next()?;
        let first = fields.next()?.parse().ok()?;
        let count = fields.next()?.parse().ok()?;
        (count > 0).then_some((of, IdRange { first, count }))
    })
}

fn cgroups(facts: &HostFacts, name: Option<&str>) -> Cgroups {
    let place = cgroup::place();
    let text = |path: &Path| path.to_str().map(str::to_owned);
    let tried = place.own.as_deref().map(cgroup::try_child);
    let children = match &tried {
        Some(Ok(_)) => Ability::Available,
        Some(Err(error)) => refused(&place, facts, name, error),
        None => no_place(place.hierarchy),
    };
    let child = tried.and_then(Result::ok).unwrap_or_default();
    Cgroups {
        hierarchy: place.hierarchy,
        children,
        controllers: place
            .own
            .as_deref()
            .map(cgroup::controllers)
            .unwrap_or_default(),
        delegated: child.delegated,
        files: child.files,
        mount: place.mount.as_deref().and_then(text),
        own: place.own.as_deref().and_then(text),
    }
}

fn no_place(hierarchy: Hierarchy) -> Ability {
    match hierarchy {
        Hierarchy::None => unavailable(
            "no cgroups are mounted here",
            "mount version 2 of them as root: `mount -t cgroup2 none /sys/fs/cgroup`",
        ),
        Hierarchy::V1 => unavailable(
            "only version 1 of cgroups is mounted here",
            "boot with the kernel parameter `systemd.unified_cgroup_hierarchy=1`",
        ),
        Hierarchy::Hybrid | Hierarchy::V2 => unavailable(
            "the mount of cgroup version 2 does not show this process's own cgroup",
            "start Belljar where /sys/fs/cgroup is mounted for it, in a container by its runtime",
        ),
    }
}

fn refused(
    place: &Place,
    facts: &HostFacts,
    name: Option<&str>,
    error: &std::io::Error,
) -> Ability {
    let own = place.own.as_deref().unwrap_or(Path::new("/sys/fs/cgroup"));
    let shown = own.display();
    match error.raw_os_error() {
        Some(EACCES | EPERM) => unavailable(
            format!("uid {} may make no cgroup in its own, {shown}", facts.uid),
            delegation(place, facts, name),
        ),
        Some(EROFS) => unavailable(
            format!("cgroups are mounted read-only here, at {shown}"),
            "run the container with its cgroups writable (podman: `--security-opt unmask=/sys/fs/cgroup`), or Belljar outside of it",
        ),
        Some(EAGAIN | EOPNOTSUPP) => unavailable(
            format!("{shown} takes no more cgroups: {error}"),
            "raise `cgroup.max.descendants` and `cgroup.max.depth` above it, or make it a domain (`cgroup.type`)",
        ),
        _ => unavailable(
            format!("a cgroup cannot be made in {shown}: {error}"),
            "look in the kernel's log and in the audit log",
        ),
    }
}

/// How an administrator hands a part of the tree over.
fn delegation(place: &Place, facts: &HostFacts, name: Option<&str>) -> String {
    // The machine knows a container's root by another number.
    let outside = |file, id| outside(&read_proc(file).unwrap_or_default(), id).unwrap_or(id);
    let uid = outside("/proc/self/uid_map", facts.uid);
    let gid = outside("/proc/self/gid_map", facts.gid);
    let user = name
        .filter(|_| uid == facts.uid)
        .map_or_else(|| format!("uid {uid}"), str::to_owned);
    if look::exists("/run/systemd/system") {
        return format!(
            "start it in a scope of its own: `systemd-run --user --scope -p Delegate=yes -- belljar run …`; \
             for a service of the machine write the lines `[Service]` and `Delegate=yes` to \
             /etc/systemd/system/NAME.service.d/belljar.conf, and for all controllers in the sessions of {user} the same \
             to /etc/systemd/system/user@.service.d/belljar.conf, then `systemctl daemon-reload`"
        );
    }
    let mount = place
        .mount
        .as_deref()
        .unwrap_or(Path::new("/sys/fs/cgroup"));
    let at = mount.join("belljar");
    let at = at.display();
    format!(
        "as root, make one for {user} and move the shell that starts Belljar into it: \
         `mkdir {at} && chown -R {uid}:{gid} {at} && echo PID > {at}/cgroup.procs`"
    )
}

/// What an id is in the user namespace around this one; user_namespaces(7).
fn outside(map: &str, id: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        match (numbers.next()?, numbers.next()?, numbers.next()?) {
            (Ok(inside), Ok(outside), Ok(count)) => {
                let at = id.checked_sub(inside).filter(|at| *at < count)?;
                outside.checked_add(at)
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_a_range_is_none() {
        let text = "ann:100000:65536\n1001:200000:10\nann:broken\n# ann:5:5:\nann:9:0\nann:1\n";
        let range = |first, count| IdRange { first, count };
        let read: Vec<_> = ranges(text).collect();
        let comment = ("# ann", range(5, 5));
        assert_eq!(
            read,
            [
                ("ann", range(100_000, 65_536)),
                ("1001", range(200_000, 10)),
                comment
            ]
        );
    }

    #[test]
    fn ids_that_are_told_to_be_given_are_nobody_s() {
        let facts = super::super::facts();
        let files = ["ann:100000:65536\n", "eve:165536:65536\n"];
        let Ability::Unavailable { remedy, .. } = no_ids(&facts, Some("bob"), files) else {
            panic!("there are none");
        };
        assert!(
            remedy.contains("--add-subuids 231072-296607 --add-subgids 231072-296607 bob`"),
            "{remedy}"
        );
        let full = no_ids(&facts, Some("bob"), ["ann:4294900000:60000\n", ""]);
        assert!(format!("{full:?}").contains("none is left"), "{full:?}");
    }

    #[test]
    fn an_id_outside_is_read_from_the_map() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(outside(map, 0), Some(1000));
        assert_eq!(outside(map, 5), Some(100_004));
        assert_eq!(outside(map, 70_000), None);
        assert_eq!(outside("0 0 4294967295\n", 54_321), Some(54_321));
    }

    #[test]
    fn a_refused_cgroup_names_the_command_that_delegates_one() {
        let facts = super::super::facts();
        let place = Place {
            hierarchy: Hierarchy::V2,
            mount: Some("/sys/fs/cgroup".into()),
            own: Some("/sys/fs/cgroup/user.slice".into()),
        };
        let denied = std::io::Error::from_raw_os_error(EACCES);
        let Ability::Unavailable { cause, remedy } = refused(&place, &facts, Some("ann"), &denied)
        else {
            panic!("it is refused");
        };
        assert!(cause.contains("/sys/fs/cgroup/user.slice"), "{cause}");
        assert!(
            remedy.contains("Delegate=yes") || remedy.contains("chown -R"),
            "{remedy}"
        );
    }
}
