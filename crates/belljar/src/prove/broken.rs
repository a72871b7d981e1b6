//! Only for tests, by the feature `break-plan`: a plan that lacks what one of its
//! rules claims, so that a test can see that prove notices.
//!
//! `BELLJAR_BREAK` names the rule. The steps and values that hold it are taken
//! away, or others are put in that show what it hides; the claims stay.

use std::{
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
};

use belljar_plan::{
    Attributes, Bytes, Limit, Namespaces, Plan, Resource, Rule, Source, Step,
    plan::MachineIdentity, step::OwnedStep,
};

const VARIABLE: &str = "BELLJAR_BREAK";

/// Takes away what holds the rule that the variable names.
pub(super) fn apply(plan: &mut Plan) {
    let rule = std::env::var(VARIABLE)
        .ok()
        .and_then(|word| Rule::from_word(&word));
    let Some(rule) = rule else {
        return;
    };
    match rule {
        Rule::Files => {
            remove(plan, is_landlock);
            let (base, _) = super::outside::base(plan);
            show(plan, &base, false);
        }
        Rule::Network => {
            let own = has_own_network(plan);
            share(plan, |namespaces| namespaces.network = false);
            // Without namespaces the filter holds it.
            if !own {
                remove(plan, is_filter);
            }
        }
        Rule::Sockets => {
            share(plan, |namespaces| namespaces.network = false);
            remove(plan, is_landlock);
            remove(plan, is_filter);
        }
        Rule::Tasks => show_proc(plan),
        Rule::Ipc => {
            share(plan, |namespaces| namespaces.ipc = false);
            remove(plan, |step| {
                matches!(step, Step::Queues {} | Step::AllowQueues { .. }) || is_filter(step)
            });
        }
        Rule::Identity => other_identity(plan),
        Rule::Privileges => change(plan, |step| {
            if let Step::Capabilities { keep, ambient } = step {
                // CAP_CHOWN
                (*keep, *ambient) = (1, 1);
            }
        }),
        Rule::Syscalls | Rule::Nesting | Rule::Exec => remove(plan, is_filter),
        Rule::WritableCode => remove(plan, |step| {
            is_filter(step) || matches!(step, Step::FixedCode {})
        }),
        Rule::Devices => {
            remove(plan, is_landlock);
            show(plan, Path::new("/dev"), true);
        }
        Rule::KernelInfo => remove(
            plan,
            |step| matches!(step, Step::Mask { path } | Step::ReadOnly { path } if path.0.starts_with(b"proc/")),
        ),
        Rule::Terminal => remove(plan, |step| matches!(step, Step::Session { .. })),
        Rule::Descriptors => remove(plan, |step| matches!(step, Step::CloseDescriptors {})),
        Rule::Environment => change(plan, |step| {
            if let Step::Exec { variables, .. } = step {
                variables.push("LEAKED=1".into());
            }
        }),
        Rule::Cleanup => {
            share(plan, |namespaces| namespaces.pid = false);
            show_proc(plan);
            remove(plan, |step| {
                matches!(
                    step,
                    Step::DieWithLauncher {} | Step::Adopt {} | Step::DieWithFirst {}
                )
            });
        }
        Rule::Memory => without_limit(plan, Limit::Memory, Resource::Data),
        Rule::CpuTime => without_limit(plan, Limit::CpuTime, Resource::Cpu),
        Rule::Wall => plan.limits.retain(|planned| planned.limit != Limit::Wall),
        Rule::Output => plan.limits.retain(|planned| planned.limit != Limit::Output),
        Rule::Disk => change(plan, |step| {
            if let Step::Scratch { size, .. } = step {
                *size = 1 << 30;
            }
        }),
        Rule::Processes => without_limit(plan, Limit::Processes, Resource::Processes),
        Rule::OpenFiles => without_limit(plan, Limit::OpenFiles, Resource::OpenFiles),
        Rule::FileSize => without_limit(plan, Limit::FileSize, Resource::FileSize),
        Rule::Cpu => without_settings(plan, "cpu"),
        Rule::Io => without_settings(plan, "io."),
    }
}

fn change(plan: &mut Plan, change: impl FnMut(&mut OwnedStep)) {
    plan.steps.iter_mut().for_each(change);
}

