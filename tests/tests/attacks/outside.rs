//! What attacks aim at: files and tasks outside, of the test's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use belljar_tests::{alive, guest, spawn};
use tempfile::TempDir;

/// A file outside, with a known text.
pub(crate) struct Canary {
    room: TempDir,
}

impl Canary {
    const TEXT: &str = "the canary sings";

    pub(crate) fn new() -> Self {
        let room = tempfile::tempdir().expect("a temporary directory");
        fs::write(room.path().join("canary"), Self::TEXT).expect("a canary");
        Self { room }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.room.path().join("canary")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.room.path()
    }

    /// It, and nothing else, is as it was.
    pub(crate) fn sings(&self) {
        assert_eq!(
            fs::read_to_string(self.path()).expect("the canary"),
            Self::TEXT
        );
        let names: Vec<_> = fs::read_dir(self.room.path())
            .expect("its directory")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert_eq!(names, ["canary"]);
    }
}

/// A task outside that does nothing, with a word on its command line.
pub(crate) struct Bystander {
    child: Child,
}

impl Bystander {
    pub(crate) const WORD: &str = "innocent-bystander";

    pub(crate) fn new() -> Self {
        let child = spawn(
            Command::new(guest())
                .args(["sleep", "60", Self::WORD])
                .stdin(Stdio::null())
                .stdout(Stdio::null()),
        );
        Self { child }
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    pub(crate) fn lives(&self) {
        assert!(alive(self.child.id() as i32), "the bystander was harmed");
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
