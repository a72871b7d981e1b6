//! A running jar: watched, stopped and reported on the thread `belljar`; what
//! the host holds of it is [`Running`].

mod all;
mod bucket;
mod change;
mod conclude;
mod decide;
mod denials;
mod flood;
mod growth;
mod look;
mod observe;
mod pause;
mod perform;
mod receipts;
mod setup;
mod signs;
mod task;
mod usage;
mod watch;
mod watched;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use belljar_plan::{
    Limit, Outcome, Plan, Report,
    event::{Freezer, Sample},
    message::Request,
    outcome::StoppedBy,
};
use belljar_policy::{manifest::Bound, policy::Said};
use tokio::sync::{mpsc, oneshot, watch as latest};

#[cfg(test)]
pub(crate) fn test_plan(steps: Vec<belljar_plan::step::OwnedStep>) -> Plan {
    receipts::tests::plan(steps, Vec::new())
}

pub(crate) use self::all::All;
use self::change::Update;
pub use self::{
    all::{kill_all, stop_all},
    change::UpdateError,
    pause::{PauseError, Wall},
};
pub(crate) use self::{
    growth::{Grants, project},
    receipts::Receipts,
    task::supervise,
};
use crate::{
    events::{Events, Monitor, Telling},
    launch::{Again, Engine},
    report::{self, Sink},
    streams::{GuestStderr, GuestStdin, GuestStdout, Meter, Terminal, Three, discard},
    sys::{Lease, Packets, cgroup::OwnCgroup},
};

/// Output that nobody reads, and whatever else only the end waits for, is given up after
/// so long, where Belljar ended the jar.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a host asks of a jar.
#[derive(Debug)]
pub(crate) enum Asked {
    Signal(i32),
    /// Look at it now, and tell what was seen where somebody waits for that.
    Look(Option<oneshot::Sender<Sample>>),
    Limits(Update),
    Pause(Wall, oneshot::Sender<pause::Paused>),
    Resume(oneshot::Sender<()>),
    Stop {
        by: StoppedBy,
        signal: i32,
        grace: Duration,
    },
    Kill,
}

/// Stops or signals a jar; copies lead to the same one.
#[derive(Clone, Debug)]
pub struct Control(mpsc::UnboundedSender<Asked>);

impl Control {
    /// Sends a signal to the plugin, by number: `SIGINT` and `SIGHUP` to its
    /// main process group, as a terminal would, all others to its main
    /// process. Does nothing once the jar has ended.
    pub fn signal(&self, signal: i32) {
        // A jar that has ended hears nothing more, and need not.
        let _ = self.0.send(Asked::Signal(signal));
    }

    /// Sends a signal, and destroys the jar if it still lives after the grace.
    /// A second stop destroys it at once.
    pub fn stop(&self, by: StoppedBy, signal: i32, grace: Duration) {
        // As above.
        let _ = self.0.send(Asked::Stop { by, signal, grace });
    }

    /// Destroys the jar at once.
    pub fn kill(&self) {
        // As above.
        let _ = self.0.send(Asked::Kill);
    }

    /// Has every task of the jar stand still, and returns when they do, with what has them.
    /// Calls that are held for the jar are answered first; a connect that somebody else
    /// makes for it is interrupted, and goes on, as connect(2) says. What the jar wrote
    /// is delivered meanwhile; limits of time but `wall` stand still with it.
    ///
    /// A jar that is paused already stays so. It can be killed; a [`stop`](Self::stop) with a
    /// grace has it go on, so that it can obey. Signals to it come when it goes on.
    ///
    /// In a cgroup the kernel's freezer does it, and nothing inside can tell. Without one pid 1
    /// stops all others by SIGSTOP, which is weaker: [`Freezer::Signals`] says how.
    ///
    /// # Errors
    /// [`PauseError`]; the jar goes on.
    pub async fn pause(&self, wall: Wall) -> Result<Freezer, PauseError> {
        let (reply, done) = oneshot::channel();
        if self.0.send(Asked::Pause(wall, reply)).is_err() {
            return Err(PauseError::Ended);
        }
        self.answer(done).await.unwrap_or(Err(PauseError::Ended))
    }

