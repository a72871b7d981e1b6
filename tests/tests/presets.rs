//! Contract section 5: what each preset shows, sets and limits.
#![cfg(target_os = "linux")]

use std::{collections::BTreeMap, fs};

use belljar_plan::Limit;
use belljar_tests::{Ended, Plugin, both_presets, jar};

fn environment(ended: &Ended) -> BTreeMap<&str, &str> {
    ended
        .stdout
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect()
}

#[test]
fn standard_s_environment_is_exactly_the_listed() {
    let ended = jar()
        .caller_env("HOME", "/root")
        .caller_env("LANG", "C.UTF-8")
        .caller_env("TERM", "dumb")
        .caller_env("PATH", "/no/such/directory:/usr/bin:/bin")
        .caller_env("AWS_SECRET_ACCESS_KEY", "secret")
        .caller_env("NO_NETWORK", "lie")
        .caller_env("LD_PRELOAD", "")
        .guest("environment", [""; 0])
        .end()
        .clean();
    let found = environment(&ended);
    let names: Vec<&str> = found.keys().copied().collect();
    assert_eq!(
        names,
        [
            "HOME",
            "LANG",
            "NO_NETWORK",
            "PATH",
            "SANDBOX_POLICY",
            "TERM",
            "TMPDIR"
        ]
    );
    assert_eq!(found["SANDBOX_POLICY"], "standard");
    assert_eq!(found["NO_NETWORK"], "1");
    assert_eq!(found["LANG"], "C.UTF-8");
    assert_eq!(found["TERM"], "dumb");
    assert!(found["PATH"].starts_with("/usr/bin:/bin"), "{found:?}");
    assert!(!found["PATH"].contains("/no/such"), "{found:?}");
    assert_ne!(found["HOME"], "/root");
}

#[test]
fn strict_s_environment_is_exactly_the_listed() {
    let plugin = Plugin::new("");
    let ended = jar()
        .caller_env("LANG", "C.UTF-8")
        .caller_env("SECRET", "secret")
        .plugin(plugin.path(), &["environment"])
        .end()
        .clean();
    let found = environment(&ended);
    for (name, value) in [
        ("PATH", "/bin"),
        ("HOME", "/home/plugin"),
        ("TMPDIR", "/tmp"),
        ("SANDBOX_POLICY", "strict"),
        ("NO_NETWORK", "1"),
        ("NO_SUBPROCESS", "1"),
    ] {
        assert_eq!(found.get(name), Some(&value), "{found:?}");
    }
    for name in found.keys() {
        assert!(
            [
                "PATH",
                "HOME",
                "TMPDIR",
                "SANDBOX_POLICY",
                "NO_NETWORK",
                "NO_SUBPROCESS"
            ]
            .contains(name),
            "{name} in {found:?}"
        );
    }
}

#[test]
fn cooperative_variables_cannot_be_set() {
    let plugin = Plugin::new("[env]\nset = { SANDBOX_POLICY = \"none\" }");
    let ended = jar().plugin(plugin.path(), &["environment"]).end();
    assert_eq!(ended.status.code(), Some(125), "{ended:#?}");
    let ended = jar()
        .flags(["--env", "NO_NETWORK=0"])
        .guest("environment", [""; 0])
        .end();
    assert!(!ended.stdout.contains("NO_NETWORK=0"), "{ended:#?}");
}

#[test]
fn environment_is_granted_by_flag() {
    both_presets(|preset| {
        let ended = jar()
            .preset(preset)
            .caller_env("PASSED", "through")
            .caller_env("LEFT", "behind")
            .flags(["--env", "SET=to this", "--pass-env", "PASSED"])
            .guest("environment", [""; 0])
            .end()
            .clean();
        let found = environment(&ended);
        assert_eq!(found.get("SET"), Some(&"to this"));
        assert_eq!(found.get("PASSED"), Some(&"through"));
        assert_eq!(found.get("LEFT"), None);
    });
}

#[test]
fn minimal_passes_the_caller_s_environment_less_secrets() {
    let ended = jar()
        .preset("minimal")
        .caller_env("EDITOR", "ed")
        .caller_env("AWS_SECRET_ACCESS_KEY", "hidden")
        .caller_env("GITHUB_TOKEN", "hidden")
        .guest("environment", [""; 0])
        .end()
        .clean();
    let found = environment(&ended);
    assert_eq!(found.get("EDITOR"), Some(&"ed"));
    assert_eq!(found.get("SANDBOX_POLICY"), Some(&"minimal"));
    assert!(!ended.stdout.contains("hidden"), "{found:?}");
}

