//! What a jar used, put together from all that counts: each figure from the best source
//! that there is, and which that was.

use std::{collections::BTreeMap, time::Duration};

use belljar_plan::{
    message::Event as Record,
    usage::{Source, Usage},
};

use super::watch::{Seen, Watch};
use crate::sys::cgroup::{Counted, OwnCgroup};

/// Blocks of rusage, whatever those of the disk are.
const BLOCK: u64 = 512;

/// All that is known of what was used.
pub(super) struct Known<'a> {
    pub(super) watch: &'a Watch,
    pub(super) cgroup: Option<&'a OwnCgroup>,
    /// What it had counted at the end.
    pub(super) counted: Counted,
    /// The launcher's last word; none where it was lost.
    pub(super) last: Option<&'a Record>,
    pub(super) wall: Duration,
    pub(super) paused: Duration,
    /// Written to stdout and stderr.
    pub(super) written: (u64, u64),
    /// Denied calls, where they can be heard.
    pub(super) denied: Option<u64>,
}

/// Processor time in programs and in the kernel, in nanoseconds: a cgroup knows of every
/// task, rusage of those that were waited for.
pub(super) fn processor(counted: &Counted, last: Option<&Record>) -> Option<(u64, u64, Source)> {
    let nanoseconds = |microseconds: u64| microseconds.saturating_mul(1000);
    if let Some((user, system)) = counted.user.zip(counted.system) {
        return Some((user, system, Source::Cgroup));
    }
    last.map(|last| {
        let (user, system) = (nanoseconds(last.init_user), nanoseconds(last.init_system));
        (user, system, Source::Rusage)
    })
}

/// Where each figure comes from.
type Sources = BTreeMap<String, Source>;

/// The first of them that is known.
fn first<const N: usize>(
    sources: &mut Sources,
    name: &str,
    candidates: [(Source, Option<u64>); N],
) -> Option<u64> {
    let (source, value) = candidates
        .into_iter()
        .find_map(|(source, value)| Some((source, value?)))?;
    sources.insert(name.to_owned(), source);
    Some(value)
}

