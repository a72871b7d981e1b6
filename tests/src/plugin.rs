//! Plugins for tests: a directory with a manifest and the guests' program.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::guest;

/// A plugin in a directory of its own, whose entry is the guests' program.
#[derive(Debug)]
pub struct Plugin {
    room: TempDir,
}

impl Plugin {
    /// A plugin called `probe`, with `more` behind its `[plugin]` table.
    ///
    /// # Panics
    /// Where its files cannot be made.
    #[must_use]
    pub fn new(more: &str) -> Self {
        let room = tempfile::tempdir().expect("a directory");
        fs::copy(guest(), room.path().join("guest")).expect("a copy of the guests' program");
        let manifest =
            format!("[plugin]\nname = \"probe\"\nversion = \"1.2.3\"\nentry = \"guest\"\n{more}\n");
        fs::write(room.path().join("belljar.toml"), manifest).expect("a manifest");
        Self { room }
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.room.path()
    }

    /// A policy file beside its directory's own files, which no jar reads.
    ///
    /// # Panics
    /// Where it cannot be written.
    #[must_use]
    pub fn policy(&self, text: &str) -> PathBuf {
        let path = self.room.path().join("operator.toml");
        fs::write(&path, text).expect("a policy");
        path
    }
}
