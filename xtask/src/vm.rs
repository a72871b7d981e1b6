//! `cargo xtask vm`: the tests whose outcome is a kernel's, in virtual machines of
//! other kernels than this machine's, as root and as a user there.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use crate::{
    cache, kernels, needs, packages,
    stage::{Stages, Verdict},
    test::{Room, build, cargo, prepare_cache},
};

/// A test program for the machines.
struct Suite {
    package: &'static str,
    test: &'static str,
    /// As the machine's user too, beside its root: those that take little.
    both: bool,
    /// Its arguments: names of the tests that are run, or `--skip` and one that is not.
    which: &'static [&'static str],
}

/// An emulated processor is some twenty times slower than this machine's. So these are
/// tests whose outcome is the kernel's, and no test that tries a launch at every moment,
/// waits for a grace, or compares with what only a whole system has.
const SUITES: &[Suite] = &[
    Suite {
        package: "belljar",
        test: "process",
        both: true,
        which: &[],
    },
    Suite {
        package: "belljar",
        test: "seccomp",
        both: true,
        // The other reads headers.
        which: &["the_kernel_answers_as_the_evaluator"],
    },
    Suite {
        package: "belljar",
        test: "landlock",
        both: true,
        which: &[],
    },
    Suite {
        package: "belljar",
        test: "launcher",
        both: true,
        // A launch waits for a child that is made ahead no longer than a millisecond.
        which: &[
            "--skip",
            "what_changes_in_a_grant_while_a_child_is_parked_stays_hidden",
        ],
    },
    Suite {
        package: "belljar",
        test: "review",
        both: true,
        which: &[],
    },
    Suite {
        package: "belljar",
        test: "jar",
        both: true,
        which: &[
            // It copies `true` as another name, which a busybox goes by.
            "--skip",
            "a_program_replaced_after_it_was_prepared_never_runs",
            // It wants a sample of what grows, at an emulator's pace.
            "--skip",
            "a_granted_directory_that_grows_over_the_limit_ends_the_jar",
        ],
    },
    Suite {
        package: "belljar-tests",
        test: "landlock",
        both: false,
        which: &[
            "report_names_the_version",
            "grants_in_grants_keep",
            "guest_confines_itself_further",
            "seventeenth_domain",
        ],
    },
    Suite {
        package: "belljar-tests",
        test: "sockets",
        both: false,
        which: &[
            "a_socket_of_the_machine_in_a_granted_directory",
            "whoever_connects_in_a_guest_s_stead",
        ],
    },
    Suite {
        package: "belljar-tests",
        test: "denials",
        both: false,
        which: &[
            "a_denied_call_is_an_event_with_everything_named",
            "a_violation_ends_the_jar_where_the_policy_says_so",
            "a_program_that_asks_for_an_executable_stack_is_refused_in_strict",
        ],
    },
    Suite {
        package: "belljar-tests",
        test: "lifeline",
        both: false,
        which: &[
            "killed_launcher_is_lost",
            "killed_supervisor_takes_a_running_jar_along",
            "first_process_cannot_be_attached_to",
        ],
    },
    Suite {
        package: "belljar-tests",
        test: "endings",
        both: false,
        which: &[
            "cpu_time_is_124",
            "file_size_ends",
            "memory_is_124",
            "rows_of_cgroups",
        ],
    },
    Suite {
        package: "belljar-tests",
        test: "limits",
        both: true,
        which: &[],
    },
    Suite {
        package: "belljar-tests",
        test: "usage",
        both: true,
        which: &[],
    },
    Suite {
        package: "belljar-tests",
        test: "events",
        both: false,
        which: &["what_the_kernel_does_to_a_jar", "a_monitor_gives_samples"],
    },
    Suite {
        package: "belljar-tests",
        test: "control",
        both: true,
        which: &[],
    },
    Suite {
        package: "belljar-tests",
        test: "grants",
        both: false,
        which: &["what_a_jar_writes_is_the_operator_s", "deny_inside_a_grant"],
    },
    Suite {
        package: "belljar-tests",
        test: "presets",
        both: false,
        which: &["kernel_info_of_the_machine"],
    },
    Suite {
        package: "belljar-tests",
        test: "faults",
        both: false,
        which: &["tiny_limits_end"],
    },
    // The last, since it suspends the machine.
    Suite {
        package: "belljar-tests",
        test: "asleep",
        both: false,
        which: &[],
    },
];

/// Two kernels beside one another have this long together.
const BOUND: Duration = Duration::from_secs(25 * 60);

/// How long one program may take in the machine.
const BOUND_OF_ONE: u64 = 240;

