//! Requests that rest on what the preset shows by itself: what it does not
//! show after all is refused like any other request that is not granted.

use belljar_plan::{Rule, outcome::Unmet, plan::Dropped};

use super::root::Root;
use crate::{
    effective::Effective, path::UnixPath, policy::Said, refusal::Refusal, verified::Verified,
};

/// The optional ones of them that the jar does not show.
///
/// # Errors
/// Where one that is not optional is not shown.
pub(super) fn unseen(
    root: &Root,
    hidden: &[Said<UnixPath>],
    verified: &Verified,
    effective: &Effective,
) -> Result<Vec<Dropped>, Refusal> {
    let (mut dropped, mut unmet) = (Vec::new(), Vec::new());
    for grant in &effective.shown {
        let seen = verified.survey.find(&grant.path).is_ok_and(|found| {
            root.tree.shows_itself(&found.path)
                && !hidden
                    .iter()
                    .any(|hidden| found.path.is_within(&hidden.value))
        });
        if seen {
            continue;
        }
        let request = format!("filesystem.read {}", grant.path);
        let reason = format!("is not shown by preset {}", effective.preset.value);
        if grant.optional {
            dropped.push(Dropped { request, reason });
        } else {
            unmet.push(Unmet {
                rule: Rule::Files,
                required: None,
                available: None,
                reason: format!("`{request}` ({}) {reason}", grant.origin),
                remedy: format!(
                    "grant it for this run by `--read {0}`, or for every run by `read = [\"{0}\"]` under `[filesystem]` in a policy file",
                    grant.path
                ),
            });
        }
    }
    if unmet.is_empty() {
        Ok(dropped)
    } else {
        Err(Refusal::Unmet { unmet })
    }
}
