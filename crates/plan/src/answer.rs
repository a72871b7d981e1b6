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

/// One grant in the three forms in which it can be given, to paste.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmallestGrant {
    /// For one run: words of the command line; none where no flag gives it.
    pub flag: Option<String>,
    /// For every run: a line of a policy file, from its top; none where no policy gives it.
    pub policy: Option<String>,
    /// The request for it: a line of a plugin's manifest, from its top; none where
    /// no manifest asks for it.
    pub manifest: Option<String>,
    /// What it gives away.
    pub risk: String,
}
