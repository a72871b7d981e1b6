//! What an idle jar keeps: growth of this host and of its launcher, pid 1's
//! private pages, and beside them what the kernel keeps.

use std::path::Path;

use crate::{
    idle,
    library::Library,
    machine::{children, memory, private, program},
    output::{Row, Section, Verdict},
    sample::Summary,
};

/// Launches jars that wait, and looks at everybody before and after.
pub(crate) fn run(jars: usize, idle: &Path, library: &Result<Library, String>) -> Section {
    let mut section = Section {
        name: "memory",
        title: format!("memory of an idle jar, of {jars}"),
        unit: "KiB",
        compared_to: None,
        rows: Vec::new(),
        verdicts: Vec::new(),
        notes: Vec::new(),
    };
    if let Err(reason) = measure(jars, idle, library, &mut section) {
        section.rows.push(Row::new("idle jars", Err(reason)));
    }
    section
}

fn measure(
    jars: usize,
    idle: &Path,
    library: &Result<Library, String>,
    section: &mut Section,
) -> Result<(), String> {
    let library = library.as_ref().map_err(Clone::clone)?;
    idle::room_for(jars)?;
    // The first jar makes what every later one shares.
    let first = library.keep(idle, 2)?;
    let own = std::process::id();
    let before = (private(own), of_all(&launchers(own)), memory());
    let kept = library.keep(idle, jars)?;
    // There are others by now: none has more than so many jars.
    let launchers = launchers(own);
    let after = (private(own), of_all(&launchers), memory());
    let below = launchers.iter().flat_map(|launcher| children(*launcher));
    let inits: Vec<f64> = below.filter_map(private).collect();
    #[expect(clippy::cast_precision_loss, reason = "a number of jars is small")]
    let each = |before: Option<f64>, after: Option<f64>| Some((after? - before?) / jars as f64);
    let host = each(before.0, after.0);
    let launcher = each(before.1, after.1);
    let init = Summary::of(inits);
    library.end(kept);
    library.end(first);

    section.rows.push(single("host, growth a jar", host));
    section
        .rows
        .push(single("launchers, growth a jar", launcher));
    section.rows.push(Row::new(
        "pid 1 of a jar, private pages",
        init.ok_or_else(unreadable).map(Some),
    ));
    if let (Some(before), Some(after)) = (before.2, after.2) {
        let kernel: [(&str, f64, f64); 4] = [
            ("kernel: slab", before.slab, after.slab),
            ("kernel: stacks", before.kernel_stack, after.kernel_stack),
            ("kernel: page tables", before.page_tables, after.page_tables),
            ("kernel: per processor", before.per_cpu, after.per_cpu),
        ];
        for (name, before, after) in kernel {
            section
                .rows
                .push(single(name, each(Some(before), Some(after))));
        }
        // What is no longer available: the kernel's, pid 1's and the guest's own.
        section.rows.push(single(
            "machine: MemAvailable less",
            each(Some(after.available), Some(before.available)),
        ));
    }
    let whole = host
        .zip(launcher)
        .zip(init)
        .map(|((host, launcher), init)| host + launcher + init.p50);
    section.verdicts.push(Verdict::at_most(
        "host + launcher + pid 1, KiB a jar",
        50.0,
        whole,
    ));
    Ok(())
}

/// What each of them keeps, together.
fn of_all(processes: &[u32]) -> Option<f64> {
    processes.iter().map(|process| private(*process)).sum()
}

/// Launchers are the children that run from memory; seen only by who may look.
fn launchers(own: u32) -> Vec<u32> {
    let own_children = children(own);
    let in_memory = |pid: &u32| {
        std::fs::read_link(program(*pid))
            .is_ok_and(|path| path.as_os_str().to_string_lossy().contains("memfd:"))
    };
    let seen: Vec<u32> = own_children.iter().copied().filter(in_memory).collect();
    match seen.is_empty() {
        true => own_children,
        false => seen,
    }
}

fn unreadable() -> String {
    "may not be read by this user".to_owned()
}

fn single(name: &str, value: Option<f64>) -> Row {
    Row::new(
        name,
        value
            .ok_or_else(unreadable)
            .map(|value| Summary::of(vec![value])),
    )
}
