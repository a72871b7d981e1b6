//! Who asks, and what every path that a launch mentions leads to.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    os::unix::ffi::OsStringExt as _,
};

use belljar_plan::Bytes;
use belljar_policy::{
    Manifest, Policy, UnixPath,
    group::Group,
    policy::{Ceilings, Said},
    verified::{Caller, FileKind, Found, Survey},
};

use super::{elf, error::VerifyError, places, runtime};
use crate::sys::look::{self, LookError};

/// The calling process and its machine's users.
pub(crate) fn caller() -> Caller {
    let bytes = |text: std::ffi::OsString| Bytes(text.into_vec());
    let workdir = env::current_dir().ok();
    Caller {
        environment: env::vars_os()
            .map(|(name, value)| (bytes(name), bytes(value)))
            .collect(),
        workdir: workdir.and_then(|path| UnixPath::new(path.to_str()?).ok()),
        homes: homes(),
    }
}

/// The home directories that exist: those of passwd(5) for root and people,
/// and the caller's own, which may come from elsewhere.
pub(crate) fn homes() -> Vec<UnixPath> {
    let passwd = look::read_small("/etc/passwd", 1 << 20).unwrap_or_default();
    let own = env::var("HOME").ok();
    let mut homes: Vec<UnixPath> = people(&String::from_utf8_lossy(&passwd))
        .chain(own.iter().map(String::as_str))
        .filter_map(|path| UnixPath::new(path).ok())
        .filter(|path| path.as_str() != "/" && look::exists(path.as_str()))
        .take(1024)
        .collect();
    homes.sort_unstable();
    homes.dedup();
    homes
}

/// Which of the programs that were seen ask for memory that is writable and
/// executable when they are started.
pub(crate) fn writable_code(survey: &Survey) -> BTreeSet<UnixPath> {
    let asks = |found: &&Found| {
        let program = found.kind == FileKind::File && found.mode & 0o111 != 0;
        program
            && std::fs::File::open(found.path.as_str()).is_ok_and(|file| {
                let bytes = places::Bytes::File(file.into());
                matches!(elf::read(&bytes), Ok(Some(about)) if about.writable_code)
            })
    };
    let found = survey.0.values().filter_map(|found| found.as_ref().ok());
    found.filter(asks).map(|found| found.path.clone()).collect()
}

fn people(passwd: &str) -> impl Iterator<Item = &str> {
    const NOBODY: u32 = 65534;
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(2);
        let uid: u32 = fields.next()?.parse().ok()?;
        let home = fields.nth(2)?;
        (uid == 0 || (uid >= 1000 && uid != NOBODY)).then_some(home)
    })
}

/// Looks at every path that the launch mentions.
pub(crate) fn survey<'a>(
    policy: &'a Policy,
    manifest: Option<&'a Manifest>,
    caller: &'a Caller,
    candidates: impl Iterator<Item = &'a UnixPath>,
) -> Result<Survey, VerifyError> {
    let mut paths: Vec<&UnixPath> = candidates.chain(&caller.workdir).collect();
    mentioned(policy, &mut paths);
    for policy in policy.plugins.values() {
        mentioned(policy, &mut paths);
    }
    if let Some(manifest) = manifest {
        let asked = manifest.read.iter().chain(&manifest.write);
        paths.extend(asked.map(|request| &request.value.path));
    }
    paths.sort_unstable();
    paths.dedup();
    let mut survey = BTreeMap::new();
    for path in paths {
        let found = match look::look(path) {
            Ok(seen) => Ok(seen),
            Err(LookError::Errno(errno)) => Err(errno),
            Err(LookError::NotUtf8(leads)) => return Err(super::not_utf8(&leads)),
        };
        survey.insert(path.clone(), found);
    }
    above_missing(&mut survey);
    let mut granted: Vec<UnixPath> = policy
        .flags
        .read
        .iter()
        .chain(&policy.flags.write)
        .map(|place| place.path.clone())
        .collect();
    granted.extend(of_groups(policy, manifest, caller, &mut survey)?);
    above_granted(&granted, &mut survey);
    Ok(Survey(survey))
}

