//! What each rule is tried with, in the jar in which nothing ends it. Limits are
//! tried in `limits`, and what the machine tells of a task in `seen`.
//!
//! A rule's row is one arm of [`checks`]. A probe must fail in the jar, its
//! control must be done there, and without a jar, where it is tried so, the probe
//! must be done.

use belljar_plan::{
    Bytes, Plan, Preset, Rule, Source, Step,
    filter::Code,
    probe::{Digest, Probe},
};
use belljar_policy::seccomp::{Architecture, Call, denials};

use super::{
    judge::{Check, Denied, Try, Without},
    outside::Outside,
    prober::Stand,
    seen::has_terminal,
};
use crate::sys::prober::{can_read, can_write};

const EFAULT: u16 = 14;
const EINVAL: u16 = 22;

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

/// Calls that no preset lets through, with arguments for which the kernel has
/// nothing but an error that tells it looked at them.
const CALLS: [(&str, [u64; 6], &[u16]); 4] = [
    ("add_key", [0; 6], &[EFAULT]),
    ("io_uring_setup", [1, 0, 0, 0, 0, 0], &[EFAULT]),
    (
        "perf_event_open",
        [0, 0, u64::MAX, u64::MAX, 0, 0],
        &[EFAULT],
    ),
    (
        "process_vm_readv",
        [u64::MAX, 0, 0, 0, 0, u64::MAX],
        &[EINVAL],
    ),
];

const CLONE_NEWUSER: u64 = 0x1000_0000;

/// What a rule that is claimed is tried with.
pub(super) fn checks(rule: Rule, plan: &Plan, outside: &Outside) -> Vec<Check> {
    match rule {
        Rule::Files => files(plan, outside),
        Rule::Network => vec![Check::same(
            "connect to a server on the machine's 127.0.0.1",
            Probe::Tcp {
                port: u64::from(outside.port),
            },
            Denied::Refused,
            own_network(plan),
        )],
        Rule::Sockets => sockets(plan, outside),
        Rule::Tasks => tasks(outside),
        Rule::Ipc => ipc(plan, outside),
        // Who is root in the jar by the operator's word is another on the machine.
        Rule::Identity if plan.identity.uid == 0 => Vec::new(),
        Rule::Identity => vec![Check::same(
            "become root: setuid(0)",
            call("setuid", [0; 6]),
            Denied::Refused,
            harmless(plan),
        )],
        Rule::Privileges => vec![Check::same(
            "use a capability: sethostname, with a length that cannot be",
            call("sethostname", [0, u64::MAX, 0, 0, 0, 0]),
            Denied::Unheard(&[EINVAL, EFAULT]),
            harmless(plan),
        )],
        Rule::Syscalls => syscalls(plan),
        Rule::Nesting => vec![
            Check::same(
                "make a user namespace: unshare",
                call("unshare", [CLONE_NEWUSER, 0, 0, 0, 0, 0]),
                Denied::Refused,
                try_("make nothing: unshare of no flags", call("unshare", [0; 6])),
            ),
            Check::same(
                "mount: of nothing, at no place",
                call("mount", [0; 6]),
                Denied::Unheard(&[EFAULT, EINVAL]),
                harmless(plan),
            ),
        ],
        Rule::Devices => devices(plan),
        Rule::KernelInfo => kernel_info(plan),
        Rule::Terminal => terminal(plan),
        Rule::Descriptors => vec![Check::same(
            "use a descriptor from 3 to 65535, of which prove leaves some open",
            Probe::Descriptors {
                first: 3,
                end: 65_536,
            },
            Denied::Refused,
            try_(
                "use 0, 1 and 2",
                Probe::Descriptors { first: 0, end: 3 },
            ),
        )],
        Rule::Environment => environment(plan),
        Rule::Exec => vec![Check::Try {
            probe: try_(
                "start the same program once more",
                Probe::Exec {
                    path: &Stand::of(plan, outside).path().0,
                },
            ),
            denied: Denied::Refused,
            control: harmless(plan),
            without: Without::So(
                Probe::Exec {
                    path: b"/proc/self/exe",
                }
                .encode(),
            ),
        }],
        Rule::WritableCode => writable_code(plan, outside),
        // Seen from outside, or in jars of their own.
        Rule::Cleanup
        | Rule::Memory
        | Rule::CpuTime
        | Rule::Wall
        | Rule::Output
        | Rule::Disk
        | Rule::Processes
        | Rule::OpenFiles
        | Rule::FileSize
        // Not there yet.
        | Rule::Cpu
        | Rule::Io => Vec::new(),
    }
}

