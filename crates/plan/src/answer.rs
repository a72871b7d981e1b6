//! What is said of one attempt in one jar: whether it is let through, which rule
//! decides, by whose word, and the smallest grant that would change it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rule::{Rule, Strength, words};

words! {
    /// What becomes of an attempt.
    Verdict {
        /// The jar lets it through.
        Allowed = "allowed",
        /// A rule refuses it.
        Denied = "denied",
        /// No rule refuses it, and there is nothing at that place.
        NotThere = "not_there",
        /// It depends on what the guest does, such as a call's arguments.
        Depends = "depends",
    }
}

/// The answer to one question about one plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// What was asked, such as `read /etc/shadow`.
    pub question: String,
    /// What becomes of it.
    pub verdict: Verdict,
    /// The rule that decides; none where nothing is there.
    pub rule: Option<Rule>,
    /// What the attempt answers where it fails, such as `ENOENT`; errno(3).
    pub errno: Option<String>,
    /// What holds that rule.
    pub mechanism: Option<String>,
    /// How strongly.
    pub strength: Option<Strength>,
    /// The word that decides, such as `preset strict`, `--read` or `policy.toml line 4`.
    pub decided_by: Option<String>,
    /// Why, in one sentence.
    pub reason: String,
    /// The smallest grant that would allow it; none where no grant would.
    pub grant: Option<SmallestGrant>,
}

/// A grant in the three forms in which it can be given, to paste.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmallestGrant {
    /// For one run: words of the command line; none where no flag gives it.
    pub flag: Option<String>,
    /// For every run: lines of a policy file, from its top; none where no policy gives it.
    pub policy: Vec<String>,
    /// The request for it: lines of a plugin's manifest, from its top; none where
    /// no manifest asks for it.
    pub manifest: Vec<String>,
    /// What it gives away, the worst first.
    pub risk: Vec<String>,
}

impl SmallestGrant {
    /// This grant and another one, where it takes both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let flags: Vec<String> = [self.flag, other.flag].into_iter().flatten().collect();
        Self {
            flag: (!flags.is_empty()).then(|| flags.join(" ")),
            policy: [self.policy, other.policy].concat(),
            manifest: [self.manifest, other.manifest].concat(),
            risk: [self.risk, other.risk].concat(),
        }
    }
}
