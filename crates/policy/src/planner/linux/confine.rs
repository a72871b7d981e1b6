//! What a process lays upon itself, for hosts that sandbox their own workers: what of a
//! policy can be held without a launcher, in which order, and what is said of the rest.
//!
//! A process has no root of its own, no namespaces and nobody beside it who answers. What
//! holds it is Landlock, the filter, rlimits and emptied sets of capabilities; the rules that
//! take more are listed as [`NOT_IN_CONFINE`].

use belljar_plan::{
    Bytes, Filter, Limit, Preset, Resource, Rule, Step, Strength,
    filter::{Code, Exec, Unix},
    landlock::Right,
    outcome::Unmet,
    plan::{Enforcement, Hidden, PlannedGrant, PlannedLimit, PlannedRule},
    step::OwnedStep,
};

use super::{
    super::{demand, environment::SYSTEM_PATH, program},
    Steps,
    cgroup::Cgroup,
    code, filter,
    landlock::{Domain, Tcp},
    limits, places as of_jar,
};
use crate::{
    effective::{Effective, effective},
    facts::{Ability, HostFacts, Os},
    policy::{Policy, Said},
    refusal::Refusal,
    verified::{Subject, Verified},
};

mod places;
mod process;
mod refuse;
mod rules;

pub use places::listed;
pub use process::{Entry, Held, HeldKind, Mapped, Process, Start};

/// The mechanism of a rule that no process can lay upon itself.
pub const NOT_IN_CONFINE: &str = "not in confine";

/// The rules that it can; `docs/contract.md` section 2.
pub const RULES: [Rule; 10] = [
    Rule::Files,
    Rule::Sockets,
    Rule::Privileges,
    Rule::Syscalls,
    Rule::Nesting,
    Rule::Descriptors,
    Rule::Exec,
    Rule::WritableCode,
    Rule::OpenFiles,
    Rule::FileSize,
];

/// Since this version a domain can be entered that lets files be moved.
const MOVES: u32 = 2;

/// Since this version truncating by a path is looked at.
const TRUNCATES: u32 = 3;

/// Calls that change what a file is to others, which Landlock does not look at: whoever
/// owns a file could open it to all by them.
const ATTRIBUTES: [&str; 16] = [
    "chmod",
    "chown",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fremovexattr",
    "fsetxattr",
    "lchown",
    "lremovexattr",
    "lsetxattr",
    "removexattr",
    "removexattrat",
    "setxattr",
    "setxattrat",
];

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It can be done so.
    Plan(Box<Confinement>),
    /// It cannot be done in this process, whatever its policy is.
    Unsupported(Unsupported),
}

/// What cannot be done here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// What, and why.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// How a process is confined, before it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// The policy's starting point.
    pub preset: Preset,
    /// Every rule, and which steps put it in place.
    pub rules: Vec<PlannedRule>,
    /// The limits that each process is bound to.
    pub limits: Vec<PlannedLimit>,
    /// Paths that may be used by somebody's word.
    pub grants: Vec<PlannedGrant>,
    /// Places within them that may not.
    pub hidden: Vec<Hidden>,
    /// What the filter is made of.
    pub filter: Option<Filter>,
    /// The domain, by name.
    pub landlock: Option<belljar_plan::Landlock>,
    /// Whatever makes this weaker than its preset.
    pub weakenings: Vec<String>,
    /// What an operator should know.
    pub notes: Vec<String>,
    /// In order. What comes before [`Step::NoNewPrivs`] can still be undone, and nothing
    /// from there on.
    pub steps: Vec<OwnedStep>,
    /// What is started afterwards: where, and the arguments with the name.
    pub program: Option<(Bytes, Vec<Bytes>)>,
}

