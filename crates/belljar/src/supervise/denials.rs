//! Denied calls of one jar that are told of: heard, answered, counted, passed on.
//!
//! Nothing is decided here: the evaluator of the filter that the kernel runs says
//! what each call is answered. A guest can make such calls without end, so that
//! only so many are taken up in a second: the others wait, in the kernel, and
//! cost nobody but their own threads.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use belljar_plan::{
    Plan, Rule,
    filter::Unix,
    observation::Observations,
    report::{Denials as Counts, Violation},
};
use belljar_policy::seccomp::{Denial, Filter, Verdict, decode};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep_until},
};

use super::{
    bucket::{Bucket, Rate},
    observe::Observer,
    perform::Performer,
};
use crate::sys::{self, Asked, Reachable};

/// So many calls may come at once, some 10 ms of a processor, and so many in a
/// second after that. Under a flood each takes 13 to 21 us of a processor, as busy
/// as the machine is otherwise, so that all take 4 to 7 % of one (`cargo xtask bench
/// flood`).
const RATE: Rate = Rate::new(512, 3000, AT_ONCE);
/// A call that is made in the guest's stead counts as so many: with its thread it
/// takes 165 to 290 us, more where processors have to wake up for it, so that the
/// 250 of a second take 4 to 7 %.
const PERFORMED: u32 = 12;
/// So many before others get a turn, and once the bucket was empty, so many
/// together: to wake up for each would cost more than to answer it.
const AT_ONCE: u32 = 16;
/// Rows of the report; a guest must not make it grow.
const ROWS: usize = 64;

/// A denied call, answered unless it ends the jar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) rule: Rule,
    /// The jar ends for it.
    pub(super) ends: bool,
    pub(super) pid: i32,
    pub(super) action: &'static str,
    pub(super) answer: &'static str,
    pub(super) syscall: String,
    pub(super) arguments: Vec<String>,
    /// Its row in the report, where there was room for it.
    pub(super) row: Option<usize>,
}

/// The ear of one jar.
#[derive(Debug)]
pub(super) struct Denials {
    listener: AsyncFd<OwnedFd>,
    asked: belljar_plan::Filter,
    /// Made at the first call: most jars make none.
    filter: Option<Arc<Filter>>,
    end_on: Vec<Rule>,
    bucket: Bucket,
    /// Who makes the calls that the filter leaves to the supervisor.
    performer: Option<Performer>,
    /// Who looks at calls first, where the jar is observed.
    observer: Option<Observer>,
    /// Whoever could ask is gone.
    closed: bool,
    /// Calls had to wait before this one.
    waited: bool,
    tally: Tally,
}

impl Denials {
    /// Listens; on the supervisor's runtime.
    pub(super) fn listen(
        listener: OwnedFd,
        plan: &Plan,
        reachable: Reachable,
    ) -> io::Result<Option<Self>> {
        let Some(asked) = plan.filter.clone() else {
            return Ok(None);
        };
        let performer = match asked.unix {
            Unix::Performed => {
                let ends = plan.end_on.contains(&Rule::Sockets);
                Some(Performer::new(&listener, reachable, ends)?)
            }
            Unix::Visible | Unix::Pairs => None,
        };
        let filter = asked.observe.then(|| shared(&asked));
        let observer = filter
            .as_ref()
            .map(|filter| Observer::begin(&listener, Arc::clone(filter)))
            .transpose()?;
        Ok(Some(Self {
            performer,
            observer,
            listener: sys::watch(listener, Interest::READABLE)?,
            asked,
            filter,
            end_on: plan.end_on.clone(),
            bucket: Bucket::full(RATE, Instant::now()),
            closed: false,
            waited: false,
            tally: Tally::default(),
        }))
    }

    /// Waits for denied calls and answers them: a few at a time. Dropping the
    /// future loses none.
    pub(super) async fn heard(&mut self) -> Vec<Denied> {
        loop {
            let until = self.bucket.empty_until(Instant::now());
            self.waited |= until.is_some();
            tokio::select! {
                refused = ended(&mut self.performer) => {
                    if let Some(mut refused) = refused {
                        self.tally.note(&mut refused, false);
                        return vec![refused];
                    }
                    continue;
                }
                () = ready(&self.listener, &mut self.observer, until), if !self.closed => {}
            }
            let denied = self.take_some();
            if !denied.is_empty() {
                return denied;
            }
        }
    }

    /// Answers whoever waits for a call that is made in their stead.
    pub(super) fn let_go(&mut self) {
        if let Some(performer) = &mut self.performer {
            performer.let_go();
        }
    }

    /// Takes up what there is, as far as the bucket goes.
    fn take_some(&mut self) -> Vec<Denied> {
        let mut denied = Vec::new();
        for _ in 0..AT_ONCE {
            if !self.bucket.take(Instant::now()) {
                return denied;
            }
            match self.next_call() {
                Ok(call) => denied.extend(self.answer(call)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.bucket.give_back();
                    self.waited = false;
                    return denied;
                }
                Err(error) => {
                    tracing::debug!(target: "belljar", %error, "nobody can be denied any more");
                    self.closed = true;
                    return denied;
                }
            }
        }
        denied
    }

