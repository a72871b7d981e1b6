//! Starts the prober: in a jar of the plan, in the place of the program, and
//! plainly. What it writes is read as a stranger's would be: bounded in bytes
//! and time.

use std::{
    future::Future,
    io,
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use belljar_plan::{Bytes, Outcome, Plan, Step, probe::Answer, proof::Verdict, step::OwnedStep};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::{ProveError, judge::error_name, outside::Outside, seen::Seen};
use crate::{
    launch::{self, Around, Basis, Decided, Engine, Fixed},
    streams::{self, Three},
    supervise::Running,
    sys::prober::PROBER,
    verify::Image,
};

/// Where the prober is in a jar that has a root of its own.
const INSIDE: &str = "belljar-prober";

/// Bits `LANDLOCK_ACCESS_FS_*`: to be started and read; landlock(7).
const START_AND_READ: u64 = 1 | 1 << 2;

/// No prober takes longer to answer; bounded on busy machines too.
const PATIENCE: Duration = Duration::from_secs(8);

/// The most bytes of answers.
const MOST: usize = 1 << 20;

/// Where the prober stands in a plan's jars.
#[derive(Clone, Debug)]
pub(super) enum Stand {
    /// In the jar's own root.
    InRoot,
    /// At a path of the machine, since the jar has no root of its own.
    OnMachine(Bytes),
}

/// Whether the plan's jars have a root of their own.
pub(super) fn has_own_root(plan: &Plan) -> bool {
    plan.steps
        .iter()
        .any(|step| matches!(step, Step::Root { .. }))
}

impl Stand {
    pub(super) fn of(plan: &Plan, outside: &Outside) -> Self {
        match has_own_root(plan) {
            true => Self::InRoot,
            false => Self::OnMachine(outside.prober_file()),
        }
    }

    /// Its path, as a jar has it.
    pub(super) fn path(&self) -> Bytes {
        match self {
            Self::InRoot => format!("/{INSIDE}").as_str().into(),
            Self::OnMachine(path) => path.clone(),
        }
    }

    /// In what the plan that is run differs from the plan.
    pub(super) fn differences(&self, plan: &Plan) -> Vec<String> {
        let path = self.path().escaped();
        let mut all = vec![format!(
            "exec starts Belljar's prober, {path}, with its probes for arguments, and not {}",
            plan.program.escaped()
        )];
        match self {
            Self::InRoot => all.push(format!(
                "plugin_file puts the prober into the jar's own root: {} bytes behind those of the plugin's image",
                PROBER.len()
            )),
            Self::OnMachine(_) => all.push("the prober lies on the machine while prove runs".to_owned()),
        }
        if plan.landlock.is_some() {
            all.push(format!("allow_path lets {path} be read and started"));
        }
        if !plan.end_on.is_empty() {
            let rules: Vec<&str> = plan.end_on.iter().map(|rule| rule.word()).collect();
            all.push(format!(
                "a violation does not end the jar, as the policy says of: {}",
                rules.join(", ")
            ));
        }
        all
    }

    /// The plan with the prober in the place of the program.
    fn with_prober(&self, decided: &Decided, probes: &[Bytes]) -> io::Result<Decided> {
        let mut plan = Plan::clone(&decided.plan);
        let image = decided.basis.image.as_ref();
        if matches!(self, Self::InRoot) {
            let own = Step::PluginFile {
                path: INSIDE.into(),
                mode: 0o755,
                offset: image.map_or(0, Image::length),
                length: PROBER.len() as u64,
            };
            insert_behind(&mut plan, |step| matches!(step, Step::Root { .. }), own);
        }
        let mut path = self.path();
        let allow = Step::AllowPath {
            path: Bytes(path.0.split_off(1)),
            access: START_AND_READ,
            optional: false,
        };
        insert_behind(
            &mut plan,
            |step| matches!(step, Step::Ruleset { .. }),
            allow,
        );
        if let Some(Step::Exec {
            path, arguments, ..
        }) = plan.steps.last_mut()
        {
            *path = self.path();
            *arguments = std::iter::once(Bytes::from("belljar-prober"))
                .chain(probes.iter().cloned())
                .collect();
        }
        plan.end_on.clear();
        #[cfg(feature = "break-plan")]
        super::broken::apply(&mut plan);
        let basis = Basis {
            verified: decided.basis.verified.clone(),
            image: Some(Image::with(image, PROBER)?),
            policy: decided.basis.policy.clone(),
        };
        let (plan, digest) = launch::shared(plan);
        Ok(Decided {
            basis: Arc::new(basis),
            facts: Arc::clone(&decided.facts),
            plan,
            digest,
            fixed: Fixed::Yes,
        })
    }
}

/// Puts a step behind the first that is wanted; rules go on to mean their own steps.
pub(super) fn insert_behind(plan: &mut Plan, wanted: impl Fn(&OwnedStep) -> bool, step: OwnedStep) {
    let Some(at) = plan.steps.iter().position(wanted) else {
        return;
    };
    plan.steps.insert(at + 1, step);
    for rule in &mut plan.rules {
        for index in &mut rule.steps {
            *index += u16::from(usize::from(*index) > at);
        }
    }
}

/// What came of a jar with the prober in it.
#[derive(Debug)]
pub(super) struct InJar {
    answers: Vec<Option<Answer>>,
    /// What was looked at from outside while it waited.
    pub(super) seen: Option<Seen>,
    /// How it ended; none where it had to be ended, since it took too long.
    pub(super) outcome: Option<Outcome>,
    /// Bytes that came from its stdout.
    pub(super) written: u64,
    /// Its stdout came to an end.
    pub(super) closed: bool,
}

impl InJar {
    /// One that has ended by itself, and left these behind.
    #[cfg(test)]
    pub(super) fn that_left(all: Vec<crate::sys::prober::Task>, closed: bool) -> Self {
        use belljar_plan::probe::Came;
        let done = Answer {
            index: 0,
            came: Came::Done,
            value: 0,
        };
        Self {
            answers: vec![Some(done)],
            seen: Some(Seen {
                all,
                ..Seen::default()
            }),
            outcome: Some(Outcome::Exited { code: 0 }),
            written: 0,
            closed,
        }
    }

    pub(super) fn answer(&self, index: usize) -> Option<Answer> {
        self.answers.get(index).copied().flatten()
    }

    /// What no answer means: a limit of the plan's own may end the jar first.
    pub(super) fn silence(&self) -> Verdict {
        match self.outcome {
            Some(Outcome::Limit { .. }) => Verdict::NotProbed,
            _ => Verdict::Broken,
        }
    }

    /// Why there is none.
    pub(super) fn why_silent(&self) -> String {
        format!("no answer: {}", self.ended())
    }

    /// How it ended, in words.
    pub(super) fn ended(&self) -> String {
        match &self.outcome {
            None => "it took too long and was ended".to_owned(),
            Some(outcome) => outcome_words(outcome),
        }
    }
}

pub(super) fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code } => format!("exited {code}"),
        Outcome::Signaled { name, .. } => format!("ended by SIG{name}"),
        Outcome::Limit { limit } => format!("limit: {limit}"),
        Outcome::Violation { rule } => format!("violation: {rule}"),
        Outcome::SetupFailed { step, errno } => {
            let errno = u16::try_from(*errno).unwrap_or(0);
            format!("set-up failed at {step}: {}", error_name(errno))
        }
        Outcome::Lost => "lost".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Launches the plan with the prober and these probes, reads its answers, has
