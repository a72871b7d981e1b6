//! The calling process as it confines itself: first whatever can fail and leaves it as it
//! is, then what holds for good; landlock(7), seccomp(2), capabilities(7), prctl(2).

mod calls;
mod start;

use std::{
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
};

use belljar_plan::{Resource, Step, step::OwnedStep};
use belljar_policy::confine::{Held, HeldKind};
use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags},
    thread::CapabilitySet,
};

pub(crate) use self::start::Start;
use crate::confine::ConfineError;

/// What this process is, as far as confining it goes.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) threads: usize,
    pub(crate) capabilities: bool,
    pub(crate) bounding: bool,
    pub(crate) held: Vec<Held>,
}

/// Looks at this process and the descriptors that it keeps.
pub(crate) fn look(kept: &[RawFd]) -> Result<Own, ConfineError> {
    let failed = |what| move |source| ConfineError::Look { what, source };
    let sets = rustix::thread::capabilities(None)
        .map_err(|errno| failed("its capabilities")(errno.into()))?;
    let (threads, capabilities) = threads().map_err(failed("its threads, in /proc/self/task"))?;
    let mut held = Vec::new();
    for number in [0, 1, 2].iter().chain(kept) {
        match self::held(*number) {
            Ok(kind) => held.push(Held {
                number: *number,
                kind,
            }),
            // A stream may be closed.
            Err(rustix::io::Errno::BADF) if *number <= 2 => {}
            Err(errno) => return Err(failed("a descriptor that it is to keep")(errno.into())),
        }
    }
    Ok(Own {
        threads,
        capabilities,
        bounding: sets.effective.contains(CapabilitySet::SETPCAP),
        held,
    })
}

/// How many there are, and whether any of them has a capability; proc_pid_status(5).
fn threads() -> io::Result<(usize, bool)> {
    let (mut count, mut capable) = (0, false);
    for task in fs::read_dir("/proc/self/task")? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        count += 1;
        capable |= status.lines().any(|line| {
            let set = ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"]
                .iter()
                .find_map(|name| line.strip_prefix(name));
            set.is_some_and(|set| set.trim().bytes().any(|digit| digit != b'0'))
        });
    }
    match count {
        0 => Err(io::ErrorKind::NotFound.into()),
        count => Ok((count, capable)),
    }
}

fn held(number: RawFd) -> Result<HeldKind, rustix::io::Errno> {
    // SAFETY: it is only looked at; a number that is not open fails with EBADF.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let stat = rustix::fs::fstat(fd)?;
    let mode = rustix::fs::fcntl_getfl(fd)?;
    let writes = mode & OFlags::RWMODE;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        _ if mode.contains(OFlags::PATH) => HeldKind::Place,
        FileType::Directory => HeldKind::Place,
        FileType::RegularFile if writes == OFlags::RDWR => HeldKind::WrittenFile { read: true },
        FileType::RegularFile if writes == OFlags::WRONLY => HeldKind::WrittenFile { read: false },
        _ => HeldKind::Other,
    })
}

/// All that can fail is done, and nothing holds yet. Dropping it leaves the process as it was.
pub(crate) struct Prepared {
    ruleset: Option<OwnedFd>,
    null: OwnedFd,
    /// What holds for good, in order.
    rest: Vec<OwnedStep>,
    start: Option<Start>,
}

impl Prepared {
    /// Makes the set of Landlock's rules, and looks whether the rest can be done.
    pub(crate) fn new(steps: &[OwnedStep], start: Option<Start>) -> Result<Self, ConfineError> {
        let failed = |step: &OwnedStep| {
            let step = describe(step);
            move |source| ConfineError::Prepare { step, source }
        };
        let mut ruleset = None;
        let mut rest = Vec::new();
        for step in steps {
            match step {
                Step::Ruleset {
                    files,
                    network,
                    scopes,
                } => {
                    let set = calls::landlock_ruleset(*files, *network, *scopes);
                    ruleset = Some(set.map_err(failed(step))?);
                }
                Step::AllowPath {
                    path,
                    access,
                    optional,
                } => {
                    let allowed = match &ruleset {
                        Some(set) => allow(set, &path.0, *access),
                        None => Err(io::ErrorKind::InvalidInput.into()),
                    };
                    match allowed {
                        // It came to be no directory, or is gone: then nothing is allowed.
                        Err(_) if *optional => {}
                        allowed => allowed.map_err(failed(step))?,
                    }
                }
                Step::Filter { .. } => {
                    calls::seccomp_can_refuse().map_err(failed(step))?;
                    rest.push(step.clone());
                }
                step => rest.push(step.clone()),
            }
        }
        if ruleset.is_some() {
            // It shows afterwards that the domain holds.
            canary().map_err(|source| ConfineError::Prepare {
                step: "canary".to_owned(),
                source,
            })?;
        }
        let null = calls::null().map_err(|source| ConfineError::Prepare {
            step: "close_descriptors".to_owned(),
            source,
        })?;
        Ok(Self {
            ruleset,
            null,
            rest,
            start,
        })
    }

