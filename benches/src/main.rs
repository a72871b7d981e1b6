//! Measures Belljar with its peers: whole processes, launches through a running
//! launcher, the steps of a launch, the memory of an idle jar.
//!
//! It asserts nothing. Targets of the design are printed beside what was
//! measured; machines are noisy, so what counts are ratios of medians taken in
//! one run, everybody in turn.
#![forbid(unsafe_code)]

mod calls;
mod client;
mod crowd;
mod filter;
mod flood;
mod floor;
mod idle;
mod isolated;
mod launch;
mod layers;
mod library;
mod machine;
mod memory;
mod output;
mod peer;
mod sample;
mod scale;
mod steps;
mod whole;
mod workshop;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use belljar_plan::Plan;
use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::{
    client::Client,
    floor::Server,
    launch::Launchers,
    library::Library,
    machine::{children, program},
    output::Section,
    workshop::{Workshop, find},
};

/// Measures Belljar with its peers.
#[derive(Debug, Parser)]
#[command(name = "belljar-benches")]
struct Arguments {
    /// What to measure [default: all].
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// A look: fewer rounds, wider noise.
    #[arg(long)]
    quick: bool,
    /// Rounds of each measurement [default: 300, 40 with --quick].
    #[arg(long)]
    rounds: Option<usize>,
    /// Write everything to a file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure launches once more with 1 GiB resident in the host.
    #[arg(long)]
    big_host: bool,
    /// Measure once more as this user (root only).
    #[arg(long, value_name = "UID")]
    also_as: Option<u32>,
    /// The program `belljar` [default: built as the bench was].
    #[arg(long, value_name = "FILE")]
    belljar: Option<PathBuf>,
    /// The launcher's program, where it can't be taken from a running one.
    #[arg(long, value_name = "FILE", hide = true)]
    launcher: Option<PathBuf>,
    /// Launch this program once, and print after how many nanoseconds it ran.
    #[arg(long, value_name = "FILE", hide = true)]
    first: Option<PathBuf>,
    /// An empty Rust program, where there is no compiler.
    #[arg(long, value_name = "FILE", hide = true)]
    empty: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Whole processes.
    Whole,
    /// Launches through a running launcher.
    Launch,
    /// The steps of a launch.
    Steps,
    /// Memory of idle jars.
    Memory,
    /// What watching idle jars costs.
    Idle,
    /// Many jars at once.
    Crowd,
    /// What a thousand jars at once cost, and how long it takes to end them.
    Scale,
    /// Filters of system calls.
    Filter,
    /// What the filter and Landlock add to a launch.
    Layers,
    /// Allowed system calls.
    Calls,
    /// Floods of calls that the supervisor answers.
    Flood,
    /// Functions in jars.
    Isolated,
}

/// What one run found.
#[derive(Debug, Serialize)]
struct Run {
    schema: u32,
    kernel: String,
    processors: usize,
    uid: u32,
    rounds: usize,
    quick: bool,
    sections: Vec<Section>,
    /// The same as another user.
    also: Option<serde_json::Value>,
}