/// Decides how a process confines itself. Pure: equal input gives an equal answer.
///
/// # Errors
/// [`Refusal`], where the policy asks for what a process cannot hold of itself, or this
/// machine does not hold what is required.
pub fn plan(
    verified: &Verified,
    policy: &Policy,
    facts: &HostFacts,
    process: &Process,
) -> Result<Decision, Refusal> {
    if facts.os != Os::Linux {
        return Ok(Decision::Unsupported(Unsupported {
            what: format!("a process cannot confine itself on {:?} yet", facts.os),
            remedy: "run it on Linux".to_owned(),
        }));
    }
    let policy = with_preset(policy);
    let effective = effective(verified, &policy)?;
    refuse::policy(&policy, &effective)?;
    let hidden = places::hidden(&effective, facts);
    refuse::grants(verified, &effective, &hidden, &process.procs)?;
    refuse::descriptors(&process.held)?;
    let unsupported = of_threads(&effective, facts, process);
    if let Some(unsupported) = unsupported.or_else(|| beyond_limit(process)) {
        return Ok(Decision::Unsupported(unsupported));
    }
    let program = started(verified, process)?;
    let alone = process.threads == 1;
    let domain = match no_domain(facts, alone) {
        Some(cause) => Err(cause),
        None => Ok(Domain::new(
            facts.landlock_abi,
            places::of(verified, &effective, facts, process, &hidden),
            Tcp::Open,
        )),
    };
    let filter = filter_of(verified, &effective, facts, process, domain.is_ok());
    let mut of_process = limits::planned(&effective, &facts.bounds);
    of_process.retain(|limit| RULES.contains(&limit.limit.rule()));
    let steps = steps(
        &effective,
        facts,
        process,
        &of_process,
        domain.as_ref().ok(),
        filter.as_ref(),
    )?;
    let placed = rules::Placed {
        effective: &effective,
        facts,
        process,
        limits: &of_process,
        domain: domain.as_ref(),
        filter: filter.as_ref(),
        own_code: own_code(verified, &effective, process, domain.is_ok()),
        steps: steps.of,
    };
    let planned = rules::planned(placed);
    let unmet: Vec<Unmet> = planned
        .iter()
        .filter_map(|rule| rules::unmet(rule, facts, alone))
        .collect();
    if !unmet.is_empty() {
        return Err(Refusal::Unmet { unmet });
    }
    let notes = notes(facts, process, domain.is_ok());
    Ok(Decision::Plan(Box::new(Confinement {
        preset: effective.preset.value,
        rules: planned,
        limits: of_process,
        grants: of_jar::grants(verified, &effective),
        hidden: hidden
            .into_iter()
            .map(|said| Hidden {
                path: said.value.as_str().into(),
                origin: said.origin,
            })
            .collect(),
        filter,
        landlock: domain.ok().map(|domain| domain.named),
        weakenings: effective.weakenings.clone(),
        notes,
        steps: steps.list,
        program,
    })))
}

/// Where nobody says a preset it is `strict`: nothing is let through that nobody spoke of.
#[must_use]
pub fn with_preset(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    policy.preset.get_or_insert_with(|| Said {
        value: Preset::Strict,
        origin: "default".to_owned(),
    });
    policy
}

/// Why Landlock cannot hold the whole process here.
fn no_domain(facts: &HostFacts, alone: bool) -> Option<String> {
    match &facts.landlock {
        Ability::Unavailable { cause, .. } => Some(cause.clone()),
        Ability::Available if facts.landlock_abi < MOVES => Some(format!(
            "Landlock ABI {} refuses whatever moves a file to another directory; Linux 5.19 has one that does not",
            facts.landlock_abi
        )),
        Ability::Available if !alone => {
            Some("Landlock holds the calling thread alone, and there are others".to_owned())
        }
        Ability::Available => None,
    }
}

/// What holds one thread alone, and must hold all. It is not the policy's fault, so that it
/// is no refusal.
fn of_threads(effective: &Effective, facts: &HostFacts, process: &Process) -> Option<Unsupported> {
    if process.threads == 1 {
        return None;
    }
    if process.filtered_apart {
        return Some(Unsupported {
            what: format!(
                "this process has {} threads, and some of them a filter of their own, so that none can be put on all; nothing \
                 was applied",
                process.threads
            ),
            remedy: "confine it before any thread is started".to_owned(),
        });
    }
    let accepted = |rule: Rule| effective.best_effort.contains_key(&rule);
    let by_landlock = !accepted(Rule::Files) && no_domain(facts, true).is_none();
    let by_sets = !accepted(Rule::Privileges) && process.capabilities;
    let what = match (by_landlock, by_sets) {
        (false, false) => return None,
        (true, false) => "Landlock holds",
        (false, true) => "capset(2) holds",
        (true, true) => "Landlock and capset(2) hold",
    };
    Some(Unsupported {
        what: format!(
            "this process has {} threads, and {what} the calling one alone; nothing was applied",
            process.threads
        ),
        remedy: "confine it before any thread is started; `best_effort` of each rule that this loses leaves the filter, \
                 which holds all threads"
            .to_owned(),
    })
}