/// `look` look at the jar from outside while the prober waits, by its pid 1, and
/// lets it go on to its end.
pub(super) async fn in_jar(
    decided: &Decided,
    stand: &Stand,
    probes: &[Bytes],
    engine: &Engine,
    look: impl AsyncFnOnce(i32) -> Option<Seen>,
) -> Result<InJar, ProveError> {
    let decided = stand
        .with_prober(decided, probes)
        .map_err(ProveError::outside(
            "put the prober behind the plugin's image",
        ))?;
    let around = Around {
        three: Three {
            stdin: streams::Stdio::piped(),
            stdout: streams::Stdio::piped(),
            stderr: streams::Stdio::null(),
        },
        ..Around::default()
    };
    let mut running = launch::launch(move || Ok(decided), None, around).await?;
    let count = probes.len();
    // The last one waits, where it is asked to.
    let waits = probes.last().is_some_and(|probe| probe.0 == b"wait");
    let expected = count - usize::from(waits);
    let mut reader = Reader::new(count);
    let mut seen = None;
    let mut closed = false;
    let talk = async {
        if let Some(mut terminal) = running.terminal() {
            reader.read(&mut terminal, expected).await;
            seen = look(running.pid()).await;
            // An end of the jar meanwhile shows in its outcome.
            let _ = terminal.write_all(b"\n").await;
            closed = reader.read(&mut terminal, usize::MAX).await;
        } else if let Some(mut stdout) = running.stdout() {
            reader.read(&mut stdout, expected).await;
            seen = look(running.pid()).await;
            drop(running.stdin());
            closed = reader.read(&mut stdout, usize::MAX).await;
        }
    };
    let talked = within(engine, PATIENCE, talk).await;
    let outcome = match talked {
        Some(()) => end_of(&mut running, engine).await,
        None => None,
    };
    Ok(InJar {
        answers: reader.answers,
        seen,
        outcome,
        written: reader.total as u64,
        closed,
    })
}

