//! The verdict: one function from evidence to outcome, by the first cause.

use belljar_plan::{Limit, Outcome, Rule, outcome::StoppedBy};

use crate::sys::{self, cgroup::Whose};

/// What Belljar did about the jar first; nothing that comes later replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A limit was passed, and the jar killed for it.
    Limit(Limit),
    /// Somebody asked for its end.
    Stop(StoppedBy),
    /// A rule was broken for which the policy ends a jar. The call was not answered.
    Violation(Rule),
    /// Its tasks could no longer be seen, so that no limit held, and it was killed.
    Blind,
}

/// How the main process ended, as pid 1 saw it; `si_code` of waitid(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MainEnd {
    Exited(i32),
    Signaled { signal: i32, core: bool },
}

impl MainEnd {
    /// Reads a record; none for a code that no ended process has.
    pub(crate) fn from_record(code: i32, status: i32) -> Option<Self> {
        match code {
            1 => Some(Self::Exited(status)),
            2 | 3 => Some(Self::Signaled {
                signal: status,
                core: code == 3,
            }),
            _ => None,
        }
    }
}

/// Everything that the verdict rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// What Belljar did first.
    pub(crate) cause: Option<Cause>,
    /// Belljar sent SIGKILL to pid 1.
    pub(crate) killed: bool,
    /// pid 1's record of the main process. pid 1 sends it before it ends by
    /// itself, so where there is one, no SIGKILL of ours came before.
    pub(crate) main: Option<MainEnd>,
    /// pid 1's status by wait4(2); none where the launcher was lost.
    pub(crate) init: Option<i32>,
    /// The kernel ended tasks of it, since the jar came to its own limit of memory, or all
    /// jars of the host to theirs.
    pub(crate) out_of_memory: Option<Whose>,
    /// More was written to stdout and stderr than the limit lets through.
    pub(crate) output_over: bool,
}

const KILL: i32 = 9;

/// The verdict.
pub(crate) fn decide(evidence: &Evidence) -> Outcome {
    let by_itself = evidence.main.map(|end| match end {
        MainEnd::Exited(code) => Outcome::Exited {
            // The kernel gives the low eight bits; anything else is none of it.
            code: u8::try_from(code & 0xff).unwrap_or(u8::MAX),
        },
        MainEnd::Signaled { signal, core } => Outcome::Signaled {
            signal,
            name: sys::signal_name(signal),
            core,
        },
    });
    let over = Outcome::Limit {
        limit: Limit::Output,
    };
    let out_of_memory = Outcome::Limit {
        limit: Limit::Memory,
    };
    match (evidence.cause, by_itself) {
        (Some(Cause::Stop(by)), by_itself) => Outcome::Stopped {
            by,
            grace_used: evidence.killed && by_itself.is_none(),
        },
        // Whoever tried it has not gone on since.
        (Some(Cause::Violation(rule)), _) => Outcome::Violation { rule },
        // What was written came before the end of whoever wrote it.
        (Some(Cause::Limit(Limit::Output)), _) => over,
        (None, _) if evidence.output_over => over,
        // pid 1 is killed with the rest, most often before it could tell of any.
        (None, None) if evidence.out_of_memory.is_some() => out_of_memory,
        (None, Some(Outcome::Signaled { signal: KILL, .. }))
            if evidence.out_of_memory.is_some() =>
        {
            out_of_memory
        }
        (_, Some(outcome)) => outcome,
        (Some(Cause::Limit(limit)), None) => Outcome::Limit { limit },
        (Some(Cause::Blind) | None, None) => Outcome::Lost,
    }
}

