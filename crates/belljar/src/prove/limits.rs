//! Limits, each in a jar of its own: the same plan with a smaller value of that
//! one limit, where the plan's own would be dear to reach.

use belljar_plan::{
    Bytes, Limit, Outcome, Plan, Rule, Strength,
    probe::{Answer, Came, Probe},
    proof::{Trial, Tried, Verdict},
};
use belljar_policy::{manifest::Bound, units::format_value};

use super::{
    judge::{error_name, not_here, plain_words},
    outside::Outside,
    prober::{InJar, Stand, in_jar},
    table::scratch,
};
use crate::launch::{Decided, Engine, Fixed, shared};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const MILLISECOND: u64 = 1_000_000;

/// After what a limit should have ended, a prober goes on by itself so many
/// milliseconds, and then nothing has ended it: enough for a busy machine.
const LONGER: u64 = 4_000;

/// The same in processor time, which passes slower there.
const LONGER_AT_WORK: u64 = 1_500;

/// How a limit is to be felt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Felt {
    /// The jar ends.
    Ends,
    /// The call fails so.
    Fails(u16),
}

const EAGAIN: u16 = 11;
const EMFILE: u16 = 24;
const EFBIG: u16 = 27;
const ENOSPC: u16 = 28;

/// What is tried of one limit.
struct Row {
    /// Where the limit is put, if it is not lower already.
    at: u64,
    /// What reaches for more than that, in words.
    what: &'static str,
    felt: Felt,
}

const fn row(limit: Limit) -> Row {
    let (at, what, felt) = match limit {
        Limit::Memory => (32 * MIB, "touch three times as much memory", Felt::Ends),
        Limit::CpuTime => (200 * MILLISECOND, "go on to compute", Felt::Ends),
        Limit::Wall => (300 * MILLISECOND, "go on to sleep", Felt::Ends),
        Limit::Output => (64 * KIB, "write four times as much", Felt::Ends),
        Limit::Processes => (6, "start more tasks", Felt::Fails(EAGAIN)),
        Limit::OpenFiles => (16, "open more descriptors", Felt::Fails(EMFILE)),
        Limit::FileSize => (
            64 * KIB,
            "write four times as much into a file",
            Felt::Fails(EFBIG),
        ),
        Limit::Disk => (
            MIB,
            "write four times as much into its scratch",
            Felt::Fails(ENOSPC),
        ),
        // Tried elsewhere: nothing is refused beyond them.
        Limit::Cpu
        | Limit::CpuWeight
        | Limit::IoRead
        | Limit::IoWrite
        | Limit::IoReadOps
        | Limit::IoWriteOps
        | Limit::IoWeight
        | Limit::MemoryHigh => (0, "go on faster", Felt::Ends),
    };
    Row { at, what, felt }
}

/// What was tried of one limit.
#[derive(Debug)]
pub(super) struct Limited {
    pub(super) rule: Rule,
    pub(super) trials: Vec<Trial>,
    /// In what its plan differs from the plan.
    pub(super) difference: Option<String>,
}

/// Tries all limits that the plan claims to hold, side by side. What became of the
/// first jar is the control of those that end one.
pub(super) async fn all(
    decided: &Decided,
    outside: &Outside,
    engine: &Engine,
    first: &InJar,
) -> Vec<Limited> {
    let one = |limit| one(limit, decided, outside, engine, first);
    // By name, since this list is what runs at the same time.
    let (memory, cpu_time, wall, output, processes, open_files, file_size, disk) = tokio::join!(
        one(Limit::Memory),
        one(Limit::CpuTime),
        one(Limit::Wall),
        one(Limit::Output),
        one(Limit::Processes),
        one(Limit::OpenFiles),
        one(Limit::FileSize),
        one(Limit::Disk),
    );
    [
        memory, cpu_time, wall, output, processes, open_files, file_size, disk,
    ]
    .into_iter()
    .flatten()
    .collect()
}

