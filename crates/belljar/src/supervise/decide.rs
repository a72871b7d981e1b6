//! The verdict: one arbiter, which hears what is known of an ending as it becomes known,
//! and decides by the first cause. Pure: no clock, no I/O.

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

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Limit(limit) => write!(f, "the limit {limit}"),
            Self::Stop(by) => write!(f, "a stop by {by}"),
            Self::Violation(rule) => write!(f, "a violation of {rule}"),
            Self::Blind => f.write_str("that its tasks could no longer be seen"),
        }
    }
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

/// One thing that is known of an ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// What Belljar has to end it for. Nothing that comes later replaces the first.
    Cause(Cause),
    /// Belljar sent SIGKILL to pid 1.
    Killed,
    /// pid 1's record of the main process. pid 1 sends it before it ends by
    /// itself, so where there is one, no SIGKILL of ours came before.
    Main(MainEnd),
    /// pid 1's status by wait4(2), from the launcher; without it the launcher was lost.
    Init(i32),
    /// The kernel ended tasks of it for want of memory, and whose limit that was.
    OutOfMemory(Whose),
    /// More was written to stdout and stderr than the limit lets through.
    OutputOver,
}

/// Hears the proofs of one ending, in whatever order they come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arbiter {
    cause: Option<Cause>,
    /// Causes that came after the first.
    later: Vec<Cause>,
    killed: bool,
    main: Option<MainEnd>,
    init: Option<i32>,
    out_of_memory: Option<Whose>,
    output_over: bool,
}

const KILL: i32 = 9;

impl Arbiter {
    /// Takes one more thing that is known.
    pub(crate) fn hear(&mut self, proof: Proof) {
        match proof {
            Proof::Cause(cause) => match self.cause {
                None => self.cause = Some(cause),
                Some(first) if first == cause || self.later.contains(&cause) => {}
                Some(_) => self.later.push(cause),
            },
            Proof::Killed => self.killed = true,
            Proof::Main(end) => self.main = self.main.or(Some(end)),
            Proof::Init(status) => self.init = self.init.or(Some(status)),
            Proof::OutOfMemory(whose) => self.out_of_memory = self.out_of_memory.or(Some(whose)),
            Proof::OutputOver => self.output_over = true,
        }
    }

    /// What Belljar had to end it for first.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// How the main process ended, where nothing but that counts.
    fn by_itself(&self) -> Option<Outcome> {
        Some(match self.main? {
            MainEnd::Exited(code) => Outcome::Exited {
                // The kernel gives the low eight bits; anything else is none of it.
                code: u8::try_from(code & 0xff).unwrap_or(u8::MAX),
            },
            MainEnd::Signaled { signal, core } => Outcome::Signaled {
                signal,
                name: sys::signal_name(signal),
                core,
            },
        })
    }

    /// Belljar's own limit, or that of all its jars, was the one that the kernel ended tasks for.
    fn is_out_of_own_memory(&self) -> bool {
        matches!(self.out_of_memory, Some(Whose::Own | Whose::OfAll))
    }

    /// The verdict.
    pub(crate) fn verdict(&self) -> Outcome {
        let over = Outcome::Limit {
            limit: Limit::Output,
        };
        let out_of_memory = Outcome::Limit {
            limit: Limit::Memory,
        };
        match (self.cause, self.by_itself()) {
            (Some(Cause::Stop(by)), by_itself) => Outcome::Stopped {
                by,
                grace_used: self.killed && by_itself.is_none(),
            },
            // Whoever tried it has not gone on since.
            (Some(Cause::Violation(rule)), _) => Outcome::Violation { rule },
            // What was written came before the end of whoever wrote it.
            (Some(Cause::Limit(Limit::Output)), _) => over,
            (None, _) if self.output_over => over,
            // pid 1 is killed with the rest, most often before it could tell of any.
            (None, None) if self.is_out_of_own_memory() => out_of_memory,
            (None, Some(Outcome::Signaled { signal: KILL, .. })) if self.is_out_of_own_memory() => {
                out_of_memory
            }
            (_, Some(outcome)) => outcome,
            (Some(Cause::Limit(limit)), None) => Outcome::Limit { limit },
            (Some(Cause::Blind) | None, None) => Outcome::Lost,
        }
    }

    /// What was noticed besides the verdict's cause.
    pub(crate) fn symptoms(&self, outcome: &Outcome) -> Vec<String> {
        let mut symptoms = Vec::new();
        if let Some(end) = self.main {
            symptoms.extend(self.hint(end).map(str::to_owned));
            if !matches!(outcome, Outcome::Exited { .. } | Outcome::Signaled { .. }) {
                symptoms.push(match end {
                    MainEnd::Exited(code) => format!("main process exited {code}"),
                    MainEnd::Signaled { signal, .. } => {
                        format!("main process ended by {}", sys::signal_name(signal))
                    }
                });
            }
        }
        match (self.init, self.main) {
            (None, _) => symptoms.push("launcher lost".to_owned()),
            (Some(status), None) if !self.killed && self.out_of_memory.is_none() => {
                symptoms.push(match status & 0x7f {
                    // wait4(2): its own exit, by the error that it met.
                    0 => {
                        let error = std::io::Error::from_raw_os_error(status >> 8 & 0xff);
                        format!("pid 1 gave up without a record: {error}")
                    }
                    _ => "pid 1 ended without a record; oom_kill?".to_owned(),
                });
            }
            _ => {}
        }
        symptoms.extend(self.want_of_memory(outcome).map(str::to_owned));
        if self.cause == Some(Cause::Blind) {
            symptoms.push("the jar's tasks could no longer be seen".to_owned());
        }
        symptoms.extend(self.later.iter().map(|cause| format!("then {cause}")));
        symptoms
    }

    /// What a signal may have come from. A plugin can raise each of them itself.
    fn hint(&self, end: MainEnd) -> Option<&'static str> {
        const XCPU: i32 = 24;
        const XFSZ: i32 = 25;
        match end {
            MainEnd::Signaled { signal: XFSZ, .. } => Some("file_size?"),
            MainEnd::Signaled { signal: XCPU, .. } => Some("cpu_time?"),
            MainEnd::Signaled { signal: KILL, .. } if self.out_of_memory.is_none() => {
                Some("oom_kill?")
            }
            _ => None,
        }
    }

    fn want_of_memory(&self, outcome: &Outcome) -> Option<&'static str> {
        let memory = Outcome::Limit {
            limit: Limit::Memory,
        };
        match self.out_of_memory? {
            Whose::Own if *outcome == memory => None,
            Whose::Own => Some("tasks of it were killed at its limit of memory"),
            Whose::OfAll => Some(
                "tasks of it were killed at the limit of memory of all jars of this host ([host] memory)",
            ),
            Whose::Above => Some(
                "tasks of it were killed for want of memory of the machine, or at the limit of a cgroup above",
            ),
        }
    }
}

#[cfg(test)]
mod tests;
