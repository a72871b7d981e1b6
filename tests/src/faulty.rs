//! A host whose launcher can be told to fail at one of its system calls, and what became
//! of that; `crates/launcher/src/faults.rs` has the other side.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::{Duration, Instant},
};

use belljar_plan::Report;
use serde_json::Value;
use tempfile::TempDir;

use crate::{faulty_belljar, faulty_host, output, spawn};

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// The launcher.
    Launcher,
    /// A jar's first process.
    First,
    /// The guest's process before it is its program.
    Guest,
    /// A process that is there for its user namespace.
    Holder,
}

impl Actor {
    /// All, as the launcher numbers them.
    pub const ALL: [Self; 4] = [Self::Launcher, Self::First, Self::Guest, Self::Holder];
}

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The call is not made, and answers this errno.
    Instead(i32),
    /// The call is made, and answers this errno.
    After(i32),
    /// The process stays there until it is let go or killed.
    Hold,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who has it.
    pub actor: Actor,
    /// The number of the point.
    pub point: usize,
    /// So many times it goes well before.
    pub spared: u32,
    /// What happens.
    pub how: How,
}

/// A place where a system call is made.
#[derive(Clone, Debug)]
pub struct Point {
    /// As the sources write it.
    pub call: String,
    /// Its file, line and column.
    pub place: String,
    /// What it may answer, by its manual.
    pub errnos: Vec<i32>,
    /// Whether it may have been made all the same.
    pub after: bool,
}

/// Every point, and where the file of faults has which number.
#[derive(Debug)]
pub struct Points {
    /// By number.
    pub all: Vec<Point>,
    layout: Value,
}

impl Points {
    /// What `belljar-faulty --points` lists.
    ///
    /// # Panics
    /// Where it cannot be had.
    #[must_use]
    pub fn get() -> &'static Self {
        static LISTED: OnceLock<Points> = OnceLock::new();
        LISTED.get_or_init(|| {
            let said = output(Command::new(faulty_belljar()).arg("--points"));
            let text = String::from_utf8(said.stdout).expect("text");
            let mut lines = text.lines().map(|line| -> Value {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            });
            let layout = lines.next().expect("a first line");
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            let all = lines
                .map(|line| Point {
                    call: text(&line["call"]),
                    place: text(&line["place"]),
                    errnos: numbers(&line["errnos"]),
                    after: line["after"] == true,
                })
                .collect();
            Self { all, layout }
        })
    }

    fn number(&self, name: &str) -> u64 {
        self.layout[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name} in {}", self.layout))
    }
}

fn numbers(list: &Value) -> Vec<i32> {
    let list = list.as_array().expect("a list");
    list.iter()
        .map(|number| i32::try_from(number.as_i64().expect("a number")).expect("an errno"))
        .collect()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let point = &Points::get().all[self.point];
        write!(
            f,
            "{:?} in {} at {}, of {:?}, {} times spared",
            self.how, point.call, point.place, self.actor, self.spared
        )
    }
}

/// How a launch ended.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its report, or why there is none.
    pub report: Result<Report, String>,
    /// What the guest wrote.
    pub output: String,
}

/// A host that launches jars when it is told to.
#[derive(Debug)]
pub struct FaultyHost {
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    file: File,
    /// What each step of its plan is called; none where only a launch decides.
    pub steps: Vec<String>,
    _room: TempDir,
}

