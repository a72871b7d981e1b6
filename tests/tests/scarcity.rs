//! What belljar itself lacks: descriptors, processes, the time that a clock tells. Each
//! launch runs or is one clear error that says what is lacking, and leaves nothing.
#![cfg(target_os = "linux")]

use std::{
    process::{Command, Output, Stdio},
    time::Duration,
};

use belljar_tests::{KernelName, Need, VmCommand, VmEnd, belljar, is_root, need, vm};
use serde_json::Value;

/// `belljar run`, held to a limit by prlimit(1), as an ordinary user or as whoever this is.
fn limited(limit: &str, as_user: bool) -> Output {
    let user = [
        "setpriv",
        "--reuid=54322",
        "--regid=54322",
        "--clear-groups",
    ];
    let user: &[&str] = if as_user && is_root() { &user } else { &[] };
    // What hangs is told by its limit, and not by that nothing is told.
    let words = [user, &["timeout", "60", "prlimit", limit]].concat();
    belljar_tests::output(
        Command::new(words[0])
            .args(&words[1..])
            .arg(belljar())
            .args(["run", "--no-record", "--", "/usr/bin/echo", "ran"])
            // Where a test may be a directory that the user cannot enter.
            .current_dir("/")
            .stdin(Stdio::null()),
    )
}

/// It ran, or it said what was lacking; gives whether it ran.
fn ran(output: &Output, limit: &str, words: &[&str]) -> bool {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        assert_eq!(output.stdout, b"ran\n", "{limit}: {output:?}");
        assert_eq!(said, "", "{limit}");
        return true;
    }
    assert_eq!(output.stdout, b"", "{limit}: {output:?}");
    let told = words.iter().any(|words| said.contains(words));
    assert!(told, "{limit}: {said}");
    assert!(!said.contains("panicked"), "{limit}: {said}");
    false
}

#[test]
fn with_few_descriptors_a_run_is_one_or_says_that_they_are_lacking() {
    // The other has a launcher that may have more, as a shell's `ulimit -S` does.
    for hard in [true, false] {
        let mut ran_at_last = false;
        for most in (4..36).chain([48, 64]) {
            let limit = match hard {
                true => format!("--nofile={most}:{most}"),
                false => format!("--nofile={most}:"),
            };
            let output = limited(&limit, false);
            // The loader of belljar itself opens its libraries.
            let words = [
                "Too many open files",
                "error while loading shared libraries",
            ];
            ran_at_last = ran(&output, &limit, &words);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if said.contains("Too many open files") {
                assert!(said.contains("`ulimit -n 1024`"), "{limit}: {said}");
            }
        }
        assert!(ran_at_last, "64 are enough");
    }
}

#[test]
fn with_few_processes_a_run_is_one_or_says_that_they_are_lacking() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let mut all = Vec::new();
    for most in (1..14).chain([64]) {
        let limit = format!("--nproc={most}:{most}");
        let output = limited(&limit, true);
        let words = ["Resource temporarily unavailable"];
        all.push(ran(&output, &limit, &words));
        if all.last() == Some(&false) {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("`ulimit -u 4096`"), "{limit}: {said}");
        }
    }
    assert_eq!((all.first(), all.last()), (Some(&false), Some(&true)));
}

fn root(script: &str) -> VmCommand {
    VmCommand::root(["sh", "-c", script]).within(Duration::from_secs(60))
}

/// A clock that is set moves no limit: what a jar is held to is time that passes.
#[test]
fn a_clock_that_jumps_ends_no_jar_early_and_keeps_none() {
    let kernel = KernelName::Bookworm61;
    if !need(Need::Kernel(kernel)) {
        return;
    }
    let day = 24 * 3600;
    let jump = |by: i64, words: &str| {
        root(&format!(
            "(sleep 3; date -s @$(($(date +%s) + {by})) > /dev/null && echo jumped >&2) & \
             belljar run --no-record --report /tmp/report {words} >&2; cat /tmp/report; rm -f /tmp/report; wait; \
             date -s @$(($(date +%s) - {by})) > /dev/null"
        ))
    };
    let results = vm().on(kernel).run(&[
        jump(day, "--wall 30s --cpu-time 30s -- sleep 6"),
        jump(-day, "--wall 6s -- sleep 40"),
    ]);
    let reports: Vec<Value> = results
        .iter()
        .map(|result| {
            assert_eq!(result.end, VmEnd::Exited(0), "{result:?}");
            let said = String::from_utf8_lossy(&result.stderr).into_owned();
            assert!(said.contains("jumped"), "{said}");
            serde_json::from_slice(&result.stdout).unwrap_or_else(|_| panic!("{result:?}"))
        })
        .collect();
    assert_eq!(reports[0]["outcome"]["kind"], "exited", "{:?}", results[0]);
    assert_eq!(reports[1]["outcome"]["limit"], "wall", "{:?}", results[1]);
    for report in &reports {
        let wall = report["usage"]["wall_ns"].as_u64().expect("a number");
        let seconds = wall / 1_000_000_000;
        assert!((5..40).contains(&seconds), "{seconds} s");
    }
}

/// The tasks that a cgroup above may have are used up.
#[test]
fn a_full_table_of_tasks_is_told_and_nothing_is_left() {
    let kernel = KernelName::Bookworm61;
    if !need(Need::Kernel(kernel)) {
        return;
    }
    let script = "mkdir /sys/fs/cgroup/full && echo $$ > /sys/fs/cgroup/full/cgroup.procs; \
                  for most in 3 4 5 6 7 8 9 10; do echo $most > /sys/fs/cgroup/full/pids.max; \
                  timeout 20 belljar run --no-record -- /usr/bin/echo ran 2>&1; echo \"status $?\"; done; \
                  echo max > /sys/fs/cgroup/full/pids.max; sleep 1; \
                  cat /proc/[0-9]*/comm 2> /dev/null | grep -c '^belljar'; find /sys/fs/cgroup -name 'belljar-jar-*' | wc -l";
    let results = vm().on(kernel).run(&[root(script)]);
    let text = results[0].text();
    let (runs, left) = text.rsplit_once("status ").expect("statuses");
    assert!(left.ends_with("\n0\n0\n"), "{:?}", results[0]);
    let mut failed = 0;
    for run in runs.split("status ") {
        if run.contains("ran\n") {
            // What ran has not failed to be set up.
            assert!(!run.contains("set-up failed"), "{run}");
            continue;
        }
        failed += 1;
        let told = ["Resource temporarily unavailable", "can't fork"];
        assert!(told.iter().any(|words| run.contains(words)), "{run}");
        assert!(!run.contains("panicked"), "{run}");
    }
    assert!(failed > 0, "{text}");
}