impl Check {
    /// Tried in the jar and without one alike.
    fn same(what: &str, probe: Probe<'_>, denied: Denied, control: Try) -> Self {
        Self::Try {
            probe: try_(what, probe),
            denied,
            control,
            without: Without::Same,
        }
    }
}

fn try_(what: &str, probe: Probe<'_>) -> Try {
    Try {
        what: what.to_owned(),
        probe: probe.encode(),
    }
}

fn not_here(what: &str, why: &str) -> Check {
    Check::NotHere {
        what: what.to_owned(),
        why: why.to_owned(),
    }
}

/// A system call by name, as this machine numbers it.
fn call(name: &str, [a, b, c, d, e, f]: [u64; 6]) -> Probe<'static> {
    let number = Architecture::of_machine(std::env::consts::ARCH)
        .and_then(|architecture| Call::named(name)?.number(architecture));
    Probe::Call {
        // A number that is no call's is refused without a jar too, and so shows nothing.
        number: u64::from(number.unwrap_or(u32::MAX)),
        a,
        b,
        c,
        d,
        e,
        f,
    }
}

/// Whether a plan's filter lets a call through whatever its arguments are.
fn lets(plan: &Plan, name: &str) -> bool {
    plan.filter
        .as_ref()
        .is_none_or(|filter| Call::named(name).is_some_and(|call| denials(call, filter).is_empty()))
}

/// A path's bytes as text, where a probe of prove's own is made of it.
fn path(bytes: &Bytes) -> &[u8] {
    &bytes.0
}

fn read_itself(plan: &Plan, outside: &Outside) -> Try {
    try_(
        "read its own program",
        Probe::Read {
            path: &Stand::of(plan, outside).path().0,
        },
    )
}

