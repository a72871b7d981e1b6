//! A thousand jars in one host: what a launch takes beside them, what threads they take, and
//! how long it takes to end all of them by one call.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    idle,
    library::Library,
    machine::threads,
    output::{Row, Section, Verdict},
    sample::Samples,
};

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

struct Seen {
    alone: Samples,
    beside: Samples,
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
    let launches = || -> Result<Samples, String> {
        let mut samples = Samples::default();
        for round in 0..rounds + 5 {
            let took = library.once(noop)?;
            if round >= 5 {
                samples.push(took[0]);
            }
        }
        Ok(samples)
    };
    let alone = launches()?;
    let own = threads();
    let kept = library.keep(waits, jars)?;
    let threads = threads().saturating_sub(own);
    // Their start is behind all of them.
    std::thread::sleep(Duration::from_secs(2));
    let beside = launches()?;
    let begun = Instant::now();
    let count = library.kill_all();
    let ended = begun.elapsed();
    if count != jars {
        return Err(format!("{count} of {jars} were there to be ended"));
    }
    library.end(kept);
    Ok(Seen {
        alone,
        beside,
        ended,
        threads,
    })
}

impl Seen {
    fn tell(&self, jars: usize, section: &mut Section) {
        let alone = self.alone.summary();
        let beside = self.beside.summary();
        let mut row = Row::new(format!("launch, beside {jars}"), Ok(beside));
        row.compare(alone.map(|alone| alone.p50));
        section
            .rows
            .push(Row::new("launch, no other jar", Ok(alone)));
        section.rows.push(row);
        let beside_alone = "launch to exec, beside all / alone";
        section
            .verdicts
            .push(Verdict::ratio(beside_alone, Some(1.5), beside, alone));
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
