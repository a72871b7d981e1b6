//! What looks at a jar show besides its limits: tasks that the kernel ended, processors and
//! memory that there is too little of. Pure: no clock, no I/O.

use std::time::Duration;

use belljar_plan::event::{Resource, Short, What};

use crate::sys::cgroup::Whose;

/// Tasks wait so much of the time before it is an event, one part in so many.
const TOO_MUCH: u64 = 10;
/// Once it was told, it is not again before they wait for less than this part.
const LITTLE: u64 = 20;
/// Shorter than this is no time to tell a part of.
const WINDOW: Duration = Duration::from_secs(1);

/// What one look saw of them; none where no cgroup counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Glimpse {
    /// Tasks that were ended for want of memory, and whose.
    pub(super) killed: Option<(u64, Whose)>,
    /// Nanoseconds without a processor for the limit's sake, all in all.
    pub(super) throttled: Option<u64>,
    /// Nanoseconds in which a task waited for each, where that was looked at.
    pub(super) pressure: Option<[Option<u64>; Resource::ALL.len()]>,
}

/// What was told of one jar.
#[derive(Debug, Default)]
pub(super) struct Signs {
    killed: u64,
    /// The last that was seen, and when throttling was last seen to grow.
    throttled: Throttled,
    /// When pressure was looked at last.
    looked_at: Option<Duration>,
    waited: [Waited; Resource::ALL.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct Throttled {
    total: u64,
    /// When it last grew; none before it was ever seen to.
    grew: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Waited {
    total: u64,
    high: bool,
}

impl Signs {
    /// Whether enough time has passed to look at pressure again; `at` is since the start.
    pub(super) fn wants_pressure(&self, at: Duration) -> bool {
        at.saturating_sub(self.looked_at.unwrap_or_default()) >= WINDOW
    }

    /// Takes what a look saw at a time since the start; gives what is to be told.
    pub(super) fn take(&mut self, at: Duration, glimpse: &Glimpse) -> Vec<What> {
        let mut told = Vec::new();
        if let Some((killed, whose)) = glimpse.killed
            && killed > self.killed
        {
            self.killed = killed;
            let of = match whose {
                Whose::Own => Short::Jar,
                Whose::OfAll => Short::Host,
                Whose::Above => Short::Machine,
            };
            told.push(What::OutOfMemory { killed, of });
        }
        if let Some(total) = glimpse.throttled
            && total > self.throttled.total
        {
            let Throttled { grew, .. } = self.throttled;
            // Within a window it is the same time of it.
            if grew.is_none_or(|grew| at.saturating_sub(grew) >= WINDOW) {
                told.push(What::Throttled {
                    throttled_ns: total,
                });
            }
            self.throttled = Throttled {
                total,
                grew: Some(at),
            };
        }
        let since = at.saturating_sub(self.looked_at.unwrap_or_default());
        if let Some(waited) = glimpse.pressure
            && since >= WINDOW
        {
            self.looked_at = Some(at);
            let within = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
            let known = waited.into_iter().zip(&mut self.waited);
            for (of, (total, waited)) in Resource::ALL.into_iter().zip(known) {
                told.extend(total.and_then(|total| waited.take(of, total, within)));
            }
        }
        told
    }
}

impl Waited {
    fn take(&mut self, of: Resource, total: u64, within_ns: u64) -> Option<What> {
        let stalled_ns = total.saturating_sub(self.total);
        self.total = total;
        if stalled_ns < within_ns / LITTLE {
            self.high = false;
        }
        if self.high || stalled_ns < within_ns / TOO_MUCH {
            return None;
        }
        self.high = true;
        Some(What::Pressure {
            of,
            stalled_ns,
            within_ns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn tasks_that_were_ended_are_told_when_there_are_more_of_them() {
        let mut signs = Signs::default();
        let mut told = |killed, whose| {
            let glimpse = Glimpse {
                killed: Some((killed, whose)),
                ..Glimpse::default()
            };
            signs.take(SECOND, &glimpse)
        };
        let event = |killed, of| vec![What::OutOfMemory { killed, of }];
        assert_eq!(told(1, Whose::Own), event(1, Short::Jar));
        assert_eq!(told(1, Whose::Own), []);
        assert_eq!(told(4, Whose::Above), event(4, Short::Machine));
        assert_eq!(told(5, Whose::OfAll), event(5, Short::Host));
    }

    #[test]
    fn throttling_is_told_when_it_begins() {
        let mut signs = Signs::default();
        let mut told = |milliseconds, total| {
            let glimpse = Glimpse {
                throttled: Some(total),
                ..Glimpse::default()
            };
            let at = Duration::from_millis(milliseconds);
            !signs.take(at, &glimpse).is_empty()
        };
        assert!(!told(100, 0));
        assert!(told(200, 10));
        assert!(!told(400, 20) && !told(900, 30) && !told(1500, 40));
        // It was not for a while.
        assert!(!told(3000, 40));
        assert!(told(3100, 50));
    }

    #[test]
    fn pressure_is_told_when_it_rises_and_again_after_it_fell() {
        let mut signs = Signs::default();
        let mut total = 0;
        let mut told = |second: u64, part_of_100: u64| {
            total += part_of_100 * 10_000_000;
            let glimpse = Glimpse {
                pressure: Some([None, Some(total), Some(0)]),
                ..Glimpse::default()
            };
            signs.take(SECOND * u32::try_from(second).unwrap(), &glimpse)
        };
        assert_eq!(told(1, 9), []);
        let high = What::Pressure {
            of: Resource::Memory,
            stalled_ns: 300_000_000,
            within_ns: 1_000_000_000,
        };
        assert_eq!(told(2, 30), [high]);
        assert_eq!(told(3, 50), []);
        assert_eq!(told(4, 7), []);
        assert_eq!(told(5, 50), []);
        assert_eq!(told(6, 1), []);
        assert_eq!(told(7, 12).len(), 1);
    }

    #[test]
    fn pressure_of_less_than_a_second_is_not_judged() {
        let mut signs = Signs::default();
        let glimpse = |total| Glimpse {
            pressure: Some([Some(total), None, None]),
            ..Glimpse::default()
        };
        let half = SECOND / 2;
        assert!(!signs.wants_pressure(half));
        assert_eq!(signs.take(half, &glimpse(500_000_000)), []);
        assert_eq!(signs.take(SECOND, &glimpse(500_000_000)).len(), 1);
        assert!(!signs.wants_pressure(SECOND + half) && signs.wants_pressure(2 * SECOND));
    }
}
