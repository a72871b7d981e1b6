//! Bad input: one clear error, and nothing left behind.
#![cfg(target_os = "linux")]

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    sync::atomic::{AtomicBool, Ordering},
};

use belljar_tests::{Need, Plugin, both_presets, guest, jar, need};

#[test]
fn missing_entry_is_one_clear_error() {
    let plugin = Plugin::new("");
    fs::remove_file(plugin.path().join("guest")).expect("it");
    let ended = jar().plugin(plugin.path(), &[]).end();
    assert!(
        [125, 127].contains(&ended.status.code().expect("a code")),
        "{ended:#?}"
    );
    assert!(ended.stderr.contains("guest"), "{ended:#?}");
}

#[test]
fn entry_outside_the_plugin_is_refused() {
    for entry in ["../guest", "/bin/sh", "sub/../../guest", ""] {
        let plugin = Plugin::new("");
        let manifest =
            format!("[plugin]\nname = \"a\"\nversion = \"1.0.0\"\nentry = \"{entry}\"\n");
        fs::write(plugin.path().join("belljar.toml"), manifest).expect("a manifest");
        let _ = jar().plugin(plugin.path(), &[]).end().bad_usage("entry");
    }
}

#[test]
fn entry_that_links_outside_is_refused() {
    let plugin = Plugin::new("");
    let entry = plugin.path().join("guest");
    fs::remove_file(&entry).expect("it");
    symlink(guest(), &entry).expect("a link");
    let ended = jar().plugin(plugin.path(), &["exit", "3"]).end();
    assert!(
        [125, 126, 127].contains(&ended.status.code().expect("a code")),
        "{ended:#?}"
    );
}

#[test]
fn unreadable_manifest_is_one_clear_error() {
    let plugin = Plugin::new("");
    let manifest = plugin.path().join("belljar.toml");
    fs::remove_file(&manifest).expect("it");
    fs::create_dir(&manifest).expect("a directory in its place");
    let _ = jar()
        .plugin(plugin.path(), &[])
        .end()
        .bad_usage("belljar.toml");
    fs::remove_dir(&manifest).expect("it");
    let _ = jar()
        .plugin(plugin.path(), &[])
        .end()
        .bad_usage("belljar.toml");
    if need(Need::User) {
        fs::write(&manifest, "").expect("a manifest");
        fs::set_permissions(&manifest, fs::Permissions::from_mode(0o000)).expect("its mode");
        let _ = jar()
            .plugin(plugin.path(), &[])
            .end()
            .bad_usage("belljar.toml");
    }
}

#[test]
fn broken_manifests_are_one_clear_error() {
    for (manifest, word) in [
        (&b"not [ toml"[..], "belljar.toml"),
        (b"\xff\xfe\x00", "belljar.toml"),
        (b"", "plugin"),
        (b"[plugin]\nname = \"a\"\nversion = \"one\"\nentry = \"guest\"\n", "version"),
        (b"[plugin]\nname = \"a b/\"\nversion = \"1.0.0\"\nentry = \"guest\"\n", "name"),
        (
            b"[plugin]\nname = \"a\"\nversion = \"1.0.0\"\nentry = \"guest\"\n[limit]\n",
            "limits",
        ),
        (
            b"[plugin]\nname = \"a\"\nversion = \"1.0.0\"\nentry = \"gu\\u0000est\"\n",
            "entry",
        ),
        (
            b"[plugin]\nname = \"a\"\nversion = \"1.0.0\"\nentry = \"guest\"\nargs = [\"a\\u0000b\"]\n",
            "NUL",
        ),
        (
            b"[plugin]\nname = \"a\"\nversion = \"1.0.0\"\nentry = \"guest\"\n[limits]\nmemory = 5\n",
            "memory",
        ),
        (
            b"[plugin]\nname = \"a\"\nversion = \"1.0.0\"\nentry = \"guest\"\n[filesystem]\nread = [\"relative\"]\n",
            "relative",
        ),
    ] {
        let plugin = Plugin::new("");
        fs::write(plugin.path().join("belljar.toml"), manifest).expect("a manifest");
        let _ = jar().plugin(plugin.path(), &[]).end().bad_usage(word);
    }
}

