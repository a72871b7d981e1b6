//! Attacks by namespaces; and a jar in a jar, which would need some.

use belljar_tests::{belljar, both_presets, guest, jar};

use crate::alike::{NONE, both_stop_and_bare_does_not};

#[test]
pub(crate) fn namespaces_are_not_unshared() {
    both_stop_and_bare_does_not("unshare_each");
}

#[test]
pub(crate) fn children_get_no_namespaces() {
    both_stop_and_bare_does_not("clone_into_each");
}

#[test]
pub(crate) fn clone3_looks_like_an_older_kernel() {
    both_stop_and_bare_does_not("clone3_into_namespace");
}

#[test]
pub(crate) fn namespaces_are_not_joined() {
    both_stop_and_bare_does_not("join_namespaces");
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
