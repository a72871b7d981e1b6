//! What a launch gets: (manifest ∩ policy) ∪ flags, with deny above all.
//! `docs/contract.md` section 1 in code; no step of a launch is made here.

use std::collections::BTreeMap;

use belljar_plan::{
    Bytes, Limit, Namespaces, Preset, Rule, Strength, outcome::Unmet, plan::Dropped,
};

use crate::{
    group::{Group, Member},
    manifest::{Bound, Manifest},
    parse::tame,
    path::UnixPath,
    policy::{Ceilings, Policy, Right, Said, SeccompPolicy, caps},
    processors::Processors,
    refusal::Refusal,
    verified::{Caller, ProgramBytes, Subject, Survey, Verified},
};

mod environment;
mod groups;
mod limits;
mod paths;

pub(crate) use self::paths::bounds;
pub use self::{
    limits::{changed, preset_limits},
    paths::NOT_HERE,
};

/// What a launch gets, decided but not yet turned into steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The preset, and where it was said.
    pub preset: Said<Preset>,
    /// Paths of the machine, beyond what the preset shows.
    pub grants: Vec<Grant>,
    /// Paths of the machine that stay hidden inside what is shown.
    pub hidden: Vec<Said<UnixPath>>,
    /// Every limit, with which side decided.
    pub limits: BTreeMap<Limit, Said<Bound>>,
    /// Variables that are set, over the preset's own.
    pub set: BTreeMap<String, Bytes>,
    /// Variables that are passed from the caller.
    pub pass: Vec<String>,
    /// Directories of programs that granted toolchains add to the end of PATH.
    pub programs: Vec<UnixPath>,
    /// Other programs may be started.
    pub subprocesses: bool,
    /// Memory may be writable and executable.
    pub jit: bool,
    /// The guest's user inside.
    pub user: (u32, u32),
    /// `--workdir`
    pub workdir: Option<UnixPath>,
    /// The jar's name for itself.
    pub hostname: String,
    /// `--tty`
    pub terminal: Option<(u16, u16)>,
    /// `--observe`
    pub observe: bool,
    /// What all jars of this host may have together.
    pub host: BTreeMap<Limit, Said<u64>>,
    /// The processors that the jar may run on.
    pub cpuset: Option<Said<Processors>>,
    /// What each rule must be at least, where it differs from the preset's demand.
    pub require: BTreeMap<Rule, Said<Strength>>,
    /// Rules for which less will do, with where that was said.
    pub best_effort: BTreeMap<Rule, String>,
    /// The namespaces of the jar's own.
    pub namespaces: Namespaces,
    /// Capabilities kept, as bits, and of these the ambient ones.
    pub capabilities: (u64, u64),
    /// Machine uids for jars that root starts: first and count.
    pub uid_range: (u32, u32),
    /// System calls beyond the preset's list, and off it.
    pub seccomp: SeccompPolicy,
    /// Rules whose violation ends the jar, and where that was said.
    pub end_on: BTreeMap<Rule, String>,
    /// Variables that stay out even where the preset passes all, `AWS_*` for
    /// all that start so.
    pub deny_env: Vec<Said<String>>,
    /// Requests to read that rest on what the preset shows by itself: no grant
    /// is made for them, and a plan that does not show them must say so.
    pub shown: Vec<Grant>,
    /// Where the words were said that stand nowhere else here, by what they are about.
    pub said: BTreeMap<String, String>,
    /// Optional requests that are not granted.
    pub dropped: Vec<Dropped>,
    /// Whatever makes this jar weaker than its preset.
    pub weakenings: Vec<String>,
}

/// A path that a launch gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// On the machine, as it was said; the survey tells where it leads.
    pub path: UnixPath,
    /// In the jar, where it was said.
    pub at: Option<UnixPath>,
    /// It may be written.
    pub write: bool,
    /// Without it the plugin still runs.
    pub optional: bool,
    /// Where it was said.
    pub origin: String,
}

