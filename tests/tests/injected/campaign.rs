//! One campaign of faults: a host of one kind, each fault in turn, and what is asked
//! after each.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use belljar_plan::Outcome;
use belljar_tests::{
    Actor, Fault, FaultyHost, How, Leftovers, Point, Points, Told, alive, faulty_host, guest,
    program_without_namespaces,
};

use super::judge::{Well, is_well, judge, next_launch, same, taught};

/// No launch takes longer, whatever fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);
/// What ends may take so long to be gone.
pub(crate) const GONE: Duration = Duration::from_secs(3);

/// How many faults.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All, each errno at the first, a middle and the last time that a point is reached.
    All,
    /// About so many of them, spread over all.
    Some(usize),
}

pub(crate) struct Campaign {
    pub(crate) words: Vec<String>,
    parks: bool,
    pub(crate) wrong: Vec<String>,
    pub(crate) count: usize,
}

/// Who reached which point, and how often.
pub(crate) type Reached = Vec<(Actor, usize, u32)>;

impl Campaign {
    pub(crate) fn new(words: &[&str]) -> Self {
        Self {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            parks: words.contains(&"park"),
            wrong: Vec::new(),
            count: 0,
        }
    }

    pub(crate) fn host(&self) -> FaultyHost {
        let guest = guest().display().to_string();
        let words = self.words.iter().cloned();
        let words = words.chain([guest, "surroundings".to_owned()]);
        match self.words.contains(&"lower".to_owned()) {
            true => FaultyHost::start_by(program_without_namespaces(faulty_host()), words),
            false => FaultyHost::start(words),
        }
    }

    /// Has each call fail, and asks what came of it.
    pub(crate) fn errnos(mut self, extent: Extent) -> (usize, Vec<String>) {
        let begun = Instant::now();
        let leftovers = Leftovers::before();
        let others = cgroups();
        let mut host = self.host();
        let (first, later) = self.reached(&mut host);
        let mut well = self.well(&mut host);
        // What is reached in a launch is asked of one host; what only a new launcher does,
        // of a new one each time.
        let at_start: Vec<_> = first
            .iter()
            .filter(|(actor, point, _)| !later.iter().any(|(a, p, _)| (a, p) == (actor, point)))
            .copied()
            .collect();
        for fault in spread(faults(&later, extent), extent) {
            if !self.one(&mut host, fault, &well) {
                host = self.host();
                well = self.well(&mut host);
            }
        }
        host.end();
        for fault in spread(faults(&at_start, extent), part(extent)) {
            let mut host = self.host();
            self.at_start(&mut host, fault, &well);
            host.end();
        }
        leftovers.assert_none();
        let left = cgroups().into_iter();
        self.wrong
            .extend(left.filter(|left| !others.contains(left)));
        self.close("faults", begun)
    }

    pub(crate) fn close(self, what: &str, begun: Instant) -> (usize, Vec<String>) {
        eprintln!(
            "{:?}: {} {what} in {:?}, {} wrong",
            self.words,
            self.count,
            begun.elapsed(),
            self.wrong.len()
        );
        (self.count, self.wrong)
    }

    /// Which points the first launch of a host reaches, and which a later one.
    pub(crate) fn reached(&mut self, host: &mut FaultyHost) -> (Reached, Reached) {
        host.launch();
        host.told(PATIENCE).expect("a first launch");
        self.settle(host);
        let first = host.reached();
        host.forget();
        host.launch();
        host.told(PATIENCE).expect("a second launch");
        self.settle(host);
        if let Some(line) = host.unlisted() {
            panic!("a call at line {line} is no point");
        }
        (first, host.reached())
    }

    pub(crate) fn well(&mut self, host: &mut FaultyHost) -> Well {
        host.disarm();
        for _ in 0..2 {
            host.launch();
            host.told(PATIENCE).expect("a launch without a fault");
            self.settle(host);
        }
        host.launch();
        let told = host.told(PATIENCE).expect("a launch without a fault");
        self.settle(host);
        let report = told.report.expect("a report");
        assert_eq!(report.outcome, Outcome::Exited { code: 0 }, "{report:#?}");
        Well {
            output: same(&told.output),
            report,
            descriptors: at_rest(host),
        }
    }

