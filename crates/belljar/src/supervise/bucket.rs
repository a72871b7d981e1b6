//! How many calls of a guest are taken up: a burst, and then so many a second.

use std::time::Duration;

use tokio::time::Instant;

/// How fast a bucket is refilled, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// How long one takes to come back.
    each: Duration,
    /// So many may be taken at once.
    burst: u32,
    /// Once it was empty, so many are taken together: to wake up for each would
    /// cost more than to answer it.
    together: u32,
}

impl Rate {
    pub(super) const fn new(burst: u32, a_second: u32, together: u32) -> Self {
        Self {
            each: Duration::from_nanos(1_000_000_000 / a_second as u64),
            burst,
            together,
        }
    }
}

/// How many calls may be taken up: refilled with time, never over its brim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    rate: Rate,
    /// When it would be full again.
    full_at: Instant,
}

impl Bucket {
    pub(super) const fn full(rate: Rate, now: Instant) -> Self {
        Self { rate, full_at: now }
    }

    /// When there are some again; none where there is one now.
    pub(super) fn empty_until(&self, now: Instant) -> Option<Instant> {
        self.lacks(now)
            .map(|lacks| now + lacks + self.rate.each * (self.rate.together - 1))
    }

    /// How long until one more can be taken, where it can't now.
    fn lacks(&self, now: Instant) -> Option<Duration> {
        let brim = self.rate.each * self.rate.burst;
        let owed = (self.full_at + self.rate.each).saturating_duration_since(now);
        (owed > brim).then(|| owed - brim)
    }

    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.lacks(now).is_some() {
            return false;
        }
        self.full_at = self.full_at.max(now) + self.rate.each;
        true
    }

    /// Takes more than one for what was taken up.
    pub(super) fn take_more(&mut self, more: u32) {
        self.full_at += self.rate.each * more;
    }

    /// Nothing was there to take up.
    pub(super) fn give_back(&mut self) {
        self.full_at -= self.rate.each;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_burst_and_then_so_many_a_second() {
        const BURST: u32 = 512;
        const TOGETHER: u32 = 16;
        let start = Instant::now();
        let mut bucket = Bucket::full(Rate::new(BURST, 3000, TOGETHER), start);
        let taken = |bucket: &mut Bucket, at: Duration| {
            (0..10_000).take_while(|_| bucket.take(start + at)).count()
        };
        assert_eq!(taken(&mut bucket, Duration::ZERO), BURST as usize);
        // Then some at once.
        let wait = bucket.empty_until(start).unwrap() - start;
        assert_eq!(taken(&mut bucket, wait), TOGETHER as usize);
        // Never more than its brim, however long nothing came.
        assert_eq!(
            taken(&mut bucket, Duration::from_secs(3600)),
            BURST as usize
        );
    }
}
