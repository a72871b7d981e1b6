//! Manual pages and completions, read by the programs that they are for.
#![cfg(target_os = "linux")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use belljar_tests::{Need, need};

fn belljar(words: &[&str]) -> Output {
    belljar_tests::output(Command::new(env!("CARGO_BIN_EXE_belljar")).args(words))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn pages_are_set_without_a_warning() {
    if !need(Need::Program("groff")) {
        return;
    }
    let room = tempfile::tempdir().unwrap();
    let pages = room.path().join("man1");
    let output = belljar(&["man", "--out", pages.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let mut names: Vec<String> = fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.contains(&"belljar.1".to_owned()), "{names:?}");
    assert!(names.contains(&"belljar-run.1".to_owned()), "{names:?}");
    for name in names {
        let set = set(&pages.join(&name));
        assert!(set.status.success(), "{name}: {set:?}");
        assert_eq!(text(&set.stderr), "", "{name}");
        // It is set, and what is told besides options is in it.
        let page = text(&set.stdout);
        // A page that only names others leaves it to them.
        let names_others = page.contains("\nSUBCOMMANDS") && name != "belljar.1";
        assert!(
            page.contains("EXIT STATUS") || names_others,
            "{name}: {page}"
        );
        // Lines that are shown as they are fit a terminal.
        for line in page.lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
    }
}

/// groff(1) with all its warnings, 80 columns, without escape sequences.
fn set(page: &Path) -> Output {
    belljar_tests::output(
        Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-rLL=80n", "-P-c", "-P-b", "-P-u"])
            .arg(page),
    )
}

#[test]
fn one_page_is_printed_by_its_subcommand_s_name() {
    let page = text(&belljar(&["man", "run"]).stdout);
    assert!(page.contains(".TH belljar-run 1 "), "{page}");
    assert!(page.contains("BELLJAR_LOG"), "{page}");
    let whole = text(&belljar(&["man"]).stdout);
    assert!(whole.contains(".TH belljar 1 "), "{whole}");

    let output = belljar(&["man", "rum"]);
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(
        text(&output.stderr),
        "belljar: there is no subcommand `rum`\nbelljar: remedy: `belljar help` lists them\n"
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_one_complaint() {
    let output = belljar(&["man", "--out", "/dev/null/man1"]);
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(
        text(&output.stderr),
        "belljar: cannot write `/dev/null/man1`: Not a directory (os error 20)\n\
         belljar: remedy: name a directory that you may write to\n"
    );
}

/// What bash offers for the last of `words`.
fn completed(script: &Path, words: &[&str]) -> Vec<String> {
    let said = belljar_tests::output(
        Command::new("bash")
            .args([
                "--norc",
                "-c",
                r#"
                source "$1" || exit
                shift
                COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
                COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
                function=$(complete -p belljar | sed 's/.*-F \([^ ]*\).*/\1/')
                "$function" belljar "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
                printf '%s\n' "${COMPREPLY[@]}"
                "#,
                "bash",
            ])
            .arg(script)
            .args(words)
            .env("PATH", "/usr/bin:/bin"),
    );
    // compopt(1) complains where no completion is under way.
    let complaints = text(&said.stderr);
    assert!(
        complaints.lines().all(|line| line.contains("compopt")),
        "{complaints}"
    );
    text(&said.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_subcommands_options_and_values() {
    if !need(Need::Program("bash")) {
        return;
    }
    let room = tempfile::tempdir().unwrap();
    let script = room.path().join("belljar");
    fs::write(&script, belljar(&["completions", "bash"]).stdout).unwrap();
    let sound = belljar_tests::output(Command::new("bash").arg("-n").arg(&script));
    assert!(
        sound.status.success() && sound.stderr.is_empty(),
        "{sound:?}"
    );

    let offered = |words: &[&str]| completed(&script, words);
    assert_eq!(offered(&["belljar", "ru"]), ["run"]);
    assert_eq!(offered(&["belljar", "run", "--wal"]), ["--wall"]);
    assert_eq!(
        offered(&["belljar", "run", "--preset", "st"]),
        ["standard", "strict"]
    );
    assert_eq!(
        offered(&["belljar", "run", "--best-effort", "pro"]),
        ["processes"]
    );
    assert_eq!(
        offered(&["belljar", "run", "--require", "memory="]),
        ["memory=supervisor", "memory=kernel"]
    );
    assert_eq!(offered(&["belljar", "run", "--allow", "j"]), ["jit"]);
    assert_eq!(
        offered(&["belljar", "prove", "--read", "group:g"]),
        ["group:git", "group:gpu"]
    );
    assert_eq!(offered(&["belljar", "learn", "--read", "/us"]), ["/usr"]);
    assert_eq!(offered(&["belljar", "confine", "--ke"]), ["--keep-fd"]);
    assert_eq!(
        offered(&["belljar", "confine", "--read", "group:g"]),
        ["group:git", "group:gpu"]
    );
    assert_eq!(offered(&["belljar", "confine", "--write", "/us"]), ["/usr"]);
    assert_eq!(
        offered(&["belljar", "confine", "--require", "files="]),
        ["files=supervisor", "files=kernel"]
    );
    assert_eq!(offered(&["belljar", "why", "--", "c"]), ["connect", "call"]);
    assert_eq!(offered(&["belljar", "run", "--", "c"]), [""]);
    assert_eq!(offered(&["belljar", "schema", "rep"]), ["report"]);
    assert_eq!(offered(&["belljar", "man", "comp"]), ["completions"]);
    assert_eq!(offered(&["belljar", "policy", "ch"]), ["check"]);
    assert_eq!(offered(&["belljar", "learn", "--accept", "h"]), ["high"]);
}