/// Decides what a launch gets. Pure: the same input gives the same answer.
///
/// A bare program gets what the flags say. A plugin gets what its manifest asks
/// for and the policy grants (with no policy file the preset is the policy), and
/// what the flags say. A policy file's `deny` and ceilings hold for flags too.
///
/// # Errors
/// [`Refusal::Invalid`] where policy and flags contradict each other or can
/// never apply, all such listed; else [`Refusal::Unmet`] with every request
/// that is not granted, and the flag and the policy line that would grant it.
pub fn effective(verified: &Verified, policy: &Policy) -> Result<Effective, Refusal> {
    let manifest = match &verified.subject {
        Subject::Program(_) => None,
        Subject::Plugin(plugin) => Some(&plugin.manifest),
    };
    let policy = match manifest {
        Some(manifest) => policy.for_plugin(&manifest.plugin.name),
        None => policy.clone(),
    };
    let preset = preset(&verified.subject, &policy);
    let mut judge = Judge {
        manifest,
        ceilings: policy.ceilings.as_ref(),
        policy: &policy,
        preset: preset.value,
        survey: &verified.survey,
        caller: &verified.caller,
        invalid: Vec::new(),
        unmet: Vec::new(),
        dropped: Vec::new(),
        weakenings: Vec::new(),
        groups: groups::mentioned(&policy, manifest, &verified.caller, &verified.survey),
        given: Vec::new(),
    };

    let (grants, shown) = judge.grants();
    let hidden = judge.hidden(&grants);
    let limits = judge.limits();
    let (mut set, pass) = judge.environment();
    let programs = judge.of_groups(&mut set, &pass);
    let subprocesses = judge.right(Right::Subprocesses);
    let jit = judge.right(Right::Jit);
    judge.unsupported();
    judge.linux();
    let said = judge.said();
    let user = judge.user();
    let hostname = judge.hostname();
    let cpuset = judge.cpuset();

    let Judge {
        invalid,
        unmet,
        dropped,
        weakenings,
        ..
    } = judge;
    if !invalid.is_empty() {
        return Err(Refusal::Invalid {
            reason: invalid.join("; "),
        });
    }
    if !unmet.is_empty() {
        return Err(Refusal::Unmet { unmet });
    }
    let linux = policy.linux;
    Ok(Effective {
        preset,
        grants,
        hidden,
        limits,
        set,
        pass,
        programs,
        subprocesses,
        jit,
        user,
        workdir: policy.flags.workdir,
        hostname,
        terminal: policy.flags.terminal,
        observe: policy.flags.observe,
        host: policy.host,
        cpuset,
        require: policy.require,
        best_effort: policy.best_effort,
        namespaces: linux.namespaces.map_or(Namespaces::ALL, |said| said.value),
        capabilities: (
            linux.keep.map_or(0, |said| said.value),
            linux.ambient.map_or(0, |said| said.value),
        ),
        uid_range: linux.uid_range.map_or(UID_RANGE, |said| said.value),
        seccomp: policy.seccomp,
        end_on: policy.end_on,
        deny_env: policy.ceilings.map_or_else(Vec::new, |file| file.deny_env),
        shown,
        said,
        dropped,
        weakenings,
    })
}

/// Machine uids for jars that root starts, where no policy says other ones:
/// above every range that distributions give to users and containers.
pub const UID_RANGE: (u32, u32) = (2_000_000_000, 65536);

/// The guest's user inside, where no flag says another one.
pub const USER: (u32, u32) = (1000, 1000);

/// The user that owns what has no owner inside; user_namespaces(7).
const OVERFLOW: u32 = 65534;

/// Everything that deciding looks at, and what it found so far.
struct Judge<'a> {
    manifest: Option<&'a Manifest>,
    policy: &'a Policy,
    ceilings: Option<&'a Ceilings>,
    preset: Preset,
    survey: &'a Survey,
    caller: &'a Caller,
    /// Contradictions in what the operator said.
    invalid: Vec<String>,
    /// Requests that are not granted.
    unmet: Vec<Unmet>,
    dropped: Vec<Dropped>,
    weakenings: Vec<String>,
    /// What there is of every group that anybody mentions.
    groups: BTreeMap<Group, Vec<Member>>,
    /// Groups that are granted, each with what of it is.
    given: Vec<groups::Given>,
}

