//! From answers to verdicts.

use belljar_plan::{
    Bytes, Plan, Rule,
    probe::{Answer, Came},
    proof::{Trial, Tried, Verdict},
};

use super::prober::InJar;

/// Something to try, in words and as the prober is told.
#[derive(Clone, Debug)]
pub(super) struct Try {
    pub(super) what: String,
    pub(super) probe: Bytes,
}

/// Which answers deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// Any error.
    Refused,
    /// Any error, and nothing at all in what was opened.
    Empty,
    /// Any error but these, which the kernel itself gives to whom it hears.
    Unheard(&'static [u16]),
    /// Exactly this number, and nothing else.
    Exactly(u64),
}

/// Whether it is tried without a jar too.
#[derive(Clone, Debug)]
pub(super) enum Without {
    /// The same.
    Same,
    /// The same thing, as it is called there.
    So(Bytes),
    /// It is not.
    No,
}

/// One row: what is tried of a rule.
#[derive(Clone, Debug)]
pub(super) enum Check {
    /// A probe.
    Try {
        probe: Try,
        denied: Denied,
        control: Try,
        without: Without,
    },
    /// It can't be tried here.
    NotHere { what: String, why: String },
}

/// All that is tried in the first jar, and where its answers stand.
#[derive(Debug)]
pub(super) struct Asked {
    checks: Vec<(Rule, Check)>,
}

/// Errors that tell of the prober's own limits instead of a wall.
const IN_THE_WAY: [u16; 5] = [
    4,  // EINTR
    11, // EAGAIN
    12, // ENOMEM
    23, // ENFILE
    24, // EMFILE
];

/// What an answer says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Denied,
    Allowed,
    Nothing,
}

impl Denied {
    fn says(self, answer: Answer) -> Said {
        match (answer.came, self) {
            (Came::NotTried(_), _) => Said::Nothing,
            (Came::Refused(errno), _) if IN_THE_WAY.contains(&errno) => Said::Nothing,
            (Came::Ended(_), _) => Said::Denied,
            (Came::Refused(errno), Self::Unheard(heard)) if heard.contains(&errno) => Said::Allowed,
            (Came::Refused(_), Self::Exactly(_)) => Said::Allowed,
            (Came::Refused(_), _) => Said::Denied,
            (Came::Done, Self::Empty) if answer.value == 0 => Said::Denied,
            (Came::Done, Self::Exactly(value)) if answer.value == value => Said::Denied,
            (Came::Done, _) => Said::Allowed,
        }
    }

    fn words(self, answer: Answer) -> String {
        match (answer.came, self) {
            (Came::Done, Self::Empty) if answer.value == 0 => "empty".to_owned(),
            (Came::Done, Self::Exactly(value)) if answer.value == value => "the same".to_owned(),
            (Came::Done, Self::Exactly(_)) => "others".to_owned(),
            (Came::Refused(errno), Self::Unheard(heard)) if heard.contains(&errno) => {
                format!("{}, by the kernel itself", error_name(errno))
            }
            (came, _) => came_words(came),
        }
    }
}

fn came_words(came: Came) -> String {
    match came {
        Came::Done => "done".to_owned(),
        Came::Refused(errno) => error_name(errno),
        Came::Ended(signal) => format!("ended by signal {signal}"),
        Came::NotTried(errno) => format!("not tried, for {}", error_name(errno)),
    }
}

/// An answer to a try that is neither a probe nor a control of these checks.
pub(super) fn plain_words(answer: Answer) -> String {
    came_words(answer.came)
}

impl Asked {
    pub(super) fn new(checks: Vec<(Rule, Check)>) -> Self {
        Self { checks }
    }

    fn tries(&self) -> impl Iterator<Item = (&Try, &Denied, &Try, &Without)> {
        self.checks.iter().filter_map(|(_, check)| match check {
            Check::Try {
                probe,
                denied,
                control,
                without,
            } => Some((probe, denied, control, without)),
            Check::NotHere { .. } => None,
        })
    }

    /// What the prober is told in the jar: each probe and its control.
    pub(super) fn probes(&self) -> Vec<Bytes> {
        self.tries()
            .flat_map(|(probe, _, control, _)| [probe.probe.clone(), control.probe.clone()])
            .collect()
    }

