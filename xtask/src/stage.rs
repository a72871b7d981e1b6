//! Runs the stages of a test one after another, counts what they say, and
//! closes with a table and one line.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write as _},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// What has been run so far.
#[derive(Default)]
pub(crate) struct Stages {
    rows: Vec<Row>,
    failed_names: Vec<String>,
    /// Said before the closing line, such as what could not be checked.
    pub(crate) remarks: Vec<String>,
}

/// One line of the table.
struct Row {
    name: String,
    time: Duration,
    counts: Counts,
    verdict: Verdict,
}

/// How a stage ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it should.
    Ok,
    /// Not as it should.
    Failed,
    /// It was ended for taking longer than its bound.
    TooLong,
    /// It could not be done here; a remark says why.
    NotDone,
}

/// What test programs counted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Stages {
    /// Runs one stage, its output passed on and counted. Its program and all
    /// that descends from it is ended when `bound` is over.
    pub(crate) fn run(&mut self, name: &str, bound: Duration, command: &mut Command) -> Verdict {
        self.run_with_input(name, bound, command, Stdio::null())
    }

    /// The same, for a program that reads.
    pub(crate) fn run_with_input(
        &mut self,
        name: &str,
        bound: Duration,
        command: &mut Command,
        input: Stdio,
    ) -> Verdict {
        println!("\n=== {name}");
        let ended = watch(bound, command.stdin(input), &mut |line| {
            let mut out = std::io::stdout().lock();
            out.write_all(line)?;
            out.write_all(b"\n")
        });
        self.ended(name, ended)
    }

    /// Runs stages beside one another. What each wrote is passed on when it has ended.
    pub(crate) fn run_together(&mut self, runs: Vec<(String, Duration, Command)>) {
        thread::scope(|scope| {
            let (sender, ends) = mpsc::channel();
            for (name, bound, mut command) in runs {
                let sender = sender.clone();
                scope.spawn(move || {
                    let mut text = format!("\n=== {name}\n").into_bytes();
                    let ended = watch(bound, command.stdin(Stdio::null()), &mut |line| {
                        text.extend_from_slice(line);
                        text.push(b'\n');
                        Ok(())
                    });
                    // The other side is there until all have ended.
                    let _ = sender.send((name, text, ended));
                });
            }
            drop(sender);
            for (name, text, ended) in ends {
                // Counted even where nobody reads it.
                let _ = std::io::stdout().lock().write_all(&text);
                self.ended(&name, ended);
            }
        });
    }

    fn ended(&mut self, name: &str, ended: Watched) -> Verdict {
        let Watched {
            time,
            counts,
            failed,
            verdict,
        } = ended;
        for test in failed {
            self.failed_names.push(format!("{name}: {test}"));
        }
        let verdict = verdict.unwrap_or_else(|error| {
            self.remarks.push(format!("{name}: {error}"));
            Verdict::Failed
        });
        self.add(name, time, counts, verdict);
        verdict
    }

    /// Names of what has failed so far, in order: `stage`, or `stage: test`.
    pub(crate) fn failed(&self) -> &[String] {
        &self.failed_names
    }

    /// Adds a stage that was run elsewhere.
    pub(crate) fn note(&mut self, name: &str, time: Duration, verdict: Verdict) {
        self.add(name, time, Counts::default(), verdict);
    }

    fn add(&mut self, name: &str, time: Duration, mut counts: Counts, verdict: Verdict) {
        // A stage that fails and counts nothing is itself what failed.
        if matches!(verdict, Verdict::Failed | Verdict::TooLong) && counts.failed == 0 {
            counts.failed = 1;
            self.failed_names.push(name.to_owned());
        }
        self.rows.push(Row {
            name: name.to_owned(),
            time,
            counts,
            verdict,
        });
    }

    /// Prints what failed, the table, and the closing line.
    pub(crate) fn close(self) -> ExitCode {
        let mut text = String::from("\n");
        for name in &self.failed_names {
            let _ = writeln!(text, "failed: {name}");
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "note: {remark}");
        }
        let _ = writeln!(
            text,
            "\n{:<28} {:>9} {:>8} {:>8} {:>8}  verdict",
            "stage", "seconds", "passed", "failed", "ignored"
        );
        let mut sum = Counts::default();
        let mut time = Duration::ZERO;
        for row in &self.rows {
            let _ = writeln!(
                text,
                "{:<28} {:>9.1} {:>8} {:>8} {:>8}  {}",
                row.name,
                row.time.as_secs_f64(),
                row.counts.passed,
                row.counts.failed,
                row.counts.ignored,
                row.verdict.word(),
            );
            sum.passed += row.counts.passed;
            sum.failed += row.counts.failed;
            time += row.time;
        }
        let _ = writeln!(text, "{:<28} {:>9.1}", "all", time.as_secs_f64());
        let _ = writeln!(text, "\n{} passed, {} failed", sum.passed, sum.failed);
        print!("{text}");
        if sum.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "FAILED",
            Self::TooLong => "TOO LONG",
            Self::NotDone => "not done",
        }
    }
}

