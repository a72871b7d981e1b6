//! Who is killed by force while a process stands at a point: the host, the launcher, or
//! the jar's first process.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use belljar_plan::{Outcome, Report};
use belljar_tests::{Actor, Fault, FaultyHost, How, Leftovers, alive, is_namespace_root, kill};
use rustix::process::Signal;

use super::campaign::{
    Campaign, Extent, GONE, PATIENCE, cgroups, launcher, living, points, spread, taken_up,
};

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    Host,
    Launcher,
    First,
}

impl Victim {
    pub(crate) const ALL: [Self; 3] = [Self::Host, Self::Launcher, Self::First];

    /// Its process, while there is one.
    fn of(self, host: &FaultyHost) -> Option<i32> {
        let launcher = launcher(host);
        match self {
            Self::Host => Some(host.pid()),
            Self::Launcher => launcher,
            Self::First => living(launcher?)
                .into_iter()
                .find(|pid| is_namespace_root(*pid)),
        }
    }
}

impl Campaign {
    /// Kills each of them at each point, and asks what came of it.
    pub(crate) fn kills(mut self, extent: Extent) -> (usize, Vec<String>) {
        let begun = Instant::now();
        let leftovers = Leftovers::before();
        let room = tempfile::tempdir().expect("a directory");
        let report = room.path().join("report.json");
        self.words.insert(0, format!("report={}", report.display()));
        let mut host = self.host();
        let (first, later) = self.reached(&mut host);
        let well = self.well(&mut host);
        let all: Vec<_> = points(&later, extent)
            .into_iter()
            .flat_map(|(actor, point, spared)| {
                let how = How::Hold;
                Victim::ALL.map(|victim| {
                    let fault = Fault {
                        actor,
                        point,
                        spared,
                        how,
                    };
                    (fault, victim)
                })
            })
            .collect();
        for (fault, victim) in spread(all, extent) {
            let wrong = self.kill_at(&mut host, fault, victim, &report);
            if victim == Victim::Host || !wrong.is_empty() {
                host = self.host();
                // As it was when the points were counted.
                self.reached(&mut host);
            } else {
                host.disarm();
            }
            let after = self.goes_on(&mut host, &well);
            let all: Vec<_> = wrong.into_iter().chain(after).collect();
            self.note(fault, &format!("{victim:?} killed"), &all);
        }
        host.end();
        drop(first);
        leftovers.assert_none();
        self.wrong.extend(cgroups());
        self.close("kills", begun)
    }

    /// Holds a process at each of some points, and sees it go on.
    pub(crate) fn holds(mut self) {
        let mut host = self.host();
        let (_, later) = self.reached(&mut host);
        for (actor, point, spared) in spread(points(&later, Extent::Some(0)), Extent::Some(12)) {
            let fault = Fault {
                actor,
                point,
                spared,
                how: How::Hold,
            };
            host.arm(fault);
            host.launch();
            let end = Instant::now() + PATIENCE;
            while !host.had() {
                assert!(Instant::now() < end, "{fault} is not reached");
                std::thread::sleep(Duration::from_micros(300));
            }
            let told = host.told(Duration::from_millis(100));
            // After the last word about a jar the launcher has still a call or two.
            assert!(
                told.is_none() || actor == Actor::Launcher,
                "{fault}: nobody was held: {told:?}"
            );
            host.let_go();
            let told = told.or_else(|| host.told(PATIENCE)).expect("an end");
            let report = told.report.expect("a report");
            assert_eq!(report.outcome, Outcome::Exited { code: 0 }, "{fault}");
            assert!(self.settle(&host).is_empty());
        }
        host.end();
    }

    /// Kills somebody while a process stands at a point.
    fn kill_at(
        &mut self,
        host: &mut FaultyHost,
        fault: Fault,
        victim: Victim,
        path: &Path,
    ) -> Vec<String> {
        self.count += 1;
        // It may never have been there.
        let _ = fs::remove_file(path);
        host.arm(fault);
        host.launch();
        let end = Instant::now() + PATIENCE;
        let mut told = None;
        while !host.had() && told.is_none() && Instant::now() < end {
            told = host.told(Duration::from_micros(200));
        }
        let tasks = below(host.pid());
        let killed = victim.of(host);
        if let Some(pid) = killed {
            kill(pid, Signal::KILL);
        }
        host.let_go();
        if victim == Victim::Host {
            host.kill();
            let mut wrong = gone(&tasks);
            wrong.extend(left_true(path));
            return wrong;
        }
        let told = told.or_else(|| host.told(PATIENCE));
        let mut wrong = self.settle(host);
        match victim {
            Victim::Launcher => wrong.extend(killed.and_then(taken_up)),
            // It may have been parked, and the next launch must not find it dying.
            _ => wrong.extend(killed.map(|pid| gone(&[pid])).into_iter().flatten()),
        }
        match told.map(|told| told.report) {
            None => wrong.push("nothing is told".to_owned()),
            Some(Err(error)) => wrong.push(format!("no report: {error}")),
            Some(Ok(report)) => {
                // Who was killed before the jar was asked for, or after all was told, is
                // replaced or was not needed any more.
                let known = matches!(
                    report.outcome,
                    Outcome::Lost
                        | Outcome::SetupFailed { errno: 0, .. }
                        | Outcome::Exited { code: 0 }
                );
                // The launcher may have found that its child is gone before the host did.
                let found_gone = matches!(
                    &report.outcome,
                    Outcome::SetupFailed { step, .. } if victim == Victim::First && found_by_launcher(step)
                );
                if !known && !found_gone {
                    wrong.push(format!("{:?}", report.outcome));
                }
                match fs::read(path).map(|bytes| serde_json::from_slice::<Report>(&bytes)) {
                    Ok(Ok(written)) if written == report => {}
                    other => wrong.push(format!("another report is written: {other:?}")),
                }
            }
        }
        wrong
    }
}

/// What the launcher does with a child that it has made.
fn found_by_launcher(step: &str) -> bool {
    ["have the jar made", "map_ids", "clone"].contains(&step)
}

/// All tasks below one.
fn below(pid: i32) -> Vec<i32> {
    let mut all = living(pid);
    let mut next = 0;
    while let Some(parent) = all.get(next) {
        let more = living(*parent);
        all.extend(more);
        next += 1;
    }
    all
}

/// Those that do not end.
fn gone(tasks: &[i32]) -> Vec<String> {
    let end = Instant::now() + GONE;
    loop {
        let left: Vec<_> = tasks.iter().filter(|pid| alive(**pid)).collect();
        if left.is_empty() {
            return Vec::new();
        }
        if Instant::now() > end {
            return vec![format!("tasks live on: {left:?}")];
        }
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// What a killed host leaves is a whole report, that nobody knows how it ended; or none,
/// where it was killed before it had asked for a jar.
fn left_true(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    match serde_json::from_slice::<Report>(&bytes) {
        Ok(report) if report.outcome == Outcome::Lost => None,
        // It was killed after the end.
        Ok(report) if report.outcome == (Outcome::Exited { code: 0 }) => None,
        Ok(report) => Some(format!("it left {:?}", report.outcome)),
        Err(error) => Some(format!("it left no whole report: {error}")),
    }
}
