//! Runs `belljar run`, and holds each end to what the contract says of all ends.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{Read, Write},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use belljar_attacks::Guest;
use belljar_plan::{Outcome, Preset, Report};
use tempfile::TempDir;

use rustix::process::Signal;

use crate::{
    Leftovers, attack::Attack, belljar, children, command_line, descendants, guest,
    is_namespace_root, kill, spawn, wait_until,
};

/// No run of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(90);

/// Does the same for both presets of untrusted programs, for the second also
/// where the first fails.
pub fn both_presets(test: impl Fn(&str)) {
    let mut failed = None;
    for preset in ["standard", "strict"] {
        eprintln!("preset {preset}");
        // What a test holds is gone with its unwinding, or looked at by no other.
        let done = catch_unwind(AssertUnwindSafe(|| test(preset)));
        failed = failed.or(done.err());
    }
    if let Some(why) = failed {
        resume_unwind(why);
    }
}

/// A `belljar run` to be.
#[derive(Debug)]
pub struct Jar {
    host: Vec<OsString>,
    flags: Vec<OsString>,
    program: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    input: Option<Vec<u8>>,
    input_open: bool,
    input_file: Option<File>,
    workdir: Option<PathBuf>,
    report: ReportTo,
    preset: Option<&'static str>,
    guest: Option<&'static Guest>,
}

#[derive(Debug, PartialEq, Eq)]
enum ReportTo {
    File,
    Nowhere,
}

/// Begins a `belljar run`.
#[must_use]
pub fn jar() -> Jar {
    Jar {
        host: Vec::new(),
        flags: Vec::new(),
        program: Vec::new(),
        environment: Vec::new(),
        input: None,
        input_open: false,
        input_file: None,
        workdir: None,
        report: ReportTo::File,
        preset: None,
        guest: None,
    }
}

impl Jar {
    /// Options of `belljar run`.
    #[must_use]
    pub fn flags<S: AsRef<OsStr>>(mut self, flags: impl IntoIterator<Item = S>) -> Self {
        self.flags
            .extend(flags.into_iter().map(|flag| flag.as_ref().to_owned()));
        self
    }

    /// `--preset`
    #[must_use]
    pub fn preset(mut self, preset: &str) -> Self {
        self.preset = Preset::from_word(preset).map(Preset::word);
        self.flags(["--preset", preset])
    }

    /// A program with its arguments, after `--`.
    #[must_use]
    pub fn program<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.program.push("--".into());
        self.program
            .extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// A plugin's directory or manifest, and arguments after `--`.
    #[must_use]
    pub fn plugin(mut self, path: &Path, args: &[&str]) -> Self {
        self.program.push(path.into());
        if !args.is_empty() {
            self.program.push("--".into());
            self.program.extend(args.iter().map(OsString::from));
        }
        self
    }

    /// A guest with its arguments.
    #[must_use]
    pub fn guest<S: AsRef<OsStr>>(mut self, name: &str, args: impl IntoIterator<Item = S>) -> Self {
        self.guest = Guest::named(name);
        let mut words: Vec<OsString> = vec![guest().into(), name.into()];
        words.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self.program(words)
    }

    /// A shell's command line; not in strict, where there are no other programs.
    #[must_use]
    pub fn shell(self, script: &str) -> Self {
        self.program(["/bin/sh", "-c", script])
    }