/// How a jar ends; none where it has to be ended, which dropping it does.
async fn end_of(running: &mut Running, engine: &Engine) -> Option<Outcome> {
    let report = within(engine, PATIENCE, running.wait()).await?;
    Some(report.outcome)
}

/// What a future gives within so long. Works on any executor.
pub(super) async fn within<T>(
    engine: &Engine,
    patience: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let end = {
        let _inside = engine.runtime.enter();
        tokio::time::sleep(patience)
    };
    tokio::select! {
        biased;
        value = future => Some(value),
        () = end => None,
    }
}

/// Reads answers, whatever else comes.
struct Reader {
    answers: Vec<Option<Answer>>,
    line: Vec<u8>,
    total: usize,
    came: usize,
}

impl Reader {
    fn new(count: usize) -> Self {
        Self {
            answers: vec![None; count],
            line: Vec::new(),
            total: 0,
            came: 0,
        }
    }

    /// Reads until so many have come, or to the end: then it is true. No more
    /// than a bound is kept or waited for.
    async fn read(&mut self, from: &mut (impl AsyncRead + Unpin), until: usize) -> bool {
        let mut buffer = [0; 4096];
        while self.came < until {
            match from.read(&mut buffer).await {
                Ok(0) | Err(_) => return true,
                Ok(count) => self.take(&buffer[..count]),
            }
            if self.total > MOST {
                return false;
            }
        }
        false
    }

    fn take(&mut self, bytes: &[u8]) {
        self.total += bytes.len();
        for byte in bytes {
            if *byte != b'\n' {
                // No line is longer; what is, is none of the prober's.
                if self.line.len() <= Answer::LONGEST {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
            if let Some(answer) = Answer::read(line) {
                let place = usize::try_from(answer.index).ok();
                let place = place.and_then(|at| self.answers.get_mut(at));
                // The first answer counts.
                if let Some(place @ None) = place {
                    *place = Some(answer);
                    self.came += 1;
                }
            }
            self.line.clear();
        }
    }
}

/// A prober without a jar. It ends with this value.
#[derive(Debug)]
pub(super) struct Plain(Child);

impl Plain {
    /// Starts one, and reads its answers up to the last but a wait.
    pub(super) async fn start(
        mut command: Command,
        probes: &[Bytes],
        engine: &Engine,
    ) -> io::Result<(Self, Vec<Option<Answer>>)> {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
        let child = command
            .args(probes.iter().map(|probe| OsStr::from_bytes(&probe.0)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut plain = Self(child);
        let stdout: Option<OwnedFd> = plain.0.stdout.take().map(OwnedFd::from);
        let stdout = stdout.ok_or(io::ErrorKind::BrokenPipe)?;
        let mut stdout = {
            let _inside = engine.runtime.enter();
            tokio::net::unix::pipe::Receiver::from_owned_fd(stdout)?
        };
        let waits = probes.last().is_some_and(|probe| probe.0 == b"wait");
        let mut reader = Reader::new(probes.len());
        let expected = probes.len() - usize::from(waits);
        within(engine, PATIENCE, reader.read(&mut stdout, expected)).await;
        Ok((plain, reader.answers))
    }

    /// As the machine numbers it.
    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // It may have ended by itself, or the host may not keep children: both are as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belljar_plan::probe::Came;

    fn read(bytes: &[u8], pieces: usize) -> Vec<Option<u64>> {
        let mut reader = Reader::new(3);
        for piece in bytes.chunks(pieces) {
            reader.take(piece);
        }
        let value = |answer: Option<Answer>| answer.map(|answer| answer.value);
        reader.answers.into_iter().map(value).collect()
    }

    #[test]
    fn answers_are_read_in_any_pieces_and_the_first_counts() {
        let text = b"0 d 0 5\r\n\n\n2 r 1 7\n0 d 0 6\n9 d 0 1\nnonsense\n";
        for pieces in [1, 2, 7, 1000] {
            assert_eq!(read(text, pieces), [Some(5), None, Some(7)]);
        }
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory_and_is_no_answer() {
        let mut reader = Reader::new(1);
        for _ in 0..1000 {
            reader.take(&[b'0'; 4096]);
        }
        assert!(reader.line.len() <= Answer::LONGEST + 1);
        reader.take(b" d 0 1\n");
        assert_eq!(reader.answers, [None]);
        reader.take(b"0 d 0 1\n");
        assert_eq!(
            reader.answers[0].map(|answer| answer.came),
            Some(Came::Done)
        );
    }
}