    /// Waits until nothing of a jar is left, and gives what is.
    pub(crate) fn settle(&self, host: &FaultyHost) -> Vec<String> {
        let end = Instant::now() + GONE;
        let parked = usize::from(self.parks);
        loop {
            let launchers: Vec<_> = living(host.pid());
            let below: Vec<_> = launchers.iter().flat_map(|pid| living(*pid)).collect();
            let deeper: Vec<_> = below.iter().flat_map(|pid| living(*pid)).collect();
            if launchers.len() <= 1 && below.len() <= parked && deeper.is_empty() {
                return Vec::new();
            }
            if Instant::now() > end {
                return vec![format!(
                    "processes are left: {launchers:?} {below:?} {deeper:?}"
                )];
            }
            std::thread::sleep(Duration::from_micros(300));
        }
    }

    /// One fault in a host that is well; whether it is well again.
    fn one(&mut self, host: &mut FaultyHost, fault: Fault, well: &Well) -> bool {
        self.count += 1;
        let before = launcher(host);
        host.arm(fault);
        host.launch();
        let told = host.told(PATIENCE);
        let mut wrong = self.settle(host);
        let same_launcher = launcher(host) == before;
        if !same_launcher {
            wrong.extend(before.and_then(taken_up));
        }
        if host.had() {
            wrong.extend(judge(host, fault, told.as_ref(), well, same_launcher));
        }
        host.disarm();
        if taught(fault, told.as_ref(), well) {
            // It goes on by what it has learnt, and is not the same host any more.
            host.launch();
            if host.told(PATIENCE).is_none_or(|told| told.report.is_err()) {
                wrong.push("the next launch tells nothing".to_owned());
            }
            wrong.extend(self.settle(host));
            self.note(fault, &said(host, told.as_ref()), &wrong);
            return false;
        }
        let mut after = self.goes_on(host, well);
        if self.parks && after == [had_by_the_next(fault)] {
            // The child that waited for that launch had it, and was not seen to end yet.
            after = self.goes_on(host, well);
        }
        wrong.extend(after);
        self.note(fault, &said(host, told.as_ref()), &wrong);
        wrong.is_empty()
    }

    /// One fault while a launcher begins.
    fn at_start(&mut self, host: &mut FaultyHost, fault: Fault, well: &Well) {
        self.count += 1;
        host.arm(fault);
        host.launch();
        let told = host.told(PATIENCE);
        let mut wrong = self.settle(host);
        if host.had() {
            wrong.extend(judge(host, fault, told.as_ref(), well, false));
        }
        host.disarm();
        host.launch();
        let next = host.told(PATIENCE);
        wrong.extend(self.settle(host));
        wrong.extend(is_well(next.as_ref(), well));
        self.note(fault, &said(host, told.as_ref()), &wrong);
    }

    /// Keeps what was wrong with a fault.
    pub(crate) fn note(&mut self, fault: Fault, told: &str, wrong: &[String]) {
        if !wrong.is_empty() {
            let wrong = wrong.join("; ");
            let line = format!("{:?}: {fault}: {wrong}; {told}", self.words);
            eprintln!("{line}");
            self.wrong.push(line);
        }
    }

    /// Whether the next launch works, and host and launcher hold no more than before.
    pub(crate) fn goes_on(&self, host: &mut FaultyHost, well: &Well) -> Vec<String> {
        host.launch();
        let told = host.told(PATIENCE);
        let mut wrong = self.settle(host);
        wrong.extend(is_well(told.as_ref(), well));
        if wrong.is_empty() {
            let end = Instant::now() + GONE;
            let more =
                |now: (usize, usize)| now.0 > well.descriptors.0 || now.1 > well.descriptors.1;
            let mut now = descriptors(host);
            while more(now) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(1));
                now = descriptors(host);
            }
            if more(now) {
                wrong.push(format!(
                    "descriptors of host and launcher: {now:?}, and were {:?}",
                    well.descriptors
                ));
            }
        }
        wrong
    }
}