impl FaultyHost {
    /// Starts it, as `faulty-host`'s own words say.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn start<S: Into<OsString>>(words: impl IntoIterator<Item = S>) -> Self {
        Self::start_by(Command::new(faulty_host()), words)
    }

    /// The same by another command, which starts the host with these words at its end.
    ///
    /// # Panics
    /// As above.
    #[must_use]
    pub fn start_by<S: Into<OsString>>(
        mut command: Command,
        words: impl IntoIterator<Item = S>,
    ) -> Self {
        let room = tempfile::tempdir().expect("a directory");
        let path = room.path().join("faults");
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .expect("a file of faults");
        file.set_len(4 * Points::get().number("words"))
            .expect("its length");
        for (path, mode) in [(room.path(), 0o777), (path.as_path(), 0o666)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
        }
        command
            .args(words.into_iter().map(Into::into))
            .env("BELLJAR_FAULTS", &path)
            .env("XDG_STATE_HOME", room.path().join("state"))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = spawn(&mut command);
        let stdout = child.stdout.take().expect("a pipe");
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut host = Self {
            input: child.stdin.take(),
            child,
            answers,
            file,
            steps: Vec::new(),
            _room: room,
        };
        let first = host.answer(Duration::from_secs(60)).expect("its steps");
        let steps = first["steps"].as_array().expect("a list");
        host.steps = steps
            .iter()
            .map(|step| step.as_str().expect("text").to_owned())
            .collect();
        host
    }

    /// Its own process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    fn put(&self, name: &str, value: u32) {
        let at = 4 * Points::get().number(name);
        self.file
            .write_all_at(&value.to_ne_bytes(), at)
            .expect("a number is written");
    }

    fn take(&self, index: u64) -> u32 {
        let mut bytes = [0; 4];
        self.file
            .read_exact_at(&mut bytes, 4 * index)
            .expect("a number is read");
        u32::from_ne_bytes(bytes)
    }

    /// Asks for a fault, in place of the one before.
    pub fn arm(&self, fault: Fault) {
        let points = Points::get();
        self.disarm();
        let (how, errno) = match fault.how {
            How::Instead(errno) => ("instead", errno),
            How::After(errno) => ("after", errno),
            How::Hold => ("hold", 0),
        };
        let round = self.take(points.number("round"));
        self.put("round", round.wrapping_add(1));
        for name in ["reached", "had", "let_go"] {
            self.put(name, 0);
        }
        self.put("point", fault.point as u32);
        self.put("actor", fault.actor as u32);
        self.put("spared", fault.spared);
        self.put("errno", errno as u32);
        self.put("how", points.number(how) as u32);
    }

    /// Asks for none.
    pub fn disarm(&self) {
        self.put("how", 0);
    }

    /// Lets go of who is held.
    pub fn let_go(&self) {
        self.put("let_go", 1);
    }

    /// Whether the fault was had, or somebody is held.
    #[must_use]
    pub fn had(&self) -> bool {
        self.take(Points::get().number("had")) == 1
    }

    /// At which step of the plan it was.
    #[must_use]
    pub fn step(&self) -> Option<usize> {
        let step = self.take(Points::get().number("step"));
        (u64::from(step) != Points::get().number("no_step")).then_some(step as usize)
    }

    /// The line of a call that was made where no point is listed.
    #[must_use]
    pub fn unlisted(&self) -> Option<u32> {
        let line = self.take(Points::get().number("unlisted"));
        (line != 0).then_some(line)
    }

    /// How often each point was reached since the last [`forget`](Self::forget).
    #[must_use]
    pub fn reached(&self) -> Vec<(Actor, usize, u32)> {
        let points = Points::get();
        let most = points.number("most") as usize;
        let mut all = vec![0; 4 * most * Actor::ALL.len()];
        self.file
            .read_exact_at(&mut all, 4 * points.number("counts"))
            .expect("the counts");
        let counts = all
            .chunks(4)
            .map(|word| u32::from_ne_bytes(word.try_into().expect("four bytes")));
        counts
            .enumerate()
            .filter(|(_, count)| *count > 0)
            .map(|(at, count)| (Actor::ALL[at / most], at % most, count))
            .collect()
    }

    /// Counts anew.
    pub fn forget(&self) {
        let points = Points::get();
        let length = 4 * points.number("most") as usize * Actor::ALL.len();
        self.file
            .write_all_at(&vec![0; length], 4 * points.number("counts"))
            .expect("the counts");
    }

    /// Has it launch a jar.
    pub fn launch(&mut self) {
        if let Some(input) = &mut self.input {
            // It may have been killed.
            let _ = input.write_all(b"\n");
        }
    }

    /// How the launch ended; none where nothing is told in that time, or it was killed.
    pub fn told(&mut self, patience: Duration) -> Option<Told> {
        let answer = self.answer(patience)?;
        let report = match answer.get("report") {
            Some(report) => Ok(serde_json::from_value(report.clone()).expect("a report")),
            None => Err(answer["error"].as_str().unwrap_or("nothing").to_owned()),
        };
        Some(Told {
            report,
            output: answer["output"].as_str().unwrap_or("").to_owned(),
        })
    }

    fn answer(&self, patience: Duration) -> Option<Value> {
        match self.answers.recv_timeout(patience) {
            Ok(line) => Some(serde_json::from_str(&line).expect("JSON")),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Ends it by force, and takes its end.
    pub fn kill(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Has it end by itself.
    ///
    /// # Panics
    /// Where it does not.
    pub fn end(&mut self) {
        self.disarm();
        self.let_go();
        drop(self.input.take());
        let end = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().expect("a child").is_none() {
            assert!(Instant::now() < end, "a host that does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for FaultyHost {
    fn drop(&mut self) {
        self.let_go();
        self.kill();
    }
}
