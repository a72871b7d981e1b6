//! The page `docs/syscalls.md`, written from the tables themselves.

use std::fmt::Write as _;

use belljar_plan::{
    Filter as Asked, Preset,
    filter::{Code, Exec, Unix},
};

use super::{CALLS, Call, Denial, Group, Seen, Verdict, filter};

const HEAD: &str = "\
# System calls

Which calls a jar may make, by group, with the reason of each. This page is written from the tables in
`crates/policy/src/seccomp` by `cargo xtask schema`, and a test holds the two together.

- A call that is not on this page is newer than it and answers `ENOSYS` in every jar.
- Calls by another convention (32-bit programs, `int 0x80`, x32) answer `EPERM`: 32-bit programs do not run in a jar.
- *told*: the denied call is an event `sandbox.violation`, where the supervisor can listen; the guest sees the error.
  *quiet*: it only fails, since libcs probe for it or ordinary programs do it often.
- A policy's `[seccomp] allow` lets calls through by name, whole, and the plan names each as a weakening; `deny` takes calls
  away, and wins.
- What a denied call answers does not depend on whether anybody listens. Where the kernel gives no listener (an outer
  sandbox has one, or Linux is older than 5.19), the plan says that there are no events.

";

/// The whole page.
///
/// # Panics
/// Never: a string takes all that is written.
#[must_use]
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str(
        "| group | minimal, standard | strict | a call that is refused |\n|---|---|---|---|\n",
    );
    for group in Group::ALL {
        let word = |preset| if group.allowed(preset) { "yes" } else { "no" };
        let (loose, strict) = (word(Preset::Standard), word(Preset::Strict));
        let answer = answer(&group.denial());
        writeln!(
            page,
            "| `{}` | {loose} | {strict} | {answer} |",
            group.word()
        )
        .expect("a string");
    }
    for group in Group::ALL {
        let calls: Vec<&Call> = CALLS.iter().filter(|call| call.group == *group).collect();
        let names: Vec<String> = calls
            .iter()
            .map(|call| format!("`{}`", call.name))
            .collect();
        let text = format!(
            "\n## {}\n\n{}.\n\n{}\n",
            group.word(),
            sentence(group.reason()),
            names.join(" ")
        );
        page.push_str(&text);
        let mut lines: Vec<String> = Vec::new();
        for call in calls {
            for line in conditions(call) {
                match lines.iter_mut().find(|known| known.ends_with(&line)) {
                    Some(known) => *known = format!("`{}`, {known}", call.name),
                    None => lines.push(format!("`{}`: {line}", call.name)),
                }
            }
        }
        if !lines.is_empty() {
            page.push('\n');
        }
        for line in lines {
            writeln!(page, "- {line}").expect("a string");
        }
    }
    page.push_str(TAIL);
    page
}

const TAIL: &str = "
## What remains possible where code is fixed

`writable_code` is claimed only where the whole set holds: no mapping that is writable and executable, none that becomes
executable, no executable memory that is shared or has no file, no memfd, no System V segment, `noexec` on every writable
mount, nothing that can be written at one place of the jar and run from another, `/proc` read-only, and `PR_SET_MDWE` on
kernels that have it (6.3), which refuses the same by a second hand. A guest can still interpret code of its own (a script, a
table), and reuse what is mapped (return-oriented programming).

## What remains possible where memory is not shared

A file can be mapped so that many share it, and `/dev/zero` gives as much of such memory as a guest asks for: no filter sees
what a descriptor is. The limit `memory` says so of itself: shared memory escapes it where no cgroup counts.
";

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first: String = characters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    format!("{first}{}", characters.as_str())
}

fn answer(denial: &Denial) -> String {
    let seen = match denial.seen {
        Seen::Told => "told",
        Seen::Quiet | Seen::Never => "quiet",
    };
    format!("`{}`, {seen}", denial.errno.name())
}

/// What of a call is refused although its group is let through, or let through
/// although it is not: a line each, with where it holds.
fn conditions(call: &Call) -> Vec<String> {
    let mut found: Vec<(String, Vec<&'static str>)> = Vec::new();
    for (place, asked) in settings() {
        let decision = filter::decision(call, &asked);
        let refusals = decision
            .clauses
            .iter()
            .map(|clause| clause.verdict)
            .chain([decision.otherwise]);
        for verdict in refusals {
            let line = match verdict {
                Verdict::Deny(denial) if denial.what != call.group.word() => format!(
                    "{} ({}; rule `{}`)",
                    denial.what,
                    answer(&denial),
                    denial.rule
                ),
                Verdict::Perform => {
                    "held until the supervisor has looked at a copy of the address and connected it"
                        .to_owned()
                }
                Verdict::Allow | Verdict::Observe | Verdict::Deny(_) => continue,
            };
            match found.iter_mut().find(|(known, _)| *known == line) {
                Some((_, places)) => {
                    if !places.contains(&place) {
                        places.push(place);
                    }
                }
                None => found.push((line, vec![place])),
            }
        }
    }
    found
        .into_iter()
        .map(|(line, places)| {
            if places.contains(&"") {
                return line;
            }
            // Then in every kind of it.
            if places.contains(&STRICT) {
                return format!("{line}, {STRICT}");
            }
            format!("{line}, {}", places.join(" and "))
        })
        .collect()
}

const STRICT: &str = "in `strict`";

/// The filters that differ, and where each is used.
fn settings() -> Vec<(&'static str, Asked)> {
    let standard = Asked {
        machine: "x86_64".to_owned(),
        preset: Preset::Standard,
        exec: Exec::Any,
        code: Code::Any,
        unix: Unix::Visible,
        internet: true,
        objects: true,
        allow: Vec::new(),
        deny: Vec::new(),
        events: true,
        observe: false,
    };
    let strict = Asked {
        preset: Preset::Strict,
        ..standard.clone()
    };
    let of = |asked: &Asked| asked.clone();
    vec![
        ("", of(&standard)),
        (
            "where sockets of the machine may be seen and the supervisor listens",
            Asked {
                unix: Unix::Performed,
                ..of(&standard)
            },
        ),
        (
            "where sockets of the machine may be seen and nobody listens",
            Asked {
                unix: Unix::Pairs,
                ..of(&standard)
            },
        ),
        (
            "where no network namespace holds the network",
            Asked {
                internet: false,
                ..of(&standard)
            },
        ),
        (STRICT, of(&strict)),
        (
            "in `strict` without the grant `subprocesses`",
            Asked {
                exec: Exec::Once,
                ..of(&strict)
            },
        ),
        (
            "in `strict` without the grant `jit`",
            Asked {
                code: Code::Fixed,
                ..strict
            },
        ),
    ]
}
