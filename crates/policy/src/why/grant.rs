//! The smallest grant that would allow something, in each form in which it can
//! be given, with what it gives away.

use belljar_plan::{Plan, Rule, Strength, answer::SmallestGrant};

use crate::{
    manifest::Place,
    path::UnixPath,
    planner::lifted,
    policy::{Policy, Right, Said},
    risk,
    verified::Caller,
};

/// Who asks, as far as an answer depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The caller's own home: what a guest looks for in its home may lie there.
    pub home: Option<UnixPath>,
    /// Where the caller stands: what a guest names without a slash may be meant from there.
    pub workdir: Option<UnixPath>,
    /// What makes a grant dangerous.
    pub risk: risk::Surroundings,
}

impl Surroundings {
    /// Those of a caller.
    #[must_use]
    pub fn of(caller: &Caller) -> Self {
        let home = caller
            .environment
            .iter()
            .find(|(name, _)| name.0 == b"HOME")
            .and_then(|(_, value)| UnixPath::new(std::str::from_utf8(&value.0).ok()?).ok());
        Self {
            home,
            workdir: caller.workdir.clone(),
            risk: risk::Surroundings::of(caller),
        }
    }
}

/// A grant, before it is put in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// A path of the machine, at another place in the jar where one is named.
    Path {
        /// On the machine.
        path: UnixPath,
        /// In the jar; the same where not given.
        at: Option<UnixPath>,
        /// It may be written.
        write: bool,
    },
    /// A right that `strict` has a rule against.
    Right(Right),
    /// A system call beyond the preset's list, which only a policy lets through.
    Call(&'static str),
}

impl Grant {
    /// A grant of a path; none for what no grant can give.
    #[must_use]
    pub fn of_path(path: &UnixPath, at: Option<&UnixPath>, write: bool) -> Option<Self> {
        let proc = UnixPath::new("/proc").ok()?;
        if path.as_str() == "/" || path.is_within(&proc) {
            return None;
        }
        Some(Self::Path {
            path: path.clone(),
            at: at.filter(|at| *at != path).cloned(),
            write,
        })
    }

    /// In each form in which it can be given, to paste.
    #[must_use]
    pub fn told(&self, plan: &Plan, around: &Surroundings) -> SmallestGrant {
        match self {
            Self::Path { path, at, write } => of_path(path, at.as_ref(), *write, around),
            Self::Right(right) => {
                let word = right.word();
                let line = format!("process.{word} = true");
                SmallestGrant {
                    flag: Some(format!("--allow {word}")),
                    policy: vec![line.clone()],
                    manifest: vec![line],
                    risk: vec![risk::of_right(*right).to_string()],
                }
            }
            Self::Call(name) => SmallestGrant {
                flag: None,
                policy: std::iter::once(format!("seccomp.allow = [{}]", quoted(name)))
                    .chain(
                        demanded(plan, name)
                            .iter()
                            .map(|rule| format!("require.{rule} = \"best-effort\"")),
                    )
                    .collect(),
                manifest: Vec::new(),
                risk: of_call(plan, name),
            },
        }
    }

    /// Gives it by a flag, or where there is none, as a policy's word. What it gives up
    /// of `plan`, which lacks it, is accepted with it; without a plan nothing is.
    pub fn add_to(&self, plan: Option<&Plan>, policy: &mut Policy) {
        match self {
            Self::Path { path, at, write } => {
                let place = Place {
                    path: path.clone(),
                    at: at.clone(),
                };
                match write {
                    true => policy.flags.write.push(place),
                    false => policy.flags.read.push(place),
                }
            }
            Self::Right(right) => {
                policy.flags.allow.insert(*right);
            }
            Self::Call(name) => {
                let origin = "what was asked about".to_owned();
                for rule in plan.map_or_else(Vec::new, |plan| demanded(plan, name)) {
                    policy.best_effort.insert(rule, origin.clone());
                }
                policy.seccomp.allow.push(Said {
                    value: (*name).to_owned(),
                    origin,
                });
            }
        }
    }
}

/// The rules that nothing holds any more once a system call is let through.
fn given_up(plan: &Plan, name: &str) -> Vec<Rule> {
    plan.filter
        .as_ref()
        .map(|filter| {
            let mut filter = filter.clone();
            filter.allow.push(name.to_owned());
            lifted(&filter).into_iter().collect()
        })
        .unwrap_or_default()
}

/// Those of them that the plan holds and demands: a launch without takes a word for each.
fn demanded(plan: &Plan, name: &str) -> Vec<Rule> {
    let mut rules = given_up(plan, name);
    rules.retain(|rule| {
        plan.rules.iter().any(|planned| {
            planned.rule == *rule
                && planned.requested > Strength::None
                && planned.planned.strength > Strength::None
                && !planned.best_effort
        })
    });
    rules
}

