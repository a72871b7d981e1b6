//! Denied calls on their way to be told: each, until there are many of them. A guest can
//! make them without end, and whoever writes down what is told would write without end.

use std::collections::VecDeque;

use belljar_plan::event::What;
use tokio::time::Instant;

use super::bucket::{Bucket, Rate};

/// So many are told one by one, and then so many a second, each for all that were alike
/// meanwhile: 4 lines of some 500 bytes are 170 MB a day.
const RATE: Rate = Rate::new(256, 4, 1);

/// What is told, and what waits for its turn.
#[derive(Debug)]
pub(super) struct Flood {
    bucket: Bucket,
    /// How many one stands for; no two are alike.
    held: VecDeque<(What, u64)>,
    /// One of each was told; there are not many kinds, [`What::is_like`].
    kinds: Vec<What>,
}

impl Flood {
    pub(super) const fn none(now: Instant) -> Self {
        Self {
            bucket: Bucket::full(RATE, now),
            held: VecDeque::new(),
            kinds: Vec::new(),
        }
    }

    /// Gives back what is to be told now. The first of its kind always is.
    pub(super) fn take(&mut self, what: What, now: Instant) -> Option<What> {
        if let Some((_, count)) = self.held.iter_mut().find(|(held, _)| held.is_like(&what)) {
            *count += 1;
            return None;
        }
        if !self.kinds.iter().any(|kind| kind.is_like(&what)) {
            self.kinds.push(what.clone());
            return Some(what);
        }
        if self.bucket.take(now) {
            return Some(what);
        }
        self.held.push_back((what, 1));
        None
    }

    /// When something that waits has its turn.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let waits = !self.held.is_empty();
        waits.then(|| self.bucket.empty_until(now).unwrap_or(now))
    }

    /// What has its turn now, and for how many it stands.
    pub(super) fn turn(&mut self, now: Instant) -> Option<(What, u64)> {
        let there = !self.held.is_empty() && self.bucket.take(now);
        there.then(|| self.held.pop_front())?
    }

    /// All that waits: nothing comes after it.
    pub(super) fn rest(&mut self) -> VecDeque<(What, u64)> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use belljar_plan::{Rule, event::Violation};

    use super::*;

    fn violation(row: usize) -> What {
        What::Violation(Box::new(Violation {
            denial: Some(format!("jar-1.{row}")),
            pid: 1,
            rule: Rule::Syscalls,
            action: "x".to_owned(),
            syscall: "bpf".to_owned(),
            arguments: Vec::new(),
            answer: "EPERM".to_owned(),
        }))
    }

    #[test]
    fn of_a_flood_some_are_told_each_second_and_none_is_lost() {
        const SECONDS: u64 = 60;
        let start = Instant::now();
        let mut flood = Flood::none(start);
        let (mut lines, mut stood_for) = (0, 0);
        for call in 0..SECONDS * 3000 {
            let now = start + Duration::from_secs(call) / 3000;
            let row = usize::try_from(call % 3).unwrap();
            let told = flood.take(violation(row), now).map(|what| (what, 1));
            for (_, count) in told.into_iter().chain(flood.turn(now)) {
                lines += 1;
                stood_for += count;
            }
            if lines == 200 {
                assert_eq!(stood_for, 200, "each is told before there are many");
            }
        }
        assert!(lines <= 256 + 3 + 4 * SECONDS, "{lines}");
        assert!(lines >= 256 + 4 * (SECONDS - 1), "{lines}");
        let rest: Vec<_> = flood.rest().into();
        assert!(rest.len() <= 3, "{rest:?}");
        stood_for += rest.iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(stood_for, SECONDS * 3000);
    }

    #[test]
    fn what_never_was_told_does_not_wait_for_what_was() {
        let now = Instant::now();
        let mut flood = Flood::none(now);
        while flood.take(violation(0), now).is_some() {}
        assert!(flood.next(now).unwrap() > now);
        assert_eq!(flood.turn(now), None);
        assert_eq!(flood.take(violation(1), now), Some(violation(1)));
        assert_eq!(flood.take(violation(1), now), None);
        let then = flood.next(now).unwrap();
        assert_eq!(flood.turn(then), Some((violation(0), 1)));
        assert_eq!(flood.turn(then), None);
        // Nothing that waits, nothing to wait for.
        drop(flood.rest());
        assert_eq!(flood.next(then), None);
    }
}
