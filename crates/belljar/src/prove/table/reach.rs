//! What a jar's programs must not reach: files, networks, other tasks, objects
//! in memory, devices, the kernel's own places.

use belljar_plan::{Plan, Preset, Step, probe::Probe};

use super::{
    super::{
        judge::{Check, Denied, Try},
        outside::Outside,
    },
    granted, lets, not_here, pair, path, read_itself, takes_none, try_,
};
use crate::sys::prober::{can_read, can_write};

/// Devices that nothing happens to when they are opened.
const DEVICES: [&str; 8] = [
    "/dev/fuse",
    "/dev/kmsg",
    "/dev/loop0",
    "/dev/loop-control",
    "/dev/kvm",
    "/dev/net/tun",
    "/dev/vda",
    "/dev/sda",
];

/// What a jar's `/dev` has, as the contract says.
const OWN_DEVICES: &str =
    "null,zero,full,random,urandom,pts,ptmx,fd,stdin,stdout,stderr,shm,tty,mqueue";

/// What of `/proc` tells about the machine.
const KERNEL: [&str; 8] = [
    "/proc/kallsyms",
    "/proc/keys",
    "/proc/interrupts",
    "/proc/modules",
    "/proc/timer_list",
    "/proc/slabinfo",
    "/proc/vmallocinfo",
    "/proc/kcore",
];

/// What of `/proc` changes the machine. Nothing is written.
const SWITCHES: [&str; 2] = ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"];

/// And what of `/sys` does.
const SYS_SWITCHES: [&str; 2] = ["/sys/kernel/mm/ksm/run", "/sys/kernel/uevent_seqnum"];

/// The most that are tried of a list.
const SOME: usize = 2;

pub(super) fn files(plan: &Plan, outside: &Outside) -> Vec<Check> {
    let canary = outside.canary();
    let own = || read_itself(plan, outside);
    let mut checks = Vec::new();
    if outside.granted {
        checks.push(not_here(
            "open a file outside of every grant",
            "every directory that prove could put one in is granted",
        ));
    } else {
        // In minimal everything but secrets may be read.
        if plan.preset != Preset::Minimal {
            checks.push(Check::same(
                "read a file outside of every grant",
                Probe::Read {
                    path: path(&canary),
                },
                Denied::Empty,
                own(),
            ));
        }
        checks.push(Check::same(
            "open a file outside of every grant for writing",
            Probe::Write {
                path: path(&canary),
            },
            Denied::Refused,
            own(),
        ));
    }
    // At its own path on the machine, so that it can be read there.
    let hidden = plan
        .hidden
        .iter()
        .filter(|hidden| std::str::from_utf8(&hidden.path.0).is_ok_and(can_read));
    for hidden in hidden.take(SOME) {
        checks.push(Check::same(
            &format!(
                "read {}, hidden as {}",
                hidden.path.escaped(),
                hidden.origin
            ),
            Probe::Read {
                path: path(&hidden.path),
            },
            Denied::Empty,
            own(),
        ));
    }
    checks
}

/// Something with a network that is allowed.
pub(super) fn own_network(plan: &Plan) -> Try {
    let internet = plan.filter.as_ref().is_none_or(|filter| filter.internet);
    let calls = ["socket", "bind", "listen", "connect", "accept", "accept4"];
    match internet && takes_none(plan, &calls) {
        true => try_("talk to itself over its own 127.0.0.1", Probe::Loopback {}),
        false => pair(plan),
    }
}

pub(super) fn sockets(plan: &Plan, outside: &Outside) -> Vec<Check> {
    let mut checks = vec![Check::same(
        "connect to an abstract unix socket of the machine",
        Probe::Abstract {
            name: outside.word.as_bytes(),
        },
        Denied::Refused,
        pair(plan),
    )];
    let socket = outside.socket();
    let granted = plan.sockets.iter().any(|slot| slot.path == socket);
    if !granted {
        checks.push(Check::same(
            "connect to a unix socket of the machine by its path",
            Probe::Unix {
                path: path(&socket),
            },
            Denied::Refused,
            pair(plan),
        ));
    }
    checks
}

