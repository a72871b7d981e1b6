//! What is found by trying is what launches then meet.
//!
//! Runs as root and as an ordinary user who may make user namespaces.
#![cfg(target_os = "linux")]

use belljar::{Jar, Policy, Preset, facts};

/// The launch that comes after is made as if nothing had been tried.
#[tokio::test]
async fn what_was_tried_plans_every_preset_as_a_launch_does() {
    let tried = facts::tried().await;
    for ability in [&tried.namespaces, &tried.mounts, &tried.proc, &tried.tasks] {
        assert!(ability.is_available(), "{tried:#?}");
    }
    // What `minimal` hides changes with every socket that somebody binds.
    for preset in [Preset::Strict, Preset::Standard] {
        let jar = || Jar::program("true").policy(Policy::of(preset));
        let launched = jar().output().await.unwrap();
        let planned = jar().plan_for(&tried).unwrap();
        assert_eq!(
            launched.report.plan_digest,
            Some(belljar::policy::digest(&planned))
        );
    }
    let examined = tried.examined.expect("it was examined");
    for step in [
        "clone",
        "map_ids",
        "root",
        "proc",
        "seal_root",
        "restrict",
        "filter",
    ] {
        assert!(examined.done.iter().any(|done| done == step), "{step}");
    }
}
