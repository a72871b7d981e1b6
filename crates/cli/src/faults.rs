//! Only for tests, by the feature `faults`: `belljar-faulty --points` lists, as lines of
//! JSON, where the file of faults has which number, and then each point.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use belljar::faults::{ACTORS, CALLS, MOST, NO_STEP, POINTS, WORDS, how, word};
use serde_json::json;

/// Prints the list.
pub(crate) fn list() -> ExitCode {
    match print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("belljar: cannot write the list of points: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let file = json!({
        "words": WORDS, "most": MOST, "actors": ACTORS, "no_step": NO_STEP,
        "how": word::HOW, "point": word::POINT, "actor": word::ACTOR, "spared": word::SPARED,
        "errno": word::ERRNO, "reached": word::REACHED, "had": word::HAD, "step": word::STEP,
        "let_go": word::LET_GO, "round": word::ROUND, "unlisted": word::UNLISTED, "counts": word::COUNTS,
        "instead": how::INSTEAD, "after": how::AFTER, "hold": how::HOLD,
    });
    writeln!(out, "{file}")?;
    for (number, point) in POINTS.iter().enumerate() {
        let Some(call) = CALLS.get(point.call) else {
            continue;
        };
        let line = json!({
            "number": number,
            "call": call.name,
            "place": format!("{}:{}:{}", point.file, point.line, point.column),
            "errnos": call.errnos,
            "after": call.after,
        });
        writeln!(out, "{line}")?;
    }
    out.flush()
}
