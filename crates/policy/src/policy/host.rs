//! `[host]`: what all jars of one host may have together.

use std::collections::BTreeMap;

use belljar_plan::Limit;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{PolicyError, Said};
use crate::{
    parse::{Amount, At},
    units::{Whose, parse_value},
};

/// What all jars of one host may have together, whatever each may have by itself. Only a
/// cgroup holds it; where there is none, a launch is refused.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HostTable {
    /// Bytes of memory of all tasks.
    memory: Option<At<Amount>>,
    /// Number of tasks; threads count, and so does each jar's own first process.
    processes: Option<At<Amount>>,
    /// Processor time, as a part of one processor: `50%`, or `200%` of two.
    cpu: Option<At<Amount>>,
}

impl HostTable {
    pub(super) fn read(self) -> Result<BTreeMap<Limit, Said<u64>>, PolicyError> {
        let mut limits = BTreeMap::new();
        for (limit, said) in [
            (Limit::Memory, self.memory),
            (Limit::Processes, self.processes),
            (Limit::Cpu, self.cpu),
        ] {
            let Some(At {
                value: Amount(text),
                origin,
            }) = said
            else {
                continue;
            };
            let key = format!("host.{limit}");
            let value = parse_value(limit, &text, Whose::Key(&key)).map_err(|source| {
                PolicyError::Unit {
                    origin: origin.clone(),
                    source,
                }
            })?;
            limits.insert(limit, Said { value, origin });
        }
        Ok(limits)
    }
}
