//! Holds what was sampled of a jar against its limits, and says when to look
//! again. Pure: no clock, no I/O.

use std::time::Duration;

use belljar_plan::{
    Limit, Plan, Step, Strength,
    report::{Edge, LimitHit, LimitValues},
};

use crate::sys::Grown;

/// Memory grows at most this fast on the machines that we know, bytes a second.
const GROWTH: u64 = 4 << 30;

const SOONEST: Duration = Duration::from_millis(5);
const LATEST: Duration = Duration::from_millis(200);
/// Where nothing is limited, and only the report wants to know.
const IDLE: Duration = Duration::from_millis(500);
const FIRST: Duration = Duration::from_millis(10);
/// Looking at all jars that do nothing takes no more than this part of a processor.
const PART: u32 = 40;
/// And so long at most, however many there are.
const SELDOM: Duration = Duration::from_secs(2);

/// What one look at a jar saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Bytes of private memory.
    pub(crate) memory: u64,
    /// Nanoseconds of processor time.
    pub(crate) cpu: u64,
    /// Tasks.
    pub(crate) tasks: u64,
    /// Bytes in scratch, and whether it is full; none where there is no scratch.
    pub(crate) disk: Option<(u64, bool)>,
}

#[derive(Clone, Copy, Debug)]
struct Bound {
    soft: u64,
    hard: u64,
    stop: bool,
}

/// The limits of one jar and the most that was seen.
#[derive(Debug)]
pub(crate) struct Watch {
    bounds: Vec<(Limit, Bound)>,
    /// Limits that something is said to hold.
    claimed: Vec<Limit>,
    /// Where the kernel holds memory: how much of it is the jar's own, and not the guest's.
    own_memory: Option<u64>,
    /// What was told since the limit was set or changed.
    told: Vec<LimitHit>,
    /// Every limit that was reached, in order, each once.
    pub(crate) hits: Vec<LimitHit>,
    /// The most that was seen of each.
    pub(crate) peak: Seen,
    /// Anything was seen at all.
    pub(crate) looked: bool,
    /// The last that was seen.
    last: Seen,
    /// Between the last two looks it did nothing that shows.
    idle: bool,
    /// The most that granted directories have grown, where that was counted.
    pub(crate) grown: u64,
    /// Bytes of memory, each for so many nanoseconds, and all nanoseconds that were looked at.
    weighed: (u128, u128),
}

impl Watch {
    pub(crate) fn new(plan: &Plan) -> Self {
        let bounds = plan.limits.iter().map(|planned| {
            let bound = Bound {
                soft: planned.soft.unwrap_or(u64::MAX),
                hard: planned.hard.unwrap_or(u64::MAX),
                stop: planned.stop,
            };
            (planned.limit, bound)
        });
        let claimed = |limit: Limit| {
            plan.rules.iter().any(|planned| {
                planned.rule == limit.rule() && planned.planned.strength != Strength::None
            })
        };
        Self {
            bounds: bounds.collect(),
            claimed: Limit::ALL
                .iter()
                .copied()
                .filter(|limit| claimed(*limit))
                .collect(),
            own_memory: own_memory(plan),
            told: Vec::new(),
            hits: Vec::new(),
            peak: Seen::default(),
            looked: false,
            last: Seen::default(),
            idle: false,
            grown: 0,
            weighed: (0, 0),
        }
    }

    fn bound(&self, limit: Limit) -> Option<Bound> {
        self.bounds
            .iter()
            .find(|(name, _)| *name == limit)
            .map(|(_, bound)| *bound)
    }

    /// Where a limit's soft value lies; `u64::MAX` where there is none.
    pub(crate) fn soft(&self, limit: Limit) -> u64 {
        self.bound(limit).map_or(u64::MAX, |bound| bound.soft)
    }

    /// Where a limit's hard value lies; `u64::MAX` where there is none.
    pub(crate) fn hard(&self, limit: Limit) -> u64 {
        self.bound(limit).map_or(u64::MAX, |bound| bound.hard)
    }

