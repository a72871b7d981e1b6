//! `belljar run` in the foreground: ^Z pauses the whole jar, `fg` has it go on, and SIGUSR1
//! asks how it goes.
#![cfg(target_os = "linux")]

use std::{
    env, fs,
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{sleep, spawn},
    time::Duration,
};

use belljar_plan::{Limit, Outcome};
use belljar_tests::{Need, Started, alive, belljar, descendants, jar, need, wait_until};
use rustix::process::Signal;

const A_WHILE: Duration = Duration::from_millis(400);

/// What each task of the guest says.
const ALL: [char; 5] = ['c', 'm', 'o', 't', 'v'];

fn is_stopped(pid: i32) -> Option<()> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.starts_with('T').then_some(())
}

/// Those of its tasks that say something from now on.
fn heard(started: &Started, within: Duration) -> Vec<char> {
    let before = started.said().len();
    sleep(within);
    let said = started.said();
    ALL.into_iter()
        .filter(|letter| said[before..].contains(*letter))
        .collect()
}

fn all_go(started: &Started) {
    wait_until("all of its tasks", || {
        (heard(started, A_WHILE) == ALL).then_some(())
    });
}

/// Sends ^Z, and waits until belljar has stopped.
fn suspend(started: &Started) {
    started.signal(Signal::TSTP);
    wait_until("belljar to stop", || is_stopped(started.pid()));
    // What was written before is delivered by nobody now.
    assert_eq!(heard(started, A_WHILE), [], "{}", started.complained());
}

#[test]
fn the_whole_jar_is_paused_and_goes_on_in_the_foreground() {
    let started = jar()
        .flags(["--wall", "6s"])
        .guest("spread", [] as [&str; 0])
        .start();
    all_go(&started);
    for _ in 0..2 {
        suspend(&started);
        // Not one of the jar's tasks would get on, whoever ran it.
        let cpu = processor_time(&started);
        sleep(2 * A_WHILE);
        assert!(processor_time(&started) - cpu <= 2, "ticks of {cpu}");
        started.signal(Signal::CONT);
        all_go(&started);
    }
    // Longer than its limit of time, which stands still as well.
    suspend(&started);
    sleep(Duration::from_secs(7));
    started.signal(Signal::CONT);
    assert_ne!(heard(&started, A_WHILE), [], "{}", started.complained());
    let ended = started.end();
    let wall = Outcome::Limit { limit: Limit::Wall };
    assert_eq!(ended.outcome(), &wall, "{ended:#?}");
    let usage = &ended.report().usage;
    assert!(usage.paused_ns >= Some(7_000_000_000), "{usage:#?}");
    assert!(usage.wall_ns >= Some(13_000_000_000), "{usage:#?}");
}

/// Ticks of all its processes; proc_pid_stat(5).
fn processor_time(started: &Started) -> u64 {
    let ticks = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(number(14)? + number(15)?)
    };
    descendants(started.pid())
        .into_iter()
        .filter_map(ticks)
        .sum()
}

#[test]
fn a_suspended_belljar_that_is_killed_leaves_nothing() {
    let started = jar().guest("spread", [] as [&str; 0]).start();
    all_go(&started);
    suspend(&started);
    let below = descendants(started.pid());
    assert!(below.len() > 5, "{below:?}");
    started.signal(Signal::KILL);
    let ended = started.end();
    assert_eq!(ended.outcome(), &Outcome::Lost);
    for pid in below {
        assert!(!alive(pid), "{pid} lives on");
    }
}

#[test]
fn a_paused_jar_dies_with_its_launcher() {
    let started = jar().guest("spread", [] as [&str; 0]).start();
    all_go(&started);
    suspend(&started);
    let below = descendants(started.pid());
    belljar_tests::kill(started.launcher(), Signal::KILL);
    wait_until("the jar's end", || {
        let launcher_s = below.iter().skip(1);
        launcher_s.copied().all(|pid| !alive(pid)).then_some(())
    });
    started.signal(Signal::CONT);
    assert_eq!(started.end().outcome(), &Outcome::Lost);
}