    /// Has a paused jar go on; one that goes on already does so.
    ///
    /// # Errors
    /// [`PauseError::Ended`]
    pub async fn resume(&self) -> Result<(), PauseError> {
        let (reply, done) = oneshot::channel();
        if self.0.send(Asked::Resume(reply)).is_err() {
            return Err(PauseError::Ended);
        }
        self.answer(done).await.ok_or(PauseError::Ended)
    }

    /// What is answered to a request; none where the jar has ended. One that was on its way
    /// as the last listened stays where it is, neither taken nor dropped.
    async fn answer<T>(&self, mut done: oneshot::Receiver<T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = &mut done => answer.ok(),
            () = self.0.closed() => done.try_recv().ok(),
        }
    }

    /// Has the jar looked at before it would be by itself.
    fn look(&self) {
        // As above.
        let _ = self.0.send(Asked::Look(None));
    }

    /// Looks at the jar now; none where it has ended.
    pub async fn sample(&self) -> Option<Sample> {
        let (reply, done) = oneshot::channel();
        self.0.send(Asked::Look(Some(reply))).ok()?;
        self.answer(done).await
    }

    /// Has other values of limits hold for the jar from now on. What a [`Bound`] does
    /// not say stays, and soft comes down to hard. Units are those of [`Limit`].
    ///
    /// All are looked at before the first is changed. They are changed in order; where
    /// the kernel refuses one, those before it are changed. Each change is an event and
    /// in the report. A limit that is below what the jar uses takes effect at once:
    /// memory and times end it, a number of tasks or descriptors refuses further ones.
    ///
    /// What a cgroup or the supervisor holds can be changed both ways. What the kernel
    /// holds for each process (`open_files`, `file_size`, and without a cgroup
    /// `processes`; `cpu_time`, and without a cgroup `memory`, where they come above the
    /// bound of each process that stands behind them) can only be lowered, but by a host with
    /// CAP_SYS_RESOURCE; getrlimit(2). Freezes the jar for some milliseconds meanwhile,
    /// where it has a cgroup.
    ///
    /// # Errors
    /// [`UpdateError`], for the first that cannot be changed.
    pub async fn update_limits(&self, limits: &[(Limit, Bound)]) -> Result<(), UpdateError> {
        let (update, done) = Update::new(limits)?;
        if self.0.send(Asked::Limits(update)).is_err() {
            return Err(UpdateError::Ended);
        }
        self.answer(done).await.unwrap_or(Err(UpdateError::Ended))
    }
}

/// A jar in which the program runs. Dropping it destroys the jar.
#[derive(Debug)]
pub struct Running {
    id: String,
    task: Option<String>,
    plan: Arc<Plan>,
    digest: Arc<str>,
    /// The process that launched it: a fork of it has no part in it.
    host: u32,
    pid: i32,
    control: Control,
    telling: Arc<Telling>,
    events: Option<Events>,
    streams: Handles,
    ended: latest::Receiver<Option<Arc<Report>>>,
    engine: Engine,
}

/// The streams that a host has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    pub(crate) stdin: Option<GuestStdin>,
    pub(crate) stdout: Option<GuestStdout>,
    pub(crate) stderr: Option<GuestStderr>,
    pub(crate) terminal: Option<Terminal>,
}

impl Running {
    /// The jar's unique id, as in its report.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What was decided before the launch.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// SHA-256 of the plan's canonical JSON, in hexadecimal.
    #[must_use]
    pub fn plan_digest(&self) -> &str {
        &self.digest
    }

    /// pid 1 of the jar, as the machine numbers it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The guest's stdin, where it is piped; once.
    pub fn stdin(&mut self) -> Option<GuestStdin> {
        self.streams.stdin.take()
    }

    /// The guest's stdout, where it is piped; once.
    pub fn stdout(&mut self) -> Option<GuestStdout> {
        self.streams.stdout.take()
    }

    /// The guest's stderr, where it is piped; once.
    pub fn stderr(&mut self) -> Option<GuestStderr> {
        self.streams.stderr.take()
    }

    /// The jar's own terminal, where it has one; once.
    pub fn terminal(&mut self) -> Option<Terminal> {
        self.streams.terminal.take()
    }

    /// What happens in the jar, such as soft limits and denied calls; once.
    pub fn events(&mut self) -> Option<Events> {
        self.events.take()
    }