#[test]
fn standard_shows_system_directories_read_only_and_no_homes() {
    let ended = jar()
        .guest(
            "look",
            [
                "/usr", "/bin", "/lib", "/root", "/home", "/var/lib", "/boot", "/opt/x",
            ],
        )
        .end()
        .clean();
    assert!(
        ended.line("/usr: ").starts_with("ro directory "),
        "{ended:#?}"
    );
    assert!(
        ended.line("/bin: ").starts_with("ro directory "),
        "{ended:#?}"
    );
    assert!(
        ended.line("/lib: ").starts_with("ro directory "),
        "{ended:#?}"
    );
    for hidden in ["/root: ", "/boot: ", "/var/lib: "] {
        let seen = ended.line(hidden);
        assert!(
            seen == "entity not found" || seen.ends_with("directory "),
            "{hidden}{seen}"
        );
    }
}

#[test]
fn system_programs_run_under_standard() {
    let ended = jar()
        .shell("ls / >/dev/null && echo fine | cat")
        .end()
        .clean();
    assert_eq!(ended.stdout, "fine\n");
}

#[test]
fn strict_shows_the_plugin_and_private_places_only() {
    let plugin = Plugin::new("");
    let places = [
        "look",
        "/",
        "/workspace",
        "/tmp",
        "/home/plugin",
        "/usr/bin",
        "/bin/ls",
        "/usr/share",
        "/root",
        "/var",
        "/etc",
    ];
    let ended = jar().plugin(plugin.path(), &places).end().clean();
    assert_eq!(ended.line("cwd="), "/workspace");
    for place in ["/workspace", "/tmp", "/home/plugin"] {
        assert_eq!(
            ended.line(&format!("{place}: ")),
            "rw directory ",
            "{ended:#?}"
        );
    }
    for place in ["/bin/ls", "/usr/share", "/root"] {
        assert_eq!(
            ended.line(&format!("{place}: ")),
            "entity not found",
            "{ended:#?}"
        );
    }
    assert!(ended.line("/: ").starts_with("ro directory "), "{ended:#?}");
}

#[test]
fn minimal_reads_everything_but_secrets() {
    let home = tempfile::tempdir().expect("a directory");
    fs::create_dir(home.path().join(".ssh")).expect("a directory");
    fs::write(home.path().join(".ssh/id_ed25519"), "secret").expect("a key");
    fs::write(home.path().join("letter"), "text").expect("a letter");
    let key = home.path().join(".ssh/id_ed25519");
    let letter = home.path().join("letter");
    let ended = jar()
        .preset("minimal")
        .caller_env("HOME", home.path())
        .guest(
            "look",
            [
                key.as_path(),
                letter.as_path(),
                "/etc/shadow".as_ref(),
                "/etc/passwd".as_ref(),
                "/usr".as_ref(),
            ],
        )
        .end()
        .clean();
    let of = |path: &std::path::Path| ended.line(&format!("{}: ", path.display())).to_owned();
    assert!(!of(&key).contains("file 6"), "{ended:#?}");
    assert_eq!(of(&letter), "ro file 4", "{ended:#?}");
    assert!(ended.line("/usr: ").starts_with("ro directory "));
    let shadow = ended.line("/etc/shadow: ");
    assert!(
        !shadow.starts_with("ro file") || shadow == "ro file 0",
        "{ended:#?}"
    );
}

#[test]
fn workdir_is_the_caller_s_where_it_can_be_seen() {
    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().to_string_lossy().into_owned();
    let ended = jar()
        .caller_dir("/usr/lib".as_ref())
        .guest("look", [""; 0])
        .end()
        .clean();
    assert_eq!(ended.line("cwd="), "/usr/lib");
    let ended = jar()
        .caller_dir(room.path())
        .guest("look", [""; 0])
        .end()
        .clean();
    assert_eq!(ended.line("cwd="), "/");
    let ended = jar()
        .caller_dir(room.path())
        .flags(["--read", &path])
        .guest("look", [""; 0])
        .end()
        .clean();
    assert_eq!(ended.line("cwd="), path);
}

/// Limit, soft, hard.
type Row = (Limit, Option<u64>, Option<u64>);

