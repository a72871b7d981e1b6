//! Counts what the guest writes, and lets through no more than the limit.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::Notify;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// 1
    Stdout,
    /// 2
    Stderr,
}

/// The count of one jar's stdout and stderr.
#[derive(Debug)]
pub(crate) struct Meter {
    stdout: AtomicU64,
    stderr: AtomicU64,
    total: AtomicU64,
    soft: AtomicU64,
    hard: AtomicU64,
    crossed: Notify,
}

impl Meter {
    pub(crate) fn new(soft: Option<u64>, hard: Option<u64>) -> Self {
        Self {
            stdout: AtomicU64::new(0),
            stderr: AtomicU64::new(0),
            total: AtomicU64::new(0),
            soft: AtomicU64::new(soft.unwrap_or(u64::MAX)),
            hard: AtomicU64::new(hard.unwrap_or(u64::MAX)),
            crossed: Notify::new(),
        }
    }

    /// Has other limits hold from now on.
    pub(crate) fn change(&self, soft: Option<u64>, hard: Option<u64>) {
        self.soft.store(soft.unwrap_or(u64::MAX), Relaxed);
        self.hard.store(hard.unwrap_or(u64::MAX), Relaxed);
        if self.over_soft() || self.over_hard() {
            self.crossed.notify_one();
        }
    }

    /// Counts what was read, and says how much of it may be delivered.
    pub(crate) fn count(&self, stream: Stream, bytes: usize) -> usize {
        let count = bytes as u64;
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
        .fetch_add(count, Relaxed);
        let before = self.total.fetch_add(count, Relaxed);
        let after = before.saturating_add(count);
        let (soft, hard) = (self.soft.load(Relaxed), self.hard.load(Relaxed));
        if (before <= soft && after > soft) || after > hard {
            self.crossed.notify_one();
        }
        usize::try_from(hard.saturating_sub(before)).map_or(bytes, |left| left.min(bytes))
    }

    /// Returns when a limit was crossed.
    pub(crate) async fn crossed(&self) {
        self.crossed.notified().await;
    }

    pub(crate) fn over_soft(&self) -> bool {
        self.total.load(Relaxed) > self.soft.load(Relaxed)
    }

    pub(crate) fn over_hard(&self) -> bool {
        self.total.load(Relaxed) > self.hard.load(Relaxed)
    }

    /// stdout, stderr.
    pub(crate) fn counted(&self) -> (u64, u64) {
        (self.stdout.load(Relaxed), self.stderr.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_one_byte_beyond_the_limit_is_delivered() {
        let meter = Meter::new(Some(4), Some(10));
        assert_eq!(meter.count(Stream::Stdout, 4), 4);
        assert!(!meter.over_soft());
        assert_eq!(meter.count(Stream::Stderr, 6), 6);
        assert!(meter.over_soft() && !meter.over_hard());
        assert_eq!(meter.count(Stream::Stdout, 5), 0);
        assert!(meter.over_hard());
        assert_eq!(meter.counted(), (9, 6));
    }

    #[test]
    fn a_limit_that_comes_down_below_what_was_counted_is_crossed_at_once() {
        let meter = Meter::new(None, Some(100));
        meter.count(Stream::Stdout, 20);
        meter.change(Some(5), Some(10));
        assert!(meter.over_soft() && meter.over_hard());
        assert_eq!(meter.count(Stream::Stdout, 1), 0);
        meter.change(None, Some(30));
        assert!(!meter.over_soft() && !meter.over_hard());
        assert_eq!(meter.count(Stream::Stdout, 50), 9);
    }

    #[test]
    fn a_read_across_the_limit_is_cut_at_it() {
        let meter = Meter::new(None, Some(10));
        assert_eq!(meter.count(Stream::Stdout, 25), 10);
        assert_eq!(Meter::new(None, None).count(Stream::Stdout, 25), 25);
    }
}
