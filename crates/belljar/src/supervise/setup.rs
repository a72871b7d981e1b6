//! From the request to the program's first instruction: collects what the
//! launcher, pid 1 and the guest say on the way.

use std::{os::fd::OwnedFd, time::Duration};

use belljar_plan::{
    Plan, Step,
    message::{Event, NO_STEP, event, progress},
};
use tokio::{sync::mpsc, time::Instant};

use super::{Asked, Failure, Receipts, receipts::parse_progress};
use crate::{launch::News, sys, sys::Packets};

/// A set-up takes milliseconds; one that hangs on a dead network file system
/// must not hang its host.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a jar whose set-up was cut short may take to end by itself.
const BY_ITSELF: Duration = Duration::from_millis(500);

/// How long a killed jar may take to be gone.
pub(super) const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A jar in which the program runs.
#[derive(Debug)]
pub(super) struct Up {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) started: Instant,
    pub(super) receipts: Receipts,
    pub(super) scratch: Option<OwnedFd>,
    pub(super) terminal: Option<OwnedFd>,
    /// By which denied calls are heard.
    pub(super) listener: Option<OwnedFd>,
    /// It may have ended already.
    pub(super) ended: Option<Event>,
    /// A stop that came during the set-up.
    pub(super) stop: Option<Asked>,
}

/// What has been heard so far.
struct Setup<'a> {
    plan: &'a Plan,
    receipts: Receipts,
    init: Option<(i32, OwnedFd, Instant)>,
    ended: Option<Event>,
    failed: Option<Failure>,
    scratch: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    listener: Option<OwnedFd>,
    stop: Option<Asked>,
    /// The program runs, or never will.
    silent: bool,
    /// When the launcher was asked.
    begun: Instant,
    /// It has begun, and there was no room for what it is had hold of by: the launcher ends it.
    unheld: bool,
    /// The launcher has let go of it, and says no more.
    over: bool,
}

/// Waits for the program to start. Where it doesn't, nothing is left of it.
pub(super) async fn set_up(
    plan: &Plan,
    news: &mut mpsc::UnboundedReceiver<News>,
    packets: &Packets,
    (begun, asked): (Instant, &mut mpsc::UnboundedReceiver<Asked>),
) -> Result<Up, (Failure, Receipts)> {
    let mut setup = Setup {
        plan,
        receipts: Receipts::new(plan),
        init: None,
        ended: None,
        failed: None,
        scratch: None,
        terminal: None,
        listener: None,
        stop: None,
        silent: false,
        begun,
        unheld: false,
        over: false,
    };
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; sys::PACKET];
    let mut listening = true;
    while setup.undecided() {
        tokio::select! {
            heard = news.recv() => match heard {
                Some(news) => setup.hear(news.0, news.1),
                None => setup.fail(Failure::Lost),
            },
            received = packets.receive(&mut buffer), if !setup.silent => match received {
                Ok((0, _)) | Err(_) => setup.silent = true,
                Ok((length, descriptors)) => setup.note(buffer.get(..length).unwrap_or(&[]), descriptors),
            },
            order = asked.recv(), if listening => match order {
                Some(order @ (Asked::Stop { .. } | Asked::Kill)) => {
                    setup.stop = Some(order);
                    listening = false;
                }
                // Nobody has the jar yet who could ask for more.
                Some(_) => {}
                // The launch was given up.
                None => {
                    listening = false;
                    setup.kill();
                }
            },
            () = tokio::time::sleep_until(deadline) => {
                const ETIMEDOUT: i32 = 110;
                let index = setup.receipts.first_missing(plan).unwrap_or(0);
                setup.fail(Failure::Step { index, errno: ETIMEDOUT });
            }
        }
    }
    setup.finish(news).await
}

