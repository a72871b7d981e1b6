//! Every limit of a launch, and which side decided it.

use std::collections::BTreeMap;

use belljar_plan::{Limit, Preset};

use super::Judge;
use crate::{
    manifest::Bound,
    policy::Said,
    units::{Whose, check_bound, flag, format_bound, format_value},
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1_000_000_000;

/// The limits of a preset; `docs/contract.md` section 5.
#[must_use]
pub fn preset_limits(preset: Preset) -> BTreeMap<Limit, Bound> {
    let rows: &[(Limit, Option<u64>, u64)] = match preset {
        Preset::Minimal => &[
            (Limit::Memory, None, 4 * GIB),
            (Limit::Processes, None, 1024),
            (Limit::OpenFiles, Some(1024), 4096),
            (Limit::Disk, None, GIB),
        ],
        Preset::Standard => &[
            (Limit::Memory, None, 2 * GIB),
            (Limit::Processes, None, 512),
            (Limit::OpenFiles, Some(1024), 4096),
            (Limit::Disk, None, GIB),
        ],
        Preset::Strict => &[
            (Limit::Memory, Some(64 * MIB), 128 * MIB),
            (Limit::CpuTime, None, 60 * SECOND),
            (Limit::Wall, None, 300 * SECOND),
            (Limit::Output, None, 8 * MIB),
            (Limit::Processes, Some(10), 50),
            (Limit::OpenFiles, Some(64), 128),
            (Limit::FileSize, None, 64 * MIB),
            (Limit::Disk, None, 64 * MIB),
        ],
    };
    rows.iter()
        .map(|(limit, soft, hard)| {
            let bound = Bound {
                soft: *soft,
                hard: Some(*hard),
                stop: false,
            };
            (*limit, bound)
        })
        .collect()
}

impl Judge<'_> {
    pub(super) fn limits(&mut self) -> BTreeMap<Limit, Said<Bound>> {
        let presets = preset_limits(self.preset);
        let mut limits = BTreeMap::new();
        for limit in Limit::ALL {
            let preset = presets.get(limit).copied().unwrap_or_default();
            if let Some(said) = self.limit(*limit, preset) {
                limits.insert(*limit, said);
            }
        }
        self.memory_high(&limits);
        limits
    }

    /// What only slows bounds nothing: a guest that goes on beyond it has no end.
    fn memory_high(&mut self, limits: &BTreeMap<Limit, Said<Bound>>) {
        let hard = |limit| limits.get(&limit).and_then(|said| said.value.hard);
        let Some(high) = hard(Limit::MemoryHigh) else {
            return;
        };
        let origin = &limits[&Limit::MemoryHigh].origin;
        let by_flag = self.policy.flags.limits.contains_key(&Limit::MemoryHigh);
        // One that a policy has for all is of no use to a plugin with less, and does no harm.
        if hard(Limit::Memory).is_none_or(|memory| by_flag && high >= memory) {
            self.invalid.push(format!(
                "`memory_high` {} ({origin}) slows only, and wants a hard limit `memory` above it; set that, or lower `memory_high`",
                format_value(Limit::MemoryHigh, high)
            ));
        }
    }

    fn limit(&mut self, limit: Limit, preset: Bound) -> Option<Said<Bound>> {
        let ceiling = self.ceilings.and_then(|file| file.limits.get(&limit));
        let by_preset = || format!("preset {}", self.preset);
        if let Some(flag) = self.policy.flags.limits.get(&limit) {
            return self.by_flag_limit(limit, *flag, preset, ceiling);
        }
        let request = self
            .manifest
            .and_then(|manifest| manifest.limits.get(&limit));
        let Some(request) = request else {
            let Some(ceiling) = ceiling else {
                return (preset != Bound::default()).then(|| Said {
                    value: preset,
                    origin: by_preset(),
                });
            };
            let value = lower(preset, ceiling.value);
            let origin = if value.hard == preset.hard {
                by_preset()
            } else {
                ceiling.origin.clone()
            };
            return Some(Said { value, origin });
        };
        // A policy's ceiling stands in the preset's place: it may be above it.
        let (most, most_origin) = match ceiling {
            Some(ceiling) => (ceiling.value, ceiling.origin.clone()),
            None => (preset, by_preset()),
        };
        let value = lower(fill(limit, request.value, lower(preset, most)), most);
        let kept = |asked: Option<u64>, got| asked.is_none() || asked == got;
        let origin = if kept(request.value.soft, value.soft) && kept(request.value.hard, value.hard)
        {
            request.origin.clone()
        } else {
            most_origin
        };
        Some(Said { value, origin })
    }

    fn by_flag_limit(
        &mut self,
        limit: Limit,
        said: Bound,
        preset: Bound,
        ceiling: Option<&Said<Bound>>,
    ) -> Option<Said<Bound>> {
        let name = flag(limit);
        if let Err(error) = check_bound(limit, &said, Whose::Flag(name)) {
            self.invalid.push(error.to_string());
            return None;
        }
        let none = said.soft.is_none() && said.hard.is_none();
        let value = if none {
            said
        } else {
            fill(limit, said, preset)
        };
        if let Some(ceiling) = ceiling
            && let Some(most) = ceiling.value.hard
            && value.hard.is_none_or(|hard| hard > most)
        {
            self.invalid.push(format!(
                "{name} {} is above the policy's {} ({}); lower the flag, or raise the policy's `{limit}` under `[limits]`",
                format_bound(limit, &said),
                format_bound(limit, &ceiling.value),
                ceiling.origin,
            ));
            return None;
        }
        if none && preset.hard.is_some() {
            self.weakenings
                .push(format!("no limit of {limit} ({name} none)"));
        }
        let value = ceiling.map_or(value, |ceiling| lower(value, ceiling.value));
        Some(Said {
            value,
            origin: name.to_owned(),
        })
    }
}

/// A limit that holds, once somebody has said other values of it: what was not said
/// stays, and soft comes down to hard.
#[must_use]
pub fn changed(limit: Limit, said: Bound, holds: Bound) -> Bound {
    fill(limit, said, holds)
}

/// What was not said of a bound, from what holds otherwise. One value is the
/// hard one, and the event stays where it was or comes down to it. Descriptors
/// are other: soft is what holds until the guest raises it, so that a value
/// without it would not be had.
fn fill(limit: Limit, said: Bound, otherwise: Bound) -> Bound {
    let hard = said.hard.or(otherwise.hard);
    let soft = match limit {
        Limit::OpenFiles => said.soft.or(said.hard).or(otherwise.soft),
        _ => said.soft.or(otherwise.soft),
    };
    Bound {
        soft: least(soft, soft.and(hard)),
        hard,
        stop: said.stop || otherwise.stop,
    }
}

/// The lower of each edge; what ends a jar by one ends it by both.
fn lower(one: Bound, other: Bound) -> Bound {
    let hard = least(one.hard, other.hard);
    let soft = least(one.soft, other.soft);
    Bound {
        soft: least(soft, soft.and(hard)),
        hard,
        stop: one.stop || other.stop,
    }
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
