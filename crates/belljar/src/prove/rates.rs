//! Rates: a jar of its own with a low one, in which as much is done as goes, and how
//! long that took or how much it came to. One at a time, since whoever else
//! computes meanwhile would seem to be the limit.

use belljar_plan::{
    Bytes, Limit, Rule, Strength,
    probe::{Answer, Came, Probe},
    proof::{Trial, Tried, Verdict},
};
use belljar_policy::units::format_value;

use super::{
    judge::{not_here, plain_words},
    limits::{Limited, with_limit},
    outside::Outside,
    prober::{Stand, in_jar},
};
use crate::{
    launch::{Decided, Engine},
    sys::look,
};

/// So long is computed, milliseconds.
const COMPUTING: u64 = 1_000;

/// Bytes of one read past the page cache.
const PIECE: u64 = 4096;

/// So long a jar should take for its reads, milliseconds.
const READING: u64 = 1_500;

/// A rate that does not seem to hold is tried so often: a virtual machine that stands still
/// for a moment counts that as time of whoever ran.
const TIMES: u32 = 3;

/// Tries the rates that the plan claims to hold.
pub(super) async fn all(decided: &Decided, outside: &Outside, engine: &Engine) -> Vec<Limited> {
    let mut tried = Vec::new();
    for limit in Limit::ALL.iter().filter(|limit| limit.slows()) {
        tried.extend(one(*limit, decided, outside, engine).await);
    }
    tried
}

async fn one(
    limit: Limit,
    decided: &Decided,
    outside: &Outside,
    engine: &Engine,
) -> Option<Limited> {
    let rule = limit.rule();
    let plan = &decided.plan;
    let hard = plan.limit(limit).and_then(|planned| planned.hard)?;
    let claimed = plan
        .rules
        .iter()
        .any(|planned| planned.rule == rule && planned.planned.strength != Strength::None);
    if !claimed {
        return None;
    }
    let untried = |why: &str| Limited {
        rule,
        trials: vec![not_here(what(limit).to_owned(), why.to_owned())],
        difference: None,
    };
    let Some(attempt) = Attempt::of(limit, hard) else {
        return Some(untried(match limit {
            Limit::IoWrite | Limit::IoWriteOps => {
                "what is granted for writing is not written to for a trial"
            }
            Limit::CpuWeight | Limit::IoWeight => "it shows only where others want as much at once",
            Limit::MemoryHigh => "what it does is to take as long as it takes",
            _ => "no file is known that every jar shows and that lies on a disk",
        }));
    };
    let without = outside
        .try_plainly(std::slice::from_ref(&attempt.probe), engine)
        .await
        .ok()
        .and_then(|answers| answers.first().copied().flatten());
    let Some(without) = without.filter(|answer| answer.came == Came::Done) else {
        return Some(untried("it cannot be done without a jar either"));
    };
    let smaller = match with_limit(decided, limit, attempt.at) {
        Ok(smaller) => smaller,
        Err(why) => return Some(untried(&why)),
    };
    let stand = Stand::of(plan, outside);
    let probes = [attempt.probe.clone()];
    let mut trial = not_here(what(limit).to_owned(), String::new());
    for _ in 0..TIMES {
        trial = match in_jar(&smaller, &stand, &probes, engine, |_| async { None }).await {
            Ok(jar) => judge(limit, &attempt, jar.answer(0), without),
            Err(error) => Trial {
                verdict: Verdict::Broken,
                ..not_here(what(limit).to_owned(), error.to_string())
            },
        };
        if trial.verdict != Verdict::Broken {
            break;
        }
    }
    Some(Limited {
        rule,
        trials: vec![trial],
        difference: (attempt.at < hard).then(|| {
            format!(
                "{limit} is tried at {} instead of {}, in a jar of its own",
                format_value(limit, attempt.at),
                format_value(limit, hard)
            )
        }),
    })
}

const fn what(limit: Limit) -> &'static str {
    match limit {
        Limit::Cpu => "compute for a second",
        Limit::CpuWeight => "compute beside others",
        Limit::IoWeight => "use a disk beside others",
        Limit::MemoryHigh => "take more memory",
        _ => "read from a disk, past the page cache",
    }
}

/// What is to be done at which rate.
struct Attempt {
    at: u64,
    probe: Bytes,
    /// What the answer must be at most, or at least where `slower`.
    bound: u64,
    slower: bool,
}

impl Attempt {
    fn of(limit: Limit, hard: u64) -> Option<Self> {
        let reads = |at: u64, reads: u64| {
            let path = file_on_disk()?;
            Some(Self {
                at,
                probe: Probe::Direct {
                    most: reads,
                    path: path.as_bytes(),
                }
                .encode(),
                // The kernel lets a little through at once, and rounds by its slices.
                bound: READING / 2,
                slower: true,
            })
        };
        match limit {
            Limit::Cpu => {
                let at = hard.min(200);
                Some(Self {
                    at,
                    probe: Probe::Share {
                        milliseconds: COMPUTING,
                    }
                    .encode(),
                    // One period more may be begun.
                    bound: COMPUTING * at / 1000 * 3 / 2,
                    slower: false,
                })
            }
            Limit::IoRead => {
                let at = hard.min(40 * PIECE);
                reads(at, at * READING / 1000 / PIECE)
            }
            Limit::IoReadOps => {
                let at = hard.min(20);
                reads(at, at * READING / 1000)
            }
            _ => None,
        }
    }

    /// Whether an answer is that of something slowed so.
    const fn is_slow(&self, answer: Answer) -> bool {
        match self.slower {
            true => answer.value >= self.bound,
            false => answer.value <= self.bound,
        }
    }
}

fn judge(limit: Limit, attempt: &Attempt, answer: Option<Answer>, without: Answer) -> Trial {
    let said = format!("{}, at {}", what(limit), format_value(limit, attempt.at));
    let words = |answer: Answer| match (answer.came, limit.rule()) {
        (Came::Done, Rule::Cpu) => format!("{} ms of a processor", answer.value),
        (Came::Done, _) => format!("took {} ms", answer.value),
        _ => plain_words(answer),
    };
    let (verdict, reason) = match answer {
        Some(answer) if answer.came == Came::Done => {
            match (attempt.is_slow(answer), attempt.is_slow(without)) {
                (true, false) => (Verdict::Held, None),
                (true, true) => (
                    Verdict::NotProbed,
                    Some("it is as slow here without a jar".to_owned()),
                ),
                (false, _) => (Verdict::Broken, Some(format!("{said}: {}", words(answer)))),
            }
        }
        Some(answer) => (
            Verdict::NotProbed,
            Some(format!("it could not be done: {}", words(answer))),
        ),
        None => (
            Verdict::NotProbed,
            Some("the jar ended before it could be done".to_owned()),
        ),
    };
    Trial {
        probe: Tried {
            what: said,
            answer: answer.map_or_else(|| "no answer".to_owned(), words),
        },
        control: None,
        without: Some(Tried {
            what: "the same without a jar".to_owned(),
            answer: words(without),
        }),
        verdict,
        reason,
    }
}

/// A file of the system's that jars show: the C library that this program has loaded.
fn file_on_disk() -> Option<String> {
    let maps = look::read_small("/proc/self/maps", 1 << 20).ok()?;
    let maps = String::from_utf8_lossy(&maps);
    maps.lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(5))
        .find(|path| path.starts_with('/') && path.contains("/libc.so"))
        .map(str::to_owned)
}
