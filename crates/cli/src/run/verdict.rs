//! What is said on stderr of an outcome: nothing where the program ended by
//! itself, else one line for the cause and one for the remedy.

use std::{io, path::Path};

use belljar_policy::{
    data::{
        Bytes, Limit, Outcome, Plan, Report, Rule, Step, Strength, outcome::Unmet,
        report::Violation,
    },
    policy::Right,
    units::{flag, format_value},
};

/// No more descriptors, and no more tasks.
const EMFILE: i32 = 24;
const EAGAIN: i32 = 11;
/// A file would be larger than the caller's limit.
const EFBIG: i32 = 27;

/// The words for a report's outcome; none for a clean run, for a failure of the
/// program's own, and for a stop, whose cause the operator knows. A program that
/// failed and was refused what a right would give is told of that right.
pub(super) fn words(report: &Report) -> Option<String> {
    match &report.outcome {
        Outcome::Exited { code: 0 } | Outcome::Stopped { .. } => None,
        Outcome::Exited { .. } | Outcome::Signaled { .. } => missing(report),
        Outcome::Limit { limit } => Some(reached(report, *limit)),
        Outcome::Violation { rule } => Some(broken(report, *rule)),
        Outcome::Refused { unmet } => Some(refused(unmet)),
        Outcome::SetupFailed { step, errno } => {
            let failed = format!("set-up failed at `{step}`: {}", reason(*errno));
            Some(match *errno {
                EFBIG => format!(
                    "{failed}\nremedy: let belljar write larger files: `ulimit -f unlimited`; what it makes in memory counts"
                ),
                EMFILE => format!("{failed}\nremedy: {}", crate::words::MORE_FILES),
                EAGAIN => format!("{failed}\nremedy: {}", crate::words::MORE_TASKS),
                _ => failed,
            })
        }
        Outcome::Lost => Some(
            "lost: nobody can tell how it ended, since the launcher or the jar's first process was killed"
                .to_owned(),
        ),
        Outcome::NotRunnable { path, errno } => Some(not_runnable(path, *errno)),
        Outcome::NotFound { path, searched } => Some(not_found(path, searched)),
    }
}

/// The program ended by itself, and not well.
pub(super) fn failed(report: &Report) -> bool {
    matches!(
        report.outcome,
        Outcome::Exited { code: 1.. } | Outcome::Signaled { .. }
    )
}

/// An argument that names a file of the caller's working directory, which the jar
/// does not show: the program looks for it where it starts instead.
pub(super) fn unseen_argument(plan: &Plan) -> Option<String> {
    let here = std::env::current_dir().ok()?;
    let start = plan.steps.iter().find_map(|step| match step {
        Step::Workdir { path } => Some(path),
        _ => None,
    })?;
    let Some(Step::Exec { arguments, .. }) = plan.steps.last() else {
        return None;
    };
    if here.as_os_str().as_encoded_bytes() == start.0 {
        return None;
    }
    arguments
        .iter()
        .skip(1)
        .filter_map(|argument| std::str::from_utf8(&argument.0).ok())
        .find(|text| {
            let plain = !text.is_empty() && !text.starts_with(['/', '-']);
            plain && here.join(text).symlink_metadata().is_ok()
        })
        .map(|text| {
            let (file, start) = (one_line(text), start.escaped());
            let is_home = std::env::var_os("HOME").is_some_and(|home| here == Path::new(&home));
            let remedy = match is_home {
                // All that lies in a home is much to show for one file.
                true => format!(
                    "`--read {}/{file}:{}/{file}` shows it where the program looks for it",
                    one_line(&here.to_string_lossy()),
                    start.trim_end_matches('/'),
                ),
                false => "`--read .` shows it, and has the program start there".to_owned(),
            };
            format!(
                "`{file}` is a file of your working directory, which the jar does not show: the program started in {start}\n\
                 remedy: {remedy}"
            )
        })
}

/// Where to ask further, for a program that failed and was refused something that
/// nothing was said of yet.
pub(super) fn hint(report: &Report, kept: bool) -> Option<String> {
    let by_right = |rule: Rule| Right::ALL.iter().any(|right| right.rule() == rule);
    let other = report
        .violations
        .iter()
        .filter(|tried| !by_right(tried.rule))
        .map(|tried| tried.count)
        .sum::<u64>();
    (failed(report) && kept && other > 0).then(|| {
        let (calls, them) = match other {
            1 => ("one call was denied".to_owned(), "it"),
            many => (format!("{many} calls were denied"), "them"),
        };
        format!("{calls}: `belljar why --last` tells which, and what would allow {them}")
    })
}

