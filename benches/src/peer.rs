//! A filter's decisions as rules for libseccomp, which the bench measures beside
//! Belljar's own compiler. It takes no list of clauses of which the first decides,
//! so that each becomes rules of which at most one holds, as far as it can say them.

use std::fmt::Write as _;

use belljar::policy::seccomp::{Check, Decision, Filter, Seen, Test, Verdict};

/// `SECCOMP_RET_ALLOW`, `SECCOMP_RET_USER_NOTIF`, `SECCOMP_RET_ERRNO`; seccomp(2).
const ALLOW: u32 = 0x7fff_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const ERRNO: u32 = 0x0005_0000;
const EPERM: u32 = 1;

/// The rules, and what became of those that it cannot say.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) text: String,
    /// Calls that are allowed or refused by number alone here.
    pub(crate) unsaid: usize,
}

/// What libseccomp asks of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// Of these bits the argument has these.
    Is { mask: u64, value: u64 },
    /// The whole argument, all 64 bits of it, is something else.
    IsNot(u64),
}

/// Conditions that all hold, by argument; one for each at most.
type Conjunction = Vec<(u8, Condition)>;

/// All that a filter decides, as far as libseccomp can say it.
pub(crate) fn rules(filter: &Filter, events: bool) -> Rules {
    let told = if events { NOTIFY } else { ERRNO | EPERM };
    let mut rules = Rules {
        text: format!("default {told} {told}\n"),
        unsaid: 0,
    };
    for (number, decision) in filter.decisions() {
        let action = |verdict| match verdict {
            Verdict::Allow | Verdict::Observe => ALLOW,
            Verdict::Perform => NOTIFY,
            Verdict::Deny(denial) if denial.seen == Seen::Told => told,
            Verdict::Deny(denial) => ERRNO | u32::from(denial.errno.number()),
        };
        let said = said(decision, &action, told);
        rules.unsaid += usize::from(said.is_none());
        for (action, conditions) in said.unwrap_or_else(|| by_number(decision, &action, told)) {
            let _ = write!(rules.text, "{action} {number}");
            for (argument, condition) in conditions {
                let _ = match condition {
                    Condition::Is { mask, value } => {
                        write!(rules.text, " {argument} = {mask} {value}")
                    }
                    Condition::IsNot(value) => write!(rules.text, " {argument} ! 0 {value}"),
                };
            }
            rules.text.push('\n');
        }
    }
    rules
}

/// Allowed where any way through it is.
fn by_number(
    decision: &Decision,
    action: &impl Fn(Verdict) -> u32,
    default: u32,
) -> Vec<(u32, Conjunction)> {
    let clauses = decision.clauses.iter().map(|clause| clause.verdict);
    let allowed = clauses
        .chain([decision.otherwise])
        .any(|verdict| action(verdict) == ALLOW);
    match allowed {
        true => vec![(ALLOW, Vec::new())],
        false => vec![(action(decision.otherwise), Vec::new())]
            .into_iter()
            .filter(|(action, _)| *action != default)
            .collect(),
    }
}

/// Rules of which each says with the others what the decision says; none where
/// one of them cannot be said.
fn said(
    decision: &Decision,
    action: &impl Fn(Verdict) -> u32,
    default: u32,
) -> Option<Vec<(u32, Conjunction)>> {
    let mut rules = Vec::new();
    // What holds where none of the clauses so far did.
    let mut none_before: Vec<Conjunction> = vec![Vec::new()];
    for clause in &decision.clauses {
        let here = action(clause.verdict);
        let all = clause
            .checks
            .iter()
            .try_fold(none_before.clone(), |so_far, check| {
                Some(both(&so_far, &ways(check, check.wanted)?))
            })?;
        if here != default {
            rules.extend(together(all)?.into_iter().map(|all| (here, all)));
        }
        let mut others = Vec::new();
        for check in &clause.checks {
            others.extend(both(&none_before, &ways(check, !check.wanted)?));
        }
        none_before = others;
    }
    let here = action(decision.otherwise);
    if here != default {
        rules.extend(together(none_before)?.into_iter().map(|all| (here, all)));
    }
    Some(rules)
}

