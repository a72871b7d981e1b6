//! Which file is executed, with which arguments: `#!` chains are resolved
//! here, so that starting a script is one exec.

use belljar_plan::{Bytes, Rule, outcome::Unmet};

use super::tree::{Node, Tree};
use crate::{
    path::UnixPath,
    refusal::Refusal,
    verified::{Executable, ExecutableKind, FileKind, Found, Library, Program},
};

/// What the last step executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exec {
    /// Absolute, in the jar.
    pub(super) path: UnixPath,
    /// The arguments, the program's own name first.
    pub(super) arguments: Vec<Bytes>,
}

/// The longest single argument or variable: `MAX_ARG_STRLEN` in execve(2), with its NUL.
const LONGEST_STRING: usize = 131_072;

/// The exec of an executable that is at `path` in the jar.
///
/// # Errors
/// Where it is no program that can be run here.
pub(super) fn exec(
    path: &UnixPath,
    name: Bytes,
    executable: &Executable,
    arguments: impl IntoIterator<Item = Bytes>,
) -> Result<Exec, Refusal> {
    runnable(path, executable)?;
    let exec = match &executable.kind {
        ExecutableKind::Script {
            arguments: of_interpreter,
            path: interpreter,
            interpreter: file,
        } => {
            runnable(interpreter, file)?;
            Exec {
                path: interpreter.clone(),
                arguments: of_interpreter
                    .iter()
                    .cloned()
                    .chain([path.as_str().into()])
                    .chain(arguments)
                    .collect(),
            }
        }
        ExecutableKind::Elf { .. } | ExecutableKind::Unknown => Exec {
            path: path.clone(),
            arguments: std::iter::once(name).chain(arguments).collect(),
        },
    };
    for (index, argument) in exec.arguments.iter().enumerate() {
        if argument.0.len() >= LONGEST_STRING {
            return Err(Refusal::Invalid {
                reason: format!(
                    "argument {index} has {} bytes; the system takes at most {} in one argument: pass it by stdin or a file",
                    argument.0.len(),
                    LONGEST_STRING - 1
                ),
            });
        }
    }
    Ok(exec)
}

fn runnable(path: &UnixPath, executable: &Executable) -> Result<(), Refusal> {
    const EACCES: i32 = 13;
    let not_runnable = |remedy: &str| {
        Err(Refusal::NotRunnable {
            path: path.as_str().into(),
            errno: EACCES,
            remedy: remedy.to_owned(),
        })
    };
    if executable.file.kind != FileKind::File {
        return not_runnable(
            "name a regular file; a directory that is a plugin needs a belljar.toml",
        );
    }
    if executable.file.mode & 0o111 == 0 {
        return not_runnable("make it executable: chmod +x");
    }
    Ok(())
}

/// A bare program: the first candidate that can be seen in the jar, or the one
/// place that was named.
///
/// # Errors
/// [`Refusal::NotFound`] or [`Refusal::NotRunnable`].
pub(super) fn choose<'a>(
    program: &'a Program,
    visible: impl Fn(&UnixPath, &Found) -> bool,
    searched: &[String],
) -> Result<(&'a UnixPath, &'a Executable), Refusal> {
    const ENOENT: i32 = 2;
    const ENOTDIR: i32 = 20;
    let not_found = |searched: Vec<String>| Refusal::NotFound {
        asked: program.asked.clone(),
        searched,
    };
    if program.asked.0.contains(&b'/') {
        let Some(candidate) = program.candidates.first() else {
            return Err(not_found(Vec::new()));
        };
        return match &candidate.found {
            Ok(executable) => Ok((&candidate.path, executable)),
            Err(ENOENT | ENOTDIR) => Err(not_found(
                candidate
                    .path
                    .parent()
                    .map(|directory| vec![directory.as_str().to_owned()])
                    .unwrap_or_default(),
            )),
            Err(errno) => Err(Refusal::NotRunnable {
                path: program.asked.clone(),
                errno: *errno,
                remedy: "make it readable and executable for the user who starts belljar"
                    .to_owned(),
            }),
        };
    }
    program
        .candidates
        .iter()
        .filter_map(|candidate| Some((&candidate.path, candidate.found.as_ref().ok()?)))
        // As execvp(3) does: what cannot be executed is passed over.
        .find(|(path, executable)| {
            executable.file.mode & 0o111 != 0 && visible(path, &executable.file)
        })
        .ok_or_else(|| not_found(searched.to_vec()))
}

/// Everything besides its own file that an executable needs to start: the
/// interpreter's file, loaders, libraries and runtime directories.
pub(super) fn needs(executable: &Executable) -> Vec<Library> {
    match &executable.kind {
        ExecutableKind::Elf {
            loader,
            libraries,
            runtime,
            ..
        } => loader
            .iter()
            .chain(libraries)
            .chain(runtime)
            .cloned()
            .collect(),
        ExecutableKind::Script {
            path, interpreter, ..
        } => {
            let mut all = vec![Library {
                path: path.clone(),
                file: interpreter.file.clone(),
            }];
            all.extend(needs(interpreter));
            all
        }
        ExecutableKind::Unknown => Vec::new(),
    }
}

/// What the runtime that an executable is, or is run by, keeps outside of the
/// system's directories.
pub(super) fn elsewhere(executable: &Executable) -> &[Library] {
    match &executable.kind {
        ExecutableKind::Elf { elsewhere, .. } => elsewhere,
        ExecutableKind::Script { interpreter, .. } => elsewhere(interpreter),
        ExecutableKind::Unknown => &[],
    }
}

/// The interpreter of a script, where it is not visible in the jar: a script
/// chooses its own `#!` line, so that it must not open a door by it.
pub(super) fn hidden_interpreter(
    executable: &Executable,
    visible: impl Fn(&UnixPath, &Found) -> bool,
) -> Option<Unmet> {
    let ExecutableKind::Script {
        path, interpreter, ..
    } = &executable.kind
    else {
        return None;
    };
    if visible(path, &interpreter.file) {
        return None;
    }
    Some(Unmet {
        rule: Rule::Files,
        required: None,
        available: None,
        reason: format!("the script's interpreter {path} is not visible in the jar"),
        remedy: format!(
            "say `--read {}`",
            interpreter
                .file
                .path
                .parent()
                .map_or_else(|| path.to_string(), |directory| directory.to_string())
        ),
    })
}

/// A file that is shown at a place, and by a link at another where the machine
/// has one there.
pub(super) fn expose(
    tree: &mut Tree,
    path: &UnixPath,
    found: &Found,
    mount: impl FnOnce(&Found) -> Node,
) {
    if !tree.shows_itself(&found.path) {
        tree.put(&found.path, mount(found));
    }
    if *path != found.path
        && !tree.shows(path, &found.path)
        && tree
            .mount_over(path)
            .is_none_or(|(_, over)| over.shows.is_none())
    {
        tree.put_new(
            path,
            Node::Link {
                target: found.path.as_str().into(),
            },
        );
    }
}
