//! A document pipeline: parses files that nobody should have to trust, one jar for each, as
//! many at once as there are processors, and prints what came of each.
//!
//!     cargo run --example pipeline -- FILE...
//!
//! The parser is an ordinary one, with the bugs that parsers have: a file can make it panic,
//! go round for ever, take as much memory as the file says, read another file, or call a
//! machine. In its jar each of these is that one file's fault, and its ending has a type.
#![forbid(unsafe_code)]

use std::{process::ExitCode, sync::Arc, time::Duration};

use belljar::{
    Jar, Limit, Outcome, Policy,
    isolated::{CallError, Called, IsolatedJar},
    policy::{manifest::Bound, policy::BuildError},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, task::JoinSet};

/// What a document says.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Document {
    title: String,
    words: usize,
    #[serde(skip)]
    padding: Vec<String>,
    rows: Vec<Vec<i64>>,
}

belljar::isolated! {
    /// Parses a document. Line by line: `title WORDS`, `text WORDS`, `row NUMBER,NUMBER,...`,
    /// `sum ROW,COLUMN` (appends a row), `pad BYTES`, `again LINE`, `include PATH`,
    /// `fetch HOST:PORT`.
    fn parse(text: String) -> Result<Document, String> {
        let lines: Vec<&str> = text.lines().collect();
        let mut document = Document { title: String::new(), words: 0, padding: Vec::new(), rows: Vec::new() };
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            at += 1;
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let number = |text: &str| {
                text.parse::<usize>().map_err(|error| format!("line {at}: {text}: {error}"))
            };
            match word {
                "" => {}
                "title" => document.title = rest.to_owned(),
                "text" => document.words += rest.split_whitespace().count(),
                "row" => document.rows.push(
                    rest.split(',').map(|cell| number(cell).map(|cell| cell as i64)).collect::<Result<_, _>>()?,
                ),
                "sum" => {
                    let (row, column) = rest.split_once(',').ok_or("sum takes ROW,COLUMN")?;
                    // A row that is not there: a panic.
                    let cell = document.rows[number(row)?][number(column)?];
                    document.rows.push(vec![cell]);
                }
                // As much as the file says.
                "pad" => document.padding.push(" ".repeat(number(rest)?)),
                // A line before: for ever.
                "again" => at = number(rest)?,
                "include" => {
                    let more = std::fs::read_to_string(rest).map_err(|error| format!("{rest}: {error}"))?;
                    document.words += more.split_whitespace().count();
                }
                "fetch" => {
                    std::net::TcpStream::connect(rest).map_err(|error| format!("{rest}: {error}"))?;
                }
                other => return Err(format!("line {at}: what is `{other}`?")),
            }
        }
        Ok(document)
    }
}

fn main() -> ExitCode {
    // In a jar it serves the one call, and nothing below is reached.
    belljar::isolated::init();
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: pipeline FILE...");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("pipeline: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(all(files)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pipeline: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What one document may take.
fn policy() -> Result<Policy, BuildError> {
    let hard = |hard| Bound {
        hard: Some(hard),
        ..Bound::default()
    };
    let seconds =
        |seconds| u64::try_from(Duration::from_secs(seconds).as_nanos()).unwrap_or(u64::MAX);
    Policy::strict()
        .limit(Limit::Memory, hard(96 << 20))?
        .limit(Limit::CpuTime, hard(seconds(2)))?
        .limit(Limit::Wall, hard(seconds(20)))
}

async fn all(files: Vec<String>) -> Result<(), BuildError> {
    // One for all files: it is planned once.
    let jar = Arc::new(Jar::isolated().policy(policy()?));
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let turns = Arc::new(Semaphore::new(at_once));
    let mut jars = JoinSet::new();
    for (index, file) in files.into_iter().enumerate() {
        let (jar, turns) = (Arc::clone(&jar), Arc::clone(&turns));
        jars.spawn(async move {
            let _turn = turns.acquire().await;
            let row = one(&jar, &file).await;
            (index, file, row)
        });
    }
    let mut rows = jars.join_all().await;
    rows.sort_by_key(|(index, ..)| *index);
    println!("{:<24} {:>9} {:>9}  came to", "file", "cpu", "memory");
    for (_, file, Row { cpu, memory, what }) in rows {
        let name = file.rsplit('/').next().unwrap_or(&file);
        println!("{name:<24} {cpu:>9} {memory:>9}  {what}");
    }
    Ok(())
}

/// A line of the table.
struct Row {
    cpu: String,
    memory: String,
    what: String,
}

async fn one(jar: &IsolatedJar, file: &str) -> Row {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return Row::without_jar(format!("not read: {error}")),
    };
    let came = jar.call(parse, text).task(file).await;
    let report = match &came {
        Ok(called) => Some(&called.report),
        Err(error) => error.report(),
    };
    let usage = report.map(|report| &report.usage);
    let cpu = usage.and_then(|usage| Some(usage.user_ns? + usage.system_ns?));
    let memory = usage.and_then(|usage| usage.memory_peak);
    Row {
        cpu: cpu.map_or_else(|| "-".to_owned(), |ns| format!("{} ms", ns / 1_000_000)),
        memory: memory.map_or_else(|| "-".to_owned(), |bytes| format!("{} KiB", bytes >> 10)),
        what: match came {
            Ok(Called {
                output: Ok(document),
                ..
            }) => {
                let Document {
                    title, words, rows, ..
                } = document;
                // A guest's words: escaped before they meet a terminal.
                format!("document {title:?}: {words} words, {} rows", rows.len())
            }
            Ok(Called {
                output: Err(complaint),
                ..
            }) => format!("refused by the parser: {complaint:?}"),
            Err(CallError::Panicked { message, .. }) => format!("panic: {message}"),
            Err(CallError::Ended { report }) => match report.outcome {
                Outcome::Limit { limit } => format!("limit: {limit}"),
                _ => format!("ended: {}", report.reason),
            },
            Err(error) => format!("error: {error}"),
        },
    }
}

impl Row {
    fn without_jar(what: String) -> Self {
        Self {
            cpu: "-".to_owned(),
            memory: "-".to_owned(),
            what,
        }
    }
}
