//! What `prove` saw: for each rule what was tried, what the kernel answered, and
//! whether the plan's claim held. Data only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bytes::Bytes,
    plan::{Enforcement, PluginName},
    rule::{Preset, Rule, words},
};

/// The version of this form.
pub const SCHEMA: u32 = 1;

words! {
    /// What became of a claim.
    Verdict {
        /// What must be denied was denied, and nothing spoke against it.
        Held = "held",
        /// Something was let through that the plan says is not, or the trial
        /// could not show that it would be refused.
        Broken = "broken",
        /// The plan claims nothing here.
        NotClaimed = "not_claimed",
        /// It could not be tried on this machine; the reason says why.
        NotProbed = "not_probed",
        /// Nobody asked for it, and nothing has been said about it.
        NotAskedFor = "not_asked_for",
    }
}

/// What was seen of one plan on one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The version of this form, [`SCHEMA`].
    pub schema: u32,
    /// The policy's starting point.
    pub preset: Preset,
    /// What the plan is for, where it is a plugin.
    pub plugin: Option<PluginName>,
    /// The program that the plan is for, as the jar sees it. It was not started.
    pub program: Bytes,
    /// SHA-256 of the plan's canonical JSON, in hexadecimal: that of `run`'s.
    pub plan_digest: String,
    /// In what the plan that was run differs from that one; complete.
    pub differences: Vec<String>,
    /// Every rule of the contract, in its order.
    pub rules: Vec<Proved>,
}

/// One rule, as it was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proved {
    /// Which.
    pub rule: Rule,
    /// What the plan claims.
    pub claim: Enforcement,
    /// Whether it held.
    pub verdict: Verdict,
    /// Why, where it did not, or could not be tried.
    pub reason: Option<String>,
    /// What was tried, in order.
    pub trials: Vec<Trial>,
}

/// One probe of a rule, with what shows that it means something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// What must be denied, and what came of it in the jar.
    pub probe: Tried,
    /// What must be allowed there.
    pub control: Option<Tried>,
    /// The probe once more without a jar, by the same user, where that is
    /// harmless: it must succeed.
    pub without: Option<Tried>,
    /// Whether this one held.
    pub verdict: Verdict,
    /// Why, where it did not, or shows nothing.
    pub reason: Option<String>,
}

/// Something that was tried, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    /// In words.
    pub what: String,
    /// In words, such as `EPERM` or `done`.
    pub answer: String,
}

impl Proof {
    /// Nothing that the plan claims was seen to be broken, and something was
    /// seen to hold.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.count(Verdict::Broken) == 0 && self.count(Verdict::Held) > 0
    }

    /// How many rules have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.rules
            .iter()
            .filter(|rule| rule.verdict == verdict)
            .count()
    }
}

impl Proved {
    /// A rule's verdict from those of its trials: one that is broken breaks it,
    /// and one that held is enough where the others could not be tried.
    #[must_use]
    pub fn of_trials(rule: Rule, claim: Enforcement, trials: Vec<Trial>) -> Self {
        let find = |verdict| trials.iter().find(|trial| trial.verdict == verdict);
        let (verdict, reason) = match (find(Verdict::Broken), find(Verdict::Held)) {
            (Some(broken), _) => (Verdict::Broken, broken.reason.clone()),
            (None, Some(_)) => (Verdict::Held, None),
            (None, None) => (
                Verdict::NotProbed,
                trials.iter().find_map(|trial| trial.reason.clone()),
            ),
        };
        Self {
            rule,
            claim,
            verdict,
            reason,
            trials,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Strength;

    fn trial(verdict: Verdict) -> Trial {
        Trial {
            probe: Tried {
                what: "x".to_owned(),
                answer: "y".to_owned(),
            },
            control: None,
            without: None,
            verdict,
            reason: (verdict != Verdict::Held).then(|| verdict.word().to_owned()),
        }
    }

    fn proved(verdicts: &[Verdict]) -> (Verdict, Option<String>) {
        let claim = Enforcement {
            mechanism: String::new(),
            strength: Strength::Kernel,
        };
        let trials = verdicts.iter().copied().map(trial).collect();
        let proved = Proved::of_trials(Rule::Files, claim, trials);
        (proved.verdict, proved.reason)
    }

    #[test]
    fn one_broken_trial_breaks_a_rule_and_none_at_all_proves_nothing() {
        use Verdict::{Broken, Held, NotProbed};
        assert_eq!(proved(&[Held, Held]), (Held, None));
        assert_eq!(proved(&[NotProbed, Held]), (Held, None));
        assert_eq!(
            proved(&[Held, NotProbed, Broken]),
            (Broken, Some("broken".to_owned()))
        );
        assert_eq!(
            proved(&[NotProbed]),
            (NotProbed, Some("not_probed".to_owned()))
        );
        assert_eq!(proved(&[]), (NotProbed, None));
    }
}