    /// What the prober is told without one.
    pub(super) fn without(&self) -> Vec<Bytes> {
        self.tries()
            .filter_map(|(probe, _, _, without)| match without {
                Without::Same => Some(probe.probe.clone()),
                Without::So(other) => Some(other.clone()),
                Without::No => None,
            })
            .collect()
    }

    /// The verdict on each.
    pub(super) fn judge(
        self,
        plan: &Plan,
        jar: &InJar,
        without: &[Option<Answer>],
    ) -> Vec<(Rule, Trial)> {
        // Where a policy takes calls from the list, it may be those that a control makes.
        let takes = plan
            .filter
            .as_ref()
            .is_some_and(|filter| !filter.deny.is_empty());
        let mut at = 0;
        let mut plainly = without.iter().copied();
        let mut trials = Vec::new();
        for (rule, check) in self.checks {
            let trial = match check {
                Check::NotHere { what, why } => not_here(what, why),
                Check::Try {
                    probe,
                    denied,
                    control,
                    without,
                } => {
                    let answers = (jar.answer(at), jar.answer(at + 1));
                    at += 2;
                    let plain = match without {
                        Without::No => None,
                        Without::Same | Without::So(_) => Some(plainly.next().flatten()),
                    };
                    judge(probe, denied, control, answers, plain, (jar, takes))
                }
            };
            trials.push((rule, trial));
        }
        trials
    }
}

pub(super) fn not_here(what: String, why: String) -> Trial {
    Trial {
        probe: Tried {
            what,
            answer: "not tried".to_owned(),
        },
        control: None,
        without: None,
        verdict: Verdict::NotProbed,
        reason: Some(why),
    }
}

/// A verdict, unless the policy takes calls from the preset's list: then what the
/// prober could not do may be one of them, and shows nothing.
const fn unless(takes: bool, verdict: Verdict) -> Verdict {
    match takes {
        true => Verdict::NotProbed,
        false => verdict,
    }
}

fn judge(
    probe: Try,
    denied: Denied,
    control: Try,
    (answer, controlled): (Option<Answer>, Option<Answer>),
    plain: Option<Option<Answer>>,
    (jar, takes): (&InJar, bool),
) -> Trial {
    let words = |answer: Option<Answer>| {
        answer.map_or_else(|| "no answer".to_owned(), |answer| denied.words(answer))
    };
    let said = |answer: Option<Answer>| answer.map_or(Said::Nothing, |answer| denied.says(answer));
    let done = controlled.is_some_and(|answer| answer.came == Came::Done);
    let control_words = controlled.map_or_else(|| "no answer".to_owned(), plain_words);
    let (verdict, reason) = match (answer, said(answer), done, plain.map(said)) {
        // Fail closed: silence is no denial, unless a limit of the plan's own cut it short.
        (None, ..) => (unless(takes, jar.silence()), Some(jar.why_silent())),
        (_, Said::Allowed, ..) => (
            Verdict::Broken,
            Some(format!("{}: {}", probe.what, words(answer))),
        ),
        (_, Said::Nothing, ..) => (
            Verdict::NotProbed,
            Some(format!("it could not be tried: {}", words(answer))),
        ),
        (_, Said::Denied, false, _) => (
            unless(takes, Verdict::Broken),
            Some(format!(
                "the control was refused too ({}: {control_words}), so the refusal shows nothing",
                control.what
            )),
        ),
        (_, Said::Denied, true, Some(Said::Denied | Said::Nothing)) => (
            Verdict::NotProbed,
            Some(format!(
                "it fails here without a jar too: {}",
                words(plain.flatten())
            )),
        ),
        (_, Said::Denied, true, None | Some(Said::Allowed)) => (Verdict::Held, None),
    };
    Trial {
        without: plain.map(|plain| Tried {
            what: "the same without a jar".to_owned(),
            answer: words(plain),
        }),
        control: Some(Tried {
            what: control.what,
            answer: control_words,
        }),
        probe: Tried {
            what: probe.what,
            answer: words(answer),
        },
        verdict,
        reason,
    }
}

