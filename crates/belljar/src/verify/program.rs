//! What a program is and what it needs: an ELF file with its loader and
//! libraries, or a script with its interpreter.

use std::{cell::LazyCell, rc::Rc};

use belljar_plan::Bytes;
use belljar_policy::{
    UnixPath,
    verified::{Executable, ExecutableKind, FileKind, Library},
};

use super::{
    elf,
    libraries::{Closure, Finder, TooMany},
    places::{Opened, Places},
    runtime,
    script::{self, Shebang},
};

/// How many scripts may be run by one another, as the kernel.
const SCRIPTS: usize = 4;

const ENOENT: i32 = 2;
const ENOEXEC: i32 = 8;
const EACCES: i32 = 13;
const ELOOP: i32 = 40;
const ELIBMAX: i32 = 82;

/// What programs are made of, on every distribution; Nix and Guix keep it
/// apart. Every preset shows programs of these.
pub(crate) const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
];

/// Why a file cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What the kernel would say; errno(3).
    pub(crate) errno: i32,
    /// For people, with the remedy.
    pub(crate) reason: String,
}

impl Problem {
    fn new(errno: i32, reason: impl Into<String>) -> Self {
        Self {
            errno,
            reason: reason.into(),
        }
    }
}

impl From<TooMany> for Problem {
    fn from(_: TooMany) -> Self {
        Self::new(ELIBMAX, "it asks for more libraries than any program needs")
    }
}

/// How a program's needs are looked for.
pub(crate) struct Search<'a> {
    /// Where the programs that `env` names lie, in order; asked only for a script.
    pub(crate) programs: LazyCell<Vec<UnixPath>, Box<dyn FnOnce() -> Vec<UnixPath> + 'a>>,
    /// For which programs it is found out what they read besides libraries.
    pub(crate) runtime: Runtime,
}

/// For which programs it is found out what they read besides libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// Every one: the preset shows nothing else.
    Always,
    /// Those outside of the directories that the preset shows anyway.
    Elsewhere,
}

/// Looks at a program.
pub(crate) fn examine(
    places: &Places<'_>,
    search: &Search<'_>,
    path: &UnixPath,
) -> Result<Executable, Problem> {
    examine_within(places, search, path, 0)
}

fn examine_within(
    places: &Places<'_>,
    search: &Search<'_>,
    path: &UnixPath,
    scripts: usize,
) -> Result<Executable, Problem> {
    let file = places
        .look(path)
        .map_err(|error| unreachable_file(error.errno()))?;
    match file.kind {
        FileKind::File => {}
        FileKind::Directory => return Err(Problem::new(EACCES, "it is a directory")),
        _ => return Err(Problem::new(EACCES, "it is not a regular file")),
    }
    if file.mode & 0o111 == 0 {
        return Err(Problem::new(
            EACCES,
            "it is not executable; make it so with `chmod +x`",
        ));
    }
    let opened = places.open(path).map_err(|error| {
        Problem::new(
            error.errno(),
            "it cannot be read, and Belljar reads what it runs",
        )
    })?;
    examine_opened(places, search, path, opened, scripts)
}

/// The same of a file that was opened.
pub(super) fn examine_opened(
    places: &Places<'_>,
    search: &Search<'_>,
    path: &UnixPath,
    opened: Opened<'_>,
    scripts: usize,
) -> Result<Executable, Problem> {
    let head = opened
        .bytes
        .read(0, script::HEAD)
        .map_err(|error| Problem::new(error.raw_os_error().unwrap_or(5), "it cannot be read"))?;
    let line = script::parse(&head).map_err(|error| Problem::new(ENOEXEC, error.to_string()))?;
    let kind = match line {
        Some(line) => examine_script(places, search, &line, scripts)?,
        None => examine_elf(places, search, path, &opened)?,
    };
    Ok(Executable {
        file: opened.found,
        kind,
    })
}

fn unreachable_file(errno: i32) -> Problem {
    let reason = match errno {
        ENOENT => "it does not exist",
        EACCES => "a directory on the way to it may not be entered",
        ELOOP => "its links lead in a circle",
        _ => "it cannot be opened",
    };
    Problem::new(errno, reason)
}

