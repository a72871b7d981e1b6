//! The public entry: what is to be run, with what, and where its streams lead.

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use belljar_plan::{Answer, Outcome, Plan, Preset, Report, outcome::Unmet};
use belljar_policy::{
    self as policy, HostFacts, Policy, Refusal, Verified, verified::Subject, why::Surroundings,
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::{
    error::LaunchError,
    facts,
    launch::{self, Ahead, Around, Basis, Decided, Fixed, Undecided},
    learn::{self, Lesson},
    prepared::Prepared,
    report::ReportTo,
    streams::{Stdio, Three},
    supervise::{self, Running},
    verify::{self, Ask},
    why::{self, Question, ThisMachine, Tried},
};

/// What is said of one run, by [`Jar`] and [`Prepared`](crate::Prepared) alike.
macro_rules! around {
    () => {
        /// The host's own name for this run, echoed in the report.
        pub fn task(mut self, task: impl Into<String>) -> Self {
            self.around.task = Some(task.into());
            self
        }

        /// Where the guest's stdin comes from.
        pub fn stdin(mut self, stdin: Stdio) -> Self {
            self.around.three.stdin = stdin;
            self
        }

        /// Where the guest's stdout goes.
        pub fn stdout(mut self, stdout: Stdio) -> Self {
            self.around.three.stdout = stdout;
            self
        }

        /// Where the guest's stderr goes.
        pub fn stderr(mut self, stderr: Stdio) -> Self {
            self.around.three.stderr = stderr;
            self
        }

        /// Where the report goes besides to the caller.
        pub fn report_to(mut self, to: ReportTo) -> Self {
            self.around.report_to = Some(to);
            self
        }

        /// Where events are brought to, from the launch to the end; more than once for
        /// more than one place.
        pub fn events_to(mut self, sink: std::sync::Arc<dyn crate::EventSink>) -> Self {
            self.around.sinks.add(sink);
            self
        }
    };
}
pub(crate) use around;

/// A program or plugin to be run in a jar.
///
/// Nothing happens before [`launch`](Self::launch), [`output`](Self::output) or
/// [`plan`](Self::plan). Without more words a bare program runs with preset
/// `standard`, a plugin with `strict`, and all three streams lead nowhere.
#[derive(Debug)]
#[must_use = "a jar does nothing until it is launched"]
pub struct Jar {
    ask: Ask,
    policy: Policy,
    around: Around,
}

/// What a jar wrote, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub report: Report,
    /// Everything from its stdout, up to the limit `output`.
    pub stdout: Vec<u8>,
    /// Everything from its stderr, up to the limit `output`.
    pub stderr: Vec<u8>,
}

impl Jar {
    /// A program of the machine: a path, or a name that is searched on PATH.
    pub fn program(program: impl Into<OsString>) -> Self {
        Self::new(Ask::Program {
            program: program.into(),
            arguments: Vec::new(),
        })
    }

    /// A plugin: its directory, or its manifest.
    pub fn plugin(path: impl Into<PathBuf>) -> Self {
        Self::new(Ask::Plugin {
            path: path.into(),
            arguments: Vec::new(),
        })
    }

    fn new(ask: Ask) -> Self {
        Self {
            ask,
            policy: Policy::default(),
            around: Around::default(),
        }
    }

