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
mod tests {
    use belljar_plan::Outcome;

    use super::*;
    use crate::report::without_plan;

    fn records() -> (tempfile::TempDir, Records) {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::at(directory.path().join("state/belljar"));
        (directory, records)
    }

    fn report(jar: &str) -> Report {
        without_plan(jar, None, Outcome::Lost)
    }

    /// Where a record of a kind is.
    fn at(records: &Records, kind: &str, name: &str) -> PathBuf {
        records.directory.join(kind).join(file_name(name))
    }

    fn plan(variables: &[&str]) -> Plan {
        let step = Step::Exec {
            path: "/x".into(),
            arguments: vec!["x".into(), "--token=hunter2".into()],
            variables: variables.iter().map(|text| Bytes::from(*text)).collect(),
        };
        crate::supervise::test_plan(vec![step])
    }

    #[test]
    fn a_report_is_found_by_its_id_and_by_what_it_begins_with() {
        let (_directory, records) = records();
        assert!(matches!(records.last(), Err(RecordError::None { .. })));
        for jar in ["jar-aa1", "jar-ab2"] {
            records.keep_report(&report(jar)).unwrap();
        }
        assert_eq!(records.report("jar-ab").unwrap().jar, "jar-ab2");
        assert_eq!(records.report("jar-aa1").unwrap().jar, "jar-aa1");
        assert!(matches!(
            records.report("jar-a"),
            Err(RecordError::Ambiguous { .. })
        ));
        for unknown in ["jar-b", "", "../plans/x"] {
            assert!(matches!(
                records.report(unknown),
                Err(RecordError::Unknown { .. })
            ));
        }
        assert_eq!(records.kept().unwrap().len(), 2);
    }

    #[test]
    fn a_plan_is_kept_without_the_values_that_somebody_passed() {
        let (_directory, records) = records();
        let whole = plan(&["HOME=/home/plugin", "TOKEN=hunter2"]);
        records.keep_plan(&whole, "ab12").unwrap();
        let file = at(&records, PLANS_IN, "ab12");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        let kept = records.plan("ab12").unwrap();
        assert_eq!(kept, without_values(&plan(&["HOME=/home/plugin", "TOKEN"])));
        for unknown in ["ab13", "", "../x"] {
            assert!(matches!(
                records.plan(unknown),
                Err(RecordError::NoPlan { .. })
            ));
        }
    }

    #[test]
    fn records_are_the_user_s_alone_and_a_place_of_others_takes_none() {
        use std::os::unix::fs::PermissionsExt as _;
        let (directory, records) = records();
        records.keep_report(&report("jar-1")).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(records.directory()), 0o700);
        assert_eq!(mode(&at(&records, REPORTS_IN, "jar-1")), 0o600);

        let others = directory.path().join("others");
        std::fs::create_dir(&others).unwrap();
        std::fs::set_permissions(&others, std::fs::Permissions::from_mode(0o777)).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path().join("state/belljar"), &link).unwrap();
        for refused in [others, link] {
            let error = Records::at(&refused).keep_report(&report("jar-2"));
            assert!(matches!(error, Err(RecordError::Io { .. })), "{refused:?}");
        }
    }

    #[test]
    fn in_somebody_else_s_home_nothing_is_made() {
        // As root: a user's directory; as a user: one of root's that none may write to.
        let directory = tempfile::tempdir().unwrap();
        let home = match rustix::process::geteuid().is_root() {
            true => {
                std::os::unix::fs::chown(directory.path(), Some(4242), Some(4242)).unwrap();
                directory.path().to_owned()
            }
            false => PathBuf::from("/usr"),
        };
        let records = Records::at(home.join(".local/state/belljar"));
        let refused = records.keep_report(&report("jar-1"));
        assert!(matches!(refused, Err(RecordError::Io { .. })));
        assert!(!home.join(".local").exists());
    }

    #[test]
    fn what_is_old_or_too_much_is_swept() {
        let (_directory, records) = records();
        records.keep_plan(&plan(&[]), "aa").unwrap();
        records.keep_plan(&plan(&[]), "bb").unwrap();
        for number in 0..REPORTS + 20 {
            records
                .keep_report(&report(&format!("jar-{number}f")))
                .unwrap();
        }
        let age = |path: PathBuf, seconds: u64| {
            let when = SystemTime::now() - Duration::from_secs(seconds);
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(when).unwrap();
        };
        age(at(&records, PLANS_IN, "aa"), 2 * 24 * 3600);
        let month = AGE.as_secs() + 60;
        age(at(&records, REPORTS_IN, "jar-0f"), month);
        records.sweep().unwrap();
        let left = records.kept().unwrap();
        assert_eq!(left.len(), REPORTS);
        assert!(left.iter().all(|kept| kept.jar != "jar-0f"));
        assert!(records.plan("aa").is_err());
        assert!(records.plan("bb").is_ok());
    }

    /// What a directory in the place of the records leads to is somebody else's.
    #[test]
    fn a_link_in_the_place_of_the_records_gives_away_and_takes_away_nothing() {
        for kind in [REPORTS_IN, PLANS_IN] {
            let (directory, records) = records();
            let others = directory.path().join("others");
            std::fs::create_dir_all(others.join(kind)).unwrap();
            let file = others.join(kind).join("ab12.json");
            std::fs::write(&file, "{}").unwrap();
            let old = SystemTime::now() - 2 * AGE;
            let opened = std::fs::File::options().write(true).open(&file).unwrap();
            opened.set_modified(old).unwrap();
            records.keep_report(&report("jar-1")).unwrap();
            records.keep_plan(&plan(&[]), "aa").unwrap();
            let own = records.directory().join(kind);
            for place in [own, records.directory().to_owned()] {
                let target = match place == records.directory() {
                    true => others.clone(),
                    false => others.join(kind),
                };
                std::fs::rename(
                    &place,
                    directory
                        .path()
                        .join(format!("moved-{}", place.ends_with(kind))),
                )
                .unwrap();
                std::os::unix::fs::symlink(target, &place).unwrap();
                let swept = records.sweep();
                assert!(matches!(swept, Err(RecordError::Io { .. })), "{swept:?}");
                assert!(file.exists(), "{place:?}");
                let read = (records.plan("ab12").err(), records.report("ab12").err());
                assert!(
                    [read.0, read.1]
                        .iter()
                        .any(|error| matches!(error, Some(RecordError::Io { .. }))),
                );
            }
        }
    }

    #[test]
    fn what_others_may_write_to_is_no_record_of_the_user_s() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_directory, records) = records();
        records.keep_report(&report("jar-1")).unwrap();
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(records.directory().join(REPORTS_IN), open).unwrap();
        assert!(matches!(records.last(), Err(RecordError::Io { .. })));
        assert!(matches!(records.sweep(), Err(RecordError::Io { .. })));
    }

    #[test]
    fn a_record_that_is_none_is_said_to_be_so() {
        let (_directory, records) = records();
        records.keep_report(&report("jar-1")).unwrap();
        std::fs::write(at(&records, REPORTS_IN, "jar-1"), "{}").unwrap();
        assert!(matches!(records.last(), Err(RecordError::Malformed { .. })));
    }
}
