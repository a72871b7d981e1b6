//! Which filter of system calls a launch gets, and what that means for the rules.

use std::collections::BTreeSet;

use belljar_plan::{
    Filter, Namespaces, Preset, Rule, Step,
    filter::{Code, Exec, Unix},
    outcome::Unmet,
    plan::Slot,
    step::OwnedStep,
};

use crate::{
    effective::Effective,
    facts::{Ability, HostFacts},
    refusal::Refusal,
    seccomp::{self, Architecture, Seen},
    verified::{FileKind, Verified},
};

/// The filter of a launch; none where this machine takes none, or its calls are
/// not known here.
pub(super) fn planned(
    verified: &Verified,
    effective: &Effective,
    facts: &HostFacts,
    namespaces: Namespaces,
) -> Option<Filter> {
    let architecture = Architecture::of_machine(&facts.machine)?;
    if !facts.seccomp.is_available() {
        return None;
    }
    let preset = effective.preset.value;
    let strict = preset == Preset::Strict;
    let names = |said: &[crate::policy::Said<String>]| {
        let names: BTreeSet<&String> = said.iter().map(|said| &said.value).collect();
        names.into_iter().cloned().collect()
    };
    Some(Filter {
        machine: facts.machine.clone(),
        preset,
        exec: if strict && !effective.subprocesses {
            Exec::Once
        } else {
            Exec::Any
        },
        code: match (strict && !effective.jit, architecture) {
            (false, _) => Code::Any,
            (true, Architecture::Aarch64) if facts.fixed_code => Code::FixedByMdwe,
            (true, _) => Code::Fixed,
        },
        unix: match (
            sees_sockets(verified, effective, facts, namespaces),
            facts.listener.is_available(),
        ) {
            (false, _) => Unix::Visible,
            (true, true) => Unix::Performed,
            (true, false) => Unix::Pairs,
        },
        internet: true,
        objects: true,
        allow: names(&effective.seccomp.allow),
        deny: names(&effective.seccomp.deny),
        events: facts.listener.is_available(),
        observe: effective.observe,
    })
}

/// Whether a unix socket of the machine may be seen from the jar, now or later:
/// by an abstract name, or at a path. In the system's own runtime directories
/// only its administrator makes anything: what is bound there now is looked at.
fn sees_sockets(
    verified: &Verified,
    effective: &Effective,
    facts: &HostFacts,
    namespaces: Namespaces,
) -> bool {
    !namespaces.network
        || effective.preset.value == Preset::Minimal
        || facts.layout.sockets.iter().any(|socket| {
            let system = || facts.layout.system.iter();
            // Of the system's configuration a strict jar sees one file.
            effective.preset.value != Preset::Strict
                || system().any(|place| socket.is_within(&place.path))
        })
        || effective.grants.iter().any(|grant| {
            verified
                .survey
                .find(&grant.path)
                .is_ok_and(|found| matches!(found.kind, FileKind::Directory | FileKind::Socket))
        })
}

/// The unix sockets that are granted by their own paths.
pub(super) fn sockets(verified: &Verified, effective: &Effective) -> Vec<Slot> {
    effective
        .grants
        .iter()
        .filter_map(|grant| verified.survey.find(&grant.path).ok())
        .filter(|found| found.kind == FileKind::Socket)
        .map(|found| Slot {
            path: found.path.as_str().into(),
            device: found.device,
            inode: found.inode,
        })
        .collect()
}

/// The step that installs it, and one that fixes code where the kernel can.
pub(super) fn steps(filter: &Filter, facts: &HostFacts) -> Result<Vec<OwnedStep>, Refusal> {
    let compiled = compile(filter)?;
    let program = compiled.compile();
    let [arguments_low, arguments_high, variables_low, variables_high] =
        program.secrets.unwrap_or_default();
    let mut steps = Vec::new();
    if filter.code != Code::Any && facts.fixed_code {
        steps.push(Step::FixedCode {});
    }
    steps.push(Step::Filter {
        program: program.to_bytes().into(),
        listener: filter.events,
        arguments_low,
        arguments_high,
        variables_low,
        variables_high,
    });
    Ok(steps)
}

fn compile(filter: &Filter) -> Result<seccomp::Filter, Refusal> {
    seccomp::Filter::new(filter).map_err(|error| Refusal::Invalid {
        reason: format!("[seccomp]: {error}"),
    })
}

/// Calls that break promises of other rules than that of their own denial.
const BREAKS: &[(&str, &[Rule])] = &[
    // Inside a user namespace of its own a guest has every capability.
    ("clone", &[Rule::Privileges]),
    ("clone3", &[Rule::Privileges]),
    ("unshare", &[Rule::Privileges]),
    ("setns", &[Rule::Privileges]),
    // Code can be put into a task that is traced, into memory that is attached
    // twice, into all that can be read; a program can ask for such memory.
    ("ptrace", &[Rule::WritableCode]),
    ("shmat", &[Rule::WritableCode]),
    ("personality", &[Rule::WritableCode]),
    ("execve", &[Rule::WritableCode]),
    ("execveat", &[Rule::WritableCode]),
    // Through a ring sockets are connected and files made, past every filter.
    ("io_uring_setup", &[Rule::Sockets, Rule::Privileges]),
    ("io_uring_enter", &[Rule::Sockets, Rule::Privileges]),
];