/// Whoever starts one that leads a session of its own is no shell: a belljar that stopped
/// would do so for good.
#[test]
fn a_belljar_that_nobody_has_go_on_again_stays() {
    let started = jar()
        .under(["setsid"])
        .guest("spread", [] as [&str; 0])
        .start();
    all_go(&started);
    started.signal(Signal::TSTP);
    wait_until("an answer", || {
        let stays = started.complained().contains("so it stays");
        stays.then_some(())
    });
    assert_eq!(heard(&started, A_WHILE), []);
    assert!(is_stopped(started.pid()).is_none());
    started.signal(Signal::TSTP);
    all_go(&started);
    started.signal(Signal::TERM);
    assert_eq!(started.end().status.code(), Some(143));
}

/// `docker exec` and its like: the session began outside of the pid namespace, where its
/// number is 0 for everybody.
#[test]
fn a_session_from_outside_of_the_pid_namespace_is_one_too() {
    if !need(Need::Root) {
        return;
    }
    let own = env::current_exe().expect("this program");
    let again = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc"])
        .arg(own)
        .args([
            "--exact",
            "a_suspended_belljar_that_is_killed_leaves_nothing",
        ])
        .output()
        .expect("unshare");
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(
        again.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[test]
fn a_suspended_jar_is_stopped_by_a_signal_once_it_goes_on() {
    let started = jar().shell("echo ready; exec sleep 60").start();
    started.wait_for("ready");
    started.signal(Signal::TSTP);
    wait_until("belljar to stop", || is_stopped(started.pid()));
    started.signal(Signal::TERM);
    started.signal(Signal::CONT);
    let ended = started.end();
    assert_eq!(ended.status.code(), Some(143), "{ended:#?}");
}

/// A plugin may have prepared a timer that lets it go on.
#[test]
fn a_strict_jar_that_signals_alone_can_stop_is_not_left_to_itself() {
    let started = jar()
        .preset("strict")
        .guest("spread", [] as [&str; 0])
        .start();
    all_go(&started);
    started.signal(Signal::TSTP);
    wait_until("an answer", || {
        let stays = started.complained().contains("stays to watch it");
        (stays || is_stopped(started.pid()).is_some()).then_some(())
    });
    let stays = started.complained().contains("stays to watch it");
    sleep(Duration::from_millis(100));
    assert_eq!(heard(&started, A_WHILE), []);
    if stays {
        assert!(is_stopped(started.pid()).is_none());
        started.signal(Signal::TSTP);
    } else {
        started.signal(Signal::CONT);
    }
    all_go(&started);
    started.signal(Signal::INT);
    started.signal(Signal::INT);
    let ended = started.end();
    assert_eq!(ended.status.code(), Some(130), "{ended:#?}");
}

#[test]
fn sigusr1_has_a_line_printed_of_what_is_used() {
    let started = jar()
        .flags(["--memory", "200MiB"])
        .guest("spend", ["touch=40", "stay=60000"])
        .start();
    started.wait_for("ready");
    started.signal(Signal::USR1);
    wait_until("a line", || {
        started.complained().contains('\n').then_some(())
    });
    let said = started.complained();
    assert!(said.starts_with("belljar: running: wall "), "{said}");
    let (_, memory) = said.split_once("memory ").expect("memory");
    let (used, rest) = memory.split_once(" MiB of 200 MiB").expect("its limit");
    assert!(
        (40..80).contains(&used.parse().expect("a number")),
        "{used}"
    );
    assert!(rest.contains("processes "), "{said}");
    assert_eq!(said.lines().count(), 1);
    started.signal(Signal::TERM);
    assert_eq!(started.end().status.code(), Some(143));
}

/// An operator, whose terminal belljar runs in.
struct Operator {
    child: Child,
    seen: Arc<Mutex<String>>,
}

impl Operator {
    fn starts(words: &[&str]) -> Self {
        let mut child = Command::new("/usr/bin/python3")
            .arg("tests/suspend/terminal.py")
            .arg(belljar())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python");
        let mut stdout = child.stdout.take().expect("piped");
        let seen = Arc::new(Mutex::new(String::new()));
        let noted = Arc::clone(&seen);
        spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]);
                noted.lock().expect("a text").push_str(&text);
            }
        });
        Self { child, seen }
    }

    fn types(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(keys.as_bytes()).expect("a typist");
    }

    fn seen(&self) -> String {
        self.seen.lock().expect("a text").clone()
    }

    fn waits_for(&self, text: &str) {
        wait_until(text, || self.seen().contains(text).then_some(()));
    }

    /// It goes on.
    fn ticks(&self) {
        wait_until("it to go on", || {
            self.then(A_WHILE).contains("tick").then_some(())
        });
    }

    /// What comes from now on.
    fn then(&self, within: Duration) -> String {
        let before = self.seen().len();
        sleep(within);
        self.seen().split_off(before)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // With its stdin the typist ends, and with the terminal all in it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

const TICKS: &str = "while :; do echo tick; sleep 0.05; done";

/// In the jar's own terminal the key would do nothing.
#[test]
fn the_key_of_the_jar_s_terminal_pauses_it_too() {
    if !need(Need::Python) {
        return;
    }
    let mut operator = Operator::starts(&["run", "--tty", "--", "sh", "-c", TICKS]);
    // In the background it goes on, and the keyboard is its own again afterwards.
    for (nth, line) in ["\n", "bg\n", "\n"].into_iter().enumerate() {
        operator.ticks();
        operator.types("\u{1a}");
        wait_until("belljar to stop", || {
            let stops = operator.seen().matches("seen: stopped cooked\r\n").count();
            (stops == nth + 1).then_some(())
        });
        assert_eq!(operator.then(A_WHILE), "");
        operator.types(line);
        // Typed while it may not read, and read later; that is no longer than a second.
        sleep(A_WHILE);
        operator.types("later\n");
        sleep(3 * A_WHILE);
    }
    operator.ticks();
    operator.types("\u{3}");
    operator.waits_for("seen: ended 130");
}

/// Whoever cannot be left to itself is paused while belljar stays. What is typed then
/// waits for the jar, but for the key.
#[test]
fn the_key_has_a_jar_go_on_that_belljar_stays_with() {
    if !need(Need::Python) {
        return;
    }
    let words = [
        "run", "--tty", "--preset", "strict", "--", "sh", "-c", TICKS,
    ];
    let mut operator = Operator::starts(&words);
    operator.ticks();
    operator.types("\u{1a}");
    wait_until("an answer", || {
        let seen = operator.seen();
        (seen.contains("stays to watch it") || seen.contains("seen: stopped")).then_some(())
    });
    sleep(A_WHILE);
    if operator.seen().contains("seen: stopped") {
        // It has a cgroup of its own.
        operator.types("\n");
        operator.ticks();
        operator.types("\u{3}");
    } else {
        // An end of the input too.
        operator.types("\u{4}\u{3}");
        assert!(!operator.then(A_WHILE).contains("tick"));
        operator.types("\u{1a}");
        operator.waits_for("the jar goes on");
    }
    operator.waits_for("seen: ended 130");
}

#[test]
fn the_key_is_a_shell_s_own_while_that_has_a_job() {
    if !(need(Need::Python) && need(Need::Program("bash"))) {
        return;
    }
    let mut operator = Operator::starts(&["run", "--tty", "--", "bash", "--norc", "-i"]);
    operator.types("sleep 300\n");
    operator.waits_for("sleep 300");
    sleep(A_WHILE);
    operator.types("\u{1a}");
    operator.waits_for("Stopped");
    // It says first that there are stopped jobs.
    operator.types("exit 7\nexit 7\n");
    operator.waits_for("seen: ended 7");
    assert!(!operator.seen().contains("seen: stopped"));
}

#[test]
fn the_key_is_the_program_s_where_it_is_turned_off() {
    if !need(Need::Python) {
        return;
    }
    // A guest that has letters of its choice suspend leads nobody to the host's shell.
    for susp in ["undef", "x"] {
        let script = format!("stty susp {susp}; echo ready; exec cat -v");
        let mut operator = Operator::starts(&["run", "--tty", "--", "sh", "-c", &script]);
        operator.waits_for("ready");
        operator.types("x\u{1a}\n");
        // What is typed, and what cat makes of it.
        operator.waits_for("^Z\r\n");
        sleep(A_WHILE);
        operator.types("\u{4}");
        operator.waits_for("seen: ended 0");
        assert!(!operator.seen().contains("seen: stopped"));
    }
}