/// What cannot be led nowhere, since no new descriptor can have its number.
fn beyond_limit(process: &Process) -> Option<Unsupported> {
    process.beyond_limit.map(|number| Unsupported {
        what: format!(
            "descriptor {number} is not below this process's own limit of open files (soft RLIMIT_NOFILE), so that \
             nothing can be put in its place; nothing was applied"
        ),
        remedy: "close it, or raise that limit above it (`ulimit -n`)".to_owned(),
    })
}

/// What is started, with its arguments; none where the process stays.
fn started(verified: &Verified, process: &Process) -> Result<Option<(Bytes, Vec<Bytes>)>, Refusal> {
    let (Start::Executes, Subject::Program(asked)) = (process.start, &verified.subject) else {
        return Ok(None);
    };
    // The caller's own path comes before, and was looked through too.
    let searched = SYSTEM_PATH.map(str::to_owned);
    let (at, executable) = program::choose(asked, |_, _| true, &searched)?;
    let exec = program::exec(
        at,
        asked.asked.clone(),
        executable,
        asked.arguments.iter().cloned(),
    )?;
    Ok(Some((exec.path.as_str().into(), exec.arguments)))
}

/// The filter of a process that nobody stands beside: no denial is heard of, and of unix
/// sockets there are pairs.
fn filter_of(
    verified: &Verified,
    effective: &Effective,
    facts: &HostFacts,
    process: &Process,
    domain: bool,
) -> Option<Filter> {
    let none = belljar_plan::Namespaces::default();
    let of_a_jar = filter::planned(verified, effective, facts, none)?;
    let strict_exec = of_a_jar.exec == Exec::Once;
    let stays = process.start == Start::Stays;
    let truncate = (facts.landlock_abi < TRUNCATES).then_some("truncate");
    let own = ATTRIBUTES.into_iter().chain(truncate).filter(|_| domain);
    let own = own
        .filter(|name| !of_a_jar.allow.iter().any(|allowed| allowed == name))
        .map(str::to_owned);
    let mut deny: Vec<String> = of_a_jar.deny.iter().cloned().chain(own).collect();
    deny.sort();
    deny.dedup();
    Some(Filter {
        exec: match (strict_exec, stays) {
            (true, true) => Exec::None,
            _ => of_a_jar.exec,
        },
        // All that it needs is loaded, and what it may write could become code else.
        code: match (of_a_jar.code, strict_exec && stays) {
            (Code::Any, _) | (_, false) => of_a_jar.code,
            (Code::Fixed | Code::FixedByMdwe | Code::Closed, true) => Code::Closed,
        },
        unix: Unix::Pairs,
        events: false,
        observe: false,
        deny,
        ..of_a_jar
    })
}

/// In the order in which they are done. What can fail comes before what holds for good,
/// Landlock before the filter, which would refuse what is still to be done.
fn steps(
    effective: &Effective,
    facts: &HostFacts,
    process: &Process,
    of_process: &[PlannedLimit],
    domain: Option<&Domain>,
    filter: Option<&Filter>,
) -> Result<Steps, Refusal> {
    let mut steps = Steps::default();
    let mut of_domain = vec![Rule::Files];
    let scoped = domain.is_some_and(|domain| domain.handles(Right::AbstractUnixSocket));
    of_domain.extend(scoped.then_some(Rule::Sockets));
    let entered = domain.map(Domain::steps);
    let mut restrict = None;
    if let Some((ruleset, allowed, last)) = entered {
        steps.push(ruleset, &of_domain);
        steps.extend(allowed, &[Rule::Files]);
        restrict = Some(last);
    }
    steps.push(Step::NoNewPrivs {}, &[Rule::Privileges]);
    steps.push(Step::CloseDescriptors {}, &[Rule::Descriptors]);
    // With more threads there is nothing to empty, or that was accepted.
    if process.threads == 1 {
        if process.bounding {
            steps.push(Step::Securebits {}, &[Rule::Privileges]);
        }
        let empty = Step::Capabilities {
            keep: 0,
            ambient: 0,
        };
        steps.push(empty, &[Rule::Privileges]);
    }
    if let Some(restrict) = restrict {
        steps.push(restrict, &of_domain);
    }
    // What comes before still opens files.
    let no_cgroup = Cgroup::planned(&[], &[], None, facts, 0);
    for (step, limit) in limits::rlimits(of_process, &no_cgroup, effective.preset.value, facts) {
        let core = matches!(
            step,
            Step::Rlimit {
                resource: Resource::Core,
                ..
            }
        );
        // A process that stays may have a deeper stack, or more locked, than a new one gets.
        if process.start == Start::Stays && limit.is_none() && !core {
            continue;
        }
        let rule = limit.map(Limit::rule);
        steps.push(step, rule.as_slice());
    }
    if let Some(filter) = filter {
        let rules: Vec<Rule> = [filter::rules(filter), vec![Rule::Files]].concat();
        for step in filter::steps(filter, facts)? {
            let fixes = matches!(step, Step::FixedCode {});
            steps.push(step, if fixes { &[Rule::WritableCode] } else { &rules });
        }
    }
    Ok(steps)
}

