//! The library under measure: every use of it is here.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use belljar::{
    HostFacts, Jar, LaunchError, Outcome, Parking, Policy, Prepared, Running, Stdio,
    policy::{
        UnixPath,
        manifest::{Bound, Place},
    },
    set_parking,
};
use belljar_plan::{Limit, Plan, Preset};

use tokio::io::AsyncReadExt as _;

use crate::floor::{PARKED, Start};

/// The library with a runtime to await it on.
pub(crate) struct Library {
    runtime: tokio::runtime::Runtime,
    prepared: Option<Prepared>,
}

/// What is to be run.
#[derive(Clone, Copy)]
pub(crate) struct What<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) preset: Preset,
    /// A granted directory.
    pub(crate) write: Option<&'a Path>,
    /// With its limit of processor time, which takes a cgroup of the jar's own where one
    /// can be made. The floor has none, so that without it both do the same.
    pub(crate) cpu_time: bool,
}

impl<'a> What<'a> {
    /// The program and nothing else, under `strict`.
    pub(crate) const fn strict(program: &'a Path) -> Self {
        Self {
            program,
            arguments: &[],
            preset: Preset::Strict,
            write: None,
            cpu_time: false,
        }
    }

    fn jar(&self) -> Result<Jar, String> {
        let mut policy = Policy::default();
        policy.flags.preset = Some(self.preset);
        if !self.cpu_time {
            policy.flags.limits.insert(Limit::CpuTime, Bound::default());
        }
        if let Some(path) = self.write {
            let text = path.to_str().ok_or("the directory's name is no text")?;
            policy.flags.write.push(Place {
                path: UnixPath::new(text).map_err(|error| chain(&error))?,
                at: None,
            });
        }
        Ok(Jar::program(self.program)
            .args(self.arguments)
            .policy(policy)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()))
    }
}

/// When the library looks at the program and decides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decided {
    /// In every launch.
    Anew,
    /// Before the first.
    Before,
}

fn jar(program: &Path) -> Result<Jar, String> {
    What::strict(program).jar()
}

/// The plan of a strict launch of a program, here and now.
pub(crate) fn plan(program: &Path) -> Result<Plan, String> {
    plan_of(&What::strict(program))
}

/// The plan of a launch, here and now.
pub(crate) fn plan_of(what: &What<'_>) -> Result<Plan, String> {
    what.jar()?.plan().map_err(|error| chain(&error))
}

/// The same for facts that are known.
pub(crate) fn plan_for(program: &Path, facts: &HostFacts) -> Result<Plan, String> {
    jar(program)?.plan_for(facts).map_err(|error| chain(&error))
}

/// Runs something to its end with its events taken; gives what it wrote.
pub(crate) fn output(what: &What<'_>) -> Result<String, String> {
    let jar = what.jar()?;
    runtime()?.block_on(async {
        let mut running = jar.launch().await.map_err(|error| chain(&error))?;
        let (mut said, mut complained) = (String::new(), String::new());
        let mut stdout = running.stdout().ok_or("its stdout is piped")?;
        let mut stderr = running.stderr().ok_or("its stderr is piped")?;
        let mut events = running.events().ok_or("nobody has taken its events")?;
        let heard = async { while events.next().await.is_some() {} };
        let (_, out, err, report) = tokio::join!(
            heard,
            stdout.read_to_string(&mut said),
            stderr.read_to_string(&mut complained),
            running.wait(),
        );
        out.and(err).map_err(|error| error.to_string())?;
        match report.outcome {
            Outcome::Exited { code: 0 } => Ok(said),
            outcome => Err(format!("{outcome:?}: {complained}")),
        }
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))
}

impl Library {
    pub(crate) fn start() -> Result<Self, String> {
        Ok(Self {
            runtime: runtime()?,
            prepared: None,
        })
    }

    /// Launches a program and waits for its end: the time until it runs and
    /// until its report is there.
    pub(crate) fn launch(
        &mut self,
        program: &Path,
        start: Start,
        decided: Decided,
    ) -> Result<Vec<Duration>, String> {
        if decided == Decided::Before && self.prepared.is_none() {
            self.prepared = Some(jar(program)?.prepare().map_err(|error| chain(&error))?);
        }
        if start == Start::Parked {
            // A launch leaves a child ready for the next one.
            set_parking(Parking::One);
            self.once(program)?;
            std::thread::sleep(PARKED);
        }
        set_parking(Parking::None);
        match (&self.prepared, decided) {
            (Some(prepared), Decided::Before) => {
                let start = prepared.start();
                let start = start.stdin(Stdio::piped()).stdout(Stdio::piped());
                self.timed(start.stderr(Stdio::piped()).launch())
            }
            _ => self.once(program),
        }
    }

    /// The same, in a cgroup of its own, where one can be made.
    pub(crate) fn launch_with_cgroup(&self, program: &Path) -> Result<Vec<Duration>, String> {
        set_parking(Parking::None);
        let what = What {
            cpu_time: true,
            ..What::strict(program)
        };
        self.timed(what.jar()?.launch())
    }

    /// Plans and launches one, without a child made ahead.
    pub(crate) fn once(&self, program: &Path) -> Result<Vec<Duration>, String> {
        self.timed(jar(program)?.launch())
    }

    fn timed(
        &self,
        launch: impl Future<Output = Result<Running, LaunchError>>,
    ) -> Result<Vec<Duration>, String> {
        self.runtime.block_on(async {
            let before = Instant::now();
            let mut running = launch.await.map_err(|error| chain(&error))?;
            let exec = before.elapsed();
            let report = running.wait().await;
            let reported = before.elapsed();
            match report.outcome {
                Outcome::Exited { code: 0 } => Ok(vec![exec, reported]),
                outcome => Err(format!("{outcome:?}")),
            }
        })
    }

    /// Launches so many jars at once, and waits for the end of all.
    pub(crate) fn crowd(&self, program: &Path, count: usize) -> Result<(), String> {
        set_parking(Parking::None);
        self.runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..count {
                let jar = jar(program)?;
                tasks.spawn(async move {
                    let mut running = jar.launch().await.map_err(|error| chain(&error))?;
                    match running.wait().await.outcome {
                        Outcome::Exited { code: 0 } => Ok(()),
                        outcome => Err(format!("{outcome:?}")),
                    }
                });
            }
            let mut failed: Vec<String> = Vec::new();
            while let Some(ended) = tasks.join_next().await {
                failed.extend(ended.map_err(|error| error.to_string())?.err());
            }
            match failed.first() {
                None => Ok(()),
                Some(first) => Err(format!("{} of {count} failed: {first}", failed.len())),
            }
        })
    }

    /// Launches as many jars as are asked for, which stay.
    pub(crate) fn keep(&self, program: &Path, count: usize) -> Result<Vec<Running>, String> {
        self.runtime.block_on(async {
            let mut kept = Vec::with_capacity(count);
            for _ in 0..count {
                kept.push(
                    jar(program)?
                        .launch()
                        .await
                        .map_err(|error| chain(&error))?,
                );
            }
            Ok(kept)
        })
    }

    /// Ends all jars by one call; how many there were.
    pub(crate) fn kill_all(&self) -> usize {
        self.runtime.block_on(belljar::kill_all())
    }

    /// Ends jars that were kept.
    pub(crate) fn end(&self, kept: Vec<Running>) {
        self.runtime.block_on(async {
            for mut running in kept {
                running.kill();
                let _report = running.wait().await;
            }
        });
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
