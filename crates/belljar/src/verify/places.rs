//! The files of the machine, and over them those of a plugin as they were
//! read: whoever looks for a program or a library looks here.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    rc::Rc,
};

use belljar_policy::{UnixPath, verified::Found};

use super::{
    elf::{self, Elf},
    image::Image,
    plugin::{Reached, Tree},
};
use crate::sys::look::{self, LookError};

/// Where programs and libraries are looked for.
pub(crate) struct Places<'a> {
    /// The plugin, where one is run: its directory, its files, their bytes.
    plugin: Option<(&'a UnixPath, &'a Tree, &'a Image)>,
    /// What was seen of the machine before, since one launch asks for the same often.
    known: Rc<RefCell<Known>>,
}

/// What was seen of the machine.
#[derive(Default)]
struct Known {
    /// By path.
    files: HashMap<UnixPath, Result<Found, i32>>,
    /// By canonical path.
    elves: HashMap<UnixPath, Option<Rc<Elf>>>,
}

/// A file that was opened for reading.
pub(crate) struct Opened<'a> {
    /// What it is.
    pub(crate) found: Found,
    /// It comes with the plugin and is in its image.
    pub(crate) inside: bool,
    /// What is in it.
    pub(crate) bytes: Bytes<'a>,
}

/// The bytes of a file.
pub(crate) enum Bytes<'a> {
    /// Of the machine.
    File(OwnedFd),
    /// A part of the image.
    Image {
        /// The image.
        file: BorrowedFd<'a>,
        /// Where it starts.
        offset: u64,
        /// How long it is.
        length: u64,
    },
    /// In memory.
    #[cfg(test)]
    Held(Vec<u8>),
}

impl Bytes<'_> {
    /// Up to `length` bytes at a place; fewer only at the end.
    pub(crate) fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        // A file is at most 2^63 - 1 bytes long, and no read lies beyond that.
        if i64::try_from(offset.saturating_add(length as u64)).is_err() {
            return Ok(Vec::new());
        }
        match self {
            Self::File(file) => look::read_at(file.as_fd(), offset, length),
            Self::Image {
                file,
                offset: start,
                length: whole,
            } => {
                let left = usize::try_from(whole.saturating_sub(offset)).unwrap_or(usize::MAX);
                look::read_at(*file, start + offset, length.min(left))
            }
            #[cfg(test)]
            Self::Held(bytes) => {
                let rest = usize::try_from(offset)
                    .ok()
                    .and_then(|at| bytes.get(at..))
                    .unwrap_or(&[]);
                Ok(rest[..rest.len().min(length)].to_vec())
            }
        }
    }
}

impl<'a> Places<'a> {
    /// The machine's files.
    pub(crate) fn machine() -> Self {
        Self {
            plugin: None,
            known: Rc::default(),
        }
    }

    /// The machine's files with a plugin's over them.
    pub(crate) fn with_plugin(directory: &'a UnixPath, tree: &'a Tree, image: &'a Image) -> Self {
        Self {
            plugin: Some((directory, tree, image)),
            known: Rc::default(),
        }
    }

    /// The same machine without the plugin.
    pub(crate) fn beneath(&self) -> Places<'static> {
        Places {
            plugin: None,
            known: Rc::clone(&self.known),
        }
    }

    /// What a path leads to.
    pub(crate) fn look(&self, path: &UnixPath) -> Result<Found, LookError> {
        if let Some((directory, tree, _)) = self.plugin
            && path.is_within(directory)
        {
            return match tree.reach(relative_to(path, directory)) {
                Reached::Entry(entry) => Ok(tree.found(entry, directory)),
                Reached::Nothing | Reached::Leaves => Err(LookError::Errno(2)),
                Reached::Circle => Err(LookError::Errno(40)),
            };
        }
        if let Some(known) = self.known.borrow().files.get(path) {
            return known.clone().map_err(LookError::Errno);
        }
        let seen = look::look(path);
        let known = seen
            .as_ref()
            .map_or_else(|error| Err(error.errno()), |found| Ok(found.clone()));
        self.known.borrow_mut().files.insert(path.clone(), known);
        seen
    }

    /// Opens a regular file for reading.
    pub(crate) fn open(&self, path: &UnixPath) -> Result<Opened<'a>, LookError> {
        if let Some((directory, tree, image)) = self.plugin
            && path.is_within(directory)
        {
            let found = self.look(path)?;
            let Reached::Entry(entry) = tree.reach(relative_to(path, directory)) else {
                return Err(LookError::Errno(2));
            };
            let (offset, length) = tree.extent(entry).ok_or(LookError::Errno(21))?;
            let bytes = Bytes::Image {
                file: image.as_fd(),
                offset,
                length,
            };
            return Ok(Opened {
                found,
                inside: true,
                bytes,
            });
        }
        let seen = self.look(path)?;
        let file = look::reopen(&seen).map_err(LookError::Errno)?;
        Ok(Opened {
            found: seen,
            inside: false,
            bytes: Bytes::File(file),
        })
    }

    /// What a library says, where it is one, and whether it comes with the
    /// plugin; each of the machine's is read once.
    pub(crate) fn elf(&self, path: &UnixPath) -> Option<(Found, bool, Rc<Elf>)> {
        let found = self.look(path).ok()?;
        let inside = self
            .plugin
            .is_some_and(|(directory, ..)| path.is_within(directory));
        let read = || {
            let opened = self.open(path).ok()?;
            elf::read(&opened.bytes).ok().flatten().map(Rc::new)
        };
        if inside {
            return read().map(|elf| (found, true, elf));
        }
        let known = self.known.borrow().elves.get(&found.path).cloned();
        let elf = known.unwrap_or_else(|| {
            let read = read();
            let mut known = self.known.borrow_mut();
            known.elves.insert(found.path.clone(), read.clone());
            read
        });
        elf.map(|elf| (found, false, elf))
    }

    /// Follows a path as its text has it, `..` and links included, to a normal
    /// path of the same place; `None` where it leads nowhere or out of the plugin.
    pub(crate) fn normal(&self, text: &str) -> Option<UnixPath> {
        let mut path = UnixPath::root();
        if !text.starts_with('/') {
            return None;
        }
        for part in text
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
        {
            if part != ".." {
                path = path.join(part).ok()?;
                continue;
            }
            let was_inside = self
                .plugin
                .is_some_and(|(directory, ..)| path.is_within(directory));
            path = self
                .look(&path)
                .ok()?
                .path
                .parent()
                .unwrap_or(UnixPath::root());
            if was_inside
                && self
                    .plugin
                    .is_some_and(|(directory, ..)| !path.is_within(directory))
            {
                return None;
            }
        }
        Some(path)
    }
}

/// `path` as the plugin's own tree names it.
fn relative_to<'p>(path: &'p UnixPath, directory: &UnixPath) -> &'p str {
    path.as_str()[directory.as_str().len()..].trim_start_matches('/')
}