/// Why code could be made past the filter.
fn own_code(
    verified: &Verified,
    effective: &Effective,
    process: &Process,
    domain: bool,
) -> Option<String> {
    if !domain {
        return Some(
            "without Landlock its own code can be written over by /proc/self/mem, and files be written and mapped as code"
                .to_owned(),
        );
    }
    if process.start == Start::Stays {
        let mapped = mapped_code(verified, effective, &process.mapped);
        if mapped.is_some() || !effective.subprocesses {
            return mapped;
        }
    }
    if let Some(grant) = effective.grants.iter().find(|grant| grant.write) {
        return Some(format!(
            "what is written to {} ({}) can be mapped as code: no mount of a jar's own keeps it from that",
            grant.path, grant.origin
        ));
    }
    if let Some(held) = process
        .held
        .iter()
        .find(|held| matches!(held.kind, HeldKind::WrittenFile { .. }))
    {
        return Some(format!(
            "what is written to descriptor {}, a file, can be mapped as code by whoever may read it",
            held.number
        ));
    }
    code::asked_for(verified, effective, &Default::default())
}

/// Why code that it has mapped already can be changed: the filter is asked for new mappings
/// alone.
fn mapped_code(verified: &Verified, effective: &Effective, mapped: &Mapped) -> Option<String> {
    if mapped.writable {
        return Some(
            "it has memory already that is code and can be written, or is shared with who writes it"
                .to_owned(),
        );
    }
    let writes = effective.grants.iter().filter(|grant| grant.write);
    for grant in writes {
        let place = verified.survey.find(&grant.path).map(|found| &found.path);
        let place = place.unwrap_or(&grant.path);
        if let Some(file) = mapped.files.iter().find(|file| file.is_within(place)) {
            return Some(format!(
                "{file} is mapped as code and lies in {}, which may be written ({})",
                grant.path, grant.origin
            ));
        }
    }
    None
}

fn notes(facts: &HostFacts, process: &Process, domain: bool) -> Vec<String> {
    let mut notes = vec![
        "the machine's network and tasks, the environment and 0, 1 and 2 are as they were; there is no supervisor, so no \
         limits of all processes together, and no events"
            .to_owned(),
    ];
    if !domain {
        notes.push(
            "without Landlock other processes of this user can be written by /proc, where the machine lets it, and whatever \
             the filter refuses, other programs among it, be done in them"
                .to_owned(),
        );
    }
    if facts.uid == 0 {
        let keeps = if domain { "Landlock alone" } else { "nothing" };
        notes.push(format!(
            "it stays root, without capabilities: root owns most of the machine's files, and {keeps} keeps them"
        ));
    }
    if process.threads > 1 {
        notes.push(format!(
            "{} threads are held, by the filter and what the report says beside it",
            process.threads
        ));
    }
    notes.extend(limits::note(&facts.bounds));
    notes
}

fn enforcement(mechanism: impl Into<String>, strength: Strength) -> Enforcement {
    Enforcement {
        mechanism: mechanism.into(),
        strength,
    }
}

/// The least that a preset demands of a rule here.
fn least(rule: Rule, effective: &Effective) -> Strength {
    match rule {
        rule if !RULES.contains(&rule) => Strength::None,
        Rule::Exec if effective.subprocesses => Strength::None,
        Rule::WritableCode if effective.jit => Strength::None,
        rule => demand::least(rule, effective.preset.value),
    }
}
