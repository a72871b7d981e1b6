//! Landlock, the second wall around a jar's files: what plan and report say of
//! it, that nothing a program does is broken by it, and that nothing is launched
//! where it is there and does not hold.
#![cfg(target_os = "linux")]

use std::fs;

use belljar_plan::{Outcome, Report, Rule, Strength, landlock::Right, report::EnforcementReport};
use belljar_tests::{
    Ended, Jar, Need, Plugin, VmCommand, VmEnd, both_presets, guest, jar, need, vm,
};

fn report(ended: &Ended) -> &Report {
    ended.report.as_ref().expect("a report")
}

fn of(ended: &Ended, rule: Rule) -> EnforcementReport {
    let all = &report(ended).enforcement;
    all.iter()
        .find(|line| line.rule == rule)
        .expect("every rule")
        .clone()
}

fn version() -> u32 {
    u32::try_from(belljar_attacks::landlock_version()).expect("a small number")
}

/// A script in a jar, of which every line says what it did.
fn works(jar: Jar, expected: &[&str]) -> Ended {
    let ended = jar.end();
    let said: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(said, expected, "{ended:#?}");
    ended.clean()
}

// ---- what is told ----

#[test]
fn report_names_the_version_and_each_right_asked_planned_and_applied() {
    if !need(Need::Landlock) {
        return;
    }
    for preset in ["minimal", "standard", "strict"] {
        let ended = jar().preset(preset).guest("echo", ["ran"]).end().clean();
        let landlock = report(&ended).landlock.clone().expect("Landlock");
        assert_eq!(landlock.abi, version());
        let files = of(&ended, Rule::Files);
        assert_eq!(files.applied, Strength::Kernel);
        let abi = format!("Landlock ABI {}", version());
        assert!(files.planned.mechanism.contains(&abi), "{files:?}");
        assert_eq!(landlock.applied, landlock.planned);
        let lacking: Vec<&Right> = landlock
            .requested
            .iter()
            .filter(|right| !landlock.planned.contains(right))
            .collect();
        assert_eq!(lacking.is_empty(), version() >= 6, "{lacking:?}");
        assert_eq!(
            lacking.is_empty(),
            !files.planned.mechanism.contains("without")
        );
        // A private network has no names of the machine to be kept from.
        let of_landlock = |rule| of(&ended, rule).planned.mechanism.contains("Landlock");
        assert_eq!(
            of_landlock(Rule::Sockets),
            preset == "minimal" && version() >= 6
        );
        assert_eq!(of_landlock(Rule::Tasks), version() >= 6);
    }
}

// ---- what works ----

#[test]
fn programs_do_in_their_scratch_whatever_they_did_without() {
    let script = "set -e; cd /tmp; mkdir a b; echo 12345678 > a/f; mv a/f b/g; echo moved; \
        ln b/g a/h; echo linked; truncate -s 3 b/g; cat a/h; echo; : > b/g; echo emptied; \
        ln -s b/g s; cat s; mkfifo p; (echo through > p &) ; cat p; \
        cp /bin/true t; ./t; printf '#!/bin/sh\\necho script\\n' > c; chmod +x c; ./c; \
        mv a b/c2; rmdir b/c2 2> /dev/null || rm -r b/c2; echo removed; \
        echo x > /dev/shm/x; rm /dev/shm/x; echo shared; echo x > ~/x; mv ~/x ~/y; echo home; \
        echo ignored > /dev/null; head -c 2 /dev/zero > z; wc -c < z; \
        echo renamed > /proc/self/comm; echo 900 > /proc/self/oom_score_adj || true; echo proc";
    works(
        jar().shell(script),
        &[
            "moved", "linked", "123", "emptied", "through", "script", "removed", "shared", "home",
            "2", "proc",
        ],
    );
}

#[test]
fn streams_and_descriptors_are_opened_anew_by_their_names() {
    let script = "echo out > /dev/stdout; echo in | cat /dev/stdin; exec 5<<END\nhere\nEND\n\
        cat /dev/fd/5; echo err > /dev/stderr";
    let ended = works(jar().shell(script), &["out", "in", "here"]);
    assert_eq!(ended.stderr, "err\n");
    if need(Need::Program("bash")) {
        works(
            jar().program(["/bin/bash", "-c", "cat <(echo substituted)"]),
            &["substituted"],
        );
    }
}

