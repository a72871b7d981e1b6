//! Attacks by namespaces; and a jar in a jar, which would need some.

use belljar_plan::Rule;
use belljar_tests::{belljar, both_presets, guest, jar};

use crate::alike::{NONE, bare_does_not_stop_and_both_do};

#[test]
pub(crate) fn namespaces_are_not_unshared() {
    bare_does_not_stop_and_both_do("unshare_each");
}

#[test]
pub(crate) fn children_get_no_namespaces() {
    bare_does_not_stop_and_both_do("clone_into_each");
}

#[test]
pub(crate) fn clone3_looks_like_an_older_kernel() {
    bare_does_not_stop_and_both_do("clone3_into_namespace");
}

#[test]
pub(crate) fn namespaces_are_not_joined() {
    bare_does_not_stop_and_both_do("join_namespaces");
}

#[test]
fn namespaces_and_mounts_are_told_as_nesting() {
    both_presets(|preset| {
        for attack in [
            "unshare_each",
            "clone_into_each",
            "join_namespaces",
            "mount_by_old_calls",
            "mount_by_new_calls",
        ] {
            jar()
                .preset(preset)
                .guest(attack, NONE)
                .stops()
                .told(Rule::Nesting);
        }
    });
}

#[test]
fn threads_and_children_start_although_clone3_is_refused() {
    both_presets(|preset| {
        let ended = jar().preset(preset).guest("start_threads", NONE).end();
        assert_eq!(ended.clean().stdout, "threads 28, fork, vfork\n");
    });
}

#[test]
fn programs_start_although_clone3_is_refused() {
    let ended = jar()
        .preset("standard")
        .guest("start_programs", NONE)
        .end()
        .clean();
    assert_eq!(ended.stdout, "Some(7) Some(8)\n");
}

/// It would need namespaces, mounts, and a filter with a listener of its own.
#[test]
fn jar_in_a_jar_is_refused_with_its_cause() {
    let [belljar, guest] = [belljar(), guest()].map(|path| path.to_string_lossy());
    let ended = jar()
        .preset("standard")
        .flags(["--read", &*belljar, "--read", &*guest])
        .program([&*belljar, "run", "--", &*guest, "exit", "0"])
        .end();
    assert_eq!(ended.status.code(), Some(125), "{ended:#?}");
    assert!(ended.stdout.is_empty(), "{ended:#?}");
    assert!(ended.stderr.contains("belljar: "), "{ended:#?}");
    assert!(ended.stderr.contains("namespace"), "{ended:#?}");
}