    /// The values that hold of a limit; none where it was not set at the launch.
    pub(crate) fn holds(&self, limit: Limit) -> Option<LimitValues> {
        let edge = |value| (value != u64::MAX).then_some(value);
        self.bound(limit).map(|bound| LimitValues {
            soft: edge(bound.soft),
            hard: edge(bound.hard),
        })
    }

    /// A limit of this jar holds only as long as its tasks can be seen.
    pub(crate) fn must_see(&self) -> bool {
        [Limit::Memory, Limit::CpuTime]
            .into_iter()
            .any(|limit| self.hard(limit) != u64::MAX && self.claimed.contains(&limit))
    }

    /// Has other values of a limit hold from now on, and tells of them anew.
    pub(crate) fn change(&mut self, limit: Limit, LimitValues { soft, hard }: LimitValues) {
        if let Some((_, bound)) = self.bounds.iter_mut().find(|(name, _)| *name == limit) {
            bound.soft = soft.unwrap_or(u64::MAX);
            bound.hard = hard.unwrap_or(u64::MAX);
        }
        self.told.retain(|hit| hit.limit != limit);
    }

    /// Whether it was told since it was set or changed.
    pub(crate) fn has_told(&self, limit: Limit, at: Edge) -> bool {
        self.told.contains(&LimitHit { limit, at })
    }

    /// What of a cgroup's memory is the guest's.
    pub(crate) fn of_guest(&self, memory: u64) -> u64 {
        memory.saturating_sub(self.own_memory.unwrap_or(0))
    }

    /// Notes that a limit was reached; true the first time since it was set or changed.
    pub(crate) fn hit(&mut self, limit: Limit, at: Edge) -> bool {
        let hit = LimitHit { limit, at };
        let new = !self.told.contains(&hit);
        if new {
            self.told.push(hit);
        }
        if !self.hits.contains(&hit) {
            self.hits.push(hit);
        }
        new
    }

    /// What was told behind the first so many.
    fn told_since(&self, before: usize) -> Vec<LimitHit> {
        self.told.get(before..).unwrap_or_default().to_vec()
    }

    /// Takes how much granted directories have grown; `u64::MAX` is beyond counting.
    /// Gives the limits reached for the first time.
    pub(crate) fn grew(&mut self, seen: Grown) -> Vec<LimitHit> {
        let Grown { bytes, full } = seen;
        let before = self.told.len();
        if bytes != u64::MAX {
            self.grown = self.grown.max(bytes);
        }
        if bytes > self.soft(Limit::Disk) {
            self.hit(Limit::Disk, Edge::Soft);
        }
        if full || bytes > self.hard(Limit::Disk) {
            self.hit(Limit::Disk, Edge::Hard);
        }
        self.told_since(before)
    }

    /// Takes what was seen. Gives the limits reached for the first time, and
    /// the one for which the jar must end.
    pub(crate) fn take(&mut self, seen: Seen) -> (Vec<LimitHit>, Option<Limit>) {
        let seen = Seen {
            memory: self.of_guest(seen.memory),
            ..seen
        };
        let last = std::mem::replace(&mut self.last, seen);
        self.idle = self.looked
            && seen.cpu == last.cpu
            && seen.memory <= last.memory
            && seen.tasks <= last.tasks
            && seen.disk <= last.disk;
        self.looked = true;
        self.peak.memory = self.peak.memory.max(seen.memory);
        self.peak.cpu = self.peak.cpu.max(seen.cpu);
        self.peak.tasks = self.peak.tasks.max(seen.tasks);
        self.peak.disk = self.peak.disk.max(seen.disk);
        let before = self.told.len();
        let mut end = None;
        let disk = seen.disk.map_or(0, |(bytes, _)| bytes);
        for (limit, used) in [
            (Limit::Memory, seen.memory),
            (Limit::CpuTime, self.peak.cpu),
            (Limit::Processes, seen.tasks),
            (Limit::Disk, disk),
        ] {
            let Some(bound) = self.bound(limit) else {
                continue;
            };
            if used > bound.soft {
                self.hit(limit, Edge::Soft);
            }
            // The kernel holds the last two, and refuses at the limit itself.
            let reached = match limit {
                Limit::Processes => used >= bound.hard,
                Limit::Disk => used >= bound.hard || seen.disk.is_some_and(|(_, full)| full),
                _ => used > bound.hard,
            };
            let ends = bound.stop || matches!(limit, Limit::Memory | Limit::CpuTime);
            // The kernel ends it, and says so.
            let by_kernel = limit == Limit::Memory && self.own_memory.is_some();
            if reached && !by_kernel {
                self.hit(limit, Edge::Hard);
                if ends && end.is_none() {
                    end = Some(limit);
                }
            }
        }
        (self.told_since(before), end)
    }

