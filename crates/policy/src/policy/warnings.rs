//! What a policy gives away, line by line.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Policy, Right, Said};
use crate::{
    path::UnixPath,
    risk::{self, Risk, Surroundings},
};

/// A line of a policy by which something is given away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Warning {
    /// For which plugin alone; none for all.
    pub plugin: Option<String>,
    /// Where it was said, such as `policy.toml line 4`.
    pub origin: String,
    /// The key and the value, such as `filesystem.write /usr/local/bin`.
    pub line: String,
    /// What it gives away.
    pub risk: Risk,
}

impl Policy {
    /// Every line that gives something away, by the judgement of [`crate::risk`].
    /// `leads_to` follows the links of a path, where somebody can.
    #[must_use]
    pub fn warnings(
        &self,
        around: &Surroundings,
        leads_to: &dyn Fn(&UnixPath) -> Option<UnixPath>,
    ) -> Vec<Warning> {
        let mut warnings = Warnings {
            around,
            leads_to,
            plugin: None,
            list: Vec::new(),
        };
        warnings.policy(self);
        for (name, own) in &self.plugins {
            warnings.plugin = Some(name.clone());
            warnings.policy(own);
        }
        warnings.list
    }
}

struct Warnings<'a> {
    around: &'a Surroundings,
    leads_to: &'a dyn Fn(&UnixPath) -> Option<UnixPath>,
    plugin: Option<String>,
    list: Vec<Warning>,
}

impl Warnings<'_> {
    fn add(&mut self, origin: &str, line: String, risk: Option<Risk>) {
        self.list.extend(risk.map(|risk| Warning {
            plugin: self.plugin.clone(),
            origin: origin.to_owned(),
            line,
            risk,
        }));
    }

    fn policy(&mut self, policy: &Policy) {
        if let Some(file) = &policy.ceilings {
            for said in &file.read {
                self.path("read", said, risk::of_read);
            }
            for said in &file.groups {
                let about = said.value.about();
                let risk = Risk {
                    level: about.level,
                    words: about.risk.to_owned(),
                };
                self.add(
                    &said.origin,
                    format!("filesystem.read {}", said.value),
                    Some(risk),
                );
            }
            for said in &file.write {
                self.path("write", said, risk::of_write);
            }
            for (right, said) in [
                (Right::Subprocesses, &file.subprocesses),
                (Right::Jit, &file.jit),
            ] {
                if let Some(said) = said
                    && said.value
                {
                    let line = format!("process.{}", right.word());
                    self.add(&said.origin, line, Some(risk::of_right(right)));
                }
            }
            for said in &file.pass {
                let line = format!("env.pass {}", said.value);
                self.add(&said.origin, line, risk::of_passed(&said.value));
            }
        }
        for (rule, said) in &policy.require {
            let line = format!("require.{rule} {}", said.value);
            self.add(&said.origin, line, risk::of_demand(*rule, Some(said.value)));
        }
        for (rule, origin) in &policy.best_effort {
            let line = format!("require.{rule} best-effort");
            self.add(origin, line, risk::of_demand(*rule, None));
        }
        for said in &policy.seccomp.allow {
            let line = format!("seccomp.allow {}", said.value);
            self.add(&said.origin, line, risk::of_call(&said.value));
        }
        let linux = &policy.linux;
        if let Some(said) = &linux.namespaces {
            let risk = risk::of_namespaces(&said.value);
            self.add(&said.origin, "linux.namespaces".to_owned(), risk);
        }
        if let Some(said) = &linux.keep {
            let risk = risk::of_capabilities(said.value);
            self.add(&said.origin, "linux.caps.keep".to_owned(), risk);
        }
    }

    /// By its letters, and by where it leads.
    fn path(
        &mut self,
        word: &str,
        said: &Said<UnixPath>,
        judge: fn(&UnixPath, &Surroundings) -> Option<Risk>,
    ) {
        let mut risk = judge(&said.value, self.around);
        if let Some(real) = (self.leads_to)(&said.value)
            && real != said.value
            && let Some(of_real) = judge(&real, self.around)
            && risk.as_ref().is_none_or(|risk| of_real.level > risk.level)
        {
            risk = Some(Risk {
                level: of_real.level,
                words: format!("it leads to {real}, and {}", of_real.words),
            });
        }
        let line = format!("filesystem.{word} {}", said.value);
        self.add(&said.origin, line, risk);
    }
}
