//! A jar that is observed: what its calls name is looked at on their way.
//!
//! Nothing here decides. A call that the filter allows goes on whatever was read
//! of it; one that it denies is answered as without anybody who looks. All of it
//! is done on a thread of its own, since memory of a guest may be a file of a
//! system that does not answer: then the guest's own calls wait, and nobody else.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use belljar_plan::{
    Bytes,
    observation::{Intent, Observation, Observations},
};
use belljar_policy::seccomp::{Attempt, Filter, Named, Seen, Verdict, decode};
use tokio::{sync::mpsc, time::Instant};

use super::bucket::{Bucket, Rate};
use crate::sys::{self, Asked, Unread};

/// A start of python or node makes hundreds of such calls, a build tens of
/// thousands. Each takes some 8 us of a processor here, so that a flood takes less
/// than a fifth of one.
const RATE: Rate = Rate::new(1 << 15, 20_000, 64);
/// Rows of the report: a guest must not make it grow.
const ROWS: usize = 4096;
/// Bytes of all names in it together.
const NAMES: usize = 1 << 20;
/// Where nobody says that the jar has ended, it is looked whether somebody did.
const LOOK_UP: Duration = Duration::from_secs(1);
/// Where the kernel is short of memory, others wait as well.
const AFTER_AN_ERROR: Duration = Duration::from_millis(10);

/// So many calls that are not for the observer wait for the supervisor.
const QUEUE: usize = 64;

/// Who looks, and what was seen.
#[derive(Debug)]
pub(super) struct Observer {
    shared: Arc<Shared>,
    calls: mpsc::Receiver<Asked>,
    next: Option<Asked>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    table: Mutex<Table>,
}

impl Observer {
    /// Begins to look.
    pub(super) fn begin(listener: &OwnedFd, filter: Arc<Filter>) -> io::Result<Self> {
        sys::take_turns(listener);
        // The rest waits in the kernel, where those that die meanwhile vanish.
        let (others, calls) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let mut look = Look {
            listener: listener.as_fd().try_clone_to_owned()?,
            filter,
            others,
            shared: Arc::clone(&shared),
            bucket: Bucket::full(RATE, Instant::now()),
        };
        std::thread::Builder::new()
            .name("belljar-observe".to_owned())
            .stack_size(256 << 10)
            .spawn(move || {
                sys::block_signals();
                look.until_the_end();
            })?;
        Ok(Self {
            shared,
            calls,
            next: None,
        })
    }

    /// Waits until there is a call for the supervisor, or never will be any more.
    pub(super) async fn ready(&mut self) {
        if self.next.is_none() {
            self.next = self.calls.recv().await;
        }
    }

    /// The next call for the supervisor; an error of kind `WouldBlock` where none waits.
    pub(super) fn next_call(&mut self) -> io::Result<Asked> {
        use mpsc::error::TryRecvError;
        match self.next.take() {
            Some(call) => Ok(call),
            None => self.calls.try_recv().map_err(|error| match error {
                TryRecvError::Empty => io::ErrorKind::WouldBlock.into(),
                TryRecvError::Disconnected => io::ErrorKind::BrokenPipe.into(),
            }),
        }
    }

