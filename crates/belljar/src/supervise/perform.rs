//! Calls that the supervisor makes in a guest's stead: each on a thread of its
//! own, which gives up every privilege first, and a few at a time.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    time::Duration,
};

use belljar_plan::{Bytes, Rule};
use tokio::sync::mpsc;

use super::denials::Denied;
use crate::sys::{self, Asked, Connected, Reachable, UnderWay};

/// So many are made at once: a guest can make each of them wait.
const AT_ONCE: usize = 16;
/// So many with those that do not wait, or said so: a guest whose other calls
/// all wait can still do what lets them go on.
const AT_ONCE_WITH_QUICK: usize = 2 * AT_ONCE;
/// So many wait for their turn; what comes then is answered `EAGAIN`.
const WAITING: usize = 1024;
const EINTR: i32 = 4;
const EAGAIN: i32 = 11;
const EPERM: i32 = 1;
/// So often what is under way is cut short once the jar has ended, each time
/// after twice as long: almost a minute in all.
const CUTS: u32 = 12;
const FIRST_CUT: Duration = Duration::from_millis(10);

/// What a jar has others do for it.
#[derive(Debug)]
pub(super) struct Performer {
    listener: Arc<OwnedFd>,
    reachable: Arc<Reachable>,
    under_way: UnderWay,
    /// What is refused ends the jar: it is not answered, as no call that ends it is.
    ends: bool,
    waiting: VecDeque<Asked>,
    running: Vec<Asked>,
    done: mpsc::UnboundedSender<(Asked, Option<Denied>)>,
    ended: mpsc::UnboundedReceiver<(Asked, Option<Denied>)>,
}

impl Performer {
    pub(super) fn new(listener: &OwnedFd, reachable: Reachable, ends: bool) -> io::Result<Self> {
        // Its length is bounded by how many threads run.
        let (done, ended) = mpsc::unbounded_channel();
        Ok(Self {
            listener: Arc::new(listener.as_fd().try_clone_to_owned()?),
            reachable: Arc::new(reachable),
            under_way: UnderWay::default(),
            ends,
            waiting: VecDeque::new(),
            running: Vec::new(),
            done,
            ended,
        })
    }

    /// Has a call made as soon as there is a thread for it.
    pub(super) fn perform(&mut self, asked: Asked) {
        let running = self.running.len();
        if (AT_ONCE..AT_ONCE_WITH_QUICK).contains(&running) && sys::comes_back(&asked) {
            return self.start(asked);
        }
        if self.waiting.len() >= WAITING {
            return self.refuse(&asked, EAGAIN);
        }
        self.waiting.push_back(asked);
        self.begin();
    }

    /// Waits for the end of one; gives it where it was refused. Dropping the
    /// future loses nothing.
    pub(super) async fn ended(&mut self) -> Option<Denied> {
        let (asked, refused) = self.ended.recv().await?;
        self.running.retain(|running| *running != asked);
        self.begin();
        refused
    }

    /// Answers all who wait: a call under way is interrupted, as a signal would, and goes
    /// on by itself as connect(2) says; one that waits for its turn may be made again.
    pub(super) fn let_go(&mut self) {
        for asked in &self.running {
            self.refuse(asked, EINTR);
        }
        for asked in std::mem::take(&mut self.waiting) {
            self.refuse(&asked, EAGAIN);
        }
    }

    fn begin(&mut self) {
        while self.running.len() < AT_ONCE
            && let Some(asked) = self.waiting.pop_front()
        {
            self.start(asked);
        }
    }

    fn start(&mut self, asked: Asked) {
        let listener = Arc::clone(&self.listener);
        let reachable = Arc::clone(&self.reachable);
        let under_way = self.under_way.clone();
        let done = self.done.clone();
        let ends = self.ends;
        let thread = std::thread::Builder::new()
            .name("belljar-connect".to_owned())
            .stack_size(256 << 10)
            .spawn(move || {
                sys::block_signals();
                let connected = sys::connect(&listener, &asked, &reachable, &under_way);
                let refused = answer(&listener, &asked, connected, ends);
                // Where the jar has ended, nobody needs to hear it.
                let _ = done.send((asked, refused));
            });
        match thread {
            Ok(_) => self.running.push(asked),
            Err(_) => self.refuse(&asked, EAGAIN),
        }
    }

    fn refuse(&self, asked: &Asked, errno: i32) {
        if let Err(error) = sys::answer_call(&self.listener, asked, errno) {
            tracing::warn!(target: "belljar", %error, "cannot answer a call");
        }
    }
}

/// With the jar ends what waits for it: nothing of it outlives it.
impl Drop for Performer {
    fn drop(&mut self) {
        if self.running.is_empty() || self.under_way.cut_short() == 0 {
            return;
        }
        let under_way = self.under_way.clone();
        tokio::spawn(async move {
            for doubled in 0..CUTS {
                tokio::time::sleep(FIRST_CUT * 2_u32.pow(doubled)).await;
                if under_way.cut_short() == 0 {
                    return;
                }
            }
            tracing::warn!(target: "belljar", "a socket of the machine keeps a connection waiting");
        });
    }
}

/// Answers the call; gives what was refused.
fn answer(listener: &OwnedFd, asked: &Asked, connected: Connected, ends: bool) -> Option<Denied> {
    let (errno, refused) = match connected {
        Connected::Answered(errno) => (errno, None),
        Connected::Refused(path) => (EPERM, Some(denied(asked, path, ends))),
    };
    if !(ends && refused.is_some())
        && let Err(error) = sys::answer_call(listener, asked, errno)
    {
        tracing::warn!(target: "belljar", %error, "cannot answer a call");
    }
    refused
}

fn denied(asked: &Asked, path: Vec<u8>, ends: bool) -> Denied {
    // As text a name of zeroes and controls could pass for something else.
    let path = Bytes(path).escaped();
    Denied {
        rule: Rule::Sockets,
        ends,
        pid: asked.pid,
        action: "a unix socket that is not the jar's own",
        answer: "EPERM",
        syscall: "connect".to_owned(),
        arguments: vec![format!("path={path}")],
        row: None,
    }
}
