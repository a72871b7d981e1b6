//! Which paths of the machine a launch gets, and which stay hidden. Where a
//! path leads is what the survey found, never what its letters say: a link
//! inside an allowed directory does not allow what it leads to.

use belljar_plan::{Preset, Rule};

use super::{Grant, Judge, Refused};
use crate::{
    manifest::{Place, Request},
    parse::tame,
    path::UnixPath,
    policy::{Ceilings, Said},
    verified::Survey,
};

/// What `standard` shows of a machine by itself, as far as it is the same on each.
pub(super) const SYSTEM: [&str; 7] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
];

impl Judge<'_> {
    /// The grants, and the requests that rest on what the preset shows.
    pub(super) fn grants(&mut self) -> (Vec<Grant>, Vec<Grant>) {
        let (mut grants, mut shown) = (Vec::new(), Vec::new());
        let flags = &self.policy.flags;
        for (write, place) in with_write(&flags.read, &flags.write) {
            grants.extend(self.by_flag(place, write));
        }
        if let Some(manifest) = self.manifest {
            for (write, request) in with_write(&manifest.read, &manifest.write) {
                match self.by_request(request, write) {
                    Verdict::Granted => grants.push(grant(request, write)),
                    Verdict::Shown => shown.push(grant(request, write)),
                    Verdict::Refused => {}
                }
            }
        }
        grants.extend(self.groups());
        self.merge(&mut grants);
        (grants, shown)
    }

    /// What is denied, as the path that is left when links are followed: the
    /// link itself may be seen, what it leads to may not.
    pub(super) fn hidden(&mut self, grants: &[Grant]) -> Vec<Said<UnixPath>> {
        let mut hidden = Vec::new();
        for deny in self.ceilings.iter().flat_map(|file| &file.deny) {
            if let Ok(found) = self.survey.find(&deny.value) {
                hidden.push(Said {
                    value: found.path.clone(),
                    origin: deny.origin.clone(),
                });
                continue;
            }
            let forms = forms(self.survey, &deny.value);
            let writable = grants.iter().filter(|grant| grant.write).find(|grant| {
                let places = self::forms(self.survey, &grant.path);
                forms
                    .iter()
                    .any(|form| places.iter().any(|place| form.is_within(place)))
            });
            if let Some(grant) = writable {
                self.invalid.push(format!(
                    "{}: `{}` is denied inside `{}`, which may be written ({}), and is not there: the guest could make it; create it first, or grant a narrower path",
                    deny.origin,
                    tame(deny.value.as_str()),
                    tame(grant.path.as_str()),
                    grant.origin,
                ));
            }
        }
        hidden
    }

    fn by_flag(&mut self, place: &Place, write: bool) -> Option<Grant> {
        let flag = if write { "--write" } else { "--read" };
        if let Err(reason) = self.may_grant(place, write) {
            let shown = tame(place.path.as_str());
            self.invalid.push(format!("{flag} {shown}: {reason}"));
            return None;
        }
        Some(Grant {
            path: place.path.clone(),
            at: place.at.clone(),
            write,
            optional: false,
            origin: flag.to_owned(),
        })
    }

    /// A flag's own word is enough, but where the policy's file says no.
    fn may_grant(&self, place: &Place, write: bool) -> Result<(), String> {
        let real = match self.survey.find(&place.path) {
            Ok(found) => &found.path,
            Err(errno) => return Err(cannot_open(errno)),
        };
        if let Some(deny) = denied(self.ceilings, self.survey, &place.path) {
            return Err(format!(
                "`{}` is denied ({}), and deny beats every flag",
                tame(deny.value.as_str()),
                deny.origin
            ));
        }
        if let Some((key, origin)) = self.ceilings.and_then(bounds)
            && !self.within_ceilings(real, write)
        {
            return Err(format!(
                "it leads to {}, which is more than `{key}` allows ({origin}); add it there, or leave the flag out",
                tame(real.as_str()),
            ));
        }
        never(place, real).map_or(Ok(()), Err)
    }

    fn by_request(&mut self, request: &Request<Place>, write: bool) -> Verdict {
        match self.may_have(&request.value, write) {
            Ok(verdict) => verdict,
            Err((reason, remedy)) => {
                let word = if write { "write" } else { "read" };
                let shown = tame(request.value.path.as_str());
                self.refuse(Refused {
                    rule: Rule::Files,
                    request: format!("filesystem.{word} {shown}"),
                    optional: request.optional,
                    origin: &request.origin,
                    reason,
                    remedy,
                });
                Verdict::Refused
            }
        }
    }

    /// Whether policy or flags grant what a manifest asks for; else why not, and the remedy.
    fn may_have(&self, place: &Place, write: bool) -> Result<Verdict, (String, String)> {
        if let Some(deny) = denied(self.ceilings, self.survey, &place.path) {
            let shown = tame(deny.value.as_str());
            return Err((
                format!(
                    "is denied by `{shown}` ({}), and deny beats every grant",
                    deny.origin
                ),
                format!("take `{shown}` out of `deny`"),
            ));
        }
        let real = match self.survey.find(&place.path) {
            Ok(found) => &found.path,
            Err(errno) => {
                return Err((
                    cannot_open(errno),
                    "create it, or mark the request `optional = true`".to_owned(),
                ));
            }
        };
        if let Some(reason) = never(place, real) {
            return Err((reason, "take it out of the manifest".to_owned()));
        }
        if self.within_flags(real, write) || self.within_ceilings(real, write) {
            return Ok(Verdict::Granted);
        }
        if !write && place.at.is_none() && self.preset_shows(real) {
            return Ok(Verdict::Shown);
        }
        let (word, shown) = (
            if write { "write" } else { "read" },
            tame(place.path.as_str()),
        );
        let target = tame(real.as_str());
        let leads = if *real == place.path {
            String::new()
        } else {
            format!("leads to {target} and ")
        };
        Err(match self.ceilings.and_then(bounds) {
            // A flag cannot go above what a file bounds.
            Some((key, origin)) => (
                format!("{leads}is not granted by `{key}` ({origin})"),
                format!(
                    "grant it by `\"{target}\"` in `{word}` under `[filesystem]` of the policy; `--{word} {shown}` would do only without `{key}` there"
                ),
            ),
            None => (
                format!("{leads}is not granted by preset {}", self.preset),
                format!(
                    "grant it for this run by `--{word} {shown}`, or for every run by `{word} = [\"{target}\"]` under `[filesystem]` in a policy file"
                ),
            ),
        })
    }

    /// What writing needs is in `write`; for reading, either will do.
    pub(super) fn within_ceilings(&self, real: &UnixPath, write: bool) -> bool {
        self.ceilings.is_some_and(|file| {
            let read: &[Said<UnixPath>] = if write { &[] } else { &file.read };
            let mut groups = file.groups.iter().map(|said| said.value);
            groups.any(|group| self.within_group(group, real, write))
                || read.iter().chain(&file.write).any(|ceiling| {
                    self.survey
                        .find(&ceiling.value)
                        .is_ok_and(|found| real.is_within(&found.path))
                })
        })
    }

    pub(super) fn within_flags(&self, real: &UnixPath, write: bool) -> bool {
        let flags = &self.policy.flags;
        let read: &[Place] = if write { &[] } else { &flags.read };
        let mut groups = flags.groups.iter();
        groups.any(|group| self.within_group(*group, real, write))
            || read.iter().chain(&flags.write).any(|place| {
                self.survey
                    .find(&place.path)
                    .is_ok_and(|found| real.is_within(&found.path))
            })
    }

    fn preset_shows(&self, real: &UnixPath) -> bool {
        match self.preset {
            Preset::Minimal => true,
            Preset::Standard => SYSTEM
                .iter()
                .any(|system| UnixPath::new(system).is_ok_and(|system| real.is_within(&system))),
            Preset::Strict => false,
        }
    }

    /// One place in the jar can hold one thing, and the union of two grants of
    /// one thing is the wider.
    fn merge(&mut self, grants: &mut Vec<Grant>) {
        let survey = self.survey;
        let real = |grant: &Grant| survey.find(&grant.path).ok().map(|found| &found.path);
        let target = |grant: &Grant| grant.at.clone().or_else(|| real(grant).cloned());
        let mut merged: Vec<Grant> = Vec::new();
        for mut grant in grants.drain(..) {
            let mut covered = false;
            for other in &mut merged {
                if target(other) != target(&grant) {
                    continue;
                }
                if real(other) != real(&grant) {
                    self.invalid.push(format!(
                        "`{}` ({}) and `{}` ({}) cannot both be at one place in the jar; give one of them another",
                        tame(other.path.as_str()),
                        other.origin,
                        tame(grant.path.as_str()),
                        grant.origin,
                    ));
                }
                if grant.write && !other.write {
                    other.write = true;
                    other.origin.clone_from(&grant.origin);
                }
                grant.write |= other.write;
                other.optional &= grant.optional;
                covered |= other.path == grant.path;
            }
            if !covered {
                merged.push(grant);
            }
        }
        *grants = merged;
    }
}

