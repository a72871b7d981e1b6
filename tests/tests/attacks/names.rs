//! Attacks by names and what hangs on names.

use std::{fs, path::Path};

use belljar_plan::{Limit, Outcome};
use belljar_tests::{Ended, Plugin, bare, both_presets, jar};

use crate::{alike::NONE, resources::after};

/// Takes away what is too deep for a path, level by level from the top.
fn remove(place: &Path) {
    let mut top = place.join("level-0");
    for count in 0.. {
        let below = fs::read_dir(&top)
            .expect("a level")
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.is_dir());
        let next = place.join(format!("next-{count}"));
        if let Some(below) = &below {
            fs::rename(below, &next).expect("a level below");
        }
        fs::remove_dir_all(&top).expect("a level that is left");
        if below.is_none() {
            return;
        }
        top = next;
    }
}

/// Whether something was dug there.
fn is_dug(place: &Path) -> bool {
    place.join("level-0/level-1/level-2/level-3").exists()
}

const LEVELS: &str = "4000";

/// Still far below any path, for a file system on a disk.
const SOME_LEVELS: &str = "1000";

/// That nothing is left of it is looked for at the end of each run.
#[test]
pub(crate) fn deep_directories_are_cleaned_up() {
    both_presets(|preset| {
        let ended = jar().preset(preset).guest("dig_deep", [LEVELS]).end();
        assert_eq!(ended.status.code(), Some(42), "{ended:#?}");
        ended.held();
    });
    // Without a jar it stays; the test's own directory is removed with it.
    let room = tempfile::tempdir().expect("a directory");
    bare([
        "dig_deep".as_ref(),
        SOME_LEVELS.as_ref(),
        room.path().as_os_str(),
    ])
    .escapes();
    assert!(is_dug(room.path()));
    remove(room.path());
}

/// There it is the operator's. Whoever measures what has grown gets to its end,
/// or ends the jar because it can't.
#[test]
fn deep_directories_in_a_grant_stay_and_are_measured() {
    both_presets(|preset| {
        let room = tempfile::tempdir().expect("a directory");
        let granted = room.path().to_string_lossy().into_owned();
        let ended = jar()
            .preset(preset)
            .flags(["--write", &granted, "--disk", "64MiB"])
            .guest("dig_deep", [SOME_LEVELS, &granted])
            .end();
        let dug = is_dug(room.path());
        remove(room.path());
        let limit = Limit::Disk;
        assert!(
            [&Outcome::Exited { code: 42 }, &Outcome::Limit { limit }].contains(&ended.outcome()),
            "{ended:#?}"
        );
        assert!(dug, "{ended:#?}");
    });
}

#[test]
pub(crate) fn attributes_are_bounded() {
    both_presets(|preset| {
        let ended = jar()
            .preset(preset)
            .flags(["--disk", "16MiB"])
            .guest("hoard_attributes", ["64"])
            .stops();
        assert!(after(&ended) <= 16 << 20, "{ended:#?}");
    });
    bare(["hoard_attributes", "1"]).escapes();
}

/// What would steer a terminal; see the guest.
const EVIL: &str = "\x1b]0;evil\x07\x1b[2J\r\nbelljar: all is well\n\x1b[6n";

/// Holds belljar's own words to have none of that, nor those of its report that
/// are for people.
fn says_nothing_raw(ended: &Ended, own: &str) {
    let raw = |text: &str| text.contains(|c: char| c.is_control() && c != '\n');
    assert!(!raw(own), "{own:?}");
    assert!(!own.contains("\nbelljar: all is well"), "{own:?}");
    let Some(report) = &ended.report else {
        return;
    };
    let told = report
        .violations
        .iter()
        .map(|violation| &violation.action)
        .chain(&report.symptoms)
        .chain(&report.weakenings)
        .chain(&report.notes);
    for text in told {
        assert!(!raw(text) && !text.contains('\n'), "{text:?}");
    }
}

