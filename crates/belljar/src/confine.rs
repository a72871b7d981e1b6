//! Confining the calling process: for hosts that sandbox their own workers. What a process
//! can lay upon itself is decided by [`belljar_policy::confine`], and applied here; there is
//! no launcher, no supervisor and no way back.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use belljar_plan::{
    Bytes, Preset,
    confined::{Confined, SCHEMA},
    report::{EnforcementReport, LandlockReport},
};
use belljar_policy::{
    Policy, Refusal, UnixPath,
    confine::{self as planner, Confinement, Decision, Entry, Mapped, Process, Start},
};

pub use belljar_policy::confine::Unsupported;

use crate::{
    facts,
    report::ReportTo,
    sys::{
        self as system, confine as sys,
        look::{self, EntryKind},
    },
    verify::{self, Ask, VerifyError},
};

/// The most entries of one directory that are looked at, where something in it is hidden.
const ENTRIES: usize = 1 << 16;

/// What came of confining this process. Nothing else was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a process that is not confined must not go on as if it were"]
pub enum Status {
    /// It is confined, for good, and so is all that it starts from now on.
    Applied(Box<Confined>),
    /// It cannot be done in this process or on this system, and nothing was changed.
    Unsupported(Unsupported),
}

/// Why this process is not confined as it was asked for.
///
/// But for [`ConfineError::HalfApplied`] and [`ConfineError::Start`], nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// A path or program that the policy names could not be looked at.
    #[error("cannot verify what this process is to be confined to")]
    Verify(#[source] VerifyError),
    /// The policy asks for what a process cannot hold of itself, or this machine does not
    /// hold what is required.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What this process is could not be found out.
    #[error("cannot look at this process: {what}")]
    Look {
        /// What was looked for.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The report cannot be put in its place.
    #[error("cannot write the report to `{}`", file.display())]
    Report {
        /// The file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A step failed while all could still be undone, and was.
    #[error("cannot confine this process, and nothing was changed: `{step}` failed")]
    Prepare {
        /// The step, and what it is about.
        step: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A step failed after others that cannot be taken back. The process is neither as it
    /// was nor confined: end it.
    #[error("this process is half confined, and must end: `{step}` failed after {}", applied.join(", "))]
    HalfApplied {
        /// The step.
        step: String,
        /// What was applied, in order.
        applied: Vec<String>,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// It is confined, and the program cannot be started.
    #[error("this process is confined, and `{}` cannot be started", path.escaped())]
    Start {
        /// The program.
        path: Bytes,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Applies a policy to the calling process, for good: rlimits, no_new_privs, Landlock, a
/// filter of system calls on all threads, no descriptors but 0, 1 and 2, no capabilities.
/// Where the policy says no preset it is `strict`.
///
/// It is one-way. Children inherit it. Call it before any thread is started: Landlock holds
/// the calling thread alone, so that with more than one the answer is
/// [`Status::Unsupported`], and nothing is changed.
///
/// Every descriptor above 2 leads to /dev/null afterwards: its number stays taken, so that
/// whoever owns it can still close it. [`Confine::keep`] keeps one.
///
/// What a process cannot lay upon itself (the network, other tasks, limits of all processes
/// together, and more) is listed in the report as `not in confine`; a policy that requires
/// one of those is refused. `docs/confine.md` tells what holds and what does not.
///
/// ```
/// use belljar::{Policy, confine::{Status, confine}};
///
/// # fn worker() -> Result<(), Box<dyn std::error::Error>> {
/// let policy = Policy::strict().allow_read("/usr/share")?;
/// match confine(&policy)? {
///     Status::Applied(report) => {
///         for rule in &report.enforcement {
///             println!("{}: {} by {}", rule.rule, rule.applied, rule.planned.mechanism);
///         }
///     }
///     Status::Unsupported(why) => return Err(format!("{}: {}", why.what, why.remedy).into()),
/// }
/// assert!(std::fs::read("/etc/passwd").is_err());
/// # Ok(())
/// # }
/// # // Tests run in threads, where the answer is `Unsupported`, and nothing is changed.
/// # if std::env::var_os("BELLJAR_CONFINE_FOR_GOOD").is_some() { worker().unwrap(); }
/// ```
///
/// # Errors
/// [`ConfineError`]. Only after [`ConfineError::HalfApplied`] is the process not as it was.
pub fn confine(policy: &Policy) -> Result<Status, ConfineError> {
    Confine::by(policy).apply()
}

/// Confining the calling process, with what is to be said besides its policy.
#[derive(Debug)]
#[must_use = "nothing is confined before `apply` or `start`"]
pub struct Confine<'fd> {
    policy: Policy,
    kept: Vec<BorrowedFd<'fd>>,
    report_to: Option<ReportTo>,
}

/// What was looked at and decided.
enum Decided {
    Plan(Box<Confinement>),
    Unsupported(Unsupported),
}

impl<'fd> Confine<'fd> {
    /// By a policy. Its flags are the operator's explicit words.
    pub fn by(policy: &Policy) -> Self {
        Self {
            policy: planner::with_preset(policy),
            kept: Vec::new(),
            report_to: None,
        }
    }

    /// Keeps a descriptor beyond 0, 1 and 2, also for a program that is started. A directory,
    /// a path alone, a file that is open for writing or a unix socket without a peer of its
    /// own is refused when it is applied: each is a way out. It has to stay open until then:
    ///
    /// ```compile_fail,E0505
    /// use std::{fs::File, os::fd::AsFd};
    ///
    /// use belljar::{Policy, confine::Confine};
    ///
    /// let file = File::open("/dev/null").unwrap();
    /// let confine = Confine::by(&Policy::strict()).keep(file.as_fd());
    /// drop(file);
    /// confine.plan().unwrap();
    /// ```
    pub fn keep(mut self, descriptor: BorrowedFd<'fd>) -> Self {
        self.kept.push(descriptor);
        self
    }

    /// Where [`Confine::start`] writes the report. A file is replaced, by an empty one, when all
    /// is decided and nothing is applied yet, and filled just before the start: afterwards
    /// no directory may be written. The program gets no descriptor of it.
    pub fn report_to(mut self, to: ReportTo) -> Self {
        self.report_to = Some(to);
        self
    }

    /// Decides, and applies nothing.
    ///
    /// # Errors
    /// [`ConfineError::Verify`], [`ConfineError::Refused`] and [`ConfineError::Look`].
    pub fn plan(&self) -> Result<Decision, ConfineError> {
        let decided = self.decide(None)?;
        Ok(match decided {
            Decided::Plan(plan) => Decision::Plan(plan),
            Decided::Unsupported(unsupported) => Decision::Unsupported(unsupported),
        })
    }

    /// Confines the calling process, which goes on as the program that it is.
    ///
    /// # Errors
    /// As [`confine`].
    pub fn apply(self) -> Result<Status, ConfineError> {
        let plan = match self.decide(None)? {
            Decided::Plan(plan) => plan,
            Decided::Unsupported(unsupported) => return Ok(Status::Unsupported(unsupported)),
        };
        sys::Prepared::new(&plan.steps, None)?.apply(&self.numbers())?;
        Ok(Status::Applied(Box::new(self.told(*plan))))
    }

    /// Confines the calling process and has it become a program, with this process's
    /// environment. In `strict` that is the last program that it starts. `tell` gets the
    /// report when all is applied, just before the start, and whether it could be written
    /// to where [`Confine::report_to`] says; the filter holds it too.
    ///
    /// It returns only where nothing was started.
    ///
    /// # Errors
    /// As [`confine`]; [`ConfineError::Start`] where the process is confined already.
    pub fn start(
        mut self,
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
        tell: impl FnOnce(&Confined, io::Result<()>),
    ) -> Result<Unsupported, ConfineError> {
        let report = self.report_to.take().map(Report::find).transpose()?;
        let ask = Ask::Program {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
        };
        let plan = match self.decide(Some(&ask))? {
            Decided::Plan(plan) => plan,
            Decided::Unsupported(unsupported) => return Ok(unsupported),
        };
        let (path, arguments) = plan.program.clone().unwrap_or_default();
        let start = sys::Start::new(&path, &arguments, &environment())?;
        let prepared = sys::Prepared::new(&plan.steps, Some(start))?;
        let report = report.map(Report::open).transpose()?;
        let mut kept = self.numbers();
        kept.extend(report.iter().map(|file| file.as_raw_fd()));
        let start = prepared.apply(&kept)?;
        let confined = self.told(*plan);
        tell(&confined, report.map_or(Ok(()), |to| write(&confined, to)));
        let source = match start {
            Some(start) => start.go(&self.numbers()),
            None => io::ErrorKind::InvalidInput.into(),
        };
        Err(ConfineError::Start { path, source })
    }

    fn numbers(&self) -> Vec<RawFd> {
        self.kept.iter().map(|fd| fd.as_raw_fd()).collect()
    }

    /// The flow: look, decide. Without a program that is started the process stays.
    fn decide(&self, program: Option<&Ask>) -> Result<Decided, ConfineError> {
        let policy = &self.policy;
        let preset = policy
            .flags
            .preset
            .or(policy.preset.as_ref().map(|said| said.value))
            .unwrap_or(Preset::Strict);
        let (verified, start) = match program {
            Some(ask) => verify::verify(ask, policy).map(|(program, _)| (program, Start::Executes)),
            None => verify::paths(policy).map(|paths| (paths, Start::Stays)),
        }
        .map_err(ConfineError::Verify)?;
        let facts = facts::facts_for(preset);
        let entries = planner::listed(&verified, policy, &facts)
            .into_iter()
            .map(|directory| {
                let entries = entries(&directory);
                (directory, entries)
            })
            .collect::<BTreeMap<_, _>>();
        // Last, since looking may open what is closed by then.
        let own = sys::look(&self.numbers())?;
        let process = Process {
            threads: own.threads,
            filtered_apart: own.filtered_apart,
            capabilities: own.capabilities,
            bounding: own.bounding,
            start,
            held: own.held,
            beyond_limit: own.beyond_limit,
            // What is no path of the policy's kind can't be granted either.
            procs: own
                .procs
                .iter()
                .filter_map(|at| UnixPath::new(at).ok())
                .collect(),
            mapped: Mapped {
                writable: own.writable_code,
                // What is no path of the policy's kind lies in no grant.
                files: own
                    .code
                    .iter()
                    .filter_map(|file| UnixPath::new(file).ok())
                    .collect(),
            },
            entries,
        };
        Ok(match planner::plan(&verified, policy, &facts, &process)? {
            Decision::Plan(plan) => Decided::Plan(plan),
            Decision::Unsupported(unsupported) => Decided::Unsupported(unsupported),
        })
    }

    /// The report, where every step was applied.
    fn told(&self, plan: Confinement) -> Confined {
        Confined {
            schema: SCHEMA,
            preset: plan.preset,
            enforcement: plan
                .rules
                .into_iter()
                .map(|rule| EnforcementReport {
                    rule: rule.rule,
                    requested: rule.requested,
                    applied: rule.planned.strength,
                    planned: rule.planned,
                })
                .collect(),
            landlock: plan.landlock.map(|landlock| LandlockReport {
                abi: landlock.abi,
                requested: [&landlock.handled[..], &landlock.missing].concat(),
                applied: landlock.handled.clone(),
                planned: landlock.handled,
            }),
            limits: plan.limits,
            grants: plan.grants,
            hidden: plan.hidden,
            kept: self.numbers(),
            weakenings: plan.weakenings,
            notes: plan.notes,
        }
    }
}

/// Where a report goes, from before anything is looked at until it is written.
enum Report {
    File { spot: system::Spot, file: PathBuf },
    Descriptor(File),
}

impl Report {
    fn find(to: ReportTo) -> Result<Self, ConfineError> {
        match to {
            ReportTo::Descriptor(fd) => Ok(Self::Descriptor(fd.into())),
            ReportTo::File(file) => match system::spot(&file) {
                Ok(spot) => Ok(Self::File { spot, file }),
                Err(source) => Err(ConfineError::Report { file, source }),
            },
        }
    }

    /// Puts an empty file there, which is written later.
    fn open(self) -> Result<File, ConfineError> {
        match self {
            Self::Descriptor(open) => Ok(open),
            Self::File { spot, file } => system::random()
                .map(|unique| format!("{:x}", u128::from_le_bytes(unique)))
                .and_then(|unique| system::replace(&spot, &unique, &[], system::SHARED))
                .map_err(|source| ConfineError::Report { file, source }),
        }
    }
}

fn write(confined: &Confined, mut to: File) -> io::Result<()> {
    let mut text = serde_json::to_vec(confined)?;
    text.push(b'\n');
    to.write_all(&text)
}

/// What is in a directory. What cannot be seen is not allowed.
fn entries(directory: &UnixPath) -> Vec<Entry> {
    let opened = look::open_directory(Path::new(directory.as_str()));
    let listed = opened.and_then(|opened| look::entries(opened.as_fd(), ENTRIES));
    let listed = listed.ok().flatten().unwrap_or_default();
    listed
        .into_iter()
        .filter_map(|(name, kind)| {
            let directory = match kind {
                EntryKind::Directory => true,
                // What it leads to is allowed by its own path, or not at all.
                EntryKind::Link => return None,
                EntryKind::File | EntryKind::Other(_) => false,
            };
            let name = String::from_utf8(name).ok()?;
            Some(Entry { name, directory })
        })
        .collect()
}

/// This process's environment, as exec takes it.
fn environment() -> Vec<Bytes> {
    let pair = |(name, value): (OsString, OsString)| {
        let bytes = |text: &OsStr| text.as_bytes().to_vec();
        Bytes([bytes(&name), b"=".to_vec(), bytes(&value)].concat())
    };
    std::env::vars_os().map(pair).collect()
}
