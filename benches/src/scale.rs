//! A thousand jars in one host: what a launch takes beside them, what threads they take, and
//! how long it takes to end all of them by one call.

use std::{
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use belljar::{Parking, set_parking};

use crate::{
    idle,
    library::Library,
    machine::threads,
    output::{Row, Section, Verdict},
    sample::Samples,
};

/// How many hosts are started for their first launch.
const HOSTS: usize = 31;

/// Between two launches, so that a child that is made ahead is ready, and what the one before
/// left is gone.
const APART: Duration = Duration::from_millis(20);

/// Keeps so many jars waiting, and launches so many others before and beside them.
pub(crate) fn run(
    rounds: usize,
    jars: usize,
    (noop, waits): (&Path, &Path),
    library: &Result<Library, String>,
) -> Section {
    let mut section = Section {
        name: "scale",
        title: format!("{jars} jars at once in one host"),
        unit: "us",
        compared_to: Some("launch, no other jar".into()),
        rows: Vec::new(),
        verdicts: Vec::new(),
        notes: Vec::new(),
    };
    match measure(rounds, jars, (noop, waits), library) {
        Ok(seen) => seen.tell(jars, &mut section),
        Err(reason) => section.rows.push(Row::new("jars", Err(reason))),
    }
    section
}

/// Launches, without a child that was made ahead and with one.
#[derive(Default)]
struct Launches {
    fresh: Samples,
    parked: Samples,
}

struct Seen {
    first: Samples,
    alone: Launches,
    beside: Launches,
    ended: Duration,
    threads: u64,
}

fn measure(
    rounds: usize,
    jars: usize,
    (noop, waits): (&Path, &Path),
    library: &Result<Library, String>,
) -> Result<Seen, String> {
    let library = library.as_ref().map_err(Clone::clone)?;
    idle::room_for(jars)?;
    let launches = || -> Result<Launches, String> {
        let mut launches = Launches::default();
        for round in 0..rounds + 5 {
            // The first is made the same way, and leaves a child for the other or none.
            let [fresh, parked] = [Parking::None, Parking::One].map(|parking| {
                set_parking(parking);
                library.once(noop)?;
                sleep(APART);
                set_parking(Parking::None);
                let took = library.once(noop)?;
                sleep(APART);
                Ok::<_, String>(took[0])
            });
            let (fresh, parked) = (fresh?, parked?);
            if round >= 5 {
                launches.fresh.push(fresh);
                launches.parked.push(parked);
            }
        }
        Ok(launches)
    };
    let first = first(noop)?;
    let alone = launches()?;
    let own = threads();
    let kept = library.keep(waits, jars)?;
    let threads = threads().saturating_sub(own);
    // Their start is behind all of them.
    sleep(Duration::from_secs(2));
    let beside = launches()?;
    let begun = Instant::now();
    let count = library.kill_all();
    let ended = begun.elapsed();
    if count != jars {
        return Err(format!("{count} of {jars} were there to be ended"));
    }
    library.end(kept);
    Ok(Seen {
        first,
        alone,
        beside,
        ended,
        threads,
    })
}

/// The first launch of hosts that have only just begun.
fn first(noop: &Path) -> Result<Samples, String> {
    let own = std::env::current_exe().map_err(|error| format!("its own path: {error}"))?;
    let mut samples = Samples::default();
    for _ in 0..HOSTS {
        let host = Command::new(&own).arg("--first").arg(noop).output();
        let host = host.map_err(|error| format!("a host: {error}"))?;
        let said = String::from_utf8_lossy(&host.stdout);
        let took = said.trim().parse().map_err(|_| {
            let complained = String::from_utf8_lossy(&host.stderr);
            format!("a host said {said}{complained}")
        })?;
        samples.push(Duration::from_nanos(took));
    }
    Ok(samples)
}

impl Seen {
    fn tell(&self, jars: usize, section: &mut Section) {
        let first = self.first.summary();
        let alone = self.alone.fresh.summary();
        let beside = self.beside.fresh.summary();
        let to = alone.map(|alone| alone.p50);
        for (name, summary) in [
            ("launch, the first of a host".to_owned(), first),
            ("launch, no other jar".to_owned(), alone),
            (format!("launch, beside {jars}"), beside),
            (
                "child parked, no other jar".to_owned(),
                self.alone.parked.summary(),
            ),
            (
                format!("child parked, beside {jars}"),
                self.beside.parked.summary(),
            ),
        ] {
            let mut row = Row::new(name, Ok(summary));
            row.compare(to);
            section.rows.push(row);
        }
        section.verdicts.push(Verdict::ratio(
            "launch to exec, beside all / the first of a host",
            Some(1.5),
            beside,
            first,
        ));
        section.verdicts.push(Verdict::ratio(
            "launch to exec, beside all / alone",
            Some(1.5),
            beside,
            alone,
        ));
        let ended = Some(self.ended.as_secs_f64());
        section
            .verdicts
            .push(Verdict::at_most("all ended by one call, s", 2.0, ended));
        #[expect(clippy::cast_precision_loss, reason = "threads are few")]
        let threads = Some(self.threads as f64);
        section
            .verdicts
            .push(Verdict::at_most("threads for all", 0.0, threads));
    }
}
