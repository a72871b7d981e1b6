//! Launches through a running launcher: by the library, by a client with
//! nothing of the library but the launcher, and by the C floor, in turn.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    client::Client,
    floor::{Server, Start},
    library::{self, Decided, Library},
    output::{Row, Section, Verdict},
    sample::{Samples, Summary, round_robin},
};

/// Everything that can launch.
pub(crate) struct Launchers {
    pub(crate) library: Result<Library, String>,
    pub(crate) client: Result<Client, String>,
    pub(crate) floor: Result<Server, String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Facts,
    PlanFor,
    Plan,
    Library(Start, Decided),
    WithCgroup,
    Client(Start),
    Floor(Start),
}

const WAYS: [(Way, &str); 12] = [
    (Way::Facts, "- facts of the machine (for standard)"),
    (Way::PlanFor, "- Jar::plan_for such facts"),
    (Way::Plan, "Jar::plan: both, no launch"),
    (Way::Library(Start::Fresh, Decided::Anew), "Jar::launch"),
    (
        Way::Library(Start::Parked, Decided::Anew),
        "Jar::launch, child parked",
    ),
    (
        Way::Library(Start::Fresh, Decided::Before),
        "Jar::prepare before, launch",
    ),
    (
        Way::Library(Start::Parked, Decided::Before),
        "Jar::prepare before, child parked",
    ),
    (Way::WithCgroup, "Jar::launch with a cgroup of its own"),
    (Way::Client(Start::Fresh), "launcher alone, plan prepared"),
    (Way::Client(Start::Parked), "launcher alone, child parked"),
    (Way::Floor(Start::Fresh), FLOOR),
    (Way::Floor(Start::Parked), "C floor, child parked"),
];

const FLOOR: &str = "C floor";

/// Measures everybody; `host` says what this process is like.
pub(crate) fn run(
    rounds: usize,
    noop: &Path,
    launchers: &mut Launchers,
    host: &str,
) -> Vec<Section> {
    let mut ways = WAYS;
    let results = round_robin(rounds, &mut ways, |(way, _)| launchers.measure(*way, noop));
    let moments = [
        ("launch_exec", "request to exec"),
        ("launch_reported", "request to reaped and reported"),
    ];
    moments
        .into_iter()
        .enumerate()
        .map(|(moment, (name, title))| section(name, &format!("{title}{host}"), moment, &results))
        .collect()
}

fn section(
    name: &'static str,
    title: &str,
    moment: usize,
    results: &[Result<Vec<Samples>, String>],
) -> Section {
    let mut summaries: Vec<Option<Summary>> = Vec::with_capacity(WAYS.len());
    let mut rows = Vec::new();
    for ((_, name), result) in WAYS.iter().zip(results) {
        let result = match result {
            Ok(samples) => match samples.get(moment) {
                Some(samples) => Ok(samples.summary()),
                // A plan alone is never reaped.
                None => {
                    summaries.push(None);
                    continue;
                }
            },
            Err(reason) => Err(reason.clone()),
        };
        let row = Row::new(*name, result);
        summaries.push(row.summary);
        rows.push(row);
    }
    let of = |way: Way| {
        WAYS.iter()
            .position(|(other, _)| *other == way)
            .and_then(|index| summaries[index])
    };
    let floor = of(Way::Floor(Start::Fresh));
    let ratio = |what: &str, bound, way| Verdict::ratio(what, bound, of(way), floor);
    let mut verdicts = Vec::new();
    if moment == 0 {
        let targets = [(Start::Fresh, "", 1.0), (Start::Parked, ", parked", 0.6)];
        for (start, which, bound) in targets {
            verdicts.push(ratio(
                &format!("Jar::launch{which} / C floor"),
                Some(bound),
                Way::Library(start, Decided::Anew),
            ));
            verdicts.push(ratio(
                &format!("launcher alone{which} / C floor"),
                Some(bound),
                Way::Client(start),
            ));
        }
    } else {
        verdicts.push(ratio(
            "Jar::launch / C floor",
            None,
            Way::Library(Start::Fresh, Decided::Anew),
        ));
    }
    verdicts.push(Verdict::ratio(
        "Jar::launch with a cgroup / without",
        Some(1.3),
        of(Way::WithCgroup),
        of(Way::Library(Start::Fresh, Decided::Anew)),
    ));
    for row in &mut rows {
        row.compare(floor.map(|floor| floor.p50));
    }
    Section {
        name,
        title: title.to_owned(),
        unit: "us",
        compared_to: Some(FLOOR.into()),
        rows,
        verdicts,
        notes: Vec::new(),
    }
}

impl Launchers {
    fn measure(&mut self, way: Way, noop: &Path) -> Result<Vec<Duration>, String> {
        match way {
            Way::Facts => {
                let before = Instant::now();
                std::hint::black_box(belljar::facts());
                Ok(vec![before.elapsed()])
            }
            Way::PlanFor => {
                let facts = belljar::facts();
                let before = Instant::now();
                library::plan_for(noop, &facts)?;
                Ok(vec![before.elapsed()])
            }
            Way::Plan => {
                let before = Instant::now();
                library::plan(noop)?;
                Ok(vec![before.elapsed()])
            }
            Way::Library(start, decided) => self
                .library
                .as_mut()
                .map_err(|error| error.clone())?
                .launch(noop, start, decided),
            Way::WithCgroup => self
                .library
                .as_mut()
                .map_err(|error| error.clone())?
                .launch_with_cgroup(noop),
            Way::Client(start) => {
                let launched = self
                    .client
                    .as_mut()
                    .map_err(|error| error.clone())?
                    .launch(start)?;
                Ok(vec![launched.exec, launched.reported])
            }
            Way::Floor(start) => self.floor.as_ref().map_err(Clone::clone)?.launch(start),
        }
    }
}
