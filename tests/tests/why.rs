//! `belljar why` on the command line: what it proposes helps, what a policy denies
//! it proposes nothing for, and a denial is found again by its id.
#![cfg(target_os = "linux")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use belljar::{
    Answer,
    policy::{
        data::answer::Verdict,
        seccomp::{Architecture, Call},
    },
};
use belljar_tests::{Need, belljar, guest, jar, need, output};

/// A directory with `a/program`, `a/secret`, `b/file` and `b/sub/file`.
fn world() -> tempfile::TempDir {
    let room = tempfile::Builder::new()
        .prefix("jar-why-")
        .tempdir_in("/tmp")
        .expect("a directory");
    for name in ["a/secret", "b/file", "b/sub/file"] {
        let path = room.path().join(name);
        fs::create_dir_all(path.parent().expect("below")).expect("a directory");
        fs::write(path, name).expect("a file");
    }
    fs::copy("/bin/true", room.path().join("a/program")).expect("a copy");
    room
}

/// A question about a jar by the command line, and the answer.
fn ask(flags: &[&str], question: &[&str]) -> Answer {
    let out = output(
        Command::new(belljar())
            .args(["why", "--json"])
            .args(flags)
            .arg(guest())
            .arg("--")
            .args(question),
    );
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{question:?}: {stderr}");
    serde_json::from_slice(&out.stdout).expect("an answer")
}

/// What trying the same comes to, with more flags.
fn attempt(flags: &[&str], more: &str, question: &[&str]) -> String {
    let told = format!("{}={}", question[0], question[1..].join(","));
    let more: Vec<&str> = more.split_whitespace().collect();
    let ended = jar()
        .flags(flags)
        .flags(more)
        .program([guest().as_os_str(), "try_all".as_ref(), told.as_ref()])
        .end();
    ended.stdout
}

#[test]
fn a_grant_that_is_proposed_is_one_that_helps() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let world = world();
    let path = |name: &str| world.path().join(name).display().to_string();
    let (file, directory, program) = (path("b/file"), path("b/sub"), path("a/program"));
    let read = format!("{directory}:/mnt/in");
    for (flags, question) in [
        (vec![], vec!["read", file.as_str()]),
        (vec![], vec!["write", file.as_str()]),
        (vec!["--preset", "strict"], vec!["read", file.as_str()]),
        (vec!["--read", read.as_str()], vec!["write", "/mnt/in/new"]),
        (
            vec!["--preset", "strict", "--read", program.as_str()],
            vec!["exec", program.as_str()],
        ),
        (vec!["--preset", "strict"], vec!["exec", program.as_str()]),
        (vec![], vec!["read", "/dev/fuse"]),
    ] {
        // As root too it is the jar's own user who opens it.
        let open_to_all =
            || fs::metadata(question[1]).is_ok_and(|found| found.permissions().mode() & 0o4 != 0);
        if question[1].starts_with("/dev/") && !open_to_all() {
            continue;
        }
        let answer = ask(&flags, &question);
        assert_ne!(answer.verdict, Verdict::Allowed, "{answer:#?}");
        let refused = attempt(&flags, "", &question);
        assert!(refused.starts_with("errno "), "{refused}: {answer:#?}");
        let grant = answer
            .grant
            .clone()
            .unwrap_or_else(|| panic!("{answer:#?}"));
        let flag = grant.flag.expect("a flag");
        let came = attempt(&flags, &flag, &question);
        assert!(came.starts_with("ok"), "{flag}: {came}: {answer:#?}");
    }
}

#[test]
fn what_a_policy_denies_is_no_grant_s_to_give() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    let policy = room.path().join("p.toml");
    let world = world();
    let root = world.path().display();
    fs::write(
        &policy,
        format!("[filesystem]\nread = [\"{root}/a\"]\ndeny = [\"{root}/a/secret\"]\n"),
    )
    .expect("a file");
    let policy = policy.to_str().expect("text");
    let directory = format!("{root}/a");
    let flags = ["--policy", policy, "--read", &directory];
    let hidden = ask(&flags, &["read", &format!("{root}/a/secret")]);
    assert_eq!(hidden.verdict, Verdict::Denied);
    assert_eq!(hidden.decided_by, Some(format!("{policy} line 3")));
    assert_eq!(hidden.grant, None);
    // What the file does not bound in, no flag gives.
    let beyond = ask(&flags, &["read", &format!("{root}/b/file")]);
    assert_eq!(beyond.grant, None);
    assert!(
        beyond.reason.contains("can't be granted"),
        "{}",
        beyond.reason
    );
    assert!(beyond.reason.contains("line 2"), "{}", beyond.reason);
}

