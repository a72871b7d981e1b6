//! The program that this process runs, to be run again in a jar: the very bytes that the
//! kernel executes here, whatever has become of the path that they were started by.
//!
//! The kernel keeps that file for as long as it runs, and lets nobody write to it
//! (`ETXTBSY`). Where it is still at its path, a jar shows it from there, and only if device
//! and inode are the same then; otherwise it is copied out of `/proc/self/exe` once.

use std::{
    io,
    os::{fd::AsFd as _, unix::ffi::OsStrExt as _},
    path::Path,
    sync::{Mutex, PoisonError},
};

use belljar_plan::Bytes;
use belljar_policy::{
    UnixPath,
    verified::{Candidate, Found, Program, ProgramBytes},
};

use super::{
    error::VerifyError,
    image::{AddError, Image, Writer},
    places::{self, Opened, Places},
    program::{self, Problem, Search},
};
use crate::sys::look;

/// More than any program has.
const LONGEST: u64 = 4 << 30;

/// What the kernel adds to the path of a file that has none any more; proc_pid_exe(5).
const DELETED: &[u8] = b" (deleted)";

/// Where the program of this process is by now, and whether it is still at its path.
pub(crate) fn at_its_path(seen: &Found) -> bool {
    look::look(&seen.path)
        .is_ok_and(|found| (found.device, found.inode) == (seen.device, seen.inode))
}

/// Looks at the program of this process.
pub(super) fn read(
    arguments: Vec<Bytes>,
    search: &Search<'_>,
) -> Result<(Program, Option<Image>), VerifyError> {
    let (file, name) = look::own_program().map_err(VerifyError::Itself)?;
    let there = name
        .to_str()
        .and_then(|text| UnixPath::new(text).ok())
        .map(|path| look::of_descriptor(file.as_fd(), path).map_err(VerifyError::Itself))
        .transpose()?
        .filter(at_its_path);
    let (mut found, bytes, image) = match there {
        Some(found) => (found, ProgramBytes::Caller, None),
        None => {
            let found = look::of_descriptor(file.as_fd(), without_mark(&name))
                .map_err(VerifyError::Itself)?;
            let (image, digest) = copy(&found).map_err(VerifyError::Itself)?;
            let bytes = ProgramBytes::CallerImage {
                digest,
                length: image.length(),
            };
            (found, bytes, Some(image))
        }
    };
    if image.is_some() {
        // The copy is for everybody in its jar, whoever could run the file.
        found.mode = 0o755;
    }
    let path = found.path.clone();
    let opened = Opened {
        found,
        inside: false,
        bytes: places::Bytes::File(file),
    };
    let executable = program::examine_opened(&Places::machine(), search, &path, opened, 0)
        .map_err(|Problem { errno, reason }| VerifyError::NotRunnable {
            path: path.as_str().into(),
            errno,
            reason,
        })?;
    let program = Program {
        // With a slash, so that it is this place and no other.
        asked: path.as_str().into(),
        arguments,
        candidates: vec![Candidate {
            path,
            found: Ok(executable),
        }],
        bytes,
    };
    Ok((program, image))
}

/// The path without what the kernel added to it; a name of ours where it is none that
/// policies know.
fn without_mark(name: &Path) -> UnixPath {
    let bytes = name.as_os_str().as_bytes();
    let bytes = bytes.strip_suffix(DELETED).unwrap_or(bytes);
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| UnixPath::new(text).ok())
        .filter(|path| path.name().is_some())
        .unwrap_or_else(|| UnixPath::new("/program").expect("it is a path"))
}

/// One copy for all jars of this process, with its digest.
fn copy(found: &Found) -> io::Result<(Image, String)> {
    type Copied = ((u64, u64), Image, String);
    static COPY: Mutex<Option<Copied>> = Mutex::new(None);
    let mut kept = COPY.lock().unwrap_or_else(PoisonError::into_inner);
    let id = (found.device, found.inode);
    if let Some((of, image, digest)) = kept.as_ref().filter(|(of, ..)| *of == id) {
        debug_assert_eq!(*of, id, "it is of the program that runs");
        return Ok((image.share()?, digest.clone()));
    }
    let (file, _) = look::own_program()?;
    let mut writer = Writer::new()?;
    writer
        .add(file.as_fd(), LONGEST)
        .map_err(|error| match error {
            AddError::Read(error) | AddError::Write(error) => error,
            AddError::Full => io::ErrorKind::FileTooLarge.into(),
        })?;
    let (image, digest) = writer.finish()?;
    let shared = image.share()?;
    *kept = Some((id, image, digest.clone()));
    Ok((shared, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_gone_keeps_its_name() {
        let name = |text: &str| without_mark(Path::new(text)).to_string();
        assert_eq!(name("/opt/host (deleted)"), "/opt/host");
        assert_eq!(name("/opt/host"), "/opt/host");
        assert_eq!(name(" (deleted)"), "/program");
    }

    #[test]
    fn the_copy_is_of_the_bytes_that_run() {
        let (file, name) = look::own_program().unwrap();
        let found = look::of_descriptor(file.as_fd(), without_mark(&name)).unwrap();
        let (image, digest) = copy(&found).unwrap();
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(image.length(), bytes.len() as u64);
        assert_eq!(image.part(0, bytes.len()).unwrap(), bytes);
        assert_eq!(copy(&found).unwrap().1, digest);
    }
}
