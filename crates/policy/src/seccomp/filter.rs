//! A filter: a decision for every call, and the evaluator.

use belljar_plan::{Preset, Rule};

use super::{
    Architecture, Call, Denial, Errno, Group, Seen, Verdict, arguments, bpf::Ear, calls, observed,
};

/// A system call that somebody makes, as the kernel shows it to a filter:
/// `struct seccomp_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// `AUDIT_ARCH_*` of the calling convention.
    pub audit: u32,
    /// The call's number.
    pub number: u32,
    /// The arguments, all 64 bits of each.
    pub arguments: [u64; 6],
}

/// The two addresses at which the launcher puts the argument lists of the one
/// start of a program that is let through; they are gone after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// Of the arguments.
    pub arguments: u64,
    /// Of the variables.
    pub variables: u64,
}

/// One look at one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Which, from 0.
    pub argument: u8,
    /// What is looked for.
    pub test: Test,
    /// Whether it must be there, or must not.
    pub wanted: bool,
}

/// What is looked for in an argument. Most arguments that the kernel takes as 32
/// bits are looked at so, whatever the upper half holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Any of these bits in the lower half.
    Any(u32),
    /// The lower half, of which only `mask` counts, is one of these.
    Among {
        /// Which bits count.
        mask: u32,
        /// What they may be.
        values: Vec<u32>,
    },
    /// All 64 bits are this.
    Whole(u64),
    /// All 64 bits are the launcher's address of the arguments.
    SecretArguments,
    /// All 64 bits are the launcher's address of the variables.
    SecretVariables,
}

/// Where all checks hold, the verdict does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// All of these.
    pub checks: Vec<Check>,
    /// What follows.
    pub verdict: Verdict,
}

/// What becomes of one call: the first clause that holds decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// In order.
    pub clauses: Vec<Clause>,
    /// Where none holds.
    pub otherwise: Verdict,
}

impl From<Verdict> for Decision {
    fn from(otherwise: Verdict) -> Self {
        Self {
            clauses: Vec::new(),
            otherwise,
        }
    }
}

/// Why there is no such filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No tables.
    #[error("the system calls of {machine} are not known here")]
    Machine {
        /// As `uname -m` says it.
        machine: String,
    },
    /// A policy names a call that there is not.
    #[error("there is no system call `{name}`")]
    NoSuchCall {
        /// As it was said.
        name: String,
    },
}

/// A decision for every call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub(super) architecture: Architecture,
    pub(super) ear: Ear,
    /// Sorted by number; a number that is not here is [`UNKNOWN`].
    pub(super) decisions: Vec<(u32, Decision)>,
}

/// What a call answers that is newer than the tables.
pub(super) const UNKNOWN: Verdict = Verdict::Deny(Denial {
    errno: Errno::Nosys,
    seen: Seen::Quiet,
    rule: Rule::Syscalls,
    what: "a call that is newer than this version of Belljar",
});

/// What every call of another architecture answers.
pub(super) const FOREIGN: Verdict = Verdict::Deny(Denial {
    errno: Errno::Perm,
    seen: Seen::Told,
    rule: Rule::Syscalls,
    what: "a call by another architecture's convention",
});

/// What a call of x86_64's x32 form answers.
pub(super) const OF_X32: Verdict = Verdict::Deny(Denial {
    errno: Errno::Perm,
    seen: Seen::Told,
    rule: Rule::Syscalls,
    what: "a call by the x32 convention",
});

/// Calls of x86_64 with this bit are its x32 form.
pub(super) const X32: u32 = 0x4000_0000;

impl Filter {
    /// The filter that a plan names.
    ///
    /// # Errors
    /// Where the machine or a call's name is not known.
    pub fn new(asked: &belljar_plan::Filter) -> Result<Self, FilterError> {
        let architecture =
            Architecture::of_machine(&asked.machine).ok_or_else(|| FilterError::Machine {
                machine: asked.machine.clone(),
            })?;
        for name in asked.allow.iter().chain(&asked.deny) {
            if Call::named(name).is_none() {
                return Err(FilterError::NoSuchCall { name: name.clone() });
            }
        }
        let mut decisions: Vec<(u32, Decision)> = Vec::with_capacity(calls::ALL.len());
        decisions.extend(calls::ALL.iter().filter_map(|call| {
            let number = call.number(architecture)?;
            Some((number, decision(call, asked)))
        }));
        decisions.sort_unstable_by_key(|(number, _)| *number);
        Ok(Self {
            architecture,
            ear: match (asked.events, asked.observe) {
                (false, _) => Ear::Deaf,
                (true, false) => Ear::Told,
                (true, true) => Ear::Quiet,
            },
            decisions,
        })
    }

    /// The architecture that it is for.
    #[must_use]
    pub const fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The decision for each number that is known, in their order.
    pub fn decisions(&self) -> impl Iterator<Item = (u32, &Decision)> {
        self.decisions
            .iter()
            .map(|(number, decision)| (*number, decision))
    }

