//! A function in a jar: from the call to its output and report, beside a plain process that
//! does nothing, and the same process in a jar.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use belljar::{Jar, Prepared, isolated::IsolatedJar};

use crate::{
    output::{Row, Section, Verdict},
    sample::round_robin,
    workshop::Workshop,
};

belljar::isolated! {
    /// As little as can be.
    fn add_one(number: u64) -> u64 {
        number + 1
    }
}

#[derive(Clone, Copy)]
enum Way {
    Call,
    Jar,
    True,
    Noop,
}

const WAYS: [(Way, &str); 4] = [
    (Way::Call, "call of a function, planned before"),
    (Way::Jar, "static no-op in a jar, planned before"),
    (Way::True, "/bin/true, fork and exec"),
    (Way::Noop, "static no-op, fork and exec"),
];

/// Measures all four in turn.
pub(crate) fn run(rounds: usize, workshop: &Workshop) -> Section {
    let bench = Bench::new(workshop);
    let mut ways = WAYS;
    let results = round_robin(rounds, &mut ways, |(way, _)| {
        let bench = bench.as_ref().map_err(Clone::clone)?;
        bench.once(*way, workshop).map(|time| vec![time])
    });
    let mut rows: Vec<Row> = WAYS
        .iter()
        .zip(results)
        .map(|((_, name), result)| Row::new(*name, result.map(|samples| samples[0].summary())))
        .collect();
    let [call, jar, bare, noop] = [0, 1, 2, 3].map(|index| rows[index].summary);
    for row in &mut rows {
        row.compare(bare.map(|bare| bare.p50));
    }
    Section {
        name: "isolated",
        title: "a function in a jar, call to output and report".into(),
        unit: "us",
        compared_to: Some("/bin/true, fork and exec".into()),
        rows,
        verdicts: vec![
            Verdict::ratio("call / bare /bin/true", None, call, bare),
            Verdict::ratio("call / static no-op in a jar", None, call, jar),
            Verdict::ratio("static no-op in a jar / without", None, jar, noop),
        ],
        notes: vec![
            "The function's program is this one, with its libraries and symbols; the no-op has none.".into(),
        ],
    }
}

struct Bench {
    runtime: tokio::runtime::Runtime,
    functions: IsolatedJar,
    noop: Prepared,
}

impl Bench {
    fn new(workshop: &Workshop) -> Result<Self, String> {
        let noop = Jar::program(&workshop.noop)
            .policy(belljar::Policy::strict())
            .prepare()
            .map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            runtime,
            functions: Jar::isolated(),
            noop,
        })
    }

    fn once(&self, way: Way, workshop: &Workshop) -> Result<Duration, String> {
        let begun = Instant::now();
        match way {
            Way::Call => {
                let called = self
                    .runtime
                    .block_on(async { self.functions.call(add_one, 1).await });
                let output = called.map_err(|error| error.to_string())?.output;
                assert_eq!(output, 2, "the function");
            }
            Way::Jar => {
                let output = self.runtime.block_on(self.noop.start().output());
                output.map_err(|error| error.to_string())?;
            }
            Way::True => plain(Command::new("/bin/true"))?,
            Way::Noop => plain(Command::new(&workshop.noop))?,
        }
        Ok(begun.elapsed())
    }
}

fn plain(mut command: Command) -> Result<(), String> {
    let status = command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| error.to_string())?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| status.to_string())
}
