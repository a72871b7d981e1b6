//! Sizes, durations and counts as people write them, and back. What a limit's
//! value may be beyond that is decided by policy, not here.

use std::fmt;

use belljar_plan::Limit;

use crate::manifest::Bound;

/// Who said a value, for messages: a flag or a key of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose<'a> {
    /// A flag of the command line, with its dashes. `none` is a value.
    Flag(&'a str),
    /// A key of a manifest or policy, such as `limits.memory`.
    Key(&'a str),
}

impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Key(name) => write!(f, "`{name}`"),
        }
    }
}

impl Whose<'_> {
    /// The whole setting with a value, as it would be written.
    fn with(self, value: &str, quoted: bool) -> String {
        match self {
            Self::Flag(flag) => format!("`{flag} {value}`"),
            Self::Key(key) => {
                let name = key.rsplit('.').next().unwrap_or(key);
                let quote = if quoted { "\"" } else { "" };
                format!("`{name} = {quote}{value}{quote}`")
            }
        }
    }
}

/// Why a text is no value for a limit. Each names who said it and shows a right form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// A bare number where it could mean bytes, kilobytes or megabytes.
    #[error("{whose}: `{text}` has no unit; write {example}")]
    NoUnit {
        /// Who said it.
        whose: String,
        /// What was said.
        text: String,
        /// A right form.
        example: String,
    },
    /// A unit that this limit does not have.
    #[error("{whose}: `{text}` is no {kind}; write {example}")]
    NotOne {
        /// Who said it.
        whose: String,
        /// What was said.
        text: String,
        /// A size, a duration or a number.
        kind: &'static str,
        /// A right form.
        example: String,
    },
    /// More than can be counted.
    #[error("{whose}: `{text}` is more than a machine can count; write something like {example}")]
    TooLarge {
        /// Who said it.
        whose: String,
        /// What was said.
        text: String,
        /// A right form.
        example: String,
    },
    /// Zero, with which nothing could start.
    #[error("{whose}: a limit of zero leaves nothing to run with; write {example}")]
    Zero {
        /// Who said it.
        whose: String,
        /// A right form.
        example: String,
    },
    /// `none` in a file.
    #[error("{whose}: `none` is a value only for a flag; write {example}")]
    NoneInFile {
        /// Who said it.
        whose: String,
        /// A right form.
        example: String,
    },
    /// A soft value of what slows.
    #[error("{whose}: it has no soft value, since what goes beyond it is slowed; write {example}")]
    NoSoft {
        /// Who said it.
        whose: String,
        /// A right form.
        example: String,
    },
    /// A weight that the kernel does not know.
    #[error(
        "{whose}: a weight is a number from 1 to 10000, and everybody else's is 100; write {example}"
    )]
    NoWeight {
        /// Who said it.
        whose: String,
        /// A right form.
        example: String,
    },
    /// A soft value above the hard one.
    #[error("{whose}: soft {soft} is above hard {hard}; nothing would ever reach it")]
    SoftAboveHard {
        /// Who said it.
        whose: String,
        /// For people.
        soft: String,
        /// For people.
        hard: String,
    },
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Size,
    /// Nanoseconds.
    Duration,
    /// Things.
    Count,
    /// Thousandths of one processor.
    Share,
    /// Bytes a second.
    Rate,
    /// Operations a second.
    Operations,
    /// A number beside everybody else's 100; cgroup-v2.rst, "Weights".
    Weight,
}

/// What `limit` counts.
#[must_use]
pub const fn unit(limit: Limit) -> Unit {
    match limit {
        Limit::Memory | Limit::MemoryHigh | Limit::Output | Limit::FileSize | Limit::Disk => {
            Unit::Size
        }
        Limit::CpuTime | Limit::Wall => Unit::Duration,
        Limit::Processes | Limit::OpenFiles => Unit::Count,
        Limit::Cpu => Unit::Share,
        Limit::IoRead | Limit::IoWrite => Unit::Rate,
        Limit::IoReadOps | Limit::IoWriteOps => Unit::Operations,
        Limit::CpuWeight | Limit::IoWeight => Unit::Weight,
    }
}

/// The most of a weight.
const HEAVIEST: u64 = 10_000;

const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

const DURATIONS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("min", 60 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
];

/// The kernel counts in signed 64 bits; getrlimit(2) takes more for "none".
const MOST: u64 = i64::MAX as u64;

