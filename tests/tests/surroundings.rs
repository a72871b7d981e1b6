//! What a jar does not depend on, and what does not hold up its end: the
//! caller's own state, many grants, stopped and forgotten children.
#![cfg(target_os = "linux")]

use std::{
    fs,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use belljar::policy::seccomp::{CALLS, CANARY, OF_A_LAUNCH};
use belljar_plan::{Limit, Outcome};
use belljar_tests::{Need, alive, belljar, both_presets, descendants, guest, jar, need};
use rustix::process::Signal;

/// Runs a shell's script in which `$BELLJAR run --` begins a jar.
fn caller(script: &str) -> Output {
    belljar_tests::output(
        Command::new("sh")
            .args(["-c", script])
            .env("BELLJAR", belljar())
            .env("GUEST", guest())
            .current_dir("/")
            .stdin(Stdio::null()),
    )
}

fn says(script: &str, expected: &str) {
    let output = caller(script);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.trim() == expected,
        "{script}: {output:#?}"
    );
}

#[test]
fn caller_s_signals_are_not_the_guest_s() {
    let look = "grep -E \"^Sig(Blk|Ign)\" /proc/self/status | cut -f 2 | sort -u";
    // A shell ignores nothing itself, and grep neither.
    says(
        &format!("trap '' HUP INT TERM PIPE CHLD USR1; exec $BELLJAR run -- /bin/sh -c '{look}'"),
        "0000000000000000",
    );
}

#[test]
fn caller_that_ignores_its_children_gets_its_status() {
    let output = caller("trap '' CHLD; exec $BELLJAR run -- /bin/sh -c 'exit 3'");
    assert_eq!(output.status.code(), Some(3), "{output:#?}");
}

#[test]
fn caller_s_umask_and_priority_do_not_break_a_jar() {
    says(
        "umask 777; exec $BELLJAR run -- /bin/sh -c 'echo fine > /tmp/x; cat /tmp/x'",
        "fine",
    );
    says("umask 0; exec $BELLJAR run -- /bin/sh -c umask", "0022");
    says("exec nice -n 19 $BELLJAR run -- echo fine", "fine");
}

#[test]
fn caller_with_few_descriptors_or_many_still_runs() {
    says("ulimit -n 32; exec $BELLJAR run -- echo fine", "fine");
    says(
        "for n in 3 4 5 6 7 8 9; do eval \"exec $n</dev/null\"; done; exec $BELLJAR run -- echo fine",
        "fine",
    );
}

#[test]
fn caller_that_may_write_small_files_only_is_told_so_and_not_ended_by_a_signal() {
    // Too small for what a jar is made of.
    for limit in [0, 8] {
        for words in ["run -- echo fine", "doctor", "prove -- true"] {
            let output = caller(&format!("ulimit -f {limit}; exec $BELLJAR {words}"));
            let expected = if words == "doctor" { 1 } else { 125 };
            assert_eq!(output.status.code(), Some(expected), "{words}: {output:#?}");
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(said.contains("File too large"), "{words}: {said}");
            assert!(
                words.starts_with("prove") || said.contains("ulimit -f unlimited"),
                "{words}: {said}"
            );
        }
    }
    // Enough for a jar, in which the signal does what it always does.
    says(
        "ulimit -f 1024; exec $BELLJAR run -- /bin/sh -c \
         'head -c 2000000 /dev/zero > /tmp/x; test $? = 153 && grep SigIgn /proc/self/status'",
        "SigIgn:\t0000000000000000",
    );
    // What is in the way without a jar too is no fault of the plan's.
    let output = caller("ulimit -f 1000; exec $BELLJAR prove -- true");
    assert!(output.status.success(), "{output:#?}");
}

