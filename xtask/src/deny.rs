//! Licences, bans and sources always; advisories where their database can be had.
//! All of it in the background: installing cargo-deny takes minutes of processor.

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    cache,
    stage::{Stages, Verdict, output},
};

const VERSION: &str = "0.20.2";

/// How long the database of advisories may take to come, as timeout(1) reads it.
const FETCH: &str = "90s";

/// Checks under way.
pub(crate) struct Deny(JoinHandle<Found>);

struct Found {
    time: Duration,
    checked: Verdict,
    advisories: Verdict,
    said: String,
    remark: Option<String>,
}

/// Begins.
pub(crate) fn begin() -> Deny {
    Deny(thread::spawn(check))
}

impl Deny {
    /// Waits, and adds two lines to the table.
    pub(crate) fn finish(self, stages: &mut Stages) {
        println!("\n=== cargo deny");
        let waited = Instant::now();
        let found = self.0.join().unwrap_or_else(|_| Found {
            time: Duration::ZERO,
            checked: Verdict::Failed,
            advisories: Verdict::NotDone,
            said: "the thread that runs cargo-deny ended early".to_owned(),
            remark: None,
        });
        println!("{}", found.said.trim_end());
        stages.note("deny (time waited)", waited.elapsed(), found.checked);
        stages.note("advisories", Duration::ZERO, found.advisories);
        stages.remarks.extend(found.remark);
        stages.remarks.push(format!(
            "cargo deny took {:.1} s beside the other stages",
            found.time.as_secs_f64()
        ));
    }
}

fn check() -> Found {
    let begun = Instant::now();
    let mut said = String::new();
    let program = match program(&mut said) {
        Ok(program) => program,
        Err(message) => {
            said.push_str(&message);
            return Found {
                time: begun.elapsed(),
                checked: Verdict::Failed,
                advisories: Verdict::NotDone,
                said,
                remark: None,
            };
        }
    };
    let (done, text) = output(deny(&program).args(["check", "licenses", "bans", "sources"]));
    said.push_str(&text);
    let checked = if done { Verdict::Ok } else { Verdict::Failed };
    let (advisories, remark) = advisories(&program, &mut said);
    Found {
        time: begun.elapsed(),
        checked,
        advisories,
        said,
        remark,
    }
}

/// An advisory fails the run; a database that cannot be had does not, and is said.
fn advisories(program: &Path, said: &mut String) -> (Verdict, Option<String>) {
    let mut fetch = Command::new("timeout");
    fetch
        .args(["-k", "5s", FETCH])
        .arg(program)
        .args(["fetch", "db"])
        .env("GIT_TERMINAL_PROMPT", "0")
        .current_dir(cache::root());
    let (fetched, text) = output(&mut fetch);
    if !fetched {
        let why = text
            .lines()
            .map(str::trim)
            .rfind(|line| !line.is_empty())
            .unwrap_or("no answer in time")
            .to_owned();
        return (
            Verdict::NotDone,
            Some(format!(
                "advisories were NOT checked: their database could not be fetched: {why}"
            )),
        );
    }
    let (done, text) = output(deny(program).args(["check", "--disable-fetch", "advisories"]));
    said.push_str(&text);
    (if done { Verdict::Ok } else { Verdict::Failed }, None)
}

fn deny(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(cache::root());
    command
}

/// Finds cargo-deny, or installs it into the cache.
fn program(said: &mut String) -> Result<PathBuf, String> {
    let tools = cache::dir().join("tools");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = [tools.join("bin"), cache::home().join("tools/bin")]
        .into_iter()
        .chain(std::env::split_paths(&path));
    if let Some(found) = places
        .map(|place| place.join("cargo-deny"))
        .find(|file| file.is_file())
    {
        return Ok(found);
    }
    let mut install = Command::new("nice");
    install
        .args([
            "-n",
            "19",
            "cargo",
            "install",
            "cargo-deny",
            "--quiet",
            "--locked",
        ])
        .args(["--version", VERSION, "--root"])
        .arg(&tools)
        // An install that was cut short goes on where it was.
        .env("CARGO_TARGET_DIR", tools.join("build"))
        // It runs for less than a second: what counts is the time to build it.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .current_dir("/");
    let (done, text) = output(&mut install);
    said.push_str(&text);
    if done {
        Ok(tools.join("bin/cargo-deny"))
    } else {
        Err("cargo-deny could not be installed\n".to_owned())
    }
}