#[test]
fn a_denied_call_of_a_run_is_asked_about_by_its_id() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let state = tempfile::tempdir().expect("a directory");
    let with_state = |words: &[&str]| {
        output(
            Command::new(belljar())
                .args(words)
                .env("XDG_STATE_HOME", state.path()),
        )
    };
    let guest = guest().to_str().expect("text");
    let unshare = format!("call={},{}", number_of("unshare"), 0x1000_0000);
    let ran = with_state(&["run", "--env", "TOKEN=hunter2", guest, "try_all", &unshare]);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "errno 1\n");
    let last = with_state(&["why", "--last", "--json"]);
    let last: serde_json::Value = serde_json::from_slice(&last.stdout).expect("JSON");
    let denial = &last["denials"][0];
    assert_eq!(denial["answer"]["rule"], "nesting");
    let id = denial["id"].as_str().expect("an id");
    for id in [id, &id[..12]] {
        let asked = with_state(&["why", id]);
        let said = String::from_utf8_lossy(&asked.stdout).into_owned();
        assert!(
            said.contains("nesting (kernel)") && said.contains("EPERM"),
            "{said}"
        );
    }
    for unknown in [
        "jar-none",
        &format!("{}.9", id.split('.').next().expect("a jar")),
    ] {
        let asked = with_state(&["why", unknown]);
        assert_eq!(asked.status.code(), Some(125));
        assert!(!asked.stderr.is_empty() && asked.stdout.is_empty());
    }
    // Nothing that was passed for the program's eyes is kept.
    for file in files_below(state.path()) {
        let text = fs::read_to_string(&file).expect("text");
        assert!(!text.contains("hunter2"), "{}", file.display());
    }
    let listed = with_state(&["why", "--list", "--json"]);
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).expect("a list");
    assert_eq!(listed.len(), 1);
    let listed_for_people = String::from_utf8(with_state(&["why", "--list"]).stdout).expect("text");
    assert!(
        listed_for_people.contains("; 1 denied call\n"),
        "{listed_for_people}"
    );
    assert_eq!(keys(&last), keys(&schema("denials")["properties"]));
    let form = &schema("runs")["$defs"]["Listed"]["properties"];
    assert_eq!(keys(&listed[0]), keys(form));
    // What is not to be kept is not.
    let unkept = with_state(&["run", "--no-record", guest, "exit", "0"]);
    assert!(unkept.status.success());
    assert_eq!(files_below(state.path()).len(), 2);
}

fn schema(document: &str) -> serde_json::Value {
    let printed = output(Command::new(belljar()).args(["schema", document]));
    serde_json::from_slice(&printed.stdout).expect("a schema")
}

fn keys(object: &serde_json::Value) -> Vec<&String> {
    object.as_object().expect("an object").keys().collect()
}

fn number_of(name: &str) -> u32 {
    let machine = rustix::system::uname()
        .machine()
        .to_string_lossy()
        .into_owned();
    let architecture = Architecture::of_machine(&machine).expect("a known machine");
    Call::named(name)
        .and_then(|call| call.number(architecture))
        .expect("it has a number")
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files_below(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn a_script_of_the_working_directory_that_is_not_shown_is_told_of() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let room = world();
    fs::write(room.path().join("job.sh"), "echo done\n").expect("a file");
    let run = |flags: &[&str], script: &str| {
        output(
            Command::new(belljar())
                .args(["run", "--no-record"])
                .args(flags)
                .args(["--", "/bin/sh", script])
                .current_dir(room.path()),
        )
    };
    let failed = run(&[], "job.sh");
    assert!(!failed.status.success());
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(
        said.contains("`job.sh` is a file of your working directory"),
        "{said}"
    );
    assert!(said.contains("remedy: `--read .`"), "{said}");
    let shown = run(&["--read", "."], "job.sh");
    assert_eq!(String::from_utf8_lossy(&shown.stdout), "done\n");
    assert!(
        shown.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&shown.stderr)
    );
    // What is not there either is none of the jar's doing.
    let said = String::from_utf8_lossy(&run(&[], "none.sh").stderr).into_owned();
    assert!(!said.contains("working directory"), "{said}");
}