#[test]
pub(crate) fn escapes_do_not_reach_people() {
    both_presets(|preset| {
        let ended = jar()
            .preset(preset)
            .flags(["-v"])
            .guest("speak_escapes", NONE)
            .end();
        // What it writes to its streams is its own, and passed on as it is.
        assert!(ended.stdout.contains("\x1b]0;evil"), "{ended:#?}");
        let own: String = ended
            .stderr
            .split_inclusive('\n')
            .filter(|line| line.starts_with("belljar: ") && !line.contains("all is well"))
            .collect();
        says_nothing_raw(&ended, &own);
        ended.held();
    });
    bare(["speak_escapes"]).escapes();
}

#[test]
fn escapes_in_names_and_words_are_told_escaped() {
    let room = tempfile::tempdir().expect("a directory");
    let evil = room.path().join(EVIL.replace('/', "_"));
    fs::write(&evil, "text").expect("a file");
    let name = evil.to_string_lossy().into_owned();
    let missing = format!("/nowhere/{EVIL}");
    // A program that is none, and one that is not there; grants; words; a task's name.
    for (flags, program) in [
        (vec![], vec![name.as_str()]),
        (vec![], vec![missing.as_str()]),
        (vec!["--read", &missing], vec!["/bin/true"]),
        (vec!["--read", &name, "--workdir", &name], vec!["/bin/true"]),
        (vec!["--env", EVIL], vec!["/bin/true"]),
        (vec!["--hostname", EVIL], vec!["/bin/true"]),
        (vec!["--preset", EVIL], vec!["/bin/true"]),
        (vec!["--policy", &name], vec!["/bin/true"]),
        (vec!["-v"], vec!["/bin/true", EVIL]),
    ] {
        let ended = jar().flags(&flags).program(&program).end();
        says_nothing_raw(&ended, &ended.stderr);
    }
}

/// What a plugin's author wrote is hostile before the plugin runs.
#[test]
fn escapes_in_a_manifest_are_told_escaped() {
    let long = "n".repeat(65536);
    let quoted = r"\u001b]0;evil\u0007\u001b[2J\r\nbelljar: all is well";
    for manifest in [
        format!("[plugin]\nname = \"{quoted}\"\nversion = \"1.0.0\"\nentry = \"guest\"\n"),
        format!("[plugin]\nname = \"probe\"\nversion = \"{quoted}\"\nentry = \"guest\"\n"),
        format!("[plugin]\nname = \"probe\"\nversion = \"1.0.0\"\nentry = \"{quoted}\"\n"),
        format!("[plugin]\nname = \"{long}\"\nversion = \"1.0.0\"\nentry = \"guest\"\n"),
        format!("[plugin]\n\"{quoted}\" = 1\n"),
        format!("[plugin]\nname = {EVIL}\n"),
        format!("[filesystem]\nread = [\"/{quoted}\"]\n"),
    ] {
        let plugin = Plugin::new("");
        fs::write(plugin.path().join("belljar.toml"), &manifest).expect("a manifest");
        let ended = jar().plugin(plugin.path(), &[]).end();
        assert_eq!(ended.status.code(), Some(125), "{manifest:?}: {ended:#?}");
        says_nothing_raw(&ended, &ended.stderr);
        assert!(ended.stderr.len() < 2 * long.len(), "{manifest:?}");
    }
}

/// 64 KiB is longer than any name of a file, and no longer than a program's word.
#[test]
fn names_of_64_kib_are_refused_and_words_arrive_whole() {
    let long = "n".repeat(65536);
    let path = format!("/{long}");
    let refused = |ended: Ended| {
        assert!((125..=127).contains(&ended.status.code().unwrap_or(0)));
        // Once, and no further copies of it.
        let said = ended.stderr.len();
        assert!(said < 2 * path.len(), "{said} bytes");
    };
    for flag in ["--read", "--write", "--workdir", "--policy"] {
        refused(jar().flags([flag, &path]).program(["/bin/true"]).end());
    }
    refused(jar().program([&path]).end());
    both_presets(|preset| {
        let ended = jar().preset(preset).guest("echo", [&long]).end().clean();
        assert!(ended.stdout == long, "{} bytes", ended.stdout.len());
    });
}