#[test]
fn terminal_takes_its_commands() {
    let ended = jar()
        .host(["with_terminal"])
        .flags(["--tty"])
        .shell("stty size > /dev/null && echo sized; stty -echo < /dev/tty && echo set; echo told > /dev/tty")
        .end();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    for word in ["sized", "set", "told"] {
        assert!(ended.stdout.contains(word), "{ended:#?}");
    }
}

#[test]
fn python_has_terminals_queues_and_sockets_of_its_own() {
    if !need(Need::Python) {
        return;
    }
    let script = "
import os, pty, socket, tempfile, multiprocessing, subprocess, mmap
main, other = pty.openpty(); os.write(main, b'x\\n'); print(os.read(other, 2), os.isatty(other))
where = tempfile.mkdtemp(); path = where + '/s'
server = socket.socket(socket.AF_UNIX); server.bind(path); server.listen()
client = socket.socket(socket.AF_UNIX); client.connect(path); print('connected')
name = socket.socket(socket.AF_UNIX); name.bind('\\0own'); name.listen()
client = socket.socket(socket.AF_UNIX); client.connect('\\0own'); print('by name')
print(multiprocessing.Pool(2).map(abs, [-1, 2]))
child = subprocess.Popen(['sleep', '9']); child.terminate(); print(child.wait())
f = os.memfd_create('m'); os.write(f, b'#!/bin/sh\\necho from memory\\n')
print(subprocess.check_output(['/proc/self/fd/%d' % f], pass_fds=[f]).decode().strip())
";
    works(
        jar().program(["/usr/bin/python3", "-c", script]),
        &[
            "b'x\\n' True",
            "connected",
            "by name",
            "[1, 2]",
            "-15",
            "from memory",
        ],
    );
}

#[test]
fn strict_plugin_writes_in_its_places_and_runs_nothing_from_them() {
    let plugin = Plugin::new("");
    for place in ["/tmp", "/workspace", "/home/plugin"] {
        let file = format!("{place}/file");
        jar()
            .plugin(plugin.path(), &["write", &file, "text"])
            .end()
            .clean();
    }
    for place in ["/plugin", "/usr/bin", "/etc", "/"] {
        let file = format!("{place}/file");
        let ended = jar().plugin(plugin.path(), &["write", &file, "text"]).end();
        assert_eq!(ended.status.code(), Some(1), "{place}: {ended:#?}");
    }
}

#[test]
fn grants_in_grants_keep_each_its_own_rights() {
    let room = tempfile::tempdir().expect("a directory");
    let at = |name: &str| room.path().join(name).to_string_lossy().into_owned();
    for name in ["out", "out/deep", "out/kept", "out/kept/again"] {
        fs::create_dir(room.path().join(name)).expect("a directory");
    }
    fs::write(room.path().join("out/kept/file"), "kept").expect("a file");
    std::os::unix::fs::symlink("out/deep", room.path().join("link")).expect("a link");
    both_presets(|preset| {
        let write = |file: &str| {
            jar()
                .preset(preset)
                .flags(["--read", &at(""), "--write", &at("out")])
                .flags(["--read", &at("out/kept"), "--write", &at("out/kept/again")])
                .guest("write", [&at(file), "text"])
                .end()
                .status
                .code()
        };
        for (file, may) in [
            ("file", false),
            ("out/file", true),
            ("out/deep/file", true),
            ("link/through", true),
            ("out/kept/file", false),
            ("out/kept/new", false),
            ("out/kept/again/file", true),
        ] {
            assert_eq!(write(file), Some(i32::from(!may)), "{preset} {file}");
        }
    });
    let kept = fs::read_to_string(room.path().join("out/kept/file")).expect("it");
    assert_eq!(kept, "kept");
}

#[test]
fn guest_confines_itself_further() {
    if !need(Need::Landlock) || version() < 4 {
        return;
    }
    let program = guest();
    let program = program.to_str().expect("a path");
    works(
        jar().guest("held_host", ["3", program, "echo", "within"]),
        &["within"],
    );
}

// ---- what Landlock adds ----

#[test]
fn device_that_is_granted_for_reading_is_not_written() {
    if !need(Need::Landlock) {
        return;
    }
    for (flag, code) in [("--read", 1), ("--write", 0)] {
        let ended = jar()
            .flags([flag, "/dev/zero:/mnt/zero"])
            .guest("write", ["/mnt/zero", "text"])
            .end();
        assert_eq!(ended.status.code(), Some(code), "{flag}: {ended:#?}");
    }
}

