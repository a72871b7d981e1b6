//! Each thing that was observed, asked about: used, lacking, refused for good, or
//! nowhere.

mod calls;
mod files;

use std::collections::{BTreeMap, BTreeSet};

use belljar_plan::{
    Bytes, Plan, Report,
    answer::Answer,
    observation::{Intent, Observation},
};

use super::{Make, Refused, Used, succeeded};
use crate::{
    path::UnixPath,
    why::{self, Answers, Grant, Machine, Question, Surroundings},
};

/// Where the plugin's own files are.
const PLUGIN: &str = "/plugin";

/// So many questions are kept for one grant.
const QUESTIONS: usize = 16;

/// A grant that something lacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) grant: Grant,
    /// It did without, or may.
    pub(super) optional: bool,
    /// It keeps what is gone with the jar otherwise.
    pub(super) keeps: bool,
    pub(super) reason: String,
    /// What a plan with the grant should answer otherwise.
    pub(super) questions: Vec<Question>,
    pub(super) names: u64,
    pub(super) make: Option<Make>,
}

/// What was found out.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) wanted: Vec<Wanted>,
    pub(super) used: Vec<Used>,
    pub(super) refused: Vec<Refused>,
    pub(super) absent: Vec<Bytes>,
    pub(super) unused: Vec<String>,
}

struct Gather<'a> {
    plan: &'a Plan,
    machine: &'a dyn Machine,
    around: &'a Surroundings,
    answers: Answers<'a>,
    /// Every path that was named, and those that were to be made.
    named: BTreeSet<UnixPath>,
    made: BTreeSet<UnixPath>,
    succeeded: bool,
    used: BTreeMap<(String, String), (BTreeSet<Intent>, u64)>,
    found: Gathered,
}

pub(super) fn gather(
    plan: &Plan,
    report: &Report,
    machine: &dyn Machine,
    around: &Surroundings,
) -> Gathered {
    let rows = report
        .observations
        .as_ref()
        .map_or(&[][..], |observations| &observations.rows);
    let mut gather = Gather {
        plan,
        machine,
        around,
        answers: Answers::of(plan, machine, around),
        named: rows.iter().filter_map(path_of).collect(),
        made: rows
            .iter()
            .filter(|row| row.intent == Intent::Create)
            .filter_map(path_of)
            .collect(),
        succeeded: succeeded(report),
        used: BTreeMap::new(),
        found: Gathered::default(),
    };
    for row in rows {
        gather.take(row);
    }
    for violation in &report.violations {
        let (answer, grant) = why::of_refused(plan, violation, around);
        gather.denied(answer, grant, Vec::new(), violation.count);
    }
    gather.finish()
}

/// The path that a row is about, in its normal form; none where it is about
/// something else.
fn path_of(row: &Observation) -> Option<UnixPath> {
    if matches!(row.intent, Intent::Connect | Intent::Call) {
        return None;
    }
    let text = std::str::from_utf8(&row.name.0).ok()?;
    // In a file it could pass for a line of its own.
    if row.name.escaped() != text {
        return None;
    }
    let mut plain = String::new();
    // A link may lead elsewhere, which only falsifies the proposal.
    for part in text.split('/') {
        match part {
            ".." => plain.truncate(plain.rfind('/').unwrap_or(0)),
            part => {
                plain.push('/');
                plain.push_str(part);
            }
        }
    }
    UnixPath::new(&plain).ok()
}

