//! A guest that makes calls without end which the supervisor has to answer: what
//! that costs the host, and what others wait for it. All jars are this process's,
//! so that one thread supervises the flood and its neighbours.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use belljar::Preset;
use rustix::time::{ClockId, clock_gettime};

use crate::{
    floor::Start,
    library::{Decided, Library, What, output},
    machine::private,
    output::{Row, Section, Verdict},
    sample::{Samples, Summary},
    workshop::Workshop,
};

/// What the guest asks for without end.
#[derive(Clone, Copy)]
struct Kind {
    /// As the guest takes it.
    word: &'static str,
    host: &'static str,
    neighbour: &'static str,
    title: &'static str,
}

const KINDS: [Kind; 2] = [
    Kind {
        word: "denied",
        host: "flood_denied",
        neighbour: "flood_denied_neighbour",
        title: "8 threads that make denied calls",
    },
    Kind {
        word: "connect",
        host: "flood_connect",
        neighbour: "flood_connect_neighbour",
        title: "8 threads that connect, by the supervisor",
    },
];

/// How much is measured.
#[derive(Clone, Copy)]
struct Extent {
    /// Seconds over which the host is looked at.
    seconds: u64,
    launches: usize,
    calls: &'static str,
}

/// A flood goes on for so long after the host was looked at.
const FOR_NEIGHBOURS: u64 = 8;

/// Measures both kinds.
pub(crate) fn run(
    quick: bool,
    workshop: &Workshop,
    library: &mut Result<Library, String>,
) -> Vec<Section> {
    let extent = match quick {
        true => Extent {
            seconds: 3,
            launches: 20,
            calls: "100",
        },
        false => Extent {
            seconds: 10,
            launches: 100,
            calls: "400",
        },
    };
    let mut sections = Vec::new();
    for kind in KINDS {
        let found = library
            .as_mut()
            .map_err(|reason| reason.clone())
            .and_then(|library| measure(kind, extent, workshop, library));
        match found {
            Ok(found) => sections.extend(found.sections(kind)),
            Err(reason) => sections.push(Section {
                rows: vec![Row::new("flood", Err(reason))],
                ..empty(kind.host, kind.title, "as named")
            }),
        }
    }
    sections
}

/// What was measured of one flood.
struct Found {
    /// Processor time of the host, percent of one processor, each second: idle
    /// with a jar that waits, and under the flood.
    idle: Summary,
    busy: Summary,
    /// Calls answered in a second.
    answered: f64,
    /// KiB by which the host grew: from before the flood, and while it went on.
    grown: (Option<f64>, Option<f64>),
    quiet: Neighbour,
    flooded: Neighbour,
}

/// What a neighbour waits for.
#[derive(Default)]
struct Neighbour {
    exec: Samples,
    reported: Samples,
    call: Samples,
}

fn measure(
    kind: Kind,
    extent: Extent,
    workshop: &Workshop,
    library: &mut Library,
) -> Result<Found, String> {
    let granted = tempfile::tempdir().map_err(|error| format!("no directory: {error}"))?;
    let granted = granted.path();
    let seconds = (extent.seconds + FOR_NEIGHBOURS).to_string();
    let arguments = [kind.word, "8", &seconds];
    let flood = What {
        program: &workshop.flood,
        arguments: &arguments,
        preset: Preset::Standard,
        // Beside it sockets of the machine may be seen, so that what connects is held.
        write: Some(granted),
        cpu_time: false,
    };
    let mut quiet = Neighbour::default();
    let mut flooded = Neighbour::default();
    quiet.measure(kind, extent, workshop, library, granted)?;
    let before = private(std::process::id());
    let idle = processor(extent.seconds.min(3));
    let (answered, busy, grown) = thread::scope(|scope| {
        let flood = scope.spawn(|| output(&flood));
        // Its burst is over then.
        thread::sleep(Duration::from_millis(1500));
        let begun = private(std::process::id());
        let busy = processor(extent.seconds);
        let after = private(std::process::id());
        flooded.measure(kind, extent, workshop, library, granted)?;
        if flood.is_finished() {
            return Err("the flood ended before its neighbours were measured".to_owned());
        }
        let said = flood.join().map_err(|_| "the flood's thread is gone")??;
        let answered = said.trim().parse().map_err(|_| said)?;
        let grown = |from: Option<f64>| Some(after? - from?);
        Ok((answered, busy, (grown(before), grown(begun))))
    })?;
    quiet.measure(kind, extent, workshop, library, granted)?;
    let seen = "a second was measured";
    Ok(Found {
        idle: idle.ok_or(seen)?,
        busy: busy.ok_or(seen)?,
        answered,
        grown,
        quiet,
        flooded,
    })
}

