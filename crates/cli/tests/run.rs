//! `belljar run` from outside: streams, statuses, signals, reports, terminals.
//! What holds inside a jar is the business of the tests in `tests/`.
#![cfg(target_os = "linux")]

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use belljar_policy::data::{Limit, Outcome, Report, outcome::StoppedBy};
use belljar_tests::{Need, is_root, need};
use rustix::process::{Pid, Signal, kill_process};

/// Jars can be had: root always may, others need user namespaces.
fn jars() -> bool {
    is_root() || need(Need::UserNamespaces)
}

fn belljar() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_belljar"));
    command.arg("run").stdin(Stdio::null());
    command
}

fn shell(script: &str) -> Command {
    let mut command = belljar();
    command.args(["--", "/bin/sh", "-c", script]);
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // Aside: the program's answer has to be read while it is still being asked.
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

fn report(path: &Path) -> Report {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits until the child has written a line to stdout.
fn first_line(child: &mut Child) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    let stdout = child.stdout.as_mut().unwrap();
    while stdout.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

fn end_within(child: &mut Child, time: Duration) -> ExitStatus {
    let end = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("no end within {time:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_example_plugin_counts_what_it_reads_and_belljar_is_silent() {
    if !jars() {
        return;
    }
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/wordcount");
    for plugin in [example.to_owned(), format!("{example}/belljar.toml")] {
        let output = with_input(belljar().arg(plugin), "one two\nthree\n");
        assert_eq!(text(&output.stderr), "");
        assert_eq!(text(&output.stdout), "2 lines, 3 words, 14 bytes\n");
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn the_program_s_status_and_signal_are_belljar_s_status_without_a_word() {
    if !jars() {
        return;
    }
    for (script, status) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
    ] {
        let output = shell(script).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{script}: {output:?}");
        assert_eq!(text(&output.stderr), "", "{script}");
    }
}

#[test]
fn what_cannot_start_is_told_in_one_line_with_its_status() {
    if !jars() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    fs::write(&plain, "no program").unwrap();
    for (program, status, word) in [
        (
            "no-such-program",
            127,
            "there is no program `no-such-program` in /",
        ),
        (
            "/no/such/program",
            127,
            "there is no program `/no/such/program`",
        ),
        (plain.to_str().unwrap(), 126, "cannot be started: "),
    ] {
        let output = belljar().args(["--", program]).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{program}: {stderr}");
        assert!(stderr.starts_with("belljar: "), "{stderr}");
        assert!(stderr.contains(word), "{stderr}");
        assert!(stderr.lines().count() <= 2, "{stderr}");
    }
}

#[test]
fn a_limit_ends_the_jar_with_124_and_says_which() {
    if !jars() {
        return;
    }
    let output = belljar()
        .args(["--wall", "200ms", "--", "sleep", "60"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(124), "{output:?}");
    assert_eq!(
        text(&output.stderr),
        "belljar: limit reached: wall, 200 ms (--wall)\n\
         belljar: remedy: if it may have more, say so: `--wall 400ms`\n"
    );
}

#[test]
fn everything_that_was_said_reaches_the_program() {
    if !jars() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("in.txt"), "read me\n").unwrap();
    fs::create_dir(directory.path().join("out")).unwrap();
    let output = belljar()
        .current_dir(directory.path())
        .args(["--read", "in.txt:/data/in.txt", "--write", "out"])
        .args(["--env", "A=b=c", "--hostname", "bell", "--user", "7:8"])
        .args(["--workdir", "out", "--pass-env", "PASSED"])
        .env("PASSED", "on")
        .args(["--", "/bin/sh", "-c"])
        .arg("cat /data/in.txt > copy; echo $A $PASSED $(uname -n) $(id -u):$(id -g) \"$@\"")
        .args(["sh", "--", "-x", "a b"])
        .output()
        .unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), "b=c on bell 7:8 -- -x a b\n");
    let copy = fs::read_to_string(directory.path().join("out/copy")).unwrap();
    assert_eq!(copy, "read me\n");
}

#[test]
fn streams_are_relayed_whole_and_apart() {
    if !jars() {
        return;
    }
    let lines = "0123456789abcdef\n".repeat(1 << 16);
    let output = with_input(&mut shell("cat; echo apart >&2"), &lines);
    assert_eq!(output.stdout.len(), lines.len());
    assert!(text(&output.stdout) == lines);
    assert_eq!(text(&output.stderr), "apart\n");
}

#[test]
fn streams_that_are_closed_at_the_start_do_no_harm() {
    if !jars() {
        return;
    }
    let belljar = env!("CARGO_BIN_EXE_belljar");
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let status = Command::new("/bin/sh")
            .arg("-c")
            .arg(format!(
                "exec '{belljar}' run -- /bin/sh -c 'exit 7' {closed}"
            ))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(7), "{closed}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_program_and_not_in_a_panic() {
    if !jars() {
        return;
    }
    let belljar = env!("CARGO_BIN_EXE_belljar");
    let output = Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("'{belljar}' run --wall 20s -- yes | head -n 1"))
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "y\n");
    assert!(!text(&output.stderr).contains("panic"), "{output:?}");
    assert!(!text(&output.stderr).contains("limit"), "{output:?}");
}

