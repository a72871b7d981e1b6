//! A row of the table of endings: a guest, what it is held by, what is done to it, and
//! the report that it has to have. Outcome, exit status, limits that were hit, symptoms
//! and bytes are compared whole.

use std::{
    fs,
    ops::RangeInclusive,
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Duration,
};

use belljar_plan::{Limit, Report};
use belljar_tests::{Ended, Jar, Need, Started, guest, jar, kill, need};
use rustix::process::Signal;

use crate::told::{hit, outcome};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const S: u64 = 1000 * MS;
pub(crate) const MIB: u64 = 1 << 20;

/// Stands in flags, policies and words for a directory that the row has to itself.
pub(crate) const ROOM: &str = "ROOM";

/// Stands for the program of the guests.
pub(crate) const GUEST: &str = "GUEST";

/// Between two signals, so that they are two.
const PAUSE: Duration = Duration::from_millis(150);

/// What is done to a jar once its guest has said `ready`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Done {
    /// Signals to belljar, one after another.
    Signals(&'static [Signal]),
    /// SIGKILL to one of the run's processes.
    Kill(Whom),
}

/// Whom to kill.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whom {
    Belljar,
    Launcher,
    First,
    Guest,
}

/// The parts of a report that rows compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    outcome: String,
    /// None where a signal ended belljar itself.
    status: Option<i32>,
    hits: Vec<String>,
    symptoms: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: &'static str,
    needs: Vec<Need>,
    under: Vec<&'static str>,
    flags: Vec<&'static str>,
    policy: Option<&'static str>,
    directories: Vec<&'static str>,
    files: Vec<(&'static str, &'static [u8], u32)>,
    /// A guest's, or any program's.
    words: Vec<&'static str>,
    of_guest: bool,
    done: Option<Done>,
    told: Told,
    /// Other symptoms that may be told instead, where two ends race.
    or_symptoms: Option<Vec<String>>,
    used: Vec<(Limit, RangeInclusive<u64>)>,
    stdout: RangeInclusive<u64>,
    stderr: RangeInclusive<u64>,
}

/// A guest with its arguments, that ends by itself, untouched and without a word.
pub(crate) fn row(name: &'static str, words: &[&'static str]) -> Row {
    Row {
        name,
        needs: Vec::new(),
        under: Vec::new(),
        flags: Vec::new(),
        policy: None,
        directories: Vec::new(),
        files: Vec::new(),
        words: words.to_vec(),
        of_guest: true,
        done: None,
        told: Told::default(),
        or_symptoms: None,
        used: Vec::new(),
        stdout: 0..=0,
        stderr: 0..=0,
    }
}

