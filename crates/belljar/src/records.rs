//! What is kept of runs, so that `why` can be asked afterwards: each report, and
//! each plan once by its digest, in a directory of the user's own, few and not for
//! long.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use belljar_plan::{Bytes, Plan, Report, Step};
use serde::{Deserialize, Serialize};

use crate::sys::{Directory, Listed};

/// So many reports are kept, the newest.
const REPORTS: usize = 256;
/// So long at most.
const AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Bytes that all that is kept may take.
const BYTES: u64 = 32 << 20;
/// No record is larger.
const LARGEST: u64 = 16 << 20;
/// The directories of the two kinds.
const REPORTS_IN: &str = "reports";
const PLANS_IN: &str = "plans";
/// What a record's name ends with.
const ENDING: &str = ".json";
/// Variables whose values are Belljar's own or harmless, and kept.
const KEPT_VALUES: [&str; 9] = [
    "HOME",
    "PATH",
    "TMPDIR",
    "LANG",
    "TERM",
    "SANDBOX_POLICY",
    "NO_NETWORK",
    "NO_SUBPROCESS",
    "NO_FILESYSTEM_WRITE",
];

/// Kept reports and plans: `reports/JAR.json` and `plans/DIGEST.json` in one
/// directory that nobody but its user can read.
#[derive(Clone, Debug)]
pub struct Records {
    directory: PathBuf,
}

/// Why a record cannot be had. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Nothing is kept, or not any more.
    #[error("no run is kept in {}; a run keeps its report unless `--no-record` is said", directory.display())]
    None {
        /// Where was looked.
        directory: PathBuf,
    },
    /// No kept report has this id.
    #[error("no run `{id}` is kept in {}; `belljar why --list` shows those that are", directory.display())]
    Unknown {
        /// As it was asked for.
        id: String,
        /// Where was looked.
        directory: PathBuf,
    },
    /// Several begin so.
    #[error("several kept runs begin with `{id}`; write more of it")]
    Ambiguous {
        /// As it was asked for.
        id: String,
    },
    /// The plan of a run is not kept, or not any more.
    #[error(
        "the plan {digest} is not kept any more; run it again, or ask `belljar why` with the run's arguments"
    )]
    NoPlan {
        /// Which.
        digest: String,
    },
    /// It cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was not written by this version of Belljar.
    #[error("{} cannot be understood; another version of Belljar may have written it, so remove it", path.display())]
    Malformed {
        /// What.
        path: PathBuf,
    },
}

/// A kept run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The jar's id.
    pub jar: String,
    /// When it ended.
    pub when: SystemTime,
}

/// A plan as it is kept: without what may be secret, so that its digest, which is
/// of the whole, cannot be computed from it.
#[derive(Serialize, Deserialize)]
struct KeptPlan<P> {
    digest: String,
    plan: P,
}

impl Records {
    /// Those of the user: below `$XDG_STATE_HOME`, else `~/.local/state`; none where
    /// neither is known.
    #[must_use]
    pub fn of_user() -> Option<Self> {
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let state = absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
        Some(Self::at(state.join("belljar")))
    }

    /// Those in a directory, which is made when the first is kept.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Where they are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Keeps a plan, or notes that it was used again. Arguments and values of
    /// variables are left out, but for those that every jar has.
    ///
    /// # Errors
    /// Where it cannot be written, or somebody else could write there.
    pub fn keep_plan(&self, plan: &Plan, digest: &str) -> Result<(), RecordError> {
        let plans = self.made(PLANS_IN)?;
        if plans.touch(&file_name(digest)).is_ok() {
            return Ok(());
        }
        let kept = KeptPlan {
            digest: digest.to_owned(),
            plan: without_values(plan),
        };
        self.write(&plans, PLANS_IN, digest, &kept)
    }

    /// Keeps a report; now and then takes away what is old or too much.
    ///
    /// # Errors
    /// As for [`keep_plan`](Self::keep_plan).
    pub fn keep_report(&self, report: &Report) -> Result<(), RecordError> {
        self.write(&self.made(REPORTS_IN)?, REPORTS_IN, &report.jar, report)?;
        // A run in sixteen pays for all.
        if report.jar.ends_with('0') {
            self.sweep()?;
        }
        Ok(())
    }

    /// The report of a jar, by its id or the beginning of it.
    ///
    /// # Errors
    /// Where there is none, or more than one.
    pub fn report(&self, id: &str) -> Result<Report, RecordError> {
        let shown = || Bytes::from(id).escaped();
        let mut found = self
            .kept()?
            .into_iter()
            .filter(|kept| !id.is_empty() && kept.jar.starts_with(id));
        let first = found.next().ok_or_else(|| RecordError::Unknown {
            id: shown(),
            directory: self.directory.clone(),
        })?;
        if first.jar != id && found.next().is_some() {
            return Err(RecordError::Ambiguous { id: shown() });
        }
        self.report_of(&first.jar)
    }

    /// The report that was kept last.
    ///
    /// # Errors
    /// Where none is kept.
    pub fn last(&self) -> Result<Report, RecordError> {
        let kept = self.kept()?;
        let last = kept.first().ok_or_else(|| RecordError::None {
            directory: self.directory.clone(),
        })?;
        self.report_of(&last.jar)
    }

