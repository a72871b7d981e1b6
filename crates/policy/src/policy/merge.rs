//! One policy over another: grants and denials are added, of other words the
//! upper one's counts, and what either denies stays denied.

use super::{Ceilings, LinuxPolicy, Policy, PolicyError, Said, file, name_within};
use crate::{parse::tame, path::UnixPath};

impl Policy {
    /// This policy with another over it, which extends it.
    ///
    /// # Errors
    /// Where the other grants what this one denies: that could never apply.
    pub(super) fn extended_by(mut self, over: Self) -> Result<Self, PolicyError> {
        self.deny_nothing_of(&over)?;
        self.take_out(&over);
        self.preset = over.preset.or(self.preset);
        self.flags = over.flags;
        self.host.extend(over.host);
        for (rule, said) in over.require {
            self.best_effort.remove(&rule);
            self.require.insert(rule, said);
        }
        for (rule, origin) in over.best_effort {
            self.require.remove(&rule);
            self.best_effort.insert(rule, origin);
        }
        self.linux = LinuxPolicy {
            namespaces: over.linux.namespaces.or(self.linux.namespaces),
            keep: over.linux.keep.or(self.linux.keep),
            ambient: over.linux.ambient.or(self.linux.ambient),
            uid_range: over.linux.uid_range.or(self.linux.uid_range),
            cpuset: over.linux.cpuset.or(self.linux.cpuset),
        };
        add(&mut self.seccomp.allow, over.seccomp.allow);
        add(&mut self.seccomp.deny, over.seccomp.deny);
        for (rule, origin) in over.end_on {
            self.end_on.entry(rule).or_insert(origin);
        }
        self.ceilings = match (self.ceilings.take(), over.ceilings) {
            (Some(under), Some(over)) => Some(under.extended_by(over)),
            (under, over) => over.or(under),
        };
        for (name, own) in over.plugins {
            let whole = match self.plugins.remove(&name) {
                Some(under) => under.extended_by(own)?,
                None => own,
            };
            self.plugins.insert(name, whole);
        }
        self.ambient_is_kept()?;
        Ok(self)
    }

    /// What another policy denies is denied over everything that this one grants.
    fn take_out(&mut self, over: &Self) {
        if let (Some(file), Some(denies)) = (&mut self.ceilings, &over.ceilings) {
            file.take_out(&denies.deny, &denies.deny_env);
        }
        let denied = &over.seccomp.deny;
        self.seccomp
            .allow
            .retain(|said| !denied.iter().any(|deny| deny.value == said.value));
        for plugin in self.plugins.values_mut() {
            plugin.take_out(over);
        }
    }

    /// Refuses what another policy grants and this one denies.
    fn deny_nothing_of(&self, over: &Self) -> Result<(), PolicyError> {
        let none = Ceilings::default();
        let denies = self.ceilings.as_ref().unwrap_or(&none);
        for policy in std::iter::once(over).chain(over.plugins.values()) {
            if let Some(file) = &policy.ceilings {
                file.check(&denies.deny, &denies.deny_env)?;
            }
            for said in &policy.seccomp.allow {
                let denied = self.seccomp.deny.iter();
                if let Some(deny) = denied.into_iter().find(|deny| deny.value == said.value) {
                    return Err(file::bad(
                        &said.origin,
                        &format!(
                            "`{}` can never apply: it is denied ({})",
                            tame(&said.value),
                            deny.origin
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Of two files one may keep a capability and the other make it ambient.
    fn ambient_is_kept(&self) -> Result<(), PolicyError> {
        let keep = self.linux.keep.as_ref().map_or(0, |keep| keep.value);
        match &self.linux.ambient {
            Some(ambient) if ambient.value & !keep != 0 => Err(file::bad(
                &ambient.origin,
                "an ambient capability must be kept too; add it to `keep`",
            )),
            _ => Ok(()),
        }
    }

    /// Every place that is named in it.
    pub(super) fn each_origin(&mut self, change: &mut dyn FnMut(&mut String)) {
        fn all<T>(list: &mut [Said<T>], change: &mut dyn FnMut(&mut String)) {
            list.iter_mut().for_each(|said| change(&mut said.origin));
        }
        fn one<T>(said: &mut Option<Said<T>>, change: &mut dyn FnMut(&mut String)) {
            all(said.as_mut_slice(), change);
        }
        one(&mut self.preset, change);
        if let Some(file) = &mut self.ceilings {
            all(&mut file.read, change);
            all(&mut file.groups, change);
            all(&mut file.write, change);
            all(&mut file.deny, change);
            for said in file.limits.values_mut() {
                change(&mut said.origin);
            }
            one(&mut file.subprocesses, change);
            one(&mut file.jit, change);
            all(file.set.as_deref_mut().unwrap_or_default(), change);
            all(&mut file.pass, change);
            all(&mut file.deny_env, change);
            all(&mut file.connect, change);
            file.said.values_mut().for_each(&mut *change);
        }
        for said in self.host.values_mut() {
            change(&mut said.origin);
        }
        for said in self.require.values_mut() {
            change(&mut said.origin);
        }
        self.best_effort.values_mut().for_each(&mut *change);
        one(&mut self.linux.namespaces, change);
        one(&mut self.linux.keep, change);
        one(&mut self.linux.ambient, change);
        one(&mut self.linux.uid_range, change);
        one(&mut self.linux.cpuset, change);
        all(&mut self.seccomp.allow, change);
        all(&mut self.seccomp.deny, change);
        self.end_on.values_mut().for_each(&mut *change);
        for plugin in self.plugins.values_mut() {
            plugin.each_origin(change);
        }
    }
}

impl Ceilings {
    fn extended_by(mut self, over: Self) -> Self {
        self.file = over.file;
        add(&mut self.read, over.read);
        add(&mut self.groups, over.groups);
        add(&mut self.write, over.write);
        add(&mut self.deny, over.deny);
        self.limits.extend(over.limits);
        self.subprocesses = over.subprocesses.or(self.subprocesses);
        self.jit = over.jit.or(self.jit);
        self.set = match (self.set, over.set) {
            (Some(mut under), Some(over)) => {
                add(&mut under, over);
                Some(under)
            }
            (under, over) => over.or(under),
        };
        add(&mut self.pass, over.pass);
        add(&mut self.deny_env, over.deny_env);
        add(&mut self.connect, over.connect);
        self.capabilities = match (self.capabilities, over.capabilities) {
            (Some(mut under), Some(over)) => {
                under.extend(over);
                Some(under)
            }
            (under, over) => over.or(under),
        };
        self.said.extend(over.said);
        self
    }

    fn take_out(&mut self, deny: &[Said<UnixPath>], deny_env: &[Said<String>]) {
        let kept =
            |said: &Said<UnixPath>| !deny.iter().any(|deny| said.value.is_within(&deny.value));
        self.read.retain(kept);
        self.write.retain(kept);
        let kept = |said: &Said<String>| {
            !deny_env
                .iter()
                .any(|deny| name_within(&said.value, &deny.value))
        };
        if let Some(set) = &mut self.set {
            set.retain(kept);
        }
        self.pass.retain(kept);
    }
}

/// Adds what is not there yet; who said it first is remembered.
fn add<T: PartialEq>(list: &mut Vec<Said<T>>, more: Vec<Said<T>>) {
    for said in more {
        if !list.iter().any(|known| known.value == said.value) {
            list.push(said);
        }
    }
}
