//! Contract section 1: what is granted.
#![cfg(target_os = "linux")]

use std::{fs, path::Path};

use belljar_plan::{Limit, Outcome, Rule, Strength};
use belljar_tests::{Ended, Plugin, both_presets, jar};
use tempfile::TempDir;

/// A directory of the operator's with a file in it.
fn data() -> TempDir {
    let room = tempfile::tempdir().expect("a directory");
    fs::write(room.path().join("letter"), "text").expect("a letter");
    room
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn refused(ended: &Ended) -> &[belljar_plan::outcome::Unmet] {
    let Outcome::Refused { unmet } = ended.outcome() else {
        panic!("not refused: {ended:#?}");
    };
    unmet
}

#[test]
fn flags_are_a_program_s_request_and_grant() {
    both_presets(|preset| {
        let room = data();
        let (path, letter) = (text(room.path()), text(&room.path().join("letter")));
        let hidden = jar().preset(preset).guest("look", [&path]).end().clean();
        assert_eq!(hidden.line(&format!("{path}: ")), "entity not found");
        let read = jar()
            .preset(preset)
            .flags(["--read", &path])
            .guest("look", [&path, &letter])
            .end()
            .clean();
        assert_eq!(read.line(&format!("{path}: ")), "ro directory letter");
        assert_eq!(read.line(&format!("{letter}: ")), "ro file 4");
        let written = jar()
            .preset(preset)
            .flags(["--write", &path])
            .guest("look", [&path, &letter])
            .end()
            .clean();
        assert_eq!(written.line(&format!("{path}: ")), "rw directory letter");
        assert_eq!(written.line(&format!("{letter}: ")), "rw file 4");
    });
}

#[test]
fn device_is_granted_at_another_place() {
    both_presets(|preset| {
        // A device that is open to all, since what is root's alone takes an
        // idmapped mount to show, which the usual /dev does not take.
        let ended = jar()
            .preset(preset)
            .flags(["--read", "/dev/zero:/mnt/zeros"])
            .program(["/bin/head", "-c", "3", "/mnt/zeros"])
            .end()
            .clean();
        assert_eq!(ended.stdout, "\0\0\0", "{ended:#?}");
    });
}

#[test]
fn path_can_be_granted_at_another_place() {
    both_presets(|preset| {
        let room = data();
        let grant = format!("{}:/data/in", room.path().display());
        let ended = jar()
            .preset(preset)
            .flags(["--read", &grant])
            .guest("look", ["/data/in", &text(room.path())])
            .end()
            .clean();
        assert_eq!(ended.line("/data/in: "), "ro directory letter");
        assert_eq!(
            ended.line(&format!("{}: ", room.path().display())),
            "entity not found"
        );
    });
}

#[test]
fn grant_that_undoes_the_preset_is_warned_of_once_and_works() {
    both_presets(|preset| {
        let room = data();
        let harmless = jar()
            .preset(preset)
            .flags(["--write".as_ref(), room.path().as_os_str()])
            .guest("look", [room.path()])
            .end()
            .clean();
        assert_eq!(harmless.stderr, "");
        let ended = jar()
            .preset(preset)
            .flags(["--write", "/etc/passwd"])
            .guest("look", ["/etc/passwd"])
            .end();
        assert!(ended.status.success(), "{ended:#?}");
        assert_eq!(
            ended.stderr,
            "belljar: warning: --write lets it write /etc/passwd: it takes the configuration of the whole machine (`/etc`)\n"
        );
    });
}

#[test]
fn single_file_can_be_granted() {
    both_presets(|preset| {
        let room = data();
        let letter = room.path().join("letter");
        fs::write(room.path().join("other"), "hidden").expect("a file");
        let ended = jar()
            .preset(preset)
            .flags(["--write".as_ref(), letter.as_os_str()])
            .guest("write", [&letter, Path::new("changed")])
            .end()
            .clean();
        assert_eq!(
            fs::read_to_string(&letter).unwrap(),
            "changed",
            "{ended:#?}"
        );
        let ended = jar()
            .preset(preset)
            .flags(["--read".as_ref(), letter.as_os_str()])
            .guest("look", [text(room.path())])
            .end()
            .clean();
        let seen = ended.line(&format!("{}: ", room.path().display()));
        assert!(seen.ends_with("directory letter"), "{seen}");
    });
}

#[test]
fn what_a_jar_writes_is_the_operator_s() {
    use std::os::unix::fs::MetadataExt;
    both_presets(|preset| {
        let room = data();
        let made = room.path().join("made");
        let _ = jar()
            .preset(preset)
            .flags(["--write".as_ref(), room.path().as_os_str()])
            .guest("write", [&made, Path::new("text")])
            .end()
            .clean();
        let metadata = fs::metadata(&made).expect("what was written");
        let directory = fs::metadata(room.path()).expect("the directory");
        assert_eq!(
            (metadata.uid(), metadata.gid()),
            (directory.uid(), directory.gid())
        );
    });
}

#[test]
fn link_to_a_granted_place_is_followed_once() {
    let room = data();
    let link = room.path().join("link");
    std::os::unix::fs::symlink(room.path().join("letter"), &link).expect("a link");
    let ended = jar()
        .flags(["--read".as_ref(), link.as_os_str()])
        .guest("look", [text(&link)])
        .end()
        .clean();
    assert_eq!(ended.line(&format!("{}: ", link.display())), "ro file 4");
}

#[test]
fn plugin_gets_what_it_asks_for_and_policy_grants() {
    let room = data();
    let path = text(room.path());
    let plugin = Plugin::new(&format!("[filesystem]\nread = [\"{path}\"]"));
    let policy = plugin.policy(&format!("[filesystem]\nread = [\"{path}\"]"));
    let ended = jar()
        .flags(["--policy".as_ref(), policy.as_os_str()])
        .plugin(plugin.path(), &["look", &path])
        .end()
        .clean();
    assert_eq!(ended.line(&format!("{path}: ")), "ro directory letter");
    // Granted, and not asked for.
    let silent = Plugin::new("");
    let ended = jar()
        .flags(["--policy".as_ref(), policy.as_os_str()])
        .plugin(silent.path(), &["look", &path])
        .end()
        .clean();
    assert_eq!(ended.line(&format!("{path}: ")), "entity not found");
}

#[test]
fn request_that_is_not_granted_refuses_with_flag_and_policy_line() {
    let room = data();
    let path = text(room.path());
    let plugin = Plugin::new(&format!("[filesystem]\nread = [\"{path}\"]"));
    let ended = jar().plugin(plugin.path(), &["exit", "0"]).end();
    let unmet = refused(&ended);
    let remedies: String = unmet.iter().map(|unmet| unmet.remedy.as_str()).collect();
    assert!(remedies.contains(&format!("--read {path}")), "{unmet:#?}");
    assert!(remedies.contains("read = ["), "{unmet:#?}");
}

#[test]
fn optional_request_that_is_not_granted_is_dropped_and_reported() {
    let room = data();
    let path = text(room.path());
    let plugin = Plugin::new(&format!(
        "[filesystem]\nread = [{{ path = \"{path}\", optional = true }}]"
    ));
    let ended = jar().plugin(plugin.path(), &["look", &path]).end().clean();
    assert_eq!(ended.line(&format!("{path}: ")), "entity not found");
    assert_eq!(ended.report().dropped.len(), 1, "{ended:#?}");
}

#[test]
fn flag_needs_no_request() {
    let room = data();
    let path = text(room.path());
    let plugin = Plugin::new("");
    let ended = jar()
        .flags(["--read", &path])
        .plugin(plugin.path(), &["look", &path])
        .end()
        .clean();
    assert_eq!(ended.line(&format!("{path}: ")), "ro directory letter");
}

#[test]
fn deny_beats_a_flag_with_both_lines_named() {
    let room = data();
    let path = text(room.path());
    let plugin = Plugin::new("");
    let policy = plugin.policy(&format!("[filesystem]\ndeny = [\"{path}\"]"));
    let ended = jar()
        .flags([
            "--policy".as_ref(),
            policy.as_os_str(),
            "--read".as_ref(),
            path.as_ref(),
        ])
        .plugin(plugin.path(), &["look", &path])
        .end();
    assert_eq!(ended.status.code(), Some(125), "{ended:#?}");
    assert!(ended.stderr.contains("--read"), "{ended:#?}");
    assert!(ended.stderr.contains("operator.toml"), "{ended:#?}");
}

#[test]
fn deny_inside_a_grant_hides_what_is_there() {
    let room = data();
    fs::create_dir(room.path().join("secrets")).expect("a directory");
    fs::write(room.path().join("secrets/key"), "secret").expect("a key");
    let path = text(room.path());
    let key = format!("{path}/secrets/key");
    let plugin = Plugin::new("");
    let policy = plugin.policy(&format!("[filesystem]\ndeny = [\"{path}/secrets\"]"));
    for flag in ["--read", "--write"] {
        let ended = jar()
            .flags([
                "--policy".as_ref(),
                policy.as_os_str(),
                flag.as_ref(),
                path.as_ref(),
            ])
            .plugin(plugin.path(), &["read_file", &key])
            .end();
        assert!(ended.stdout.starts_with("stopped: "), "{flag}: {ended:#?}");
    }
    assert_eq!(fs::read_to_string(&key).unwrap(), "secret");
}

#[test]
fn deny_of_a_missing_path_inside_a_writable_grant_is_refused() {
    let room = data();
    let path = text(room.path());
    let plugin = Plugin::new("");
    let policy = plugin.policy(&format!("[filesystem]\ndeny = [\"{path}/later\"]"));
    let ended = jar()
        .flags([
            "--policy".as_ref(),
            policy.as_os_str(),
            "--write".as_ref(),
            path.as_ref(),
        ])
        .plugin(plugin.path(), &["exit", "0"])
        .end();
    assert_eq!(ended.status.code(), Some(125), "{ended:#?}");
}

#[test]
fn rule_that_can_never_apply_is_refused_at_load() {
    let plugin = Plugin::new("");
    let policy = plugin.policy("[filesystem]\nread = [\"/usr/share\"]\ndeny = [\"/usr\"]");
    let _ = jar()
        .flags(["--policy".as_ref(), policy.as_os_str()])
        .plugin(plugin.path(), &["exit", "0"])
        .end()
        .bad_usage("never apply");
}

#[test]
fn grant_of_a_path_that_is_not_there_is_refused() {
    let ended = jar()
        .flags(["--read", "/no/such/path"])
        .shell("exit 0")
        .end();
    assert_eq!(ended.status.code(), Some(125), "{ended:#?}");
    assert!(ended.stderr.contains("/no/such/path"), "{ended:#?}");
}

fn limit(ended: &Ended, limit: Limit) -> (Option<u64>, String) {
    ended
        .report()
        .limits
        .iter()
        .find(|found| found.limit == limit)
        .map(|found| (found.hard, found.decided_by.clone()))
        .unwrap_or_else(|| panic!("no {limit}: {ended:#?}"))
}

#[test]
fn manifest_s_limit_above_the_ceiling_is_lowered_and_says_by_whom() {
    let plugin = Plugin::new("[limits]\nmemory = \"1GiB\"\nwall = \"10s\"");
    let ended = jar().plugin(plugin.path(), &["exit", "0"]).end().clean();
    let (memory, by) = limit(&ended, Limit::Memory);
    assert_eq!(memory, Some(128 << 20));
    assert!(by.contains("preset"), "{by}");
    let (wall, by) = limit(&ended, Limit::Wall);
    assert_eq!(wall, Some(10_000_000_000));
    assert!(by.contains("belljar.toml"), "{by}");

    let policy = plugin.policy("[limits]\nmemory = \"100MiB\"");
    let ended = jar()
        .flags(["--policy".as_ref(), policy.as_os_str()])
        .plugin(plugin.path(), &["exit", "0"])
        .end()
        .clean();
    let (memory, by) = limit(&ended, Limit::Memory);
    assert_eq!(memory, Some(100 << 20));
    assert!(by.contains("operator.toml"), "{by}");
}

#[test]
fn flag_replaces_a_preset_s_limit_up_or_down() {
    for value in ["96MiB", "512MiB"] {
        let ended = jar()
            .preset("strict")
            .flags(["--memory", value])
            .guest("exit", ["0"])
            .end()
            .clean();
        let (memory, by) = limit(&ended, Limit::Memory);
        let expected = value.trim_end_matches("MiB").parse::<u64>().unwrap() << 20;
        assert_eq!(memory, Some(expected));
        assert!(by.contains("--memory"), "{by}");
    }
}

#[test]
fn flag_above_a_policy_s_ceiling_is_refused_with_both_lines() {
    let plugin = Plugin::new("");
    let policy = plugin.policy("[limits]\nmemory = \"64MiB\"");
    let ended = jar()
        .flags([
            "--policy".as_ref(),
            policy.as_os_str(),
            "--memory".as_ref(),
            "1GiB".as_ref(),
        ])
        .plugin(plugin.path(), &["exit", "0"])
        .end();
    assert_eq!(ended.status.code(), Some(125), "{ended:#?}");
    assert!(ended.stderr.contains("--memory"), "{ended:#?}");
    assert!(ended.stderr.contains("operator.toml"), "{ended:#?}");
}

#[test]
fn none_lifts_a_limit_by_flag_only() {
    let ended = jar()
        .preset("strict")
        .flags(["--wall", "none"])
        .guest("exit", ["0"])
        .end()
        .clean();
    let hard = ended
        .report()
        .limits
        .iter()
        .find(|limit| limit.limit == Limit::Wall)
        .and_then(|limit| limit.hard);
    assert_eq!(hard, None);
    let plugin = Plugin::new("[limits]\nwall = \"none\"");
    let _ = jar()
        .plugin(plugin.path(), &["exit", "0"])
        .end()
        .bad_usage("none");
}

#[test]
fn what_is_not_built_is_refused_as_unsupported() {
    let plugin = Plugin::new("[network]\nconnect = [\"example.org:443\"]");
    let ended = jar().plugin(plugin.path(), &["exit", "0"]).end();
    assert_eq!(ended.status.code(), Some(125), "{ended:#?}");
    assert!(ended.stderr.contains("unsupported"), "{ended:#?}");
    let plugin =
        Plugin::new("[network]\nconnect = [{ to = \"example.org:443\", optional = true }]");
    let ended = jar().plugin(plugin.path(), &["exit", "0"]).end();
    assert!(
        ended.status.code() == Some(0) && ended.report().dropped.len() == 1,
        "{ended:#?}"
    );
}

#[test]
fn a_rate_that_is_optional_is_held_or_dropped_and_never_promised_in_vain() {
    let plugin = Plugin::new("[limits]\ncpu = { hard = \"50%\", optional = true }");
    let ended = jar().plugin(plugin.path(), &["exit", "0"]).end();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    let report = ended.report();
    let dropped = report
        .dropped
        .iter()
        .any(|dropped| dropped.request == "limits.cpu 50%");
    let rule = report.enforcement.iter().find(|row| row.rule == Rule::Cpu);
    let held = rule.is_some_and(|row| row.applied == Strength::Kernel);
    assert!(dropped != held, "{report:#?}");
}

#[test]
fn policy_table_is_read_out_of_a_host_s_own_file() {
    let plugin = Plugin::new("");
    let policy = plugin.policy("title = \"a host\"\n[security.limits]\nmemory = \"50MiB\"\n");
    let ended = jar()
        .flags([
            "--policy".to_owned(),
            format!("{}#security", policy.display()),
        ])
        .plugin(plugin.path(), &["exit", "0"])
        .end()
        .clean();
    assert_eq!(limit(&ended, Limit::Memory).0, Some(50 << 20));
}

#[test]
fn json_does_as_well_as_toml() {
    let plugin = Plugin::new("");
    let manifest = plugin.path().join("probe.json");
    fs::write(
        &manifest,
        r#"{"plugin": {"name": "probe", "version": "1.0.0", "entry": "guest"}, "limits": {"wall": "9s"}}"#,
    )
    .expect("a manifest");
    let ended = jar().plugin(&manifest, &["exit", "0"]).end().clean();
    assert_eq!(limit(&ended, Limit::Wall).0, Some(9_000_000_000));
}