    /// Events and samples of the jar, a sample about so often: no more often than a tenth of
    /// a processor allows, and not while there is nothing to be seen. The first who asks, by
    /// this or [`events`](Self::events), gets what happened until now too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use belljar::{Jar, Reading};
    /// # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut running = Jar::program("make").launch().await?;
    /// let mut monitor = running.watch(Duration::from_millis(200));
    /// while let Some(reading) = monitor.next().await {
    ///     match reading {
    ///         Reading::Sample { sample, .. } => println!("{} bytes", sample.memory),
    ///         Reading::Event(event) => println!("{event:?}"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&mut self, every: Duration) -> Monitor {
        let monitor = match self.events.take() {
            Some(events) => Telling::sampled(events, every),
            None => self.telling.monitor(every),
        };
        // The next look may be seconds away.
        self.control.look();
        monitor
    }

    /// Something to stop the jar with from elsewhere.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// See [`Control::signal`].
    pub fn signal(&self, signal: i32) {
        self.control.signal(signal);
    }

    /// See [`Control::stop`].
    pub fn stop(&self, by: StoppedBy, signal: i32, grace: Duration) {
        self.control.stop(by, signal, grace);
    }

    /// See [`Control::kill`].
    pub fn kill(&self) {
        self.control.kill();
    }

    /// Stops it as [`stop`](Self::stop) does, and waits until no task, mount, cgroup or file
    /// of the jar is left.
    pub async fn stop_and_wait(&mut self, by: StoppedBy, signal: i32, grace: Duration) -> Report {
        self.stop(by, signal, grace);
        self.wait().await
    }

    /// The same at once: [`kill`](Self::kill) and [`wait`](Self::wait).
    pub async fn kill_and_wait(&mut self) -> Report {
        self.kill();
        self.wait().await
    }

    /// See [`Control::sample`].
    pub async fn sample(&self) -> Option<Sample> {
        self.control.sample().await
    }

    /// See [`Control::pause`].
    ///
    /// ```
    /// use belljar::{Jar, Wall};
    /// # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
    /// let running = Jar::program("make").launch().await?;
    /// running.pause(Wall::Stops).await?;
    /// // The machine is wanted for something else meanwhile.
    /// running.resume().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there.
    pub async fn pause(&self, wall: Wall) -> Result<Freezer, PauseError> {
        self.control.pause(wall).await
    }

    /// See [`Control::resume`].
    ///
    /// # Errors
    /// As there.
    pub async fn resume(&self) -> Result<(), PauseError> {
        self.control.resume().await
    }

    /// See [`Control::update_limits`].
    ///
    /// ```
    /// use belljar::{Jar, Limit, UpdateError, policy::manifest::Bound};
    /// # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
    /// let running = Jar::program("make").launch().await?;
    /// // It was started with 2 GiB, and another jar is to have most of that now.
    /// let memory = Bound { hard: Some(512 << 20), ..Bound::default() };
    /// running.update_limits(&[(Limit::Memory, memory)]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there.
    pub async fn update_limits(&self, limits: &[(Limit, Bound)]) -> Result<(), UpdateError> {
        self.control.update_limits(limits).await
    }

    /// Waits until nothing of the jar is left, and tells how it ended. A report
    /// always comes, and the same one each time.
    ///
    /// Streams that nobody took are closed (stdin) or read and thrown away, so
    /// that the plugin can't wait for ever. Dropping the future loses nothing.
    pub async fn wait(&mut self) -> Report {
        drop(self.streams.stdin.take());
        if let Some(stdout) = self.streams.stdout.take() {
            self.engine.runtime.spawn(discard(stdout));
        }
        if let Some(stderr) = self.streams.stderr.take() {
            self.engine.runtime.spawn(discard(stderr));
        }
        if std::process::id() == self.host
            && let Ok(ended) = self.ended.wait_for(Option::is_some).await
            && let Some(report) = ended.as_ref()
        {
            return Report::clone(report);
        }
        report::of_plan(
            &self.id,
            self.task.as_deref(),
            &self.plan,
            &self.digest,
            Outcome::Lost,
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.kill();
    }
}

