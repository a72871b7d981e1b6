//! `[limits]`, as manifests and policies write it.

use std::collections::BTreeMap;

use belljar_plan::Limit;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Bound, ManifestError, Request};
use crate::{
    parse::{Amount, At, Or, Wanted, nearest, tame},
    units::{Whose, check_bound, parse_bound, parse_value},
};

/// A limit in full.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitTable {
    /// Where an event is raised.
    #[serde(default)]
    soft: Option<Amount>,
    /// Where it is enforced.
    #[serde(default)]
    hard: Option<Amount>,
    /// `stop`: reaching it ends the jar.
    #[serde(default)]
    #[schemars(extend("enum" = ["stop", null]))]
    action: Option<String>,
    /// Without it the plugin still runs.
    #[serde(default)]
    optional: bool,
}

impl Wanted for LimitTable {
    const WANTED: &'static str =
        "a value such as \"64MiB\", \"5s\" or 50, or { soft = …, hard = … }";
}

/// Limits. Sizes as `64KiB`, durations as `5s`, counts as `50`; `{ soft, hard }` sets both edges.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsTable {
    /// Bytes of memory of all tasks.
    memory: Option<At<Or<Amount, LimitTable>>>,
    /// Processor time of all tasks.
    cpu_time: Option<At<Or<Amount, LimitTable>>>,
    /// Time since launch.
    wall: Option<At<Or<Amount, LimitTable>>>,
    /// Bytes written to stdout and stderr together.
    output: Option<At<Or<Amount, LimitTable>>>,
    /// Number of tasks; threads count.
    processes: Option<At<Or<Amount, LimitTable>>>,
    /// Descriptors of each process.
    open_files: Option<At<Or<Amount, LimitTable>>>,
    /// Bytes of each file written.
    file_size: Option<At<Or<Amount, LimitTable>>>,
    /// Bytes in private scratch.
    disk: Option<At<Or<Amount, LimitTable>>>,
    /// Processor time that all tasks may take, as a part of one processor: `50%`, or `200%` of two.
    cpu: Option<At<Or<Amount, LimitTable>>>,
    /// Bytes a second read from disks, such as `10MiB/s`.
    io_read: Option<At<Or<Amount, LimitTable>>>,
    /// Bytes a second written to disks.
    io_write: Option<At<Or<Amount, LimitTable>>>,
    /// Reads a second from disks, such as `100/s`.
    io_read_ops: Option<At<Or<Amount, LimitTable>>>,
    /// Writes a second to disks.
    io_write_ops: Option<At<Or<Amount, LimitTable>>>,
    /// Part of the processors beside others that want them, from 1 to 10000; theirs is 100.
    cpu_weight: Option<At<Or<Amount, LimitTable>>>,
    /// Part of the disks beside others that want them, from 1 to 10000; theirs is 100.
    io_weight: Option<At<Or<Amount, LimitTable>>>,
    /// Bytes of memory beyond which all tasks are slowed; below `memory`.
    memory_high: Option<At<Or<Amount, LimitTable>>>,
}

impl LimitsTable {
    pub(crate) fn read(self) -> Result<BTreeMap<Limit, Request<Bound>>, ManifestError> {
        let mut limits = BTreeMap::new();
        for (limit, said) in [
            (Limit::Memory, self.memory),
            (Limit::CpuTime, self.cpu_time),
            (Limit::Wall, self.wall),
            (Limit::Output, self.output),
            (Limit::Processes, self.processes),
            (Limit::OpenFiles, self.open_files),
            (Limit::FileSize, self.file_size),
            (Limit::Disk, self.disk),
            (Limit::Cpu, self.cpu),
            (Limit::IoRead, self.io_read),
            (Limit::IoWrite, self.io_write),
            (Limit::IoReadOps, self.io_read_ops),
            (Limit::IoWriteOps, self.io_write_ops),
            (Limit::CpuWeight, self.cpu_weight),
            (Limit::IoWeight, self.io_weight),
            (Limit::MemoryHigh, self.memory_high),
        ] {
            if let Some(said) = said {
                limits.insert(limit, bound(limit, said)?);
            }
        }
        Ok(limits)
    }
}

fn bound(limit: Limit, said: At<Or<Amount, LimitTable>>) -> Result<Request<Bound>, ManifestError> {
    let At { value, origin } = said;
    let key = format!("limits.{limit}");
    let unit = |source| ManifestError::Unit {
        origin: origin.clone(),
        source,
    };
    let (bound, optional) = match value {
        Or::Plain(Amount(text)) => (
            parse_bound(limit, &text, Whose::Key(&key)).map_err(unit)?,
            false,
        ),
        Or::Table(table) => {
            let edge = |name: &str, amount: Option<Amount>| {
                let key = format!("{key}.{name}");
                amount
                    .map(|Amount(text)| parse_value(limit, &text, Whose::Key(&key)))
                    .transpose()
                    .map_err(unit)
            };
            let bound = Bound {
                soft: edge("soft", table.soft)?,
                hard: edge("hard", table.hard)?,
                stop: stop(limit, table.action.as_deref(), &origin)?,
            };
            if bound.soft.is_none() && bound.hard.is_none() {
                return Err(ManifestError::Value {
                    origin,
                    reason: format!("`{key}` needs `soft`, `hard` or both"),
                });
            }
            check_bound(limit, &bound, Whose::Key(&key)).map_err(unit)?;
            (bound, table.optional)
        }
    };
    Ok(Request {
        value: bound,
        optional,
        origin,
    })
}

fn stop(limit: Limit, action: Option<&str>, origin: &str) -> Result<bool, ManifestError> {
    let bad = |reason: String| ManifestError::Value {
        origin: origin.to_owned(),
        reason,
    };
    match (action, limit) {
        (None, _) => Ok(false),
        // Nobody sees these being reached, so that nothing could be done about it.
        (Some("stop"), limit) if limit.slows() => Err(bad(format!(
            "`action = \"stop\"` cannot apply to `{limit}`: what goes beyond it is slowed"
        ))),
        (Some("stop"), Limit::OpenFiles | Limit::FileSize | Limit::Disk) => Err(bad(format!(
            "`action = \"stop\"` cannot apply to `{limit}`: the system refuses the call and tells nobody"
        ))),
        (Some("stop"), _) => Ok(true),
        (Some(other), _) => Err(bad(format!(
            "unknown action `{}`{}; there is `stop`",
            tame(other),
            nearest(other, ["stop"])
                .map(|near| format!(", did you mean `{near}`?"))
                .unwrap_or_default()
        ))),
    }
}

/// Requests of any kind: the plain form is never optional.
pub(super) fn each<S, T>(
    raw: Vec<At<Or<S, T>>>,
    table: impl Fn(T) -> (S, bool),
) -> impl Iterator<Item = Request<S>> {
    raw.into_iter().map(move |At { value, origin }| {
        let (value, optional) = match value {
            Or::Plain(value) => (value, false),
            Or::Table(inner) => table(inner),
        };
        Request {
            value,
            optional,
            origin,
        }
    })
}