    /// Adds an argument; for a plugin after those of its manifest.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        match &mut self.ask {
            Ask::Program { arguments, .. } | Ask::Plugin { arguments, .. } => {
                arguments.push(argument.into());
            }
        }
        self
    }

    /// Adds arguments; for a plugin after those of its manifest.
    pub fn args(self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// What the operator grants at most; its flags are the operator's explicit words.
    pub fn policy(mut self, policy: Policy) -> Self {
        let observe = self.policy.flags.observe;
        self.policy = policy;
        self.policy.flags.observe |= observe;
        self
    }

    /// Has what its calls name looked at on their way and told in the report: what
    /// it opened, started and connected to, whatever came of that. It decides
    /// nothing; each such call takes some 15 us longer. A launch is refused where
    /// the kernel gives no listener for it.
    pub fn observe(mut self) -> Self {
        self.policy.flags.observe = true;
        self
    }

    around!();

    /// Looks at the program and decides, and launches nothing.
    ///
    /// # Errors
    /// [`LaunchError::Ended`] where the launch would be refused, and others
    /// where it would not begin.
    pub fn plan(&self) -> Result<Plan, LaunchError> {
        self.plan_by(facts::known_for, Where::Here)
    }

    /// The same by what was found out of this machine before, such as by
    /// [`facts::tried`](crate::facts::tried).
    ///
    /// # Errors
    /// As for [`plan`](Self::plan).
    pub fn plan_here(&self, facts: &HostFacts) -> Result<Plan, LaunchError> {
        self.plan_by(|_| facts.clone(), Where::Here)
    }

    /// The same for another machine, with these facts: of its disks they tell nothing.
    ///
    /// # Errors
    /// As for [`plan`](Self::plan).
    pub fn plan_for(&self, facts: &HostFacts) -> Result<Plan, LaunchError> {
        self.plan_by(|_| facts.clone(), Where::Elsewhere)
    }

    fn plan_by(
        &self,
        look: impl Fn(Preset) -> HostFacts,
        place: Where,
    ) -> Result<Plan, LaunchError> {
        decide(&self.ask, self.policy.clone(), self.preset(), look, place)
            .map(|decided| Arc::unwrap_or_clone(decided.plan))
            .map_err(|undecided| self.not_begun(undecided))
    }

    /// What becomes of an attempt in this jar, which rule decides, and by whose word.
    /// Where it is denied, the smallest grant that would allow it is tried: it is told
    /// only where a plan with it answers otherwise.
    ///
    /// ```
    /// use belljar::{Jar, why::Question};
    /// # if !cfg!(target_os = "linux") { return Ok(()) }
    /// let question = Question::parse(&["read", "/etc/shadow"]).expect("it is one");
    /// let answer = Jar::program("true").why(&question)?;
    /// assert_eq!(answer.rule, Some(belljar::Rule::Files));
    /// # Ok::<(), belljar::LaunchError>(())
    /// ```
    ///
    /// # Errors
    /// As for [`plan`](Self::plan).
    pub fn why(&self, question: &Question) -> Result<Answer, LaunchError> {
        self.why_by(question, facts::known_for, Where::Here)
    }

    /// The same by what was found out of this machine before.
    ///
    /// # Errors
    /// As for [`plan`](Self::plan).
    pub fn why_here(&self, question: &Question, facts: &HostFacts) -> Result<Answer, LaunchError> {
        self.why_by(question, |_| facts.clone(), Where::Here)
    }

    /// The same for another machine, with these facts.
    ///
    /// # Errors
    /// As for [`plan`](Self::plan).
    pub fn why_for(&self, question: &Question, facts: &HostFacts) -> Result<Answer, LaunchError> {
        self.why_by(question, |_| facts.clone(), Where::Elsewhere)
    }

    fn why_by(
        &self,
        question: &Question,
        look: impl Fn(Preset) -> HostFacts,
        place: Where,
    ) -> Result<Answer, LaunchError> {
        let decide = |policy| decide(&self.ask, policy, self.preset(), &look, place);
        let decided = decide(self.policy.clone()).map_err(|undecided| self.not_begun(undecided))?;
        let around = Surroundings::of(&decided.basis.verified.caller);
        Ok(why::tried(&decided.plan, question, &around, |grants| {
            let mut policy = self.policy.clone();
            for grant in grants {
                grant.add_to(Some(&decided.plan), &mut policy);
            }
            match decide(policy) {
                Ok(with) => {
                    let (answer, further) =
                        policy::why::why(&with.plan, question, &ThisMachine, &around);
                    Tried::Planned(Box::new(answer), further)
                }
                Err(undecided) => Tried::Refused(undecided.reason()),
            }
        }))
    }

    /// What a run of this jar teaches that was [observed](Self::observe): what it lacked,
    /// and the smallest grants that would give it that. Each is tried, and told only
    /// where a plan with it answers otherwise. Of a launch that was refused it says which
    /// requests would have to be granted.
    ///
    /// # Errors
    /// As for [`plan`](Self::plan), but for a refusal.
    pub fn lesson(&self, report: &Report) -> Result<Lesson, LaunchError> {
        let decide = |policy| {
            decide(
                &self.ask,
                policy,
                self.preset(),
                facts::known_for,
                Where::Here,
            )
        };
        let decided = match decide(self.policy.clone()) {
            Ok(decided) => decided,
            Err(Undecided::Outcome(Outcome::Refused { unmet })) => {
                return self.refused(&unmet, |policy| planned(decide(policy)));
            }
            Err(undecided) => return Err(self.not_begun(undecided)),
        };
        let around = Surroundings::of(&decided.basis.verified.caller);
        Ok(learn::lesson(
            &decided.plan,
            report,
            &around,
            &self.policy,
            |policy| planned(decide(policy)),
        ))
    }

    fn refused(
        &self,
        unmet: &[Unmet],
        decide: impl Fn(Policy) -> Result<Plan, String>,
    ) -> Result<Lesson, LaunchError> {
        let (verified, _) = verify::verify(&self.ask, &self.policy)
            .map_err(|source| LaunchError::Verify { source })?;
        let manifest = match &verified.subject {
            Subject::Plugin(plugin) => Some(&plugin.manifest),
            Subject::Program(_) => None,
        };
        let around = Surroundings::of(&verified.caller);
        Ok(learn::of_refused(
            manifest,
            unmet,
            &around,
            &self.policy,
            decide,
        ))
    }

    fn not_begun(&self, undecided: Undecided) -> LaunchError {
        let task = self.around.task.as_deref();
        match undecided {
            Undecided::Error(error) => error,
            Undecided::Outcome(outcome) => LaunchError::Ended {
                report: Box::new(crate::report::without_plan(
                    &launch::new_id(),
                    task,
                    outcome,
                )),
            },
        }
    }

    fn preset(&self) -> Preset {
        let said = self.policy.flags.preset;
        let said = said.or(self.policy.preset.as_ref().map(|said| said.value));
        said.unwrap_or(match self.ask {
            Ask::Program { .. } => Preset::Standard,
            Ask::Plugin { .. } => Preset::Strict,
        })
    }

    /// Looks at the program and decides, once for many launches.
    ///
    /// # Errors
    /// As for [`plan`](Self::plan).
    pub fn prepare(self) -> Result<Prepared, LaunchError> {
        let preset = self.preset();
        match decide(
            &self.ask,
            self.policy.clone(),
            preset,
            facts::known_for,
            Where::Here,
        ) {
            Ok(decided) => Ok(Prepared::new(decided)),
            Err(undecided) => Err(self.not_begun(undecided)),
        }
    }

    /// Launches it, and returns when the program runs. Works on any executor.
    ///
    /// The look at the program's files is done at once, on the calling thread;
    /// it takes about a millisecond, or longer for a plugin of many megabytes.
    ///
    /// # Errors
    /// Where the program does not run; see [`LaunchError`].
    pub async fn launch(self) -> Result<Running, LaunchError> {
        let preset = self.preset();
        let ahead = Ahead::guess(preset, &self.policy);
        let Self {
            ask,
            policy,
            around,
        } = self;
        launch::launch(
            move || decide(&ask, policy, preset, facts::known_for, Where::Here),
            ahead,
            around,
        )
        .await
    }

    /// Launches it with stdout and stderr piped, and waits for its end.
    ///
    /// # Errors
    /// As for [`launch`](Self::launch).
    pub async fn output(mut self) -> Result<Output, LaunchError> {
        let Three { stdout, stderr, .. } = &mut self.around.three;
        *stdout = Stdio::piped();
        *stderr = Stdio::piped();
        Ok(Output::of(self.launch().await?).await)
    }
}