enum Verdict {
    Granted,
    /// The preset shows it by itself.
    Shown,
    Refused,
}

fn with_write<'a, T>(read: &'a [T], write: &'a [T]) -> impl Iterator<Item = (bool, &'a T)> {
    let read = read.iter().map(|item| (false, item));
    read.chain(write.iter().map(|item| (true, item)))
}

fn grant(request: &Request<Place>, write: bool) -> Grant {
    Grant {
        path: request.value.path.clone(),
        at: request.value.at.clone(),
        write,
        optional: request.optional,
        origin: request.origin.clone(),
    }
}

/// A deny holds for a path by its letters and by where it leads, both ways.
pub(super) fn denied<'a>(
    ceilings: Option<&'a Ceilings>,
    survey: &Survey,
    path: &UnixPath,
) -> Option<&'a Said<UnixPath>> {
    let asked = forms(survey, path);
    ceilings?.deny.iter().find(|deny| {
        let denied = forms(survey, &deny.value);
        asked
            .iter()
            .any(|path| denied.iter().any(|deny| path.is_within(deny)))
    })
}

/// A path as it was said and as it is when links are followed. Where it is not
/// there, what is known of the directories above it is followed.
fn forms(survey: &Survey, path: &UnixPath) -> Vec<UnixPath> {
    let mut forms = vec![path.clone()];
    let mut above = Some(path.clone());
    while let Some(at) = above {
        if let Ok(found) = survey.find(&at) {
            let rest = &path.as_str()[at.as_str().len()..];
            forms.extend(found.path.join(rest).ok());
            break;
        }
        above = at.parent();
    }
    forms.dedup();
    forms
}