    /// What the kernel, or the supervisor in its stead, answers to a call.
    /// Without `secrets` no address is one of them.
    #[must_use]
    pub fn evaluate(&self, attempt: &Attempt, secrets: Option<Secrets>) -> Verdict {
        if attempt.audit != self.architecture.audit() {
            return FOREIGN;
        }
        if self.architecture == Architecture::X86_64 && attempt.number >= X32 {
            return OF_X32;
        }
        let found = self
            .decisions
            .binary_search_by_key(&attempt.number, |(number, _)| *number);
        let Ok(found) = found else {
            return UNKNOWN;
        };
        let (_, decision) = &self.decisions[found];
        decision
            .clauses
            .iter()
            .find(|clause| {
                clause
                    .checks
                    .iter()
                    .all(|check| check.holds(attempt, secrets))
            })
            .map_or(decision.otherwise, |clause| clause.verdict)
    }
}

impl Check {
    fn holds(&self, attempt: &Attempt, secrets: Option<Secrets>) -> bool {
        let value = attempt
            .arguments
            .get(usize::from(self.argument))
            .copied()
            .unwrap_or(0);
        let low = value as u32;
        let found = match &self.test {
            Test::Any(bits) => low & bits != 0,
            Test::Among { mask, values } => values.contains(&(low & mask)),
            Test::Whole(wanted) => value == *wanted,
            Test::SecretArguments => secrets.is_some_and(|secrets| secrets.arguments == value),
            Test::SecretVariables => secrets.is_some_and(|secrets| secrets.variables == value),
        };
        found == self.wanted
    }
}

/// What a policy's own word refuses.
const BY_POLICY: Verdict = Verdict::Deny(Denial {
    errno: Errno::Perm,
    seen: Seen::Told,
    rule: Rule::Syscalls,
    what: "a call that the policy denies",
});

/// Calls that a launch itself makes when its filter holds, up to the program's first
/// instruction, so that no policy can deny them: receipts (write), the listener's way
/// out (sendmsg), what is closed and mapped on the way, the start, and the end of a
/// launch that failed.
pub const OF_A_LAUNCH: [&str; 7] = [
    "clock_gettime",
    "close",
    "execveat",
    "exit_group",
    "mmap",
    "sendmsg",
    "write",
];

/// The call by whose refusal a launch sees that its filter holds: it answers `ENOSYS`
/// under every filter, so no policy can allow it.
pub const CANARY: &str = "clone3";

/// What a call that the policy denies answers. What is refused unseen in every preset
/// goes on to answer as an older kernel would: libcs do without it then, and the
/// launch looks for that answer of [`CANARY`].
fn by_policy(call: &Call) -> Verdict {
    let denial = call.group.denial();
    match (denial.seen, BY_POLICY) {
        (Seen::Never, Verdict::Deny(by_policy)) => Verdict::Deny(Denial {
            errno: denial.errno,
            seen: denial.seen,
            ..by_policy
        }),
        (_, by_policy) => by_policy,
    }
}

/// What becomes of one call, looked at or not.
pub(super) fn decision(call: &Call, asked: &belljar_plan::Filter) -> Decision {
    let decision = decided(call, asked);
    // Where nobody listens, nobody could let it go on.
    match asked.observe && asked.events {
        true => observed::observed(call, decision),
        false => decision,
    }
}

/// Deny beats allow, and a policy's word the preset's.
fn decided(call: &Call, asked: &belljar_plan::Filter) -> Decision {
    let names = |list: &[String]| list.iter().any(|name| name == call.name);
    if names(&asked.deny) {
        return by_policy(call).into();
    }
    if names(&asked.allow) {
        return Verdict::Allow.into();
    }
    if let Some(decision) = arguments::decision(call, asked) {
        return decision;
    }
    let with_grant = asked.preset == Preset::Strict
        && call.name == "memfd_create"
        && asked.code == belljar_plan::filter::Code::Any;
    let shared = call.group == Group::SharedObjects && !asked.objects;
    if (call.group.allowed(asked.preset) && !shared) || with_grant {
        Verdict::Allow.into()
    } else {
        Verdict::Deny(call.group.denial()).into()
    }
}

/// Every way in which a call may be denied under a filter.
pub fn denials(call: &Call, asked: &belljar_plan::Filter) -> Vec<Denial> {
    let decision = decision(call, asked);
    decision
        .clauses
        .iter()
        .map(|clause| clause.verdict)
        .chain([decision.otherwise])
        .filter_map(|verdict| match verdict {
            Verdict::Deny(denial) => Some(denial),
            Verdict::Allow | Verdict::Observe | Verdict::Perform => None,
        })
        .collect()
}

/// The rules that what becomes of a call has a part in.
pub fn kept_by(call: &Call, asked: &belljar_plan::Filter) -> Vec<Rule> {
    let performed = matches!(decision(call, asked).otherwise, Verdict::Perform);
    let denied = denials(call, asked).into_iter().map(|denial| denial.rule);
    // The one call that is made in a guest's stead is connect(2).
    denied.chain(performed.then_some(Rule::Sockets)).collect()
}
