//! From the request to the program's first instruction: collects what the
//! launcher, pid 1 and the guest say on the way.

use std::{os::fd::OwnedFd, time::Duration};

use belljar_plan::{
    Plan, Step,
    message::{Event, event, progress},
};
use tokio::{sync::mpsc, time::Instant};

use super::{Asked, Failure, Receipts, receipts::parse_progress};
use crate::{launch::News, sys, sys::Packets};

/// A set-up takes milliseconds; one that hangs on a dead network file system
/// must not hang its host.
const PATIENCE: Duration = Duration::from_secs(60);

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
}

/// Waits for the program to start. Where it doesn't, nothing is left of it.
pub(super) async fn set_up(
    plan: &Plan,
    news: &mut mpsc::UnboundedReceiver<News>,
    packets: &Packets,
    asked: &mut mpsc::UnboundedReceiver<Asked>,
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
                Some(Asked::Signal(_) | Asked::Look | Asked::Limits(_)) => {}
                Some(order) => {
                    setup.stop = Some(order);
                    listening = false;
                }
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
                    self.init = Some((event.pid, pidfd, Instant::now()));
                    self.receipts.note_started(self.plan);
                }
                None => self.fail(Failure::Before {
                    what: "hear of the jar's start".to_owned(),
                    errno: 0,
                }),
            },
            event::FAILED => self.fail(Failure::Step {
                index: usize::try_from(event.step).unwrap_or(usize::MAX),
                errno: event.errno,
            }),
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
            progress::FAILED => self.fail(Failure::Step {
                index: usize::try_from(head.step).unwrap_or(usize::MAX),
                errno: head.errno,
            }),
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
        if self.failed.is_none()
            && let Some(index) = self.receipts.first_missing(self.plan)
        {
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
                if let Some((_, pidfd, _)) = &init {
                    end(pidfd, self.ended.is_some(), news).await;
                }
                Err((failed.unwrap_or(Failure::Lost), self.receipts))
            }
        }
    }
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
    let last = async {
        while let Some(news) = news.recv().await {
            if news.0.kind == event::ENDED {
                return Some(news.0);
            }
        }
        None
    };
    let last = tokio::time::timeout(GONE_WITHIN, last).await;
    if !sys::wait_until_gone(pidfd, GONE_WITHIN).await {
        tracing::error!(target: "belljar", "a killed jar is not gone yet");
    }
    last.ok().flatten()
}