/// Reads one value of a limit, in the limit's own unit: bytes, nanoseconds or a count.
///
/// # Errors
/// Where it is no value for this limit, is zero, or cannot be counted.
///
/// ```
/// use belljar_policy::{data::Limit, units::{Whose, parse_value}};
/// assert_eq!(parse_value(Limit::Memory, "64KiB", Whose::Flag("--memory")), Ok(65536));
/// assert_eq!(parse_value(Limit::Wall, "5", Whose::Flag("--wall")), Ok(5_000_000_000));
/// ```
pub fn parse_value(limit: Limit, text: &str, whose: Whose<'_>) -> Result<u64, UnitError> {
    let unit = unit(limit);
    let example = || example(limit, whose);
    let shown = || show(text);
    let not_one = || UnitError::NotOne {
        whose: whose.to_string(),
        text: shown(),
        kind: match unit {
            Unit::Size => "size",
            Unit::Duration => "duration",
            Unit::Count => "number",
            Unit::Share => "share of a processor",
            Unit::Rate => "size a second",
            Unit::Operations => "number a second",
            Unit::Weight => "weight",
        },
        example: example(),
    };
    let too_large = || UnitError::TooLarge {
        whose: whose.to_string(),
        text: shown(),
        example: example(),
    };

    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, word) = text.split_at(end);
    if unit == Unit::Share && !digits.is_empty() {
        return share(digits, word).ok_or_else(|| match word {
            "" => UnitError::NoUnit {
                whose: whose.to_string(),
                text: shown(),
                example: example(),
            },
            _ => not_one(),
        });
    }
    let word = word.strip_prefix(' ').unwrap_or(word);
    let word = match unit {
        Unit::Rate => word
            .strip_suffix("/s")
            .unwrap_or(if word.is_empty() { "" } else { "?" }),
        _ => word,
    };
    if digits.is_empty() {
        return Err(not_one());
    }
    let table = match unit {
        Unit::Size | Unit::Rate => SIZES,
        Unit::Duration => DURATIONS,
        Unit::Count | Unit::Weight => &[("", 1)],
        Unit::Share => &[("%", 10)],
        Unit::Operations => &[("/s", 1)],
    };
    let factor = match table.iter().find(|(name, _)| *name == word) {
        Some((_, factor)) => *factor,
        None if word.is_empty() && unit == Unit::Duration => 1_000_000_000,
        None if word.is_empty() => {
            return Err(UnitError::NoUnit {
                whose: whose.to_string(),
                text: shown(),
                example: example(),
            });
        }
        None => return Err(not_one()),
    };
    let value = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|value| *value <= MOST)
        .ok_or_else(too_large)?;
    if unit == Unit::Weight && !(1..=HEAVIEST).contains(&value) {
        return Err(UnitError::NoWeight {
            whose: whose.to_string(),
            example: example(),
        });
    }
    if value == 0 {
        return Err(UnitError::Zero {
            whose: whose.to_string(),
            example: example(),
        });
    }
    Ok(value)
}

/// A share of a processor: whole percents, and tenths of them.
fn share(whole: &str, rest: &str) -> Option<u64> {
    let tenths = match rest.strip_suffix('%')?.trim_end() {
        "" => 0,
        rest => rest
            .strip_prefix('.')
            .filter(|rest| rest.len() == 1)?
            .parse()
            .ok()?,
    };
    let value = whole
        .parse::<u64>()
        .ok()?
        .checked_mul(10)?
        .checked_add(tenths)?;
    (value <= MOST).then_some(value)
}

/// Reads a limit that is one value: its hard one. A flag's `none` is no bound at all.
///
/// # Errors
/// As [`parse_value`], and for `none` in a file.
pub fn parse_bound(limit: Limit, text: &str, whose: Whose<'_>) -> Result<Bound, UnitError> {
    match (text, whose) {
        ("none", Whose::Flag(_)) => Ok(Bound::default()),
        ("none", Whose::Key(_)) => Err(UnitError::NoneInFile {
            whose: whose.to_string(),
            example: example(limit, whose),
        }),
        _ => {
            let hard = parse_value(limit, text, whose)?;
            // The kernel shares out a processor in hundredths.
            if limit == Limit::Cpu && hard < 10 {
                return Err(UnitError::Zero {
                    whose: whose.to_string(),
                    example: example(limit, whose),
                });
            }
            Ok(Bound {
                hard: Some(hard),
                ..Bound::default()
            })
        }
    }
}

