//! Runs test programs in virtual machines, one kernel after its name: `cargo xtask vm`
//! starts this. What the programs say is passed on.
//!
//!     lane KERNEL SECONDS WHO:NAME[,ARGUMENT...]=PROGRAM...
//!
//! WHO is `root` or `both`, the other being the machine's ordinary user.
#![cfg(target_os = "linux")]

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use belljar_tests::{KernelName, Vm, VmCommand, VmEnd, VmResult, output, vm};

/// Enough for the first file system, its programs, and jars beside one another.
const MEMORY: u32 = 1200;

/// Temporary files are on it, whose ids can be mapped, as those of a system in
/// memory can since 6.3 only.
const DISK: u64 = 1 << 30;

/// What is said to be there, so that a test that needs it is not skipped.
const HAS: [&str; 2] = [
    "root,sleep,userns,landlock,controllers,bash,busybox,perl,python3",
    "user,userns,landlock,bash,busybox,perl,python3",
];

/// Programs of this machine that tests start and busybox's own cannot stand for.
const TOOLS: [&str; 8] = [
    "/usr/bin/bash",
    "/usr/bin/chrt",
    "/usr/bin/nice",
    "/usr/bin/perl",
    "/usr/bin/prlimit",
    "/usr/bin/python3",
    "/usr/bin/taskset",
    "/usr/bin/unshare",
];

/// What is left out of an interpreter's own modules, by what names begin with.
const NOT_THEIRS: [&str; 6] = [
    "config-",
    "test",
    "lib2to3",
    "pydoc_data",
    "distutils",
    "dist-",
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (kernel, bound) = (words.next(), words.next());
    let kernel = KernelName::ALL
        .into_iter()
        .find(|name| Some(name.word()) == kernel.as_deref())
        .expect("the name of a kernel");
    let bound = bound.and_then(|bound| bound.parse().ok());
    let bound = Duration::from_secs(bound.expect("seconds"));

    let room = tempfile::tempdir().expect("a temporary directory");
    let mut machine = vm().on(kernel).memory(MEMORY).disk(DISK).sleeps();
    for tool in TOOLS.map(Path::new) {
        machine = add_tool(machine, tool);
    }
    for directory in modules_of_interpreters() {
        machine = add_tree(machine, &directory);
    }
    let mut runs = Vec::new();
    for (number, word) in words.enumerate() {
        let (names, path) = word.split_once('=').expect("a name and a program");
        let path = Path::new(path);
        let mut names = names.split(',').map(str::to_owned);
        let name = names.next().expect("a name");
        let arguments: Vec<String> = names.collect();
        let at = format!("/usr/lib/tests/{number}");
        let stripped = room.path().join(number.to_string());
        strip(path, &stripped);
        machine = machine.program(&at, &stripped).directory(&scratch_of(path));
        let (who, name) = name.split_once(':').expect("who runs it");
        let roots: &[bool] = if who == "both" {
            &[true, false]
        } else {
            &[true]
        };
        for &root in roots {
            let command = command(&at, root, &arguments).within(bound);
            runs.push((root, name.to_owned(), command));
        }
    }
    let commands: Vec<VmCommand> = runs.iter().map(|(.., command)| command.clone()).collect();
    let mut told = runs.iter();
    let mut all_well = true;
    machine.run_each(&commands, |result| {
        let (root, name, _) = told.next().expect("one result for each command");
        let who = if *root { "root" } else { "user" };
        println!("\n{name} as {who} on {}", kernel.word());
        all_well &= tell(name, result);
    });
    if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A runtime is known by the name that a link leads to.
fn add_tool(machine: Vm, tool: &Path) -> Vm {
    let at = tool.to_string_lossy();
    match tool.read_link() {
        Ok(target) if target.components().count() == 1 => {
            let place = tool.with_file_name(&target);
            machine
                .program(&place.to_string_lossy(), tool)
                .link(&at, &target.to_string_lossy())
        }
        _ if tool.exists() => machine.program(&at, tool),
        _ => machine,
    }
}

/// Where Debian keeps what python3 and perl load.
fn modules_of_interpreters() -> Vec<PathBuf> {
    let starts = [
        ("/usr/lib", "python3."),
        ("/usr/lib/x86_64-linux-gnu", "perl-base"),
    ];
    starts
        .iter()
        .flat_map(|(place, start)| {
            entries(Path::new(place))
                .into_iter()
                .filter(move |path| begins(path, start))
        })
        .collect()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

fn begins(path: &Path, start: &str) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with(start)
}

fn add_tree(mut machine: Vm, directory: &Path) -> Vm {
    for path in entries(directory) {
        let at = path.to_string_lossy().into_owned();
        machine = if NOT_THEIRS.iter().any(|start| begins(&path, start)) {
            machine
        } else if path.is_dir() {
            add_tree(machine, &path)
        } else if path.extension().is_some_and(|end| end == "so") {
            machine.program(&at, &path)
        } else if path.is_file() {
            machine.file(&at, &path)
        } else {
            machine
        };
    }
    machine
}

/// A copy without what only a debugger reads, nine tenths of it.
fn strip(path: &Path, to: &Path) {
    let mut strip = Command::new("strip");
    let done = output(strip.arg("--strip-debug").arg("-o").arg(to).arg(path));
    assert!(done.status.success(), "strip: {done:?}");
}

/// `CARGO_TARGET_TMPDIR` of a test that is TARGET/debug/deps/TEST
fn scratch_of(path: &Path) -> String {
    let target = path.ancestors().nth(3).expect("cargo's shape");
    target.join("tmp").display().to_string()
}

fn command(program: &str, root: bool, arguments: &[String]) -> VmCommand {
    let has = format!("BELLJAR_TEST_HAS={}", HAS[usize::from(!root)]);
    let mut words = vec![
        // Some tests hold more files than are usual.
        "sh",
        "-c",
        "ulimit -Sn 65536 && exec \"$@\"",
        "sh",
        "env",
        "BELLJAR_BIN=/usr/bin/belljar",
        "BELLJAR_GUEST=/usr/bin/belljar-guest",
        &has,
        program,
    ];
    words.extend(arguments.iter().map(String::as_str));
    match root {
        true => VmCommand::root(words),
        false => VmCommand::user(words),
    }
}

/// Passes on what a program said, and whether its tests passed. One that did not come
/// to its end is a failed test.
fn tell(name: &str, result: &VmResult) -> bool {
    print!("{}", result.text());
    print!("{}", String::from_utf8_lossy(&result.stderr));
    let well = result.end == VmEnd::Exited(0);
    if !well && !result.text().contains("test result: FAILED") {
        println!("{name}: {:?}", result.end);
        println!("test {name} ... FAILED\ntest result: FAILED. 0 passed; 1 failed");
    }
    well
}