impl Gather<'_> {
    fn take(&mut self, row: &Observation) {
        match row.intent {
            Intent::Call => self.call(row),
            Intent::Connect => self.connect(row),
            // What it was refused for is a violation with a row of its own.
            _ if row.answer.is_some() && row.intent != Intent::Execute => {}
            _ => match path_of(row) {
                Some(path) => self.path(row, &path),
                None => self.refuse(
                    format!("{} {}", row.intent.word(), row.name.escaped()),
                    "its name is no text of one line, and nothing of such a name is proposed"
                        .to_owned(),
                    row.count,
                ),
            },
        }
    }

    /// Something denied that is no matter of files alone.
    fn denied(
        &mut self,
        answer: Answer,
        grant: Option<Grant>,
        questions: Vec<Question>,
        count: u64,
    ) {
        let Some(grant) = grant else {
            let reason = self.advice(&answer).unwrap_or(answer.reason);
            return self.refuse(answer.question, reason, count);
        };
        let of_files = matches!(grant, Grant::Path { .. });
        let wanted = Wanted {
            optional: self.succeeded && !of_files,
            keeps: false,
            reason: format!("{}: {}", answer.question, answer.reason),
            questions,
            names: 1,
            make: None,
            grant,
        };
        self.want(wanted);
    }

    /// What helps where no grant does.
    fn advice(&self, answer: &Answer) -> Option<String> {
        let path = answer.question.split_once(' ')?.1;
        let own = UnixPath::new(path).is_ok_and(|path| is_own(&path));
        (own && answer.question.starts_with("write")).then(|| {
            let home = why::home(self.plan).map_or_else(String::new, |home| {
                format!(", such as its home {home}")
            });
            format!(
                "a plugin's own files are verified and never change: have it write elsewhere{home}, or to TMPDIR"
            )
        })
    }

    fn want(&mut self, wanted: Wanted) {
        let known = self
            .found
            .wanted
            .iter_mut()
            .find(|known| known.grant == wanted.grant);
        match known {
            Some(known) => {
                known.names += wanted.names;
                known.optional &= wanted.optional;
                known.questions.extend(wanted.questions);
                known.questions.truncate(QUESTIONS);
            }
            None => self.found.wanted.push(wanted),
        }
    }

    fn refuse(&mut self, question: String, reason: String, count: u64) {
        let known = self
            .found
            .refused
            .iter_mut()
            .find(|known| known.question == question);
        match known {
            Some(known) => known.count += count,
            None => self.found.refused.push(Refused {
                question,
                reason,
                count,
            }),
        }
    }

    fn use_up(&mut self, intent: Intent, path: &UnixPath, answer: &Answer) {
        let granted = self
            .plan
            .grants
            .iter()
            .filter(|grant| answer.decided_by.as_deref() == Some(grant.origin.as_str()))
            .filter_map(|grant| UnixPath::new(std::str::from_utf8(&grant.at.0).ok()?).ok())
            .filter(|at| path.is_within(at))
            .max_by_key(|at| at.as_str().len());
        let place = granted.map_or_else(|| part_of(path), |at| at.to_string());
        self.note_use(intent, place, word(answer, self.plan));
    }

    fn note_use(&mut self, intent: Intent, place: String, by: String) {
        let (intents, names) = self.used.entry((place, by)).or_default();
        intents.insert(intent);
        *names += 1;
    }

    fn finish(mut self) -> Gathered {
        self.found.absent.sort();
        self.found.absent.dedup();
        self.found.unused = self
            .plan
            .grants
            .iter()
            .filter(|grant| {
                let at = String::from_utf8_lossy(&grant.at.0);
                let used = self
                    .used
                    .keys()
                    .any(|(place, by)| *place == at && *by == grant.origin);
                !used
            })
            .map(|grant| format!("{} ({})", grant.path.escaped(), grant.origin))
            .collect();
        self.found.used = self
            .used
            .into_iter()
            .map(|((place, by), (intents, names))| Used {
                place: place.into(),
                intents: intents.into_iter().collect(),
                names,
                by,
            })
            .collect();
        self.found
    }
}

fn is_own(path: &UnixPath) -> bool {
    UnixPath::new(PLUGIN).is_ok_and(|plugin| path.is_within(&plugin))
}

fn word(answer: &Answer, plan: &Plan) -> String {
    answer
        .decided_by
        .clone()
        .unwrap_or_else(|| format!("preset {}", plan.preset))
}

/// The part of the tree that a path belongs to, for a list that can be read.
fn part_of(path: &UnixPath) -> String {
    let deep = ["usr", "home", "var", "etc", "opt", "srv"];
    let mut parts = path.relative().split('/');
    let first = parts.next().unwrap_or_default();
    match parts.next() {
        Some(second) if deep.contains(&first) => format!("/{first}/{second}"),
        _ => format!("/{first}"),
    }
}