    /// What was seen until now.
    pub(super) fn seen(&self) -> Observations {
        std::mem::take(&mut *self.shared.table()).seen
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that looks.
struct Look {
    listener: OwnedFd,
    filter: Arc<Filter>,
    /// Calls that are not for this thread.
    others: mpsc::Sender<Asked>,
    shared: Arc<Shared>,
    bucket: Bucket,
}

impl Look {
    fn until_the_end(&mut self) {
        let mut late = false;
        while !self.shared.ended.load(Ordering::Relaxed) {
            if let Some(until) = self.bucket.empty_until(Instant::now()) {
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                late = true;
            }
            if !self.bucket.take(Instant::now()) {
                continue;
            }
            let patience = if late { Duration::ZERO } else { LOOK_UP };
            match sys::await_call(&self.listener, patience) {
                Ok(call) => self.take_up(&call, late),
                Err(error) => {
                    self.bucket.give_back();
                    late = false;
                    match error.kind() {
                        io::ErrorKind::WouldBlock => {}
                        // Nobody can ask any more.
                        io::ErrorKind::BrokenPipe => return,
                        _ => std::thread::sleep(AFTER_AN_ERROR),
                    }
                }
            }
        }
    }

    fn take_up(&self, call: &Asked, late: bool) {
        let verdict = self.filter.evaluate(&call.attempt, None);
        let answer = match verdict {
            Verdict::Deny(denial) => Some(denial.errno),
            Verdict::Allow | Verdict::Observe | Verdict::Perform => None,
        };
        let named = self.filter.named(&call.attempt);
        let names: Vec<_> = named
            .into_iter()
            .map(|named| (intent(named), sys::name(&self.listener, call, named)))
            .collect();
        let quiet = matches!(verdict, Verdict::Deny(denial) if denial.seen != Seen::Told);
        {
            let mut table = self.shared.table();
            table.seen.calls += 1;
            table.seen.late += u64::from(late);
            for (intent, name) in names {
                let seen = Sight {
                    intent,
                    attempt: &call.attempt,
                    filter: &self.filter,
                    answer: answer.map(|errno| errno.name()),
                    pid: call.pid,
                };
                match name {
                    Ok(name) => table.note(seen, Bytes(name)),
                    Err(Unread::Unreadable) => table.seen.unread += 1,
                    Err(Unread::Nothing | Unread::Gone) => {}
                }
            }
            if quiet {
                let seen = Sight {
                    intent: Intent::Call,
                    attempt: &call.attempt,
                    filter: &self.filter,
                    answer: answer.map(|errno| errno.name()),
                    pid: call.pid,
                };
                let (name, _) = decode(self.filter.architecture(), &call.attempt);
                table.note(seen, name.into());
            }
        }
        let answered = match (verdict, answer) {
            (Verdict::Observe, _) => sys::let_go_on(&self.listener, call),
            (_, Some(errno)) if quiet => {
                sys::answer_call(&self.listener, call, errno.number().into())
            }
            // Whatever else it is, the supervisor has an answer. Where it is gone,
            // so is the jar.
            _ => {
                let _ = self.others.blocking_send(*call);
                Ok(())
            }
        };
        if let Err(error) = answered {
            tracing::warn!(target: "belljar", %error, "cannot answer a call that was looked at");
        }
    }
}

const fn intent(named: Named) -> Intent {
    match named {
        Named::Path { intent, .. } => intent,
        Named::Address { .. } => Intent::Connect,
    }
}

/// A call, as far as a row tells of it.
#[derive(Clone, Copy)]
struct Sight<'a> {
    intent: Intent,
    attempt: &'a Attempt,
    filter: &'a Filter,
    answer: Option<&'static str>,
    pid: i32,
}

/// What was seen, each once.
#[derive(Debug, Default)]
struct Table {
    seen: Observations,
    /// Where each row is.
    rows: HashMap<(Intent, Option<&'static str>, Bytes), usize>,
    /// Bytes of all names.
    bytes: usize,
}

impl Table {
    fn note(&mut self, sight: Sight<'_>, name: Bytes) {
        let key = (sight.intent, sight.answer, name);
        if let Some(row) = self.rows.get(&key) {
            self.seen.rows[*row].count += 1;
            return;
        }
        let (_, _, name) = &key;
        if self.seen.rows.len() >= ROWS || self.bytes + name.0.len() > NAMES {
            self.seen.unlisted += 1;
            return;
        }
        self.bytes += name.0.len();
        let (syscall, arguments) = decode(sight.filter.architecture(), sight.attempt);
        self.seen.rows.push(Observation {
            intent: sight.intent,
            name: name.clone(),
            syscall,
            arguments: match sight.intent {
                Intent::Call => arguments,
                _ => Vec::new(),
            },
            answer: sight.answer.map(str::to_owned),
            pid: sight.pid,
            count: 1,
        });
        self.rows.insert(key, self.seen.rows.len() - 1);
    }
}

#[cfg(test)]
mod tests {
    use belljar_plan::{
        Preset,
        filter::{Code, Exec, Unix},
    };

    use super::*;

    fn filter() -> Filter {
        Filter::new(&belljar_plan::Filter {
            machine: "x86_64".to_owned(),
            preset: Preset::Strict,
            exec: Exec::Once,
            code: Code::Fixed,
            unix: Unix::Visible,
            internet: true,
            objects: true,
            allow: Vec::new(),
            deny: Vec::new(),
            events: true,
            observe: true,
        })
        .unwrap()
    }

    const OPENAT: Attempt = Attempt {
        audit: 0xc000_003e,
        number: 257,
        arguments: [0; 6],
    };

    fn note(table: &mut Table, filter: &Filter, name: String) {
        let sight = Sight {
            intent: Intent::Read,
            attempt: &OPENAT,
            filter,
            answer: None,
            pid: 7,
        };
        table.note(sight, name.into());
    }

    #[test]
    fn alike_names_are_one_row_and_rows_and_their_bytes_are_bounded() {
        let filter = filter();
        let mut table = Table::default();
        for _ in 0..1000 {
            note(&mut table, &filter, "/etc/x".to_owned());
        }
        let expected = Observation {
            intent: Intent::Read,
            name: "/etc/x".into(),
            syscall: "openat".to_owned(),
            arguments: Vec::new(),
            answer: None,
            pid: 7,
            count: 1000,
        };
        assert_eq!(table.seen.rows, [expected]);
        for number in 0..10_000 {
            note(&mut table, &filter, format!("/{number}"));
        }
        assert_eq!(table.seen.rows.len(), ROWS);
        assert_eq!(table.rows.len(), ROWS);
        assert_eq!(table.seen.unlisted, 10_001 - ROWS as u64);

        let mut table = Table::default();
        for number in 0..1000 {
            note(
                &mut table,
                &filter,
                format!("/{number}{}", "x".repeat(4000)),
            );
        }
        let bytes: usize = table.seen.rows.iter().map(|row| row.name.0.len()).sum();
        assert!(bytes <= NAMES && bytes > NAMES - 4096, "{bytes}");
        assert_eq!(
            table.seen.unlisted,
            1000 - table.seen.rows.len() as u64,
            "what is in no row is counted"
        );
    }
}
