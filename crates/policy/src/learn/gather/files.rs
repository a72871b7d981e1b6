//! Paths: what was used, what is of the guest's own making, what is lacking.

use belljar_plan::{
    Bytes, Rule,
    answer::{Answer, Verdict},
    observation::{Intent, Observation},
};

use super::{
    super::{
        Make,
        places::{
            SHARED_IN_HOMES, is_directory, is_done_without, may_be_made, may_stand_for_its_files,
            real,
        },
    },
    Gather, Wanted, is_own,
};
use crate::{
    path::UnixPath,
    why::{self, Grant, Question},
};

impl Gather<'_> {
    pub(super) fn path(&mut self, row: &Observation, path: &UnixPath) {
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
            // Of its own tasks, or by a device's own leave.
            Verdict::Depends
                if answer.grant.is_none()
                    && matches!(
                        answer.rule,
                        Some(Rule::Devices | Rule::KernelInfo | Rule::Tasks)
                    ) =>
            {
                self.use_up(row.intent, path, &answer);
            }
            Verdict::Depends => self.refuse(answer.question, answer.reason, row.count),
            Verdict::NotThere => match self.to_make(row, path) {
                Some((grant, make)) => self.want(Wanted {
                    grant,
                    optional: false,
                    keeps: false,
                    reason: format!("{}: {}", answer.question, answer.reason),
                    questions: vec![question],
                    names: 1,
                    make,
                }),
                None => match self.of_workdir(row, path) {
                    Some(wanted) => self.want(wanted),
                    None => self.found.absent.push(Bytes::from(path.as_str())),
                },
            },
            Verdict::Denied if grant.is_none() => match self.of_workdir(row, path) {
                Some(wanted) => self.want(wanted),
                None => self.lacking(row, path, question, answer, grant),
            },
            Verdict::Denied => self.lacking(row, path, question, answer, grant),
        }
    }

    /// What is named without a slash is meant from where the caller stands, and the
    /// guest starts elsewhere where that place is not shown. That place is proposed, or
    /// where it is too much to show for one file, that file where the guest looks for it.
    fn of_workdir(&self, row: &Observation, path: &UnixPath) -> Option<Wanted> {
        let there = self.around.workdir.as_ref()?;
        let start = why::start(self.plan).filter(|start| start != there)?;
        let meant = path.rebased(&start, there).filter(|meant| meant != there)?;
        let writes = matches!(row.intent, Intent::Write | Intent::Create);
        let is_there = self.machine.entry(&meant).is_ok();
        let whole = may_stand_for_its_files(there, self.around);
        // Something new may be made in a directory that is shown, and needs no more.
        let may_help = is_there || whole && writes && is_directory(self.machine, &meant.parent()?);
        let (granted, at, asked) = match whole {
            true => (there, None, &meant),
            false => (&meant, Some(path), path),
        };
        let grant = Grant::of_path(granted, at, writes).filter(|_| may_help);
        let question = match writes {
            true => Question::Write(asked.clone()),
            false => Question::Read(asked.clone()),
        };
        let verb = if writes { "write" } else { "read" };
        Some(Wanted {
            grant: grant?,
            optional: row.intent == Intent::Look,
            keeps: false,
            reason: format!(
                "{verb} {meant}: the program starts in {start}, since {there}, where you stand, is not shown"
            ),
            questions: vec![question],
            names: 1,
            make: None,
        })
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
                    keeps: false,
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
            keeps: true,
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
            keeps: false,
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
