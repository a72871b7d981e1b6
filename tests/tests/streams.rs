//! Contract section 6: streams, names, identity.
#![cfg(target_os = "linux")]

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use belljar_plan::Outcome;
use belljar_tests::{Need, Plugin, bare, both_presets, ids, is_root, jar, need};
use rustix::process::Signal;

#[test]
fn streams_are_relayed_in_both_directions() {
    both_presets(|preset| {
        let text: Vec<u8> = (0..3_000_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
        let ended = jar()
            .preset(preset)
            .input(text.clone())
            .guest("cat", [""; 0])
            .end()
            .clean();
        assert!(
            ended.stdout.as_bytes() == text,
            "{} bytes",
            ended.stdout.len()
        );
    });
}

#[test]
fn stdout_and_stderr_stay_apart() {
    both_presets(|preset| {
        let ended = jar()
            .preset(preset)
            .guest("echo", ["out", "err"])
            .end()
            .clean();
        assert_eq!(
            (ended.stdout.as_str(), ended.stderr.as_str()),
            ("out", "err")
        );
    });
}

#[test]
fn streams_are_pipes_that_belljar_made() {
    let room = tempfile::tempdir().expect("a directory");
    let file = room.path().join("input");
    fs::write(&file, "text").expect("a file");
    both_presets(|preset| {
        let started = jar()
            .preset(preset)
            .input_file(File::open(&file).expect("it"))
            .guest("ignore_signals", ["30"])
            .start();
        started.wait_for("ready");
        let links = |pid: i32| {
            [0, 1, 2].map(|fd| fs::read_link(format!("/proc/{pid}/fd/{fd}")).expect("a stream"))
        };
        let (outer, inner) = (links(started.pid()), links(started.guest()));
        for (outer, inner) in outer.iter().zip(&inner) {
            assert!(inner.to_string_lossy().starts_with("pipe:"), "{inner:?}");
            assert_ne!(outer, inner, "the operator's own stream is in the jar");
        }
        belljar_tests::kill(started.guest(), Signal::KILL);
        let ended = started.end();
        assert!(
            matches!(ended.outcome(), Outcome::Signaled { signal: 9, .. }),
            "{ended:#?}"
        );
    });
}

#[test]
fn reader_that_goes_away_does_not_hang_the_jar() {
    let status = belljar_tests::output(std::process::Command::new("sh").arg("-c").arg(format!(
        "{} run -- /bin/sh -c 'while :; do echo x; done' | head -n 1",
        belljar_tests::belljar().display()
    )));
    assert_eq!(status.stdout, b"x\n");
}

#[test]
fn name_without_a_slash_is_searched_on_the_jar_s_path() {
    let ended = jar().program(["true"]).end().clean();
    assert_eq!(ended.stdout, "");
    // Of the caller's path, what cannot be seen inside is not searched.
    let room = tempfile::tempdir().expect("a directory");
    let trap = room.path().join("true");
    fs::write(&trap, "#!/bin/sh\necho trap\n").expect("a script");
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o755)).expect("its mode");
    let ended = jar()
        .caller_env("PATH", format!("{}:/usr/bin:/bin", room.path().display()))
        .program(["true"])
        .end()
        .clean();
    assert_eq!(ended.stdout, "");
}

#[test]
fn name_with_a_slash_is_taken_from_the_machine() {
    let room = tempfile::tempdir().expect("a directory");
    let script = room.path().join("script");
    fs::write(&script, "#!/bin/sh\necho \"$0\" \"$@\"\n").expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its mode");
    let ended = jar()
        .program([script.as_os_str(), "a b".as_ref()])
        .end()
        .clean();
    assert_eq!(ended.stdout, format!("{} a b\n", script.display()));
    let ended = jar()
        .caller_dir(room.path())
        .program(["./script", "x"])
        .end()
        .clean();
    assert!(ended.stdout.ends_with("script x\n"), "{ended:#?}");
}

#[test]
fn scripts_by_env_are_one_exec() {
    let room = tempfile::tempdir().expect("a directory");
    let script = room.path().join("script");
    for first in ["#!/usr/bin/env sh", "#! /bin/sh", "#!/usr/bin/env -S sh -e"] {
        fs::write(&script, format!("{first}\necho fine\n")).expect("a script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its mode");
        both_presets(|preset| {
            let ended = jar().preset(preset).program([&script]).end().clean();
            assert_eq!(ended.stdout, "fine\n", "{first}");
        });
    }
}

#[test]
fn python_runs_in_strict() {
    if !need(Need::Python) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    let script = room.path().join("script.py");
    fs::write(
        &script,
        "#!/usr/bin/python3\nimport json, os\nprint(json.dumps(os.getuid()))\n",
    )
    .expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its mode");
    both_presets(|preset| {
        let ended = jar().preset(preset).program([&script]).end().clean();
        assert_eq!(ended.stdout, "1000\n");
    });
}

