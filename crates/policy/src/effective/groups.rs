//! What a launch gets of named groups. Each path of a group is there or not, and
//! is denied or not, by itself; a group as a whole is granted or refused.

use std::collections::BTreeMap;

use belljar_plan::{Bytes, Preset, Rule, plan::Dropped};

use super::{
    Grant, Judge, Refused,
    paths::{SYSTEM, bounds, denied, never},
};
use crate::{
    group::{Group, Member},
    manifest::{Manifest, Place},
    parse::tame,
    path::UnixPath,
    planner::environment::HOME,
    policy::{Policy, Said, name_within},
    verified::{Caller, Survey},
};

/// A group that is granted.
pub(super) struct Given {
    group: Group,
    /// What of it is, before and after links are followed.
    paths: Vec<UnixPath>,
}

/// What there is of a group, and what of it stays out.
struct Present {
    members: Vec<Member>,
    left_out: Vec<Dropped>,
}

/// What there is of every group that policy, flags or manifest mention: each is
/// asked about often.
pub(super) fn mentioned(
    policy: &Policy,
    manifest: Option<&Manifest>,
    caller: &Caller,
    survey: &Survey,
) -> BTreeMap<Group, Vec<Member>> {
    let ceilings = policy.ceilings.iter().flat_map(|file| &file.groups);
    let asked = manifest.iter().flat_map(|manifest| &manifest.groups);
    ceilings
        .map(|said| said.value)
        .chain(policy.flags.groups.iter().copied())
        .chain(asked.map(|request| request.value))
        .map(|group| (group, group.expand(caller, survey)))
        .collect()
}