/// The name of an error; errno(3). The numbers are the same on all architectures
/// that jars are made on.
pub(super) fn error_name(errno: u16) -> String {
    const NAMES: [&str; 40] = [
        "EPERM",
        "ENOENT",
        "ESRCH",
        "EINTR",
        "EIO",
        "ENXIO",
        "E2BIG",
        "ENOEXEC",
        "EBADF",
        "ECHILD",
        "EAGAIN",
        "ENOMEM",
        "EACCES",
        "EFAULT",
        "ENOTBLK",
        "EBUSY",
        "EEXIST",
        "EXDEV",
        "ENODEV",
        "ENOTDIR",
        "EISDIR",
        "EINVAL",
        "ENFILE",
        "EMFILE",
        "ENOTTY",
        "ETXTBSY",
        "EFBIG",
        "ENOSPC",
        "ESPIPE",
        "EROFS",
        "EMLINK",
        "EPIPE",
        "EDOM",
        "ERANGE",
        "EDEADLK",
        "ENAMETOOLONG",
        "ENOLCK",
        "ENOSYS",
        "ENOTEMPTY",
        "ELOOP",
    ];
    let more = match errno {
        92 => "ENOPROTOOPT",
        93 => "EPROTONOSUPPORT",
        95 => "EOPNOTSUPP",
        97 => "EAFNOSUPPORT",
        98 => "EADDRINUSE",
        99 => "EADDRNOTAVAIL",
        100 => "ENETDOWN",
        101 => "ENETUNREACH",
        104 => "ECONNRESET",
        110 => "ETIMEDOUT",
        111 => "ECONNREFUSED",
        113 => "EHOSTUNREACH",
        122 => "EDQUOT",
        _ => "",
    };
    let known = usize::from(errno)
        .checked_sub(1)
        .and_then(|at| NAMES.get(at).copied())
        .or((!more.is_empty()).then_some(more));
    known.map_or_else(|| format!("errno {errno}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(came: Came, value: u64) -> Answer {
        Answer {
            index: 0,
            came,
            value,
        }
    }

    #[test]
    fn errors_have_their_names() {
        for (errno, name) in [
            (1, "EPERM"),
            (2, "ENOENT"),
            (13, "EACCES"),
            (28, "ENOSPC"),
            (38, "ENOSYS"),
            (40, "ELOOP"),
            (111, "ECONNREFUSED"),
            (4000, "errno 4000"),
            (0, "errno 0"),
        ] {
            assert_eq!(error_name(errno), name);
        }
    }

    #[test]
    fn a_limit_that_is_reached_on_the_way_denies_nothing() {
        for errno in IN_THE_WAY {
            assert_eq!(
                Denied::Refused.says(answer(Came::Refused(errno), 0)),
                Said::Nothing
            );
        }
        assert_eq!(
            Denied::Refused.says(answer(Came::NotTried(1), 0)),
            Said::Nothing
        );
    }

    #[test]
    fn what_the_kernel_itself_answers_was_let_through() {
        let heard = Denied::Unheard(&[14, 22]);
        assert_eq!(heard.says(answer(Came::Refused(14), 0)), Said::Allowed);
        assert_eq!(heard.says(answer(Came::Done, 0)), Said::Allowed);
        assert_eq!(heard.says(answer(Came::Refused(1), 0)), Said::Denied);
    }

    #[test]
    fn an_empty_file_is_none_and_a_full_one_is_seen() {
        assert_eq!(Denied::Empty.says(answer(Came::Done, 0)), Said::Denied);
        assert_eq!(Denied::Empty.says(answer(Came::Done, 1)), Said::Allowed);
        assert_eq!(Denied::Refused.says(answer(Came::Done, 0)), Said::Allowed);
        let exactly = Denied::Exactly(7);
        assert_eq!(exactly.says(answer(Came::Done, 7)), Said::Denied);
        assert_eq!(exactly.says(answer(Came::Done, 8)), Said::Allowed);
        assert_eq!(exactly.says(answer(Came::Refused(1), 7)), Said::Allowed);
    }
}