fn files(plan: &Plan, outside: &Outside) -> Vec<Check> {
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
fn own_network(plan: &Plan) -> Try {
    let internet = plan.filter.as_ref().is_none_or(|filter| filter.internet);
    let calls = ["socket", "bind", "listen", "connect", "accept", "accept4"];
    match internet && takes_none(plan, &calls) {
        true => try_("talk to itself over its own 127.0.0.1", Probe::Loopback {}),
        false => pair(plan),
    }
}

fn pair(plan: &Plan) -> Try {
    match takes_none(plan, &["socketpair", "read", "write"]) {
        true => try_("talk over a pair of sockets", Probe::Pair {}),
        false => harmless(plan),
    }
}

/// A call that every preset has.
fn harmless(plan: &Plan) -> Try {
    let (what, name) = if takes_none(plan, &["getuid"]) {
        ("ask who it is: getuid", "getuid")
    } else {
        ("ask for its number: getpid", "getpid")
    };
    try_(what, call(name, [0; 6]))
}

/// Whether the policy takes none of these calls from its preset's list.
fn takes_none(plan: &Plan, names: &[&str]) -> bool {
    let deny = plan.filter.as_ref().map(|filter| &filter.deny);
    deny.is_none_or(|deny| !deny.iter().any(|denied| names.contains(&denied.as_str())))
}

fn sockets(plan: &Plan, outside: &Outside) -> Vec<Check> {
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

fn tasks(outside: &Outside) -> Vec<Check> {
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

fn ipc(plan: &Plan, outside: &Outside) -> Vec<Check> {
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

fn syscalls(plan: &Plan) -> Vec<Check> {
    let allowed = |name: &str| {
        let allow = plan.filter.as_ref().map(|filter| &filter.allow);
        allow.is_some_and(|allow| allow.iter().any(|allowed| allowed == name))
    };
    let checks: Vec<Check> = CALLS
        .iter()
        .filter(|(name, ..)| !allowed(name))
        .map(|(name, arguments, heard)| {
            Check::same(
                &format!("call {name}, with nothing to work on"),
                call(name, *arguments),
                Denied::Unheard(heard),
                harmless(plan),
            )
        })
        .collect();
    match checks.is_empty() {
        true => vec![not_here(
            "make a call that is not on the list",
            "the policy's [seccomp] allow has all of those that are tried",
        )],
        false => checks,
    }
}

/// Whether anything of a place of the machine is granted.
fn granted(plan: &Plan, place: &str) -> bool {
    plan.grants
        .iter()
        .any(|grant| grant.at.0.starts_with(place.as_bytes()))
}

fn devices(plan: &Plan) -> Vec<Check> {
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

fn kernel_info(plan: &Plan) -> Vec<Check> {
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

fn terminal(plan: &Plan) -> Vec<Check> {
    if has_terminal(plan) {
        return vec![not_here(
            "open the operator's terminal",
            "the jar has a terminal of its own, which has the same name there",
        )];
    }
    let streams = || try_("use 0, 1 and 2", Probe::Descriptors { first: 0, end: 3 });
    let mut checks: Vec<Check> = (0..3)
        .map(|descriptor| Check::Try {
            probe: try_(
                &format!("find a terminal at descriptor {descriptor}"),
                Probe::Terminal { descriptor },
            ),
            denied: Denied::Refused,
            control: streams(),
            without: Without::No,
        })
        .collect();
    checks.push(match can_read("/dev/tty") {
        true => Check::same(
            "open the operator's terminal, /dev/tty",
            Probe::Read { path: b"/dev/tty" },
            Denied::Refused,
            streams(),
        ),
        false => not_here(
            "open the operator's terminal, /dev/tty",
            "prove itself has none here",
        ),
    });
    checks
}

fn environment(plan: &Plan) -> Vec<Check> {
    let variables: &[Bytes] = match plan.steps.last() {
        Some(Step::Exec { variables, .. }) => variables,
        _ => &[],
    };
    let digest = variables
        .iter()
        .fold(Digest::default(), |all, variable| all.with(&variable.0));
    let name = |variable: &Bytes| -> Vec<u8> {
        let name = variable.0.split(|byte| *byte == b'=').next();
        name.unwrap_or_default().to_vec()
    };
    let one = variables.first().map(name);
    let control = match &one {
        Some(name) => try_(
            &format!("find {}", Bytes(name.clone()).escaped()),
            Probe::Variable { name },
        ),
        None => harmless(plan),
    };
    let mut checks = vec![Check::Try {
        probe: try_(
            "have variables other than the plan's, or in another order",
            Probe::Variables {},
        ),
        denied: Denied::Exactly(digest.value()),
        control: control.clone(),
        without: Without::No,
    }];
    use std::os::unix::ffi::OsStrExt as _;
    let granted: Vec<Vec<u8>> = variables.iter().map(name).collect();
    let own = std::env::vars_os()
        .map(|(name, _)| name.as_bytes().to_vec())
        .filter(|name| !granted.contains(name))
        .min();
    if let Some(own) = own {
        checks.push(Check::same(
            &format!("find {} of prove's own", Bytes(own.clone()).escaped()),
            Probe::Variable { name: &own },
            Denied::Refused,
            control,
        ));
    }
    checks
}

/// A place in the jar where its programs can write; none where they have no scratch.
pub(super) fn scratch(plan: &Plan) -> Option<Bytes> {
    plan.steps.iter().find_map(|step| match step {
        Step::Bind {
            source: Source::Scratch { .. },
            target,
            attributes,
            ..
        } if !attributes.read_only => {
            Some(Bytes([b"/", &target.0[..], b"/belljar-prober"].concat()))
        }
        _ => None,
    })
}

fn writable_code(plan: &Plan, outside: &Outside) -> Vec<Check> {
    let map = || try_("map memory that is writable", Probe::Map {});
    let mut checks = vec![
        Check::same(
            "map memory that is writable and executable",
            Probe::MapCode {},
            Denied::Refused,
            map(),
        ),
        Check::same(
            "make memory executable that was written",
            Probe::MakeCode {},
            Denied::Refused,
            map(),
        ),
    ];
    let fixed = plan
        .filter
        .as_ref()
        .is_some_and(|filter| filter.code != Code::Any);
    if fixed {
        checks.push(Check::same(
            "make a file in memory: memfd_create, without a name",
            call("memfd_create", [0; 6]),
            Denied::Unheard(&[EFAULT]),
            map(),
        ));
    }
    if let Some(file) = scratch(plan) {
        checks.push(Check::Try {
            probe: try_(
                "write a file and map it executable",
                Probe::FileCode { path: path(&file) },
            ),
            denied: Denied::Refused,
            control: map(),
            without: Without::So(
                Probe::FileCode {
                    path: path(&outside.scratch()),
                }
                .encode(),
            ),
        });
    }
    checks
}