/// Checks a bound that was made of numbers.
///
/// # Errors
/// Where a value is zero or soft is above hard.
pub fn check_bound(limit: Limit, bound: &Bound, whose: Whose<'_>) -> Result<(), UnitError> {
    for value in [bound.soft, bound.hard].into_iter().flatten() {
        if value == 0 {
            return Err(UnitError::Zero {
                whose: whose.to_string(),
                example: example(limit, whose),
            });
        }
        if unit(limit) == Unit::Weight && value > HEAVIEST {
            return Err(UnitError::NoWeight {
                whose: whose.to_string(),
                example: example(limit, whose),
            });
        }
        if value > MOST {
            return Err(UnitError::TooLarge {
                whose: whose.to_string(),
                text: value.to_string(),
                example: example(limit, whose),
            });
        }
    }
    if limit.slows() && bound.soft.is_some() {
        return Err(UnitError::NoSoft {
            whose: whose.to_string(),
            example: example(limit, whose),
        });
    }
    match (bound.soft, bound.hard) {
        (Some(soft), Some(hard)) if soft > hard => Err(UnitError::SoftAboveHard {
            whose: whose.to_string(),
            soft: format_value(limit, soft),
            hard: format_value(limit, hard),
        }),
        _ => Ok(()),
    }
}

/// A value for people, exact: `128 MiB`, `5 s`, `50`. [`parse_value`] reads it back.
#[must_use]
pub fn format_value(limit: Limit, value: u64) -> String {
    let best: &[(&str, u64)] = match unit(limit) {
        Unit::Count | Unit::Weight => return value.to_string(),
        Unit::Size => &[
            ("TiB", 1 << 40),
            ("GiB", 1 << 30),
            ("MiB", 1 << 20),
            ("KiB", 1 << 10),
            ("TB", 1_000_000_000_000),
            ("GB", 1_000_000_000),
            ("MB", 1_000_000),
            ("kB", 1000),
            ("B", 1),
        ],
        Unit::Duration => &[
            ("h", 3600 * 1_000_000_000),
            ("min", 60 * 1_000_000_000),
            ("s", 1_000_000_000),
            ("ms", 1_000_000),
            ("us", 1_000),
            ("ns", 1),
        ],
        Unit::Share if value.is_multiple_of(10) => return format!("{}%", value / 10),
        Unit::Share => return format!("{}.{}%", value / 10, value % 10),
        Unit::Rate => return format!("{}/s", format_value(Limit::Memory, value)),
        Unit::Operations => return format!("{value}/s"),
    };
    let (name, factor) = best
        .iter()
        .find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor))
        .unwrap_or(&best[best.len() - 1]);
    format!("{} {name}", value / factor)
}

/// A bound for people: `128 MiB`, `64 MiB soft, 128 MiB hard`, `none`.
#[must_use]
pub fn format_bound(limit: Limit, bound: &Bound) -> String {
    match (bound.soft, bound.hard) {
        (None, None) => "none".to_owned(),
        (None, Some(hard)) => format_value(limit, hard),
        (Some(soft), None) => format!("{} soft", format_value(limit, soft)),
        (Some(soft), Some(hard)) if soft == hard => format_value(limit, hard),
        (Some(soft), Some(hard)) => format!(
            "{} soft, {} hard",
            format_value(limit, soft),
            format_value(limit, hard)
        ),
    }
}

/// The flag of a limit, with its dashes.
#[must_use]
pub fn flag(limit: Limit) -> &'static str {
    match limit {
        Limit::Memory => "--memory",
        Limit::CpuTime => "--cpu-time",
        Limit::Wall => "--wall",
        Limit::Output => "--output",
        Limit::Processes => "--processes",
        Limit::OpenFiles => "--open-files",
        Limit::FileSize => "--file-size",
        Limit::Disk => "--disk",
        Limit::Cpu => "--cpu",
        Limit::IoRead => "--io-read",
        Limit::IoWrite => "--io-write",
        Limit::IoReadOps => "--io-read-ops",
        Limit::IoWriteOps => "--io-write-ops",
        Limit::CpuWeight => "--cpu-weight",
        Limit::IoWeight => "--io-weight",
        Limit::MemoryHigh => "--memory-high",
    }
}

fn example(limit: Limit, whose: Whose<'_>) -> String {
    let value = match limit {
        Limit::Memory => "128MiB",
        Limit::Output => "8MiB",
        Limit::FileSize | Limit::Disk => "64MiB",
        Limit::CpuTime => "60s",
        Limit::Wall => "5m",
        Limit::Processes => "50",
        Limit::OpenFiles => "128",
        Limit::Cpu => "50%",
        Limit::IoRead | Limit::IoWrite => "10MiB/s",
        Limit::IoReadOps | Limit::IoWriteOps => "100/s",
        Limit::CpuWeight | Limit::IoWeight => "50",
        Limit::MemoryHigh => "96MiB",
    };
    whose.with(value, !matches!(unit(limit), Unit::Count | Unit::Weight))
}