/// The kernel on which nothing has the full tier, so that the suites do not run there:
/// what Belljar says on it is asked from outside.
const WITHOUT_JARS: &str = "5.10";

/// Runs the suites on the usual kernels, on every one, or on those that are named.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    let wanted = wanted(args)?;
    packages::install(packages::for_tests())?;
    prepare_cache()?;
    let mut stages = Stages::default();
    if build(&mut stages) {
        let room = Room::new()?;
        on_kernels(&mut stages, &room, &wanted, &needs::said()?)?;
    }
    Ok(stages.close())
}

fn wanted(args: &[OsString]) -> Result<Vec<&'static str>, String> {
    let known = || {
        let words = kernels::EVERY.join(", ");
        format!("vm takes `--all`, or `--kernel` with one of {words}")
    };
    let mut wanted = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--all") => wanted.extend(kernels::EVERY),
            Some("--kernel") => {
                let word = args.next().and_then(|word| word.to_str());
                let found = kernels::EVERY.iter().find(|name| Some(**name) == word);
                wanted.push(*found.ok_or_else(known)?);
            }
            _ => return Err(known()),
        }
    }
    if wanted.is_empty() {
        wanted.extend(kernels::USUAL);
    }
    Ok(wanted)
}

/// A stage for each kernel, two at a time. What is built has to be there.
pub(crate) fn on_kernels(
    stages: &mut Stages,
    room: &Room,
    wanted: &[&'static str],
    has: &[String],
) -> Result<(), String> {
    let folder = match kernels::prepare(&with_current(wanted)) {
        Ok(prepared) => {
            for note in prepared.notes {
                if !stages.remarks.contains(&note) {
                    stages.remarks.push(note);
                }
            }
            prepared.folder
        }
        Err(why) => {
            stages.remarks.push(format!("no kernels: {why}"));
            PathBuf::new()
        }
    };
    let executables = executables()?;
    room.strip()?;
    for pair in wanted.chunks(2) {
        let mut runs = Vec::new();
        for word in pair {
            let name = format!("kernel {word}");
            let is_there = folder
                .parent()
                .is_some_and(|all| all.join(format!("linux-{word}")).exists());
            if is_there {
                let mut command = command(word, &executables)?;
                command.env(kernels::FOLDER, &folder);
                room.name_programs(&mut command);
                runs.push((name, BOUND, command));
            } else {
                let said = has.iter().any(|had| *had == format!("linux-{word}"));
                let verdict = if said {
                    Verdict::Failed
                } else {
                    Verdict::NotDone
                };
                stages.note(&name, Duration::ZERO, verdict);
            }
        }
        stages.run_together(runs);
    }
    Ok(())
}

/// The current one is where the others are looked for.
fn with_current(wanted: &[&'static str]) -> Vec<&'static str> {
    let mut all = kernels::USUAL.to_vec();
    all.extend(wanted);
    all
}

fn command(word: &str, executables: &BTreeMap<String, String>) -> Result<Command, String> {
    let path = |package: &str, test: &str| {
        executables
            .get(&format!("{package}/{test}"))
            .ok_or_else(|| format!("cargo built no test {test} of {package}"))
    };
    if word == WITHOUT_JARS {
        let mut command = Command::new(path("belljar-tests", "kernels")?);
        command.args(["--ignored", "long_without_jars"]);
        return Ok(command);
    }
    let mut command = Command::new(cache::target().join("debug/lane"));
    command.args([format!("linux-{word}"), BOUND_OF_ONE.to_string()]);
    for suite in SUITES {
        let which: String = suite.which.iter().map(|word| format!(",{word}")).collect();
        let name = format!("{}/{}", suite.package, suite.test);
        let path = path(suite.package, suite.test)?;
        let who = if suite.both { "both" } else { "root" };
        command.arg(format!("{who}:{name}{which}={path}"));
    }
    Ok(command)
}

/// The test programs that were built, by `PACKAGE/TEST`.
fn executables() -> Result<BTreeMap<String, String>, String> {
    let said = cargo(&["test", "--workspace", "--no-run", "--message-format=json"])
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    let said = String::from_utf8_lossy(&said.stdout);
    // One JSON document a line; the Cargo book, "External tools".
    Ok(said
        .lines()
        .filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let target = &line["target"];
            let is_test = target["kind"][0] == "test";
            let package = PathBuf::from(line["manifest_path"].as_str()?);
            let directory = package.parent()?.file_name()?.to_str()?.to_owned();
            let package = match directory.as_str() {
                "tests" => "belljar-tests".to_owned(),
                _ => directory,
            };
            is_test.then_some((
                format!("{package}/{}", target["name"].as_str()?),
                line["executable"].as_str()?.to_owned(),
            ))
        })
        .collect())
}