#[test]
fn deep_json_is_one_clear_error() {
    let plugin = Plugin::new("");
    let manifest = plugin.path().join("deep.json");
    fs::write(&manifest, "[".repeat(100_000)).expect("a manifest");
    let _ = jar().plugin(&manifest, &[]).end().bad_usage("deep.json");
}

#[test]
fn cyclic_links_are_one_clear_error() {
    let room = tempfile::tempdir().expect("a directory");
    let (one, two) = (room.path().join("one"), room.path().join("two"));
    symlink(&one, &two).expect("a link");
    symlink(&two, &one).expect("a link");
    let ended = jar()
        .flags(["--read".as_ref(), one.as_os_str()])
        .shell("exit 0")
        .end();
    assert_eq!(ended.status.code(), Some(125), "{ended:#?}");
    assert!(ended.stderr.contains("one"), "{ended:#?}");
    let ended = jar().program([&one]).end();
    assert!(
        [126, 127].contains(&ended.status.code().expect("a code")),
        "{ended:#?}"
    );

    let plugin = Plugin::new("");
    symlink("loop", plugin.path().join("loop")).expect("a link");
    let ended = jar().plugin(plugin.path(), &["exit", "0"]).end();
    assert!(
        [0, 125].contains(&ended.status.code().expect("a code")),
        "{ended:#?}"
    );
}

#[test]
fn special_files_in_a_plugin_do_not_hang() {
    let plugin = Plugin::new("");
    let made =
        belljar_tests::output(std::process::Command::new("mkfifo").arg(plugin.path().join("fifo")))
            .status;
    assert!(made.success());
    let ended = jar().plugin(plugin.path(), &["exit", "0"]).end();
    assert!(
        [0, 125].contains(&ended.status.code().expect("a code")),
        "{ended:#?}"
    );
}

#[test]
fn argv_of_a_mebibyte_ends_either_way() {
    // One argument longer than the kernel takes cannot even reach belljar; many can.
    let words: Vec<String> = (0..8).map(|_| "x".repeat(120_000)).collect();
    let ended = jar()
        .guest("exit", std::iter::once("0".to_owned()).chain(words))
        .end();
    assert!(
        [0, 126].contains(&ended.status.code().expect("a code")),
        "{:?} {}",
        ended.status,
        ended.stderr
    );
    let many = std::iter::once("0".to_owned()).chain((0..100_000).map(|n| n.to_string()));
    let ended = jar().guest("exit", many).end();
    assert!(
        [0, 126].contains(&ended.status.code().expect("a code")),
        "{:?} {}",
        ended.status,
        ended.stderr
    );
}

#[test]
fn arguments_that_are_not_utf8_pass_as_they_are() {
    let word = OsStr::from_bytes(b"a\xff\xfeb");
    let ended = jar()
        .program([
            "/bin/sh".as_ref(),
            "-c".as_ref(),
            "printf %s \"$1\" | od -An -tx1".as_ref(),
            "sh".as_ref(),
            word,
        ])
        .end()
        .clean();
    assert_eq!(ended.stdout.trim(), "61 ff fe 62");
}

#[test]
fn paths_that_are_not_utf8_are_one_clear_error() {
    let room = tempfile::tempdir().expect("a directory");
    let odd = room.path().join(OsStr::from_bytes(b"odd\xff"));
    fs::write(&odd, "#!/bin/sh\nexit 0\n").expect("a file");
    let _ = jar()
        .flags([OsStr::new("--read"), odd.as_os_str()])
        .shell("exit 0")
        .end()
        .bad_usage("UTF-8");
    let ended = jar().program([&odd]).end();
    assert!(
        (125..=127).contains(&ended.status.code().expect("a code")),
        "{ended:#?}"
    );
    // Names inside a grant are the guest's business.
    let ended = jar()
        .flags([OsStr::new("--read"), room.path().as_os_str()])
        .shell(&format!("ls {} | wc -l", room.path().display()))
        .end()
        .clean();
    assert_eq!(ended.stdout.trim(), "1");
}

