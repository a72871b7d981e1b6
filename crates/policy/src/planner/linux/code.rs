//! Code that a program brings or makes: what the rule `writable_code` has to do
//! with what is started.

use belljar_plan::Preset;

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
/// executable: a program may ask for that in its file when it is started, and no
/// filter sees it.
pub(super) fn asked_for(verified: &Verified, effective: &Effective) -> Option<String> {
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
    let granted = effective.grants.iter().find(|grant| {
        !grant.write
            && verified
                .survey
                .find(&grant.path)
                .is_ok_and(|found| found.kind == FileKind::Directory || found.mode & 0o111 != 0)
    });
    granted.map(|grant| {
        format!(
            "programs in {} ({}) can be started, and one of them might ask for memory that is writable and executable",
            grant.path, grant.origin
        )
    })
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