/// What was noticed besides the verdict's cause.
pub(crate) fn symptoms(evidence: &Evidence, outcome: &Outcome) -> Vec<String> {
    const XCPU: i32 = 24;
    const XFSZ: i32 = 25;
    let mut symptoms = Vec::new();
    if let Some(end) = evidence.main {
        match end {
            MainEnd::Signaled { signal: XFSZ, .. } => symptoms.push("file_size?".to_owned()),
            MainEnd::Signaled { signal: XCPU, .. } => symptoms.push("cpu_time?".to_owned()),
            MainEnd::Signaled { signal: KILL, .. } if evidence.out_of_memory.is_none() => {
                symptoms.push("oom_kill?".to_owned());
            }
            _ => {}
        }
        if !matches!(outcome, Outcome::Exited { .. } | Outcome::Signaled { .. }) {
            symptoms.push(match end {
                MainEnd::Exited(code) => format!("main process exited {code}"),
                MainEnd::Signaled { signal, .. } => {
                    format!("main process ended by {}", sys::signal_name(signal))
                }
            });
        }
    }
    match (evidence.init, evidence.main) {
        (None, _) => symptoms.push("launcher lost".to_owned()),
        (Some(_), None) if !evidence.killed && evidence.out_of_memory.is_none() => {
            symptoms.push("pid 1 ended without a record; oom_kill?".to_owned());
        }
        _ => {}
    }
    let memory = Outcome::Limit {
        limit: Limit::Memory,
    };
    match evidence.out_of_memory {
        Some(Whose::Own) if *outcome != memory => {
            symptoms.push("tasks of it were killed at its limit of memory".to_owned());
        }
        Some(Whose::OfAll) => symptoms.push(
            "tasks of it were killed at the limit of memory of all jars of this host ([host] memory)"
                .to_owned(),
        ),
        _ => {}
    }
    if evidence.cause == Some(Cause::Blind) {
        symptoms.push("the jar's tasks could no longer be seen".to_owned());
    }
    symptoms
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXITED: Option<MainEnd> = Some(MainEnd::Exited(0));
    const KILLED_ITSELF: Option<MainEnd> = Some(MainEnd::Signaled {
        signal: 9,
        core: false,
    });
    const ENDED: Evidence = Evidence {
        cause: None,
        killed: false,
        main: EXITED,
        init: Some(0),
        out_of_memory: None,
        output_over: false,
    };

    fn signaled(signal: i32, name: &str) -> Outcome {
        Outcome::Signaled {
            signal,
            name: name.into(),
            core: false,
        }
    }

    fn limit(limit: Limit) -> Outcome {
        Outcome::Limit { limit }
    }

    fn stopped(by: StoppedBy, grace_used: bool) -> Outcome {
        Outcome::Stopped { by, grace_used }
    }

    #[test]
    fn the_endings_table_is_decided_by_the_first_cause() {
        let killed = Evidence {
            killed: true,
            main: None,
            init: Some(9),
            ..ENDED
        };
        let cause = |cause, evidence: Evidence| Evidence {
            cause: Some(cause),
            ..evidence
        };
        let term = StoppedBy::Signal(15);
        let terminated = Some(MainEnd::Signaled {
            signal: 15,
            core: false,
        });
        #[rustfmt::skip]
        let table = [
            ("exits", ENDED, Outcome::Exited { code: 0 }),
            ("exits 137 by itself", Evidence { main: Some(MainEnd::Exited(137)), ..ENDED }, Outcome::Exited { code: 137 }),
            ("kills itself", Evidence { main: KILLED_ITSELF, ..ENDED }, signaled(9, "KILL")),
            ("wall", cause(Cause::Limit(Limit::Wall), killed), limit(Limit::Wall)),
            ("cpu_time", cause(Cause::Limit(Limit::CpuTime), killed), limit(Limit::CpuTime)),
            ("memory", cause(Cause::Limit(Limit::Memory), killed), limit(Limit::Memory)),
            ("exits just before the wall's kill lands", cause(Cause::Limit(Limit::Wall), Evidence { killed: true, ..ENDED }), Outcome::Exited { code: 0 }),
            ("kills itself just before the wall's kill lands", cause(Cause::Limit(Limit::Wall), Evidence { killed: true, main: KILLED_ITSELF, ..ENDED }), signaled(9, "KILL")),
            ("wrote too much, then exited", Evidence { output_over: true, ..ENDED }, limit(Limit::Output)),
            ("wrote too much and was killed", cause(Cause::Limit(Limit::Output), killed), limit(Limit::Output)),
            ("wrote too much, exited before the kill", cause(Cause::Limit(Limit::Output), Evidence { killed: true, output_over: true, ..ENDED }), limit(Limit::Output)),
            ("wall first, too much output seen while draining", cause(Cause::Limit(Limit::Wall), Evidence { output_over: true, ..killed }), limit(Limit::Wall)),
            ("stopped, obeyed", cause(Cause::Stop(term), Evidence { main: terminated, ..ENDED }), stopped(term, false)),
            ("stopped, exited 0", cause(Cause::Stop(term), ENDED), stopped(term, false)),
            ("stopped, ignored it", cause(Cause::Stop(term), killed), stopped(term, true)),
            ("stopped, obeyed as the grace ended", cause(Cause::Stop(term), Evidence { killed: true, ..ENDED }), stopped(term, false)),
            ("host kills", cause(Cause::Stop(StoppedBy::Host), killed), stopped(StoppedBy::Host, true)),
            ("stopped, then the launcher is lost", cause(Cause::Stop(term), Evidence { init: None, main: None, ..ENDED }), stopped(term, false)),
            ("launcher lost", Evidence { init: None, main: None, ..ENDED }, Outcome::Lost),
            ("pid 1 killed by another", Evidence { init: Some(9), main: None, ..ENDED }, Outcome::Lost),
            ("broke a rule", cause(Cause::Violation(Rule::Nesting), killed), Outcome::Violation { rule: Rule::Nesting }),
            ("broke a rule while another thread exited", cause(Cause::Violation(Rule::Nesting), ENDED), Outcome::Violation { rule: Rule::Nesting }),
            ("cannot be seen", cause(Cause::Blind, killed), Outcome::Lost),
        ];
        for (what, evidence, outcome) in table {
            assert_eq!(decide(&evidence), outcome, "{what}");
        }
    }

    #[test]
    fn a_symptom_is_told_and_never_the_verdict() {
        let evidence = Evidence {
            main: Some(MainEnd::Signaled {
                signal: 25,
                core: false,
            }),
            ..ENDED
        };
        let outcome = decide(&evidence);
        assert_eq!(outcome, signaled(25, "XFSZ"));
        assert_eq!(symptoms(&evidence, &outcome), ["file_size?"]);
        assert!(symptoms(&ENDED, &decide(&ENDED)).is_empty());
    }

    #[test]
    fn a_record_with_an_unknown_code_is_none() {
        assert_eq!(MainEnd::from_record(1, 3), Some(MainEnd::Exited(3)));
        assert_eq!(
            MainEnd::from_record(3, 11),
            Some(MainEnd::Signaled {
                signal: 11,
                core: true
            })
        );
        assert_eq!(MainEnd::from_record(6, 18), None);
    }
}
