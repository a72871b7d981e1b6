//! Every rule of the contract as far as a process can lay it upon itself, in words.

use std::collections::BTreeMap;

use belljar_plan::{
    Filter, Preset, Rule, Strength,
    filter::{Code, Exec},
    landlock::Right,
    outcome::Unmet,
    plan::{Enforcement, PlannedLimit, PlannedRule},
};

use super::{
    ATTRIBUTES, Held, HeldKind, NOT_IN_CONFINE, Process, RULES, demand, enforcement, filter, least,
};
use crate::{
    effective::Effective,
    facts::{Ability, HostFacts},
    planner::linux::landlock::Domain,
    seccomp::Architecture,
};

/// What the steps put in place.
pub(super) struct Placed<'a> {
    pub(super) effective: &'a Effective,
    pub(super) facts: &'a HostFacts,
    pub(super) process: &'a Process,
    pub(super) limits: &'a [PlannedLimit],
    pub(super) domain: Result<&'a Domain, &'a String>,
    pub(super) filter: Option<&'a Filter>,
    /// Why code could be made past the filter.
    pub(super) own_code: Option<String>,
    pub(super) steps: BTreeMap<Rule, Vec<u16>>,
}

/// Every rule, in the contract's order.
pub(super) fn planned(mut placed: Placed<'_>) -> Vec<PlannedRule> {
    let rule = |rule: &Rule| {
        let planned = held(*rule, &placed);
        let effective = placed.effective;
        let unset = matches!(rule, Rule::OpenFiles | Rule::FileSize)
            && placed
                .limits
                .iter()
                .all(|limit| limit.limit.rule() != *rule);
        let (requested, origin) = match effective.require.get(rule) {
            Some(said) => (said.value, said.origin.clone()),
            None if unset => (Strength::None, effective.preset.origin.clone()),
            None => (least(*rule, effective), effective.preset.origin.clone()),
        };
        PlannedRule {
            rule: *rule,
            requested,
            best_effort: effective.best_effort.contains_key(rule),
            steps: match planned.strength {
                Strength::None => Vec::new(),
                _ => placed.steps.remove(rule).unwrap_or_default(),
            },
            planned,
            origin,
        }
    };
    Rule::ALL.iter().map(rule).collect()
}

/// What holds a rule.
fn held(rule: Rule, placed: &Placed<'_>) -> Enforcement {
    use Strength::{Kernel, None};
    if !RULES.contains(&rule) {
        return enforcement(NOT_IN_CONFINE, None);
    }
    let nothing = || enforcement("nothing", None);
    let Some(filter) = placed.filter else {
        return match rule {
            Rule::OpenFiles | Rule::FileSize => of_limit(rule, placed),
            Rule::Descriptors => descriptors(placed),
            _ => nothing(),
        };
    };
    if filter::lifted(filter).contains(&rule) {
        return enforcement("nothing: the policy's [seccomp] allow gives it up", None);
    }
    match rule {
        Rule::Files => files(filter, placed),
        Rule::Sockets => sockets(placed),
        Rule::Privileges => privileges(placed),
        Rule::Syscalls => enforcement(
            "seccomp on all threads: the preset's list by number and argument, all else refused; no events",
            Kernel,
        ),
        Rule::Nesting => enforcement(
            "seccomp: no flag of a namespace, no mount, no other root",
            Kernel,
        ),
        Rule::Descriptors => descriptors(placed),
        Rule::Exec => match filter.exec {
            Exec::Any => enforcement("granted: other programs may be started", None),
            Exec::Once => enforcement(
                "seccomp: one start is let through, by addresses that nobody can guess and that are gone after it",
                Kernel,
            ),
            Exec::None => enforcement("seccomp: no program is started", Kernel),
        },
        Rule::WritableCode => writable_code(filter, placed),
        Rule::OpenFiles | Rule::FileSize => of_limit(rule, placed),
        _ => nothing(),
    }
}