impl Output {
    /// Everything from a jar whose stdout and stderr are piped.
    pub(crate) async fn of(mut running: Running) -> Self {
        drop(running.stdin());
        let stdout = running.stdout();
        let stderr = running.stderr();
        let (stdout, stderr) = tokio::join!(read(stdout), read(stderr));
        let report = running.wait().await;
        Self {
            report,
            stdout,
            stderr,
        }
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What was read until an error is what there is.
        let _ = stream.read_to_end(&mut bytes).await;
    }
    bytes
}

/// A plan alone, or why there is none.
fn planned(decided: Result<Decided, Undecided>) -> Result<Plan, String> {
    match decided {
        Ok(decided) => Ok(Plan::clone(&decided.plan)),
        Err(undecided) => Err(undecided.reason()),
    }
}

/// Which machine a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Here,
    /// One of which there are facts alone.
    Elsewhere,
}

/// bytes -> Manifest -> Verified -> Plan: the flow up to the launch.
fn decide(
    ask: &Ask,
    policy: Policy,
    preset: Preset,
    look: impl Fn(Preset) -> HostFacts,
    place: Where,
) -> Result<Decided, Undecided> {
    let (mut verified, image) =
        verify::verify(ask, &policy).map_err(|source| match source.outcome() {
            Some(outcome) => Undecided::Outcome(outcome),
            None => Undecided::Error(LaunchError::Verify { source }),
        })?;
    let mut facts = look(preset);
    let mut plan = plan(&mut verified, &policy, &facts, place)?;
    if plan.preset != preset {
        // The policy has another preset for this very plugin, which shows
        // other places.
        facts = look(plan.preset);
        plan = self::plan(&mut verified, &policy, &facts, place)?;
    }
    let (plan, digest) = launch::shared(plan);
    let basis = Basis {
        verified,
        image,
        policy,
    };
    Ok(Decided {
        basis: Arc::new(basis),
        facts: Arc::new(facts),
        plan,
        digest,
        fixed: Fixed::No,
    })
}

/// Plans, and once more where what is granted for writing turns out to be a project whose
/// quota can hold it: which paths those are, only a plan tells.
fn plan(
    verified: &mut Verified,
    policy: &Policy,
    facts: &HostFacts,
    place: Where,
) -> Result<Plan, Refusal> {
    /// Stands for whatever is found.
    const ANY: Option<u32> = Some(u32::MAX);
    verified.project = None;
    let first = belljar_policy::plan(verified, policy, facts);
    if place == Where::Elsewhere {
        return first;
    }
    let project = match &first {
        Ok(plan) => supervise::project(plan),
        // With a quota it may be what was demanded.
        Err(Refusal::Unmet { .. }) => {
            verified.project = ANY;
            let with = belljar_policy::plan(verified, policy, facts);
            with.ok().and_then(|plan| supervise::project(&plan))
        }
        Err(_) => None,
    };
    verified.project = project;
    match project {
        Some(_) => belljar_policy::plan(verified, policy, facts),
        None => first,
    }
}