const MIB: u64 = 1 << 20;
const STANDARD: &[Row] = &[
    (Limit::Memory, None, Some(2048 * MIB)),
    (Limit::Processes, None, Some(512)),
    (Limit::OpenFiles, Some(1024), Some(4096)),
    (Limit::Disk, None, Some(1024 * MIB)),
];
const MINIMAL: &[Row] = &[
    (Limit::Memory, None, Some(4096 * MIB)),
    (Limit::Processes, None, Some(1024)),
    (Limit::OpenFiles, Some(1024), Some(4096)),
    (Limit::Disk, None, Some(1024 * MIB)),
];
const STRICT: &[Row] = &[
    (Limit::Memory, Some(64 * MIB), Some(128 * MIB)),
    (Limit::Processes, Some(10), Some(50)),
    (Limit::OpenFiles, Some(64), Some(128)),
    (Limit::CpuTime, None, Some(60_000_000_000)),
    (Limit::Wall, None, Some(300_000_000_000)),
    (Limit::Disk, None, Some(64 * MIB)),
    (Limit::FileSize, None, Some(64 * MIB)),
    (Limit::Output, None, Some(8 * MIB)),
];

#[test]
fn limits_are_the_preset_s_and_say_so() {
    for (preset, rows) in [
        ("minimal", MINIMAL),
        ("standard", STANDARD),
        ("strict", STRICT),
    ] {
        let ended = jar().preset(preset).guest("exit", ["0"]).end().clean();
        let report = ended.report();
        let found: Vec<Row> = report
            .limits
            .iter()
            .map(|limit| (limit.limit, limit.soft, limit.hard))
            .collect();
        let mut expected = rows.to_vec();
        expected.sort_by_key(|row| row.0);
        let mut sorted = found.clone();
        sorted.sort_by_key(|row| row.0);
        assert_eq!(sorted, expected, "{preset}");
        for limit in &report.limits {
            assert!(
                limit.decided_by.contains(preset),
                "{}: {}",
                limit.limit,
                limit.decided_by
            );
        }
    }
}

#[test]
fn directory_runs_strict_and_program_runs_standard() {
    let plugin = Plugin::new("");
    let ended = jar().plugin(plugin.path(), &["environment"]).end().clean();
    assert!(ended.stdout.contains("SANDBOX_POLICY=strict"));
    let ended = jar()
        .plugin(&plugin.path().join("belljar.toml"), &["environment"])
        .end()
        .clean();
    assert!(ended.stdout.contains("SANDBOX_POLICY=strict"));
    let ended = jar()
        .preset("standard")
        .plugin(plugin.path(), &["environment"])
        .end()
        .clean();
    assert!(ended.stdout.contains("SANDBOX_POLICY=standard"));
    let ended = jar()
        .preset("locked-down")
        .guest("environment", [""; 0])
        .end()
        .clean();
    assert!(ended.stdout.contains("SANDBOX_POLICY=strict"));
    let report = jar().plugin(plugin.path(), &["exit", "0"]).end().clean();
    let name = report.report().plugin.clone().expect("a plugin's name");
    assert_eq!(serde_json::to_value(name).unwrap()["name"], "probe");
}

/// Read by the shell itself: a strict jar has no other program.
#[test]
fn kernel_info_of_the_machine_is_hidden_and_its_settings_are_read_only() {
    let hidden = ["keys", "key-users", "interrupts", "kallsyms"];
    let there: Vec<&str> = hidden
        .into_iter()
        .filter(|name| std::fs::read(format!("/proc/{name}")).is_ok_and(|all| !all.is_empty()))
        .collect();
    assert!(!there.is_empty(), "the control: outside they can be read");
    let names = there.join(" ");
    let script = format!(
        "for name in {names}; do if read -r line < /proc/$name; then echo \"$name: $line\"; fi; done
         while read -r id parent device root at flags rest; do case $at in /proc|/proc/sys) echo \"$at $flags\";; esac; done < /proc/self/mountinfo"
    );
    both_presets(|preset| {
        let ended = jar().preset(preset).shell(&script).end();
        let lines: Vec<&str> = ended.stdout.lines().collect();
        let place = if preset == "strict" {
            "/proc ro,"
        } else {
            "/proc/sys ro,"
        };
        assert!(
            lines.iter().all(|line| line.starts_with("/proc")),
            "{ended:#?}"
        );
        assert!(
            lines.iter().any(|line| line.starts_with(place)),
            "{ended:#?}"
        );
    });
}
