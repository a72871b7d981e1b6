//! Folders, links and files in the jar's own root.
//!
//! Nothing is ever created in a mount of the machine: parents are found with
//! `RESOLVE_NO_XDEV`, and a parent on the other side of a mount must be the
//! jar's own scratch; openat2(2).

use core::ffi::CStr;

use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

use super::Jar;
use crate::calls::{self, fstat, mkdirat, openat, openat2, symlinkat, unlinkat};
use crate::text::{Text, split, text};

/// How every path in the jar is found.
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl<'a> Jar<'a> {
    /// Finds what is at a path of the jar, through its symbolic links.
    pub(super) fn find(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        self.find_c(text(path)?, flags)
    }

    pub(super) fn find_c(&self, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        openat2(self.root()?, path, flags, Mode::empty(), INSIDE)
    }

    /// Calls `make` with the folder in which something is to be created, and its name.
    pub(super) fn within(
        &mut self,
        path: &'a [u8],
        make: impl FnOnce(BorrowedFd<'_>, &CStr) -> Result<()>,
    ) -> Result<()> {
        let (folder, name) = split(path);
        let name = text(name)?;
        if folder.is_empty() {
            return make(self.root()?, name);
        }
        self.in_folder(folder, |folder| make(folder, name))
    }

    /// Calls `make` with a folder of the jar's own.
    pub(super) fn in_folder(
        &mut self,
        folder: &'a [u8],
        make: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
    ) -> Result<()> {
        let fd = match self.folder.take() {
            Some((known, fd)) if known == folder => fd,
            _ => self.open_own_folder(folder)?,
        };
        let result = make(fd.as_fd());
        self.folder = Some((folder, fd));
        result
    }

    /// Forgets the last folder: after a mount its path may lead elsewhere.
    pub(super) fn forget_folder(&mut self) {
        self.folder = None;
    }

    fn open_own_folder(&self, folder: &[u8]) -> Result<OwnedFd> {
        let path = Text::<4096>::new().add(folder)?;
        let root = self.root()?;
        let look = |resolve| openat2(root, path.c()?, FOLDER, Mode::empty(), resolve);
        match look(INSIDE | ResolveFlags::NO_XDEV) {
            Err(Errno::XDEV) => {}
            other => return other,
        }
        let found = look(INSIDE)?;
        let device = fstat(&found)?.st_dev;
        for own in [self.scratch.as_ref().map(|(fd, _)| fd), self.root.as_ref()] {
            if let Some(own) = own
                && fstat(own)?.st_dev == device
            {
                return Ok(found);
            }
        }
        Err(Errno::ROFS)
    }

    /// Makes a folder; one that is there already will do, wherever it is.
    pub(super) fn directory(&mut self, path: &'a [u8], mode: u16) -> Result<()> {
        let mode = Mode::from_raw_mode(u32::from(mode));
        match self.within(path, |folder, name| mkdirat(folder, name, mode)) {
            Err(Errno::EXIST) => self.find(path, FOLDER).map(drop),
            Err(Errno::ROFS) => match self.find(path, FOLDER) {
                Ok(_) => Ok(()),
                Err(_) => Err(Errno::ROFS),
            },
            other => other,
        }
    }

    pub(super) fn symlink(&mut self, path: &'a [u8], target: &[u8]) -> Result<()> {
        let target = text(target)?;
        self.within(path, |folder, name| symlinkat(target, folder, name))
    }

    pub(super) fn file(&mut self, path: &'a [u8], mode: u16, content: &[u8]) -> Result<()> {
        self.within(path, |folder, name| create(folder, name, mode, content))
    }

    pub(super) fn plugin_file(
        &mut self,
        path: &'a [u8],
        mode: u16,
        offset: u64,
        length: u64,
    ) -> Result<()> {
        let start = usize::try_from(offset).map_err(|_| Errno::BADMSG)?;
        let length = usize::try_from(length).map_err(|_| Errno::BADMSG)?;
        let end = start.checked_add(length).ok_or(Errno::BADMSG)?;
        // An image of only empty files has no bytes and is not sent at all.
        let image = self.image.unwrap_or(&[]);
        let content = image.get(start..end).ok_or(Errno::BADMSG)?;
        self.file(path, mode, content)
    }
}

/// Writes a file that was not there.
pub(super) fn create(
    folder: BorrowedFd<'_>,
    name: &CStr,
    mode: u16,
    mut content: &[u8],
) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(u32::from(mode));
    let file = openat(folder, name, flags, mode)?;
    while !content.is_empty() {
        let written = calls::write(&file, content)?;
        content = content.get(written..).unwrap_or(&[]);
    }
    Ok(())
}

/// Removes what [`create`] or mkdirat(2) made.
pub(super) fn remove(folder: BorrowedFd<'_>, name: &CStr, is_folder: bool) -> Result<()> {
    use rustix::fs::AtFlags;
    let flags = match is_folder {
        true => AtFlags::REMOVEDIR,
        false => AtFlags::empty(),
    };
    unlinkat(folder, name, flags)
}
