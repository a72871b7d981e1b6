//! What attacks aim at: files and tasks outside, of the test's own.

use std::{
    ffi::OsStr,
    fs,
    io::Read,
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

/// A plain program of the guests' that runs outside, has said `ready`, and goes
/// on until its input ends.
pub(crate) struct Companion {
    child: Child,
}

impl Companion {
    pub(crate) fn new<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Self {
        let mut child = spawn(
            Command::new(guest())
                .args(words)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped()),
        );
        let mut said = [0; 5];
        let stdout = child.stdout.as_mut().expect("a pipe");
        stdout.read_exact(&mut said).expect("a word");
        assert_eq!(&said, b"ready", "a companion that is not ready");
        Self { child }
    }

    /// Ends it, and gives what it said besides.
    pub(crate) fn finish(mut self) -> String {
        drop(self.child.stdin.take());
        let mut said = String::new();
        let stdout = self.child.stdout.as_mut().expect("a pipe");
        stdout.read_to_string(&mut said).expect("its words");
        said
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.wait());
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
