//! Probes of files, and how a file's bytes are read and written here.

use core::mem::MaybeUninit;

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, MemfdFlags, Mode, OFlags, RawDir, fstat, memfd_create, open, unlink};
use rustix::io::Errno;

use crate::text::Text;
use crate::{Outcome, Result, raw};

/// Without waiting for a device or a pipe, and without gaining a terminal.
const QUIETLY: OFlags = OFlags::CLOEXEC
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// So much is written at a time.
pub(crate) const PIECE: usize = 4096;

pub(crate) fn open_to_read(path: &[u8]) -> core::result::Result<OwnedFd, Errno> {
    open(
        Text::of(&[path])?.c()?,
        QUIETLY | OFlags::RDONLY,
        Mode::empty(),
    )
}

pub(crate) fn open_direct(path: &[u8]) -> core::result::Result<OwnedFd, Errno> {
    let flags = QUIETLY | OFlags::RDONLY | OFlags::DIRECT;
    open(Text::of(&[path])?.c()?, flags, Mode::empty())
}

pub(crate) fn read(path: &[u8]) -> Result {
    let file = open_to_read(path)?;
    let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
    if kind == FileType::Directory {
        let mut count = 0;
        each_name(&file, |_| count += 1)?;
        return Ok(count);
    }
    let read = rustix::io::read(&file, &mut [0; 64]);
    match kind {
        FileType::RegularFile => read.map(|count| count as u64),
        // A device was opened, which is what matters, whatever it has to say now.
        _ => Ok(1),
    }
}

pub(crate) fn write(path: &[u8]) -> Result {
    open(
        Text::of(&[path])?.c()?,
        QUIETLY | OFlags::WRONLY,
        Mode::empty(),
    )
    .map(|_| 1)
}

/// Calls `see` with each name of a directory.
pub(crate) fn each_name(
    directory: &OwnedFd,
    mut see: impl FnMut(&[u8]),
) -> core::result::Result<(), Errno> {
    let mut room = [MaybeUninit::<u8>::uninit(); 4096];
    let mut entries = RawDir::new(directory, &mut room);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            see(name);
        }
    }
    Ok(())
}

pub(crate) fn unlisted(path_and_names: &[u8]) -> Result {
    let at = path_and_names.iter().position(|byte| *byte == b' ');
    let (path, names) = path_and_names.split_at(at.unwrap_or(path_and_names.len()));
    let names = names.get(1..).unwrap_or(&[]);
    let listed = |name: &[u8]| names.split(|byte| *byte == b',').any(|known| known == name);
    let mut count = 0;
    each_name(&open_to_read(path)?, |name| {
        count += u64::from(!listed(name));
    })?;
    Ok(count)
}

/// A new file that has no name any more once it is open.
pub(crate) fn make(path: &[u8], mode: u32) -> core::result::Result<OwnedFd, Errno> {
    let path = Text::of(&[path])?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = open(path.c()?, flags, Mode::from_raw_mode(mode))?;
    unlink(path.c()?)?;
    Ok(file)
}

pub(crate) fn fill(path: &[u8], most: u64) -> Outcome {
    let made = match path {
        b"" => memfd_create(c"belljar-prober", MemfdFlags::CLOEXEC),
        path => make(path, 0o600),
    };
    let file = match made {
        Ok(file) => file,
        Err(errno) => return Outcome::not_tried(errno),
    };
    let mut written = 0;
    while written < most {
        match rustix::io::write(&file, &[b'x'; PIECE]) {
            Ok(count) => written += count as u64,
            Err(errno) => return Outcome::refused(errno, written),
        }
    }
    Ok(written).into()
}

/// Writes all of it to stdout.
pub(crate) fn write_all(mut bytes: &[u8]) -> core::result::Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(raw::stream(1), bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or(&[]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
