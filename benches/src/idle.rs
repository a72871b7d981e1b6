//! What watching jars costs that do nothing: processor time of this host while many
//! idle jars with limits run, which are looked at again and again.

use std::{path::Path, time::Duration};

use rustix::{
    process::{Resource, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

use crate::{
    library::Library,
    output::{Row, Section, Verdict},
    sample::Summary,
};

/// Descriptors that the host holds for one jar, and some.
const DESCRIPTORS: u64 = 16;

/// Keeps so many jars waiting, and measures the host for some seconds.
pub(crate) fn run(
    jars: usize,
    seconds: u64,
    idle: &Path,
    library: &Result<Library, String>,
) -> Section {
    let mut section = Section {
        name: "idle",
        title: format!("the host of {jars} idle jars, each watched for its limits"),
        unit: "% of a processor",
        compared_to: None,
        rows: Vec::new(),
        verdicts: Vec::new(),
        notes: Vec::new(),
    };
    match measure(jars, seconds, idle, library) {
        Ok(shares) => {
            let summary = Summary::of(shares);
            let median = summary.as_ref().map(|summary| summary.p50);
            section
                .rows
                .push(Row::new("host, all its threads", Ok(summary)));
            section
                .verdicts
                .push(Verdict::at_most("% of one processor", 5.0, median));
        }
        Err(reason) => section
            .rows
            .push(Row::new("host, all its threads", Err(reason))),
    }
    section
}

fn measure(
    jars: usize,
    seconds: u64,
    idle: &Path,
    library: &Result<Library, String>,
) -> Result<Vec<f64>, String> {
    let library = library.as_ref().map_err(Clone::clone)?;
    room_for(jars)?;
    let kept = library.keep(idle, jars)?;
    // Their start is behind all of them.
    std::thread::sleep(Duration::from_secs(2));
    let shares = (0..seconds)
        .map(|_| {
            let (cpu, wall) = (ClockId::ProcessCPUTime, ClockId::Monotonic);
            let before = (now(cpu), now(wall));
            std::thread::sleep(Duration::from_secs(1));
            100.0 * (now(cpu) - before.0) / (now(wall) - before.1)
        })
        .collect();
    library.end(kept);
    Ok(shares)
}

/// Has this process open as many descriptors as so many jars take.
pub(crate) fn room_for(jars: usize) -> Result<(), String> {
    let mut files = getrlimit(Resource::Nofile);
    let wanted = DESCRIPTORS * jars as u64;
    if files.maximum.is_some_and(|most| most < wanted) {
        return Err(format!(
            "this process may have {:?} descriptors, and takes {wanted}",
            files.maximum
        ));
    }
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).map_err(|error| format!("setrlimit: {error}"))
}

/// Seconds.
fn now(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
    .as_secs_f64()
}
