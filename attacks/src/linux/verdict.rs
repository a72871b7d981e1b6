//! What became of an attack.

use crate::kernel::{Try, refuses};

/// What became of an attack.
#[must_use]
pub enum Verdict {
    /// It failed; what was seen.
    Stopped(String),
    /// It came through; what was reached.
    Escaped(String),
}

impl Verdict {
    /// An attack that needs one success of many tries.
    pub(crate) fn of_tries(tries: impl IntoIterator<Item = Try>) -> Self {
        let (mut refused, mut reached) = (Vec::new(), Vec::new());
        for (what, result) in tries {
            match result {
                Ok(done) => reached.push(format!("{what}: {done}")),
                Err(error) => refused.push(format!("{what}: {error}")),
            }
        }
        Self::of_lists(&refused, &reached)
    }

    /// An attack on the kernel itself, by calls that must not get there. Their
    /// arguments are such that a kernel that looks at them says so by its error.
    pub(crate) fn of_calls(tries: impl IntoIterator<Item = Try>) -> Self {
        let (mut refused, mut reached) = (Vec::new(), Vec::new());
        for (what, result) in tries {
            match result {
                Ok(done) => reached.push(format!("{what}: {done}")),
                Err(error) if refuses(&error) => refused.push(format!("{what}: {error}")),
                Err(error) => reached.push(format!("{what}: the kernel says {error}")),
            }
        }
        Self::of_lists(&refused, &reached)
    }

    /// Of very many tries the first tell enough.
    fn of_lists(refused: &[String], reached: &[String]) -> Self {
        const ENOUGH: usize = 40;
        let told = |list: &[String]| {
            let more = match list.len().saturating_sub(ENOUGH) {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            list[..list.len().min(ENOUGH)].join("; ") + &more
        };
        if reached.is_empty() {
            Self::Stopped(told(refused))
        } else {
            Self::Escaped(told(reached))
        }
    }
}
