//! Limits with which no program starts at all: better refused, with the smallest that works,
//! than a jar that ends before its first line.

use belljar_plan::{Limit, plan::PlannedLimit};

use super::{cgroup::KERNEL, code};
use crate::{
    refusal::Refusal,
    units::format_value,
    verified::{Executable, ExecutableKind, Verified},
};

const KIB: u64 = 1 << 10;
const MILLISECOND: u64 = 1_000_000;

/// The three streams, and what a launch still holds when the bound is set: its report and
/// the listener of its filter.
const OPEN_FILES: u64 = 5;

/// The smallest page of a machine that this runs on; a file system in memory is sized in
/// whole ones.
const PAGE: u64 = 4 * KIB;

/// Refuses limits below what any program of this kind needs to start.
///
/// # Errors
/// All such, with the smallest values that work.
pub(super) fn refuse(
    limits: &[PlannedLimit],
    together: &[PlannedLimit],
    verified: &Verified,
) -> Result<(), Refusal> {
    let memory = memory(code::executable(verified));
    let of_each = |limit: Limit| match limit {
        Limit::Memory => memory,
        Limit::OpenFiles => OPEN_FILES,
        Limit::Disk => PAGE,
        // Nobody tells less apart.
        Limit::Wall | Limit::CpuTime => MILLISECOND,
        _ => 0,
    };
    let of_all = |limit: Limit| match limit {
        Limit::Memory => memory + KERNEL,
        // The guest, and the first process of its jar.
        Limit::Processes => 2,
        _ => 0,
    };
    let mut reasons = Vec::new();
    for (planned, least) in limits
        .iter()
        .map(|planned| (planned, of_each(planned.limit)))
        .chain(
            together
                .iter()
                .map(|planned| (planned, of_all(planned.limit))),
        )
    {
        // Of descriptors the soft value is what holds.
        let lowest = match planned.limit {
            Limit::OpenFiles => planned.soft.or(planned.hard),
            _ => planned.hard,
        };
        let Some(has) = lowest.filter(|has| *has < least) else {
            continue;
        };
        let limit = planned.limit;
        reasons.push(format!(
            "`{limit}` {} ({}) is less than a program needs to start; the smallest that works is {}",
            format_value(limit, has),
            planned.origin,
            format_value(limit, least)
        ));
    }
    match reasons.is_empty() {
        true => Ok(()),
        false => Err(Refusal::Invalid {
            reason: reasons.join("; "),
        }),
    }
}

/// What the smallest program of this kind takes: measured with one that writes a line.
fn memory(program: Option<&Executable>) -> u64 {
    let mut program = program;
    while let Some(Executable {
        kind: ExecutableKind::Script { interpreter, .. },
        ..
    }) = program
    {
        program = Some(interpreter);
    }
    match program.map(|program| &program.kind) {
        Some(ExecutableKind::Elf {
            loader: Some(_), ..
        }) => 256 * KIB,
        _ => 128 * KIB,
    }
}
