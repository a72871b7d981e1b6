//! Calls that the supervisor makes in a guest's stead: each on a thread of its
//! own, which gives up every privilege first, and a few at a time.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use belljar_plan::{Bytes, Rule};
use tokio::sync::mpsc;

use super::denials::Denied;
use crate::sys::{self, Asked, Connected, Reachable};

/// So many are made at once: a guest can make each of them wait.
const AT_ONCE: usize = 16;
/// So many wait for their turn; what comes then is answered `EAGAIN`.
const WAITING: usize = 1024;
const EAGAIN: i32 = 11;
const EPERM: i32 = 1;

/// What a jar has others do for it.
#[derive(Debug)]
pub(super) struct Performer {
    listener: Arc<OwnedFd>,
    reachable: Arc<Reachable>,
    waiting: VecDeque<Asked>,
    running: usize,
    done: mpsc::UnboundedSender<Option<Denied>>,
    ended: mpsc::UnboundedReceiver<Option<Denied>>,
}

impl Performer {
    pub(super) fn new(listener: &OwnedFd, reachable: Reachable) -> io::Result<Self> {
        // Its length is bounded by how many threads run.
        let (done, ended) = mpsc::unbounded_channel();
        Ok(Self {
            listener: Arc::new(listener.as_fd().try_clone_to_owned()?),
            reachable: Arc::new(reachable),
            waiting: VecDeque::new(),
            running: 0,
            done,
            ended,
        })
    }

    /// Has a call made as soon as there is a thread for it.
    pub(super) fn perform(&mut self, asked: Asked) {
        if self.waiting.len() >= WAITING {
            return self.refuse(&asked, EAGAIN);
        }
        self.waiting.push_back(asked);
        self.begin();
    }

    /// Waits for the end of one; gives it where it was refused. Dropping the
    /// future loses nothing.
    pub(super) async fn ended(&mut self) -> Option<Denied> {
        let ended = self.ended.recv().await.flatten();
        self.running = self.running.saturating_sub(1);
        self.begin();
        ended
    }

    fn begin(&mut self) {
        while self.running < AT_ONCE
            && let Some(asked) = self.waiting.pop_front()
        {
            let listener = Arc::clone(&self.listener);
            let reachable = Arc::clone(&self.reachable);
            let done = self.done.clone();
            let thread = std::thread::Builder::new()
                .name("belljar-connect".to_owned())
                .stack_size(256 << 10)
                .spawn(move || {
                    sys::block_signals();
                    let refused = connect(&listener, &asked, &reachable);
                    // Where the jar has ended, nobody needs to hear it.
                    let _ = done.send(refused);
                });
            match thread {
                Ok(_) => self.running += 1,
                Err(_) => self.refuse(&asked, EAGAIN),
            }
        }
    }

    fn refuse(&self, asked: &Asked, errno: i32) {
        if let Err(error) = sys::answer_call(&self.listener, asked, errno) {
            tracing::warn!(target: "belljar", %error, "cannot answer a call");
        }
    }
}

/// Makes the call and answers it; gives what was refused.
fn connect(listener: &OwnedFd, asked: &Asked, reachable: &Reachable) -> Option<Denied> {
    let (errno, refused) = match sys::connect(listener, asked, reachable) {
        Connected::Answered(errno) => (errno, None),
        Connected::Refused(path) => (EPERM, Some(denied(asked, path))),
    };
    if let Err(error) = sys::answer_call(listener, asked, errno) {
        tracing::warn!(target: "belljar", %error, "cannot answer a call");
    }
    refused
}

fn denied(asked: &Asked, path: Vec<u8>) -> Denied {
    // As text a name of zeroes and controls could pass for something else.
    let path = Bytes(path).escaped();
    Denied {
        rule: Rule::Sockets,
        ends: false,
        pid: asked.pid,
        action: "a unix socket that is not the jar's own",
        answer: "EPERM",
        syscall: "connect".to_owned(),
        arguments: vec![format!("path={path}")],
    }
}