async fn one(
    limit: Limit,
    decided: &Decided,
    outside: &Outside,
    engine: &Engine,
    first: &InJar,
) -> Option<Limited> {
    let rule = limit.rule();
    let plan = &decided.plan;
    let claims = |planned: &belljar_plan::plan::PlannedRule| {
        planned.rule == rule && planned.planned.strength != Strength::None
    };
    if !plan.rules.iter().any(claims) {
        return None;
    }
    let untried = |why: String| Limited {
        rule,
        trials: vec![not_here(row(limit).what.to_owned(), why)],
        difference: None,
    };
    let Some(hard) = plan.limit(limit).and_then(|planned| planned.hard) else {
        return Some(untried(
            "it has no hard value, and is only told of".to_owned(),
        ));
    };
    if limit == Limit::Disk && scratch(plan).is_none() {
        return Some(untried(
            "there is no scratch, and what is granted is not written to for a trial".to_owned(),
        ));
    }
    let value = hard.min(row(limit).at);
    let smaller = match with_limit(decided, limit, value) {
        Ok(smaller) => smaller,
        Err(why) => return Some(untried(why)),
    };
    let probe = probe(limit, value, plan);
    let probes = [probe.clone()];
    let stand = Stand::of(plan, outside);
    let jar = in_jar(&smaller, &stand, &probes, engine, |_| async { None });
    let (jar, without) = tokio::join!(jar, without(limit, value, plan, outside, engine));
    let trial = match jar {
        Ok(jar) => judge(limit, value, plan, [first, &jar], without),
        Err(error) => Trial {
            verdict: Verdict::Broken,
            ..not_here(row(limit).what.to_owned(), error.to_string())
        },
    };
    let said = |value| format_value(limit, value);
    Some(Limited {
        rule,
        trials: vec![trial],
        difference: (value < hard).then(|| {
            format!(
                "{limit} is tried at {} instead of {}, in a jar of its own",
                said(value),
                said(hard)
            )
        }),
    })
}

/// The same decision with another value of one limit.
pub(super) fn with_limit(decided: &Decided, limit: Limit, value: u64) -> Result<Decided, String> {
    let mut policy = decided.basis.policy.clone();
    let stop = decided
        .plan
        .limit(limit)
        .is_some_and(|planned| planned.stop);
    let bound = Bound {
        soft: None,
        hard: Some(value),
        stop,
    };
    policy.flags.limits.insert(limit, bound);
    let plan = belljar_policy::plan(&decided.basis.verified, &policy, &decided.facts)
        .map_err(|refusal| refusal.to_string())?;
    let (plan, digest) = shared(plan);
    Ok(Decided {
        basis: std::sync::Arc::clone(&decided.basis),
        facts: std::sync::Arc::clone(&decided.facts),
        plan,
        digest,
        fixed: Fixed::Yes,
    })
}

/// What reaches for more than a limit, and ends by itself where nothing ends it.
fn probe(limit: Limit, value: u64, plan: &Plan) -> Bytes {
    let file = scratch(plan).unwrap_or_default();
    let milliseconds = value / MILLISECOND;
    let probe = match limit {
        Limit::Memory => Probe::Grow {
            bytes: value.saturating_mul(3),
            milliseconds: LONGER,
        },
        Limit::CpuTime => Probe::Spin {
            milliseconds: milliseconds + LONGER_AT_WORK,
        },
        Limit::Wall => Probe::Sleep {
            milliseconds: milliseconds + LONGER,
        },
        Limit::Output => Probe::Flood {
            bytes: value.saturating_mul(4),
        },
        Limit::Processes => Probe::Tasks {
            most: value.saturating_mul(2),
        },
        Limit::OpenFiles => Probe::Files {
            most: value.saturating_mul(2),
        },
        Limit::FileSize | Limit::Disk => Probe::Fill {
            most: value.saturating_mul(4),
            path: &file.0,
        },
        Limit::Cpu
        | Limit::CpuWeight
        | Limit::IoRead
        | Limit::IoWrite
        | Limit::IoReadOps
        | Limit::IoWriteOps
        | Limit::IoWeight
        | Limit::MemoryHigh => Probe::Wait {},
    };
    probe.encode()
}

/// The same without a jar, where that costs little.
async fn without(
    limit: Limit,
    value: u64,
    plan: &Plan,
    outside: &Outside,
    engine: &Engine,
) -> Option<Answer> {
    let probe = match limit {
        Limit::Processes | Limit::OpenFiles => probe(limit, value, plan),
        Limit::FileSize | Limit::Disk => {
            let path = outside.scratch_for(limit);
            let most = value.saturating_mul(4);
            Probe::Fill {
                most,
                path: &path.0,
            }
            .encode()
        }
        // It would cost what the limit is there to save.
        _ => return None,
    };
    let answers = outside.try_plainly(&[probe], engine).await.ok()?;
    answers.first().copied().flatten()
}

/// What the prober has of it before it asks for more: itself, its streams.
const fn already(limit: Limit) -> u64 {
    match limit {
        Limit::Processes => 1,
        Limit::OpenFiles => 3,
        _ => 0,
    }
}