impl Setup<'_> {
    fn undecided(&self) -> bool {
        let up = self.silent && self.init.is_some();
        self.failed.is_none() && !up
    }

    /// The first failure is the cause.
    fn fail(&mut self, failure: Failure) {
        self.failed.get_or_insert(failure);
    }

    fn kill(&self) {
        if let Some((_, pidfd, _)) = &self.init
            && let Err(error) = sys::kill(pidfd)
        {
            tracing::error!(target: "belljar", %error, "cannot kill a jar");
        }
    }

    fn hear(&mut self, event: Event, mut descriptors: Vec<OwnedFd>) {
        match event.kind {
            event::STARTED => match descriptors.pop() {
                Some(pidfd) => {
                    // One that was made ahead of its launch is counted from that.
                    let started =
                        sys::at(event.started).map_or_else(Instant::now, |at| at.max(self.begun));
                    self.init = Some((event.pid, pidfd, started));
                    self.receipts.note_started(self.plan);
                }
                None => {
                    self.unheld = true;
                    self.fail(no_room());
                }
            },
            event::FAILED => {
                self.over = true;
                self.fail(failure(event.step, event.errno));
            }
            event::ENDED => {
                self.ended = Some(event);
                if self.init.is_none() {
                    self.fail(Failure::Step { index: 0, errno: 0 });
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, packet: &[u8], mut descriptors: Vec<OwnedFd>) {
        let Some((head, records)) = parse_progress(packet) else {
            tracing::warn!(target: "belljar", length = packet.len(), "no record came from a jar's set-up");
            return;
        };
        match head.kind {
            progress::STEPS => self.receipts.note(records),
            progress::FAILED => self.fail(told(self.plan, head.step, head.errno)),
            // Without it a limit would not be looked at, or the guest wait for good.
            progress::SCRATCH | progress::TERMINAL | progress::LISTENER
                if descriptors.is_empty() =>
            {
                self.fail(no_room());
            }
            progress::SCRATCH => self.scratch = descriptors.pop(),
            progress::TERMINAL => self.terminal = descriptors.pop(),
            progress::LISTENER => self.listener = descriptors.pop(),
            _ => {}
        }
    }

    /// Decides. Silence means success only where every receipt is there: a
    /// set-up that was killed is silent too.
    async fn finish(
        mut self,
        news: &mut mpsc::UnboundedReceiver<News>,
    ) -> Result<Up, (Failure, Receipts)> {
        let mut cut_short = false;
        if self.failed.is_none()
            && let Some(index) = self.receipts.first_missing(self.plan)
        {
            cut_short = true;
            self.fail(Failure::Step { index, errno: 0 });
        }
        if self.failed.is_none()
            && self.listener.is_none()
            && let Some(index) = awaits_listener(self.plan)
        {
            // The guest's denied calls would wait for good.
            self.fail(Failure::Step { index, errno: 0 });
        }
        match (self.failed.take(), self.init.take()) {
            (None, Some((pid, pidfd, started))) => {
                self.receipts.note_running(self.plan);
                Ok(Up {
                    pid,
                    pidfd,
                    started,
                    receipts: self.receipts,
                    scratch: self.scratch,
                    terminal: self.terminal,
                    listener: self.listener,
                    ended: self.ended,
                    stop: self.stop,
                })
            }
            (failed, init) => {
                let mut last = self.ended.take();
                let mut lost = None;
                if cut_short && last.is_none() {
                    // Whoever was cut short ends by itself, and its status is a witness.
                    match tokio::time::timeout(BY_ITSELF, last_word(news)).await {
                        Ok(Some(word)) => last = Some(word),
                        Ok(None) => lost = Some(Failure::Lost),
                        Err(_) => {}
                    }
                }
                if let Some((_, pidfd, _)) = &init {
                    let told = end(pidfd, self.over || last.is_some(), news).await;
                    last = last.or(told);
                } else if self.unheld && !self.over && last.is_none() {
                    let word = tokio::time::timeout(GONE_WITHIN, last_word(news)).await;
                    last = word.ok().flatten();
                }
                // Nobody said why; it may be that the one who would have ended for it.
                let cause = last.as_ref().filter(|_| cut_short).and_then(cause);
                let failure = cause.or(lost).or(failed).unwrap_or(Failure::Lost);
                Err((failure, self.receipts))
            }
        }
    }
}

/// A descriptor came that this process has no room for.
fn no_room() -> Failure {
    const EMFILE: i32 = 24;
    Failure::Before {
        what: "hear of the jar's start".to_owned(),
        errno: EMFILE,
    }
}

/// What was told of a step, or of the whole launch.
fn failure(step: u32, errno: i32) -> Failure {
    match step == u32::from(NO_STEP) {
        true => Failure::Before {
            what: "have the jar made".to_owned(),
            errno,
        },
        false => Failure::Step {
            index: usize::try_from(step).unwrap_or(usize::MAX),
            errno,
        },
    }
}

/// What the jar's first process told of a step. It may see the launcher's end before this
/// process does.
fn told(plan: &Plan, step: u32, errno: i32) -> Failure {
    const EPIPE: i32 = 32;
    let failure = failure(step, errno);
    let at = match &failure {
        Failure::Step { index, .. } => plan.steps.get(*index),
        _ => None,
    };
    match at {
        Some(Step::DieWithLauncher {}) if errno == EPIPE => Failure::Lost,
        _ => failure,
    }
}

/// What the launcher's last word says of the cause: it failed itself, or the jar's first
/// process ended for what it could not do without, and its status is the error; wait4(2).
fn cause(last: &Event) -> Option<Failure> {
    if last.kind == event::FAILED {
        return Some(failure(last.step, last.errno));
    }
    let exited = last.init_status & 0x7f == 0;
    let errno = last.init_status >> 8 & 0xff;
    (exited && errno != 0).then(|| Failure::Before {
        what: "keep the jar's first process".to_owned(),
        errno,
    })
}

/// The step that hands out a listener.
fn awaits_listener(plan: &Plan) -> Option<usize> {
    plan.steps
        .iter()
        .position(|step| matches!(step, Step::Filter { listener: true, .. }))
}

/// Ends a jar whose set-up nobody hears, and waits for the launcher's last word on it.
pub(super) async fn give_up(news: &mut mpsc::UnboundedReceiver<News>) {
    let gone = async {
        while let Some(news) = news.recv().await {
            let (heard, descriptors) = *news;
            if matches!(heard.kind, event::FAILED | event::ENDED) {
                return;
            }
            // The first of its process, where it has begun.
            for pidfd in descriptors.iter().take(1) {
                let _ = sys::kill(pidfd);
            }
        }
    };
    if tokio::time::timeout(GONE_WITHIN, gone).await.is_err() {
        tracing::error!(target: "belljar", "a jar that was given up is not gone yet");
    }
}

/// The launcher's last word on a jar.
async fn last_word(news: &mut mpsc::UnboundedReceiver<News>) -> Option<Event> {
    while let Some(news) = news.recv().await {
        if matches!(news.0.kind, event::FAILED | event::ENDED) {
            return Some(news.0);
        }
    }
    None
}

/// Kills a jar and waits until it is gone. Gives the launcher's last word on it.
pub(super) async fn end(
    pidfd: &OwnedFd,
    ended: bool,
    news: &mut mpsc::UnboundedReceiver<News>,
) -> Option<Event> {
    if let Err(error) = sys::kill(pidfd) {
        tracing::error!(target: "belljar", %error, "cannot kill a jar");
    }
    if ended {
        return None;
    }
    let last = tokio::time::timeout(GONE_WITHIN, last_word(news)).await;
    if !sys::wait_until_gone(pidfd, GONE_WITHIN).await {
        tracing::error!(target: "belljar", "a killed jar is not gone yet");
    }
    last.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::test_plan;

    #[tokio::test]
    async fn a_launcher_that_ends_as_a_jar_is_set_up_is_lost_whoever_sees_it_first() {
        let plan = test_plan(vec![Step::Undumpable {}, Step::DieWithLauncher {}]);
        let told_of = |step, errno| format!("{:?}", told(&plan, step, errno));
        assert_eq!(told_of(1, 32), "Lost");
        assert_eq!(told_of(1, 13), "Step { index: 1, errno: 13 }");
        assert_eq!(told_of(0, 32), "Step { index: 0, errno: 32 }");
        assert!(told_of(u32::from(NO_STEP), 32).starts_with("Before"));
        // Its first process is gone with it, silent, and then the launcher's word.
        let (ours, theirs) = sys::connected_packets().unwrap();
        drop(theirs);
        let packets = Packets::new(ours).unwrap();
        let (news, mut heard) = mpsc::unbounded_channel();
        let started = Event {
            kind: event::STARTED,
            ..Event::default()
        };
        let hold = vec![sys::nowhere().unwrap()];
        news.send(Box::new((started, hold))).unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(BY_ITSELF / 10).await;
            drop(news);
        });
        let (_host, mut asked) = mpsc::unbounded_channel();
        let begun = (Instant::now(), &mut asked);
        let failed = set_up(&plan, &mut heard, &packets, begun).await;
        let (failure, _) = failed.expect_err("no launcher");
        assert_eq!(format!("{failure:?}"), "Lost");
    }
}
