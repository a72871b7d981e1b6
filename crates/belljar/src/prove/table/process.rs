//! What a process must not do with itself, or have: calls, a terminal, variables,
//! memory that is code.

use belljar_plan::{
    Bytes, Plan, Step,
    filter::Code,
    probe::{Digest, Probe},
};

use super::{
    super::{
        judge::{Check, Denied, Without},
        outside::Outside,
        seen::has_terminal,
    },
    EFAULT, EINVAL, call, harmless, not_here, path, scratch, try_,
};
use crate::sys::prober::can_read;

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

pub(super) fn syscalls(plan: &Plan) -> Vec<Check> {
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

pub(super) fn terminal(plan: &Plan) -> Vec<Check> {
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

pub(super) fn environment(plan: &Plan) -> Vec<Check> {
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

pub(super) fn writable_code(plan: &Plan, outside: &Outside) -> Vec<Check> {
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
