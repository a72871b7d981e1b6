//! Places and links that a grant must not use: each was a way around a rule.

#[expect(dead_code, reason = "the planner's own tests use the rest")]
mod common;

use belljar_plan::Step;
use belljar_policy::{
    Policy, Refusal,
    manifest::Place,
    verified::{FileKind, Verified},
};
use common::{as_root, found, machine, path, plan, survey, true_program};

fn granted(at: Option<&str>) -> (Verified, Policy) {
    let mut verified = true_program();
    survey(&mut verified, "/data", found("/data", FileKind::Directory));
    let mut policy = Policy::default();
    policy.flags.write.push(Place {
        path: path("/data"),
        at: at.map(path),
    });
    (verified, policy)
}

#[test]
fn nothing_of_the_machine_takes_the_place_of_the_jar_s_own() {
    for facts in [machine(), as_root()] {
        for at in [
            "/dev",
            "/dev/null",
            "/dev/pts",
            "/dev/pts/0",
            "/dev/ptmx",
            "/dev/fd",
            "/.scratch",
            "/.scratch/tmp",
            "/.belljar-empty-file",
            "/proc",
            "/proc/sys",
            "/",
        ] {
            let (verified, policy) = granted(Some(at));
            let refusal = belljar_policy::plan(&verified, &policy, &facts).unwrap_err();
            assert!(
                matches!(refusal, Refusal::Invalid { .. }),
                "{at}: {refusal:?}"
            );
        }
        for at in ["/mnt", "/dev/shm", "/dev/fuse", "/devices", "/tmp/x"] {
            let (verified, policy) = granted(Some(at));
            let planned = plan(&verified, &policy, &facts);
            assert!(
                planned
                    .steps
                    .iter()
                    .any(|step| matches!(step, Step::Bind { .. }))
            );
        }
    }
}

#[test]
fn the_machine_s_root_with_its_proc_is_shown_nowhere() {
    let mut verified = true_program();
    survey(&mut verified, "/", found("/", FileKind::Directory));
    let mut policy = Policy::default();
    policy.flags.read.push(Place {
        path: path("/"),
        at: Some(path("/host")),
    });
    assert!(belljar_policy::plan(&verified, &policy, &machine()).is_err());
}

#[test]
fn a_link_in_a_directory_that_the_guest_writes_leads_no_grant_out_of_it() {
    for (real, may) in [
        ("/home/me/.ssh", false),
        ("/data/other", true),
        ("/data/part", true),
    ] {
        let (mut verified, mut policy) = granted(None);
        survey(
            &mut verified,
            "/data/part",
            found(real, FileKind::Directory),
        );
        survey(&mut verified, real, found(real, FileKind::Directory));
        policy.flags.read.push(Place {
            path: path("/data/part"),
            at: None,
        });
        let planned = belljar_policy::plan(&verified, &policy, &machine());
        assert_eq!(planned.is_ok(), may, "{real}: {planned:?}");
    }
}

#[test]
fn a_terminal_of_the_machine_enters_by_no_grant_and_other_devices_do() {
    for (at, major, minor, may) in [
        ("/dev/pts/3", 136, 3, false),
        ("/dev/tty", 5, 0, false),
        ("/dev/console", 5, 1, false),
        ("/dev/tty1", 4, 1, false),
        ("/dev/ttyS0", 4, 64, true),
        ("/dev/fuse", 10, 229, true),
    ] {
        let mut verified = true_program();
        let device = FileKind::CharacterDevice { major, minor };
        survey(&mut verified, at, found(at, device));
        let mut policy = Policy::default();
        policy.flags.read.push(Place {
            path: path(at),
            // Elsewhere, so that its place in /dev is not what is refused.
            at: Some(path("/mnt")),
        });
        let planned = belljar_policy::plan(&verified, &policy, &machine());
        assert_eq!(planned.is_ok(), may, "{at}: {planned:?}");
    }
}