/// Processor time of this process, in percent of one processor, each second.
fn processor(seconds: u64) -> Option<Summary> {
    let percent = (0..seconds).map(|_| {
        let (from, before) = (Instant::now(), used());
        thread::sleep(Duration::from_secs(1));
        (used() - before).as_secs_f64() / from.elapsed().as_secs_f64() * 100.0
    });
    Summary::of(percent.collect())
}

fn used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

impl Neighbour {
    fn measure(
        &mut self,
        kind: Kind,
        extent: Extent,
        workshop: &Workshop,
        library: &mut Library,
        granted: &Path,
    ) -> Result<(), String> {
        for _ in 0..extent.launches {
            let times = library.launch(&workshop.noop, Start::Fresh, Decided::Anew)?;
            self.exec.push(times[0]);
            self.reported.push(times[1]);
        }
        let said = output(&What {
            program: &workshop.flood,
            arguments: &[kind.word, "ask", extent.calls],
            preset: Preset::Standard,
            write: Some(granted),
            cpu_time: false,
        })?;
        for line in said.lines() {
            let nanoseconds = line.parse().map_err(|_| said.clone())?;
            self.call.push(Duration::from_nanos(nanoseconds));
        }
        Ok(())
    }
}

impl Found {
    fn sections(&self, kind: Kind) -> [Section; 2] {
        let one = |value: Option<f64>| Ok(value.and_then(|value| Summary::of(vec![value])));
        let host = Section {
            rows: vec![
                Row::new("host's processor time idle, %", Ok(Some(self.idle))),
                Row::new("the same under the flood, %", Ok(Some(self.busy))),
                Row::new("calls answered in a second", one(Some(self.answered))),
                Row::new("host's memory, grown since before, KiB", one(self.grown.0)),
                Row::new("the same while it went on, KiB", one(self.grown.1)),
            ],
            verdicts: vec![Verdict::at_most(
                "host's processor time, %",
                10.0,
                Some(self.busy.p50),
            )],
            ..empty(kind.host, kind.title, "as named")
        };
        let (quiet, flooded) = (&self.quiet, &self.flooded);
        let mut rows = Vec::new();
        for (name, quiet, flooded) in [
            ("launch to exec", &quiet.exec, &flooded.exec),
            ("launch to report", &quiet.reported, &flooded.reported),
            ("such a call of its own", &quiet.call, &flooded.call),
        ] {
            let quiet = quiet.summary();
            let mut beside = Row::new(format!("- {name}, beside the flood"), Ok(flooded.summary()));
            beside.compare(quiet.map(|quiet| quiet.p50));
            rows.extend([Row::new(name, Ok(quiet)), beside]);
        }
        let neighbour = Section {
            rows,
            compared_to: Some("the same without the flood".into()),
            ..empty(
                kind.neighbour,
                &format!("a neighbour of {}", kind.title),
                "us",
            )
        };
        [host, neighbour]
    }
}

fn empty(name: &'static str, title: &str, unit: &'static str) -> Section {
    Section {
        name,
        title: title.to_owned(),
        unit,
        compared_to: None,
        rows: Vec::new(),
        verdicts: Vec::new(),
        notes: Vec::new(),
    }
}