/// A launch makes calls under its own filter. What it needs is refused beforehand
/// with the policy's line, and whatever else is denied is between program and kernel.
fn denied_call_holds_up_no_launch(names: impl IntoIterator<Item = &'static str>) {
    let room = tempfile::tempdir().expect("a directory");
    let policy = room.path().join("policy.toml");
    for name in names {
        fs::write(&policy, format!("[seccomp]\ndeny = [\"{name}\"]\n")).expect("a policy");
        let said = ["standard", "strict"].map(|preset| {
            let flags = format!(
                "--preset {preset} --no-record --policy {}",
                policy.display()
            );
            let output = caller(&format!("exec $BELLJAR run {flags} -- $GUEST look / 2>&1"));
            String::from_utf8_lossy(&output.stdout).into_owned()
        });
        for said in said {
            let refused = format!("policy.toml line 2: `{name}` cannot be denied");
            assert_eq!(
                said.contains(&refused),
                OF_A_LAUNCH.contains(&name),
                "{name}: {said}"
            );
            assert!(!said.contains("set-up failed"), "{name}: {said}");
        }
    }
}

#[test]
fn calls_that_a_launch_needs_are_denied_by_no_policy() {
    denied_call_holds_up_no_launch(OF_A_LAUNCH.into_iter().chain([CANARY, "openat2", "clone"]));
}

#[test]
#[ignore = "some 800 launches"]
fn long_no_denied_call_holds_up_a_launch() {
    denied_call_holds_up_no_launch(CALLS.iter().map(|call| call.name));
}

#[test]
fn user_from_whom_tasks_are_hidden_is_told_so_and_runs_without_those_limits() {
    if !need(Need::Root) {
        return;
    }
    let hidden = |options: &str, groups: &str, words: &str| {
        let user =
            format!("setpriv --reuid 54321 --regid 54321 {groups} env HOME=/tmp $BELLJAR {words}");
        let mount = format!("mount -t proc -o {options} proc /proc");
        caller(&format!(
            "exec unshare --mount --pid --fork sh -c '{mount} && {user}; echo \"status $?\"'"
        ))
    };
    let said = |output: &Output| {
        let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        String::from_utf8_lossy(&text).into_owned()
    };
    // Longer than a jar goes on that cannot be seen.
    let words = "--no-record -- sleep 2";
    let refused = said(&hidden(
        "hidepid=2",
        "--clear-groups",
        &format!("run {words}"),
    ));
    assert!(refused.contains("status 125"), "{refused}");
    assert!(
        refused.contains("belljar: refused: rule memory"),
        "{refused}"
    );
    assert!(
        refused.contains("`mount -o remount,hidepid=0 /proc`"),
        "{refused}"
    );
    for (options, groups, flags) in [
        ("hidepid=2", "--clear-groups", "--best-effort memory"),
        ("hidepid=2,gid=4", "--groups 4", ""),
    ] {
        let ran = said(&hidden(options, groups, &format!("run {flags} {words}")));
        assert_eq!(ran, "status 0\n", "{options}");
    }
    // What nobody sees is not claimed, nor taken for broken.
    let proved = said(&hidden(
        "hidepid=2",
        "--clear-groups",
        "prove --best-effort memory -- true",
    ));
    assert!(
        proved.contains("status 0") && proved.contains("not probed"),
        "{proved}"
    );
    let doctor = said(&hidden("hidepid=2", "--clear-groups", "doctor"));
    assert!(
        doctor.contains("status 1") && doctor.contains("`hidepid`"),
        "{doctor}"
    );
}

#[test]
fn caller_without_an_environment_still_runs() {
    says("exec env -i $BELLJAR run -- /bin/echo fine", "fine");
    says(
        "exec env TMPDIR=/no/such/place HOME= $BELLJAR run -- echo fine",
        "fine",
    );
    says("exec env -u PATH -u HOME $BELLJAR run -- echo fine", "fine");
}

#[test]
fn caller_s_open_files_can_be_gone() {
    says("exec $BELLJAR run -- echo fine 0<&-", "fine");
    let output = caller("exec $BELLJAR run -- /bin/sh -c 'echo a; echo b >&2; exit 4' >&- 2>&-");
    assert_eq!(output.status.code(), Some(4), "{output:#?}");
}

#[test]
fn hundreds_of_grants_are_all_there() {
    both_presets(|preset| {
        let room = tempfile::tempdir().expect("a directory");
        let mut flags = vec!["--preset".to_owned(), preset.to_owned()];
        let mut paths = Vec::new();
        for number in 0..300 {
            let path = room.path().join(format!("file {number}"));
            fs::write(&path, "x".repeat(number)).expect("a file");
            flags.extend(["--read".to_owned(), path.to_string_lossy().into_owned()]);
            paths.push(path);
        }
        let ended = jar().flags(&flags).guest("look", &paths).end().clean();
        for (number, path) in paths.iter().enumerate() {
            let seen = ended.line(&format!("{}: ", path.display()));
            assert_eq!(seen, format!("ro file {number}"));
        }
    });
}

