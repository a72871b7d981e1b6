//! `belljar confine`: what it starts is held, with its children, and one harmless thing of
//! each rule is refused there that the same program does without.
#![cfg(target_os = "linux")]

use std::{
    fs::{self, File},
    io::Write as _,
    os::{
        fd::AsRawFd as _,
        unix::{net::UnixListener, process::ExitStatusExt as _},
    },
    path::Path,
    process::{Command, Output, Stdio},
};

use belljar_plan::{Confined, Rule, Strength};
use belljar_tests::{Need, bare, belljar, guest, need, output};
use rustix::io::{FdFlags, fcntl_setfd};

fn confine(words: &[&str]) -> Command {
    let mut command = Command::new(belljar());
    command.arg("confine").args(words).stdin(Stdio::null());
    command
}

fn stdout(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Runs it, and holds it to have ended so with a word of belljar's.
fn fails(words: &[&str], status: i32, word: &str) {
    let out = output(&mut confine(words));
    assert_eq!(out.status.code(), Some(status), "{words:?}: {out:?}");
    let said = stderr(&out);
    assert!(said.starts_with("belljar: "), "{words:?}: {said}");
    assert!(said.contains(word), "{words:?}: no `{word}`: {said}");
    assert_eq!(stdout(&out), "", "{words:?}");
}

/// The answers of a guest that tries things, without and with belljar around it.
fn tried(flags: &[&str], questions: &[String]) -> Vec<(String, String)> {
    let guest = guest().to_str().expect("a path of text");
    let words = [&["try_all".to_owned()], questions].concat();
    let without = bare(&words).stdout;
    let mut command = confine(flags);
    let out = output(command.args(["--", guest]).args(&words));
    assert!(out.status.success(), "{out:?}");
    let with = stdout(&out);
    let answers = without.lines().zip(with.lines());
    let answers: Vec<_> = answers
        .map(|(without, with)| (without.to_owned(), with.to_owned()))
        .collect();
    assert_eq!(answers.len(), questions.len(), "{without}\n{with}");
    answers
}

fn call(name: &str, arguments: &str) -> String {
    let known = belljar::policy::seccomp::Call::named(name).expect("a call");
    let machine = rustix::system::uname();
    let machine = machine.machine().to_string_lossy().into_owned();
    let architecture = belljar::policy::seccomp::Architecture::of_machine(&machine);
    let number = known.number(architecture.expect("a known machine"));
    format!("call={},{arguments}", number.expect("a number"))
}

const EPERM: &str = "errno 1";
const EACCES: &str = "errno 13";

#[test]
fn each_rule_refuses_what_the_same_program_does_without() {
    let room = tempfile::tempdir().expect("a directory");
    let own = room.path().join("own");
    fs::write(&own, "x").expect("a file");
    let own = own.to_str().expect("text");
    let cases = [
        // files
        ("read=/etc/passwd".to_owned(), EACCES),
        (format!("write={own}"), EACCES),
        // sockets: a unix socket by which others could be reached
        (call("socket", "1,1,0"), EPERM),
        // syscalls: `ADDR_NO_RANDOMIZE`
        (call("personality", "262144"), EPERM),
        // exec
        ("exec=/bin/true".to_owned(), EPERM),
        // writable_code: memory that is readable, writable and executable, private
        (call("mmap", "0,4096,7,34,-1,0"), EPERM),
    ];
    let questions: Vec<String> = cases.iter().map(|(question, _)| question.clone()).collect();
    for ((question, errno), (without, with)) in cases.iter().zip(tried(&[], &questions)) {
        assert!(
            without.starts_with("ok"),
            "no control: {question}: {without}"
        );
        assert_eq!(with, *errno, "{question}");
    }
}

#[test]
fn no_namespace_is_made_by_what_is_confined() {
    if !need(Need::UserNamespaces) {
        return;
    }
    // A user namespace of the guest's own, which takes no capability and is gone with it.
    let question = [call("unshare", "268435456")];
    let answers = tried(&["--preset", "minimal"], &question);
    let (without, with) = &answers[0];
    assert!(without.starts_with("ok"), "no control: {without}");
    assert_eq!(with, EPERM);
}

#[test]
fn minimal_lets_all_be_read_but_secrets_and_nothing_be_written() {
    let home = tempfile::tempdir().expect("a directory");
    let keys = home.path().join(".ssh");
    fs::create_dir(&keys).expect("a directory");
    fs::write(keys.join("id"), "secret").expect("a file");
    fs::write(home.path().join("notes"), "open").expect("a file");
    let script = "cat $HOME/notes; cat $HOME/.ssh/id; echo x >$HOME/new; cat /etc/hostname >/dev/null && echo read";
    let run = |mut command: Command| output(command.env("HOME", home.path()));
    let mut shell = Command::new("sh");
    shell.args(["-c", script]);
    let without = stdout(&run(shell));
    assert_eq!(without, "opensecretread\n");
    assert!(home.path().join("new").exists());
    fs::remove_file(home.path().join("new")).expect("it is there");

    let out = run(confine(&["--preset", "minimal", "--", "sh", "-c", script]));
    // Children of the shell say so: they are held the same.
    assert_eq!(stdout(&out), "openread\n", "{out:?}");
    assert!(!home.path().join("new").exists());
    assert!(
        stderr(&out).contains("/.ssh/id: Permission denied"),
        "{out:?}"
    );

    // What is granted by its name in there is, and nothing beside it.
    fs::write(keys.join("known"), "known").expect("a file");
    let known = keys.join("known");
    let flags = [
        "--preset",
        "minimal",
        "--read",
        known.to_str().expect("text"),
    ];
    let script = ["--", "sh", "-c", "cat $HOME/.ssh/known $HOME/.ssh/id"];
    let out = run(confine(&[&flags[..], &script].concat()));
    assert_eq!(stdout(&out), "known", "{out:?}");
}

#[test]
fn what_is_granted_is_read_and_written() {
    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().to_str().expect("text");
    fs::write(room.path().join("in"), "b\na\n").expect("a file");
    let input = format!("{path}/in");
    let out = output(&mut confine(&["--read", &input, "--", "sort", &input]));
    assert_eq!(stdout(&out), "a\nb\n", "{out:?}");
    fs::create_dir(room.path().join("out")).expect("a directory");
    let script = format!("sort {input} >{path}/out/sorted; echo x >{path}/beside");
    let granted = format!("{path}/out");
    let flags = [
        "--preset", "minimal", "--write", &granted, "--", "sh", "-c", &script,
    ];
    let out = output(&mut confine(&flags));
    let sorted = fs::read_to_string(room.path().join("out/sorted"));
    assert_eq!(sorted.expect("it was made"), "a\nb\n", "{out:?}");
    assert!(!room.path().join("beside").exists());
}

#[test]
fn only_streams_and_what_is_kept_are_inherited() {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(b"kept").expect("room in a pipe");
    drop(writer);
    let other = File::open("/etc/passwd").expect("a file");
    fcntl_setfd(&reader, FdFlags::empty()).expect("a flag");
    fcntl_setfd(&other, FdFlags::empty()).expect("a flag");
    let (kept, left) = (
        reader.as_raw_fd().to_string(),
        other.as_raw_fd().to_string(),
    );
    let script = format!("cat <&{kept}; (: <&{left}) 2>/dev/null && echo open; true");
    let mut shell = Command::new("sh");
    let without = output(shell.args(["-c", &format!("(: <&{left}) && echo open")]));
    assert_eq!(stdout(&without), "open\n", "{without:?}");
    let flags = [
        "--preset",
        "minimal",
        "--keep-fd",
        &kept,
        "--",
        "sh",
        "-c",
        &script,
    ];
    let out = output(&mut confine(&flags));
    assert_eq!(stdout(&out), "kept", "{out:?}");
    fails(
        &["--keep-fd", "300", "--", "true"],
        125,
        "--keep-fd 300: it is not open",
    );
    fails(
        &["--keep-fd", &left, "--preset", "standard", "--", "true"],
        125,
        "no preset",
    );
    let room = File::open("/").expect("a directory");
    fcntl_setfd(&room, FdFlags::empty()).expect("a flag");
    let directory = room.as_raw_fd().to_string();
    fails(&["--keep-fd", &directory, "--", "true"], 125, "a way out");
}

#[test]
fn limits_hold_for_each_process() {
    let script = "ulimit -Hn; ulimit -n; (ulimit -n 4096) 2>/dev/null && echo raised; ulimit -f";
    let flags = [
        "--preset",
        "minimal",
        "--open-files",
        "32",
        "--file-size",
        "1MiB",
        "--",
        "sh",
        "-c",
        script,
    ];
    let out = output(&mut confine(&flags));
    assert_eq!(stdout(&out), "32\n32\n2048\n", "{out:?}");

    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().to_str().expect("text");
    let file = format!("of={path}/f");
    let write = ["dd", "if=/dev/zero", &file, "bs=1024", "count=2048"];
    let mut without = Command::new(write[0]);
    assert!(output(without.args(&write[1..])).status.success());
    let mut words = vec![
        "--preset",
        "minimal",
        "--file-size",
        "1MiB",
        "--write",
        path,
        "--",
    ];
    words.extend(write);
    let out = output(&mut confine(&words));
    assert_eq!(out.status.signal(), Some(25), "SIGXFSZ: {out:?}");
    let written = fs::metadata(room.path().join("f")).expect("a file");
    assert_eq!(written.len(), 1 << 20);
}

fn report_of(flags: &[&str]) -> Confined {
    let room = tempfile::tempdir().expect("a directory");
    let file = room.path().join("r.json");
    let mut words = vec!["--report", file.to_str().expect("text")];
    words.extend(flags);
    words.extend(["--", "true"]);
    let out = output(&mut confine(&words));
    assert!(out.status.success(), "{out:?}");
    serde_json::from_slice(&fs::read(&file).expect("a report")).expect("its form")
}

#[test]
fn the_report_lists_every_rule_and_is_there_before_the_start() {
    let report = report_of(&["--require", "files=kernel"]);
    let told: Vec<Rule> = report.enforcement.iter().map(|row| row.rule).collect();
    assert_eq!(told, Rule::ALL);
    for row in &report.enforcement {
        assert_eq!(row.applied, row.planned.strength, "{row:?}");
        let outside = row.planned.mechanism == "not in confine";
        assert_eq!(outside, row.applied == Strength::None, "{row:?}");
    }
    let files = report
        .enforcement
        .iter()
        .find(|row| row.rule == Rule::Files);
    assert_eq!(files.expect("a row").requested, Strength::Kernel);
    // To a descriptor as well, which the program does not get.
    let (mut told, to) = std::io::pipe().expect("a pipe");
    fcntl_setfd(&to, FdFlags::empty()).expect("a flag");
    let number = to.as_raw_fd().to_string();
    let script = format!("(: >&{number}) 2>/dev/null && echo open; true");
    let flags = [
        "--preset",
        "minimal",
        "--report",
        &format!("fd:{number}"),
        "--",
        "sh",
        "-c",
        &script,
    ];
    let out = output(&mut confine(&flags));
    assert_eq!(stdout(&out), "", "{out:?}");
    drop(to);
    let report: Confined = serde_json::from_reader(&mut told).expect("a report");
    assert_eq!(report.preset, belljar_plan::Preset::Minimal);
}

#[test]
fn a_report_from_before_stays_where_nothing_is_started_and_is_replaced_else() {
    let room = tempfile::tempdir().expect("a directory");
    let report = room.path().join("r.json");
    let other = room.path().join("other");
    fs::write(&report, "before").expect("a file");
    fs::hard_link(&report, &other).expect("another name");
    let file = report.to_str().expect("text");
    let policy = room.path().join("policy.toml");
    for (flags, word) in [
        (&["--preset", "standard"][..], "no preset"),
        (&["--keep-fd", "300"], "it is not open"),
        (&["--policy", policy.to_str().expect("text")], "policy.toml"),
    ] {
        let flags = [&["--report", file], flags, &["--", "true"]].concat();
        fails(&flags, 125, word);
        let kept = fs::read_to_string(&report).expect("it is there");
        assert_eq!(kept, "before", "{flags:?}");
    }
    let started = ["--report", file, "--", "true"];
    assert!(output(&mut confine(&started)).status.success());
    let told: Confined =
        serde_json::from_slice(&fs::read(&report).expect("a report")).expect("its form");
    assert_eq!(told.enforcement.len(), Rule::ALL.len());
    // It was put in the place of the other, which is as it was.
    assert_eq!(fs::read_to_string(&other).expect("it is there"), "before");
    let mut all: Vec<_> = fs::read_dir(room.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    all.sort();
    assert_eq!(all, ["other", "r.json"]);
    fails(
        &["--report", "/no/such/place/r.json", "--", "true"],
        125,
        "cannot write the report to `/no/such/place/r.json`",
    );
    let socket = room.path().join("socket");
    let _bound = UnixListener::bind(&socket).expect("a socket");
    let socket = socket.to_str().expect("text");
    fails(
        &["--report", socket, "--", "true"],
        125,
        "not a regular file",
    );
}

#[test]
fn a_number_that_is_closed_is_not_kept_since_belljar_opened_it() {
    let room = tempfile::tempdir().expect("a directory");
    let report = room.path().join("r.json");
    let file = report.to_str().expect("text");
    // Whatever other tests leave open is closed.
    let script = "exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9>/dev/null; exec \"$@\"";
    for number in ["3", "4", "5", "6", "7", "8"] {
        for report in [file, "fd:9"] {
            let mut shell = Command::new("sh");
            shell.args(["-c", script, "sh"]).arg(belljar());
            shell.args(["confine", "--report", report, "--keep-fd", number, "true"]);
            let out = output(&mut shell);
            assert_eq!(out.status.code(), Some(125), "{number} {report}: {out:?}");
            let said = stderr(&out);
            assert!(said.contains("it is not open"), "{number} {report}: {said}");
        }
    }
}

#[test]
fn statuses_are_those_of_run() {
    let room = tempfile::tempdir().expect("a directory");
    let bad = room.path().join("bad");
    fs::write(&bad, "no program").expect("a file");
    let bad = bad.to_str().expect("text").to_owned();
    fails(&["--", &bad], 126, "cannot be started");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(Path::new(&bad), mode).expect("it is ours");
    fails(&["--", &bad], 126, "Exec format error");
    fails(
        &["--", "no-such-program"],
        127,
        "there is no program `no-such-program` in /",
    );
    fails(&["--", "/no/such/program"], 127, "there is no program");
    for status in ["0", "7"] {
        let guest = guest().to_str().expect("text");
        let out = output(&mut confine(&["--", guest, "exit", status]));
        assert_eq!(
            out.status.code().map(|code| code.to_string()).as_deref(),
            Some(status)
        );
        assert_eq!(stderr(&out), "");
    }
    fails(&[], 125, "nothing to run");
    fails(&["--"], 125, "`belljar confine -- PROGRAM`");
    fails(&["--preset", "nonsense", "--", "true"], 125, "nonsense");
    fails(&["--memory", "1GiB", "--", "true"], 125, "--memory");
}

#[test]
fn what_is_refused_starts_nothing() {
    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().to_str().expect("text");
    let script = format!("echo x >{path}/began");
    let program = ["--", "sh", "-c", &script];
    let policy = room.path().join("policy.toml");
    fs::write(
        &policy,
        "preset = \"minimal\"\n[limits]\nmemory = \"1GiB\"\n",
    )
    .expect("a file");
    let file = policy.to_str().expect("text");
    for (flags, word) in [
        (&["--preset", "standard"][..], "`minimal` or `strict`"),
        (&["--require", "network=kernel"], "it is not in confine"),
        (&["--require", "memory=supervisor"], "it is not in confine"),
        (&["--policy", file], "`memory`"),
        (&["--write", path], "rule writable_code"),
    ] {
        fails(&[flags, &program[..]].concat(), 125, word);
        assert!(!room.path().join("began").exists(), "{flags:?}");
    }
    let flags = ["--preset", "minimal", "--write", path];
    output(&mut confine(&[&flags[..], &program[..]].concat()));
    assert!(room.path().join("began").exists(), "no control");
}
