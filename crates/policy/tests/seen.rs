//! What a decision leaves to the plan: denied variables, and requests that rest
//! on what the preset shows.

#[allow(dead_code, reason = "this test program uses a part of it")]
mod common;
mod world;

use belljar_plan::Preset;
use belljar_policy::{Policy, Refusal, Verified, verified::FileKind};
use common::{elf, exec, file, found, machine, plan, true_program};
use world::{plugin, policy};

/// A plugin that asks to read a path of the machine that `common` describes.
fn asks(request: &str) -> Verified {
    let mut verified = plugin(&format!("[filesystem]\nread = [{request}]"));
    if let belljar_policy::verified::Subject::Plugin(plugin) = &mut verified.subject {
        plugin.entry = Ok(belljar_policy::verified::Executable {
            file: file("/run"),
            ..elf("/run")
        });
    }
    for at in ["/home/me/.ssh", "/home/me", "/etc/shadow", "/run/x"] {
        common::survey(&mut verified, at, found(at, FileKind::Directory));
    }
    verified
}

#[test]
fn a_denied_variable_stays_out_of_a_preset_that_passes_all() {
    let names = |policy: &Policy| exec(&plan(&true_program(), policy, &machine())).2;
    let has = |variables: &[String]| variables.iter().any(|each| each.starts_with("HOME="));
    assert!(has(&names(&Policy::minimal())));
    assert!(!has(&names(&policy(
        "preset = 'minimal'\nenv.deny = ['HO*']"
    ))));
}

#[test]
fn what_minimal_shows_needs_no_grant() {
    let plan = plan(&asks("'/home/me'"), &Policy::minimal(), &machine());
    assert!(plan.dropped.is_empty());
}

#[test]
fn minimal_grants_no_secret_and_nothing_that_it_does_not_show() {
    for secret in ["/home/me/.ssh", "/etc/shadow", "/run/x"] {
        let verified = asks(&format!("'{secret}'"));
        match belljar_policy::plan(&verified, &Policy::minimal(), &machine()) {
            Err(Refusal::Unmet { unmet }) => {
                assert_eq!(
                    unmet[0].reason,
                    format!("`filesystem.read {secret}` (m line 6) is not shown by preset minimal")
                );
                assert!(unmet[0].remedy.contains(&format!("`--read {secret}`")));
            }
            other => panic!("{secret}: {other:?}"),
        }
        let optional = asks(&format!("{{ path = '{secret}', optional = true }}"));
        let plan = plan(&optional, &Policy::minimal(), &machine());
        assert_eq!(plan.preset, Preset::Minimal);
        assert_eq!(plan.dropped[0].request, format!("filesystem.read {secret}"));
    }
    // A flag is the operator's word.
    let granted = Policy::minimal().allow_read("/home/me/.ssh").unwrap();
    plan(&asks("'/home/me/.ssh'"), &granted, &machine());
}