    /// Takes the mean of what this look and the one before saw of memory for what there was
    /// in between; of the first look for all before it. Called before the look is taken.
    pub(crate) fn weigh(&mut self, memory: u64, since: Duration) {
        let memory = self.of_guest(memory);
        let before = match self.looked {
            true => self.last.memory,
            false => memory,
        };
        let (bytes, time) = &mut self.weighed;
        *bytes += u128::from(before.midpoint(memory)) * since.as_nanos();
        *time += since.as_nanos();
    }

    /// The mean of memory over the time that was looked at.
    pub(crate) fn memory_average(&self) -> Option<u64> {
        let (bytes, time) = self.weighed;
        let mean = bytes.checked_div(time)?;
        Some(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// How long until the next look: short where a limit is near, and never so
    /// short that looking takes more than a tenth of a processor. Of many jars those that
    /// do nothing are looked at less often.
    pub(crate) fn pause(
        &self,
        seen: Option<Seen>,
        took: Duration,
        processors: u64,
        jars: u32,
    ) -> Duration {
        let soon = self.soon(seen, took, processors);
        match self.idle {
            true => soon.max(took.saturating_mul(PART.saturating_mul(jars)).min(SELDOM)),
            false => soon,
        }
    }

    fn soon(&self, seen: Option<Seen>, took: Duration, processors: u64) -> Duration {
        let Some(seen) = seen else {
            return FIRST;
        };
        // What the kernel ends is not waited for, and counted by it meanwhile.
        let by_kernel = |limit| limit == Limit::Memory && self.own_memory.is_some();
        let waited_for = |limit: &Limit| match self.bound(*limit) {
            Some(bound) => bound.soft != u64::MAX || !by_kernel(*limit),
            None => false,
        };
        let watched = [Limit::Memory, Limit::CpuTime, Limit::Processes, Limit::Disk];
        if !watched.iter().any(waited_for) {
            return IDLE.max(took * 10);
        }
        let edge = |limit, used: u64| {
            let hard = match by_kernel(limit) {
                true => u64::MAX,
                false => self.hard(limit),
            };
            [self.soft(limit), hard]
                .into_iter()
                .filter(|edge| *edge >= used)
                .min()
                .unwrap_or(u64::MAX)
                .saturating_sub(used)
        };
        let memory = match edge(Limit::Memory, self.of_guest(seen.memory)) {
            u64::MAX.. => LATEST,
            left => Duration::from_nanos(left.saturating_mul(1_000_000_000 / (GROWTH >> 20)) >> 20),
        };
        let cpu = edge(Limit::CpuTime, seen.cpu) / processors.max(1).min(seen.tasks.max(1));
        memory
            .min(Duration::from_nanos(cpu))
            .clamp(SOONEST, LATEST)
            .max(took * 10)
    }
}

/// By how much memory.max is above the limit: for what Belljar itself puts there.
fn own_memory(plan: &Plan) -> Option<u64> {
    let settings = plan.steps.iter().find_map(|step| match step {
        Step::Cgroup { settings } => Some(settings),
        _ => None,
    })?;
    let most = settings
        .iter()
        .find_map(|setting| setting.0.strip_prefix(b"memory.max="))?;
    let most: u64 = std::str::from_utf8(most).ok()?.parse().ok()?;
    let hard = plan.limit(Limit::Memory)?.hard?;
    Some(most.saturating_sub(hard))
}

#[cfg(test)]
mod tests {
    use belljar_plan::plan::PlannedLimit;

    use super::*;

    fn watch(limits: &[(Limit, Option<u64>, Option<u64>, bool)]) -> Watch {
        let mut plan = super::super::receipts::tests::plan(Vec::new(), Vec::new());
        plan.limits = limits
            .iter()
            .map(|(limit, soft, hard, stop)| PlannedLimit {
                limit: *limit,
                soft: *soft,
                hard: *hard,
                stop: *stop,
                origin: "test".into(),
            })
            .collect();
        Watch::new(&plan)
    }

    fn hit(limit: Limit, at: Edge) -> LimitHit {
        LimitHit { limit, at }
    }

    #[test]
    fn a_soft_limit_is_told_once_and_ends_nothing() {
        let mut watch = watch(&[(Limit::Memory, Some(10), Some(100), false)]);
        let seen = Seen {
            memory: 11,
            ..Seen::default()
        };
        assert_eq!(
            watch.take(seen),
            (vec![hit(Limit::Memory, Edge::Soft)], None)
        );
        assert_eq!(watch.take(seen), (Vec::new(), None));
    }

    #[test]
    fn the_mean_of_memory_is_weighed_by_time() {
        let mut watch = watch(&[]);
        assert_eq!(watch.memory_average(), None);
        for (memory, seconds) in [(100, 1), (300, 2), (300, 7)] {
            watch.weigh(memory, Duration::from_secs(seconds));
            watch.take(Seen {
                memory,
                ..Seen::default()
            });
        }
        // 1 s of 100, 2 s of 200, 7 s of 300.
        assert_eq!(watch.memory_average(), Some(260));
    }

    #[test]
    fn a_limit_that_was_changed_is_told_of_anew_and_reported_once() {
        let mut watch = watch(&[(Limit::Memory, Some(10), Some(100), false)]);
        let seen = |memory| Seen {
            memory,
            ..Seen::default()
        };
        let soft = hit(Limit::Memory, Edge::Soft);
        assert_eq!(watch.take(seen(11)), (vec![soft], None));
        let (soft_at, hard_at) = (Some(20), Some(50));
        watch.change(
            Limit::Memory,
            LimitValues {
                soft: soft_at,
                hard: hard_at,
            },
        );
        assert_eq!(watch.take(seen(15)), (Vec::new(), None));
        assert_eq!(watch.take(seen(21)), (vec![soft], None));
        let (_, end) = watch.take(seen(60));
        assert_eq!(end, Some(Limit::Memory));
        assert_eq!(watch.hits, [soft, hit(Limit::Memory, Edge::Hard)]);
    }

    #[test]
    fn what_the_kernel_holds_ends_nothing_here_and_what_is_the_jar_s_own_is_not_counted() {
        let mut plan = super::super::receipts::tests::plan(Vec::new(), Vec::new());
        plan.limits = vec![PlannedLimit {
            limit: Limit::Memory,
            soft: Some(50),
            hard: Some(100),
            stop: false,
            origin: "test".into(),
        }];
        plan.steps = vec![Step::Cgroup {
            settings: vec!["memory.max=160".into()],
        }];
        let mut watch = Watch::new(&plan);
        // It is waited for the event, and for nothing behind that.
        let seen_of = |memory| {
            Some(Seen {
                memory,
                tasks: 1,
                ..Seen::default()
            })
        };
        let little = Duration::from_micros(50);
        assert!(watch.pause(seen_of(49), little, 2, 1) < LATEST);
        assert_eq!(watch.pause(seen_of(120), little, 2, 1), LATEST);
        let mut seen = |memory| {
            watch.take(Seen {
                memory,
                ..Seen::default()
            })
        };
        assert_eq!(seen(110), (Vec::new(), None));
        assert_eq!(seen(111), (vec![hit(Limit::Memory, Edge::Soft)], None));
        assert_eq!(seen(1000), (Vec::new(), None));
    }

    #[test]
    fn the_hard_limit_of_memory_and_time_ends_the_jar_and_that_of_tasks_only_on_demand() {
        for (stop, end) in [(false, None), (true, Some(Limit::Processes))] {
            let mut watch = watch(&[(Limit::Processes, None, Some(5), stop)]);
            let seen = Seen {
                tasks: 5,
                ..Seen::default()
            };
            assert_eq!(
                watch.take(seen),
                (vec![hit(Limit::Processes, Edge::Hard)], end)
            );
        }
        let mut watch = watch(&[(Limit::CpuTime, None, Some(5), false)]);
        let seen = |cpu| Seen {
            cpu,
            ..Seen::default()
        };
        assert_eq!(watch.take(seen(5)).1, None);
        assert_eq!(watch.take(seen(6)).1, Some(Limit::CpuTime));
    }

    #[test]
    fn looking_gets_denser_towards_a_limit_and_never_takes_much() {
        let watch = watch(&[(Limit::Memory, None, Some(1 << 30), false)]);
        let pause = |memory, took| {
            let seen = Seen {
                memory,
                tasks: 1,
                ..Seen::default()
            };
            watch.pause(Some(seen), took, 2, 1)
        };
        let little = Duration::from_micros(50);
        assert!(pause(0, little) > Duration::from_millis(100));
        assert_eq!(pause(1 << 30, little), SOONEST);
        assert!(pause(900 << 20, little) < pause(500 << 20, little));
        let long = Duration::from_millis(80);
        assert_eq!(pause(1 << 30, long), long * 10);
    }

    #[test]
    fn of_many_jars_those_that_do_nothing_are_looked_at_less_often() {
        let mut watch = watch(&[(Limit::Memory, None, Some(1 << 20), false)]);
        let little = Duration::from_micros(50);
        let seen = |memory, cpu| Seen {
            memory,
            cpu,
            tasks: 1,
            ..Seen::default()
        };
        let mut pause = |look, jars| {
            watch.take(look);
            watch.pause(Some(look), little, 2, jars)
        };
        assert_eq!(pause(seen(10, 5), 1000), SOONEST);
        // Nothing has changed since.
        assert_eq!(pause(seen(10, 5), 1), SOONEST);
        assert_eq!(pause(seen(10, 5), 500), Duration::from_secs(1));
        assert_eq!(pause(seen(10, 5), 100_000), SELDOM);
        // Whatever it does is looked after.
        assert_eq!(pause(seen(10, 6), 1000), SOONEST);
        assert!(pause(seen(10, 6), 1000) > SOONEST);
        assert_eq!(pause(seen(11, 6), 1000), SOONEST);
    }

    #[test]
    fn a_jar_must_be_seen_only_for_a_limit_that_is_claimed() {
        let must = |strength, hard| {
            let rules = vec![(Limit::Memory.rule(), Vec::new())];
            let mut plan = super::super::receipts::tests::plan(Vec::new(), rules);
            plan.rules[0].planned.strength = strength;
            plan.limits = vec![PlannedLimit {
                limit: Limit::Memory,
                soft: Some(1),
                hard,
                stop: false,
                origin: "test".into(),
            }];
            Watch::new(&plan).must_see()
        };
        assert!(must(Strength::Supervisor, Some(5)));
        assert!(!must(Strength::Supervisor, None));
        assert!(!must(Strength::None, Some(5)));
    }

    #[test]
    fn without_limits_only_the_report_looks() {
        let watch = watch(&[(Limit::Wall, None, Some(5), false)]);
        let little = Duration::from_micros(50);
        assert_eq!(watch.pause(Some(Seen::default()), little, 2, 1), IDLE);
        assert!(!watch.must_see());
    }
}
