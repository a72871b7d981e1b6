//! Runs guests without a jar: the controls, which show that an attack is one.

use std::{
    ffi::OsStr,
    fs::File,
    io::Read,
    process::{Command, ExitStatus, Stdio},
};

use crate::{guest, spawn};

/// What a guest did without a jar.
#[derive(Debug)]
pub struct Bare {
    /// Its own.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
}

impl Bare {
    /// Holds the attack to have come through: so it is one.
    ///
    /// # Panics
    /// Where it did not.
    pub fn escapes(self) -> Self {
        assert!(
            self.status.code() == Some(42) && self.stdout.contains("ESCAPED: "),
            "a control that is no attack: {self:#?}"
        );
        self
    }
}

/// Runs a guest with nothing around it: for a control that can do no harm.
///
/// # Panics
/// Where it cannot be started.
#[must_use]
pub fn bare<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Bare {
    run_bare(Command::new(guest()).args(words).stdin(Stdio::null()))
}

/// Runs a guest in throw-away namespaces: `options` are those of unshare(1).
///
/// # Panics
/// Where it cannot be started.
#[must_use]
pub fn unshared<S: AsRef<OsStr>>(options: &[&str], words: impl IntoIterator<Item = S>) -> Bare {
    run_bare(
        Command::new("unshare")
            .args(options)
            .arg(guest())
            .args(words)
            .stdin(Stdio::null()),
    )
}

/// Runs a guest bare, with a file as its standard input.
///
/// # Panics
/// Where it cannot be started.
#[must_use]
pub fn bare_with_input<S: AsRef<OsStr>>(file: File, words: impl IntoIterator<Item = S>) -> Bare {
    run_bare(Command::new(guest()).args(words).stdin(file))
}

fn run_bare(command: &mut Command) -> Bare {
    let room = tempfile::Builder::new()
        .prefix("bare-test-")
        .tempdir()
        .expect("a temporary directory");
    let mut child = spawn(
        command
            .env("TMPDIR", room.path())
            .current_dir(room.path())
            .stdout(Stdio::piped()),
    );
    let mut stdout = Vec::new();
    drop(
        child
            .stdout
            .take()
            .expect("a pipe")
            .read_to_end(&mut stdout),
    );
    Bare {
        status: child.wait().expect("a child"),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
    }
}