/// The ways in which a check comes out so: any of these.
fn ways(check: &Check, found: bool) -> Option<Vec<Conjunction>> {
    /// It stands for the launcher's own addresses, which a launch puts in.
    const SECRET: u64 = 0x1234_5678_9abc;
    let is = |mask, value| Condition::Is { mask, value };
    let conditions = match (&check.test, found) {
        (Test::Any(bits), true) => (0..u32::BITS)
            .map(|bit| u64::from(bits & 1 << bit))
            .filter(|bit| *bit != 0)
            .map(|bit| is(bit, bit))
            .collect(),
        (Test::Any(bits), false) => vec![is((*bits).into(), 0)],
        (Test::Among { mask, values }, true) => values
            .iter()
            .map(|value| is((*mask).into(), (*value).into()))
            .collect(),
        (Test::Among { mask, values }, false) if *mask == u32::MAX => {
            // It is none of them, all at once.
            let not = |value: &u32| (check.argument, Condition::IsNot((*value).into()));
            return Some(vec![values.iter().map(not).collect()]);
        }
        (Test::Among { .. }, false) => return None,
        (Test::Whole(value), true) => vec![is(u64::MAX, *value)],
        (Test::Whole(value), false) => vec![Condition::IsNot(*value)],
        (Test::SecretArguments | Test::SecretVariables, true) => vec![is(u64::MAX, SECRET)],
        (Test::SecretArguments | Test::SecretVariables, false) => vec![Condition::IsNot(SECRET)],
    };
    let single = |condition| vec![(check.argument, condition)];
    Some(conditions.into_iter().map(single).collect())
}

fn both(these: &[Conjunction], those: &[Conjunction]) -> Vec<Conjunction> {
    these
        .iter()
        .flat_map(|this| {
            those
                .iter()
                .map(move |that| [&this[..], &that[..]].concat())
        })
        .collect()
}

/// Each with one condition for an argument, those that cannot hold left out; none
/// where one needs two.
fn together(all: Vec<Conjunction>) -> Option<Vec<Conjunction>> {
    let mut possible: Vec<Conjunction> = Vec::new();
    'next: for mut conditions in all {
        // What an argument is says most of what it is not.
        conditions.sort_by_key(|(_, condition)| matches!(condition, Condition::IsNot(_)));
        let mut one: Conjunction = Vec::new();
        for (argument, condition) in conditions {
            let known = one.iter_mut().find(|(other, _)| *other == argument);
            let Some((_, known)) = known else {
                one.push((argument, condition));
                continue;
            };
            match merged(*known, condition) {
                Merged::Into(merged) => *known = merged,
                Merged::Never => continue 'next,
                Merged::Unsaid => return None,
            }
        }
        if !possible.contains(&one) {
            possible.push(one);
        }
    }
    Some(possible)
}

/// What two conditions on one argument come to.
enum Merged {
    Into(Condition),
    Never,
    Unsaid,
}

fn merged(known: Condition, other: Condition) -> Merged {
    use Condition::{Is, IsNot};
    let low = u64::from(u32::MAX);
    match (known, other) {
        (known, other) if known == other => Merged::Into(known),
        (Is { mask, value }, Is { mask: m, value: v }) => match value & m == v & mask {
            true => Merged::Into(Is {
                mask: mask | m,
                value: value | v,
            }),
            false => Merged::Never,
        },
        (Is { mask, value }, IsNot(v)) if v & mask != value => Merged::Into(known),
        (Is { mask, .. }, IsNot(_)) if mask & low == low => Merged::Never,
        _ => Merged::Unsaid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belljar::policy::seccomp::Clause;

    fn low(argument: u8, values: &[u32]) -> Check {
        Check {
            argument,
            test: Test::Among {
                mask: u32::MAX,
                values: values.to_vec(),
            },
            wanted: true,
        }
    }

    /// 0 allows, anything else is the default.
    fn action(verdict: Verdict) -> u32 {
        u32::from(verdict != Verdict::Allow)
    }

    #[test]
    fn of_clauses_in_order_at_most_one_rule_holds() {
        let is = |value| Condition::Is {
            mask: u32::MAX.into(),
            value,
        };
        let decision = Decision {
            clauses: vec![
                Clause {
                    checks: vec![low(0, &[1])],
                    verdict: Verdict::Perform,
                },
                Clause {
                    checks: vec![low(0, &[1, 2]), low(1, &[5])],
                    verdict: Verdict::Allow,
                },
            ],
            otherwise: Verdict::Perform,
        };
        let rules = said(&decision, &action, 1).unwrap();
        assert_eq!(rules, [(0, vec![(0, is(2)), (1, is(5))])]);
    }

    #[test]
    fn what_needs_two_looks_at_an_argument_is_unsaid() {
        let refused = |values: &[u32]| Decision {
            clauses: vec![Clause {
                checks: vec![low(1, values)],
                verdict: Verdict::Perform,
            }],
            otherwise: Verdict::Allow,
        };
        let rules = said(&refused(&[7]), &action, 1);
        assert_eq!(rules, Some(vec![(0, vec![(1, Condition::IsNot(7))])]));
        assert_eq!(said(&refused(&[7, 9]), &action, 1), None);
        assert_eq!(by_number(&refused(&[7, 9]), &action, 1), [(0, Vec::new())]);
    }
}
