//! Sets of processors as the kernel writes them: `0-3,6`; cpuset(7), "List format".

use std::{collections::BTreeSet, fmt, str::FromStr};

/// More than any kernel numbers.
const MOST: u32 = 8191;

/// Processors by their numbers. It is written in one way only, the kernel's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processors(BTreeSet<u32>);

/// Why a text is no set of processors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no set of processors; write numbers and ranges of them, such as `0-3,6`")]
pub struct ProcessorsError;

impl Processors {
    /// There is none in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of these are in another one.
    #[must_use]
    pub fn are_in(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }
}

impl FromStr for Processors {
    type Err = ProcessorsError;

    fn from_str(text: &str) -> Result<Self, ProcessorsError> {
        let number = |text: &str| -> Result<u32, ProcessorsError> {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits
                .then(|| text.parse().ok())
                .flatten()
                .filter(|number| *number <= MOST)
                .ok_or(ProcessorsError)
        };
        let mut all = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(ProcessorsError);
            }
            all.extend(first..=last);
        }
        Ok(Self(all))
    }
}

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|next| *next == last + 1) {
                last = next;
            }
            write!(f, "{separator}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_written_in_the_kernel_s_one_way() {
        for (text, written) in [
            ("0", "0"),
            ("3,1,2", "1-3"),
            ("0-3,6", "0-3,6"),
            ("0-1,1-2", "0-2"),
            ("0,2", "0,2"),
            ("8191", "8191"),
        ] {
            let set: Processors = text.parse().unwrap();
            assert_eq!(set.to_string(), written, "{text}");
            assert_eq!(written.parse(), Ok(set));
        }
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in [
            "",
            "-",
            "1-",
            "-1",
            "2-1",
            "1,,2",
            "+1",
            "a",
            "0 1",
            "8192",
            "0-4294967295",
        ] {
            assert_eq!(text.parse::<Processors>(), Err(ProcessorsError), "{text}");
        }
    }
}
