//! Attacks by two jars together. That one jar does not reach another: see `siblings`.

use std::fs;

use belljar_tests::{Started, bare, both_presets, jar};

use crate::outside::{Canary, Companion};

/// The accomplice, in a jar of its own, with a directory that only it may read.
fn accomplice(preset: &str, shared: &str, canary: &Canary, name: &str) -> Started {
    let secrets = canary.directory().to_string_lossy().into_owned();
    let started = jar()
        .preset(preset)
        .flags(["--write", shared, "--read", &secrets])
        .input_open()
        .guest("offer", [shared, &secrets, name])
        .start();
    started.wait_for("ready");
    started
}

#[test]
pub(crate) fn two_jars_pass_no_directories() {
    let canary = Canary::new();
    let name = format!("belljar-test-offer-{}", std::process::id());
    let room = tempfile::tempdir().expect("a directory");
    let shared = room.path().to_string_lossy().into_owned();
    let secrets = canary.directory().to_string_lossy().into_owned();
    let other = Companion::new(["offer", &shared, &secrets, &name]);
    bare(["conspire", &shared, "canary", &name]).escapes();
    drop(other);

    both_presets(|preset| {
        let room = tempfile::tempdir().expect("a directory");
        let shared = room.path().to_string_lossy().into_owned();
        let mut other = accomplice(preset, &shared, &canary, &name);
        jar()
            .preset(preset)
            .flags(["--write", &shared])
            .guest("conspire", [&shared, "canary", &name])
            .stops();
        other.close_input();
        let _ = other.end().clean();
    });
}

/// What both may write, both may read: that is what was granted, and all of it.
#[test]
fn two_jars_with_one_directory_pass_data_and_no_more() {
    let canary = Canary::new();
    let name = format!("belljar-test-data-{}", std::process::id());
    both_presets(|preset| {
        let room = tempfile::tempdir().expect("a directory");
        let shared = room.path().to_string_lossy().into_owned();
        let mut other = accomplice(preset, &shared, &canary, &name);
        let word = room.path().join("word");
        let said = jar()
            .preset(preset)
            .flags(["--write", &shared])
            .guest("read_file", [&word])
            .escapes()
            .stdout;
        assert!(said.contains(" bytes of "), "{said}");
        // The other's own number, as it knows it, is a task here too, or none.
        let number = fs::read_to_string(&word).expect("its word");
        let number = number.trim_start_matches("data of ").to_owned();
        let machine_s = other.guest().to_string();
        for attack in [
            "kill_task",
            "trace_task",
            "read_task_memory",
            "take_descriptor",
        ] {
            jar()
                .preset(preset)
                .flags(["--write", &shared])
                .guest(attack, [&machine_s])
                .stops();
        }
        jar()
            .preset(preset)
            .flags(["--write", &shared])
            .guest("read_file", [canary.path()])
            .stops();
        assert_ne!(number, machine_s, "a jar knows the machine's numbers");
        other.close_input();
        let _ = other.end().clean();
    });
}