pub(super) fn tasks(outside: &Outside) -> Vec<Check> {
    let itself = || try_("signal itself", Probe::Signal { pid: 0 });
    let mut checks = vec![Check::same(
        "find a task of the machine in /proc",
        Probe::Find {
            word: outside.word.as_bytes(),
        },
        Denied::Refused,
        itself(),
    )];
    // Low numbers are those of the jar's own tasks too.
    if outside.task() > 1000 {
        checks.push(Check::same(
            "signal a task of the machine",
            Probe::Signal {
                pid: outside.task(),
            },
            Denied::Refused,
            itself(),
        ));
    }
    checks
}

pub(super) fn ipc(plan: &Plan, outside: &Outside) -> Vec<Check> {
    let own = match lets(plan, "shmget") {
        true => try_("make a segment of its own", Probe::Segment {}),
        false => pair(plan),
    };
    let what = "attach a segment of shared memory of the machine";
    vec![match outside.segment {
        Some(id) => Check::same(what, Probe::Attach { id }, Denied::Refused, own),
        None => not_here(what, "no segment can be made on this machine"),
    }]
}

pub(super) fn devices(plan: &Plan) -> Vec<Check> {
    let zero = || try_("read /dev/zero", Probe::Read { path: b"/dev/zero" });
    let own = plan
        .steps
        .iter()
        .any(|step| matches!(step, Step::Device { .. }));
    // Every user may open it, and a /dev of the jar's own has one of its own.
    let of_machine = if own { None } else { Some("/dev/ptmx") };
    let mut checks: Vec<Check> = of_machine
        .iter()
        .chain(&DEVICES)
        .filter(|device| !granted(plan, device) && can_read(device))
        .take(SOME)
        .map(|device| {
            Check::same(
                &format!("open {device}"),
                Probe::Read {
                    path: device.as_bytes(),
                },
                Denied::Refused,
                zero(),
            )
        })
        .collect();
    if own && !granted(plan, "/dev/") {
        checks.push(Check::same(
            "see anything in /dev but what every jar has",
            Probe::Unlisted {
                path_and_names: format!("/dev {OWN_DEVICES}").as_bytes(),
            },
            Denied::Empty,
            zero(),
        ));
    }
    if checks.is_empty() {
        checks.push(not_here(
            "open a device of the machine",
            "there is none here that this user may open, and that nothing happens to",
        ));
    }
    checks
}

pub(super) fn kernel_info(plan: &Plan) -> Vec<Check> {
    let itself = || {
        try_(
            "read /proc/self/status",
            Probe::Read {
                path: b"/proc/self/status",
            },
        )
    };
    let mut checks: Vec<Check> = KERNEL
        .iter()
        .filter(|place| can_read(place))
        .take(SOME)
        .map(|place| {
            Check::same(
                &format!("read {place}"),
                Probe::Read {
                    path: place.as_bytes(),
                },
                Denied::Empty,
                itself(),
            )
        })
        .collect();
    let switch = |places: &[&'static str]| places.iter().copied().find(|place| can_write(place));
    for place in [switch(&SWITCHES), switch(&SYS_SWITCHES)]
        .into_iter()
        .flatten()
    {
        checks.push(Check::same(
            &format!("open {place} for writing"),
            Probe::Write {
                path: place.as_bytes(),
            },
            Denied::Refused,
            itself(),
        ));
    }
    // In minimal it is shown.
    let shown = plan.preset == Preset::Minimal || granted(plan, "/sys");
    if !shown && can_read("/sys/kernel") {
        checks.push(Check::same(
            "list /sys/kernel",
            Probe::Read {
                path: b"/sys/kernel",
            },
            Denied::Empty,
            itself(),
        ));
    }
    if checks.is_empty() {
        checks.push(not_here(
            "read what /proc tells of the machine",
            "this user may read nothing of that here",
        ));
    }
    checks
}