/// Rights that the program would have needed, as far as that was seen; or what
/// the plan foresaw.
fn missing(report: &Report) -> Option<String> {
    let mut lines = Vec::new();
    for right in Right::ALL {
        let tried: Vec<&Violation> = report
            .violations
            .iter()
            .filter(|tried| tried.rule == right.rule())
            .collect();
        let Some(first) = tried.first() else {
            continue;
        };
        let count: u64 = tried.iter().map(|tried| tried.count).sum();
        let times = if count == 1 {
            "once".to_owned()
        } else {
            format!("{count} times")
        };
        lines.push(format!(
            "rule {} refused {}: {} ({times}), which the right `{}` would allow",
            right.rule(),
            first.action,
            first.syscall,
            right.word()
        ));
        lines.push(format!("remedy: if the program may, {}", right.remedy()));
    }
    if lines.is_empty() {
        lines.extend(
            report
                .notes
                .iter()
                .filter(|note| note.contains("`--allow "))
                .cloned(),
        );
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn reached(report: &Report, limit: Limit) -> String {
    let name = limit.word();
    let flag = flag(limit);
    let set = report.limits.iter().find(|set| set.limit == limit);
    match set.and_then(|set| Some((set.hard?, &set.decided_by))) {
        Some((hard, origin)) => {
            let more = format_value(limit, hard.saturating_mul(2)).replace(' ', "");
            format!(
                "limit reached: {name}, {} ({origin})\nremedy: if it may have more, say so: `{flag} {more}`",
                format_value(limit, hard),
            )
        }
        None => format!("limit reached: {name}\nremedy: if it may have more, say so with `{flag}`"),
    }
}

fn broken(report: &Report, rule: Rule) -> String {
    let tried = report.violations.iter().rfind(|tried| tried.rule == rule);
    match tried {
        Some(tried) => format!("ended for a violation of the rule {rule}: {}", tried.action),
        None => format!("ended for a violation of the rule {rule}"),
    }
}

/// Every cause once, with the rules that it is about, and what to do about it.
fn refused(unmet: &[Unmet]) -> String {
    let mut lines = Vec::new();
    for (at, this) in unmet.iter().enumerate() {
        let same = |other: &&Unmet| other.reason == this.reason && other.remedy == this.remedy;
        if unmet[..at].iter().any(|earlier| same(&earlier)) {
            continue;
        }
        let rules: Vec<&Unmet> = unmet.iter().filter(same).collect();
        lines.extend(unheld(&rules, &one_line(&this.reason)));
        let mut remedy = one_line(&this.remedy);
        let flags: Vec<String> = rules
            .iter()
            .map(|unmet| format!("--best-effort {}", unmet.rule))
            .collect();
        let said = flags.iter().all(|flag| remedy.contains(flag.as_str()));
        if !said && rules.iter().all(|unmet| can_do_without(unmet)) {
            remedy = format!("{remedy}; to run without, say `{}`", flags.join(" "));
        }
        if !remedy.is_empty() {
            lines.push(format!("remedy: {remedy}"));
        }
    }
    lines.join("\n")
}

/// A jar can be made although the rule is not held so: the rest of what a
/// machine refuses, a jar is made of.
fn can_do_without(unmet: &Unmet) -> bool {
    unmet
        .available
        .is_some_and(|available| available > Strength::None)
        || matches!(
            unmet.rule,
            Rule::Processes
                | Rule::Sockets
                | Rule::Syscalls
                | Rule::Nesting
                | Rule::Exec
                | Rule::WritableCode
        )
}

/// A cause, with the rules that are demanded, how strongly, and what there is; for
/// several a line each. Of a grant only the cause.
fn unheld(rules: &[&Unmet], reason: &str) -> Vec<String> {
    let told: Vec<String> = rules
        .iter()
        .filter_map(|unmet| {
            let (required, available) = (unmet.required?, unmet.available?);
            Some(format!("{} ({required}, here {available})", unmet.rule))
        })
        .collect();
    match told.as_slice() {
        [] => vec![format!("refused: {reason}")],
        [one] => vec![format!("refused: rule {one} cannot be held: {reason}")],
        many => std::iter::once(format!(
            "refused: {} rules cannot be held: {reason}",
            many.len()
        ))
        .chain(many.iter().map(|rule| format!("  {rule}")))
        .collect(),
    }
}

/// A program that is there and cannot be started, with what to do about it.
pub(crate) fn not_runnable(path: &Bytes, errno: i32) -> String {
    let said = format!("`{}` cannot be started: {}", path.escaped(), reason(errno));
    match to_run(errno) {
        Some(remedy) => format!("{said}\nremedy: {remedy}"),
        None => said,
    }
}

/// What to do about a program that the kernel does not start, for this reason.
pub(crate) fn to_run(errno: i32) -> Option<&'static str> {
    use rustix::io::Errno;
    Some(match Errno::from_raw_os_error(errno) {
        Errno::NOEXEC => {
            "it must be a program for this machine, or a script whose first line names its interpreter, such as `#!/bin/sh`"
        }
        Errno::ACCESS => "it must be a file that may be executed: `chmod +x` makes it one",
        Errno::NOENT => {
            "the interpreter or loader that it names must be there: look at its first line, or at `file`"
        }
        Errno::TOOBIG => {
            "its arguments and variables together are too many; give it some in a file or on stdin"
        }
        _ => return None,
    })
}

/// A program that is nowhere.
pub(crate) fn not_found(path: &Bytes, searched: &[String]) -> String {
    let shown = path.escaped();
    if path.0.contains(&b'/') {
        return format!("there is no program `{shown}`");
    }
    format!(
        "there is no program `{shown}` in {}\nremedy: a name with a slash is taken from this machine, such as `./{shown}`",
        one_line(&searched.join(":")),
    )
}

fn reason(errno: i32) -> String {
    match errno {
        0 => "it was cut short".to_owned(),
        errno => io::Error::from_raw_os_error(errno).to_string(),
    }
}

/// A reason may quote a plugin; it cannot start a line of its own.
fn one_line(text: &str) -> String {
    crate::words::one_line(text)
}

#[cfg(test)]
mod tests {
    use belljar_policy::data::{
        Strength,
        outcome::StoppedBy,
        report::{LimitReport, SCHEMA},
    };

    use super::*;

    fn report(outcome: Outcome) -> Report {
        Report {
            schema: SCHEMA,
            jar: "j".into(),
            task: None,
            plugin: None,
            plan_digest: None,
            reason: outcome.reason(),
            outcome,
            limit_changes: Vec::new(),
            limits_hit: Vec::new(),
            limits: vec![LimitReport {
                limit: Limit::Memory,
                soft: None,
                hard: Some(128 << 20),
                used: None,
                decided_by: "preset strict".into(),
            }],
            usage: Default::default(),
            enforcement: Vec::new(),
            landlock: None,
            violations: Vec::new(),
            denials: Default::default(),
            observations: None,
            symptoms: Vec::new(),
            dropped: Vec::new(),
            weakenings: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn unheld(rule: Rule, reason: &str, remedy: &str) -> Unmet {
        Unmet {
            rule,
            required: Some(Strength::Kernel),
            available: Some(Strength::None),
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    fn ungranted(reason: &str, remedy: &str) -> Unmet {
        Unmet {
            rule: Rule::Files,
            required: None,
            available: None,
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    #[test]
    fn a_run_that_ended_by_itself_or_was_stopped_is_not_talked_about() {
        for outcome in [
            Outcome::Exited { code: 3 },
            Outcome::Signaled {
                signal: 11,
                name: "SEGV".into(),
                core: false,
            },
            Outcome::Stopped {
                by: StoppedBy::Signal(15),
                grace_used: true,
            },
        ] {
            assert_eq!(words(&report(outcome)), None);
        }
    }

    #[test]
    fn a_program_that_failed_for_want_of_a_right_is_told_which() {
        let tried = |rule, syscall: &str, count| Violation {
            id: "jar-0.1".into(),
            rule,
            action: "another program".into(),
            syscall: syscall.into(),
            arguments: Vec::new(),
            answer: "EPERM".into(),
            pid: 7,
            count,
        };
        let mut failed = report(Outcome::Exited { code: 1 });
        failed.violations = vec![
            tried(Rule::Syscalls, "bpf", 9),
            tried(Rule::Exec, "execve", 2),
            tried(Rule::Exec, "execveat", 1),
        ];
        let said = words(&failed).unwrap();
        assert!(
            said.starts_with(
                "rule exec refused another program: execve (3 times), which the right `subprocesses` would allow\n\
                 remedy: if the program may, grant it: say `--allow subprocesses`, or "
            ),
            "{said}"
        );
        assert_eq!(said.lines().count(), 2);
        // It went well without.
        failed.outcome = Outcome::Exited { code: 0 };
        assert_eq!(words(&failed), None);
    }

    #[test]
    fn a_program_that_failed_and_was_denied_calls_is_told_where_to_ask() {
        let mut failed = report(Outcome::Exited { code: 1 });
        assert_eq!(hint(&failed, true), None);
        failed.violations = vec![Violation {
            id: "jar-0.1".into(),
            rule: Rule::Nesting,
            action: "a new namespace".into(),
            syscall: "unshare".into(),
            arguments: Vec::new(),
            answer: "EPERM".into(),
            pid: 7,
            count: 3,
        }];
        let said = hint(&failed, true).unwrap();
        assert!(
            said.starts_with("3 calls were denied: `belljar why --last`"),
            "{said}"
        );
        failed.violations[0].count = 1;
        let said = hint(&failed, true).unwrap();
        assert!(
            said.starts_with("one call was denied: ") && said.ends_with("allow it"),
            "{said}"
        );
        // Nothing was kept to ask about, or the program did without.
        assert_eq!(hint(&failed, false), None);
        failed.outcome = Outcome::Exited { code: 0 };
        assert_eq!(hint(&failed, true), None);
    }

    #[test]
    fn a_limit_is_told_with_its_value_and_who_set_it() {
        assert_eq!(
            words(&report(Outcome::Limit {
                limit: Limit::Memory
            }))
            .unwrap(),
            "limit reached: memory, 128 MiB (preset strict)\n\
             remedy: if it may have more, say so: `--memory 256MiB`"
        );
        assert_eq!(
            words(&report(Outcome::Limit { limit: Limit::Wall })).unwrap(),
            "limit reached: wall\nremedy: if it may have more, say so with `--wall`"
        );
    }

    #[test]
    fn a_refusal_gives_every_cause_once_with_the_rules_that_it_is_about() {
        let outcome = Outcome::Refused {
            unmet: vec![
                unheld(Rule::Files, "no namespaces", "sysctl"),
                unheld(Rule::Syscalls, "no\nfilter", "wait"),
                unheld(Rule::Tasks, "no namespaces", "sysctl"),
                ungranted("not granted: /data", "--read /data"),
            ],
        };
        assert_eq!(
            words(&report(outcome)).unwrap(),
            "refused: 2 rules cannot be held: no namespaces\n  \
               files (kernel, here none)\n  \
               tasks (kernel, here none)\n\
             remedy: sysctl\n\
             refused: rule syscalls (kernel, here none) cannot be held: no\\u{a}filter\n\
             remedy: wait; to run without, say `--best-effort syscalls`\n\
             refused: not granted: /data\n\
             remedy: --read /data"
        );
    }

    #[test]
    fn what_the_remedy_says_already_is_not_said_again() {
        let remedy = "take that out, or accept it by `--best-effort nesting`";
        let outcome = Outcome::Refused {
            unmet: vec![unheld(Rule::Nesting, "given up", remedy)],
        };
        let said = words(&report(outcome)).unwrap();
        assert_eq!(said.matches("--best-effort nesting").count(), 1, "{said}");
    }

    #[test]
    fn what_cannot_start_is_told_with_its_cause() {
        let cases = [
            (
                Outcome::NotFound {
                    path: "x".into(),
                    searched: vec!["/usr/bin".into(), "/bin".into()],
                },
                "there is no program `x` in /usr/bin:/bin\n\
                 remedy: a name with a slash is taken from this machine, such as `./x`",
            ),
            (
                Outcome::NotFound {
                    path: "./x\x1b".into(),
                    searched: Vec::new(),
                },
                "there is no program `./x\\u{1b}`",
            ),
            (
                Outcome::NotRunnable {
                    path: "/x".into(),
                    errno: 13,
                },
                "`/x` cannot be started: Permission denied (os error 13)\n\
                 remedy: it must be a file that may be executed: `chmod +x` makes it one",
            ),
            (
                Outcome::SetupFailed {
                    step: "root /tmp".into(),
                    errno: 1,
                },
                "set-up failed at `root /tmp`: Operation not permitted (os error 1)",
            ),
        ];
        for (outcome, expected) in cases {
            assert_eq!(words(&report(outcome)).unwrap(), expected);
        }
    }
}
