//! The line that SIGUSR1 asks for.

use belljar::{Limit, event::Sample};
use belljar_policy::units::format_value;

/// How it goes, on one line: what is used, and of how much where that has a limit.
pub(super) fn line(sample: &Sample, hard: impl Fn(Limit) -> Option<u64>) -> String {
    let of = |limit: Limit, used: String| match hard(limit) {
        Some(hard) => format!("{limit} {used} of {}", format_value(limit, hard)),
        None => format!("{limit} {used}"),
    };
    let state = if sample.paused { "paused" } else { "running" };
    let output = sample.stdout.saturating_add(sample.stderr);
    let mut parts = vec![
        of(Limit::Wall, seconds(sample.wall_ns)),
        of(Limit::CpuTime, seconds(sample.cpu_ns)),
        of(Limit::Memory, size(sample.memory)),
        of(Limit::Processes, sample.tasks.to_string()),
        of(Limit::Output, size(output)),
    ];
    parts.extend(sample.disk.map(|disk| of(Limit::Disk, size(disk))));
    format!("{state}: {}", parts.join(", "))
}

fn seconds(nanoseconds: u64) -> String {
    let tenths = nanoseconds / 100_000_000;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

/// Kibibytes below ten mebibytes, else mebibytes.
fn size(bytes: u64) -> String {
    match bytes >> 10 {
        kib @ ..10_240 => format!("{kib} KiB"),
        kib => format!("{} MiB", kib >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_names_what_is_used_and_the_limits_that_there_are() {
        let sample = Sample {
            wall_ns: 12_345_678_901,
            cpu_ns: 90_000_000,
            memory: 34 << 20,
            tasks: 5,
            stdout: 1000,
            stderr: 100,
            ..Sample::default()
        };
        let hard = |limit| (limit == Limit::Memory).then_some(128 << 20);
        assert_eq!(
            line(&sample, hard),
            "running: wall 12.3 s, cpu_time 0.0 s, memory 34 MiB of 128 MiB, processes 5, output 1 KiB"
        );
        let sample = Sample {
            paused: true,
            disk: Some(0),
            ..sample
        };
        let said = line(&sample, |_| None);
        assert!(
            said.starts_with("paused: ") && said.ends_with(", disk 0 KiB"),
            "{said}"
        );
    }
}
