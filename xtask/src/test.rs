//! `cargo xtask test`, `long` and `bench`: the stages, in order.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use crate::{
    cache, deny, kernels,
    needs::{self, Who, value_for},
    packages,
    stage::{Stages, Verdict, output},
    user::User,
    vm,
};

/// The programs that tests start.
const PROGRAMS: [&str; 2] = ["belljar", "belljar-guest"];

/// The one that can be told to break its plans. Attacks and benches do without.
const BROKEN: &str = "belljar-broken";

/// Those whose launcher can be told to fail.
const FAULTY: [&str; 2] = ["belljar-faulty", "faulty-host"];

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Everything that must hold before a change is taken.
pub(crate) fn test(args: &[OsString]) -> Result<ExitCode, String> {
    no_arguments("test", args)?;
    let words = needs::said()?;
    packages::install(packages::for_tests())?;
    if let Err(why) = packages::install(packages::for_programs()) {
        eprintln!("xtask: tests of programs that are not here are skipped; {why}");
    }
    prepare_cache()?;

    let mut stages = Stages::default();
    let deny = deny::begin();
    stages.run("format", MINUTE, &mut cargo(&["fmt", "--all", "--check"]));
    stages.run(
        "clippy",
        10 * MINUTE,
        &mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    );
    stages.run(
        "documentation",
        10 * MINUTE,
        cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"),
    );
    if build(&mut stages) {
        run_tests(&mut stages, &words, Lane::All)?;
        newcomer(&mut stages)?;
    }
    deny.finish(&mut stages);
    Ok(stages.close())
}

/// The tests that CI has no time for.
pub(crate) fn long(args: &[OsString]) -> Result<ExitCode, String> {
    no_arguments("long", args)?;
    let words = needs::said()?;
    packages::install(packages::for_tests())?;
    prepare_cache()?;
    let mut stages = Stages::default();
    if build(&mut stages) {
        run_tests(&mut stages, &words, Lane::Long)?;
    }
    Ok(stages.close())
}

/// Measurements; all arguments are the benches' own.
pub(crate) fn bench(args: &[OsString]) -> Result<ExitCode, String> {
    packages::install(packages::for_tests())?;
    // Each by itself: not every release of Debian has all of them.
    for peer in packages::for_benches() {
        if let Err(why) = packages::install([peer]) {
            eprintln!("xtask: a peer is left out: {why}");
        }
    }
    prepare_cache()?;
    let status = cargo(&["run", "--quiet", "--release", "-p", "belljar-benches", "--"])
        .args(args)
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A cargo command in the clone that builds into the cache.
///
/// A shell starts what runs in its background with SIGINT and SIGQUIT ignored, and
/// nohup(1) with SIGHUP; tests of signals would inherit that, and wait for what
/// never comes. env(1) undoes it.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new("env");
    command
        .arg("--default-signal=INT,QUIT,HUP,TERM")
        .arg(program);
    command
        .args(args)
        .current_dir(cache::root())
        .env("CARGO_TARGET_DIR", cache::target());
    // What cargo told this program about itself is not for those that it starts.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_"))
        {
            command.env_remove(&name);
        }
    }
    command
        .env_remove("CARGO_MANIFEST_DIR")
        .env_remove("CARGO_MANIFEST_PATH");
    command
}

/// Which tests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// All but the ignored.
    All,
    /// The ignored whose names begin with `long_`.
    Long,
}

/// Builds the programs under test and the tests, and says whether both could be.
pub(crate) fn build(stages: &mut Stages) -> bool {
    let mut build = |name, args: &[&str]| stages.run(name, 15 * MINUTE, &mut cargo(args));
    let broken = [
        "build",
        "-p",
        "belljar-cli",
        "--features",
        "break-plan",
        "--bin",
        BROKEN,
    ];
    let faulty = [
        "build",
        "-p",
        "belljar-cli",
        "-p",
        "belljar-tests",
        "--features",
        "belljar-cli/faults,belljar-tests/faults",
        "--bin",
        FAULTY[0],
        "--bin",
        FAULTY[1],
    ];
    build("build of the programs", &["build", "--workspace", "--bins"]) == Verdict::Ok
        && build("build of broken plans", &broken) == Verdict::Ok
        && build("build of faults", &faulty) == Verdict::Ok
        && build("build of the tests", &["test", "--workspace", "--no-run"]) == Verdict::Ok
}