/// A request that is not granted.
struct Refused<'a> {
    rule: Rule,
    /// As the manifest says it, such as `filesystem.read /data`.
    request: String,
    optional: bool,
    /// Where it was said.
    origin: &'a str,
    /// Why not.
    reason: String,
    remedy: String,
}

impl Judge<'_> {
    /// A request that is not granted is dropped where it is optional, and else
    /// refuses the launch.
    fn refuse(&mut self, refused: Refused<'_>) {
        if refused.optional {
            self.dropped.push(Dropped {
                request: refused.request,
                reason: refused.reason,
            });
        } else {
            self.unmet.push(Unmet {
                rule: refused.rule,
                required: None,
                available: None,
                reason: format!(
                    "`{}` ({}) {}",
                    refused.request, refused.origin, refused.reason
                ),
                remedy: refused.remedy,
            });
        }
    }

    /// A right is part of every preset that has no rule against it. Where the
    /// preset has, a policy must grant it: to a plugin that asks, and to a bare
    /// program, which cannot ask.
    fn right(&mut self, right: Right) -> bool {
        let (rule, word) = (right.rule(), right.word());
        let (said, request) = match right {
            Right::Subprocesses => (
                self.ceilings.and_then(|file| file.subprocesses.as_ref()),
                self.manifest
                    .and_then(|manifest| manifest.subprocesses.as_ref()),
            ),
            Right::Jit => (
                self.ceilings.and_then(|file| file.jit.as_ref()),
                self.manifest.and_then(|manifest| manifest.jit.as_ref()),
            ),
        };
        if self.policy.flags.allow.contains(&right) {
            // An explicit word needs no request, but a policy's denial wins.
            return match said {
                Some(said) if !said.value => {
                    self.invalid.push(format!(
                        "--allow {word}: the policy denies it ({})",
                        said.origin
                    ));
                    false
                }
                _ => true,
            };
        }
        let by_preset = self.preset != Preset::Strict;
        let may = said.map_or(by_preset, |said| said.value);
        if let Some(request) = request
            && !may
        {
            let reason = said.map_or_else(
                || format!("is not granted by preset {}", self.preset),
                |said| format!("is not granted ({})", said.origin),
            );
            self.refuse(Refused {
                rule,
                request: format!("process.{word}"),
                optional: request.optional,
                origin: &request.origin,
                reason,
                remedy: format!(
                    "say `--allow {word}`, or grant it by `{word} = true` under `[process]` in a policy file"
                ),
            });
        }
        may && (by_preset || request.is_some() || self.manifest.is_none())
    }

    /// Where rights, system calls and the violations that end a jar were spoken of.
    fn said(&self) -> BTreeMap<String, String> {
        let mut said = BTreeMap::new();
        let rights = [
            (
                Right::Subprocesses,
                self.ceilings.and_then(|file| file.subprocesses.as_ref()),
                self.manifest
                    .and_then(|manifest| manifest.subprocesses.as_ref()),
            ),
            (
                Right::Jit,
                self.ceilings.and_then(|file| file.jit.as_ref()),
                self.manifest.and_then(|manifest| manifest.jit.as_ref()),
            ),
        ];
        for (right, policy, request) in rights {
            let word = right.word();
            let origin = match (self.policy.flags.allow.contains(&right), policy, request) {
                (true, ..) => format!("--allow {word}"),
                (_, Some(policy), Some(request)) if policy.value => {
                    format!("{}, asked for by {}", policy.origin, request.origin)
                }
                (_, Some(policy), _) => policy.origin.clone(),
                (_, None, _) => continue,
            };
            said.insert(format!("process.{word}"), origin);
        }
        let seccomp = &self.policy.seccomp;
        for (list, words) in [("allow", &seccomp.allow), ("deny", &seccomp.deny)] {
            for word in words {
                said.insert(
                    format!("seccomp.{list} {}", word.value),
                    word.origin.clone(),
                );
            }
        }
        for (rule, origin) in &self.policy.end_on {
            said.insert(format!("end_on {rule}"), origin.clone());
        }
        for (rule, origin) in &self.policy.best_effort {
            said.insert(format!("best_effort {rule}"), origin.clone());
        }
        said
    }

    /// Requests for what this version does not have.
    fn unsupported(&mut self) {
        let Some(manifest) = self.manifest else {
            return;
        };
        for request in &manifest.connect {
            self.refuse(Refused {
                rule: Rule::Network,
                request: format!("network.connect {}", tame(&request.value)),
                optional: request.optional,
                origin: &request.origin,
                reason: "is unsupported in this version".to_owned(),
                remedy: "mark it `optional = true`, or take it out".to_owned(),
            });
        }
    }

    /// What `[linux]` takes away, by name.
    fn linux(&mut self) {
        let linux = &self.policy.linux;
        if let Some(said) = &linux.namespaces {
            let own = said.value;
            for (name, made) in [
                ("user", own.user),
                ("pid", own.pid),
                ("mount", own.mount),
                ("network", own.network),
                ("uts", own.uts),
                ("ipc", own.ipc),
                ("cgroup", own.cgroup),
            ] {
                if !made {
                    self.weakenings
                        .push(format!("no {name} namespace of its own ({})", said.origin));
                }
            }
        }
        for said in &self.policy.seccomp.allow {
            self.weakenings.push(format!(
                "the system call {} is let through ({})",
                said.value, said.origin
            ));
        }
        for (what, said) in [("kept", &linux.keep), ("ambient", &linux.ambient)] {
            if let Some(said) = said
                && said.value != 0
            {
                self.weakenings.push(format!(
                    "Linux capabilities {what}: {} ({})",
                    caps::names(said.value).join(", "),
                    said.origin
                ));
            }
        }
    }

    fn user(&mut self) -> (u32, u32) {
        let user = self.policy.flags.user.unwrap_or(USER);
        for (what, id) in [("uid", user.0), ("gid", user.1)] {
            if id == OVERFLOW || id == u32::MAX {
                self.invalid.push(format!(
                    "--user: {what} {id} stands for \"nobody known\" and would seem to own every foreign file; take another, such as `--user 1000:1000`"
                ));
            }
        }
        user
    }

    /// A flag's, within the policy's.
    fn cpuset(&mut self) -> Option<Said<Processors>> {
        let most = self.policy.linux.cpuset.clone();
        let Some(value) = self.policy.flags.cpuset.clone() else {
            return most;
        };
        if let Some(most) = most.filter(|most| !value.are_in(&most.value)) {
            self.invalid.push(format!(
                "--cpuset {value} has processors beyond the policy's {} ({}); take of these, or raise the policy's `linux.cpuset`",
                most.value, most.origin
            ));
        }
        Some(Said {
            value,
            origin: "--cpuset".to_owned(),
        })
    }

    fn hostname(&mut self) -> String {
        let name = self.policy.flags.hostname.as_deref().unwrap_or("belljar");
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if name.is_empty() || name.len() > 64 || !name.chars().all(letters) {
            self.invalid.push(format!(
                "--hostname: `{}` must be 1 to 64 letters, digits, `.` or `-`, such as `--hostname belljar`",
                tame(name)
            ));
        }
        name.to_owned()
    }
}

fn preset(subject: &Subject, policy: &Policy) -> Said<Preset> {
    if let Some(value) = policy.flags.preset {
        return Said {
            value,
            origin: "--preset".to_owned(),
        };
    }
    policy.preset.clone().unwrap_or_else(|| Said {
        value: match subject {
            Subject::Program(program) if program.bytes == ProgramBytes::AtPath => Preset::Standard,
            Subject::Program(_) | Subject::Plugin(_) => Preset::Strict,
        },
        origin: "default".to_owned(),
    })
}
