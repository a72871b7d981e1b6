//! The filters of the presets beside libseccomp's of the same policies: how long
//! they are, what installing them takes, and what making them takes here.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use belljar::{Preset, policy::seccomp};

use crate::{
    library::{self, What},
    output::{Row, Section, Verdict},
    peer,
    sample::{Samples, Summary, round_robin},
    workshop::Workshop,
};

/// The filters of one preset.
struct Group {
    preset: Preset,
    filters: Vec<Made>,
    notes: Vec<String>,
}

/// A filter by one maker.
struct Made {
    maker: &'static str,
    /// As the peer that installs takes it, and how many instructions it has.
    file: Result<(String, usize), String>,
}

const OWN: &str = "Belljar";
const LISTENING: &str = "Belljar, with its listener";
const LINEAR: &str = "libseccomp, linear";
const TREE: &str = "libseccomp, tree";

/// Measures everybody.
pub(crate) fn run(rounds: usize, workshop: &Workshop) -> Vec<Section> {
    let groups: Vec<Group> = Preset::ALL
        .iter()
        .map(|preset| {
            group(*preset, workshop).unwrap_or_else(|reason| Group {
                preset: *preset,
                filters: vec![Made {
                    maker: OWN,
                    file: Err(reason),
                }],
                notes: Vec::new(),
            })
        })
        .collect();
    vec![
        sizes(&groups),
        install(rounds, workshop, &groups),
        make(rounds, workshop),
    ]
}

/// What the plan of a launch of this preset says here.
fn asked(preset: Preset, workshop: &Workshop) -> Result<belljar_plan::Filter, String> {
    let what = What {
        preset,
        ..What::strict(&workshop.noop)
    };
    library::plan_of(&what)?
        .filter
        .ok_or_else(|| "this machine takes no filters".to_owned())
}

fn decided(asked: &belljar_plan::Filter) -> Result<seccomp::Filter, String> {
    seccomp::Filter::new(asked).map_err(|error| error.to_string())
}

fn group(preset: Preset, workshop: &Workshop) -> Result<Group, String> {
    let asked = asked(preset, workshop)?;
    let filter = decided(&asked)?;
    let program = filter.compile();
    let length = program.instructions.len();
    let file = workshop.write(&format!("{preset}.bpf"), program.to_bytes())?;
    let file = file.display().to_string();
    let rules = peer::rules(&filter, asked.events);
    let mut notes = Vec::new();
    if rules.unsaid > 0 {
        notes.push(format!(
            "{preset}: libseccomp goes by number alone for {} calls of which Belljar\n  looks at more than it can say",
            rules.unsaid
        ));
    }
    let rules = workshop.write(&format!("{preset}.rules"), rules.text)?;
    let mut filters = vec![Made {
        maker: OWN,
        file: Ok((file.clone(), length)),
    }];
    if asked.events {
        filters.push(Made {
            maker: LISTENING,
            file: Ok((format!("+{file}"), length)),
        });
    }
    for (maker, how) in [(LINEAR, "linear"), (TREE, "tree")] {
        let file = by_libseccomp(workshop, &rules, how);
        filters.push(Made {
            maker,
            file: file.map(|(file, length)| (file.display().to_string(), length)),
        });
    }
    Ok(Group {
        preset,
        filters,
        notes,
    })
}

/// The program that libseccomp makes of rules, and how many instructions it has.
fn by_libseccomp(workshop: &Workshop, rules: &Path, how: &str) -> Result<(PathBuf, usize), String> {
    const INSTRUCTION: u64 = 8;
    let told = |error: std::io::Error| format!("libseccomp: {error}");
    let maker = workshop.libseccomp.as_ref().map_err(Clone::clone)?;
    let file = rules.with_extension(how);
    let output = Command::new(maker)
        .args([rules, how.as_ref(), &file])
        .output()
        .map_err(told)?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let length = std::fs::metadata(&file).map_err(told)?.len() / INSTRUCTION;
    Ok((file, usize::try_from(length).expect("a filter is short")))
}

/// libseccomp's linear filter of a preset, with nobody who listens.
pub(crate) fn linear(workshop: &Workshop, preset: Preset) -> Result<(PathBuf, usize), String> {
    let filter = decided(&asked(preset, workshop)?)?;
    let rules = peer::rules(&filter, false);
    let rules = workshop.write(&format!("{preset}.quiet.rules"), rules.text)?;
    by_libseccomp(workshop, &rules, "linear")
}

