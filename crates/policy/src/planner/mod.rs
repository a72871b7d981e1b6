//! The planner: one pure function from what was found, what is granted and
//! what the machine can do to a list of steps and the promises they keep.
//!
//! It decides nothing about grants (see [`crate::effective`]) and does no I/O.

use belljar_plan::{Plan, Rule, Strength, outcome::Unmet, plan::PlannedRule};
use sha2::{Digest as _, Sha256};

use crate::{
    effective::{Effective, effective},
    facts::{HostFacts, Os},
    policy::Policy,
    refusal::Refusal,
    verified::Verified,
};

mod demand;
pub(crate) mod environment;
mod linux;
mod program;
mod told;
mod tree;

pub use linux::{Change, change, confine, together};
pub(crate) use linux::{file_bit, lifted};

/// Makes the plan of one launch.
///
/// Pure: it runs on any system for any system, and the same input gives the
/// same plan, byte for byte.
///
/// # Errors
/// [`Refusal`], with every unmet rule and its remedy, where what is required
/// cannot be held on the machine that `facts` describes, or what is asked for
/// is not granted.
pub fn plan(verified: &Verified, policy: &Policy, facts: &HostFacts) -> Result<Plan, Refusal> {
    let effective = effective(verified, policy)?;
    let plan = match facts.os {
        Os::Linux => linux::plan(verified, &effective, facts)?,
        Os::Windows | Os::Macos | Os::Openbsd | Os::Freebsd => {
            return Err(unsupported(&effective, facts.os));
        }
    };
    if facts.is_root_of_machine() {
        return Err(as_root());
    }
    let mut unmet: Vec<Unmet> = plan
        .rules
        .iter()
        .filter_map(|rule| unmet(rule, facts))
        .collect();
    linux::lower::tell_how(&plan, &mut unmet);
    if unmet.is_empty() {
        Ok(plan)
    } else {
        Err(Refusal::Unmet { unmet })
    }
}

/// SHA-256 of a plan's canonical JSON, in hexadecimal.
///
/// # Panics
/// Never: a plan is data that JSON can hold.
#[must_use]
pub fn digest(plan: &Plan) -> String {
    let json = serde_json::to_vec(plan).expect("a plan is data that JSON can hold");
    hexadecimal(&Sha256::digest(json))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A rule that is required more strongly than it can be held here.
fn unmet(rule: &PlannedRule, facts: &HostFacts) -> Option<Unmet> {
    if rule.planned.strength >= rule.requested || rule.best_effort {
        return None;
    }
    let (cause, remedy) = demand::cause(rule, facts);
    Some(Unmet {
        rule: rule.rule,
        required: Some(rule.requested),
        available: Some(rule.planned.strength),
        reason: cause,
        remedy,
    })
}

/// A jar is never root on the machine, whatever a policy accepts.
fn as_root() -> Refusal {
    Refusal::Unmet {
        unmet: vec![Unmet {
            rule: Rule::Identity,
            required: Some(Strength::Kernel),
            available: Some(Strength::None),
            reason: "it was started as root without CAP_SETUID, CAP_SETGID and CAP_SYS_ADMIN over the machine's users, \
                     so that a jar would run as root"
                .to_owned(),
            remedy: "start it as an ordinary user, or as root with those capabilities".to_owned(),
        }],
    }
}

fn unsupported(effective: &Effective, os: Os) -> Refusal {
    Refusal::Unmet {
        unmet: vec![Unmet {
            rule: Rule::Files,
            required: Some(demand::least(Rule::Files, effective.preset.value)),
            available: Some(Strength::None),
            reason: format!("unsupported: there is no planner for {os:?} yet"),
            remedy: "run it on Linux".to_owned(),
        }],
    }
}
