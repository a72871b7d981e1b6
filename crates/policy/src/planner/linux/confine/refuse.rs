//! What a policy may not ask of a process that confines itself. Nothing of it is left out
//! silently: whoever said it meant it to hold.

use belljar_plan::{Limit, Preset};

use super::super::root::led_astray;
use super::{Held, HeldKind, RULES};
use crate::{
    effective::Effective,
    parse::tame,
    path::UnixPath,
    policy::{Policy, Said},
    refusal::Refusal,
    units::flag,
    verified::{FileKind, Verified},
};

/// Words of a policy that take a jar.
///
/// # Errors
/// All of them, each with the remedy.
pub(super) fn policy(policy: &Policy, effective: &Effective) -> Result<(), Refusal> {
    let mut reasons = Vec::new();
    if effective.preset.value == Preset::Standard {
        reasons.push(format!(
            "confine: there is no preset `standard` ({}), which is made of mounts; take `minimal` or `strict`",
            effective.preset.origin
        ));
    }
    let flags = &policy.flags;
    let said = [
        ("--env", !flags.set.is_empty()),
        ("--pass-env", !flags.pass.is_empty()),
        ("--workdir", flags.workdir.is_some()),
        ("--user", flags.user.is_some()),
        ("--hostname", flags.hostname.is_some()),
        ("--cpuset", effective.cpuset.is_some()),
        ("--tty", flags.terminal.is_some()),
        ("--observe", flags.observe),
    ];
    for (word, _) in said.into_iter().filter(|(_, is_said)| *is_said) {
        reasons.push(format!(
            "confine: `{word}` takes a jar; leave it out, or say `belljar run`"
        ));
    }
    for (rule, origin) in &policy.end_on {
        reasons.push(format!(
            "confine: a violation of {rule} ends nothing ({origin}), since nobody hears of it; leave that out, or say `belljar run`"
        ));
    }
    for (limit, said) in &effective.limits {
        let rule = limit.rule();
        let by_preset = said.origin.starts_with("preset ");
        let lifted = said.value.hard.is_none() && said.value.soft.is_none();
        if RULES.contains(&rule) || by_preset || lifted || effective.best_effort.contains_key(&rule)
        {
            continue;
        }
        reasons.push(limit_of_all(*limit, &said.origin));
    }
    for (limit, said) in &policy.host {
        reasons.push(limit_of_all(*limit, &said.origin));
    }
    if effective.capabilities != (0, 0) {
        reasons.push(
            "confine: no capability is kept; take `caps` out of `[linux]`, or say `belljar run`"
                .to_owned(),
        );
    }
    match reasons.is_empty() {
        true => Ok(()),
        false => Err(Refusal::Invalid {
            reason: reasons.join("; "),
        }),
    }
}

fn limit_of_all(limit: Limit, origin: &str) -> String {
    format!(
        "confine: a process cannot hold `{limit}` of itself and its children ({origin}); leave `{}` out, accept it by \
         `--best-effort {}`, or say `belljar run`",
        flag(limit),
        limit.rule()
    )
}

/// Grants that take mounts, or somebody who connects.
///
/// # Errors
/// All of them, each with the remedy.
pub(super) fn grants(
    verified: &Verified,
    effective: &Effective,
    hidden: &[Said<UnixPath>],
    procs: &[UnixPath],
) -> Result<(), Refusal> {
    let mut reasons = Vec::new();
    for grant in &effective.grants {
        let path = tame(grant.path.as_str());
        if grant.at.is_some() {
            reasons.push(format!(
                "confine: {path} ({}) has no other place in a process that confines itself; grant it without one",
                grant.origin
            ));
        }
        let found = verified.survey.find(&grant.path);
        let over = |found: &crate::verified::Found| {
            let path = found.path.as_str();
            let holds = |at: &UnixPath| at.is_within(&found.path) || found.path.is_within(at);
            path == "/" || path == "/proc" || path.starts_with("/proc/") || procs.iter().any(holds)
        };
        if grant.write && found.is_ok_and(over) {
            reasons.push(format!(
                "confine: {path} ({}) cannot be granted for writing: by a procfs in it a process writes its own memory and \
                 settings; grant what it needs beside that",
                grant.origin
            ));
        }
        if let Ok(found) = found
            && let Some(written) = led_astray(grant, found, verified, effective)
        {
            reasons.push(format!(
                "confine: {path} ({}) lies in {written}, which may be written, and a symbolic link there leads out of it, to {}: \
                 who was confined before could have put it there; if you mean that place, grant it by its own path",
                grant.origin,
                tame(found.path.as_str())
            ));
        }
        // Who names what is hidden, or something in it, means it; a link may be anybody's.
        let unnamed = |said: &&Said<UnixPath>| {
            found.is_ok_and(|found| found.path.is_within(&said.value))
                && !grant.path.is_within(&said.value)
        };
        if let Ok(found) = found
            && let Some(secret) = hidden.iter().find(unnamed)
        {
            reasons.push(format!(
                "confine: {path} ({}) leads by a symbolic link to {}, which is hidden ({}); if you mean that place, grant \
                 it by its own path",
                grant.origin,
                tame(found.path.as_str()),
                secret.origin
            ));
        }
        if found.is_ok_and(|found| found.kind == FileKind::Socket) {
            reasons.push(format!(
                "confine: the socket {path} ({}) cannot be connected to, since nobody stands beside who would; connect first, \
                 and keep the descriptor",
                grant.origin
            ));
        }
    }
    match reasons.is_empty() {
        true => Ok(()),
        false => Err(Refusal::Invalid {
            reason: reasons.join("; "),
        }),
    }
}

/// Descriptors that nobody may keep; 0, 1 and 2 are the caller's own.
///
/// # Errors
/// All of them, each with the remedy.
pub(super) fn descriptors(held: &[Held]) -> Result<(), Refusal> {
    let refused = held
        .iter()
        .filter(|held| held.number > 2)
        .filter_map(|held| {
            let what = match held.kind {
                HeldKind::Place => "a directory or a path",
                HeldKind::WrittenFile { .. } => "a file that is open for writing",
                HeldKind::LooseSocket => "a unix socket that can be connected or sent from to others",
                HeldKind::Other => return None,
            };
            Some(format!(
                "confine: descriptor {} is {what}, which is a way out; keep a pipe or a connected socket, and grant files by path",
                held.number
            ))
        });
    let reasons: Vec<String> = refused.collect();
    match reasons.is_empty() {
        true => Ok(()),
        false => Err(Refusal::Invalid {
            reason: reasons.join("; "),
        }),
    }
}
