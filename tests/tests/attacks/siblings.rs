//! Two jars of one starter against each other.

use belljar_tests::{Started, alive, bare, both_presets, ids, is_root, jar};

use crate::ipc::names;

const WORD: &str = "sibling-at-rest";

fn resting(preset: &str) -> Started {
    let started = jar()
        .preset(preset)
        .input_open()
        .guest("catch_signal", ["1", WORD])
        .start();
    started.wait_for("ready");
    started
}

fn finish(started: Started) {
    started.signal(rustix::process::Signal::HUP);
    let ended = started.end();
    assert!(!ended.stdout.contains("ESCAPED"), "{ended:#?}");
}

#[test]
fn two_jars_neither_see_nor_signal_nor_read_each_other() {
    both_presets(|preset| {
        let other = resting(preset);
        for target in [other.guest(), other.first(), other.launcher(), other.pid()] {
            let pid = target.to_string();
            for attack in ["see_task", "kill_task", "trace_task", "read_task_memory"] {
                jar().preset(preset).guest(attack, [&pid]).stops();
                assert!(alive(target), "{attack} harmed a task of another jar");
            }
        }
        finish(other);
    });
}

#[test]
fn two_jars_share_no_uid_where_root_starts_them() {
    both_presets(|preset| {
        let (one, two) = (resting(preset), resting(preset));
        let (mine, theirs) = (ids(one.guest()).unwrap(), ids(two.guest()).unwrap());
        if is_root() {
            assert_ne!(mine.users, theirs.users);
            assert_ne!(mine.groups, theirs.groups);
            assert!(mine.further.is_empty() && theirs.further.is_empty());
            for ids in [mine, theirs] {
                assert!(!ids.users.contains(&0) && !ids.groups.contains(&0));
                assert!(!ids.users.contains(&65534));
            }
        } else {
            let own = rustix::process::geteuid().as_raw();
            assert_eq!(mine.users, [own; 4]);
            assert_eq!(theirs.users, [own; 4]);
        }
        finish(one);
        finish(two);
    });
}

#[test]
fn two_jars_share_no_object_nor_socket() {
    let (key, name) = names(7);
    both_presets(|preset| {
        // In strict there are no such objects to hold.
        let mut other = jar()
            .preset("standard")
            .input_open()
            .guest("hold", [&key, &name])
            .start();
        other.wait_for("ready");
        for (attack, word) in [
            ("find_sysv", &key),
            ("find_queue", &name),
            ("find_shared_memory", &name),
            ("connect_abstract", &name),
        ] {
            jar().preset(preset).guest(attack, [word]).stops();
        }
        // Nor does the machine find them.
        for attack in ["find_queue", "find_shared_memory", "connect_abstract"] {
            let outside = bare([attack, &name]);
            assert_eq!(outside.status.code(), Some(0), "{outside:?}");
        }
        other.close_input();
        let _ = other.end().clean();
    });
}
