//! Reading a plugin's directory, once: what it holds, and its bytes into the
//! sealed image. Nothing is opened through a link, nothing outside the
//! directory is touched, and every size is bounded.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, BorrowedFd},
    path::{Path, PathBuf},
};

use belljar_plan::Bytes;
use belljar_policy::{
    Manifest, UnixPath,
    manifest::Format,
    verified::{FileKind, Found, PluginEntry, PluginEntryKind},
};

use super::{
    elf,
    error::VerifyError,
    image::{AddError, Image, Writer},
    places,
};
use crate::sys::look::{self, Below, EntryKind};

/// The most entries that a plugin may have.
const ENTRIES: usize = 20_000;
/// The most bytes that its files may have together.
const BYTES: u64 = 512 << 20;
/// The most directories inside one another.
const DEPTH: usize = 64;
/// The most bytes of a manifest.
const MANIFEST: u64 = 1 << 20;
/// The most links that a path may lead through, as the kernel.
const LINKS: usize = 40;

/// A plugin's files as they were read.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Parents before children.
    pub(crate) entries: Vec<PluginEntry>,
    /// Where each path is in `entries`.
    index: BTreeMap<String, usize>,
    /// What was seen on disk, one for each of `entries`.
    seen: Vec<Found>,
}

/// What a path inside a plugin leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// An entry that is no link, by its place in [`Tree::entries`].
    Entry(Option<usize>),
    /// Nothing.
    Nothing,
    /// Out of the plugin's directory.
    Leaves,
    /// Round and round.
    Circle,
}

impl Tree {
    /// Follows a path that is relative to the plugin's directory.
    pub(crate) fn reach(&self, path: &str) -> Reached {
        let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut at: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    if at.pop().is_none() {
                        return Reached::Leaves;
                    }
                    continue;
                }
                _ => at.push(part),
            }
            let Some(index) = self.index.get(&at.join("/")) else {
                return Reached::Nothing;
            };
            match &self.entries[*index].kind {
                PluginEntryKind::Link { target } => {
                    links += 1;
                    if links > LINKS {
                        return Reached::Circle;
                    }
                    if target.0.starts_with(b"/") {
                        return Reached::Leaves;
                    }
                    let Ok(target) = std::str::from_utf8(&target.0) else {
                        return Reached::Nothing;
                    };
                    at.pop();
                    todo.extend(target.split('/').rev().map(str::to_owned));
                }
                PluginEntryKind::File { .. } if todo.iter().any(|part| !part.is_empty()) => {
                    return Reached::Nothing;
                }
                PluginEntryKind::File { .. } | PluginEntryKind::Directory => {}
            }
        }
        Reached::Entry(self.index.get(&at.join("/")).copied())
    }

    /// An entry as it was on disk; the plugin's directory itself for `None`.
    pub(crate) fn found(&self, entry: Option<usize>, directory: &UnixPath) -> Found {
        let Some(entry) = entry else {
            return Found {
                path: directory.clone(),
                kind: FileKind::Directory,
                device: 0,
                inode: 0,
                uid: 0,
                gid: 0,
                mode: 0o555,
                idmap: false,
            };
        };
        let path = directory.join(&self.entries[entry].path);
        Found {
            path: path.unwrap_or_else(|_| directory.clone()),
            ..self.seen[entry].clone()
        }
    }

    /// Where a file's bytes lie in the image.
    pub(crate) fn extent(&self, entry: Option<usize>) -> Option<(u64, u64)> {
        match self.entries.get(entry?)?.kind {
            PluginEntryKind::File { offset, length, .. } => Some((offset, length)),
            _ => None,
        }
    }

    /// The first program that asks for memory that is writable and executable.
    pub(crate) fn writable_code(&self, image: &Image) -> Option<String> {
        let asks = |entry: &&PluginEntry| match entry.kind {
            PluginEntryKind::File {
                executable: true,
                offset,
                length,
            } => {
                let bytes = places::Bytes::Image {
                    file: image.as_fd(),
                    offset,
                    length,
                };
                matches!(elf::read(&bytes), Ok(Some(about)) if about.writable_code)
            }
            _ => false,
        };
        self.entries
            .iter()
            .find(asks)
            .map(|entry| entry.path.clone())
    }

    fn push(&mut self, path: &str, kind: PluginEntryKind, seen: Found) {
        self.index.insert(path.to_owned(), self.entries.len());
        self.entries.push(PluginEntry {
            path: path.to_owned(),
            kind,
        });
        self.seen.push(seen);
    }
}