/// One attempt at a launch, on its way to the thread.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) task: Option<String>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) digest: Arc<str>,
    /// All but the jar's number.
    pub(crate) request: Request,
    pub(crate) descriptors: Vec<std::os::fd::OwnedFd>,
    /// What the next jar's child may begin with.
    pub(crate) again: Option<Again>,
    /// What the set-up says; only until the program runs.
    pub(crate) progress: Option<Packets>,
    /// Belljar's ends of the streams.
    pub(crate) ours: [Option<std::os::fd::OwnedFd>; 3],
    pub(crate) three: Three,
    pub(crate) meter: Arc<Meter>,
    pub(crate) sink: Sink,
    pub(crate) lease: Option<Lease>,
    /// The jar's own; removed when nobody looks at it any more.
    pub(crate) cgroup: Option<Arc<OwnCgroup>>,
    /// The most that its policy lets it have of each limit.
    pub(crate) most: BTreeMap<Limit, Said<Bound>>,
    /// What the guest may write to on the machine, where that is limited.
    pub(crate) grants: Option<Grants>,
    pub(crate) parked: Arc<Mutex<Option<Lease>>>,
    pub(crate) asked: mpsc::UnboundedReceiver<Asked>,
    pub(crate) events: Arc<Telling>,
    pub(crate) ended: latest::Sender<Option<Arc<Report>>>,
    pub(crate) reply: oneshot::Sender<Attempt>,
}

/// How an attempt at a launch went.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// The program runs.
    Running { pid: i32, streams: Handles },
    /// It does not, and nothing is left of the attempt.
    Failed {
        failure: Failure,
        three: Three,
        receipts: Option<Receipts>,
    },
}

/// Why the program does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A step of the plan failed; errno 0 where it was cut short.
    Step { index: usize, errno: i32 },
    /// Something of Belljar's own failed before the first step.
    Before { what: String, errno: i32 },
    /// A limit ended the jar before its program ran.
    Limit(Limit),
    /// The launcher was lost.
    Lost,
}

impl Job {
    /// There is no launcher.
    pub(crate) async fn refuse(self, error: std::io::Error) {
        let failure = Failure::Before {
            what: "start the launcher".to_owned(),
            errno: error.raw_os_error().unwrap_or(0),
        };
        task::failed(self, failure, None).await;
    }

    /// The launcher has ended.
    pub(crate) async fn lost(self) {
        task::failed(self, Failure::Lost, None).await;
    }
}

/// The host's half of a job.
pub(crate) struct Half {
    pub(crate) control: mpsc::UnboundedSender<Asked>,
    pub(crate) telling: Arc<Telling>,
    pub(crate) events: Events,
    pub(crate) ended: latest::Receiver<Option<Arc<Report>>>,
}

impl Running {
    pub(crate) fn new(
        id: String,
        task: Option<String>,
        plan: Arc<Plan>,
        digest: Arc<str>,
        (pid, streams): (i32, Handles),
        half: Half,
        engine: Engine,
    ) -> Self {
        Self {
            id,
            task,
            plan,
            digest,
            host: std::process::id(),
            pid,
            control: Control(half.control),
            telling: half.telling,
            events: Some(half.events),
            streams,
            ended: half.ended,
            engine,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    /// A request is on its way while its jar ends: it is neither taken nor dropped.
    fn ends_as_nobody_listens<T>(ask: impl AsyncFnOnce(Control) -> T) -> T {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let mut answer = pin!(ask(Control(sender)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(answer.as_mut().poll(&mut context).is_pending());
        receiver.close();
        match answer.as_mut().poll(&mut context) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("it waits for ever"),
        }
    }

    #[test]
    fn who_asks_as_the_jar_ends_does_not_wait_for_ever() {
        let paused = ends_as_nobody_listens(async |control| control.pause(Wall::Runs).await);
        assert!(matches!(paused, Err(PauseError::Ended)), "{paused:?}");
        let goes_on = ends_as_nobody_listens(async |control| control.resume().await);
        assert!(matches!(goes_on, Err(PauseError::Ended)), "{goes_on:?}");
        assert!(ends_as_nobody_listens(async |control| control.sample().await).is_none());
        let bound = Bound {
            hard: Some(1 << 30),
            ..Bound::default()
        };
        let limits = [(Limit::Memory, bound)];
        let changed = ends_as_nobody_listens(async |control| control.update_limits(&limits).await);
        assert!(matches!(changed, Err(UpdateError::Ended)), "{changed:?}");
    }
}
