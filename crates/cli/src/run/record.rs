//! `--report FILE|fd:N` and `--events FILE|fd:N`: where they go.

use std::{
    ffi::OsStr,
    io,
    os::fd::{BorrowedFd, OwnedFd, RawFd},
    path::PathBuf,
};

use rustix::fs::{OFlags, fcntl_getfl};

use crate::ask::Usage;

/// Where it goes, as it was said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A file, replaced as a whole.
    File(PathBuf),
    /// A descriptor that the caller opened.
    Descriptor(u32),
}

impl Target {
    /// Reads `FILE` or `fd:N`; a file of such a name is said as `./fd:3`.
    ///
    /// # Errors
    /// Where it is neither.
    pub(crate) fn read(flag: &'static str, said: &OsStr) -> Result<Self, Usage> {
        let number = said.to_str().and_then(|text| text.strip_prefix("fd:"));
        let wrong = || Usage::Form {
            flag,
            said: said.to_string_lossy().into_owned(),
            form: "a file or fd:N",
            example: match flag {
                "--events" => "--events run.jsonl`, or `--events fd:4",
                "--out" => "--out lesson.txt`, or `--out fd:5",
                _ => "--report run.json`, or `--report fd:3",
            },
        };
        match number {
            None if said.is_empty() => Err(wrong()),
            None => Ok(Self::File(said.into())),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
                .parse::<u32>()
                .ok()
                .filter(|number| RawFd::try_from(*number).is_ok())
                .map(Self::Descriptor)
                .ok_or_else(wrong),
            Some(_) => Err(wrong()),
        }
    }
}

/// A descriptor of belljar's own for what the caller opened as `number`. It has
/// to be called before belljar opens anything that could take the number.
///
/// # Errors
/// Where it is not open, or not for writing.
pub(crate) fn inherited(flag: &'static str, number: u32) -> Result<OwnedFd, Usage> {
    let failed = |cause| Usage::Descriptor {
        flag,
        number,
        cause,
    };
    let raw = RawFd::try_from(number).map_err(|_| {
        failed(io::Error::from_raw_os_error(
            rustix::io::Errno::BADF.raw_os_error(),
        ))
    })?;
    // SAFETY: it asks for a descriptor that stays open while it is borrowed. This thread
    // is the only one and closes nothing; a number that is not open fails below with EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
    let own = borrowed.try_clone_to_owned().map_err(failed)?;
    let mode = fcntl_getfl(&own).map_err(|errno| failed(errno.into()))?;
    if mode.contains(OFlags::PATH) || mode & OFlags::RWMODE == OFlags::RDONLY {
        return Err(failed(io::Error::other("it is not open for writing")));
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn a_report_goes_to_a_file_or_to_a_descriptor() {
        let cases = [
            ("run.json", Some(Target::File("run.json".into()))),
            ("./fd:3", Some(Target::File("./fd:3".into()))),
            ("fd:3", Some(Target::Descriptor(3))),
            ("fd:", None),
            ("fd:-1", None),
            ("fd:x", None),
            ("fd:4294967295", None),
            ("", None),
        ];
        for (said, expected) in cases {
            assert_eq!(
                Target::read("--report", OsStr::new(said)).ok(),
                expected,
                "{said}"
            );
        }
    }

    #[test]
    fn a_descriptor_that_is_closed_or_only_read_is_refused() {
        let file = File::open("/dev/null").unwrap();
        let number = u32::try_from(file.as_raw_fd()).unwrap();
        assert!(matches!(
            inherited("--report", number),
            Err(Usage::Descriptor { .. })
        ));
        assert!(matches!(
            inherited("--report", 1_000_000),
            Err(Usage::Descriptor { .. })
        ));
        let file = File::options().write(true).open("/dev/null").unwrap();
        assert!(inherited("--report", u32::try_from(file.as_raw_fd()).unwrap()).is_ok());
    }
}