    fn next_call(&mut self) -> io::Result<Asked> {
        match &mut self.observer {
            Some(observer) => observer.next_call(),
            None => self.listener.try_io(Interest::READABLE, sys::next_call),
        }
    }

    /// What was observed and denied.
    pub(super) fn told(self) -> (Tally, Option<Observations>) {
        let observations = self.observer.as_ref().map(Observer::seen);
        (self.tally, observations)
    }

    /// Answers a call; gives it where it was denied.
    fn answer(&mut self, call: Asked) -> Option<Denied> {
        let filter = self
            .filter
            .get_or_insert_with(|| shared(&self.asked))
            .clone();
        let denial = match (
            filter.evaluate(&call.attempt, None),
            self.performer.as_mut(),
        ) {
            (Verdict::Deny(denial), _) => denial,
            (Verdict::Perform, Some(performer)) => {
                self.bucket.take_more(PERFORMED - 1);
                performer.perform(call);
                return None;
            }
            // The kernel asks of nothing else. Whatever it was, it is refused.
            (Verdict::Allow | Verdict::Observe | Verdict::Perform, _) => unexpected(),
        };
        let ends = self.end_on.contains(&denial.rule);
        if !ends
            && let Err(error) =
                sys::answer_call(self.listener.get_ref(), &call, denial.errno.number().into())
        {
            tracing::warn!(target: "belljar", %error, "cannot answer a denied call");
        }
        let (syscall, arguments) = decode(filter.architecture(), &call.attempt);
        let mut denied = Denied {
            rule: denial.rule,
            ends,
            pid: call.pid,
            action: denial.what,
            answer: denial.errno.name(),
            syscall,
            arguments,
            row: None,
        };
        self.tally.note(&mut denied, self.waited);
        Some(denied)
    }
}

/// Waits until there may be a call, and that it may be taken up.
async fn ready(
    listener: &AsyncFd<OwnedFd>,
    observer: &mut Option<Observer>,
    until: Option<Instant>,
) {
    if let Some(until) = until {
        sleep_until(until).await;
    }
    if let Some(observer) = observer {
        return observer.ready().await;
    }
    // Whoever takes a call and finds none says that it is not ready any more.
    if listener.readable().await.is_err() {
        std::future::pending().await
    }
}

async fn ended(performer: &mut Option<Performer>) -> Option<Denied> {
    match performer {
        Some(performer) => performer.ended().await,
        None => std::future::pending().await,
    }
}

fn unexpected() -> Denial {
    use belljar_policy::seccomp::{Errno, Seen};
    Denial {
        errno: Errno::Perm,
        seen: Seen::Told,
        rule: Rule::Syscalls,
        what: "a call that the filter does not ask about",
    }
}

/// One filter for all jars that have the same.
fn shared(asked: &belljar_plan::Filter) -> Arc<Filter> {
    static KNOWN: Mutex<Vec<(belljar_plan::Filter, Weak<Filter>)>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|(_, filter)| filter.strong_count() > 0);
    let found = known.iter().find(|(other, _)| other == asked);
    if let Some(filter) = found.and_then(|(_, filter)| filter.upgrade()) {
        return filter;
    }
    let filter = Arc::new(Filter::new(asked).expect("the plan was made with this filter"));
    known.push((asked.clone(), Arc::downgrade(&filter)));
    filter
}

/// What is told in the report.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) rows: Vec<Violation>,
    pub(super) counts: Counts,
}

impl Tally {
    fn note(&mut self, denied: &mut Denied, late: bool) {
        self.counts.told += 1;
        self.counts.late += u64::from(late);
        let alike = |row: &Violation| {
            row.rule == denied.rule && row.action == denied.action && row.syscall == denied.syscall
        };
        if let Some(at) = self.rows.iter().position(alike) {
            self.rows[at].count += 1;
            denied.row = Some(at);
        } else if self.rows.len() < ROWS {
            denied.row = Some(self.rows.len());
            self.rows.push(Violation {
                // The jar's report gives it its name.
                id: String::new(),
                rule: denied.rule,
                action: denied.action.to_owned(),
                syscall: denied.syscall.clone(),
                arguments: denied.arguments.clone(),
                answer: denied.answer.to_owned(),
                pid: denied.pid,
                count: 1,
            });
        } else {
            self.counts.unlisted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(syscall: &str) -> Denied {
        Denied {
            rule: Rule::Syscalls,
            ends: false,
            pid: 7,
            action: "x",
            answer: "EPERM",
            syscall: syscall.to_owned(),
            arguments: Vec::new(),
            row: None,
        }
    }

    #[test]
    fn alike_attempts_are_one_row_and_rows_are_few() {
        let mut tally = Tally::default();
        for _ in 0..1000 {
            tally.note(&mut denied("bpf"), true);
        }
        assert_eq!(tally.rows.len(), 1);
        assert_eq!(tally.rows[0].count, 1000);
        let mut again = denied("bpf");
        tally.note(&mut again, true);
        assert_eq!(again.row, Some(0));
        for number in 0..1000 {
            tally.note(&mut denied(&format!("syscall_{number}")), false);
        }
        assert_eq!(tally.rows.len(), ROWS);
        let unlisted = 1000 - (ROWS as u64 - 1);
        let counts = Counts {
            told: 2001,
            late: 1001,
            unlisted,
        };
        assert_eq!(tally.counts, counts);
    }
}
