//! Whole processes: from posix_spawn(3) to the end of waitpid(2), Belljar and
//! its peers in turn, each running a static program that does nothing.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    output::{Row, Section, Verdict},
    sample::{Summary, round_robin},
    workshop::{Workshop, find},
};

/// One program to measure; the reason where it is not to be had.
struct Contender {
    name: &'static str,
    command: Result<Vec<OsString>, String>,
}

const BELLJAR: &str = "belljar run --preset strict";
pub(crate) const BWRAP: &str = "bwrap --unshare-all";
const FLOOR: &str = "C floor, all layers";
const BARER: &str = "C floor, no filter, no Landlock";

/// Measures everybody.
pub(crate) fn run(
    rounds: usize,
    workshop: &Workshop,
    belljar: &Result<PathBuf, String>,
    list: &Result<PathBuf, String>,
    barer: &Result<PathBuf, String>,
) -> Section {
    let mut contenders = contenders(workshop, belljar, list, barer);
    for contender in &mut contenders {
        if let Ok(command) = &contender.command
            && let Err(reason) = try_once(command)
        {
            contender.command = Err(reason);
        }
    }
    let results = round_robin(rounds, &mut contenders, |contender| {
        contender
            .command
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|command| {
                let time = time(command)?;
                Ok(vec![time])
            })
    });
    let mut rows: Vec<Row> = contenders
        .iter()
        .zip(results)
        .map(|(contender, result)| {
            Row::new(contender.name, result.map(|samples| samples[0].summary()))
        })
        .collect();
    let bwrap = summary(&rows, BWRAP);
    for row in &mut rows {
        row.compare(bwrap.map(|bwrap| bwrap.p50));
    }
    let own = summary(&rows, BELLJAR);
    Section {
        name: "whole",
        title: "whole process, spawn to waited for".into(),
        unit: "us",
        compared_to: Some(BWRAP.into()),
        verdicts: vec![
            Verdict::ratio("strict no-op / bwrap", Some(0.85), own, bwrap),
            Verdict::ratio("strict no-op / C floor", None, own, summary(&rows, FLOOR)),
            Verdict::beside(
                "filter and Landlock, by the floor, us",
                summary(&rows, FLOOR)
                    .zip(summary(&rows, BARER))
                    .map(|(all, barer)| all.p50 - barer.p50),
            ),
        ],
        rows,
        notes: Vec::new(),
    }
}

fn summary(rows: &[Row], name: &str) -> Option<Summary> {
    rows.iter()
        .find(|row| row.name == name)
        .and_then(|row| row.summary)
}

fn contenders(
    workshop: &Workshop,
    belljar: &Result<PathBuf, String>,
    list: &Result<PathBuf, String>,
    barer: &Result<PathBuf, String>,
) -> Vec<Contender> {
    let noop = workshop.noop.as_os_str();
    vec![
        Contender {
            name: BELLJAR,
            command: belljar
                .clone()
                .map(|path| with(&path, &["run", "--preset", "strict", "--"], &[noop])),
        },
        Contender {
            name: BWRAP,
            command: bwrap(&workshop.noop),
        },
        Contender {
            name: "unshare, seven namespaces",
            command: installed("unshare")
                .map(|path| with(&path, &["-UmpnuiC", "--fork", "--"], &[noop])),
        },
        Contender {
            name: FLOOR,
            command: list
                .clone()
                .map(|list| with(&workshop.floor, &["once"], &[list.as_os_str()])),
        },
        Contender {
            name: BARER,
            command: barer
                .clone()
                .map(|list| with(&workshop.floor, &["once"], &[list.as_os_str()])),
        },
        Contender {
            name: "empty Rust program",
            command: workshop.empty.clone().map(|path| with(&path, &[], &[])),
        },
        Contender {
            name: "bare exec of the guest",
            command: Ok(with(&workshop.noop, &[], &[])),
        },
    ]
}

/// What strict shows, and a file system a program could use.
pub(crate) fn bwrap(noop: &Path) -> Result<Vec<OsString>, String> {
    let words = [
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--clearenv",
        "--ro-bind",
        "/usr",
        "/usr",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
        "--ro-bind",
    ];
    let program = [noop.as_os_str(), "/noop".as_ref(), "/noop".as_ref()];
    installed("bwrap").map(|path| with(&path, &words, &program))
}

fn installed(name: &str) -> Result<PathBuf, String> {
    find(name).ok_or_else(|| format!("{name} is not installed"))
}

fn with(program: &Path, words: &[&str], more: &[&OsStr]) -> Vec<OsString> {
    std::iter::once(program.as_os_str())
        .chain(words.iter().map(OsStr::new))
        .chain(more.iter().copied())
        .map(OsStr::to_owned)
        .collect()
}

fn prepared(command: &[OsString]) -> Command {
    let mut prepared = Command::new(&command[0]);
    prepared
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    prepared
}

fn try_once(command: &[OsString]) -> Result<(), String> {
    let output = prepared(command)
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("and said nothing");
    Err(format!("{}: {first}", output.status))
}

fn time(command: &[OsString]) -> Result<Duration, String> {
    let mut command = prepared(command);
    command.stderr(Stdio::null());
    let before = Instant::now();
    // Without pre_exec and the like, std starts children by posix_spawn.
    let status = command
        .spawn()
        .and_then(|mut child| child.wait())
        .map_err(|error| error.to_string())?;
    let time = before.elapsed();
    if status.success() {
        Ok(time)
    } else {
        Err(format!("{status} in the midst of the run"))
    }
}
