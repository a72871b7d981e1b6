//! Which variables a launch gets beyond the preset's own.

use std::collections::BTreeMap;

use belljar_plan::{Bytes, Preset, Rule};

use super::{Judge, Refused};
use crate::{
    manifest::is_variable,
    parse::tame,
    planner::environment::is_secret,
    policy::{Said, name_within},
};

/// What Belljar tells every guest. A plugin that set them would speak for its jar.
const OWN: [&str; 4] = [
    "SANDBOX_POLICY",
    "NO_NETWORK",
    "NO_SUBPROCESS",
    "NO_FILESYSTEM_WRITE",
];

/// What loaders and libcs obey before a program's first instruction; ld.so(8).
const LOADER: [&str; 4] = ["LD_*", "GLIBC_TUNABLES", "GCONV_PATH", "MALLOC_*"];

/// What `standard` passes from the caller by itself.
const STANDARD: [&str; 3] = ["PATH", "LANG", "TERM"];

impl Judge<'_> {
    /// Variables set, and names passed.
    pub(super) fn environment(&mut self) -> (BTreeMap<String, Bytes>, Vec<String>) {
        let (mut set, mut pass) = (BTreeMap::new(), Vec::new());
        if let Some(manifest) = self.manifest {
            for (name, request) in &manifest.set {
                match self.may_set(name) {
                    Ok(()) => {
                        set.insert(name.clone(), Bytes::from(request.value.as_str()));
                    }
                    Err(_) if self.policy.flags.set.iter().any(|(flag, _)| flag == name) => {}
                    Err((reason, remedy)) => self.refuse(Refused {
                        rule: Rule::Environment,
                        request: format!("env.set {}", tame(name)),
                        optional: request.optional,
                        origin: &request.origin,
                        reason,
                        remedy,
                    }),
                }
            }
            for request in &manifest.pass {
                match self.may_pass(&request.value) {
                    Ok(Passed::ByName) => pass.push(request.value.clone()),
                    Ok(Passed::ByPreset) => {}
                    Err((reason, remedy)) => self.refuse(Refused {
                        rule: Rule::Environment,
                        request: format!("env.pass {}", tame(&request.value)),
                        optional: request.optional,
                        origin: &request.origin,
                        reason,
                        remedy,
                    }),
                }
            }
        }
        let flags = &self.policy.flags;
        for (name, value) in &flags.set {
            if value.0.contains(&0) {
                self.invalid.push(format!(
                    "--env {}: the value cannot contain a NUL byte",
                    tame(name)
                ));
            } else if self.by_flag_variable("--env", name, "env.set") {
                set.insert(name.clone(), value.clone());
            }
        }
        for name in &flags.pass {
            if self.by_flag_variable("--pass-env", name, "env.pass") {
                pass.push(name.clone());
            }
        }
        pass.sort();
        pass.dedup();
        (set, pass)
    }

    fn by_flag_variable(&mut self, flag: &str, name: &str, key: &str) -> bool {
        let shown = tame(name);
        if !is_variable(name) {
            self.invalid.push(format!(
                "{flag}: `{shown}` cannot be a variable's name: it must not be empty nor contain `=` or NUL; write `{flag} LANG{}`",
                if flag == "--env" { "=C" } else { "" }
            ));
            return false;
        }
        if let Some(deny) = self.denied_variable(name) {
            self.invalid.push(format!(
                "{flag} {shown}: `{}` is denied ({}), and deny beats every flag",
                tame(&deny.value),
                deny.origin
            ));
            return false;
        }
        let Some(file) = self.ceilings else {
            return true;
        };
        let list = match key {
            "env.set" => file.set.as_deref(),
            _ => file.said.contains_key(key).then_some(&*file.pass),
        };
        if let Some(list) = list
            && !list.iter().any(|said| name_within(name, &said.value))
        {
            let origin = file.said.get(key).map_or(&file.file, |origin| origin);
            self.invalid.push(format!(
                "{flag} {shown}: it is not among what `{key}` allows ({origin}); add it there, or leave the flag out"
            ));
            return false;
        }
        true
    }

    fn may_set(&self, name: &str) -> Result<(), (String, String)> {
        if OWN.contains(&name) {
            return Err((
                "can never be: it is what Belljar tells the plugin".to_owned(),
                "take it out of the manifest".to_owned(),
            ));
        }
        if LOADER.iter().any(|pattern| name_within(name, pattern)) {
            return Err((
                "is not granted: a loader obeys it before the plugin starts".to_owned(),
                format!("set it for this run by `--env {}=…`", tame(name)),
            ));
        }
        self.not_denied(name)?;
        match self.ceilings.and_then(|file| file.set.as_deref()) {
            Some(list) if !list.iter().any(|said| name_within(name, &said.value)) => Err((
                format!("is not granted by {}", self.said_at("env.set")),
                format!(
                    "add `\"{}\"` to `set` under `[env]` in the policy",
                    tame(name)
                ),
            )),
            _ => Ok(()),
        }
    }

    fn may_pass(&self, name: &str) -> Result<Passed, (String, String)> {
        if OWN.contains(&name) {
            return Err((
                "can never be: it is what Belljar tells the plugin".to_owned(),
                "take it out of the manifest".to_owned(),
            ));
        }
        self.not_denied(name)?;
        if self.policy.flags.pass.iter().any(|flag| flag == name) {
            return Ok(Passed::ByName);
        }
        // Who writes `*` does not think of what a loader obeys.
        let literal = LOADER.iter().any(|pattern| name_within(name, pattern));
        let granted =
            |said: &Said<String>| said.value == name || !literal && name_within(name, &said.value);
        if self
            .ceilings
            .is_some_and(|file| file.pass.iter().any(granted))
        {
            return Ok(Passed::ByName);
        }
        match self.preset {
            Preset::Minimal if !literal && !self.holds_secret(name) => return Ok(Passed::ByPreset),
            Preset::Standard if STANDARD.contains(&name) => return Ok(Passed::ByPreset),
            _ => {}
        }
        let shown = tame(name);
        Err((
            format!("is not granted by {}", self.said_at("env.pass")),
            format!(
                "grant it for this run by `--pass-env {shown}`, or for every run by `pass = [\"{shown}\"]` under `[env]` in a policy file"
            ),
        ))
    }

    /// `minimal` passes all of the caller's variables but these.
    fn holds_secret(&self, name: &str) -> bool {
        let of_caller = self
            .caller
            .environment
            .iter()
            .find(|(key, _)| key.0 == name.as_bytes());
        is_secret(
            name.as_bytes(),
            of_caller.map_or(b"", |(_, value)| &value.0),
        )
    }

    fn not_denied(&self, name: &str) -> Result<(), (String, String)> {
        self.denied_variable(name).map_or(Ok(()), |deny| {
            Err((
                format!(
                    "is denied by `{}` ({}), and deny beats every grant",
                    tame(&deny.value),
                    deny.origin
                ),
                format!("take `{}` out of `deny` under `[env]`", tame(&deny.value)),
            ))
        })
    }

    fn denied_variable(&self, name: &str) -> Option<&Said<String>> {
        let file = self.ceilings?;
        file.deny_env
            .iter()
            .find(|deny| name_within(name, &deny.value))
    }

    fn said_at(&self, key: &str) -> String {
        self.ceilings
            .and_then(|file| file.said.get(key))
            .map_or_else(
                || format!("preset {}", self.preset),
                |origin| format!("`{key}` ({origin})"),
            )
    }
}

enum Passed {
    /// It is named to the planner.
    ByName,
    /// The preset passes it anyway.
    ByPreset,
}