    /// Runs belljar under a careless host: a plain program of the guests' that
    /// prepares something and then becomes belljar.
    #[must_use]
    pub fn host<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.host = vec![guest().into()];
        self.host
            .extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Runs belljar under any program, which is given its words after its own.
    #[must_use]
    pub fn under<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.host = words
            .into_iter()
            .map(|word| word.as_ref().to_owned())
            .collect();
        self
    }

    /// A variable of belljar's own environment.
    #[must_use]
    pub fn caller_env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// What standard input gives; empty where not said.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Keeps standard input open until [`Started::close_input`].
    #[must_use]
    pub fn input_open(mut self) -> Self {
        self.input_open = true;
        self
    }

    /// A file as belljar's standard input.
    #[must_use]
    pub fn input_file(mut self, file: File) -> Self {
        self.input_file = Some(file);
        self
    }

    /// belljar's own working directory.
    #[must_use]
    pub fn caller_dir(mut self, path: &Path) -> Self {
        self.workdir = Some(path.to_owned());
        self
    }

    /// Leaves `--report` out, for a test that says it itself.
    #[must_use]
    pub fn no_report(mut self) -> Self {
        self.report = ReportTo::Nowhere;
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// Where belljar itself cannot be started.
    #[must_use]
    pub fn start(self) -> Started {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let leftovers = Leftovers::before();
        let room = tempfile::Builder::new()
            .prefix("jar-test-")
            .tempdir()
            .expect("a temporary directory");
        let scratch = room.path().join("tmp");
        fs::create_dir(&scratch).expect("its scratch");
        let report = room.path().join("report.json");
        let task = format!(
            "test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );

        let mut words: Vec<OsString> = self.host;
        words.push(belljar().into());
        words.push("run".into());
        words.extend(["--task".into(), task.clone().into()]);
        if self.report == ReportTo::File {
            words.extend(["--report".into(), report.clone().into()]);
        }
        words.extend(self.flags);
        words.extend(self.program);
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env("TMPDIR", &scratch)
            // What is kept of runs is none of the caller's own.
            .env("XDG_STATE_HOME", room.path().join("state"))
            .envs(self.environment)
            .current_dir(self.workdir.as_deref().unwrap_or(Path::new("/")))
            .stdin(match self.input_file {
                Some(file) => Stdio::from(file),
                None => Stdio::piped(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = spawn(&mut command);
        let input = self.input.unwrap_or_default();
        if !self.input_open
            && let Some(mut stdin) = child.stdin.take()
        {
            // Off this thread: a jar that never reads must not stop the test.
            std::thread::spawn(move || drop(stdin.write_all(&input)));
        }
        Started {
            stdout: Some(drain(child.stdout.take().expect("a pipe"))),
            stderr: Some(drain(child.stderr.take().expect("a pipe"))),
            child,
            room,
            report,
            task,
            leftovers,
            reports: self.report == ReportTo::File,
            attack: self.guest.map(|guest| Attack {
                guest,
                preset: self.preset,
            }),
        }
    }

    /// Runs it to its end.
    #[must_use]
    pub fn end(self) -> Ended {
        self.start().end()
    }

    /// Runs a guest's attack to its end, and holds it to have failed.
    ///
    /// # Panics
    /// Where it did not, or where the report should tell of it and does not.
    pub fn stops(self) -> Ended {
        self.end().stopped()
    }

    /// Runs a guest's attack to its end in a jar that lets it be, and holds it
    /// to have come through.
    ///
    /// # Panics
    /// Where it did not.
    pub fn escapes(self) -> Ended {
        let ended = self.end();
        assert!(
            ended.status.code() == Some(42) && ended.stdout.contains("ESCAPED: "),
            "a control that is no attack: {ended:#?}"
        );
        ended
    }
}

/// A stream that a thread reads to its end, while others look at what came.
#[derive(Debug)]
struct Drain {
    thread: JoinHandle<()>,
    read: Arc<Mutex<Vec<u8>>>,
}

fn drain(mut stream: impl Read + Send + 'static) -> Drain {
    let read = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&read);
    let thread = std::thread::spawn(move || {
        let mut part = [0; 65536];
        while let Ok(count @ 1..) = stream.read(&mut part) {
            shared
                .lock()
                .expect("no panic")
                .extend_from_slice(&part[..count]);
        }
    });
    Drain { thread, read }
}

impl Drain {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read.lock().expect("no panic")).into_owned()
    }

    fn finish(self) -> String {
        self.thread.join().expect("a reader");
        String::from_utf8_lossy(&self.read.lock().expect("no panic")).into_owned()
    }
}

/// A `belljar run` that runs.
#[derive(Debug)]
pub struct Started {
    child: Child,
    stdout: Option<Drain>,
    stderr: Option<Drain>,
    room: TempDir,
    report: PathBuf,
    task: String,
    leftovers: Leftovers,
    reports: bool,
    attack: Option<Attack>,
}

impl Started {
    /// belljar's own process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits for a word on its standard output.
    ///
    /// # Panics
    /// Where it never comes.
    pub fn wait_for(&self, word: &str) {
        wait_until(word, || {
            self.stdout
                .as_ref()
                .filter(|stdout| stdout.text().contains(word))
                .map(drop)
        });
    }

    /// What it has written to its standard output until now.
    #[must_use]
    pub fn said(&self) -> String {
        self.stdout.as_ref().map(Drain::text).unwrap_or_default()
    }

    /// What it has written to its standard error until now.
    #[must_use]
    pub fn complained(&self) -> String {
        self.stderr.as_ref().map(Drain::text).unwrap_or_default()
    }

    /// Ends its standard input.
    pub fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Sends belljar a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    /// The guest's own process, once it runs.
    ///
    /// # Panics
    /// Where it never does.
    #[must_use]
    pub fn guest(&self) -> i32 {
        let name = guest().to_string_lossy().into_owned();
        wait_until("the guest's process", || {
            descendants(self.pid())
                .into_iter()
                .find(|task| command_line(*task).starts_with(&name) && !is_namespace_root(*task))
        })
    }

    /// The jar's first process, once it is there.
    ///
    /// # Panics
    /// Where it never is.
    #[must_use]
    pub fn first(&self) -> i32 {
        wait_until("the jar's first process", || {
            descendants(self.pid())
                .into_iter()
                .find(|task| is_namespace_root(*task))
        })
    }

    /// The launcher's process, once it is there.
    ///
    /// # Panics
    /// Where it never is.
    #[must_use]
    pub fn launcher(&self) -> i32 {
        wait_until("the launcher", || children(self.pid()).first().copied())
    }

    /// Where its report will be.
    #[must_use]
    pub fn report_path(&self) -> &Path {
        &self.report
    }

    /// Waits for its end, without which the test fails.
    ///
    /// # Panics
    /// Where it takes too long, leaves something behind, or its exit status
    /// and its report do not agree.
    #[must_use]
    pub fn end(mut self) -> Ended {
        let status = self.wait();
        let [stdout, stderr] = [self.stdout.take(), self.stderr.take()]
            .map(|stream| stream.map(Drain::finish).unwrap_or_default());
        let report = fs::read(&self.report).ok().map(|bytes| {
            serde_json::from_slice::<Report>(&bytes).unwrap_or_else(|error| {
                panic!(
                    "the report is not its form: {error}: {}",
                    String::from_utf8_lossy(&bytes)
                )
            })
        });
        let ended = Ended {
            status,
            stdout,
            stderr,
            report,
            attack: self.attack,
        };
        self.leftovers.assert_none();
        let left: Vec<_> = fs::read_dir(self.room.path().join("tmp"))
            .into_iter()
            .flatten()
            .chain(fs::read_dir(self.room.path()).into_iter().flatten())
            .flatten()
            .map(|entry| entry.file_name())
            // The state directory is where a run is kept.
            .filter(|name| name != "tmp" && name != "report.json" && name != "state")
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}: {ended:#?}");
        if let (Some(code), Some(report)) = (status.code(), &ended.report) {
            assert_eq!(
                code,
                i32::from(report.outcome.exit_status()),
                "exit status and outcome: {ended:#?}"
            );
            assert_eq!(report.task.as_deref(), Some(self.task.as_str()));
        }
        if let (Some(code), None, true) = (status.code(), &ended.report, self.reports) {
            assert_eq!(code, 125, "only bad usage has no report: {ended:#?}");
        }
        ended
    }

    fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            if Instant::now() > end {
                drop(self.child.kill());
                drop(self.child.wait());
                panic!("no end after {PATIENCE:?}: {:?}", self.task);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A `belljar run` that has ended.
#[derive(Debug)]
pub struct Ended {
    /// belljar's own.
    pub status: ExitStatus,
    /// What came out of it.
    pub stdout: String,
    /// The plugin's and belljar's own words.
    pub stderr: String,
    /// None where none was written.
    pub report: Option<Report>,
    pub(crate) attack: Option<Attack>,
}

impl Ended {
    /// The report.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn report(&self) -> &Report {
        self.report
            .as_ref()
            .unwrap_or_else(|| panic!("no report: {self:#?}"))
    }

    /// The outcome of the report.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.report().outcome
    }

    /// Holds it to have ended by itself with status 0, without a word of belljar's.
    ///
    /// # Panics
    /// Where it did not.
    pub fn clean(self) -> Self {
        assert!(
            self.status.code() == Some(0)
                && self.outcome() == &(Outcome::Exited { code: 0 })
                && !self.stderr.contains("belljar:"),
            "not a clean run; violations: {:#?}\n{self:#?}",
            self.report.as_ref().map(|report| &report.violations)
        );
        self
    }

    /// Holds it to be bad usage, with exactly one error that has `word`.
    ///
    /// # Panics
    /// Where it is not.
    pub fn bad_usage(self, word: &str) -> Self {
        assert_eq!(self.status.code(), Some(125), "{self:#?}");
        assert!(self.report.is_none(), "{self:#?}");
        assert!(self.stdout.is_empty(), "{self:#?}");
        assert!(self.stderr.starts_with("belljar: "), "{self:#?}");
        let errors = self.stderr.matches("belljar: ").count();
        let remedies = self.stderr.matches("belljar: remedy: ").count();
        assert_eq!(errors - remedies, 1, "{self:#?}");
        assert!(
            self.stderr.to_lowercase().contains(&word.to_lowercase()),
            "no word `{word}`: {self:#?}"
        );
        self
    }

    /// The line of standard output that begins with `start`, without it.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn line(&self, start: &str) -> &str {
        self.stdout
            .lines()
            .find_map(|line| line.strip_prefix(start))
            .unwrap_or_else(|| panic!("no line `{start}`: {self:#?}"))
    }
}