fn descriptors(placed: &Placed<'_>) -> Enforcement {
    if placed.process.threads > 1 {
        return enforcement(
            "nothing: what is open at one moment leads to /dev/null, and other threads may open more meanwhile",
            Strength::None,
        );
    }
    enforcement(
        "every descriptor but 0, 1, 2 and the kept leads to /dev/null, and is closed on exec",
        Strength::Kernel,
    )
}

fn of_limit(rule: Rule, placed: &Placed<'_>) -> Enforcement {
    let set = placed
        .limits
        .iter()
        .any(|limit| limit.limit.rule() == rule && limit.hard.is_some());
    let process = placed.process;
    if set && process.threads > 1 && process.capabilities {
        return enforcement(
            "nothing: a thread that keeps its capabilities may raise it again",
            Strength::None,
        );
    }
    match (set, rule) {
        (false, _) => enforcement("no limit is set", Strength::None),
        (true, Rule::OpenFiles) => enforcement("RLIMIT_NOFILE of each process", Strength::Kernel),
        (true, _) => enforcement("RLIMIT_FSIZE of each process", Strength::Kernel),
    }
}

fn sockets(placed: &Placed<'_>) -> Enforcement {
    if placed.process.threads > 1 {
        return enforcement(
            "nothing: seccomp makes no new ones but pairs, and other threads may have some before it holds",
            Strength::None,
        );
    }
    let loose = |held: &&Held| held.kind == HeldKind::LooseSocket;
    if let Some(held) = placed.process.held.iter().find(loose) {
        return enforcement(
            format!(
                "nothing: descriptor {} is a unix socket that can be connected or sent from to others",
                held.number
            ),
            Strength::None,
        );
    }
    let scoped = placed
        .domain
        .is_ok_and(|domain| domain.handles(Right::AbstractUnixSocket));
    let more = match scoped {
        true => "; abstract names of the machine refused by Landlock too",
        false => "",
    };
    enforcement(
        format!("seccomp: no unix sockets but pairs that are connected to each other{more}"),
        Strength::Kernel,
    )
}

fn files(filter: &Filter, placed: &Placed<'_>) -> Enforcement {
    let domain = match placed.domain {
        Ok(domain) => domain,
        Err(cause) => return enforcement(format!("nothing: {cause}"), Strength::None),
    };
    let unseen = |name: &&String| ATTRIBUTES.contains(&name.as_str()) || *name == "truncate";
    if let Some(name) = filter.allow.iter().find(unseen) {
        return enforcement(
            format!(
                "nothing: the policy's [seccomp] allow lets {name} through, which Landlock does not look at"
            ),
            Strength::None,
        );
    }
    let names = match placed.effective.preset.value {
        Preset::Minimal => {
            "; names in hidden directories can be listed, and flags of own files set by ioctl"
        }
        Preset::Standard | Preset::Strict => "",
    };
    enforcement(
        format!(
            "{}: only granted paths can be opened, listed, made, moved and removed; seccomp: modes, owners and extended \
             attributes stay as they are; that a path is there, its attributes and what happens to it can be seen, and times of own files set{names}",
            domain.mechanism()
        ),
        Strength::Kernel,
    )
}

fn privileges(placed: &Placed<'_>) -> Enforcement {
    let process = placed.process;
    if process.threads > 1 && process.capabilities {
        return enforcement(
            "nothing: capset(2) holds the calling thread alone, and there are others",
            Strength::None,
        );
    }
    let bounding = match process.bounding && process.threads == 1 {
        true => {
            "bounding, permitted, effective, inheritable and ambient sets emptied and read back; securebits locked"
        }
        false => {
            "permitted, effective, inheritable and ambient sets empty; the bounding set is as it was, and gives nothing"
        }
    };
    enforcement(
        format!("no_new_privs; {bounding}; set-id bits and new user namespaces refused by seccomp"),
        Strength::Kernel,
    )
}

