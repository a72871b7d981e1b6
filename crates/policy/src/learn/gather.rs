//! Each thing that was observed, asked about: used, lacking, refused for good, or
//! nowhere.

use std::collections::{BTreeMap, BTreeSet};

use belljar_plan::{
    Bytes, Namespaces, Plan, Report, Step,
    answer::{Answer, Verdict},
    observation::{Intent, Observation},
};

use super::{
    Make, Refused, Used,
    places::{
        SHARED_IN_HOMES, is_directory, is_done_without, may_be_made, may_stand_for_its_files, real,
    },
    succeeded,
};
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

    fn path(&mut self, row: &Observation, path: &UnixPath) {
        let question = match row.intent {
            Intent::Write | Intent::Create | Intent::Remove => Question::Write(path.clone()),
            Intent::Execute => Question::Exec(path.clone()),
            _ => Question::Read(path.clone()),
        };
        let (answer, grant) = self.answers.to(&question);
        if self.answers.in_scratch(path) {
            return self.in_scratch(row, path, question, answer, grant);
        }
        match answer.verdict {
            Verdict::Allowed => self.use_up(row.intent, path, &answer),
            Verdict::Depends if answer.grant.is_none() && path.as_str().starts_with("/proc") => {
                self.use_up(row.intent, path, &answer);
            }
            Verdict::Depends => self.refuse(answer.question, answer.reason, row.count),
            Verdict::NotThere => match self.to_make(row, path) {
                Some((grant, make)) => self.want(Wanted {
                    grant,
                    optional: false,
                    reason: format!("{}: {}", answer.question, answer.reason),
                    questions: vec![question],
                    names: 1,
                    make,
                }),
                None => self.found.absent.push(Bytes::from(path.as_str())),
            },
            Verdict::Denied => self.lacking(row, path, question, answer, grant),
        }
    }

    /// In scratch it finds what it put there itself; whatever else it looks for
    /// there, it wants of the machine.
    fn in_scratch(
        &mut self,
        row: &Observation,
        path: &UnixPath,
        question: Question,
        answer: Answer,
        grant: Option<Grant>,
    ) {
        let writes = !matches!(row.intent, Intent::Look | Intent::Read | Intent::Execute);
        let own = match (writes, path.parent()) {
            (true, Some(above)) => !self.answers.in_scratch(&above) || self.has_made(&above),
            _ => self.has_made(path),
        };
        let missed = match (own, writes, path.parent()) {
            (true, ..) => false,
            (false, true, Some(above)) => is_directory(self.machine, &self.on_machine(&above)),
            (false, ..) => answer.verdict == Verdict::Denied,
        };
        match (missed, grant) {
            (true, Some(grant)) => self.lacking(row, path, question, answer, Some(grant)),
            (true, None) => match self.to_make(row, path) {
                Some((grant, make)) => self.want(Wanted {
                    grant,
                    optional: false,
                    reason: format!(
                        "{}: the machine has the directory above it, and the jar has scratch of its own there",
                        answer.question
                    ),
                    questions: Vec::new(),
                    names: 1,
                    make,
                }),
                None => self.use_up(row.intent, path, &answer),
            },
            (false, _) => {
                let scratch = Answer {
                    decided_by: Some("the jar's own scratch".to_owned()),
                    ..answer
                };
                self.use_up(row.intent, path, &scratch);
                self.keep(row, path);
            }
        }
    }

    /// The guest made it or something above it, as far as it said.
    fn has_made(&self, path: &UnixPath) -> bool {
        path.ancestors_from_root()
            .any(|above| self.made.contains(&above) && self.answers.in_scratch(&above))
    }

    /// Where the machine would have a path of the jar.
    fn on_machine(&self, path: &UnixPath) -> UnixPath {
        why::home(self.plan)
            .zip(self.around.home.as_ref())
            .and_then(|(own, home)| path.rebased(&own, home))
            .unwrap_or_else(|| path.clone())
    }

    /// What a program writes in its home is gone with the jar. It works without, and
    /// who wants to keep it has to say where.
    fn keep(&mut self, row: &Observation, path: &UnixPath) {
        if !matches!(row.intent, Intent::Create | Intent::Write) {
            return;
        }
        let Some((own, home)) = why::home(self.plan).zip(self.around.home.clone()) else {
            return;
        };
        let granted = self.plan.grants.iter().any(|grant| {
            let at = std::str::from_utf8(&grant.at.0).ok();
            at.and_then(|at| UnixPath::new(at).ok())
                .is_some_and(|at| path.is_within(&at))
        });
        let rest = path.rebased(&own, &UnixPath::root());
        let Some(rest) = rest.filter(|rest| !granted && own != home && rest.as_str() != "/") else {
            return;
        };
        let kept = kept_part(&rest);
        let (Ok(there), Ok(at)) = (home.join(&kept), own.join(&kept)) else {
            return;
        };
        let make = match self.machine.entry(&there) {
            Ok(_) => None,
            Err(_) if real(self.machine, &home) != home => return,
            Err(_) if kept == rest.relative() && !makes_directory(row) => Some(Make::File),
            Err(_) => Some(Make::Directory),
        };
        // What is made on the way to it.
        if rest.parent().is_some_and(|above| above.as_str() == "/")
            && self
                .named
                .iter()
                .any(|other| other != path && other.is_within(path))
        {
            return;
        }
        let Some(grant) = Grant::of_path(&there, Some(&at), true) else {
            return;
        };
        self.want(Wanted {
            grant,
            optional: true,
            reason: format!(
                "write {path}: it is written to the jar's own scratch, and gone with the jar; to keep it, it takes a place"
            ),
            questions: Vec::new(),
            names: 1,
            make,
        });
    }

    /// A denied path, with the grant that would give it.
    fn lacking(
        &mut self,
        row: &Observation,
        path: &UnixPath,
        question: Question,
        answer: Answer,
        grant: Option<Grant>,
    ) {
        let Some(Grant::Path {
            path: there, write, ..
        }) = &grant
        else {
            return self.denied(answer, grant, vec![question], row.count);
        };
        let mut optional = is_done_without(there) || is_done_without(path);
        // A directory that is looked at, or made where it is there already, as
        // when all that lead to another are made.
        let passed = row.intent == Intent::Look || makes_directory(row);
        if passed && is_directory(self.machine, there) {
            let on_the_way = self
                .named
                .iter()
                .any(|other| other != path && other.is_within(path));
            if on_the_way || path.as_str() == "/" {
                return;
            }
            optional |= row.intent == Intent::Look;
        }
        // Something new in a directory that may be too much to grant.
        let (grant, make) = match self.to_make(row, path) {
            Some(smaller) if *write => (smaller.0, smaller.1),
            _ => (grant.clone().expect("it was matched"), None),
        };
        let wanted = Wanted {
            grant,
            optional,
            reason: format!("{}: {}", answer.question, answer.reason),
            questions: vec![question],
            names: 1,
            make,
        };
        self.want(wanted);
    }

    /// What would have to be on the machine for something new: the nearest directory
    /// that is there, where that may be granted for it; else what is missing below.
    fn to_make(&self, row: &Observation, path: &UnixPath) -> Option<(Grant, Option<Make>)> {
        if !matches!(row.intent, Intent::Create | Intent::Write) {
            return None;
        }
        let home = self.around.home.as_ref().zip(why::home(self.plan));
        let in_home = home.and_then(|(home, own)| path.rebased(&own, home));
        [Some(path.clone()), in_home]
            .into_iter()
            .flatten()
            .find_map(|there| {
                let (above, missing) = self.nearest(&there)?;
                // Nothing is made behind a link, which a guest may have put there.
                if is_own(&above) || real(self.machine, &above) != above {
                    return None;
                }
                let new_file = !makes_directory(row);
                let (granted, make) = if missing == there && new_file {
                    match may_stand_for_its_files(&above, self.around) {
                        true => (above, None),
                        false => (missing, Some(Make::File)),
                    }
                } else {
                    let own = there
                        .ancestors_from_root()
                        .filter(|path| path.is_within(&missing) && !(new_file && *path == there))
                        .find(|path| may_be_made(path, self.around));
                    match own {
                        Some(own) => (own, Some(Make::Directory)),
                        None if new_file => (there.clone(), Some(Make::File)),
                        None => (there.clone(), Some(Make::Directory)),
                    }
                };
                let at = in_jar(&granted, &there, path)?;
                let grant = Grant::of_path(&granted, Some(&at), true)?;
                Some((grant, make))
            })
    }

    /// The deepest directory above that is there, and what is missing in it.
    fn nearest(&self, path: &UnixPath) -> Option<(UnixPath, UnixPath)> {
        let mut missing = path.clone();
        if self.machine.entry(path).is_ok() {
            return None;
        }
        loop {
            let above = missing.parent()?;
            if above.as_str() == "/" {
                return None;
            }
            if is_directory(self.machine, &above) {
                return Some((above, missing));
            }
            if self.machine.entry(&above).is_ok() {
                return None;
            }
            missing = above;
        }
    }

    fn connect(&mut self, row: &Observation) {
        let Ok(name) = std::str::from_utf8(&row.name.0) else {
            return self.refuse(
                format!("connect {}", row.name.escaped()),
                "it is no address that a grant can name".to_owned(),
                row.count,
            );
        };
        let answer = if let Some(path) = name.strip_prefix("unix:") {
            match UnixPath::new(path) {
                Ok(path) => {
                    let (answer, grant) = self.answers.to(&Question::Read(path.clone()));
                    // Shown, and what may be connected to is told by violations.
                    if answer.grant.is_none() && answer.verdict != Verdict::NotThere {
                        return self.use_up(Intent::Connect, &path, &answer);
                    }
                    if answer.verdict == Verdict::NotThere {
                        self.found.absent.push(row.name.clone());
                        return;
                    }
                    return self.denied(answer, grant, Vec::new(), row.count);
                }
                Err(_) => return self.named_socket(row, name),
            }
        } else {
            let Some((host, port)) = name.rsplit_once(':') else {
                return self.refuse(
                    format!("connect {}", row.name.escaped()),
                    "sockets of this kind reach nothing in a jar".to_owned(),
                    row.count,
                );
            };
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let loopback = bare
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback() || address.is_unspecified());
            if loopback && namespaces(self.plan).network {
                let by = "the jar's own network".to_owned();
                self.note_use(Intent::Connect, name.to_owned(), by);
                return;
            }
            let (answer, _) = self.answers.to(&Question::Connect {
                host: host.to_owned(),
                port: port.parse().unwrap_or(0),
            });
            answer
        };
        match answer.verdict {
            Verdict::Allowed => {
                self.note_use(Intent::Connect, name.to_owned(), word(&answer, self.plan));
            }
            _ => self.refuse(answer.question, answer.reason, row.count),
        }
    }

    /// A socket without a place among files.
    fn named_socket(&mut self, row: &Observation, name: &str) {
        if namespaces(self.plan).network {
            self.note_use(
                Intent::Connect,
                Bytes::from(name).escaped(),
                "the jar's own network".to_owned(),
            );
        } else {
            self.refuse(
                format!("connect {}", row.name.escaped()),
                "abstract sockets of the machine are not granted".to_owned(),
                row.count,
            );
        }
    }

    fn call(&mut self, row: &Observation) {
        let arguments = row.arguments.join(", ");
        let answer = row.answer.as_deref().unwrap_or("an error");
        self.refuse(
            format!("call {}({arguments})", row.name.escaped()),
            format!("it answers {answer}, which programs usually take for an older kernel's"),
            row.count,
        );
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

/// The part of a home that is a program's own: with what stands behind the
/// directories that all programs share.
fn kept_part(rest: &UnixPath) -> String {
    let shared = SHARED_IN_HOMES
        .iter()
        .find(|shared| rest.relative().starts_with(&format!("{shared}/")));
    let skip = shared.map_or(0, |shared| shared.matches('/').count() + 1);
    let parts: Vec<&str> = rest.relative().split('/').take(skip + 1).collect();
    parts.join("/")
}

fn makes_directory(row: &Observation) -> bool {
    row.syscall.starts_with("mkdir")
}

fn is_own(path: &UnixPath) -> bool {
    UnixPath::new(PLUGIN).is_ok_and(|plugin| path.is_within(&plugin))
}

/// Where in the jar a granted path is that has `there` at or below it, which the
/// jar has at `path`.
fn in_jar(granted: &UnixPath, there: &UnixPath, path: &UnixPath) -> Option<UnixPath> {
    let below = there.rebased(granted, &UnixPath::root())?;
    let end = match below.as_str() {
        "/" => path.as_str(),
        below => path.as_str().strip_suffix(below)?,
    };
    UnixPath::new(if end.is_empty() { "/" } else { end }).ok()
}

fn namespaces(plan: &Plan) -> Namespaces {
    let made = plan.steps.iter().find_map(|step| match step {
        Step::Clone { namespaces } => Some(*namespaces),
        _ => None,
    });
    made.unwrap_or_default()
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