// ---- where it is older, is not to be had, or does not hold ----

#[test]
fn older_kernel_holds_what_it_can_and_names_what_it_lacks() {
    if !need(Need::Vm) {
        return;
    }
    let work = "cd /tmp && mkdir a b && echo text > a/f && mv a/f b/f && ln b/f a/g && cat a/g && \
        echo short > a/g && mkfifo p && echo > /dev/null && echo worked";
    let script = format!("belljar run --report /tmp/$$ -- busybox sh -c '{work}' && cat /tmp/$$");
    let words = ["sh", "-c", &script];
    let results = vm().run(&[
        VmCommand::root(["uname", "-r"]),
        VmCommand::root(words),
        VmCommand::user(words),
    ]);
    let kernel = results[0].text();
    for result in &results[1..] {
        assert_eq!(result.end, VmEnd::Exited(0), "{kernel} {result:?}");
        let said = result.text();
        let report = said.strip_prefix("text\nworked\n").expect("it worked");
        let report: Report = serde_json::from_str(report).expect("a report");
        let landlock = report.landlock.expect("Landlock");
        assert_eq!(landlock.applied, landlock.planned);
        let lacks = |right| !landlock.planned.contains(&right);
        assert!(!lacks(Right::Refer), "{landlock:?}");
        // That of Debian 12.
        assert!(kernel.starts_with("6.1."), "{kernel}");
        assert_eq!(landlock.abi, 2);
        assert!(lacks(Right::Truncate) && lacks(Right::IoctlDev) && lacks(Right::Signal));
        let files = report
            .enforcement
            .iter()
            .find(|line| line.rule == Rule::Files);
        let said = &files.expect("every rule").planned.mechanism;
        assert!(
            said.ends_with("Landlock ABI 2: without truncate, ioctl, scopes"),
            "{said}"
        );
    }
}

/// A call by its number, answered by a filter around belljar.
fn answered(call: i64, errno: &str) -> Jar {
    jar()
        .host(["answered_host", &call.to_string(), errno])
        .guest("echo", ["ran"])
}

const RESTRICT_SELF: i64 = 446;

#[test]
fn domain_that_is_only_said_to_hold_ends_the_launch_by_its_step() {
    const ECANCELED: i32 = 125;
    if !need(Need::Landlock) {
        return;
    }
    let ended = answered(RESTRICT_SELF, "0").end();
    assert_eq!(ended.status.code(), Some(125), "{ended:#?}");
    assert_eq!(ended.stdout, "");
    assert_eq!(
        report(&ended).outcome,
        Outcome::SetupFailed {
            step: "restrict".into(),
            errno: ECANCELED
        }
    );
    let told = report(&ended).landlock.clone().expect("it was planned");
    assert!(told.applied.is_empty() && !told.planned.is_empty());
    assert_eq!(of(&ended, Rule::Files).applied, Strength::None);
}

/// It ran, held by its mounts alone, and the report says why.
fn ran_without(ended: Ended, cause: &str) {
    let ended = ended.clean();
    assert_eq!(ended.stdout, "ran");
    assert_eq!(report(&ended).landlock, None);
    let files = of(&ended, Rule::Files);
    assert_eq!(files.applied, Strength::Kernel);
    let said = &files.planned.mechanism;
    assert!(
        said.contains("no Landlock: ") && said.contains(cause),
        "{said}"
    );
}

#[test]
fn where_a_filter_refuses_it_the_mounts_hold_alone_and_the_report_says_so() {
    if !need(Need::Landlock) {
        return;
    }
    const CREATE_RULESET: i64 = 444;
    for (call, errno) in [
        (CREATE_RULESET, "1"),
        (CREATE_RULESET, "38"),
        (CREATE_RULESET, "95"),
    ] {
        let cause = if errno == "95" {
            "switched off"
        } else {
            "refuses it"
        };
        ran_without(answered(call, errno).end(), cause);
    }
    ran_without(
        answered(RESTRICT_SELF, "1").end(),
        "a seccomp filter around this process",
    );
}

#[test]
fn seventeenth_domain_is_not_to_be_had_and_the_report_says_so() {
    if !need(Need::Landlock) || version() < 4 {
        return;
    }
    let within = |count: &str| {
        jar()
            .host(["held_host", count])
            .guest("echo", ["ran"])
            .end()
    };
    assert!(report(&within("15").clean()).landlock.is_some());
    ran_without(within("16"), "16 Landlock domains");
}
