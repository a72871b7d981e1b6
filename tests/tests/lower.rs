//! The lower tier, on a machine made for it: user namespaces are refused, and a
//! program runs by Landlock, a filter and rlimits alone; unshare(1).
#![cfg(target_os = "linux")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    time::Duration,
};

use belljar_plan::{Outcome, Report, Rule, Strength};
use belljar_tests::{
    Need, alive, command_line, descendants, kill, need, wait_until, without_namespaces,
};
use rustix::process::Signal;
use tempfile::TempDir;

const ACCEPTED: [Rule; 6] = [
    Rule::Files,
    Rule::Tasks,
    Rule::Privileges,
    Rule::KernelInfo,
    Rule::Cleanup,
    Rule::Processes,
];

/// `belljar run` as an ordinary user who may make no user namespace.
fn refused_namespaces(words: &[&str]) -> Command {
    without_namespaces([&["run"], words].concat())
}

/// A directory that the jar's user may write to.
fn room() -> TempDir {
    let room = tempfile::tempdir().expect("a directory");
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o777)).expect("its mode");
    room
}

fn accepted(room: &TempDir, program: &[&str]) -> (Vec<String>, std::path::PathBuf) {
    let report = room.path().join("report.json");
    let mut words: Vec<String> = ACCEPTED
        .iter()
        .flat_map(|rule| ["--best-effort".to_owned(), rule.to_string()])
        .collect();
    words.extend(["--write".to_owned(), room.path().display().to_string()]);
    words.extend(["--report".to_owned(), report.display().to_string()]);
    words.push("--".to_owned());
    words.extend(program.iter().map(|word| (*word).to_owned()));
    (words, report)
}

fn run(room: &TempDir, program: &[&str]) -> (std::process::Output, Report) {
    let (words, report) = accepted(room, program);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = belljar_tests::output(&mut refused_namespaces(&words));
    let report = fs::read(&report).unwrap_or_else(|error| panic!("{error}: {output:#?}"));
    (output, serde_json::from_slice(&report).expect("a report"))
}

#[test]
fn without_a_word_of_the_operator_s_nothing_runs_and_the_words_are_named() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let output = belljar_tests::output(&mut refused_namespaces(&["--", "echo", "ran"]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{output:#?}");
    assert!(output.stdout.is_empty(), "{output:#?}");
    assert!(said.contains("or run it without namespaces"), "{said}");
    for rule in ACCEPTED {
        assert!(said.contains(&format!("--best-effort {rule}")), "{said}");
    }
}

/// Without namespaces there is a listener all the same.
#[test]
fn what_its_calls_name_is_looked_at_there_too() {
    if !need(Need::UserNamespaces) || !need(Need::Python) {
        return;
    }
    let room = room();
    let (words, report) = accepted(
        &room,
        &[
            "/usr/bin/python3",
            "-c",
            "import os
try: os.listdir('/home')
except OSError as error: print(error.errno)",
        ],
    );
    let words: Vec<&str> = ["--observe"]
        .into_iter()
        .chain(words.iter().map(String::as_str))
        .collect();
    let output = belljar_tests::output(&mut refused_namespaces(&words));
    assert_eq!(output.stdout, b"13\n", "{output:#?}");
    let report: Report =
        serde_json::from_slice(&fs::read(report).expect("a report")).expect("JSON");
    let rows = report.observations.expect("it is observed").rows;
    assert!(rows.iter().any(|row| row.name.0 == b"/home"), "{rows:#?}");
}

#[test]
fn what_is_accepted_runs_and_opens_nothing_but_what_is_granted() {
    if !need(Need::UserNamespaces) || !need(Need::Python) {
        return;
    }
    let room = room();
    let script = "
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, what):
    try: what(); print(name, 'done')
    except OSError as error: print(name, errno.errorcode[error.errno])
attempt('granted', lambda: open(sys.argv[1] + '/file', 'w').write('x'))
attempt('moved', lambda: (os.mkdir(sys.argv[1] + '/d'), os.rename(sys.argv[1] + '/file', sys.argv[1] + '/d/file')))
attempt('system', lambda: os.listdir('/usr'))
attempt('program', lambda: os.system('true') == 0 or sys.exit(1))
attempt('root', lambda: os.listdir('/'))
attempt('home', lambda: os.listdir('/home'))
attempt('temporary', lambda: open('/tmp/belljar-lower', 'w'))
attempt('shared', lambda: open('/dev/shm/belljar-lower', 'w'))
attempt('terminal', lambda: open('/dev/tty'))
attempt('internet', lambda: socket.socket())
attempt('unix', lambda: socket.socket(socket.AF_UNIX))
attempt('pair', socket.socketpair)
attempt('outside', lambda: os.kill(os.getppid(), 0))
attempt('namespace', lambda: libc.unshare(0x10000000) == 0 or (_ for _ in ()).throw(OSError(ctypes.get_errno(), '')))
";
    let directory = room.path().display().to_string();
    let (output, report) = run(&room, &["/usr/bin/python3", "-c", script, &directory]);
    let expected = "granted done\nmoved done\nsystem done\nprogram done\nroot EACCES\nhome EACCES\ntemporary EACCES\n\
        shared EACCES\nterminal EACCES\ninternet EPERM\nunix EPERM\npair done\noutside EPERM\nnamespace EPERM\n";
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        expected,
        "{output:#?}"
    );
    assert_eq!(report.outcome, Outcome::Exited { code: 0 });
    assert!(
        report.weakenings[0].starts_with("no namespaces, since "),
        "{report:#?}"
    );
    for rule in &report.enforcement {
        let lost = ACCEPTED.contains(&rule.rule);
        if rule.requested == Strength::Kernel {
            assert_eq!(rule.applied < Strength::Kernel, lost, "{rule:#?}");
        }
    }
    let denied: Vec<Rule> = report.violations.iter().map(|row| row.rule).collect();
    assert_eq!(
        denied,
        [Rule::Network, Rule::Sockets, Rule::Nesting],
        "{report:#?}"
    );
}