    /// Does the rest, which cannot be taken back. Gives what starts the program.
    pub(crate) fn apply(mut self, kept: &[RawFd]) -> Result<Option<Start>, ConfineError> {
        let mut applied: Vec<String> = Vec::new();
        let rest = std::mem::take(&mut self.rest);
        for step in &rest {
            if let Err(source) = self.one(step, kept) {
                let step = describe(step);
                return Err(match applied.is_empty() {
                    true => ConfineError::Prepare { step, source },
                    false => ConfineError::HalfApplied {
                        step,
                        applied,
                        source,
                    },
                });
            }
            applied.push(describe(step));
        }
        Ok(self.start)
    }

    fn one(&mut self, step: &OwnedStep, kept: &[RawFd]) -> io::Result<()> {
        match step {
            Step::NoNewPrivs {} => calls::no_new_privs(),
            Step::CloseDescriptors {} => {
                let ruleset = self.ruleset.iter().map(|set| set.as_raw_fd());
                let kept: Vec<RawFd> = ruleset.chain(kept.iter().copied()).collect();
                calls::lead_nowhere(&self.null, &kept)
            }
            Step::Securebits {} => calls::lock_securebits(),
            Step::Capabilities { .. } => calls::empty_capabilities(),
            Step::Restrict { quiet } => self.restrict(*quiet),
            Step::Rlimit {
                resource,
                soft,
                hard,
            } => calls::bound(*resource, *soft, *hard),
            Step::FixedCode {} => calls::fix_code(),
            Step::Filter {
                program,
                arguments_low,
                arguments_high,
                variables_low,
                variables_high,
                ..
            } => {
                let places = [
                    *arguments_low,
                    *arguments_high,
                    *variables_low,
                    *variables_high,
                ];
                let mut program = program.0.clone();
                match (&self.start, places.iter().any(|place| *place != 0)) {
                    (Some(start), true) => start.put_into(&mut program, places)?,
                    (None, true) => return Err(io::ErrorKind::InvalidInput.into()),
                    (_, false) => {}
                }
                calls::filter_all_threads(&program)
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Enters the domain, and sees that it holds.
    fn restrict(&mut self, quiet: bool) -> io::Result<()> {
        let set = self.ruleset.take().ok_or(io::ErrorKind::InvalidInput)?;
        calls::landlock_restrict(&set, quiet)?;
        match canary() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(io::Error::other(
                "the domain is there and does not hold: what it does not allow could be opened",
            )),
        }
    }
}

/// Opens for writing what this process may and no domain of ours lets it: nothing is written.
fn canary() -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/proc/self/comm", flags, Mode::empty()).map(drop)?)
}

fn allow(set: &OwnedFd, path: &[u8], access: u64) -> io::Result<()> {
    let whole = [b"/", path].concat();
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let place = rustix::fs::openat2(
        rustix::fs::CWD,
        whole.as_slice(),
        flags,
        Mode::empty(),
        ResolveFlags::NO_MAGICLINKS,
    )?;
    calls::landlock_allow(set, &place, access)
}

/// A step for people.
fn describe(step: &OwnedStep) -> String {
    match step {
        Step::AllowPath { path, .. } => format!("{} /{}", step.word(), path.escaped()),
        Step::Rlimit { resource, .. } => {
            format!("{} {}", step.word(), resource_word(*resource))
        }
        _ => step.word().to_owned(),
    }
}

fn resource_word(resource: Resource) -> String {
    format!("{resource:?}").to_lowercase()
}