impl Counts {
    /// Adds what a line `test result: ok. 3 passed; 0 failed; 1 ignored; …` says.
    fn add(&mut self, line: &str) {
        let Some((_, result)) = line.split_once("test result: ") else {
            return;
        };
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(number)), Some(what)) =
                (words.next().map(str::parse::<u64>), words.next())
            else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// What came of a program that was watched.
struct Watched {
    time: Duration,
    counts: Counts,
    /// Tests that it named.
    failed: Vec<String>,
    verdict: std::io::Result<Verdict>,
}

/// Runs a program to its end or for as long as it may take, and gives each line that it writes.
fn watch(
    bound: Duration,
    command: &mut Command,
    said: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
) -> Watched {
    let begun = Instant::now();
    let mut counts = Counts::default();
    let mut failed = Vec::new();
    let mut run = || {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{:?} did not start: {error}", command.get_program()))
            .map_err(std::io::Error::other)?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let (ended, over) = mpsc::channel::<()>();
        let pid = child.id();
        let watchdog = thread::spawn(move || match over.recv_timeout(bound) {
            Err(mpsc::RecvTimeoutError::Timeout) => {
                end_tree(pid);
                true
            }
            _ => false,
        });
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            said(&line)?;
            let line = String::from_utf8_lossy(&line);
            counts.add(&line);
            failed.extend(failed_test(&line).map(str::to_owned));
        }
        let status = child.wait()?;
        drop(ended);
        let too_long = watchdog.join().unwrap_or(false);
        Ok(match (too_long, status.success()) {
            (true, _) => Verdict::TooLong,
            (false, true) => Verdict::Ok,
            (false, false) => Verdict::Failed,
        })
    };
    let verdict = run();
    Watched {
        time: begun.elapsed(),
        counts,
        failed,
        verdict,
    }
}

/// The name in a line `test NAME ... FAILED`.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// Starts a command in the background, its output kept for later.
pub(crate) fn in_background(command: &mut Command) -> std::io::Result<Child> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Waits for a command, and gives whether it did well and what it said.
pub(crate) fn output(command: &mut Command) -> (bool, String) {
    let mut child = match in_background(command) {
        Ok(child) => child,
        Err(error) => return (false, format!("{:?}: {error}", command.get_program())),
    };
    let mut stderr = child.stderr.take().expect("stderr is piped");
    let reader = thread::spawn(move || {
        let mut said = Vec::new();
        let _ = stderr.read_to_end(&mut said);
        said
    });
    let mut said = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        let _ = stdout.read_to_end(&mut said);
    }
    said.extend(reader.join().unwrap_or_default());
    let done = child.wait().is_ok_and(|status| status.success());
    (done, String::from_utf8_lossy(&said).into_owned())
}

/// Kills a process that this one started, and all that descends from it, each
/// by its own number.
fn end_tree(first: u32) {
    let mut tree = vec![first];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        next += 1;
        // proc(5): the children of each of its threads.
        let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else {
            continue;
        };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            tree.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    for pid in tree {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_is_counted_and_others_are_not() {
        let mut counts = Counts::default();
        counts.add("running 4 tests");
        counts.add("test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        counts.add("test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.20s");
        assert_eq!(
            counts,
            Counts {
                passed: 7,
                failed: 1,
                ignored: 1
            }
        );
    }

    #[test]
    fn a_failed_test_is_named() {
        assert_eq!(failed_test("test a::b ... FAILED"), Some("a::b"));
        assert_eq!(failed_test("test a::b ... ok"), None);
    }
}