/// Tasks that bear this word.
fn left(word: &str) -> Vec<i32> {
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| command_line(*pid).contains(word) && alive(*pid))
        .collect()
}

/// Leaves tasks behind that nobody is the parent of, in sessions of their own.
fn staying(word: &str, then: &str) -> String {
    format!(
        "for i in 1 2 3 4 5; do setsid -f sh -c 'setsid -f sleep 300; sleep 300' {word}; done; echo ready; {then}"
    )
}

#[test]
fn nothing_outlives_a_jar_without_namespaces() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let room = room();
    let word = format!("lower-end-{}", std::process::id());
    let (output, report) = run(&room, &["/bin/sh", "-c", &staying(&word, "exit 3")]);
    assert_eq!(report.outcome, Outcome::Exited { code: 3 }, "{output:#?}");
    assert_eq!(left(&word), [0; 0]);
}

#[test]
fn nor_one_whose_supervisor_launcher_or_first_process_is_killed() {
    if !need(Need::UserNamespaces) {
        return;
    }
    for victim in ["supervisor", "launcher", "first", "stopped"] {
        let room = room();
        let word = format!("lower-{victim}-{}", std::process::id());
        let (words, _) = accepted(&room, &["/bin/sh", "-c", &staying(&word, "sleep 300")]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut child = belljar_tests::spawn(refused_namespaces(&words).stdout(Stdio::piped()));
        let belljar = i32::try_from(child.id()).expect("a pid");
        wait_until(&format!("the tasks, {victim}"), || {
            (left(&word).len() >= 5).then_some(())
        });
        let below = descendants(belljar);
        match victim {
            "supervisor" => kill(belljar, Signal::KILL),
            "stopped" => kill(belljar, Signal::TERM),
            "launcher" => kill(belljar_tests::children(belljar)[0], Signal::KILL),
            _ => kill(
                belljar_tests::children(belljar_tests::children(belljar)[0])[0],
                Signal::KILL,
            ),
        }
        wait_until(&format!("the end of all, {victim}"), || {
            std::thread::sleep(Duration::from_millis(20));
            (left(&word).is_empty() && below.iter().all(|pid| !alive(*pid))).then_some(())
        });
        let _ = child.wait();
    }
}