impl Judge<'_> {
    /// The grants of every group that flags or the manifest name.
    pub(super) fn groups(&mut self) -> Vec<Grant> {
        let mut grants = Vec::new();
        let flags: &[Group] = &self.policy.flags.groups;
        for group in flags {
            match self.flag_may_grant(*group) {
                Ok(present) => {
                    grants.extend(self.give(*group, present, "--read", false));
                }
                Err(reason) => self.invalid.push(format!("--read {group}: {reason}")),
            }
        }
        let Some(manifest) = self.manifest else {
            return grants;
        };
        for request in &manifest.groups {
            let group = request.value;
            match self.may_have_group(group) {
                Ok(present) => {
                    grants.extend(self.give(group, present, &request.origin, request.optional));
                }
                Err((reason, remedy)) => self.refuse(Refused {
                    rule: Rule::Files,
                    request: format!("filesystem.read {group}"),
                    optional: request.optional,
                    origin: &request.origin,
                    reason,
                    remedy,
                }),
            }
        }
        grants
    }

    /// Sets the variables of granted groups, where nobody else did, and returns
    /// where their programs are.
    pub(super) fn of_groups(
        &self,
        set: &mut BTreeMap<String, Bytes>,
        pass: &[String],
    ) -> Vec<UnixPath> {
        let mut programs: Vec<UnixPath> = Vec::new();
        for Given { group, paths } in &self.given {
            for (name, value) in group.variables(self.caller, paths) {
                let said = set.contains_key(&name) || pass.contains(&name);
                if !said && self.may_set_of(*group, &name) {
                    set.insert(name, value);
                }
            }
            for directory in group.programs(self.caller, self.survey) {
                let granted = paths.iter().any(|path| directory.is_within(path));
                if granted && !programs.contains(&directory) {
                    programs.push(directory);
                }
            }
        }
        programs
    }

    /// Whether a path is of a group, or below one that is.
    pub(super) fn within_group(&self, group: Group, real: &UnixPath, write: bool) -> bool {
        self.members(group).iter().any(|member| {
            member.secret.is_none()
                && (member.write || !write)
                && self
                    .survey
                    .find(&member.path)
                    .is_ok_and(|found| real.is_within(&found.path))
        })
    }

    fn members(&self, group: Group) -> &[Member] {
        self.groups.get(&group).map_or(&[], Vec::as_slice)
    }

    /// A policy that bounds variables, and does not name the group, bounds its too.
    fn may_set_of(&self, group: Group, name: &str) -> bool {
        let Some(file) = self.ceilings else {
            return true;
        };
        if file
            .deny_env
            .iter()
            .any(|deny| name_within(name, &deny.value))
        {
            return false;
        }
        let named = file.groups.iter().any(|said| said.value == group);
        let listed = |list: &[Said<String>]| list.iter().any(|said| name_within(name, &said.value));
        let bounded = file.set.is_some() || file.said.contains_key("env.pass");
        named || !bounded || listed(file.set.as_deref().unwrap_or_default()) || listed(&file.pass)
    }

    /// A flag's own word is enough, but where the policy's file says no.
    fn flag_may_grant(&self, group: Group) -> Result<Present, String> {
        let present = self.present(group)?;
        let Some((key, origin)) = self.ceilings.and_then(bounds) else {
            return Ok(present);
        };
        match self.beyond(&present, |real, write| self.within_ceilings(real, write)) {
            None => Ok(present),
            Some(real) => Err(format!(
                "{} of it is more than `{key}` allows ({origin}); add `{group}` there, or leave the flag out",
                tame(real.as_str()),
            )),
        }
    }

    /// Whether policy or flags grant all of a group that a manifest asks for;
    /// else why not, and the remedy.
    fn may_have_group(&self, group: Group) -> Result<Present, (String, String)> {
        let present = self.present(group).map_err(|reason| {
            (
                reason,
                "install it, or mark the request `optional = true`".to_owned(),
            )
        })?;
        let beyond = self.beyond(&present, |real, write| {
            self.within_flags(real, write)
                || self.within_ceilings(real, write)
                || !write && self.shown_anyway(real)
        });
        let Some(real) = beyond else {
            return Ok(present);
        };
        let real = tame(real.as_str());
        Err(match self.ceilings.and_then(bounds) {
            Some((key, origin)) => (
                format!("is not granted by `{key}` ({origin}): {real} is part of it"),
                format!("grant it by `\"{group}\"` in `read` under `[filesystem]` of the policy"),
            ),
            None => (
                format!("is not granted by preset {}", self.preset),
                format!(
                    "grant it for this run by `--read {group}`, or for every run by `read = [\"{group}\"]` under `[filesystem]` in a policy file"
                ),
            ),
        })
    }

    /// What of a group is there and is not denied.
    fn present(&self, group: Group) -> Result<Present, String> {
        let members = self.members(group);
        if !members.iter().any(|member| member.counts) {
            let first: Vec<&str> = group
                .about()
                .items
                .iter()
                .take(3)
                .map(|item| item.path)
                .collect();
            return Err(format!(
                "nothing of it is on this machine ({} and so on); `belljar policy groups {group}` tells where it is looked for",
                first.join(", ")
            ));
        }
        let mut present = Present {
            members: Vec::new(),
            left_out: Vec::new(),
        };
        for member in members.iter().cloned() {
            let Ok(found) = self.survey.find(&member.path) else {
                continue;
            };
            let place = Place {
                path: member.path.clone(),
                at: None,
            };
            let reason = if let Some(deny) = denied(self.ceilings, self.survey, &member.path) {
                format!(
                    "`{}` is denied ({}), and deny beats every grant",
                    tame(deny.value.as_str()),
                    deny.origin
                )
            } else if let Some(words) = &member.secret {
                format!("it leads to {}, where {words}", tame(found.path.as_str()))
            } else if let Some(reason) = never(&place, &found.path) {
                reason
            } else if let Some(above) = self.hidden_with(&found.path) {
                format!("it lies in {above}, which preset minimal hides as a whole")
            } else {
                present.members.push(member);
                continue;
            };
            present.left_out.push(Dropped {
                request: format!("filesystem.read {group}: {}", tame(member.path.as_str())),
                reason,
            });
        }
        if present.members.iter().any(|member| member.counts) {
            return Ok(present);
        }
        let first = present.left_out.first();
        Err(first.map_or_else(
            || "nothing of it is left".to_owned(),
            |first| format!("nothing of it is left: {}", first.reason),
        ))
    }

    /// Where the first of a group's paths leads that is not within some bound.
    fn beyond(
        &self,
        present: &Present,
        within: impl Fn(&UnixPath, bool) -> bool,
    ) -> Option<UnixPath> {
        present.members.iter().find_map(|member| {
            let real = &self.survey.find(&member.path).ok()?.path;
            (!within(real, member.write)).then(|| real.clone())
        })
    }

    fn give(&mut self, group: Group, present: Present, origin: &str, optional: bool) -> Vec<Grant> {
        let Present { members, left_out } = present;
        self.dropped.extend(left_out);
        let (home, of_caller) = (self.jar_home(), self.caller.home());
        let mut paths: Vec<UnixPath> = Vec::new();
        let mut grants: Vec<Grant> = Vec::new();
        for member in members {
            let Ok(found) = self.survey.find(&member.path) else {
                continue;
            };
            paths.extend([member.path.clone(), found.path.clone()]);
            let at = member
                .at_home
                .filter(|_| home != of_caller)
                .and_then(|rest| home.as_ref()?.join(&rest).ok());
            let straight = at.is_none() && found.path == member.path && !member.write;
            let covered = straight && grants.iter().any(|over| found.path.is_within(&over.path));
            if covered || straight && self.shown_anyway(&found.path) {
                continue;
            }
            grants.push(Grant {
                path: member.path,
                at,
                write: member.write,
                optional,
                origin: format!("{group} ({origin})"),
            });
        }
        self.given.push(Given { group, paths });
        grants
    }

    /// What every preset but `strict` shows of the system, without a secret in it.
    fn shown_anyway(&self, real: &UnixPath) -> bool {
        self.preset != Preset::Strict
            && SYSTEM
                .iter()
                .any(|system| UnixPath::new(system).is_ok_and(|system| real.is_within(&system)))
    }

    /// The directory in a home that `minimal` hides as a whole, and that holds a path.
    fn hidden_with(&self, real: &UnixPath) -> Option<UnixPath> {
        if self.preset != Preset::Minimal {
            return None;
        }
        self.caller.homes.iter().find_map(|home| {
            let rest = real
                .as_str()
                .strip_prefix(home.as_str())?
                .strip_prefix('/')?;
            let (first, _) = rest.split_once('/')?;
            first.starts_with('.').then(|| home.join(first).ok())?
        })
    }

    /// Where the guest will look for what lies in a home.
    fn jar_home(&self) -> Option<UnixPath> {
        let flags = &self.policy.flags;
        let set = flags.set.iter().find(|(name, _)| name == "HOME");
        if let Some((_, value)) = set {
            return UnixPath::new(std::str::from_utf8(&value.0).ok()?).ok();
        }
        let passed = flags.pass.iter().any(|name| name == "HOME");
        if passed || self.preset == Preset::Minimal {
            return self.caller.home();
        }
        UnixPath::new(HOME).ok()
    }
}