/// What the report says of what was used.
pub(super) fn usage(known: &Known<'_>) -> Usage {
    use Source::{Cgroup, Rusage, Samples, Supervisor};
    let mut sources = Sources::new();
    let Known {
        watch,
        cgroup,
        counted,
        last,
        ..
    } = *known;
    let (stdout, stderr) = known.written;
    let pressure = |of| cgroup.and_then(|cgroup| cgroup.pressure(of));
    let io = cgroup.and_then(OwnCgroup::io);
    let faults = cgroup.and_then(OwnCgroup::faults);
    let of_rusage = |figure: fn(&Record) -> u64| (Rusage, last.map(figure));
    let mut of = |name: &str, source, value| first(&mut sources, name, [(source, value)]);
    let mut usage = Usage {
        wall_ns: of("wall_ns", Supervisor, Some(nanoseconds(known.wall))),
        paused_ns: of("paused_ns", Supervisor, Some(nanoseconds(known.paused))),
        stdout: of("stdout", Supervisor, Some(stdout)).unwrap_or(stdout),
        stderr: of("stderr", Supervisor, Some(stderr)).unwrap_or(stderr),
        denied_calls: of("denied_calls", Supervisor, known.denied),
        memory_average: of("memory_average", Samples, watch.memory_average()),
        disk_peak: of("disk_peak", Samples, disk_peak(watch)),
        rss_peak: of("rss_peak", Rusage, last.map(rss_peak)),
        throttled_ns: of("throttled_ns", Cgroup, counted.throttled),
        cpu_pressure_ns: of("cpu_pressure_ns", Cgroup, pressure("cpu")),
        memory_pressure_ns: of("memory_pressure_ns", Cgroup, pressure("memory")),
        io_pressure_ns: of("io_pressure_ns", Cgroup, pressure("io")),
        io_reads: of("io_reads", Cgroup, io.map(|io| io.reads)),
        io_writes: of("io_writes", Cgroup, io.map(|io| io.writes)),
        ..Usage::default()
    };
    let mut of = |name: &str, best, other| first(&mut sources, name, [best, other]);
    let none = (Samples, None);
    usage.tasks_peak = of(
        "tasks_peak",
        (Cgroup, cgroup.and_then(OwnCgroup::tasks_peak)),
        (Samples, watch.looked.then_some(watch.peak.tasks)),
    );
    usage.io_read = of(
        "io_read",
        (Cgroup, io.map(|io| io.read)),
        of_rusage(|last| last.init_blocks_read.saturating_mul(BLOCK)),
    );
    usage.io_written = of(
        "io_written",
        (Cgroup, io.map(|io| io.written)),
        of_rusage(|last| last.init_blocks_written.saturating_mul(BLOCK)),
    );
    usage.faults = of(
        "faults",
        (Cgroup, faults.map(|(all, _)| all)),
        of_rusage(|last| {
            last.init_minor_faults
                .saturating_add(last.init_major_faults)
        }),
    );
    usage.major_faults = of(
        "major_faults",
        (Cgroup, faults.map(|(_, major)| major)),
        of_rusage(|last| last.init_major_faults),
    );
    let voluntary = of_rusage(|last| last.init_voluntary);
    usage.voluntary_switches = of("voluntary_switches", voluntary, none);
    let involuntary = of_rusage(|last| last.init_involuntary);
    usage.involuntary_switches = of("involuntary_switches", involuntary, none);
    usage.memory_peak = of(
        "memory_peak",
        // With what is Belljar's own in it, which is less than the room that the limit has for it.
        (Cgroup, cgroup.and_then(OwnCgroup::memory_peak)),
        memory_peak(watch, last),
    );
    if let Some((user, system, source)) = processor(&counted, last) {
        // A sample may know of time that nobody waited for.
        let sampled = watch.peak.cpu.saturating_sub(system);
        let of_user = match source {
            Rusage if sampled > user => Source::RusageAndSamples,
            source => source,
        };
        usage.user_ns = of("user_ns", (of_user, Some(sampled.max(user))), none);
        usage.system_ns = of("system_ns", (source, Some(system)), none);
    }
    usage.sources = sources;
    usage
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn rss_peak(last: &Record) -> u64 {
    last.init_peak.max(last.main_peak).saturating_mul(1024)
}

/// What samples saw of all tasks, or what one process is known to have had by itself, where
/// that is more: most programs end between two looks.
fn memory_peak(watch: &Watch, last: Option<&Record>) -> (Source, Option<u64>) {
    let sampled = watch.looked.then_some(watch.peak.memory);
    match (sampled, last.map(rss_peak)) {
        (Some(sampled), Some(rss)) if rss > sampled => (Source::RusageAndSamples, Some(rss)),
        (Some(sampled), _) => (Source::Samples, Some(sampled)),
        (None, rss) => (Source::Rusage, rss),
    }
}

fn disk_peak(watch: &Watch) -> Option<u64> {
    let Seen { disk, .. } = watch.peak;
    match (disk, watch.grown) {
        (Some((scratch, _)), grown) => Some(scratch.max(grown)),
        (None, 0) => None,
        (None, grown) => Some(grown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(seen: Option<Seen>) -> Watch {
        let mut watch = Watch::new(&super::super::test_plan(Vec::new()));
        if let Some(seen) = seen {
            watch.take(seen);
        }
        watch
    }

    fn known<'a>(watch: &'a Watch, counted: Counted, last: Option<&'a Record>) -> Known<'a> {
        Known {
            watch,
            cgroup: None,
            counted,
            last,
            wall: Duration::from_secs(2),
            paused: Duration::ZERO,
            written: (3, 4),
            denied: None,
        }
    }

    fn record() -> Record {
        Record {
            init_user: 5,
            init_system: 7,
            init_peak: 100,
            main_peak: 90,
            init_minor_faults: 10,
            init_major_faults: 1,
            init_blocks_written: 4,
            ..Record::default()
        }
    }

    #[test]
    fn every_figure_has_a_source_and_nothing_else_has() {
        let last = record();
        let looked = Seen {
            memory: 1,
            cpu: 50_000,
            tasks: 2,
            disk: Some((9, false)),
        };
        for (seen, last) in [
            (None, None),
            (Some(looked), None),
            (None, Some(&last)),
            (Some(looked), Some(&last)),
        ] {
            let watch = watch(seen);
            let usage = usage(&known(&watch, Counted::default(), last));
            let json = serde_json::to_value(&usage).unwrap();
            let figures: Vec<_> = json
                .as_object()
                .unwrap()
                .iter()
                .filter(|(name, value)| *name != "sources" && !value.is_null())
                .map(|(name, _)| name.clone())
                .collect();
            let mut sources: Vec<_> = usage.sources.keys().cloned().collect();
            let mut figures = figures;
            figures.sort();
            sources.sort();
            assert_eq!(figures, sources);
        }
    }

    #[test]
    fn processor_time_is_the_cgroup_s_else_rusage_s_raised_to_what_samples_saw() {
        let last = record();
        let seen = Seen {
            cpu: 50_000,
            ..Seen::default()
        };
        let sampled = watch(Some(seen));
        let usage_of = |counted| usage(&known(&sampled, counted, Some(&last)));
        let by_rusage = usage_of(Counted::default());
        assert_eq!(
            (by_rusage.user_ns, by_rusage.system_ns),
            (Some(43_000), Some(7_000))
        );
        assert_eq!(by_rusage.sources["user_ns"], Source::RusageAndSamples);
        assert_eq!(by_rusage.sources["system_ns"], Source::Rusage);
        let by_cgroup = usage_of(Counted {
            user: Some(60_000),
            system: Some(1_000),
            ..Counted::default()
        });
        assert_eq!(by_cgroup.cpu_ns(), Some(61_000));
        assert_eq!(by_cgroup.sources["user_ns"], Source::Cgroup);
    }

    #[test]
    fn what_came_and_went_between_two_looks_is_known_by_the_largest_process() {
        let last = record();
        let looked = watch(Some(Seen {
            memory: 4096,
            ..Seen::default()
        }));
        let usage = usage(&known(&looked, Counted::default(), Some(&last)));
        assert_eq!(usage.memory_peak, Some(100 * 1024));
        assert_eq!(usage.sources["memory_peak"], Source::RusageAndSamples);
        assert_eq!(usage.io_written, Some(2048));
        assert_eq!((usage.faults, usage.major_faults), (Some(11), Some(1)));
    }
}