    /// The plan of a digest, without the values that are not kept.
    ///
    /// # Errors
    /// Where it is not kept.
    pub fn plan(&self, digest: &str) -> Result<Plan, RecordError> {
        let hexadecimal = !digest.is_empty() && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        let kept: Option<KeptPlan<Plan>> = match hexadecimal {
            true => self.read(PLANS_IN, digest)?,
            false => None,
        };
        kept.map(|kept| kept.plan)
            .ok_or_else(|| RecordError::NoPlan {
                digest: Bytes::from(digest).escaped(),
            })
    }

    /// Every kept run, the newest first.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn kept(&self) -> Result<Vec<Kept>, RecordError> {
        let reports = match self.there(REPORTS_IN)? {
            Some(reports) => self.records_in(&reports, REPORTS_IN)?,
            None => Vec::new(),
        };
        let mut kept: Vec<Kept> = reports
            .into_iter()
            .filter_map(|file| {
                Some(Kept {
                    jar: file.name.strip_suffix(ENDING)?.to_owned(),
                    when: file.when,
                })
            })
            .collect();
        kept.sort_by(|one, other| other.when.cmp(&one.when).then(one.jar.cmp(&other.jar)));
        Ok(kept)
    }

    /// Takes away reports that are old or more than are kept, and plans that no
    /// report of now can be of.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn sweep(&self) -> Result<(), RecordError> {
        let now = SystemTime::now();
        let old = |when: SystemTime| now.duration_since(when).is_ok_and(|age| age > AGE);
        let mut oldest = now;
        if let Some(directory) = self.there(REPORTS_IN)? {
            let mut bytes = 0;
            let reports = self.records_in(&directory, REPORTS_IN)?;
            for (index, file) in reports.iter().enumerate() {
                bytes += file.bytes;
                if index >= REPORTS || bytes > BYTES / 2 || old(file.when) {
                    directory.remove(&file.name);
                } else {
                    oldest = file.when;
                }
            }
        }
        // A plan is touched whenever it is used, before its report is written.
        if let Some(directory) = self.there(PLANS_IN)? {
            let mut bytes = 0;
            let long = Duration::from_secs(24 * 3600);
            for file in self.records_in(&directory, PLANS_IN)? {
                bytes += file.bytes;
                let unused = oldest.duration_since(file.when).is_ok_and(|age| age > long);
                if unused || bytes > BYTES / 2 || old(file.when) {
                    directory.remove(&file.name);
                }
            }
        }
        Ok(())
    }

    /// The directory of a kind, made where it is not there. The guest may have a grant
    /// around this place: what was looked at is what is used.
    fn made(&self, kind: &str) -> Result<Directory, RecordError> {
        Directory::make_private(&self.directory)
            .and_then(|directory| directory.make_private_in(kind))
            .map_err(|source| self.failed(kind, source))
    }

    /// The directory of a kind, if it is there.
    fn there(&self, kind: &str) -> Result<Option<Directory>, RecordError> {
        let both = || match Directory::private(&self.directory)? {
            Some(directory) => directory.private_in(kind),
            None => Ok(None),
        };
        both().map_err(|source| self.failed(kind, source))
    }

    fn failed(&self, kind: &str, source: io::Error) -> RecordError {
        RecordError::Io {
            path: self.directory.join(kind),
            source,
        }
    }

    /// The records of a kind, the newest first.
    fn records_in(&self, directory: &Directory, kind: &str) -> Result<Vec<Listed>, RecordError> {
        let mut files = directory
            .regular_files()
            .map_err(|source| self.failed(kind, source))?;
        files.retain(|file| file.name.ends_with(ENDING));
        files.sort_by_key(|file| std::cmp::Reverse(file.when));
        Ok(files)
    }

    fn report_of(&self, jar: &str) -> Result<Report, RecordError> {
        self.read(REPORTS_IN, jar)?
            .ok_or_else(|| RecordError::Unknown {
                id: jar.to_owned(),
                directory: self.directory.clone(),
            })
    }

    /// A record; none where it is not kept, or not any more.
    fn read<T: for<'de> Deserialize<'de>>(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<Option<T>, RecordError> {
        let Some(directory) = self.there(kind)? else {
            return Ok(None);
        };
        let file = file_name(name);
        let path = || self.directory.join(kind).join(&file);
        let bytes = match directory.read(&file, LARGEST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|source| RecordError::Io {
                path: path(),
                source,
            })?,
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|_| RecordError::Malformed { path: path() })
    }

    fn write(
        &self,
        directory: &Directory,
        kind: &str,
        name: &str,
        record: &impl Serialize,
    ) -> Result<(), RecordError> {
        serde_json::to_vec(record)
            .map_err(io::Error::from)
            .and_then(|json| directory.replace(&file_name(name), name, &json))
            .map_err(|source| self.failed(kind, source))
    }
}

fn file_name(record: &str) -> String {
    format!("{record}{ENDING}")
}

/// The plan without arguments and the values of variables that somebody set or
/// passed: they may be secret, and no answer needs them.
fn without_values(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    if let Some(Step::Exec {
        arguments,
        variables,
        ..
    }) = plan.steps.last_mut()
    {
        arguments.truncate(1);
        for variable in variables {
            let Some(equals) = variable.0.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let name = &variable.0[..equals];
            if !KEPT_VALUES.iter().any(|kept| kept.as_bytes() == name) {
                variable.0.truncate(equals);
            }
        }
    }
    plan
}

#[cfg(test)]
mod tests;
