//! A directory for one run of the bench, with the small programs that it
//! compiles there. Anybody may enter it, since some runs are another user's.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

const FLOOR: &str = include_str!("../floor.c");
const INSTALL: &str = include_str!("../install.c");
const LIBSECCOMP: &str = include_str!("../libseccomp.c");
const CALLS: &str = include_str!("../calls.c");
const FLOOD: &str = include_str!("../flood.c");
const NOOP: &str = "int main(void) { return 0; }\n";
const IDLE: &str = "#include <unistd.h>\nint main(void) { return pause(); }\n";
const EMPTY: &str = "fn main() {}\n";

/// Programs to measure with.
pub(crate) struct Workshop {
    directory: TempDir,
    /// The guest: a static program that does nothing.
    pub(crate) noop: PathBuf,
    /// A guest that waits for a signal.
    pub(crate) idle: PathBuf,
    /// A guest that makes allowed calls and says what each took.
    pub(crate) calls: PathBuf,
    /// A guest that makes denied and performed calls.
    pub(crate) flood: PathBuf,
    /// The C floor.
    pub(crate) floor: PathBuf,
    /// Installs filters and says what that took.
    pub(crate) install: PathBuf,
    /// Makes filters by libseccomp; the reason where it is not installed.
    pub(crate) libseccomp: Result<PathBuf, String>,
    /// An empty Rust program; the reason where there is none.
    pub(crate) empty: Result<PathBuf, String>,
}

impl Workshop {
    /// Makes the directory and compiles everything.
    ///
    /// `empty` is an empty Rust program that is there already.
    pub(crate) fn open(empty: Option<&Path>) -> Result<Self, String> {
        let told = |error: io::Error| format!("no working directory: {error}");
        let directory = tempfile::Builder::new()
            .prefix("belljar-bench-")
            .tempdir()
            .map_err(told)?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).map_err(told)?;
        let home = directory.path();
        Ok(Self {
            noop: compile_c(home, "noop", NOOP)?,
            idle: compile_c(home, "idle", IDLE)?,
            calls: compile_c(home, "calls", CALLS)?,
            flood: compile_c(home, "flood", FLOOD)?,
            floor: compile_c(home, "floor", FLOOR)?,
            install: compile_c(home, "install", INSTALL)?,
            libseccomp: compile_libseccomp(home),
            empty: match empty {
                Some(path) => Ok(path.to_owned()),
                None => compile_rust(home, "empty", EMPTY),
            },
            directory,
        })
    }

    /// Writes a file there.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<PathBuf, String> {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes).map_err(|error| format!("cannot write {name}: {error}"))?;
        Ok(path)
    }

    /// Copies a program to where every user can run it.
    pub(crate) fn borrow(&self, program: &Path, name: &str) -> Result<PathBuf, String> {
        let path = self.directory.path().join(name);
        fs::copy(program, &path)
            .and_then(|_| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .map_err(|error| format!("cannot copy {}: {error}", program.display()))?;
        Ok(path)
    }
}

fn compile_c(home: &Path, name: &str, source: &str) -> Result<PathBuf, String> {
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-static", "-pthread"]);
    compile(gcc, home, name, "c", source, &[])
}

fn compile_libseccomp(home: &Path) -> Result<PathBuf, String> {
    if !Path::new("/usr/include/seccomp.h").exists() {
        return Err("libseccomp-dev is not installed".to_owned());
    }
    let mut gcc = Command::new("gcc");
    gcc.arg("-O2");
    compile(gcc, home, "libseccomp", "c", LIBSECCOMP, &["-lseccomp"])
}

fn compile_rust(home: &Path, name: &str, source: &str) -> Result<PathBuf, String> {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut rustc = Command::new(compiler);
    rustc.args(["-Copt-level=3", "-Cstrip=symbols", "--edition=2024"]);
    compile(rustc, home, name, "rs", source, &[])
}

fn compile(
    mut compiler: Command,
    home: &Path,
    name: &str,
    kind: &str,
    source: &str,
    libraries: &[&str],
) -> Result<PathBuf, String> {
    let (program, text) = (home.join(name), home.join(format!("{name}.{kind}")));
    fs::write(&text, source).map_err(|error| format!("cannot write {name}.{kind}: {error}"))?;
    let output = compiler
        .arg("-o")
        .args([&program, &text])
        .args(libraries)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", compiler.get_program().display()))?;
    if output.status.success() {
        Ok(program)
    } else {
        Err(format!(
            "{name}.{kind} does not compile: {}",
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

/// Where a program of the machine is.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}