fn judge(
    limit: Limit,
    value: u64,
    plan: &Plan,
    [first, jar]: [&InJar; 2],
    without: Option<Answer>,
) -> Trial {
    let Row { what, felt, .. } = row(limit);
    let said = format_value(limit, value);
    let answer = jar.answer(0);
    let ended = jar.outcome == Some(Outcome::Limit { limit });
    // No more than the limit came through.
    let amount = match limit {
        Limit::Output => Some(jar.written),
        _ => answer.map(|answer| answer.value + already(limit)),
    };
    let within = amount.is_none_or(|amount| amount <= value);
    let (answered, held) = match (felt, answer) {
        (Felt::Ends, _) => (jar.ended(), ended && within),
        (Felt::Fails(errno), Some(answer)) => {
            let expected = answer.came == Came::Refused(errno);
            let words = match expected {
                true => format!(
                    "{} at {}",
                    error_name(errno),
                    format_value(limit, answer.value + already(limit))
                ),
                false => plain_words(answer),
            };
            // Where reaching it ends the jar as well, it may end first.
            (words, (expected && within) || ended)
        }
        (Felt::Fails(_), None) => (jar.ended(), ended),
    };
    let plain = without.map(|answer| Tried {
        what: "the same without a jar".to_owned(),
        answer: plain_words(answer),
    });
    let fails_anyway = without.is_some_and(|answer| answer.came != Came::Done);
    let (verdict, reason) = match (held, fails_anyway) {
        (true, false) => (Verdict::Held, None),
        (true, true) => (
            Verdict::NotProbed,
            Some("it fails here without a jar too".to_owned()),
        ),
        // It met something else first, which is as much in the way without a jar.
        (false, true) if within && same_refusal(answer, without) => (
            Verdict::NotProbed,
            Some(format!("it fails here without a jar too: {answered}")),
        ),
        (false, _) => match cut_short(answer, jar, limit, plan) {
            Some(why) => (Verdict::NotProbed, Some(why)),
            None => (
                Verdict::Broken,
                Some(format!("{what}, at {said}: {answered}")),
            ),
        },
    };
    Trial {
        probe: Tried {
            what: format!("{what}, at {said}"),
            answer: answered,
        },
        control: match felt {
            Felt::Ends => Some(Tried {
                what: "end by itself within the plan's own value".to_owned(),
                answer: first.ended(),
            }),
            Felt::Fails(_) => answer.map(|answer| Tried {
                what: "as much as that is let through".to_owned(),
                answer: format_value(limit, answer.value + already(limit)),
            }),
        },
        without: plain,
        verdict,
        reason,
    }
}

/// Both were refused, and by the same error.
fn same_refusal(one: Option<Answer>, other: Option<Answer>) -> bool {
    let came = |answer: Option<Answer>| answer.map(|answer| answer.came);
    matches!(came(one), Some(Came::Refused(_))) && came(one) == came(other)
}

/// Another limit of the plan's own was reached first.
fn cut_short(answer: Option<Answer>, jar: &InJar, limit: Limit, plan: &Plan) -> Option<String> {
    // A file may meet the other one of these first.
    let other = match (limit, answer.map(|answer| answer.came)) {
        (Limit::Disk, Some(Came::Refused(EFBIG))) => Some(Limit::FileSize),
        (Limit::FileSize, Some(Came::Refused(ENOSPC))) => Some(Limit::Disk),
        _ => None,
    };
    if let Some(other) = other.and_then(|other| plan.limit(other))
        && other
            .hard
            .is_some_and(|hard| answer.is_some_and(|answer| answer.value >= hard))
    {
        return Some(format!("another limit was in its way: {}", other.limit));
    }
    let takes = plan
        .filter
        .as_ref()
        .is_some_and(|filter| !filter.deny.is_empty());
    match (&jar.outcome, answer) {
        // It was refused before it could meet any limit.
        (
            _,
            Some(
                answer @ Answer {
                    came: Came::Refused(_),
                    ..
                },
            ),
        ) if takes => Some(format!(
            "{}; the policy's [seccomp] deny may be why",
            plain_words(answer)
        )),
        (Some(Outcome::Limit { limit: other }), _) if *other != limit => {
            Some(format!("another limit was in its way: {other}"))
        }
        (
            _,
            Some(
                answer @ Answer {
                    came: Came::NotTried(_),
                    ..
                },
            ),
        ) => Some(format!("it could not be tried: {}", plain_words(answer))),
        _ => None,
    }
}