#[test]
fn policy_of_ten_mebibytes_is_one_clear_error() {
    let plugin = Plugin::new("");
    let policy = plugin.policy(&"# a comment\n".repeat(900_000));
    let _ = jar()
        .flags(["--policy".as_ref(), policy.as_os_str()])
        .shell("exit 0")
        .end()
        .bad_usage("larger");
}

#[test]
fn policy_that_never_ends_is_one_clear_error() {
    for endless in ["/dev/zero", "/proc/self/mem", "/"] {
        let _ = jar()
            .flags(["--policy", endless])
            .shell("exit 0")
            .end()
            .bad_usage("policy");
    }
}

#[test]
fn broken_policies_are_one_clear_error() {
    for (text, word) in [
        ("presett = \"strict\"", "preset"),
        ("preset = \"stirct\"", "strict"),
        ("[limits]\nmemory = \"64 bananas\"", "memory"),
        ("[filesystem]\ndeny = [\"../x\"]", "../x"),
        ("[require]\nfiles = \"steel\"", "steel"),
        ("[require]\nfliles = \"kernel\"", "files"),
        ("[seccomp]\nallow = [\"bfp\"]", "did you mean `bpf`"),
        ("end_on = [\"syscall\"]", "did you mean `syscalls`"),
    ] {
        let plugin = Plugin::new("");
        let policy = plugin.policy(text);
        let _ = jar()
            .flags(["--policy".as_ref(), policy.as_os_str()])
            .shell("exit 0")
            .end()
            .bad_usage(word);
    }
}

#[test]
fn limits_of_zero_are_one_clear_error() {
    for flag in [
        "--memory",
        "--cpu-time",
        "--wall",
        "--processes",
        "--open-files",
        "--disk",
    ] {
        let ended = jar().flags([flag, "0"]).shell("exit 0").end();
        let _ = ended.bad_usage(flag);
    }
}

#[test]
fn limits_that_are_too_large_or_odd_are_one_clear_error() {
    for (flag, value) in [
        ("--memory", "99999999999999999999GiB"),
        ("--memory", "64MB "),
        ("--memory", "1e9"),
        ("--cpu-time", "5 fortnights"),
        ("--wall", "18446744073709551615s"),
        ("--processes", "1.5"),
        ("--user", "4294967295"),
        ("--hostname", "a b"),
        ("--env", "NOEQUALS"),
        ("--env", "=x"),
        ("--require", "files"),
        ("--require", "flies=kernel"),
        ("--best-effort", "flies"),
        ("--preset", "lax"),
        ("--task", ""),
    ] {
        let _ = jar()
            .flags([flag, value])
            .shell("exit 0")
            .end()
            .bad_usage(flag);
    }
}

#[test]
fn tiny_limits_end_and_leave_nothing() {
    for (flags, smallest) in [
        // Where the shell has no loader, it is half of that.
        (["--memory", "1KiB"], "256 KiB"),
        (["--open-files", "4"], "5"),
        (["--disk", "1KiB"], "4 KiB"),
        (["--wall", "1us"], "1 ms"),
        (["--cpu-time", "999us"], "1 ms"),
    ] {
        let refused = jar().no_report().flags(flags).shell("exit 3").end();
        assert_eq!(refused.status.code(), Some(125), "{refused:?}");
        let words = format!("the smallest that works is {smallest}");
        let words = [words.as_str(), "the smallest that works is 128 KiB"];
        let told = words.iter().any(|words| refused.stderr.contains(words));
        assert!(told, "{refused:?}");
    }
    for flags in [
        ["--memory", "256KiB"],
        ["--processes", "1"],
        ["--open-files", "5"],
        ["--disk", "4KiB"],
        ["--file-size", "1KiB"],
        ["--wall", "1ms"],
        ["--cpu-time", "1ms"],
        ["--output", "1KiB"],
    ] {
        let ended = jar().flags(flags).shell("exit 3").end();
        assert!(
            [3, 124, 125, 126, 127, 137].contains(&ended.status.code().expect("a code")),
            "{flags:?}: {ended:#?}"
        );
    }
}

