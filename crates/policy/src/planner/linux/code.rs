//! Code that a program brings or makes: what the rule `writable_code` has to do
//! with what is started.

use belljar_plan::Preset;

use super::super::tree::Tree;
use crate::{
    effective::Effective,
    policy::Right,
    verified::{Executable, ExecutableKind, FileKind, Subject, Verified},
};

/// What is started, where that was found without looking at the jar.
pub(super) fn executable(verified: &Verified) -> Option<&Executable> {
    match &verified.subject {
        Subject::Plugin(plugin) => plugin.entry.as_ref().ok(),
        Subject::Program(asked) => asked
            .candidates
            .iter()
            .find_map(|candidate| candidate.found.as_ref().ok()),
    }
}

/// Why a guest could have the kernel itself make memory that is writable and
/// executable, or give it code that it wrote to a file: a program may ask for
/// the one in its own file when it is started, and no filter sees it; the other
/// takes a place that is granted for writing and shown as runnable as well.
pub(super) fn asked_for(verified: &Verified, effective: &Effective, tree: &Tree) -> Option<String> {
    if let Some((written, run)) = tree.written_and_run() {
        return Some(format!(
            "what is written to {written} in the jar can be run from {run}"
        ));
    }
    let asks =
        "asks for memory that is writable and executable (an executable stack, or such a segment)";
    if executable(verified).is_some_and(Executable::wants_writable_code) {
        return Some(format!("the program {asks}"));
    }
    if !effective.subprocesses {
        return None;
    }
    if let Subject::Plugin(plugin) = &verified.subject
        && let Some(path) = &plugin.writable_code
    {
        return Some(format!("the plugin's {path} can be started and {asks}"));
    }
    // Whatever lies there may be started; what can be written never is.
    let readable = effective.grants.iter().filter(|grant| !grant.write);
    for grant in readable {
        let Ok(found) = verified.survey.find(&grant.path) else {
            continue;
        };
        let (path, origin) = (&grant.path, &grant.origin);
        if verified.writable_code.contains(&found.path) {
            return Some(format!("{path} ({origin}) can be started and {asks}"));
        }
        if found.kind == FileKind::Directory {
            return Some(format!(
                "programs in {path} ({origin}) can be started, and one of them might ask for memory that is writable \
                 and executable; grant those by name that it starts"
            ));
        }
    }
    None
}

/// Programs that make code while they run, and do not start where they may not.
const COMPILERS: [&str; 12] = [
    "node", "nodejs", "deno", "bun", "java", "javac", "dotnet", "luajit", "pypy", "pypy3", "julia",
    "mono",
];

/// What is known of a program that will not do without a right.
pub(super) fn foreseen(executable: &Executable, effective: &Effective) -> Option<String> {
    let program = match &executable.kind {
        ExecutableKind::Script { interpreter, .. } => &interpreter.file,
        ExecutableKind::Elf { .. } | ExecutableKind::Unknown => &executable.file,
    };
    let name = program.path.name()?;
    let makes_code = COMPILERS.contains(&name);
    (makes_code && effective.preset.value == Preset::Strict && !effective.jit).then(|| {
        format!(
            "{name} makes code while it runs, which the rule writable_code refuses, and most likely does not start without \
             the right `jit`: {}",
            Right::Jit.remedy()
        )
    })
}
