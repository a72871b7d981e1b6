//! The caller's own program in a jar: as a file at its path, or as a copy.

#[expect(dead_code, reason = "the planner's own tests use the rest")]
mod common;

use belljar_plan::{Plan, Preset, Rule, Step};
use belljar_policy::{
    HostFacts, Policy, Refusal, Verified,
    facts::Ability,
    manifest::Place,
    verified::{FileKind, ProgramBytes, Subject},
};
use common::{elf, exec, found, machine, path, program};

const HOST: &str = "/opt/host";

fn host(bytes: ProgramBytes) -> Verified {
    let mut verified = program(HOST, HOST, elf(HOST));
    let Subject::Program(program) = &mut verified.subject else {
        unreachable!("a program was made");
    };
    program.bytes = bytes;
    verified
}

fn copy() -> ProgramBytes {
    ProgramBytes::CallerImage {
        digest: "d1".repeat(32),
        length: 9000,
    }
}

fn plan(bytes: ProgramBytes, policy: &Policy) -> Plan {
    belljar_policy::plan(&host(bytes), policy, &machine()).unwrap()
}

/// What a plan shows of the machine, by where.
fn binds(plan: &Plan) -> Vec<String> {
    let targets = plan.steps.iter().filter_map(|step| match step {
        Step::Bind { target, .. } => Some(target.escaped()),
        _ => None,
    });
    targets.collect()
}

#[test]
fn the_caller_s_own_program_runs_strict_without_more_words() {
    let none = Policy::default();
    assert_eq!(plan(ProgramBytes::AtPath, &none).preset, Preset::Standard);
    assert_eq!(plan(ProgramBytes::Caller, &none).preset, Preset::Strict);
    assert_eq!(plan(copy(), &none).preset, Preset::Strict);
    let said = Policy::standard();
    assert_eq!(plan(copy(), &said).preset, Preset::Standard);
}

#[test]
fn a_copy_is_the_jar_s_own_file_and_nothing_at_its_path_is_shown() {
    for policy in [Policy::minimal(), Policy::standard(), Policy::strict()] {
        let shown = plan(ProgramBytes::Caller, &policy);
        assert_eq!(shown.image, None);

        let copied = plan(copy(), &policy);
        assert_eq!(copied.image, Some("d1".repeat(32)));
        assert_eq!(exec(&copied).0, "/.belljar-program/host");
        let file = Step::PluginFile {
            path: ".belljar-program/host".into(),
            mode: 0o755,
            offset: 0,
            length: 9000,
        };
        assert!(copied.steps.contains(&file), "{:?}", copied.steps);
        let binds = binds(&copied);
        assert!(!binds.iter().any(|at| at.ends_with("/host")), "{binds:?}");
    }
}

#[test]
fn nothing_is_granted_over_the_copy() {
    let mut policy = Policy::strict();
    policy.flags.write.push(Place {
        path: path("/data"),
        at: Some(path("/.belljar-program")),
    });
    let granting = |bytes| {
        let mut verified = host(bytes);
        let directory = found("/data", FileKind::Directory);
        verified.survey.0.insert(path("/data"), Ok(directory));
        belljar_policy::plan(&verified, &policy, &machine())
    };
    let refused = granting(copy());
    assert!(
        matches!(&refused, Err(Refusal::Invalid { reason }) if reason.contains("is where the program's copy is")),
        "{refused:?}"
    );
}

#[test]
fn the_lower_tier_which_starts_what_is_at_a_path_takes_no_program_of_the_caller_s() {
    let refusing = HostFacts {
        namespaces: Ability::Unavailable {
            cause: "namespaces are refused".into(),
            remedy: "allow them".into(),
        },
        ..machine()
    };
    let all = [
        Rule::Files,
        Rule::Tasks,
        Rule::Privileges,
        Rule::KernelInfo,
        Rule::Cleanup,
        Rule::Processes,
    ];
    let accepting = all
        .iter()
        .fold(Policy::standard(), |policy, rule| policy.best_effort(*rule));
    let lower = |bytes| belljar_policy::plan(&host(bytes), &accepting, &refusing);
    let control = lower(ProgramBytes::AtPath).unwrap();
    assert!(control.steps.contains(&Step::Adopt {}));
    for bytes in [ProgramBytes::Caller, copy()] {
        let plan = lower(bytes);
        assert!(!plan.is_ok_and(|plan| plan.steps.contains(&Step::Adopt {})));
    }
}