impl Group {
    /// A row for each filter, beside the linear one.
    fn rows(&self, mut of: impl FnMut(&Made) -> Result<Option<Summary>, String>) -> Vec<Row> {
        let mut rows: Vec<Row> = self
            .filters
            .iter()
            .map(|made| Row::new(format!("{}: {}", self.preset, made.maker), of(made)))
            .collect();
        let linear = self
            .filters
            .iter()
            .position(|made| made.maker == LINEAR)
            .and_then(|at| rows[at].summary);
        for row in &mut rows {
            row.compare(linear.map(|linear| linear.p50));
        }
        rows
    }
}

fn sizes(groups: &[Group]) -> Section {
    let length = |made: &Made| {
        let (_, length) = made.file.as_ref().map_err(Clone::clone)?;
        let length = u32::try_from(*length).expect("a filter is short");
        Ok(Summary::of(vec![length.into()]))
    };
    Section {
        name: "filter_size",
        title: "length of a filter".into(),
        unit: "instructions of 8 bytes",
        compared_to: Some(LINEAR.into()),
        rows: groups
            .iter()
            .flat_map(|group| group.rows(length))
            .filter(|row| !row.name.ends_with(LISTENING))
            .collect(),
        verdicts: Vec::new(),
        notes: groups
            .iter()
            .flat_map(|group| group.notes.clone())
            .collect(),
    }
}

fn install(rounds: usize, workshop: &Workshop, groups: &[Group]) -> Section {
    let files: Vec<&str> = groups
        .iter()
        .flat_map(|group| &group.filters)
        .filter_map(|made| made.file.as_ref().ok())
        .map(|(file, _)| file.as_str())
        .collect();
    let times = installed(rounds, workshop, &files);
    let time = |made: &Made| {
        let (file, _) = made.file.as_ref().map_err(Clone::clone)?;
        let times = times.as_ref().map_err(Clone::clone)?;
        let at = files.iter().position(|other| other == file);
        Ok(at.and_then(|at| times[at].summary()))
    };
    let rows: Vec<Row> = groups.iter().flat_map(|group| group.rows(time)).collect();
    let of = |preset, maker| {
        let name = format!("{preset}: {maker}");
        rows.iter()
            .find(|row| row.name == name)
            .and_then(|row| row.summary)
    };
    Section {
        name: "filter_install",
        title: "seccomp(2), in a child of its own each time".into(),
        unit: "us",
        compared_to: Some(LINEAR.into()),
        verdicts: Preset::ALL
            .iter()
            .map(|preset| {
                let what = format!("{preset}, Belljar / {LINEAR}");
                Verdict::ratio(what, None, of(*preset, OWN), of(*preset, LINEAR))
            })
            .collect(),
        rows,
        notes: Vec::new(),
    }
}

/// What each file's installation took, everybody in turn.
fn installed(rounds: usize, workshop: &Workshop, files: &[&str]) -> Result<Vec<Samples>, String> {
    let output = Command::new(&workshop.install)
        .arg(rounds.to_string())
        .args(files)
        .output()
        .map_err(|error| format!("the peer that installs: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let mut samples = vec![Samples::default(); files.len()];
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let (at, nanoseconds) = line
            .split_once(' ')
            .and_then(|(at, time)| Some((at.parse::<usize>().ok()?, time.parse().ok()?)))
            .ok_or("the peer that installs speaks otherwise")?;
        samples[at].push(Duration::from_nanos(nanoseconds));
    }
    Ok(samples)
}

/// From a plan's words to the kernel's program, as each launch does it.
fn make(rounds: usize, workshop: &Workshop) -> Section {
    let mut presets: Vec<_> = Preset::ALL
        .iter()
        .map(|preset| (*preset, asked(*preset, workshop)))
        .collect();
    let results = round_robin(rounds, &mut presets, |(_, asked)| {
        let asked = asked.as_ref().map_err(|reason| reason.clone())?;
        let before = Instant::now();
        std::hint::black_box(decided(asked)?.compile());
        Ok(vec![before.elapsed()])
    });
    let rows: Vec<Row> = presets
        .iter()
        .zip(results)
        .map(|((preset, _), result)| {
            let name = format!("{preset}: decided and compiled");
            Row::new(name, result.map(|samples| samples[0].summary()))
        })
        .collect();
    let slowest = rows
        .iter()
        .filter_map(|row| row.summary)
        .map(|summary| summary.p50)
        .reduce(f64::max);
    Section {
        name: "filter_make",
        title: "making a filter, in the planner".into(),
        unit: "us",
        compared_to: None,
        verdicts: vec![Verdict::at_most("the slowest preset, us", 50.0, slowest)],
        rows,
        notes: Vec::new(),
    }
}