/// What a system call gives away: rules that are not held with it, and what it is.
fn of_call(plan: &Plan, name: &str) -> Vec<String> {
    let held = |rule: &Rule| {
        plan.rules
            .iter()
            .any(|planned| planned.rule == *rule && planned.planned.strength > Strength::None)
    };
    let without: Vec<Rule> = given_up(plan, name).into_iter().filter(held).collect();
    let given_up: Vec<&str> = without.iter().map(|rule| rule.word()).collect();
    let rules = (!given_up.is_empty()).then(|| {
        format!(
            "critical: it gives up the rules {}, so that nothing holds them",
            given_up.join(", ")
        )
    });
    let known = risk::of_call(name).map(|risk| risk.to_string());
    let all: Vec<String> = rules.into_iter().chain(known).collect();
    match all.is_empty() {
        true => vec!["low: more of the kernel can be reached".to_owned()],
        false => all,
    }
}

fn of_path(
    path: &UnixPath,
    at: Option<&UnixPath>,
    write: bool,
    around: &Surroundings,
) -> SmallestGrant {
    let word = if write { "write" } else { "read" };
    let said = match at {
        Some(at) => format!("{path}:{at}"),
        None => path.to_string(),
    };
    let on_machine = quoted(path.as_str());
    let request = match at {
        Some(at) => format!("{{ path = {on_machine}, at = {} }}", quoted(at.as_str())),
        None => on_machine.clone(),
    };
    let risk = match write {
        true => risk::of_write(path, &around.risk),
        false => risk::of_read(path, &around.risk),
    };
    SmallestGrant {
        flag: Some(format!("--{word} {}", shell(&said))),
        policy: vec![format!("filesystem.{word} = [{on_machine}]")],
        manifest: vec![format!("filesystem.{word} = [{request}]")],
        risk: vec![risk.map_or_else(|| ordinary(path, write), |risk| risk.to_string())],
    }
}

fn ordinary(machine: &UnixPath, write: bool) -> String {
    match write {
        true => format!("low: the guest can change and remove what is at and below {machine}"),
        false => format!("low: the guest can read all that is at and below {machine}"),
    }
}

/// A text as TOML writes it.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A word as a shell takes it.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:+,@%=".contains(c);
    if word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UnixPath {
        UnixPath::new(text).unwrap()
    }

    fn told(path: &str, place: Option<&str>, write: bool) -> SmallestGrant {
        Grant::of_path(&at(path), place.map(at).as_ref(), write)
            .unwrap()
            .told(&plan(), &Surroundings::default())
    }

    fn plan() -> Plan {
        super::super::tests::plan()
    }

    #[test]
    fn a_path_is_granted_by_a_flag_a_policy_s_line_and_a_manifest_s() {
        let grant = told("/data/a b", Some("/in/it's"), false);
        assert_eq!(grant.flag.unwrap(), r"--read '/data/a b:/in/it'\''s'");
        assert_eq!(grant.policy, [r#"filesystem.read = ["/data/a b"]"#]);
        assert_eq!(
            grant.manifest,
            [r#"filesystem.read = [{ path = "/data/a b", at = "/in/it's" }]"#]
        );
        let write = told("/out", Some("/out"), true);
        assert_eq!(write.flag.unwrap(), "--write /out");
        assert!(write.risk[0].starts_with("low: "), "{:?}", write.risk);
    }

    #[test]
    fn every_line_to_paste_is_one_that_a_policy_or_a_manifest_takes() {
        use crate::{manifest::Manifest, policy::Format};
        let grants = [
            Grant::of_path(&at("/a \"b\"\\"), Some(&at("/c\n")), false).unwrap(),
            Grant::of_path(&at("/out"), None, true).unwrap(),
            Grant::Right(Right::Jit),
            Grant::Call("ptrace"),
        ];
        for grant in grants {
            let told = grant.told(&plan(), &Surroundings::default());
            Policy::parse(&told.policy.join("\n"), Format::Toml, "p.toml", None).unwrap();
            for line in told.manifest {
                let whole =
                    format!("{line}\n[plugin]\nname = \"x\"\nversion = \"1.0.0\"\nentry = \"x\"\n");
                Manifest::parse(&whole, Format::Toml, "belljar.toml").unwrap();
            }
        }
    }

    #[test]
    fn what_no_grant_gives_has_none() {
        for never in ["/", "/proc", "/proc/1/mem"] {
            assert_eq!(Grant::of_path(&at(never), None, false), None);
        }
    }
}
