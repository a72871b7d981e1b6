//! Many jars at once on few processors: as many of them as are asked for are launched
//! together and waited for, by one host of the library, and by as many bwraps.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    library::Library,
    output::{Row, Section, Verdict},
    sample::{Samples, round_robin},
    whole,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Library,
    Bwrap,
}

const WAYS: [(Way, &str); 2] = [
    (Way::Library, "one host of the library"),
    (Way::Bwrap, whole::BWRAP),
];

/// Measures both, in turn.
pub(crate) fn run(
    rounds: usize,
    jars: usize,
    noop: &Path,
    library: &mut Result<Library, String>,
) -> Section {
    let mut ways = WAYS;
    let results = round_robin(rounds, &mut ways, |(way, _)| match way {
        Way::Library => {
            let library = library.as_ref().map_err(Clone::clone)?;
            let begun = Instant::now();
            library.crowd(noop, jars)?;
            Ok(vec![begun.elapsed()])
        }
        Way::Bwrap => bwraps(noop, jars).map(|took| vec![took]),
    });
    let rows: Vec<Row> = WAYS
        .iter()
        .zip(results)
        .map(|((_, name), result)| {
            Row::new(*name, result.map(|all: Vec<Samples>| all[0].summary()))
        })
        .collect();
    let [own, theirs] = [rows[0].summary, rows[1].summary];
    let each = |summary: Option<crate::sample::Summary>| {
        summary.map(|summary| 1e6 * jars as f64 / summary.p50)
    };
    Section {
        name: "crowd",
        title: format!("{jars} jars at once, launched to the last one's end"),
        unit: "us",
        compared_to: Some(whole::BWRAP.into()),
        verdicts: vec![
            Verdict::ratio("all at once / as many bwraps", None, own, theirs),
            Verdict::beside("jars a second, by the library", each(own)),
            Verdict::beside("a second, by bwrap", each(theirs)),
        ],
        rows,
        notes: Vec::new(),
    }
}

fn bwraps(noop: &Path, count: usize) -> Result<Duration, String> {
    let words = whole::bwrap(noop)?;
    let begun = Instant::now();
    let children: Result<Vec<_>, _> = (0..count)
        .map(|_| {
            Command::new(&words[0])
                .args(&words[1..])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        })
        .collect();
    let children = children.map_err(|error| format!("cannot start bwrap: {error}"))?;
    let mut failed = 0;
    for mut child in children {
        let status = child.wait().map_err(|error| error.to_string())?;
        failed += usize::from(!status.success());
    }
    match failed {
        0 => Ok(begun.elapsed()),
        failed => Err(format!("{failed} of {count} failed")),
    }
}
