//! A directory of the operator's in which a program works.

use std::{
    fs,
    path::{Path, PathBuf},
};

use belljar_tests::{Ended, Jar, Need, jar, need};
use tempfile::TempDir;

/// A directory with a program's sources, which jars may write.
#[derive(Debug)]
pub(crate) struct Room {
    directory: TempDir,
}

impl Room {
    /// With these files: name and text.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let room = Self {
            directory: tempfile::tempdir().expect("a directory"),
        };
        for (name, text) in files {
            fs::write(room.path(name), text).expect("a source");
        }
        room
    }

    /// Something in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same as text, for an argument.
    pub(crate) fn at(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path in UTF-8").into()
    }

    /// What is in a file that a program made.
    pub(crate) fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A jar under `standard` in which it may be written and is worked in. The
    /// programs are the system's own, whatever else the caller has on its path.
    pub(crate) fn jar(&self) -> Jar {
        self.jar_with_path("/usr/bin:/bin")
    }

    /// The same, with other programs.
    pub(crate) fn jar_with_path(&self, path: &str) -> Jar {
        let here = self.directory.path();
        jar()
            .preset("standard")
            .flags(["--write".as_ref(), here.as_os_str()])
            .flags(["--workdir".as_ref(), here.as_os_str()])
            .flags(["--env", &format!("PATH={path}")])
    }
}

/// A jar under `standard` in which nothing is granted: it sees its program.
pub(crate) fn alone() -> Jar {
    jar().preset("standard")
}

/// Holds a run to be clean and to have printed these lines and no other. What
/// it says where it was not is short, and has what the jar refused.
pub(crate) fn says(ended: Ended, lines: &[&str]) -> Ended {
    let said: Vec<&str> = ended.stdout.lines().map(str::trim_end).collect();
    let report = ended.report();
    assert!(
        said == lines && ended.status.success(),
        "said {said:#?}\ninstead of {lines:#?}\nended by {:?}\nviolations: {:#?}\nsymptoms: {:#?}\nlimits: {:?}\nstderr: {}",
        report.outcome,
        report.violations,
        report.symptoms,
        report.limits_hit,
        ended.stderr
    );
    ended.clean()
}

/// Whether all of these programs are there.
pub(crate) fn programs(names: &[&'static str]) -> bool {
    names.iter().all(|name| need(Need::Program(name)))
}

/// A program of the system's, by its path.
pub(crate) fn system(name: &str) -> PathBuf {
    Path::new("/usr/bin").join(name)
}
