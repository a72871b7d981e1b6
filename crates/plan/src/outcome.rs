//! How a launch ended: one verdict, decided by the first cause.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bytes::Bytes,
    rule::{Limit, Rule, Strength},
};

/// The verdict on one launch. Later symptoms are listed in the report and
/// never change it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// The plugin ended by itself.
    Exited {
        /// Its exit status, 0 to 255.
        code: u8,
    },
    /// A signal that Belljar did not send ended the plugin.
    Signaled {
        /// Number of the signal; signal(7).
        signal: i32,
        /// The signal's name without `SIG`, such as `SEGV`.
        name: String,
        /// It left a core dump.
        core: bool,
    },
    /// The jar was ended for a limit.
    Limit {
        /// Which.
        limit: Limit,
    },
    /// The jar was ended for breaking a rule, where policy says so.
    Violation {
        /// Which.
        rule: Rule,
    },
    /// The operator or the host ended the jar.
    Stopped {
        /// Who.
        by: StoppedBy,
        /// It had not ended by the end of the grace and was destroyed.
        grace_used: bool,
    },
    /// Nothing was launched: the machine cannot hold what is required, or
    /// something was asked for that is not granted.
    Refused {
        /// Each with its remedy.
        unmet: Vec<Unmet>,
    },
    /// Nothing was launched: a step of the set-up failed.
    SetupFailed {
        /// The step's name and place.
        step: String,
        /// Why; errno(3). 0 where the step was cut short.
        errno: i32,
    },
    /// Nobody can say how it ended: the supervisor, the launcher or pid 1 was lost.
    Lost,
    /// The program is there and could not be started.
    NotRunnable {
        /// Inside the jar.
        path: Bytes,
        /// Why; errno(3).
        errno: i32,
    },
    /// There is no such program in the jar.
    NotFound {
        /// As it was asked for.
        path: Bytes,
        /// Where it was looked for.
        searched: Vec<String>,
    },
}

/// Who ended the jar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoppedBy {
    /// A signal to the supervisor, by number; signal(7).
    Signal(i32),
    /// A call of the library.
    Host,
    /// The reader of the plugin's messages went away.
    Operator,
}

/// Something that is required and cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unmet {
    /// The rule that it concerns.
    pub rule: Rule,
    /// The strength that is required; none for a grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<Strength>,
    /// The strength that this machine can give; none for a grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<Strength>,
    /// What is the matter, in one sentence.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

impl std::fmt::Display for Unmet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let (Some(required), Some(available)) = (self.required, self.available) {
            write!(
                f,
                "rule {} needs {required} and has {available}: ",
                self.rule
            )?;
        }
        f.write_str(&self.reason)
    }
}

impl Outcome {
    /// The exit status that `belljar run` ends with.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Exited { code } => *code,
            Self::Signaled { signal, .. } => after_signal(*signal),
            Self::Limit { .. } | Self::Violation { .. } => 124,
            Self::Stopped {
                by: StoppedBy::Signal(signal),
                ..
            } => after_signal(*signal),
            Self::Stopped { .. } => 137,
            Self::Refused { .. } | Self::SetupFailed { .. } | Self::Lost => 125,
            Self::NotRunnable { .. } => 126,
            Self::NotFound { .. } => 127,
        }
    }
}

impl Outcome {
    /// Why it ended, in a word or two that stay the same: `exited`, `signaled: SEGV`,
    /// `limit: memory`, `violation: nesting`, `stopped: signal 15`, `stopped: host`.
    #[must_use]
    pub fn reason(&self) -> String {
        let (kind, more) = match self {
            Self::Exited { .. } => ("exited", None),
            Self::Signaled { name, .. } => ("signaled", Some(name.clone())),
            Self::Limit { limit } => ("limit", Some(limit.to_string())),
            Self::Violation { rule } => ("violation", Some(rule.to_string())),
            Self::Stopped { by, .. } => ("stopped", Some(by.to_string())),
            Self::Refused { .. } => ("refused", None),
            Self::SetupFailed { .. } => ("setup_failed", None),
            Self::Lost => ("lost", None),
            Self::NotRunnable { .. } => ("not_runnable", None),
            Self::NotFound { .. } => ("not_found", None),
        };
        match more {
            Some(more) => format!("{kind}: {more}"),
            None => kind.to_owned(),
        }
    }
}