/// The list of a policy's file that bounds paths, and where it stands. Either
/// list bounds both: who writes `read = […]` does not mean "and write anything".
pub(crate) fn bounds(ceilings: &Ceilings) -> Option<(&'static str, &str)> {
    ["filesystem.read", "filesystem.write"]
        .into_iter()
        .find_map(|key| Some((key, ceilings.said.get(key)?.as_str())))
}

/// Why a grant could never apply.
pub(super) fn never(place: &Place, real: &UnixPath) -> Option<String> {
    let proc = UnixPath::new("/proc").ok()?;
    let inside = place.at.as_ref().unwrap_or(&place.path);
    if real.is_within(&proc) || inside.is_within(&proc) {
        return Some("can never apply: a jar has a /proc of its own".to_owned());
    }
    // The machine's root shows the machine's /proc and all its devices, elsewhere.
    if inside.as_str() == "/" || real.as_str() == "/" {
        return Some(
            "can never apply: a jar has a root of its own; name a directory below it, or use preset minimal to read all"
                .to_owned(),
        );
    }
    None
}

/// What is said of a path that is granted and is not there.
pub const NOT_HERE: &str = "does not exist on this machine";

fn cannot_open(errno: i32) -> String {
    match errno {
        1 | 13 => "cannot be opened by you (permission denied)".to_owned(),
        2 | 20 => NOT_HERE.to_owned(),
        40 => "cannot be opened: its symbolic links lead in a circle".to_owned(),
        _ => format!("cannot be opened (errno {errno})"),
    }
}