/// A plugin that was read.
pub(crate) struct Read {
    pub(crate) directory: UnixPath,
    pub(crate) manifest: Manifest,
    pub(crate) tree: Tree,
    pub(crate) image: Image,
    /// SHA-256 of the image.
    pub(crate) digest: String,
}

/// Reads the plugin at a directory or manifest file.
pub(crate) fn read(asked: &Path) -> Result<Read, VerifyError> {
    let shown = shown(asked);
    let open = |source| VerifyError::OpenPlugin {
        path: shown.clone(),
        source,
    };
    let canonical = std::fs::canonicalize(asked).map_err(open)?;
    let (directory, name) = if canonical.is_dir() {
        (canonical, None)
    } else {
        let name = canonical.file_name().map(|name| name.to_os_string());
        (
            canonical
                .parent()
                .map_or_else(|| PathBuf::from("/"), Path::to_owned),
            name,
        )
    };
    let directory = super::unix_path(&directory)?;
    let root = look::open_directory(Path::new(directory.as_str())).map_err(open)?;

    let names = match &name {
        Some(name) => vec![name.to_str().ok_or_else(|| super::not_utf8(asked))?],
        None => vec!["belljar.toml", "belljar.json"],
    };
    let (name, text) = names
        .into_iter()
        .find_map(|name| {
            read_manifest(root.as_fd(), &directory, name)
                .transpose()
                .map(|text| (name, text))
        })
        .ok_or_else(|| VerifyError::NoManifest {
            directory: directory.to_string(),
        })?;
    let text = text?;
    let path = shown_below(&directory, name);
    let format = if name.ends_with(".json") {
        Format::Json
    } else {
        Format::Toml
    };
    let readable = std::str::from_utf8(&text)
        .map_err(|_| VerifyError::ManifestNotText { path: path.clone() })?;
    let manifest = Manifest::parse(readable, format, &path)?;

    let mut walk = Walk {
        directory: &directory,
        tree: Tree::default(),
        image: Writer::new().map_err(VerifyError::Image)?,
    };
    walk.enter(root.as_fd(), "", 0)?;
    let Walk { tree, image, .. } = walk;
    let (image, digest) = image.finish().map_err(VerifyError::Image)?;

    let copied = tree
        .extent(tree.index.get(name).copied())
        .and_then(|(offset, length)| image.part(offset, usize::try_from(length).ok()?).ok());
    if copied.as_deref() != Some(&text) {
        return Err(VerifyError::ManifestChanged { path });
    }
    for entry in &tree.entries {
        if matches!(entry.kind, PluginEntryKind::Link { .. })
            && tree.reach(&entry.path) == Reached::Circle
        {
            return Err(VerifyError::Circle {
                path: shown_below(&directory, &entry.path),
            });
        }
    }
    Ok(Read {
        directory,
        manifest,
        tree,
        image,
        digest,
    })
}