/// What was told, in words.
fn said(host: &FaultyHost, told: Option<&Told>) -> String {
    let step = host.step().and_then(|step| host.steps.get(step));
    let outcome = told.map(|told| match &told.report {
        Ok(report) => format!("{:?} {:?}", report.outcome, report.symptoms),
        Err(error) => error.clone(),
    });
    format!("step {step:?}, told {outcome:?}")
}

/// Cgroups of jars that nobody holds any more: their maker lives as long as it has a lock.
pub(crate) fn cgroups() -> Vec<String> {
    let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let entries = places.iter().flat_map(fs::read_dir).flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("belljar"))
        .filter_map(|entry| fs::File::open(entry.path()).ok().map(|held| (entry, held)))
        .filter(|(_, held)| held.try_lock().is_ok())
        .map(|(entry, _)| format!("a cgroup is left: {}", entry.path().display()))
        .collect()
}

/// Waits until the host has taken the end of a launcher: from then on it asks a new one.
pub(crate) fn taken_up(launcher: i32) -> Option<String> {
    let end = Instant::now() + GONE;
    while fs::exists(format!("/proc/{launcher}")).unwrap_or(false) {
        if Instant::now() > end {
            return Some("nobody takes the launcher's end".to_owned());
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    None
}

/// Children that have not ended; proc_pid_task(5), since to go through all tasks of the
/// machine takes longer than a launch.
pub(crate) fn living(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    threads
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|thread| {
            let list = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            let pids = list.split_whitespace().filter_map(|pid| pid.parse().ok());
            pids.collect::<Vec<_>>()
        })
        .filter(|pid| alive(*pid))
        .collect()
}

/// The host's launcher, while there is one.
pub(crate) fn launcher(host: &FaultyHost) -> Option<i32> {
    living(host.pid()).first().copied()
}

/// How many descriptors the host and its launcher have.
fn descriptors(host: &FaultyHost) -> (usize, usize) {
    let count =
        |pid: i32| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count());
    (count(host.pid()), launcher(host).map_or(0, count))
}

/// At which of the times that a point was reached there is a fault.
pub(crate) fn points(reached: &[(Actor, usize, u32)], extent: Extent) -> Reached {
    let mut all = Vec::new();
    for (actor, point, count) in reached {
        let times = match extent {
            Extent::All => BTreeSet::from([0, count / 2, count - 1]),
            Extent::Some(_) => BTreeSet::from([0, count - 1]),
        };
        all.extend(times.into_iter().map(|spared| (*actor, *point, spared)));
    }
    all
}

/// The same once nothing is let go of any more.
fn at_rest(host: &FaultyHost) -> (usize, usize) {
    let mut last = descriptors(host);
    let mut same = 0;
    while same < 20 {
        std::thread::sleep(Duration::from_millis(2));
        let now = descriptors(host);
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

/// Each fault of them.
fn faults(reached: &[(Actor, usize, u32)], extent: Extent) -> Vec<Fault> {
    let mut all = Vec::new();
    for (actor, point, spared) in points(reached, extent) {
        let Point { errnos, after, .. } = &Points::get().all[point];
        for errno in errnos {
            let mut hows = vec![How::Instead(*errno)];
            if *after {
                hows.push(How::After(*errno));
            }
            all.extend(hows.into_iter().map(|how| Fault {
                actor,
                point,
                spared,
                how,
            }));
        }
    }
    all
}

fn part(extent: Extent) -> Extent {
    match extent {
        Extent::All => Extent::All,
        Extent::Some(count) => Extent::Some(count / 5),
    }
}

/// About so many of them, by a step that is odd: a call that can be made all the same has
/// each errno twice.
pub(crate) fn spread<T>(all: Vec<T>, extent: Extent) -> Vec<T> {
    let Extent::Some(wanted) = extent else {
        return all;
    };
    let step = (all.len() / wanted.max(1)).max(1) | 1;
    all.into_iter().step_by(step).collect()
}

/// What the next launch tells of a fault that its first process had before it.
fn had_by_the_next(fault: Fault) -> String {
    let errno = match (fault.actor, fault.how) {
        (Actor::First, How::Instead(errno) | How::After(errno)) => errno,
        _ => 0,
    };
    let step = "keep the jar's first process".to_owned();
    next_launch(&Outcome::SetupFailed { step, errno })
}
