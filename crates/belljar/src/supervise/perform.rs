//! Calls that the supervisor makes in a guest's stead: on threads of their own,
//! which are the guest's user meanwhile, and a few at a time.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use belljar_plan::{Bytes, Rule};
use tokio::sync::mpsc;

use super::denials::Denied;
use crate::sys::{self, Asked, Connected, Reachable, Thread};

/// So many are made at once: a guest can make each of them wait.
const AT_ONCE: usize = 16;
/// So many wait for their turn; what comes then is answered `EAGAIN`.
const WAITING: usize = 1024;
/// A thread without work ends after so long: to make one costs as much as a call.
const IDLE: Duration = Duration::from_millis(100);
const EAGAIN: i32 = 11;
const EPERM: i32 = 1;

/// What a jar has others do for it.
#[derive(Debug)]
pub(super) struct Performer {
    work: Arc<Work>,
    refused: mpsc::UnboundedReceiver<Denied>,
}

/// What the threads share.
#[derive(Debug)]
struct Work {
    listener: OwnedFd,
    reachable: Reachable,
    /// Of calls that were taken up, which are rationed.
    refused: mpsc::UnboundedSender<Denied>,
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Asked>,
    threads: usize,
    /// Of these, those that wait for work.
    idle: usize,
    /// The jar has ended.
    closed: bool,
}

impl Performer {
    pub(super) fn new(listener: &OwnedFd, reachable: Reachable) -> io::Result<Self> {
        let (sender, refused) = mpsc::unbounded_channel();
        let work = Work {
            listener: listener.as_fd().try_clone_to_owned()?,
            reachable,
            refused: sender,
            queue: Mutex::default(),
            more: Condvar::new(),
        };
        Ok(Self {
            work: Arc::new(work),
            refused,
        })
    }

    /// Has a call made as soon as there is a thread for it.
    pub(super) fn perform(&mut self, asked: Asked) {
        let mut queue = self.work.lock();
        if queue.waiting.len() >= WAITING {
            drop(queue);
            return self.work.refuse(&asked);
        }
        queue.waiting.push_back(asked);
        hire(&self.work, queue);
    }

    /// Waits for one that was refused. Dropping the future loses nothing.
    pub(super) async fn refused(&mut self) -> Denied {
        match self.refused.recv().await {
            Some(refused) => refused,
            // Its other end is held here.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Performer {
    fn drop(&mut self) {
        let mut queue = self.work.lock();
        queue.closed = true;
        queue.waiting.clear();
        drop(queue);
        self.work.more.notify_all();
    }
}

/// Sees that there is a thread for what waits, as far as there may be.
fn hire(work: &Arc<Work>, mut queue: MutexGuard<'_, Queue>) {
    if queue.waiting.len() <= queue.idle {
        return work.more.notify_one();
    }
    if queue.threads == AT_ONCE {
        return;
    }
    let own = Arc::clone(work);
    let thread = std::thread::Builder::new()
        .name("belljar-connect".to_owned())
        .stack_size(256 << 10)
        .spawn(move || {
            sys::block_signals();
            own.do_all();
        });
    match thread {
        Ok(_) => queue.threads += 1,
        // Those that are there come to it.
        Err(_) if queue.threads > 0 => {}
        Err(_) => {
            let waiting = std::mem::take(&mut queue.waiting);
            drop(queue);
            waiting.iter().for_each(|asked| work.refuse(asked));
        }
    }
}

impl Work {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn do_all(self: &Arc<Self>) {
        while let Some(asked) = self.next() {
            let (refused, thread) = connect(&self.listener, &asked, &self.reachable);
            if let Some(refused) = refused {
                // Where the jar has ended, nobody needs to hear it.
                let _ = self.refused.send(refused);
            }
            if thread == Thread::Spent {
                let mut queue = self.lock();
                queue.threads -= 1;
                if !queue.waiting.is_empty() {
                    hire(self, queue);
                }
                return;
            }
        }
    }

    /// The next call; none where the calling thread is to end.
    fn next(&self) -> Option<Asked> {
        let mut queue = self.lock();
        let mut patient = true;
        loop {
            if let Some(asked) = queue.waiting.pop_front() {
                return Some(asked);
            }
            if queue.closed || !patient {
                queue.threads -= 1;
                return None;
            }
            queue.idle += 1;
            let woken = self.more.wait_timeout(queue, IDLE);
            let (again, waited) = woken.unwrap_or_else(PoisonError::into_inner);
            queue = again;
            queue.idle -= 1;
            patient = !waited.timed_out();
        }
    }

    fn refuse(&self, asked: &Asked) {
        answer(&self.listener, asked, EAGAIN);
    }
}

fn answer(listener: &OwnedFd, asked: &Asked, errno: i32) {
    if let Err(error) = sys::answer_call(listener, asked, errno) {
        tracing::warn!(target: "belljar", %error, "cannot answer a call");
    }
}

/// Makes the call and answers it; gives what was refused.
fn connect(listener: &OwnedFd, asked: &Asked, reachable: &Reachable) -> (Option<Denied>, Thread) {
    let (connected, thread) = sys::connect(listener, asked, reachable);
    let (errno, refused) = match connected {
        Connected::Answered(errno) => (errno, None),
        Connected::Refused(path) => (EPERM, Some(denied(asked, path))),
    };
    answer(listener, asked, errno);
    (refused, thread)
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