#[test]
fn report_that_cannot_be_written_is_one_clear_error_before_any_launch() {
    let room = tempfile::tempdir().expect("a directory");
    let mark = room.path().join("mark");
    for report in [
        "/no/such/directory/report",
        "/proc/report",
        "/",
        "fd:99",
        "fd:x",
        "",
    ] {
        let _ = jar()
            .no_report()
            .flags(["--report", report])
            .flags(["--write".as_ref(), room.path().as_os_str()])
            .guest("write", [mark.as_path(), "x".as_ref()])
            .end()
            .bad_usage("report");
        assert!(!mark.exists(), "launched all the same: {report}");
    }
}

#[test]
fn report_in_a_granted_directory_is_not_led_elsewhere_by_the_guest() {
    both_presets(|preset| {
        let room = tempfile::tempdir().expect("a directory");
        let outside = tempfile::tempdir().expect("a directory");
        let precious = outside.path().join("precious");
        fs::write(&precious, "keep").expect("a file");
        let report = room.path().join("report");
        let ended = jar()
            .no_report()
            .preset(preset)
            .flags(["--report".as_ref(), report.as_os_str()])
            .flags(["--write".as_ref(), room.path().as_os_str()])
            .guest("replace_by_link", [&report, &precious])
            .end();
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
        assert_eq!(
            fs::read_to_string(&precious).expect("it"),
            "keep",
            "{ended:#?}"
        );
        let names: Vec<_> = fs::read_dir(outside.path())
            .expect("it")
            .flatten()
            .collect();
        assert_eq!(names.len(), 1, "{names:?}");
    });
}

#[test]
fn working_directory_that_is_not_there_is_one_clear_error() {
    let ended = jar()
        .flags(["--workdir", "/no/such/place"])
        .shell("exit 0")
        .end();
    assert_eq!(ended.status.code(), Some(125), "{ended:#?}");
    assert!(ended.stderr.contains("/no/such/place"), "{ended:#?}");
}

#[test]
fn caller_s_directory_that_is_gone_does_no_harm() {
    let script = format!(
        "d=$(mktemp -d) && cd $d && rmdir $d && exec {} run -- /bin/sh -c pwd",
        belljar_tests::belljar().display()
    );
    let output = belljar_tests::output(std::process::Command::new("sh").args(["-c", &script]));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/\n", "{output:?}");
}

#[test]
fn source_that_is_renamed_all_the_time_is_one_of_the_two_or_refused() {
    let room = tempfile::tempdir().expect("a directory");
    let granted = room.path().join("granted");
    let other = room.path().join("other");
    for (place, text) in [(&granted, "one"), (&other, "two")] {
        fs::create_dir(place).expect("a directory");
        fs::write(place.join("file"), text).expect("a file");
    }
    let secret = room.path().join("secret");
    fs::create_dir(&secret).expect("a directory");
    fs::write(secret.join("file"), "secret").expect("a file");
    // While the two change places, the link to a third is never what is granted by name.
    symlink(&secret, other.join("link")).expect("a link");
    let stop = AtomicBool::new(false);
    let file = granted.join("file");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let aside = room.path().join("aside");
            while !stop.load(Ordering::Relaxed) {
                for (from, to) in [(&granted, &aside), (&other, &granted), (&aside, &other)] {
                    fs::rename(from, to).expect("a rename");
                }
            }
        });
        for _ in 0..40 {
            let ended = jar()
                .flags(["--read".as_ref(), granted.as_os_str()])
                .shell(&format!("cat {}", file.display()))
                .end();
            match ended.status.code() {
                Some(0) => assert!(
                    ["one", "two"].contains(&ended.stdout.as_str()),
                    "{ended:#?}"
                ),
                Some(125) => assert!(ended.stdout.is_empty(), "{ended:#?}"),
                _ => panic!("{ended:#?}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
