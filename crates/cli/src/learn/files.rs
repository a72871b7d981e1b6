//! The files that `--update` names: read before anything runs, merged after it,
//! and replaced as a whole.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use belljar::{Plan, learn::Proposal};

use super::{
    diff::diff,
    merge::{Kind, MergeError, merge},
};

/// Larger files are no manifest and no policy.
const MOST: u64 = 1 << 20;

/// A policy of which nothing is needed yet.
const NOTHING_LACKED: &str = "# belljar learn: the plugin lacked nothing that a policy grants.\n";

/// A file to be updated.
#[derive(Debug)]
pub(super) struct File {
    /// As it was said.
    said: PathBuf,
    /// Where links lead.
    path: PathBuf,
    /// The policy is this table of it.
    table: Option<String>,
    kind: Kind,
    /// It is not there yet.
    new: bool,
}

/// What became of a file.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Empty where nothing changed.
    pub(super) diff: String,
    /// Lines for it that were left out, for their risk or as optional.
    pub(super) left: usize,
    /// What was made on the machine, empty.
    pub(super) made: Vec<String>,
}

/// Why a file is not updated.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("--update {}: it cannot be read", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("--update {}: it is not there, and a manifest says who a plugin is", .0.display())]
    NoManifest(PathBuf),
    #[error("--update {}: nothing is merged into JSON", .0.display())]
    Json(PathBuf),
    #[error("--update {}: nothing can be merged into it", .0.display())]
    Merge(PathBuf, #[source] Box<MergeError>),
    #[error("--update {}: it lies in {grant}, which the program may write to", file.display())]
    Writable { file: PathBuf, grant: String },
    #[error("--update {}: it cannot be written", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Make(#[from] super::make::MakeError),
}

impl FileError {
    pub(super) fn remedy(&self) -> String {
        match self {
            Self::Read(..) | Self::Write(..) => {
                "name a file that you may read and write, in a directory that is there".to_owned()
            }
            Self::NoManifest(_) => {
                "write one with a `[plugin]` of name, version and entry".to_owned()
            }
            Self::Json(_) => "paste the lines, or keep the file in TOML".to_owned(),
            Self::Merge(..) => "mend it, or paste the lines".to_owned(),
            Self::Writable { .. } => {
                "what says what a program may is kept where the program may not write".to_owned()
            }
            Self::Make(..) => "make it yourself, and run it again".to_owned(),
        }
    }
}

impl File {
    /// Reads it, and sees what it is.
    pub(super) fn read(said: &OsStr) -> Result<Self, FileError> {
        let said = PathBuf::from(said);
        let file_name = said.file_name().map(OsStr::to_owned).unwrap_or_default();
        // A `#` is part of the name where a file of the whole name is there.
        let (place, table) = match said.to_str().and_then(|text| text.rsplit_once('#')) {
            Some((file, table)) if !said.exists() => (PathBuf::from(file), Some(table.to_owned())),
            _ => (said.clone(), None),
        };
        if place.extension().is_some_and(|ending| ending == "json") {
            return Err(FileError::Json(said));
        }
        match fs::canonicalize(&place) {
            Ok(path) => {
                let text = text(&path).map_err(|error| FileError::Read(said.clone(), error))?;
                let name = said.display().to_string();
                let kind = match table {
                    None => Kind::of(&text),
                    // A manifest is a file of its own.
                    Some(_) => Ok(Kind::Policy),
                };
                let kind = kind
                    .and_then(|kind| kind.check(&text, &name, table.as_deref()).map(|()| kind))
                    .map_err(|error| FileError::Merge(said.clone(), Box::new(error)))?;
                Ok(Self {
                    said,
                    path,
                    table,
                    kind,
                    new: false,
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && table.is_none() => {
                if file_name == "belljar.toml" {
                    return Err(FileError::NoManifest(said));
                }
                let directory = match said.parent() {
                    Some(parent) if parent != Path::new("") => parent,
                    _ => Path::new("."),
                };
                let directory = fs::canonicalize(directory)
                    .map_err(|error| FileError::Read(said.clone(), error))?;
                Ok(Self {
                    path: directory.join(file_name),
                    said,
                    table,
                    kind: Kind::Policy,
                    new: true,
                })
            }
            Err(error) => Err(FileError::Read(said, error)),
        }
    }

    /// A policy that is there already, as it was said.
    pub(super) fn policy(&self) -> Option<&Path> {
        (self.kind == Kind::Policy && !self.new).then_some(&self.said)
    }

    /// Else the program could change what it is granted the next time.
    pub(super) fn refuse_where_a_guest_writes(&self, plan: Option<&Plan>) -> Result<(), FileError> {
        let writable = plan
            .into_iter()
            .flat_map(|plan| &plan.grants)
            .filter(|grant| grant.write)
            .find(|grant| {
                std::str::from_utf8(&grant.path.0).is_ok_and(|path| self.path.starts_with(path))
            });
        match writable {
            None => Ok(()),
            Some(grant) => Err(FileError::Writable {
                file: self.said.clone(),
                grant: grant.path.escaped(),
            }),
        }
    }

    /// Merges proposals into it, and replaces it where that changes it.
    pub(super) fn update(
        &mut self,
        plugin: Option<&str>,
        taken: &[&Proposal],
        left: &[&Proposal],
        made: &[String],
    ) -> Result<Done, FileError> {
        let merging = |error| FileError::Merge(self.said.clone(), Box::new(error));
        // As it is now: the run may have taken hours.
        let before = match self.new && !self.path.exists() {
            true => String::new(),
            false => text(&self.path).map_err(|error| FileError::Read(self.said.clone(), error))?,
        };
        let is_for_it = |proposal: &&Proposal| self.kind.takes(proposal);
        let taken: Vec<&Proposal> = taken.iter().copied().filter(is_for_it).collect();
        let left = left.iter().copied().filter(is_for_it).count();
        let name = self.said.display().to_string();
        let mut after =
            merge(&before, self.kind, self.table.as_deref(), plugin, &taken).map_err(merging)?;
        // The policy that was named is there to run by, though the plugin lacks nothing.
        if self.new && after.is_empty() && plugin.is_some() {
            after = NOTHING_LACKED.to_owned();
        }
        self.kind
            .check(&after, &name, self.table.as_deref())
            .map_err(merging)?;
        let diff = diff(&name, &before, &after);
        if !diff.is_empty() {
            replace(&self.path, &after)
                .map_err(|error| FileError::Write(self.said.clone(), error))?;
        }
        Ok(Done {
            name,
            kind: self.kind,
            diff,
            left,
            made: made.to_vec(),
        })
    }
}

impl Done {
    /// In one line.
    pub(super) fn summary(&self) -> String {
        match self.diff.is_empty() {
            true => format!("{}: nothing to change", self.name),
            false => format!("{}: updated", self.name),
        }
    }
}

fn text(path: &Path) -> io::Result<String> {
    let file = fs::metadata(path)?;
    if !file.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if file.len() > MOST {
        return Err(io::Error::other(
            "it is too large for a manifest or a policy",
        ));
    }
    fs::read_to_string(path)
}

/// Puts the new text in place at once, with the permissions of the old.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mode = fs::metadata(path).map_or(0o644, |known| known.permissions().mode() & 0o777);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let hidden = directory.join(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&hidden)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&hidden, path));
    written.inspect_err(|_| {
        // Nothing more can be done about a file that can't be removed.
        let _ = fs::remove_file(&hidden);
    })
}