/// At most forty characters, none of which steers a terminal.
fn show(text: &str) -> String {
    let mut shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FLAG: Whose<'static> = Whose::Flag("--x");

    #[test]
    fn values_mean_what_people_mean() {
        for (limit, text, value) in [
            (Limit::Memory, "64KiB", 64 << 10),
            (Limit::Memory, "128MiB", 128 << 20),
            (Limit::Memory, "128 MiB", 128 << 20),
            (Limit::Disk, "1GiB", 1 << 30),
            (Limit::Output, "1kB", 1000),
            (Limit::FileSize, "2MB", 2_000_000),
            (Limit::FileSize, "7B", 7),
            (Limit::Wall, "500ms", 500_000_000),
            (Limit::Wall, "5s", 5_000_000_000),
            (Limit::CpuTime, "5", 5_000_000_000),
            (Limit::Wall, "5m", 300_000_000_000),
            (Limit::Wall, "1h", 3_600_000_000_000),
            (Limit::Processes, "50", 50),
        ] {
            assert_eq!(parse_value(limit, text, FLAG), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_right_example() {
        for (limit, text, says) in [
            (
                Limit::Memory,
                "64",
                "`--x`: `64` has no unit; write `--x 128MiB`",
            ),
            (
                Limit::Memory,
                "5s",
                "`--x`: `5s` is no size; write `--x 128MiB`",
            ),
            (
                Limit::Wall,
                "5MiB",
                "`--x`: `5MiB` is no duration; write `--x 5m`",
            ),
            (
                Limit::Processes,
                "5s",
                "`--x`: `5s` is no number; write `--x 50`",
            ),
            (
                Limit::Wall,
                "-5",
                "`--x`: `-5` is no duration; write `--x 5m`",
            ),
            (Limit::Wall, "", "`--x`: `` is no duration; write `--x 5m`"),
            (
                Limit::Memory,
                "1.5GiB",
                "`--x`: `1.5GiB` is no size; write `--x 128MiB`",
            ),
            (
                Limit::Wall,
                "0s",
                "`--x`: a limit of zero leaves nothing to run with; write `--x 5m`",
            ),
            (
                Limit::Memory,
                "99999999TiB",
                "`--x`: `99999999TiB` is more than a machine can count; write something like `--x 128MiB`",
            ),
            (
                Limit::Processes,
                "99999999999999999999999",
                "`--x`: `99999999999999999999999` is more than a machine can count; write something like `--x 50`",
            ),
        ] {
            assert_eq!(
                parse_value(limit, text, FLAG).unwrap_err().to_string(),
                says
            );
        }
        assert_eq!(
            parse_value(Limit::Memory, "64", Whose::Key("limits.memory"))
                .unwrap_err()
                .to_string(),
            "`limits.memory`: `64` has no unit; write `memory = \"128MiB\"`"
        );
    }

    #[test]
    fn none_is_a_value_only_for_a_flag() {
        assert_eq!(parse_bound(Limit::Wall, "none", FLAG), Ok(Bound::default()));
        assert!(matches!(
            parse_bound(Limit::Wall, "none", Whose::Key("limits.wall")),
            Err(UnitError::NoneInFile { .. })
        ));
    }

    #[test]
    fn hostile_text_is_quoted_short_and_tame() {
        let error = parse_value(Limit::Wall, &"\x1b[2J".repeat(100_000), FLAG).unwrap_err();
        assert!(error.to_string().len() < 500);
        assert!(!error.to_string().contains('\x1b'));
    }

    #[test]
    fn bounds_read_well() {
        let bound = |soft, hard| Bound {
            soft,
            hard,
            stop: false,
        };
        assert_eq!(
            format_bound(Limit::Memory, &bound(Some(64 << 20), Some(128 << 20))),
            "64 MiB soft, 128 MiB hard"
        );
        assert_eq!(
            format_bound(Limit::Wall, &bound(None, Some(5_000_000_000))),
            "5 s"
        );
        assert_eq!(format_bound(Limit::Wall, &Bound::default()), "none");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(at in 0..Limit::ALL.len(), value in 1..=MOST) {
            let limit = Limit::ALL[at];
            let value = match unit(limit) {
                Unit::Weight => value % HEAVIEST + 1,
                _ => value,
            };
            prop_assert_eq!(parse_value(limit, &format_value(limit, value), FLAG), Ok(value));
        }

        #[test]
        fn no_text_is_a_panic(at in 0..Limit::ALL.len(), text in ".*") {
            let _ = parse_bound(Limit::ALL[at], &text, FLAG);
        }
    }
}
