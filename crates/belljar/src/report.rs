//! Reports: put together from a plan and what was seen, and where they go.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use belljar_plan::{
    Limit, Outcome, Plan, Report,
    report::{Denials, LimitChange, LimitReport, UNWRITTEN},
    usage::Usage,
};

use crate::sys;

/// Where a report goes besides to the caller, as JSON.
#[derive(Debug)]
pub enum ReportTo {
    /// A file. It is there from the launch on, with outcome `lost`, and is
    /// replaced at once when the jar ends: a supervisor that is killed leaves
    /// a true report.
    File(PathBuf),
    /// A descriptor, written once when the jar ends.
    Descriptor(OwnedFd),
}

/// An open [`ReportTo`]; copies lead to the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sink(Option<Arc<Place>>);

#[derive(Debug)]
enum Place {
    File {
        spot: sys::Spot,
        path: PathBuf,
        jar: String,
    },
    Descriptor(Mutex<Option<File>>),
}

impl Sink {
    /// Checks that the report can be written, before anything is made.
    pub(crate) fn open(to: Option<ReportTo>, jar: &str) -> Result<Self, (PathBuf, io::Error)> {
        let place = match to {
            None => return Ok(Self(None)),
            Some(ReportTo::Descriptor(fd)) => Place::Descriptor(Mutex::new(Some(fd.into()))),
            Some(ReportTo::File(path)) => match sys::spot(&path) {
                Ok(spot) => Place::File {
                    spot,
                    path,
                    jar: jar.to_owned(),
                },
                Err(error) => return Err((path, error)),
            },
        };
        Ok(Self(Some(Arc::new(place))))
    }

    /// Writes what holds until the end: that nobody knows how it ended.
    pub(crate) fn begin(&self, report: &Report) -> Result<(), (PathBuf, io::Error)> {
        match self.0.as_deref() {
            Some(Place::File { spot, path, jar }) => {
                sys::replace(spot, jar, &json(report), sys::SHARED)
                    .map(drop)
                    .map_err(|error| (path.clone(), error))
            }
            _ => Ok(()),
        }
    }

    /// Writes the report; gives why it could not be, to be told in the caller's own copy.
    /// What stood there before stands there still.
    pub(crate) fn finish(&self, report: &Report) -> Option<String> {
        let (place, result) = match self.0.as_deref()? {
            Place::File { spot, path, jar } => {
                let place = path.display().to_string();
                let written = sys::replace(spot, jar, &json(report), sys::SHARED);
                (place, written.map(drop))
            }
            Place::Descriptor(file) => {
                let file = file.lock().unwrap_or_else(PoisonError::into_inner).take();
                let written = file.map_or(Ok(()), |mut file| file.write_all(&json(report)));
                ("its descriptor".to_owned(), written)
            }
        };
        let error = result.err()?;
        tracing::error!(target: "belljar", place, %error, "cannot write the report");
        Some(format!("{UNWRITTEN}: {place}: {error}"))
    }

    /// Writing may wait for a reader.
    pub(crate) fn may_block(&self) -> bool {
        matches!(self.0.as_deref(), Some(Place::Descriptor(_)))
    }
}

fn json(report: &Report) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(report).unwrap_or_default();
    text.push(b'\n');
    text
}

/// A report of which nothing is known but who it is about.
pub(crate) fn without_plan(jar: &str, task: Option<&str>, outcome: Outcome) -> Report {
    Report {
        schema: belljar_plan::report::SCHEMA,
        jar: jar.to_owned(),
        task: task.map(str::to_owned),
        plugin: None,
        plan_digest: None,
        reason: outcome.reason(),
        outcome,
        limits_hit: Vec::new(),
        limits: Vec::new(),
        limit_changes: Vec::new(),
        usage: Usage::default(),
        enforcement: Vec::new(),
        landlock: None,
        violations: Vec::new(),
        denials: Denials::default(),
        observations: None,
        symptoms: Vec::new(),
        dropped: Vec::new(),
        weakenings: Vec::new(),
        notes: Vec::new(),
    }
}

/// A report of a plan of which nothing is applied yet.
pub(crate) fn of_plan(
    jar: &str,
    task: Option<&str>,
    plan: &Plan,
    digest: &str,
    outcome: Outcome,
) -> Report {
    let receipts = crate::supervise::Receipts::new(plan);
    Report {
        plugin: plan.plugin.clone(),
        plan_digest: Some(digest.to_owned()),
        limits: limits(plan, &Usage::default(), Counted::default(), &[]),
        enforcement: receipts.enforcement(plan),
        landlock: receipts.landlock(plan),
        dropped: plan.dropped.clone(),
        weakenings: plan.weakenings.clone(),
        notes: plan.notes.clone(),
        ..without_plan(jar, task, outcome)
    }
}

/// What limits count otherwise than usage does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// Of memory.
    pub(crate) memory: Option<u64>,
    /// For how long the limit `wall` stood still, nanoseconds.
    pub(crate) wall_off: u64,
}

/// Every limit with its last value and how much of it was used.
pub(crate) fn limits(
    plan: &Plan,
    usage: &Usage,
    counted: Counted,
    changes: &[LimitChange],
) -> Vec<LimitReport> {
    let last = |limit| changes.iter().rfind(|change| change.limit == limit);
    plan.limits
        .iter()
        .map(|planned| {
            let last = last(planned.limit);
            let values = last.map_or((planned.soft, planned.hard), |change| {
                (change.after.soft, change.after.hard)
            });
            LimitReport {
                limit: planned.limit,
                soft: values.0,
                hard: values.1,
                used: used(planned.limit, usage, counted),
                decided_by: match last {
                    Some(_) => "the host, while it ran".to_owned(),
                    None => planned.origin.clone(),
                },
            }
        })
        .collect()
}

fn used(limit: Limit, usage: &Usage, counted: Counted) -> Option<u64> {
    match limit {
        Limit::Memory => counted.memory,
        Limit::CpuTime => usage.cpu_ns(),
        Limit::Wall => usage
            .wall_ns
            .map(|wall| wall.saturating_sub(counted.wall_off)),
        Limit::Output => Some(usage.stdout.saturating_add(usage.stderr)),
        Limit::Processes => usage.tasks_peak,
        Limit::Disk => usage.disk_peak,
        Limit::OpenFiles
        | Limit::FileSize
        | Limit::Cpu
        | Limit::IoRead
        | Limit::IoWrite
        | Limit::IoReadOps
        | Limit::IoWriteOps
        | Limit::CpuWeight
        | Limit::IoWeight
        | Limit::MemoryHigh => None,
    }
}