/// A manifest's bytes; `None` where there is none of this name.
fn read_manifest(
    root: BorrowedFd<'_>,
    directory: &UnixPath,
    name: &str,
) -> Result<Option<Vec<u8>>, VerifyError> {
    let path = shown_below(directory, name);
    let failed = |source| VerifyError::ReadManifest {
        path: path.clone(),
        source,
    };
    match look::status_below(root, name.as_bytes()) {
        Ok(status) => match status.kind {
            EntryKind::File => {}
            EntryKind::Directory => {
                return Err(VerifyError::FileKind {
                    path,
                    kind: "directory",
                });
            }
            EntryKind::Link => return Err(VerifyError::FileKind { path, kind: "link" }),
            EntryKind::Other(kind) => return Err(VerifyError::FileKind { path, kind }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let (file, _) = look::open_below(root, name.as_bytes(), Below::File).map_err(failed)?;
    let bytes = look::read_at(file.as_fd(), 0, 1 + usize::try_from(MANIFEST).unwrap_or(0))
        .map_err(failed)?;
    if bytes.len() as u64 > MANIFEST {
        return Err(VerifyError::ManifestTooLong {
            path,
            limit: MANIFEST,
        });
    }
    Ok(Some(bytes))
}

struct Walk<'a> {
    directory: &'a UnixPath,
    tree: Tree,
    image: Writer,
}

impl Walk<'_> {
    fn enter(&mut self, at: BorrowedFd<'_>, path: &str, depth: usize) -> Result<(), VerifyError> {
        if depth > DEPTH {
            return Err(self.too_large(DEPTH as u64, "directories inside one another"));
        }
        let left = ENTRIES - self.tree.entries.len();
        let names = look::names(at, left)
            .map_err(|source| self.unreadable(path, source))?
            .ok_or_else(|| self.too_large(ENTRIES as u64, "entries"))?;
        for name in names {
            self.add(at, path, &name, depth)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        at: BorrowedFd<'_>,
        parent: &str,
        name: &[u8],
        depth: usize,
    ) -> Result<(), VerifyError> {
        let Ok(text) = std::str::from_utf8(name) else {
            let mut whole = format!("{}/", shown_below(self.directory, parent)).into_bytes();
            whole.extend_from_slice(name);
            return Err(VerifyError::NotUtf8 { path: Bytes(whole) });
        };
        let path = if parent.is_empty() {
            text.to_owned()
        } else {
            format!("{parent}/{text}")
        };
        if self.directory.join(&path).is_err() {
            return Err(self.too_large(4095, "bytes in one path"));
        }
        if self.tree.entries.len() == ENTRIES {
            return Err(self.too_large(ENTRIES as u64, "entries"));
        }
        let failed = |source| self.unreadable(&path, source);
        let status = look::status_below(at, name).map_err(failed)?;
        match status.kind {
            EntryKind::Directory => {
                let (directory, found) =
                    look::open_below(at, name, Below::Directory).map_err(failed)?;
                self.tree.push(&path, PluginEntryKind::Directory, found);
                self.enter(directory.as_fd(), &path, depth + 1)
            }
            EntryKind::File if status.size > BYTES - self.image.length() => {
                Err(self.too_large(BYTES, "bytes"))
            }
            EntryKind::File => {
                let (file, found) = look::open_below(at, name, Below::File).map_err(failed)?;
                let (offset, length) = match self.image.add(file.as_fd(), BYTES) {
                    Ok(extent) => extent,
                    Err(AddError::Read(source)) => return Err(self.unreadable(&path, source)),
                    Err(AddError::Write(source)) => return Err(VerifyError::Image(source)),
                    Err(AddError::Full) => return Err(self.too_large(BYTES, "bytes")),
                };
                let executable = found.mode & 0o111 != 0;
                self.tree.push(
                    &path,
                    PluginEntryKind::File {
                        executable,
                        offset,
                        length,
                    },
                    found,
                );
                Ok(())
            }
            EntryKind::Link => {
                let target = look::link_text(at, name).map_err(failed)?;
                let found = Found {
                    path: self.directory.clone(),
                    kind: FileKind::Other,
                    device: status.device,
                    inode: status.inode,
                    uid: 0,
                    gid: 0,
                    mode: 0o777,
                    idmap: false,
                };
                self.tree.push(
                    &path,
                    PluginEntryKind::Link {
                        target: Bytes(target),
                    },
                    found,
                );
                Ok(())
            }
            EntryKind::Other(kind) => Err(VerifyError::FileKind {
                path: shown_below(self.directory, &path),
                kind,
            }),
        }
    }

    fn unreadable(&self, path: &str, source: std::io::Error) -> VerifyError {
        VerifyError::ReadFile {
            path: shown_below(self.directory, path),
            source,
        }
    }

    fn too_large(&self, limit: u64, unit: &'static str) -> VerifyError {
        VerifyError::TooLarge {
            directory: shown(Path::new(self.directory.as_str())),
            limit,
            unit,
        }
    }
}

/// A path for people.
pub(crate) fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    Bytes(path.as_os_str().as_bytes().to_vec()).escaped()
}

fn shown_below(directory: &UnixPath, path: &str) -> String {
    Bytes::from(format!(
        "{}/{path}",
        directory.as_str().trim_end_matches('/')
    ))
    .escaped()
}