fn examine_elf(
    places: &Places<'_>,
    search: &Search<'_>,
    path: &UnixPath,
    opened: &Opened<'_>,
) -> Result<ExecutableKind, Problem> {
    let Ok(Some(about)) = elf::read(&opened.bytes) else {
        return Ok(ExecutableKind::Unknown);
    };
    if !about.machine.runs_here() {
        return Ok(ExecutableKind::Unknown);
    }
    let Some(name) = &about.loader else {
        return Ok(ExecutableKind::Elf {
            loader: None,
            libraries: Vec::new(),
            missing: Vec::new(),
            runtime: Vec::new(),
            writable_code: about.writable_code,
            go: about.go,
            elsewhere: Vec::new(),
        });
    };
    // The loader is a file of the machine even for a plugin's program.
    let machine = places.beneath();
    let shown = Bytes(name.clone()).escaped();
    let at = std::str::from_utf8(name)
        .ok()
        .and_then(|text| machine.normal(text));
    let at = at
        .ok_or_else(|| Problem::new(ENOENT, format!("its loader `{shown}` is no absolute path")))?;
    let (found, _, loader) = machine.elf(&at).ok_or_else(|| {
        Problem::new(
            ENOENT,
            format!(
                "its loader `{shown}` is not there; install the C library that it was built for"
            ),
        )
    })?;

    let go = about.go;
    let writable_code = about.writable_code || loader.writable_code;
    let mut finder = Finder::new(about.machine, &at);
    finder.loader_is(&loader);
    let canonical = opened.found.path.clone();
    finder.add(places, Rc::new(about), &canonical)?;
    let elsewhere = !SYSTEM
        .iter()
        .any(|place| UnixPath::new(place).is_ok_and(|place| canonical.is_within(&place)));
    let runtime = if search.runtime == Runtime::Always || (elsewhere && !opened.inside) {
        runtime::add(&machine, &mut finder, path, &canonical)?
    } else {
        runtime::Read::default()
    };
    let Closure { libraries, missing } = finder.closure;
    Ok(ExecutableKind::Elf {
        loader: Some(Library {
            path: at,
            file: found,
        }),
        libraries,
        missing: missing.into_iter().collect(),
        runtime: runtime.places,
        writable_code,
        go,
        elsewhere: runtime.elsewhere,
    })
}

fn examine_script(
    places: &Places<'_>,
    search: &Search<'_>,
    line: &Shebang,
    scripts: usize,
) -> Result<ExecutableKind, Problem> {
    if scripts == SCRIPTS {
        return Err(Problem::new(
            ELOOP,
            "its interpreter is a script, run by a script, and so on",
        ));
    }
    let machine = places.beneath();
    let refused = |error: script::ShebangError| Problem::new(ENOEXEC, error.to_string());
    let words = script::env_words(line).map_err(refused)?;
    let (path, words) = if let Some(words) = words {
        (search_program(&machine, search, &words[0])?, words)
    } else {
        let path = std::str::from_utf8(&line.interpreter)
            .ok()
            .and_then(|text| machine.normal(text));
        let path = path.ok_or_else(|| no_interpreter(&line.interpreter))?;
        let words = std::iter::once(line.interpreter.clone())
            .chain(line.argument.clone())
            .collect();
        (path, words)
    };
    let interpreter = examine_within(&machine, search, &path, scripts + 1).map_err(|problem| {
        let shown = Bytes(words[0].clone()).escaped();
        Problem::new(
            problem.errno,
            format!(
                "its interpreter `{shown}` cannot be run: {}",
                problem.reason
            ),
        )
    })?;
    let mut words = words.into_iter().map(Bytes);
    match interpreter.kind {
        ExecutableKind::Elf { .. } => Ok(ExecutableKind::Script {
            arguments: words.collect(),
            path,
            interpreter: Box::new(interpreter),
        }),
        // The kernel runs the interpreter's interpreter, with the interpreter
        // as a script and then what was given to it.
        ExecutableKind::Script {
            mut arguments,
            path: outer,
            interpreter: mut runs,
        } => {
            let name = words.next();
            let by_env = line.argument.is_some()
                && script::env_words(line).is_ok_and(|words| words.is_some());
            arguments.extend(if by_env {
                Some(Bytes::from(path.as_str()))
            } else {
                name
            });
            arguments.extend(words);
            if let ExecutableKind::Elf { runtime, .. } = &mut runs.kind {
                runtime.push(Library {
                    path,
                    file: interpreter.file,
                });
            }
            Ok(ExecutableKind::Script {
                arguments,
                path: outer,
                interpreter: runs,
            })
        }
        ExecutableKind::Unknown => {
            let shown = words.next().unwrap_or_default().escaped();
            Err(Problem::new(
                ENOEXEC,
                format!("its interpreter `{shown}` is no program of this machine"),
            ))
        }
    }
}

fn no_interpreter(name: &[u8]) -> Problem {
    let shown = Bytes(name.to_vec()).escaped();
    Problem::new(
        ENOENT,
        format!("its interpreter `{shown}` is not there; install it"),
    )
}

/// Finds a program as `env` does.
fn search_program(
    machine: &Places<'_>,
    search: &Search<'_>,
    name: &[u8],
) -> Result<UnixPath, Problem> {
    let text = std::str::from_utf8(name).map_err(|_| no_interpreter(name))?;
    if text.contains('/') {
        return machine.normal(text).ok_or_else(|| no_interpreter(name));
    }
    search
        .programs
        .iter()
        .filter_map(|directory| directory.join(text).ok())
        .find(|path| {
            machine
                .look(path)
                .is_ok_and(|file| file.kind == FileKind::File && file.mode & 0o111 != 0)
        })
        .ok_or_else(|| no_interpreter(name))
}