/// Removes steps. What rules list of them is never looked at again: the report of
/// this jar is not told.
fn remove(plan: &mut Plan, is: impl Fn(&OwnedStep) -> bool) {
    plan.steps.retain(|step| !is(step));
    plan.rules.iter_mut().for_each(|rule| rule.steps.clear());
}

fn is_landlock(step: &OwnedStep) -> bool {
    matches!(
        step,
        Step::Canary {}
            | Step::Ruleset { .. }
            | Step::AllowPath { .. }
            | Step::AllowQueues { .. }
            | Step::Restrict { .. }
    )
}

fn is_filter(step: &OwnedStep) -> bool {
    matches!(step, Step::Filter { .. })
}

/// Leaves the jar in a namespace of the machine's.
fn share(plan: &mut Plan, without: impl Fn(&mut Namespaces)) {
    change(plan, |step| {
        if let Step::Clone { namespaces } = step {
            without(namespaces);
        }
    });
    if !has_own_network(plan) {
        // Both are of a network namespace of its own.
        remove(plan, |step| {
            matches!(step, Step::Loopback {} | Step::Sysctls { .. })
        });
    }
}

fn has_own_network(plan: &Plan) -> bool {
    plan.steps
        .iter()
        .any(|step| matches!(step, Step::Clone { namespaces } if namespaces.network))
}

fn machine(path: &Path) -> Option<Source<Bytes>> {
    let found = std::fs::metadata(path).ok()?;
    Some(Source::Path {
        path: Bytes(path.as_os_str().as_bytes().to_vec()),
        device: found.dev(),
        inode: found.ino(),
    })
}

fn bind(source: Source<Bytes>, target: &[u8], read_only: bool) -> OwnedStep {
    Step::Bind {
        source,
        target: Bytes(target.to_vec()),
        recursive: true,
        attributes: Attributes {
            read_only,
            ..Attributes::default()
        },
        optional: false,
    }
}

/// Shows a directory of the machine at its own path.
fn show(plan: &mut Plan, path: &Path, read_only: bool) {
    let is_end = |step: &OwnedStep| matches!(step, Step::LeaveMachine {});
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (Some(at), Some(source)) = (plan.steps.iter().position(is_end), machine(&path)) else {
        return;
    };
    let inside = |path: &Path| path.as_os_str().as_bytes()[1..].to_vec();
    let mut above: Vec<&Path> = path.ancestors().collect();
    above.pop();
    let directories = above.iter().rev().map(|path| Step::Directory {
        path: Bytes(inside(path)),
        mode: 0o755,
    });
    let steps: Vec<OwnedStep> = directories
        .chain([bind(source, &inside(&path), read_only)])
        .collect();
    plan.steps.splice(at..at, steps);
    plan.rules.iter_mut().for_each(|rule| rule.steps.clear());
}

/// The machine's `/proc` in the place of the jar's.
fn show_proc(plan: &mut Plan) {
    let Some(source) = machine(Path::new("/proc")) else {
        return;
    };
    change(plan, |step| {
        if matches!(step, Step::Proc { .. }) {
            *step = bind(source.clone(), b"proc", true);
        }
    });
}

/// Another's range of uids, or root inside where there is but one uid.
fn other_identity(plan: &mut Plan) {
    match &mut plan.identity.machine {
        MachineIdentity::Own { first, count } => *first += *count,
        MachineIdentity::Caller { .. } => change(plan, |step| {
            if let Step::MapIds { uid, .. } | Step::TakeIds { uid, .. } = step {
                *uid = 0;
            }
        }),
    }
}

/// Settings of the jar's own cgroup whose files begin so.
fn without_settings(plan: &mut Plan, prefix: &str) {
    change(plan, |step| {
        if let Step::Cgroup { settings } = step {
            settings.retain(|setting| !setting.0.starts_with(prefix.as_bytes()));
        }
    });
}

fn without_limit(plan: &mut Plan, limit: Limit, resource: Resource) {
    match limit {
        Limit::Memory => without_settings(plan, "memory."),
        Limit::Processes => without_settings(plan, "pids."),
        _ => {}
    }
    plan.limits.retain(|planned| planned.limit != limit);
    remove(
        plan,
        |step| matches!(step, Step::Rlimit { resource: of, .. } if *of == resource),
    );
}
