//! What all jars of one host may have together: the cgroup above theirs holds it, and
//! nothing else could.

use belljar_plan::{Bytes, Limit, Plan, outcome::Unmet, plan::PlannedLimit};

use super::cgroup::cpu_setting;
use crate::{effective::Effective, facts::HostFacts, refusal::Refusal, units::format_value};

/// What has to be held, each by the controller that does.
pub(super) fn planned(
    effective: &Effective,
    facts: &HostFacts,
) -> Result<Vec<PlannedLimit>, Refusal> {
    let known = &facts.jar_cgroups;
    let mut unmet = Vec::new();
    let mut limits = Vec::new();
    for (limit, said) in &effective.host {
        let controller = controller(*limit);
        let cause = match &known.can_be_made {
            crate::facts::Ability::Unavailable { cause, remedy } => {
                Some((cause.clone(), remedy.clone()))
            }
            _ if known.controllers.iter().any(|name| name == controller) => None,
            _ => Some((
                format!("no cgroup that can be made here has the controller `{controller}`"),
                format!("have `{controller}` handed on to the cgroup that belljar runs in"),
            )),
        };
        match cause {
            Some((cause, remedy)) => unmet.push(Unmet {
                rule: limit.rule(),
                required: Some(belljar_plan::Strength::Kernel),
                available: Some(belljar_plan::Strength::None),
                reason: format!(
                    "`[host] {limit}` ({}) is held by a cgroup alone: {cause}",
                    said.origin
                ),
                remedy: format!("{remedy}, or take that line out of the policy"),
            }),
            None => limits.push(PlannedLimit {
                limit: *limit,
                soft: None,
                hard: Some(said.value),
                stop: false,
                origin: said.origin.clone(),
            }),
        }
    }
    match unmet.is_empty() {
        true => Ok(limits),
        false => Err(Refusal::Unmet { unmet }),
    }
}

/// For people, where there is any.
pub(super) fn note(limits: &[PlannedLimit]) -> Option<String> {
    let each: Vec<String> = limits
        .iter()
        .filter_map(|planned| {
            let value = format_value(planned.limit, planned.hard?);
            Some(format!("{} {value} ({})", planned.limit, planned.origin))
        })
        .collect();
    (!each.is_empty()).then(|| {
        format!(
            "all jars of this host have together no more than {}",
            each.join(", ")
        )
    })
}

/// The settings of the cgroup above, `FILE=VALUE`, each with the limit that it holds.
#[must_use]
pub fn together(plan: &Plan) -> Vec<(Limit, u64, Vec<Bytes>)> {
    let settings = |limit: Limit, hard: u64| match limit {
        Limit::Memory => vec![format!("memory.max={hard}"), "memory.swap.max=0".to_owned()],
        Limit::Processes => vec![format!("pids.max={hard}")],
        _ => vec![cpu_setting(hard)],
    };
    plan.together
        .iter()
        .filter_map(|planned| {
            let hard = planned.hard?;
            let settings = settings(planned.limit, hard);
            let settings = settings.into_iter().map(Bytes::from).collect();
            Some((planned.limit, hard, settings))
        })
        .collect()
}

const fn controller(limit: Limit) -> &'static str {
    match limit {
        Limit::Memory => "memory",
        Limit::Processes => "pids",
        _ => "cpu",
    }
}
