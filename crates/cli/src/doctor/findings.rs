//! What follows from a machine's facts: which presets can be met, what is
//! missing and what that costs.

use belljar::{
    HostFacts, Preset,
    policy::{
        Refusal,
        data::{Plan, Rule, outcome::Unmet},
        facts::Ability,
        trial,
    },
};

/// Everything that is to be told of a machine, but for what is simply there.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) presets: Vec<OfPreset>,
    /// Rules to accept, where a program can run without namespaces here.
    pub(super) lower: Option<Vec<Rule>>,
    pub(super) missing: Vec<Missing>,
    /// What no jar of today needs.
    pub(super) later: Vec<Missing>,
}

/// Whether a preset can be met.
#[derive(Debug)]
pub(super) struct OfPreset {
    pub(super) preset: Preset,
    pub(super) plan: Option<Plan>,
    /// The rules that cannot be held as it demands.
    pub(super) unheld: Vec<Rule>,
}

/// Something that is missing: what it costs, why, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    presets: Vec<Preset>,
    costs: &'static str,
    pub(super) cause: String,
    pub(super) remedy: String,
}

impl Missing {
    fn of(ability: &Ability, costs: &'static str) -> Option<Self> {
        match ability {
            Ability::Available => None,
            Ability::Unavailable { cause, remedy } => Some(Self {
                presets: Vec::new(),
                costs,
                cause: cause.clone(),
                remedy: remedy.clone(),
            }),
        }
    }

    /// What cannot be had for want of it.
    pub(super) fn costs(&self) -> String {
        let words: Vec<&str> = self.presets.iter().map(|preset| preset.word()).collect();
        match words.as_slice() {
            [] => self.costs.to_owned(),
            [one] => format!("the preset {one}"),
            [first @ .., last] => format!("the presets {} and {last}", first.join(", ")),
        }
    }
}

/// What each part costs where it is missing and jars can be had all the same.
const LISTENER: &str = "denied calls are refused as ever, but not told of";
const LANDLOCK: &str = "a jar's files are held by its mounts alone";
const IDMAP: &str = "what root grants must be open to everybody";
const FIXED_CODE: &str = "writable_code is held by the filter alone";
const CGROUPS: &str = "memory is held by sampling, and cpu and io by nothing";

const IDS: &str = "nothing yet: a user's jar has the user's own id";

impl Findings {
    pub(super) fn of(facts: &HostFacts) -> Self {
        let mut findings = Self {
            presets: Vec::new(),
            lower: trial::without_namespaces(facts).map(|(_, lost)| lost),
            missing: Vec::new(),
            later: Vec::new(),
        };
        for preset in [Preset::Strict, Preset::Standard, Preset::Minimal] {
            let planned = trial::of_preset(preset, facts);
            let unheld = match &planned {
                Ok(_) => Vec::new(),
                Err(refusal) => findings.refused(preset, refusal),
            };
            findings.presets.push(OfPreset {
                preset,
                plan: planned.ok(),
                unheld,
            });
        }
        findings.parts(facts);
        findings
    }

    /// Adds why a preset cannot be met, and gives the rules.
    fn refused(&mut self, preset: Preset, refusal: &Refusal) -> Vec<Rule> {
        let Refusal::Unmet { unmet } = refusal else {
            self.add(preset, &refusal.to_string(), "");
            return Vec::new();
        };
        for Unmet { reason, remedy, .. } in unmet {
            self.add(preset, reason, remedy);
        }
        unmet.iter().map(|unmet| unmet.rule).collect()
    }

    fn add(&mut self, preset: Preset, cause: &str, remedy: &str) {
        let known = self
            .missing
            .iter_mut()
            .find(|missing| missing.cause == cause && missing.remedy == remedy);
        match known {
            Some(missing) if missing.presets.contains(&preset) => {}
            Some(missing) => missing.presets.push(preset),
            None => self.missing.push(Missing {
                presets: vec![preset],
                costs: "",
                cause: cause.to_owned(),
                remedy: remedy.to_owned(),
            }),
        }
    }

    /// Adds what is missing without refusing a preset.
    fn parts(&mut self, facts: &HostFacts) {
        let idmapped = facts
            .examined
            .iter()
            .flat_map(|examined| &examined.idmapped);
        let partly = idmapped
            .filter(|_| facts.idmap.is_available())
            .map(|place| (&place.is_possible, IDMAP));
        let parts = [(&facts.listener, LISTENER), (&facts.landlock, LANDLOCK)]
            .into_iter()
            .chain(facts.privileged.then_some((&facts.idmap, IDMAP)))
            .chain(partly);
        for (ability, costs) in parts {
            self.part(ability, costs);
        }
        self.part(&facts.jar_cgroups.can_be_made, CGROUPS);
        if !facts.fixed_code {
            self.missing.push(Missing {
                presets: Vec::new(),
                costs: FIXED_CODE,
                cause: "there is no `PR_SET_MDWE`: the kernel is older, or a filter around this process keeps it \
                        from being asked"
                    .to_owned(),
                remedy: "boot Linux 6.3 or later, or start Belljar outside of that filter"
                    .to_owned(),
            });
        }
        if let Some(examined) = &facts.examined {
            self.later = Missing::of(&examined.more_ids, IDS).into_iter().collect();
        }
    }

    fn part(&mut self, ability: &Ability, costs: &'static str) {
        let Some(part) = Missing::of(ability, costs) else {
            return;
        };
        let known =
            |missing: &Missing| missing.cause == part.cause && missing.remedy == part.remedy;
        if !self.missing.iter().any(known) {
            self.missing.push(part);
        }
    }
}