/// Gets what tests of other kernels need; where it is not to be had, they are skipped.
fn machine(stages: &mut Stages, lane: Lane) -> Option<PathBuf> {
    match kernels::prepare(lane.kernels()) {
        Ok(prepared) => {
            stages.remarks.extend(prepared.notes);
            Some(prepared.folder)
        }
        Err(why) => {
            stages.remarks.push(format!("no virtual machine: {why}"));
            None
        }
    }
}

/// Runs the tests as this user, and again as an unprivileged one where this is root.
fn run_tests(stages: &mut Stages, words: &[String], lane: Lane) -> Result<(), String> {
    let room = Room::new()?;
    let machine = machine(stages, lane);
    let mut run = |name: String, mut command: Command, who: Who| {
        command
            .env(needs::HAS, value_for(words, who))
            .env(needs::SKIPS, room.skips());
        room.name_programs(&mut command);
        if let Some(folder) = &machine {
            command.env(kernels::FOLDER, folder);
        }
        stages.run(&name, lane.bound(), &mut command);
    };
    if cache::is_root() {
        for kind in [Kind::Programs, Kind::Doctests] {
            run(
                format!("{} as root", kind.word()),
                cargo(&kind.args(lane)),
                Who::Root,
            );
        }
        let user = User::new()?;
        share_temporary()?;
        for kind in [Kind::Programs, Kind::Doctests] {
            let mut command = user.cargo(&kind.args(lane));
            command.env(needs::MACHINES_DONE, "1");
            run(format!("{} as user", kind.word()), command, Who::User);
        }
    } else {
        for kind in [Kind::Programs, Kind::Doctests] {
            run(kind.word().to_owned(), cargo(&kind.args(lane)), Who::User);
        }
        stages
            .remarks
            .push("tests that need root were skipped: run this as root for both".to_owned());
    }
    vm::on_kernels(stages, &room, lane.kernels(), words)?;
    stages.remarks.extend(room.remarks());
    Ok(())
}

/// Lets the user write where `CARGO_TARGET_TMPDIR` says that tests may.
fn share_temporary() -> Result<(), String> {
    let place = cache::target().join("tmp");
    fs::create_dir_all(&place)
        .and_then(|()| fs::set_permissions(&place, fs::Permissions::from_mode(0o1777)))
        .map_err(|error| format!("{}: {error}", place.display()))
}

/// What cargo calls tests.
#[derive(Clone, Copy)]
enum Kind {
    Programs,
    Doctests,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Programs => "tests",
            Self::Doctests => "doctests",
        }
    }

    fn args(self, lane: Lane) -> Vec<&'static str> {
        let mut args = vec!["test", "--workspace", "--no-fail-fast"];
        args.extend_from_slice(match self {
            Self::Programs => &["--lib", "--bins", "--tests", "--examples"],
            Self::Doctests => &["--doc"],
        });
        if lane == Lane::Long {
            args.extend(["--", "--ignored", "long_"]);
        }
        args
    }
}

impl Lane {
    fn kernels(self) -> &'static [&'static str] {
        match self {
            Self::All => &kernels::USUAL,
            Self::Long => &kernels::EVERY,
        }
    }

    fn bound(self) -> Duration {
        match self {
            // Most of it are machines that boot.
            Self::All => 30 * MINUTE,
            Self::Long => 240 * MINUTE,
        }
    }
}

/// The arguments of the README's first command, which a newcomer types.
const NEWCOMER: &[&str] = &["run", "--release", "--", "run", "examples/wordcount"];