fn main() -> ExitCode {
    belljar::isolated::init();
    match bench(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("belljar-benches: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &Arguments) -> Result<(), String> {
    if let Some(program) = &arguments.first {
        let took = Library::start()?.once(program)?;
        println!("{}", took[0].as_nanos());
        return Ok(());
    }
    let workshop = Workshop::open(arguments.empty.as_deref())?;
    let rounds = arguments
        .rounds
        .unwrap_or(if arguments.quick { 40 } else { 300 })
        .max(1);
    let mut run = Run {
        schema: 1,
        kernel: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        uid: rustix::process::geteuid().as_raw(),
        rounds,
        quick: arguments.quick,
        sections: Vec::new(),
        also: None,
    };
    println!(
        "Linux {}, {} processors, uid {}, {rounds} rounds in turn",
        run.kernel, run.processors, run.uid
    );
    let belljar = program_belljar(arguments).and_then(|path| workshop.borrow(&path, "belljar"));
    let plan = library::plan(&workshop.noop);
    let launcher = measure(arguments, rounds, &workshop, &belljar, &plan, |section| {
        print!("{section}");
        run.sections.push(section);
    });
    if let Some(uid) = arguments.also_as {
        run.also = Some(as_user(arguments, uid, &workshop, belljar, launcher)?);
    }
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&run).expect("plain data has a JSON form");
        fs::write(file, text + "\n")
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    Ok(())
}

/// Runs the parts asked for; gives back the launcher's program where it was found.
fn measure(
    arguments: &Arguments,
    rounds: usize,
    workshop: &Workshop,
    belljar: &Result<PathBuf, String>,
    plan: &Result<Plan, String>,
    mut tell: impl FnMut(Section),
) -> Result<PathBuf, String> {
    let wanted = |part| arguments.parts.is_empty() || arguments.parts.contains(&part);
    let list = |name: &str, change: fn(&Plan) -> Plan| {
        let plan = plan.as_ref().map_err(Clone::clone)?;
        workshop.write(name, floor::list(&change(plan))?)
    };
    let barer = list("steps.barer", layers::without_both);
    let list = list("steps", Clone::clone);
    if wanted(Part::Whole) {
        tell(whole::run(rounds, workshop, belljar, &list, &barer));
    }
    let mut library = Library::start();
    let launcher = match &arguments.launcher {
        Some(path) => Ok(path.clone()),
        None => running_launcher(&mut library, workshop),
    };
    if wanted(Part::Memory) {
        let jars = if arguments.quick { 50 } else { 1000 };
        tell(memory::run(jars, &workshop.idle, &library));
    }
    if wanted(Part::Idle) {
        let (jars, seconds) = if arguments.quick {
            (100, 3)
        } else {
            (1000, 10)
        };
        tell(idle::run(jars, seconds, &workshop.idle, &library));
    }
    if wanted(Part::Crowd) {
        let (rounds, jars) = if arguments.quick { (3, 50) } else { (10, 200) };
        tell(crowd::run(rounds, jars, &workshop.noop, &mut library));
    }
    if wanted(Part::Scale) {
        let (rounds, jars) = if arguments.quick {
            (20, 100)
        } else {
            (100, 1000)
        };
        let programs = (workshop.noop.as_path(), workshop.idle.as_path());
        tell(scale::run(rounds, jars, programs, &library));
    }
    let client = launcher
        .clone()
        .and_then(|launcher| Client::start(&launcher, plan.as_ref().map_err(Clone::clone)?));
    let floor = list.and_then(|list| Server::start(&workshop.floor, &list));
    let mut launchers = Launchers {
        library,
        client,
        floor,
    };
    if wanted(Part::Launch) {
        for section in launch::run(rounds, &workshop.noop, &mut launchers, "") {
            tell(section);
        }
    }
    if wanted(Part::Steps) {
        tell(steps::run(rounds, plan, &mut launchers.client));
    }
    if wanted(Part::Filter) {
        for section in filter::run(rounds, workshop) {
            tell(section);
        }
    }
    if wanted(Part::Layers) {
        tell(layers::run(rounds, plan, &launcher));
    }
    if wanted(Part::Calls) {
        for section in calls::run(rounds.div_ceil(5), workshop, belljar) {
            tell(section);
        }
    }
    if wanted(Part::Flood) {
        for section in flood::run(arguments.quick, workshop, &mut launchers.library) {
            tell(section);
        }
    }
    if wanted(Part::Isolated) {
        tell(isolated::run(rounds, workshop));
    }
    if arguments.big_host && wanted(Part::Launch) {
        const GIB: usize = 1 << 30;
        // Ones, since zeroes would be pages that nobody has touched.
        let resident = vec![1_u8; GIB];
        for mut section in launch::run(rounds, &workshop.noop, &mut launchers, ", 1 GiB host") {
            section.name = match section.name {
                "launch_exec" => "launch_exec_big_host",
                _ => "launch_reported_big_host",
            };
            tell(section);
        }
        drop(std::hint::black_box(resident));
    }
    launcher
}

/// The library carries its launcher inside; a copy is taken from a running one.
fn running_launcher(
    library: &mut Result<Library, String>,
    workshop: &Workshop,
) -> Result<PathBuf, String> {
    library.as_mut().map_err(|error| error.clone())?.launch(
        &workshop.noop,
        floor::Start::Fresh,
        library::Decided::Anew,
    )?;
    children(std::process::id())
        .into_iter()
        .find_map(|child| workshop.borrow(&program(child), "launcher").ok())
        .ok_or_else(|| "the launcher's program can't be read by this user".to_owned())
}

fn program_belljar(arguments: &Arguments) -> Result<PathBuf, String> {
    if let Some(path) = &arguments.belljar {
        return Ok(path.clone());
    }
    let own = std::env::current_exe().map_err(|error| format!("no path of its own: {error}"))?;
    // Under `cargo run`, build it as the bench itself was built.
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "-p", "belljar-cli"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let status = build.status().map_err(|error| format!("cargo: {error}"))?;
        if !status.success() {
            return Err("belljar-cli does not build".to_owned());
        }
    }
    let path = own.with_file_name("belljar");
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("no {}; name it with --belljar", path.display()))
    }
}

/// Runs this program again as another user, with what that user can reach.
fn as_user(
    arguments: &Arguments,
    uid: u32,
    workshop: &Workshop,
    belljar: Result<PathBuf, String>,
    launcher: Result<PathBuf, String>,
) -> Result<serde_json::Value, String> {
    let own = std::env::current_exe().map_err(|error| format!("no path of its own: {error}"))?;
    let own = workshop.borrow(&own, "belljar-benches")?;
    let home = tempfile::tempdir().map_err(|error| format!("no home for uid {uid}: {error}"))?;
    rustix::fs::chown(
        home.path(),
        Some(rustix::fs::Uid::from_raw(uid)),
        Some(rustix::fs::Gid::from_raw(uid)),
    )
    .map_err(|error| format!("no home for uid {uid}: {error}"))?;
    let json = home.path().join("run.json");
    let setpriv = find("setpriv").ok_or("setpriv is not installed")?;
    let id = uid.to_string();
    let mut again = Command::new(setpriv);
    again
        .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
        .arg(own)
        .arg("--json")
        .arg(&json)
        .env("HOME", home.path())
        .env_remove("CARGO")
        .env_remove("TMPDIR")
        .current_dir("/");
    for part in &arguments.parts {
        again.arg(
            part.to_possible_value()
                .expect("no part is hidden")
                .get_name(),
        );
    }
    if arguments.quick {
        again.arg("--quick");
    }
    if arguments.big_host {
        again.arg("--big-host");
    }
    if let Some(rounds) = arguments.rounds {
        again.args(["--rounds", &rounds.to_string()]);
    }
    for (flag, path) in [
        ("--belljar", belljar),
        ("--launcher", launcher),
        ("--empty", workshop.empty.clone()),
    ] {
        if let Ok(path) = path {
            again.arg(flag).arg(path);
        }
    }
    println!();
    let status = again
        .status()
        .map_err(|error| format!("setpriv: {error}"))?;
    if !status.success() {
        return Err(format!("as uid {uid}: {status}"));
    }
    read_json(&json)
}

fn read_json(path: &Path) -> Result<serde_json::Value, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}