#[test]
fn a_signal_reaches_the_program_and_its_number_is_the_status() {
    if !jars() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    for (sent, number) in [(Signal::TERM, 15), (Signal::INT, 2), (Signal::HUP, 1)] {
        let mut child = belljar()
            .arg("--report")
            .arg(&file)
            .args(["--", "/bin/sh", "-c"])
            .arg("trap 'echo told; exit 0' TERM INT HUP; echo ready; while :; do sleep 0.05; done")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(first_line(&mut child), "ready");
        signal(&child, sent);
        assert_eq!(first_line(&mut child), "told");
        let status = end_within(&mut child, Duration::from_secs(4));
        assert_eq!(status.code(), Some(128 + number));
        assert_eq!(
            report(&file).outcome,
            Outcome::Stopped {
                by: StoppedBy::Signal(number),
                grace_used: false
            }
        );
    }
}

#[test]
fn a_program_that_ignores_the_signal_is_destroyed_after_the_grace() {
    if !jars() {
        return;
    }
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = belljar()
        .args(["--grace", "300ms", "--", "/bin/sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(first_line(&mut child), "ready");
    let start = Instant::now();
    signal(&child, Signal::TERM);
    let status = end_within(&mut child, Duration::from_secs(4));
    assert_eq!(status.code(), Some(143));
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_second_signal_does_not_wait_for_the_grace() {
    if !jars() {
        return;
    }
    let script = "trap 'echo told' INT; echo ready; while :; do sleep 0.05; done";
    let mut child = belljar()
        .args(["--grace", "60s", "--", "/bin/sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(first_line(&mut child), "ready");
    signal(&child, Signal::INT);
    assert_eq!(first_line(&mut child), "told");
    signal(&child, Signal::INT);
    let status = end_within(&mut child, Duration::from_secs(4));
    assert_eq!(status.code(), Some(130));
}

#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    if !jars() {
        return;
    }
    let belljar = env!("CARGO_BIN_EXE_belljar");
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(format!(
            "trap '' HUP; exec '{belljar}' run -- /bin/sh -c 'echo ready; sleep 0.5; exit 5'"
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(first_line(&mut child), "ready");
    signal(&child, Signal::HUP);
    let status = end_within(&mut child, Duration::from_secs(5));
    assert_eq!(status.code(), Some(5));
}

#[test]
fn a_report_goes_to_a_file_or_a_descriptor_with_the_task_s_name() {
    if !jars() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    let belljar = env!("CARGO_BIN_EXE_belljar");
    for target in [file.to_str().unwrap(), "fd:7"] {
        let status = Command::new("/bin/sh")
            .arg("-c")
            .arg(format!(
                "exec '{belljar}' run --task 'my run' --report {target} --cpu-time 9s -- true {}",
                if target == "fd:7" {
                    format!("7>'{}'", file.display())
                } else {
                    String::new()
                }
            ))
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(0), "{target}");
        let report = report(&file);
        assert_eq!(report.outcome, Outcome::Exited { code: 0 });
        assert_eq!(report.task.as_deref(), Some("my run"));
        let limit = report.limits.iter().find(|set| set.limit == Limit::CpuTime);
        assert_eq!(limit.unwrap().hard, Some(9_000_000_000));
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn tracing_is_said_in_belljar_s_voice_and_only_when_asked_for() {
    if !jars() {
        return;
    }
    let output = belljar().args(["-v", "--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    for word in [
        "the program runs",
        "rule=files strength=kernel",
        "has ended",
    ] {
        assert!(text(&output.stderr).contains(word), "{output:?}");
    }
    for line in text(&output.stderr).lines() {
        assert!(line.starts_with("belljar: "), "{line}");
    }
    let output = belljar()
        .args(["--", "true"])
        .env("BELLJAR_LOG", "belljar=[")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).starts_with("belljar: BELLJAR_LOG: "));
}

/// A terminal of the test's own: the side that plays the operator, and the
/// side that belljar gets.
fn terminal() -> (File, OwnedFd) {
    use rustix::{
        fs::{Mode, OFlags, open},
        pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
        termios::{Winsize, tcsetwinsize},
    };
    let operator = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&operator).unwrap();
    unlockpt(&operator).unwrap();
    let name = ptsname(&operator, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let belljar = open(name.as_c_str(), flags, Mode::empty()).unwrap();
    let size = Winsize {
        ws_row: 33,
        ws_col: 99,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&operator, size).unwrap();
    (operator.into(), belljar)
}

fn read_until(operator: &mut File, word: &str) -> String {
    let mut shown = Vec::new();
    let mut part = [0; 256];
    while !String::from_utf8_lossy(&shown).contains(word) {
        // Where belljar ended without the word, the terminal's last holder is this test.
        let mut ready = [rustix::event::PollFd::new(
            &*operator,
            rustix::event::PollFlags::IN,
        )];
        let patience = rustix::time::Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        let count = rustix::event::poll(&mut ready, Some(&patience)).unwrap();
        assert_eq!(count, 1, "{}", String::from_utf8_lossy(&shown));
        let count = operator.read(&mut part).unwrap();
        shown.extend_from_slice(&part[..count]);
    }
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn a_jar_s_terminal_has_the_size_of_the_operator_s_which_is_restored() {
    use rustix::termios::{LocalModes, tcgetattr};
    if !jars() {
        return;
    }
    let (mut operator, slave) = terminal();
    let before = tcgetattr(&slave).unwrap();
    assert!(before.local_modes.contains(LocalModes::ECHO));
    let mut child = belljar()
        .args(["--tty", "--", "/bin/sh", "-c"])
        .arg("stty size; tty; read line; echo got $line")
        .stdin(slave.as_fd().try_clone_to_owned().unwrap())
        .stdout(slave.as_fd().try_clone_to_owned().unwrap())
        .stderr(slave.as_fd().try_clone_to_owned().unwrap())
        .spawn()
        .unwrap();
    let seen = read_until(&mut operator, "/dev/pts/");
    assert!(seen.contains("33 99"), "{seen}");
    let raw = tcgetattr(&slave).unwrap();
    assert!(!raw.local_modes.contains(LocalModes::ECHO));
    operator.write_all(b"a line\r").unwrap();
    read_until(&mut operator, "got a line");
    let status = end_within(&mut child, Duration::from_secs(10));
    assert_eq!(status.code(), Some(0));
    assert_eq!(status.signal(), None);
    let after = tcgetattr(&slave).unwrap();
    assert_eq!(after.local_modes, before.local_modes);
    assert_eq!(after.input_modes, before.input_modes);
    assert_eq!(after.output_modes, before.output_modes);
}

#[test]
fn a_terminal_of_the_jar_s_own_needs_none_of_the_operator_s() {
    if !jars() {
        return;
    }
    let output = belljar()
        .args(["--tty", "--", "/bin/sh", "-c", "stty size; tty"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("24 80"), "{output:?}");
    assert!(text(&output.stdout).contains("/dev/pts/"), "{output:?}");
}

#[test]
fn a_signal_ends_belljar_although_nobody_reads_its_terminal() {
    use rustix::{io::ioctl_fionread, termios::tcgetattr};
    if !jars() {
        return;
    }
    let (operator, slave) = terminal();
    let before = tcgetattr(&slave).unwrap();
    let mut child = belljar()
        .args(["--tty", "--", "/bin/sh", "-c", "yes"])
        .stdin(slave.as_fd().try_clone_to_owned().unwrap())
        .stdout(slave.as_fd().try_clone_to_owned().unwrap())
        .stderr(slave.as_fd().try_clone_to_owned().unwrap())
        .spawn()
        .unwrap();
    // Until it takes no more.
    let (mut filled, mut looks) = (0, 0);
    while filled == 0 || looks < 20 {
        thread::sleep(Duration::from_millis(10));
        let now = ioctl_fionread(&operator).unwrap();
        looks = if now == filled { looks + 1 } else { 0 };
        filled = now;
    }
    signal(&child, Signal::TERM);
    let status = end_within(&mut child, Duration::from_secs(20));
    assert_eq!(status.code(), Some(143), "{status}");
    let after = tcgetattr(&slave).unwrap();
    assert_eq!(after.local_modes, before.local_modes);
}

#[test]
fn a_signal_ends_belljar_whatever_size_its_terminal_has() {
    use rustix::termios::{Winsize, tcsetwinsize};
    if !jars() {
        return;
    }
    for (rows, columns) in [(0, 0), (u16::MAX, u16::MAX)] {
        for flag in [None, Some("--tty")] {
            let (mut operator, slave) = terminal();
            let size = Winsize {
                ws_row: rows,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            tcsetwinsize(&operator, size).unwrap();
            let mut child = belljar()
                .args(flag)
                .args(["--", "/bin/sh", "-c", "echo here; exec sleep 100"])
                .stdin(slave.as_fd().try_clone_to_owned().unwrap())
                .stdout(slave.as_fd().try_clone_to_owned().unwrap())
                .stderr(slave.as_fd().try_clone_to_owned().unwrap())
                .spawn()
                .unwrap();
            read_until(&mut operator, "here");
            signal(&child, Signal::TERM);
            let status = end_within(&mut child, Duration::from_secs(20));
            assert_eq!(status.code(), Some(143), "{rows} {columns} {flag:?}");
        }
    }
}