/// The rules whose promises a policy's own `allow` gives up: those of every
/// denial that it lifts and of what it takes from the supervisor, but for the
/// list itself, which the plan names it in.
pub(crate) fn lifted(filter: &Filter) -> BTreeSet<Rule> {
    if filter.allow.is_empty() {
        return BTreeSet::new();
    }
    let without = Filter {
        allow: Vec::new(),
        ..filter.clone()
    };
    let broken = BREAKS
        .iter()
        .filter(|(name, _)| filter.allow.iter().any(|allowed| allowed == name))
        .flat_map(|(_, rules)| *rules);
    filter
        .allow
        .iter()
        .filter_map(|name| seccomp::Call::named(name))
        .flat_map(|call| seccomp::kept_by(call, &without))
        .chain(broken.copied())
        .filter(|rule| *rule != Rule::Syscalls)
        .collect()
}

/// What cannot end a jar, since nobody would see it: rules without a denial that
/// is told of, and all of them where nobody can listen.
pub(super) fn unseen(
    effective: &Effective,
    filter: Option<&Filter>,
    facts: &HostFacts,
) -> Result<(), Refusal> {
    if effective.end_on.is_empty() {
        return Ok(());
    }
    let told: BTreeSet<Rule> = filter
        .map(|filter| {
            seccomp::CALLS
                .iter()
                .flat_map(|call| seccomp::denials(call, filter))
                .filter(|denial| denial.seen == Seen::Told)
                .map(|denial| denial.rule)
                .collect()
        })
        .unwrap_or_default();
    let mut unmet = Vec::new();
    for (rule, origin) in &effective.end_on {
        let (reason, remedy) = if !told.contains(rule) {
            let seen: Vec<&str> = told.iter().map(|rule| rule.word()).collect();
            (
                format!(
                    "a violation of {rule} is not seen here, so it cannot end the jar ({origin})"
                ),
                format!("end on one of those that are seen: {}", seen.join(", ")),
            )
        } else if let Ability::Unavailable { cause, remedy } = &facts.listener {
            (
                format!(
                    "a violation of {rule} shall end the jar ({origin}), and nobody can hear of it: {cause}"
                ),
                remedy.clone(),
            )
        } else {
            continue;
        };
        unmet.push(Unmet {
            rule: *rule,
            required: None,
            available: None,
            reason,
            remedy,
        });
    }
    match unmet.is_empty() {
        true => Ok(()),
        false => Err(Refusal::Unmet { unmet }),
    }
}

/// What observes a jar is the listener; where there is none, nothing would be
/// told of a run that was started to learn from.
pub(super) fn unobserved(
    effective: &Effective,
    filter: Option<&Filter>,
    facts: &HostFacts,
) -> Result<(), Refusal> {
    let (cause, remedy) = match (effective.observe, filter, &facts.listener) {
        (false, ..) | (true, Some(_), Ability::Available) => return Ok(()),
        (true, None, _) => (
            "this machine takes no filter of system calls",
            "run it on a machine with seccomp, or without `--observe`".to_owned(),
        ),
        (true, Some(_), Ability::Unavailable { cause, remedy }) => (cause.as_str(), remedy.clone()),
    };
    Err(Refusal::Unmet {
        unmet: vec![Unmet {
            rule: Rule::Syscalls,
            required: None,
            available: None,
            reason: format!("--observe: calls cannot be looked at here: {cause}"),
            remedy,
        }],
    })
}

/// What an operator should know of a jar that is observed.
pub(super) fn note(filter: Option<&Filter>) -> Option<String> {
    filter.filter(|filter| filter.observe).map(|_| {
        "calls that name a file, a program or an address are looked at on their way and go on, and quiet denials are noted \
         (--observe): it tells what a plugin asked for, decides nothing, and makes such calls slower"
            .to_owned()
    })
}

/// What holds each of the rules that the filter keeps, in words.
pub(super) fn mechanism(rule: Rule, filter: &Filter, facts: &HostFacts) -> Option<String> {
    let events = match &facts.listener {
        Ability::Available => "rare denials are events".to_owned(),
        Ability::Unavailable { cause, .. } => format!("no events: {cause}"),
    };
    Some(match rule {
        Rule::Syscalls => {
            format!("seccomp: the preset's list by number and argument, all else refused; {events}")
        }
        Rule::Nesting => {
            "seccomp: no flag of a namespace, no mount, no other root".to_owned()
        }
        Rule::Sockets => match filter.unix {
            Unix::Visible => "network namespace, for abstract names; no path is shown but of the system's own directories, which are taken to hold no socket".to_owned(),
            Unix::Pairs => "seccomp: no unix sockets but pairs that are connected to each other".to_owned(),
            Unix::Performed => "notify+perform: the supervisor connects a duplicate of the socket to its own copy of the address; datagram sockets and abstract names of the machine refused by seccomp".to_owned(),
        },
        Rule::Exec if filter.exec == Exec::Once => {
            "seccomp: one start is let through, by addresses that nobody can guess and that are gone after it".to_owned()
        }
        Rule::WritableCode if filter.code != Code::Any => {
            let mdwe = if facts.fixed_code { ", and PR_SET_MDWE" } else { "" };
            format!("seccomp: nothing executable is mapped but files, nothing becomes executable, no memfd; noexec on every writable mount; /proc read-only{mdwe}")
        }
        _ => return None,
    })
}

/// Rules of which the filter's step is a part.
pub(super) fn rules(filter: &Filter) -> Vec<Rule> {
    let mut rules = vec![
        Rule::Ipc,
        Rule::Privileges,
        Rule::Syscalls,
        Rule::Nesting,
        Rule::Sockets,
    ];
    if filter.exec != Exec::Any {
        rules.push(Rule::Exec);
    }
    if filter.code != Code::Any {
        rules.push(Rule::WritableCode);
    }
    rules
}
