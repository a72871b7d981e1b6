//! Places in the jar that a plan needs to know about: where the guest starts,
//! and what has to be hidden.

use belljar_plan::{Preset, plan::PlannedGrant};

use super::root::Root;
use crate::{
    effective::Effective,
    facts::HostFacts,
    path::UnixPath,
    policy::Said,
    refusal::Refusal,
    verified::{FileKind, Verified},
};

/// Where the guest starts; it is there and is a directory.
pub(super) fn workdir(
    root: &mut Root,
    verified: &Verified,
    effective: &Effective,
    facts: &HostFacts,
) -> Result<UnixPath, Refusal> {
    if let Some(asked) = &effective.workdir {
        let visible = root.tree.has_directory(asked)
            || root.tree.source_of(asked).is_some_and(|source| {
                verified
                    .survey
                    .find(&source)
                    .is_ok_and(|found| found.kind == FileKind::Directory)
            });
        return if visible {
            Ok(asked.clone())
        } else {
            Err(Refusal::Invalid {
                reason: format!(
                    "--workdir {asked}: there is no such directory in the jar; grant it with `--read {asked}` or `--write {asked}`"
                ),
            })
        };
    }
    let fallback = if effective.preset.value == Preset::Strict {
        "/workspace"
    } else {
        "/"
    };
    let fallback = UnixPath::new(fallback).unwrap_or_else(|_| UnixPath::root());
    let Some(of_caller) = verified
        .caller
        .workdir
        .as_ref()
        .filter(|_| effective.preset.value != Preset::Strict)
    else {
        return Ok(fallback);
    };
    let Ok(found) = verified.survey.find(of_caller) else {
        return Ok(fallback);
    };
    if effective.preset.value == Preset::Minimal {
        // Everything can be read in this preset, so the caller's directory can
        // too; as root it takes an idmapped mount for the jar's own user.
        if facts.privileged && found.path.as_str() != "/" && root.tree.shows_itself(&found.path) {
            let grant = crate::effective::Grant {
                path: found.path.clone(),
                at: None,
                write: false,
                optional: false,
                origin: "the caller's working directory".to_owned(),
            };
            let written = effective
                .grants
                .iter()
                .any(|grant| grant.write && found.path.is_within(&grant.path));
            if !written && found.idmap {
                root.grant(&grant, verified, effective, facts)?;
            }
        }
        return Ok(found.path.clone());
    }
    let others = !facts.privileged
        || found.mode & 0o1 != 0
        || effective
            .grants
            .iter()
            .any(|grant| found.path.is_within(&grant.path));
    Ok(if root.tree.shows_itself(&found.path) && others {
        found.path.clone()
    } else {
        fallback
    })
}

/// Refuses a grant in the jar below what is hidden as a whole: something empty
/// is mounted there, in which nothing else can be.
pub(super) fn refuse_below_hidden(
    hidden: &[Said<UnixPath>],
    verified: &Verified,
    effective: &Effective,
) -> Result<(), Refusal> {
    for grant in &effective.grants {
        let found = verified.survey.find(&grant.path).ok();
        let Some(at) = grant.at.as_ref().or(found.map(|found| &found.path)) else {
            continue;
        };
        let above = hidden
            .iter()
            .find(|said| said.value != *at && at.is_within(&said.value));
        if let Some(above) = above {
            return Err(Refusal::Invalid {
                reason: format!(
                    "{}: {at} lies in {}, which is hidden as a whole ({}); grant that directory, or use preset standard",
                    grant.origin, above.value, above.origin
                ),
            });
        }
    }
    Ok(())
}

/// Where in the jar something has to be hidden, and who says so: what a policy
/// denies, and in the minimal preset what is known to be secret.
pub(super) fn hidden(root: &Root, effective: &Effective, facts: &HostFacts) -> Vec<Said<UnixPath>> {
    let secrets = if effective.preset.value == Preset::Minimal {
        facts.layout.secrets.as_slice()
    } else {
        &[]
    };
    let granted = |path: &UnixPath| effective.grants.iter().any(|grant| grant.path == *path);
    let denied = effective
        .hidden
        .iter()
        .map(|said| (&said.value, said.origin.as_str()));
    let secret = secrets
        .iter()
        .map(|place| (&place.path, "a known secret, which preset minimal hides"))
        .filter(|(path, _)| !granted(path));
    let mut places: Vec<Said<UnixPath>> = denied
        .chain(secret)
        .flat_map(|(path, origin)| {
            let said = |value| Said {
                value,
                origin: origin.to_owned(),
            };
            root.tree.places_of(path).into_iter().map(said)
        })
        .collect();
    // Of two words for one place the policy's stands first.
    places.sort_by(|one, other| one.value.cmp(&other.value));
    places.dedup_by(|one, other| one.value == other.value);
    // What lies in a hidden directory is hidden with it.
    let all = places.clone();
    places.retain(|said| {
        !all.iter()
            .any(|other| other.value != said.value && said.value.is_within(&other.value))
    });
    places
}

/// The grants as the plan tells them.
pub(super) fn grants(verified: &Verified, effective: &Effective) -> Vec<PlannedGrant> {
    effective
        .grants
        .iter()
        .filter_map(|grant| {
            let found = verified.survey.find(&grant.path).ok()?;
            Some(PlannedGrant {
                path: found.path.as_str().into(),
                at: grant.at.as_ref().unwrap_or(&found.path).as_str().into(),
                write: grant.write,
                origin: grant.origin.clone(),
            })
        })
        .collect()
}

/// Something of /sys is granted, and whether for writing.
pub(super) fn sys_granted(verified: &Verified, effective: &Effective) -> Option<bool> {
    let of_sys = |path: &UnixPath| path.as_str() == "/sys" || path.as_str().starts_with("/sys/");
    effective
        .grants
        .iter()
        .filter(|grant| {
            verified
                .survey
                .find(&grant.path)
                .is_ok_and(|found| of_sys(&found.path))
        })
        .map(|grant| grant.write)
        .max()
}
