//! What runtimes are told of their memory, by the variables that each reads for that:
//! most take a part of what the machine has, which the kernel does not let them have here.
//! They may ignore it; what holds the limit is elsewhere.

use belljar_plan::{Limit, plan::PlannedLimit};

use crate::verified::{Executable, ExecutableKind};

/// What a program's runtime is told where its jar has a limit of memory: a variable and
/// its value.
pub(super) fn memory(
    program: Option<&Executable>,
    limits: &[PlannedLimit],
) -> Option<(&'static str, String)> {
    let mut of_memory = limits
        .iter()
        .filter(|planned| planned.limit == Limit::Memory);
    let bytes = of_memory.next().and_then(|planned| planned.hard)?;
    let mut program = program?;
    while let ExecutableKind::Script { interpreter, .. } = &program.kind {
        program = interpreter;
    }
    if matches!(program.kind, ExecutableKind::Elf { go: true, .. }) {
        // It collects harder from there on, and does not end: so a tenth is left.
        return Some(("GOMEMLIMIT", format!("{}B", bytes - bytes / 10)));
    }
    let path = program.file.path.as_str();
    let name = path.rsplit('/').next().unwrap_or(path);
    match name {
        // Beside the old space there are the young one, code, and the program itself.
        "node" | "nodejs" => {
            let most = (bytes - bytes / 4) >> 20;
            Some((
                "NODE_OPTIONS",
                format!("--max-old-space-size={}", most.max(1)),
            ))
        }
        // Of what it believes to have it takes a quarter, or a half where that is little.
        "java" | "javac" | "jar" | "javadoc" | "jshell" => {
            Some(("JAVA_TOOL_OPTIONS", format!("-XX:MaxRAM={bytes}")))
        }
        _ => None,
    }
}