impl std::fmt::Display for StoppedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Host => f.write_str("host"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

fn after_signal(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_are_the_contract_s() {
        let cases = [
            (Outcome::Exited { code: 3 }, 3),
            (
                Outcome::Signaled {
                    signal: 9,
                    name: "KILL".into(),
                    core: false,
                },
                137,
            ),
            (Outcome::Limit { limit: Limit::Wall }, 124),
            (
                Outcome::Violation {
                    rule: Rule::Syscalls,
                },
                124,
            ),
            (
                Outcome::Stopped {
                    by: StoppedBy::Signal(15),
                    grace_used: false,
                },
                143,
            ),
            (
                Outcome::Stopped {
                    by: StoppedBy::Host,
                    grace_used: true,
                },
                137,
            ),
            (Outcome::Refused { unmet: Vec::new() }, 125),
            (
                Outcome::SetupFailed {
                    step: "root".into(),
                    errno: 1,
                },
                125,
            ),
            (Outcome::Lost, 125),
            (
                Outcome::NotRunnable {
                    path: "/x".into(),
                    errno: 13,
                },
                126,
            ),
            (
                Outcome::NotFound {
                    path: "x".into(),
                    searched: Vec::new(),
                },
                127,
            ),
        ];
        for (outcome, status) in cases {
            assert_eq!(outcome.exit_status(), status, "{outcome:?}");
        }
    }

    #[test]
    fn a_reason_begins_with_the_kind_that_json_has() {
        let outcomes = [
            (Outcome::Exited { code: 3 }, "exited"),
            (
                Outcome::Signaled {
                    signal: 11,
                    name: "SEGV".into(),
                    core: true,
                },
                "signaled: SEGV",
            ),
            (
                Outcome::Limit {
                    limit: Limit::CpuTime,
                },
                "limit: cpu_time",
            ),
            (
                Outcome::Violation {
                    rule: Rule::Nesting,
                },
                "violation: nesting",
            ),
            (
                Outcome::Stopped {
                    by: StoppedBy::Signal(15),
                    grace_used: false,
                },
                "stopped: signal 15",
            ),
            (
                Outcome::Stopped {
                    by: StoppedBy::Host,
                    grace_used: true,
                },
                "stopped: host",
            ),
            (Outcome::Refused { unmet: Vec::new() }, "refused"),
            (
                Outcome::SetupFailed {
                    step: "root".into(),
                    errno: 1,
                },
                "setup_failed",
            ),
            (Outcome::Lost, "lost"),
            (
                Outcome::NotRunnable {
                    path: "/x".into(),
                    errno: 13,
                },
                "not_runnable",
            ),
            (
                Outcome::NotFound {
                    path: "x".into(),
                    searched: Vec::new(),
                },
                "not_found",
            ),
        ];
        for (outcome, reason) in outcomes {
            assert_eq!(outcome.reason(), reason);
            let json = serde_json::to_value(&outcome).unwrap();
            let kind = json["kind"].as_str().unwrap();
            assert!(reason.starts_with(kind), "{reason} of {kind}");
        }
    }

    #[test]
    fn json_names_the_kind_and_reads_back() {
        let outcome = Outcome::Stopped {
            by: StoppedBy::Signal(2),
            grace_used: true,
        };
        let json = serde_json::to_value(&outcome).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"kind": "stopped", "by": {"signal": 2}, "grace_used": true})
        );
        assert_eq!(serde_json::from_value::<Outcome>(json).unwrap(), outcome);
    }
}