/// Runs that as each user, on the README.
fn newcomer(stages: &mut Stages) -> Result<(), String> {
    let readme = cache::root().join("README.md");
    let input =
        || fs::File::open(&readme).map_err(|error| format!("{}: {error}", readme.display()));
    let bound = 8 * MINUTE;
    stages.run_with_input(
        "newcomer's command",
        bound,
        &mut cargo(NEWCOMER),
        input()?.into(),
    );
    if cache::is_root() {
        let user = User::new()?;
        let mut theirs = user.cargo(NEWCOMER);
        stages.run_with_input(
            "newcomer's command as user",
            bound,
            &mut theirs,
            input()?.into(),
        );
    }
    Ok(())
}

/// A directory that any user's tests and jars can see: the programs under test,
/// out of a home's dot directories, which the preset `minimal` hides; and the
/// tests' own list of what they skipped, one `test: need` a line.
pub(crate) struct Room(PathBuf);

impl Room {
    pub(crate) fn new() -> Result<Self, String> {
        let dir = PathBuf::from(format!("/tmp/belljar-room-{}", std::process::id()));
        let says = |error: std::io::Error| format!("{}: {error}", dir.display());
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&dir)
            .map_err(says)?;
        let room = Self(dir.clone());
        let list = room.skips();
        fs::write(&list, "")
            .and_then(|()| fs::set_permissions(&list, fs::Permissions::from_mode(0o666)))
            .map_err(says)?;
        for program in PROGRAMS {
            let built = cache::target().join("debug").join(program);
            fs::copy(&built, dir.join(program))
                .map_err(|error| format!("{}: {error}", built.display()))?;
        }
        for program in [BROKEN].into_iter().chain(FAULTY) {
            let built = cache::target().join("debug").join(program);
            if built.exists() {
                fs::copy(&built, dir.join(program))
                    .map_err(|error| format!("{}: {error}", built.display()))?;
            }
        }
        Ok(room)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes out of the programs what only a debugger reads, half of them: a
    /// machine has them in memory.
    pub(crate) fn strip(&self) -> Result<(), String> {
        let programs = PROGRAMS.map(|program| self.0.join(program));
        let (done, said) = output(Command::new("strip").arg("--strip-debug").args(programs));
        done.then_some(()).ok_or_else(|| format!("strip: {said}"))
    }

    /// Tells the tests of a command where the programs are.
    pub(crate) fn name_programs(&self, command: &mut Command) {
        command
            .env("BELLJAR_BIN", self.0.join(PROGRAMS[0]))
            .env("BELLJAR_GUEST", self.0.join(PROGRAMS[1]))
            .env("BELLJAR_BROKEN_BIN", self.0.join(BROKEN))
            .env("BELLJAR_FAULTY_BIN", self.0.join(FAULTY[0]))
            .env("BELLJAR_FAULTY_HOST", self.0.join(FAULTY[1]));
    }

    fn skips(&self) -> PathBuf {
        self.0.join("skips")
    }

    /// How many tests were skipped for want of what.
    fn remarks(&self) -> Vec<String> {
        let mut wants: BTreeMap<String, u32> = BTreeMap::new();
        for line in fs::read_to_string(self.skips()).unwrap_or_default().lines() {
            let want = line.rsplit(": ").next().unwrap_or(line);
            *wants.entry(want.to_owned()).or_default() += 1;
        }
        wants
            .into_iter()
            .map(|(want, count)| {
                format!("{count} tests passed without running: this machine or run has no {want}")
            })
            .collect()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn prepare_cache() -> Result<(), String> {
    let target = cache::target();
    fs::create_dir_all(&target).map_err(|error| format!("{}: {error}", target.display()))
}

pub(crate) fn no_arguments(command: &str, args: &[OsString]) -> Result<(), String> {
    match args.first() {
        Some(extra) => Err(format!(
            "{command} takes no arguments, not {}",
            shown(extra)
        )),
        None => Ok(()),
    }
}

fn shown(text: &OsStr) -> std::path::Display<'_> {
    Path::new(text).display()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newcomer_s_command_is_the_readme_s() {
        let readme = fs::read_to_string(cache::root().join("README.md")).unwrap();
        let command = format!("cargo {} < README.md", NEWCOMER.join(" "));
        assert!(readme.lines().any(|line| line == command));
    }
}