#[test]
fn guest_is_1000_called_plugin() {
    let ended = jar()
        .shell("id -u; id -g; id -un; id -gn; id -G")
        .end()
        .clean();
    assert_eq!(
        ended.stdout.lines().collect::<Vec<_>>()[..4],
        ["1000", "1000", "plugin", "plugin"]
    );
    if is_root() {
        assert_eq!(ended.stdout.lines().last(), Some("1000"));
    }
}

#[test]
fn user_can_be_said_but_not_root_of_the_machine() {
    let ended = jar()
        .flags(["--user", "1234:2345"])
        .shell("id -u; id -g")
        .end()
        .clean();
    assert_eq!(ended.stdout, "1234\n2345\n");
    let started = jar()
        .flags(["--user", "0:0"])
        .input_open()
        .guest("ignore_signals", ["30"])
        .start();
    started.wait_for("ready");
    let outside = ids(started.guest()).expect("a running task");
    if is_root() {
        assert!(
            !outside.users.contains(&0) && !outside.groups.contains(&0),
            "{outside:?}"
        );
    }
    belljar_tests::kill(started.first(), Signal::KILL);
    let _ = started.end();
}

#[test]
fn owners_without_a_mapping_show_as_nobody_and_never_as_the_guest() {
    let ended = jar()
        .shell("stat -c %u /usr /proc/sys; id -u")
        .end()
        .clean();
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines[2], "1000");
    assert!(lines[..2].iter().all(|owner| *owner != "1000"), "{lines:?}");
}

#[test]
fn foreign_file_in_a_grant_is_not_the_guest_s() {
    if !need(Need::Root) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    let foreign = room.path().join("foreign");
    fs::write(&foreign, "text").expect("a file");
    std::os::unix::fs::chown(&foreign, Some(12_345), Some(12_345)).expect("another owner");
    let path = room.path().to_string_lossy().into_owned();
    let ended = jar()
        .flags(["--write", &path])
        .shell(&format!("stat -c %u {path}/foreign"))
        .end()
        .clean();
    assert_eq!(ended.stdout, "65534\n");
    assert_eq!(fs::metadata(&foreign).unwrap().uid(), 12_345);
}

#[test]
fn hostname_is_the_jar_s_own() {
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let ended = jar().shell("uname -n").end().clean();
    assert_ne!(ended.stdout.trim(), machine.trim());
    let ended = jar()
        .flags(["--hostname", "vessel"])
        .shell("uname -n")
        .end()
        .clean();
    assert_eq!(ended.stdout, "vessel\n");
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
        machine
    );
}

#[test]
fn tty_is_the_jar_s_own() {
    let ended = jar()
        .host(["with_terminal"])
        .flags(["--tty"])
        .shell("tty; test -t 0 && test -t 1 && test -t 2 && echo terminal")
        .end();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    assert!(ended.stdout.contains("/dev/pts/"), "{ended:#?}");
    assert!(ended.stdout.contains("terminal"), "{ended:#?}");
}

#[test]
fn loopback_works_inside() {
    if !need(Need::Python) {
        return;
    }
    let ended = jar()
        .program([
            "/usr/bin/python3",
            "-c",
            "import socket\ns = socket.create_server(('127.0.0.1', 0))\n\
             c = socket.create_connection(s.getsockname())\nc.sendall(b'x')\n\
             print(s.accept()[0].recv(1).decode())",
        ])
        .end()
        .clean();
    assert_eq!(ended.stdout, "x\n");
}

#[test]
fn streams_that_are_closed_do_not_let_the_operator_s_files_in() {
    let output = belljar_tests::output(std::process::Command::new("sh").arg("-c").arg(format!(
        "{} run -- {} find_descriptors <&- 2>&-",
        belljar_tests::belljar().display(),
        belljar_tests::guest().display()
    )));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains("ESCAPED"), "{output:?}");
    drop(bare(["find_descriptors"]).escapes());
}

#[test]
fn words_of_the_guest_are_not_belljar_s() {
    let hostile = "\u{1b}]0;title\u{7}\u{1b}[2Jno\nbelljar: all is well";
    for preset in ["standard", "strict"] {
        let ended = jar().preset(preset).program([hostile]).end();
        assert_eq!(ended.status.code(), Some(127), "{ended:#?}");
        assert!(!ended.stderr.contains('\u{1b}') && !ended.stderr.contains('\u{7}'));
        assert!(
            !ended
                .stderr
                .lines()
                .any(|line| line == "belljar: all is well"),
            "{ended:#?}"
        );
    }
    let plugin = Plugin::new("");
    let manifest = plugin.path().join("belljar.toml");
    fs::write(
        &manifest,
        "[plugin]\nname = \"\\u001b[2J\"\nversion = \"1.0.0\"\nentry = \"guest\"\n",
    )
    .expect("a manifest");
    let ended = jar().plugin(plugin.path(), &["exit", "0"]).end();
    assert!(!ended.stderr.contains('\u{1b}'), "{ended:#?}");
    assert_eq!(ended.status.code(), Some(125));
    for words in [
        ["--read", hostile],
        ["--workdir", hostile],
        ["--memory", hostile],
    ] {
        let ended = jar().flags(words).shell("exit 0").end();
        assert!(!ended.stderr.contains('\u{1b}'), "{ended:#?}");
    }
}
