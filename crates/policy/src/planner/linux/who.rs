//! Whom the guest is, inside and on the machine, and what a user's jar keeps.

use belljar_plan::{
    Preset, Rule,
    outcome::Unmet,
    plan::{Identity, MachineIdentity},
};

use crate::{effective::Effective, facts::HostFacts, refusal::Refusal, verified::Verified};

pub(super) fn identity(effective: &Effective, facts: &HostFacts) -> Identity {
    let (uid, gid) = effective.user;
    let (first, count) = effective.uid_range;
    if facts.privileged {
        Identity {
            uid,
            gid,
            machine: MachineIdentity::Own { first, count },
            groups_kept: Vec::new(),
        }
    } else {
        Identity {
            uid,
            gid,
            machine: MachineIdentity::Caller {
                uid: facts.uid,
                gid: facts.gid,
            },
            groups_kept: facts
                .groups
                .iter()
                .copied()
                .filter(|group| *group != facts.gid)
                .collect(),
        }
    }
}

pub(super) fn notes(facts: &HostFacts) -> Vec<String> {
    let mut groups: Vec<u32> = facts
        .groups
        .iter()
        .copied()
        .filter(|group| *group != facts.gid)
        .collect();
    groups.sort_unstable();
    if facts.privileged || groups.is_empty() {
        return Vec::new();
    }
    let list: Vec<String> = groups.iter().map(u32::to_string).collect();
    vec![format!(
        "started by a user, a jar keeps that user's supplementary groups: {}",
        list.join(", ")
    )]
}

/// In strict, a path that only a group of the caller opens is refused: a user
/// cannot take that group away from the jar.
pub(super) fn refuse_group_only(
    verified: &Verified,
    effective: &Effective,
    facts: &HostFacts,
) -> Result<(), Refusal> {
    if effective.preset.value != Preset::Strict || facts.privileged {
        return Ok(());
    }
    let unmet: Vec<Unmet> = effective
        .grants
        .iter()
        .filter_map(|grant| {
            let found = verified.survey.find(&grant.path).ok()?;
            let wanted = if grant.write { 0o2 } else { 0o4 };
            let by_others = found.mode & wanted != 0;
            let by_owner = found.uid == facts.uid;
            let by_group = found.gid != facts.gid && facts.groups.contains(&found.gid);
            (by_group && !by_owner && !by_others).then(|| Unmet {
                rule: Rule::Identity,
                required: None,
                available: None,
                reason: format!(
                    "{}: {} opens only by group {}, which a jar that a user starts cannot be given alone",
                    grant.origin, grant.path, found.gid
                ),
                remedy: "make it readable for its owner or for others, or start belljar as root".to_owned(),
            })
        })
        .collect();
    if unmet.is_empty() {
        Ok(())
    } else {
        Err(Refusal::Unmet { unmet })
    }
}