fn writable_code(filter: &Filter, placed: &Placed<'_>) -> Enforcement {
    let mdwe = match placed.facts.fixed_code {
        true => ", and PR_SET_MDWE",
        false => "",
    };
    match (filter.code, &placed.own_code) {
        (Code::Any, _) => enforcement("granted: code may be made", Strength::None),
        (_, Some(cause)) => enforcement(format!("nothing: {cause}"), Strength::None),
        (Code::Closed, None) => enforcement(
            format!(
                "seccomp: nothing becomes executable any more, no file is mapped as code, no memfd{mdwe}"
            ),
            Strength::Kernel,
        ),
        (Code::Fixed | Code::FixedByMdwe, None) => enforcement(
            format!(
                "seccomp: nothing executable is mapped but files, nothing becomes executable, no memfd; no file can be written{mdwe}"
            ),
            Strength::Kernel,
        ),
    }
}

/// A rule that is required more strongly than it can be held here.
pub(super) fn unmet(rule: &PlannedRule, facts: &HostFacts, alone: bool) -> Option<Unmet> {
    if rule.planned.strength >= rule.requested || rule.best_effort {
        return None;
    }
    let (reason, remedy) = cause(rule, facts, alone);
    Some(Unmet {
        rule: rule.rule,
        required: Some(rule.requested),
        available: Some(rule.planned.strength),
        reason,
        remedy,
    })
}

fn cause(planned: &PlannedRule, facts: &HostFacts, alone: bool) -> (String, String) {
    let rule = planned.rule;
    if !RULES.contains(&rule) {
        return (
            format!(
                "it is not in confine: no process holds it of itself ({})",
                planned.origin
            ),
            "leave the demand out, or run the program in a jar by `belljar run`".to_owned(),
        );
    }
    let accept = format!("accept it by `--best-effort {rule}`");
    if Architecture::of_machine(&facts.machine).is_none() {
        return (
            format!("the system calls of {} are not known here", facts.machine),
            accept,
        );
    }
    match (rule, &facts.landlock) {
        (Rule::Files, Ability::Unavailable { cause, remedy }) => {
            return (cause.clone(), format!("{remedy}; or {accept}"));
        }
        (Rule::Files, Ability::Available) if facts.landlock_abi < super::MOVES => {
            return (
                format!(
                    "Landlock ABI {} is too old to hold a process that moves files",
                    facts.landlock_abi
                ),
                format!("boot Linux 5.19 or later; or {accept}"),
            );
        }
        (Rule::Descriptors, _) if !alone => {
            return (
                "other threads may open descriptors meanwhile".to_owned(),
                format!("confine the process before any thread is started; or {accept}"),
            );
        }
        (Rule::Sockets, _) if !alone => {
            return (
                "other threads may have unix sockets before the filter holds".to_owned(),
                format!("confine the process before any thread is started; or {accept}"),
            );
        }
        (Rule::Sockets, _)
            if let Some(reason) = planned
                .planned
                .mechanism
                .strip_prefix("nothing: descriptor") =>
        {
            return (
                format!("descriptor{reason}"),
                format!("give it a pipe or a connected socket instead; or {accept}"),
            );
        }
        (Rule::WritableCode, _)
            if let Some(reason) = planned
                .planned
                .mechanism
                .strip_prefix("nothing: without Landlock") =>
        {
            return (
                format!("without Landlock{reason}"),
                format!("say `--allow jit`, which gives the rule up; or {accept}"),
            );
        }
        (Rule::OpenFiles | Rule::FileSize, _) if !alone => {
            return (
                "a thread that keeps its capabilities may raise it again".to_owned(),
                format!("confine the process before any thread is started; or {accept}"),
            );
        }
        (Rule::Files | Rule::Privileges, _) if !alone => {
            return (
                "it holds the calling thread alone, and there are others".to_owned(),
                format!("confine the process before any thread is started; or {accept}"),
            );
        }
        (Rule::WritableCode, _)
            if let Some(reason) = planned
                .planned
                .mechanism
                .strip_prefix("nothing: what is written") =>
        {
            return (
                format!("what is written{reason}"),
                "grant it for reading alone; or say `--allow jit`, which gives the rule up; or run it in a jar by `belljar run`"
                    .to_owned(),
            );
        }
        _ => {}
    }
    if let (Ability::Unavailable { cause, remedy }, true) =
        (&facts.seccomp, planned.planned.mechanism == "nothing")
    {
        return (cause.clone(), remedy.clone());
    }
    demand::cause(planned, facts)
}