/// The same for any program.
pub(crate) fn program(name: &'static str, words: &[&'static str]) -> Row {
    Row {
        of_guest: false,
        ..row(name, words)
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Row {
    pub(crate) fn needs(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// What belljar is started by.
    pub(crate) fn under(mut self, words: &[&'static str]) -> Self {
        self.under = words.to_vec();
        self
    }

    pub(crate) fn flags(mut self, flags: &[&'static str]) -> Self {
        self.flags.extend(flags);
        self
    }

    pub(crate) fn policy(mut self, policy: &'static str) -> Self {
        self.policy = Some(policy);
        self
    }

    /// A file in the row's room.
    pub(crate) fn file(mut self, name: &'static str, bytes: &'static [u8], mode: u32) -> Self {
        self.files.push((name, bytes, mode));
        self
    }

    /// A directory in the row's room, in which anybody can make files.
    pub(crate) fn directory(mut self, name: &'static str) -> Self {
        self.directories.push(name);
        self
    }

    /// What is done once it has said `ready`, which are six bytes of its output.
    pub(crate) fn done(mut self, done: Done) -> Self {
        self.done = Some(done);
        self.stdout = 6..=6;
        self
    }

    /// The outcome, in the words of `told`, and belljar's exit status.
    pub(crate) fn ends(mut self, outcome: &str, status: i32) -> Self {
        self.told.outcome = outcome.to_owned();
        self.told.status = Some(status);
        self
    }

    /// The outcome that is left where belljar itself was killed.
    pub(crate) fn leaves(mut self, outcome: &str) -> Self {
        self.told.outcome = outcome.to_owned();
        self
    }

    pub(crate) fn hits(mut self, hits: &[&str]) -> Self {
        self.told.hits = owned(hits);
        self
    }

    pub(crate) fn symptoms(mut self, symptoms: &[&str]) -> Self {
        self.told.symptoms = owned(symptoms);
        self
    }

    /// Symptoms that are as true, where two ends race.
    pub(crate) fn or_symptoms(mut self, symptoms: &[&str]) -> Self {
        self.or_symptoms = Some(owned(symptoms));
        self
    }

    pub(crate) fn used(mut self, limit: Limit, range: RangeInclusive<u64>) -> Self {
        self.used.push((limit, range));
        self
    }

    pub(crate) fn stdout(mut self, bytes: RangeInclusive<u64>) -> Self {
        self.stdout = bytes;
        self
    }

    pub(crate) fn stderr(mut self, bytes: RangeInclusive<u64>) -> Self {
        self.stderr = bytes;
        self
    }

    fn jar(&self, room: &Path) -> Jar {
        let room_name = room.to_str().expect("text");
        let guest = guest().to_str().expect("text");
        let at = |word: &&str| word.replace(ROOM, room_name).replace(GUEST, guest);
        let set_mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
        };
        for name in &self.directories {
            let path = room.join(name);
            fs::create_dir(&path).expect("a directory");
            set_mode(&path, 0o777);
        }
        for (name, bytes, mode) in &self.files {
            let path = room.join(name);
            fs::write(&path, bytes).expect("a file");
            set_mode(&path, *mode);
        }
        let mut jar = jar().flags(self.flags.iter().map(at));
        if !self.under.is_empty() {
            jar = jar.under(self.under.iter().map(at));
        }
        if let Some(policy) = self.policy {
            let path = room.join("policy.toml");
            fs::write(&path, at(&policy)).expect("a policy");
            jar = jar.flags(["--policy".as_ref(), path.as_os_str()]);
        }
        if self.done.is_some() {
            jar = jar.input_open();
        }
        let mut words: Vec<String> = self.words.iter().map(at).collect();
        if self.of_guest {
            words.insert(0, guest.to_owned());
        }
        jar.program(words)
    }

    /// Runs it, and gives what is not as it has to be.
    fn faults(&self) -> Vec<String> {
        let room = tempfile::Builder::new()
            .prefix("row-test-")
            .tempdir()
            .expect("a directory");
        let started = self.jar(room.path()).start();
        if let Some(done) = self.done {
            started.wait_for("ready");
            done.to(&started);
        }
        self.compare(&started.end())
    }

    fn compare(&self, ended: &Ended) -> Vec<String> {
        let Some(report) = &ended.report else {
            return vec![format!("no report: {}", ended.stderr)];
        };
        let told = Told {
            outcome: outcome(&report.outcome),
            status: ended.status.code(),
            hits: report.limits_hit.iter().map(hit).collect(),
            symptoms: report.symptoms.clone(),
        };
        let other = self.or_symptoms.clone().map(|symptoms| Told {
            symptoms,
            ..self.told.clone()
        });
        let mut faults = Vec::new();
        if told != self.told && Some(&told) != other.as_ref() {
            faults.push(format!("told {told:?}, and expected {:?}", self.told));
        }
        for (limit, range) in &self.used {
            let used = used(report, *limit);
            if !used.is_some_and(|used| range.contains(&used)) {
                faults.push(format!("used {used:?} of {limit}, and expected {range:?}"));
            }
        }
        for (name, bytes, range) in [
            ("stdout", report.usage.stdout, &self.stdout),
            ("stderr", report.usage.stderr, &self.stderr),
        ] {
            if !range.contains(&bytes) {
                faults.push(format!("{bytes} bytes of {name}, and expected {range:?}"));
            }
        }
        if !faults.is_empty() {
            faults.push(format!("belljar said: {}", ended.stderr));
        }
        faults
    }
}

impl Done {
    fn to(self, started: &Started) {
        match self {
            Self::Signals(signals) => {
                for (at, signal) in signals.iter().enumerate() {
                    if at > 0 {
                        std::thread::sleep(PAUSE);
                    }
                    started.signal(*signal);
                }
            }
            Self::Kill(Whom::Belljar) => started.signal(Signal::KILL),
            Self::Kill(Whom::Launcher) => kill(started.launcher(), Signal::KILL),
            Self::Kill(Whom::First) => kill(started.first(), Signal::KILL),
            Self::Kill(Whom::Guest) => kill(started.guest(), Signal::KILL),
        }
    }
}

fn used(report: &Report, limit: Limit) -> Option<u64> {
    let mut limits = report.limits.iter();
    limits.find(|row| row.limit == limit)?.used
}

/// Runs each row whose needs are met, and fails with all that differ.
pub(crate) fn hold(rows: Vec<Row>) {
    let mut faults = Vec::new();
    for row in &rows {
        if !row.needs.iter().all(|wanted| need(*wanted)) {
            continue;
        }
        eprintln!("{}", row.name);
        // What a row holds is gone with its unwinding, or looked at by no other.
        let found = catch_unwind(AssertUnwindSafe(|| row.faults()))
            .unwrap_or_else(|_| vec!["it panicked; see above".to_owned()]);
        if !found.is_empty() {
            faults.push(format!("{}:\n    {}", row.name, found.join("\n    ")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
