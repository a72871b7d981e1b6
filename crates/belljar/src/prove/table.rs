//! What each rule is tried with, in the jar in which nothing ends it. Limits are
//! tried in `limits`, and what the machine tells of a task in `seen`.
//!
//! A rule's row is one arm of [`checks`]; the longer ones are in `reach` and
//! `process`. A probe must fail in the jar, its control must be done there, and
//! without a jar, where it is tried so, the probe must be done.

mod process;
mod reach;

use belljar_plan::{Bytes, Plan, Rule, Source, Step, probe::Probe};
use belljar_policy::seccomp::{Architecture, Call, denials};

use self::{
    process::{environment, syscalls, terminal, writable_code},
    reach::{devices, files, ipc, kernel_info, own_network, sockets, tasks},
};
use super::{
    judge::{Check, Denied, Try, Without},
    outside::Outside,
    prober::Stand,
};

const EFAULT: u16 = 14;
const EINVAL: u16 = 22;

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

/// Whether anything of a place of the machine is granted.
fn granted(plan: &Plan, place: &str) -> bool {
    plan.grants
        .iter()
        .any(|grant| grant.at.0.starts_with(place.as_bytes()))
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
