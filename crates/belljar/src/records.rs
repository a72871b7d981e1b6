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

use crate::sys;

/// So many reports are kept, the newest.
const REPORTS: usize = 256;
/// So long at most.
const AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Bytes that all that is kept may take.
const BYTES: u64 = 32 << 20;
/// No record is larger.
const LARGEST: usize = 16 << 20;
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
        let path = self.plans().join(format!("{digest}.json"));
        if sys::touch(&path).is_ok() {
            return Ok(());
        }
        let kept = KeptPlan {
            digest: digest.to_owned(),
            plan: without_values(plan),
        };
        self.write(&self.plans(), digest, &kept)
    }

    /// Keeps a report; now and then takes away what is old or too much.
    ///
    /// # Errors
    /// As for [`keep_plan`](Self::keep_plan).
    pub fn keep_report(&self, report: &Report) -> Result<(), RecordError> {
        self.write(&self.reports(), &report.jar, report)?;
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
        read(&self.reports().join(format!("{}.json", first.jar)))
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
        read(&self.reports().join(format!("{}.json", last.jar)))
    }

    /// The plan of a digest, without the values that are not kept.
    ///
    /// # Errors
    /// Where it is not kept.
    pub fn plan(&self, digest: &str) -> Result<Plan, RecordError> {
        let hexadecimal = !digest.is_empty() && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        let path = self.plans().join(format!("{digest}.json"));
        if !hexadecimal || !path.exists() {
            return Err(RecordError::NoPlan {
                digest: Bytes::from(digest).escaped(),
            });
        }
        read::<KeptPlan<Plan>>(&path).map(|kept| kept.plan)
    }

    /// Every kept run, the newest first.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn kept(&self) -> Result<Vec<Kept>, RecordError> {
        let mut kept: Vec<Kept> = files(&self.reports())?
            .into_iter()
            .map(|file| Kept {
                jar: file.name,
                when: file.when,
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
        let mut reports = files(&self.reports())?;
        reports.sort_by_key(|file| std::cmp::Reverse(file.when));
        let mut bytes = 0;
        let mut oldest = now;
        for (index, file) in reports.iter().enumerate() {
            bytes += file.bytes;
            if index >= REPORTS || bytes > BYTES / 2 || old(file.when) {
                remove(&file.path);
            } else {
                oldest = file.when;
            }
        }
        // A plan is touched whenever it is used, before its report is written.
        let mut plans = files(&self.plans())?;
        plans.sort_by_key(|file| std::cmp::Reverse(file.when));
        let mut bytes = 0;
        let long = Duration::from_secs(24 * 3600);
        for file in plans {
            bytes += file.bytes;
            let unused = oldest.duration_since(file.when).is_ok_and(|age| age > long);
            if unused || bytes > BYTES / 2 || old(file.when) {
                remove(&file.path);
            }
        }
        Ok(())
    }

    fn reports(&self) -> PathBuf {
        self.directory.join("reports")
    }

    fn plans(&self) -> PathBuf {
        self.directory.join("plans")
    }

    fn write(
        &self,
        directory: &Path,
        name: &str,
        record: &impl Serialize,
    ) -> Result<(), RecordError> {
        let failed = |source| RecordError::Io {
            path: directory.to_owned(),
            source,
        };
        let json = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
        // The guest may have a grant around this place: what was looked at is what is
        // written to.
        sys::private_directory(&self.directory)
            .and_then(|_| sys::private_directory(directory))
            .map(|directory| sys::spot_in(directory, &format!("{name}.json")))
            .and_then(|spot| sys::replace(&spot, name, &json, sys::PRIVATE))
            .map_err(failed)
    }
}

/// One record.
struct RecordFile {
    name: String,
    path: PathBuf,
    when: SystemTime,
    bytes: u64,
}

fn files(directory: &Path) -> Result<Vec<RecordFile>, RecordError> {
    let failed = |source| RecordError::Io {
        path: directory.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        // What goes away meanwhile was swept by somebody else.
        let Ok(about) = entry.metadata() else {
            continue;
        };
        let name = entry.file_name();
        let name = name.to_str().and_then(|name| name.strip_suffix(".json"));
        if let (Some(name), true) = (name, about.is_file()) {
            found.push(RecordFile {
                name: name.to_owned(),
                when: about.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                bytes: about.len(),
                path,
            });
        }
    }
    Ok(found)
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, RecordError> {
    let failed = |source| RecordError::Io {
        path: path.to_owned(),
        source,
    };
    let text = path.to_str().ok_or(io::ErrorKind::InvalidInput.into());
    let bytes = text
        .and_then(|path| sys::look::read_small(path, LARGEST))
        .map_err(failed)?;
    serde_json::from_slice(&bytes).map_err(|_| RecordError::Malformed {
        path: path.to_owned(),
    })
}

fn remove(path: &Path) {
    // Somebody else may have taken it away already.
    let _ = std::fs::remove_file(path);
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
        let file = records.plans().join("ab12.json");
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
        assert_eq!(mode(&records.reports().join("jar-1.json")), 0o600);

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
        age(records.plans().join("aa.json"), 2 * 24 * 3600);
        let month = AGE.as_secs() + 60;
        age(records.reports().join("jar-0f.json"), month);
        records.sweep().unwrap();
        let left = records.kept().unwrap();
        assert_eq!(left.len(), REPORTS);
        assert!(left.iter().all(|kept| kept.jar != "jar-0f"));
        assert!(records.plan("aa").is_err());
        assert!(records.plan("bb").is_ok());
    }

    #[test]
    fn a_record_that_is_none_is_said_to_be_so() {
        let (_directory, records) = records();
        records.keep_report(&report("jar-1")).unwrap();
        std::fs::write(records.reports().join("jar-1.json"), "{}").unwrap();
        assert!(matches!(records.last(), Err(RecordError::Malformed { .. })));
    }
}