#[test]
fn odd_names_can_be_granted() {
    let room = tempfile::tempdir().expect("a directory");
    for name in [
        "a b",
        "tab\tbed",
        "back\\slash",
        "\"quoted\"",
        "per%cent",
        "ünïcode",
        "-dash",
    ] {
        let path = room.path().join(name);
        fs::create_dir(&path).expect("a directory");
        fs::write(path.join("letter"), "text").expect("a letter");
        let letter = path.join("letter");
        let ended = jar()
            .flags(["--write".as_ref(), path.as_os_str()])
            .guest("look", [&letter])
            .end()
            .clean();
        assert_eq!(
            ended.line(&format!("{}: ", letter.display())),
            "rw file 4",
            "{name}"
        );
    }
}

#[test]
fn background_child_that_holds_the_streams_does_not_hold_up_the_end() {
    let start = Instant::now();
    let ended = jar().shell("sleep 60 & echo done").end().clean();
    assert_eq!(ended.stdout, "done\n");
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn guest_that_closes_its_streams_runs_on_to_its_end() {
    let ended = jar().shell("exec <&- >&- 2>&-; sleep 0.3; exit 5").end();
    assert_eq!(ended.outcome(), &Outcome::Exited { code: 5 });
}

#[test]
fn guest_that_stops_itself_ends_at_wall() {
    let ended = jar()
        .flags(["--wall", "500ms"])
        .guest("raise", ["19"])
        .end();
    assert_eq!(ended.outcome(), &Outcome::Limit { limit: Limit::Wall });
}

#[test]
fn orphans_are_reaped_and_do_not_count() {
    let ended = jar()
        .flags(["--processes", "20"])
        .shell("n=0; while [ $n -lt 200 ]; do (true & true &); n=$((n+1)); done; sleep 0.2; ls -d /proc/[0-9]* | wc -l")
        .end();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    let left: u32 = ended.stdout.trim().parse().expect("a count");
    assert!(left <= 5, "{left} tasks are left");
}

#[test]
fn sigterm_at_any_moment_ends_all_and_leaves_nothing() {
    both_presets(|preset| {
        for trial in 0..20_u64 {
            let started = jar()
                .preset(preset)
                .flags(["--grace", "200ms"])
                .input_open()
                .guest("ignore_signals", ["60"])
                .start();
            let delay = trial.wrapping_mul(2_654_435_761) % 12_000;
            std::thread::sleep(Duration::from_micros(delay));
            let below = descendants(started.pid());
            started.signal(Signal::TERM);
            let ended = started.end();
            // Before belljar listens, the signal has its default action.
            match ended.status.code() {
                None => assert!(
                    ended
                        .report
                        .is_none_or(|report| report.outcome == Outcome::Lost)
                ),
                Some(code) => {
                    assert_eq!(code, 143, "{ended:#?}");
                    assert!(matches!(ended.outcome(), Outcome::Stopped { .. }));
                }
            }
            assert!(below.iter().all(|pid| !alive(*pid)));
        }
    });
}

#[test]
fn machine_s_terminal_session_is_not_the_jar_s() {
    let ended = jar()
        .shell("cut -d ' ' -f 5-7 /proc/self/stat")
        .end()
        .clean();
    let fields: Vec<i32> = ended
        .stdout
        .split_whitespace()
        .map(|field| field.parse().expect("a number"))
        .collect();
    // Group, session, terminal: the first two are of the jar, the last is none.
    assert!(
        fields[0] > 0 && fields[1] > 0 && fields[2] == 0,
        "{fields:?}"
    );
}

#[test]
fn twenty_programs_of_one_user_at_once_do_not_disturb_each_other() {
    let all: Vec<_> = (0..20_u8)
        .map(|number| jar().guest("exit", [number.to_string()]).start())
        .collect();
    for (number, started) in all.into_iter().enumerate() {
        assert_eq!(started.end().status.code(), Some(number as i32));
    }
}
