//! What becomes of system calls and connections.

use belljar_plan::{Plan, Rule, Strength, answer::Verdict};

use super::{Finding, Grant};
use crate::{
    policy::Right,
    seccomp::{self, Attempt, Call, Denial, Filter},
};

pub(super) fn connect(plan: &Plan, host: &str) -> Finding {
    let network = plan.rules.iter().find(|rule| rule.rule == Rule::Network);
    let open = network.is_some_and(|rule| rule.planned.strength == Strength::None);
    if open {
        return Finding::allowed(
            Rule::Network,
            "the network is the machine's: nothing in this plan holds the rule",
        );
    }
    if is_loopback(host) {
        return Finding::new(
            Verdict::Depends,
            Rule::Network,
            "it is the jar's own loopback: only what listens inside is reached, and nothing of the machine (no network grant exists)",
        );
    }
    Finding::denied(
        Rule::Network,
        "ENETUNREACH",
        "no network grant exists: this version grants no host by name",
    )
}

/// A name or an address of the machine that asks itself; RFC 1122, RFC 4291, RFC 6761.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.eq_ignore_ascii_case("localhost");
    name || bare
        .parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.is_loopback())
}

pub(super) fn call(plan: &Plan, name: &str, arguments: &[u64]) -> Finding {
    let Some(asked) = &plan.filter else {
        return Finding::new(
            Verdict::Allowed,
            Rule::Syscalls,
            "this plan has no filter of system calls",
        );
    };
    let (Ok(filter), Some(call)) = (Filter::new(asked), Call::named(name)) else {
        return Finding::not_there("ENOSYS", "there is no such system call");
    };
    let architecture = filter.architecture();
    let Some(number) = call.number(architecture) else {
        return Finding::not_there(
            "ENOSYS",
            format!("{} has no such system call", asked.machine),
        );
    };
    if !arguments.is_empty() {
        return with(plan, &filter, call, number, arguments);
    }
    let decision = filter
        .decisions()
        .find(|(known, _)| *known == number)
        .map(|(_, decision)| decision);
    let Some(decision) = decision else {
        return denied(plan, call, newer());
    };
    // What is looked at is let through.
    let mut verdicts: Vec<seccomp::Verdict> = decision
        .clauses
        .iter()
        .map(|clause| clause.verdict)
        .chain([decision.otherwise])
        .map(|verdict| match verdict {
            seccomp::Verdict::Observe => seccomp::Verdict::Allow,
            other => other,
        })
        .collect();
    verdicts.dedup();
    match verdicts.as_slice() {
        [one] => single(plan, call, *one),
        several => {
            let refused: Vec<&str> = several
                .iter()
                .filter_map(|verdict| match verdict {
                    seccomp::Verdict::Deny(denial) => Some(denial.what),
                    _ => None,
                })
                .collect();
            let may = several
                .iter()
                .any(|verdict| !matches!(verdict, seccomp::Verdict::Deny(_)));
            let rule = several
                .iter()
                .find_map(|verdict| match verdict {
                    seccomp::Verdict::Deny(denial) => Some(denial.rule),
                    _ => None,
                })
                .unwrap_or(Rule::Syscalls);
            let reason = match may {
                true => format!("its arguments decide; refused: {}", refused.join("; ")),
                false => format!(
                    "it is refused whatever its arguments are: {}",
                    refused.join("; ")
                ),
            };
            let verdict = match may {
                true => Verdict::Depends,
                false => Verdict::Denied,
            };
            Finding {
                grant: Some(Grant::Call(call.name)),
                ..Finding::new(verdict, rule, reason)
            }
        }
    }
}

/// The evaluator's answer for these arguments; those that are not said are zero.
fn with(plan: &Plan, filter: &Filter, call: &Call, number: u32, said: &[u64]) -> Finding {
    let mut arguments = [0; 6];
    for (place, argument) in arguments.iter_mut().zip(said) {
        *place = *argument;
    }
    let attempt = Attempt {
        audit: filter.architecture().audit(),
        number,
        arguments,
    };
    single(plan, call, filter.evaluate(&attempt, None))
}

fn single(plan: &Plan, call: &Call, verdict: seccomp::Verdict) -> Finding {
    match verdict {
        seccomp::Verdict::Allow | seccomp::Verdict::Observe => Finding::allowed(
            Rule::Syscalls,
            format!("the filter lets it through ({})", call.group.word()),
        ),
        seccomp::Verdict::Perform => Finding::new(
            Verdict::Depends,
            Rule::Sockets,
            "the supervisor makes it in the guest's stead, after it has looked at a copy of the address",
        ),
        seccomp::Verdict::Deny(denial) => denied(plan, call, denial),
    }
}

fn denied(plan: &Plan, call: &Call, denial: Denial) -> Finding {
    let by_policy = plan
        .filter
        .as_ref()
        .is_some_and(|filter| filter.deny.iter().any(|name| name == call.name));
    let finding = Finding::denied(
        denial.rule,
        denial.errno.name(),
        format!("the filter refuses it: {}", denial.what),
    );
    match (by_policy, denial.rule) {
        // A policy's denial beats every grant.
        (true, _) => finding.by(plan
            .said
            .get(&format!("seccomp.deny {}", call.name))
            .cloned()
            .unwrap_or_else(|| "[seccomp] deny of the policy".to_owned())),
        (false, Rule::Exec) => finding.with(Some(Grant::Right(Right::Subprocesses))),
        (false, Rule::WritableCode) => finding.with(Some(Grant::Right(Right::Jit))),
        (false, _) => finding.with(Some(Grant::Call(call.name))),
    }
}

fn newer() -> Denial {
    Denial {
        errno: seccomp::Errno::Nosys,
        seen: seccomp::Seen::Quiet,
        rule: Rule::Syscalls,
        what: "a call that is newer than this version of Belljar",
    }
}