/// Of a path that is not there, looks at what there is of the way to it: a
/// denied path may be reached through a link before it is made.
fn above_missing(survey: &mut BTreeMap<UnixPath, Result<Found, i32>>) {
    let missing: Vec<UnixPath> = survey
        .iter()
        .filter(|(_, found)| found.is_err())
        .map(|(path, _)| path.clone())
        .collect();
    for path in missing {
        let mut above = path.parent();
        while let Some(at) = above {
            if survey.get(&at).is_some_and(Result::is_ok) {
                break;
            }
            if let Ok(found) = look::look(&at) {
                survey.insert(at, Ok(found));
                break;
            }
            above = at.parent();
        }
    }
}

/// Looks at the way to each granted path: where part of it lies in a directory
/// that the guest may write, a link there may be the guest's.
fn above_granted(granted: &[UnixPath], survey: &mut BTreeMap<UnixPath, Result<Found, i32>>) {
    for path in granted {
        for above in path.ancestors_from_root() {
            if !survey.contains_key(&above)
                && let Ok(found) = look::look(&above)
            {
                survey.insert(above, Ok(found));
            }
        }
    }
}

/// Looks at where the mentioned groups may have something, and returns what is
/// there. What is not there is of no interest: a group is what there is of it.
fn of_groups(
    policy: &Policy,
    manifest: Option<&Manifest>,
    caller: &Caller,
    survey: &mut BTreeMap<UnixPath, Result<Found, i32>>,
) -> Result<Vec<UnixPath>, VerifyError> {
    let policies = std::iter::once(policy).chain(policy.plugins.values());
    let groups: BTreeSet<Group> = policies
        .flat_map(|policy| {
            let ceilings = policy.ceilings.iter().flat_map(|file| &file.groups);
            let said = ceilings.map(|said| said.value);
            said.chain(policy.flags.groups.iter().copied())
        })
        .chain(
            manifest
                .iter()
                .flat_map(|manifest| manifest.groups.iter().map(|asked| asked.value)),
        )
        .collect();
    let mut there = Vec::new();
    for pattern in groups.iter().flat_map(|group| group.patterns(caller)) {
        for path in runtime::matching(&pattern) {
            if !survey.contains_key(&path) {
                match look::look(&path) {
                    Ok(seen) => drop(survey.insert(path.clone(), Ok(seen))),
                    Err(LookError::Errno(_)) => continue,
                    Err(LookError::NotUtf8(leads)) => return Err(super::not_utf8(&leads)),
                }
            }
            there.push(path);
        }
    }
    Ok(there)
}

fn mentioned<'a>(policy: &'a Policy, paths: &mut Vec<&'a UnixPath>) {
    let flags = &policy.flags;
    paths.extend(
        flags
            .read
            .iter()
            .chain(&flags.write)
            .map(|place| &place.path),
    );
    paths.extend(&flags.workdir);
    if let Some(Ceilings {
        read, write, deny, ..
    }) = &policy.ceilings
    {
        let said = |said: &'a Said<UnixPath>| &said.value;
        paths.extend(read.iter().chain(write).chain(deny).map(said));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_followed_as_far_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("real")).unwrap();
        std::os::unix::fs::symlink("real", real.join("link")).unwrap();
        let at = |rest: &str| UnixPath::new(real.join(rest).to_str().unwrap()).unwrap();
        let policy = Policy::strict().deny(at("link/a/b").as_str()).unwrap();
        let survey = survey(&policy, None, &Caller::default(), std::iter::empty()).unwrap();
        assert_eq!(survey.find(&at("link")).unwrap().path, at("real"));
        assert!(survey.find(&at("link/a/b")).is_err());
    }

    #[test]
    fn homes_are_those_of_root_and_people_not_of_services() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/usr/sbin:/x\n\
            me:x:1000:1000:,,,:/home/me:/bin/sh\nnobody:x:65534:65534::/nonexistent:/x\nbroken\n";
        assert_eq!(people(passwd).collect::<Vec<_>>(), ["/root", "/home/me"]);
    }
}
