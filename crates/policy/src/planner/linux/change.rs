//! What has to be told the kernel so that a jar that runs is held by other values
//! of a limit; cgroups(7), getrlimit(2).

use belljar_plan::{Limit, Plan, Resource, Step};

use super::{
    cgroup::{cpu_setting, rate_key, weight},
    limits::{cpu_backstop, data_backstop},
};
use crate::manifest::Bound;

/// A limit of a running jar with other values, and what holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Files of the jar's cgroup with what is written to them, `FILE=VALUE`.
    pub settings: Vec<String>,
    /// A bound of each of its processes: soft, hard.
    pub bound: Option<(Resource, u64, u64)>,
}

/// What has to be written for these values. Where that is nothing, the supervisor alone
/// holds the limit.
#[must_use]
pub fn change(plan: &Plan, limit: Limit, to: &Bound) -> Change {
    let mut change = Change::default();
    let Some(hard) = to.hard else {
        return change;
    };
    let planned = plan.limit(limit).and_then(|planned| planned.hard);
    let with = |file: &str| {
        let prefix = format!("{file}=");
        settings(plan).find_map(|setting| setting.strip_prefix(&prefix).map(str::to_owned))
    };
    // What was added to the limit at the launch is added to the new one.
    let above = |file: &str| {
        let written: u64 = with(file)?.parse().ok()?;
        Some(hard.saturating_add(written.saturating_sub(planned?)))
    };
    match limit {
        Limit::Memory => match above("memory.max") {
            Some(most) => change.settings.push(format!("memory.max={most}")),
            // One process may reserve as much as all may have: what was left for its
            // threads' stacks need not grow with the limit.
            None => change.bound = raised(plan, Resource::Data, data_backstop(hard, Some(0))),
        },
        Limit::Processes => match above("pids.max") {
            Some(most) => change.settings.push(format!("pids.max={most}")),
            None => {
                let most = hard.saturating_add(1);
                change.bound =
                    bound(plan, Resource::Processes).map(|_| (Resource::Processes, most, most));
            }
        },
        Limit::CpuTime => change.bound = raised(plan, Resource::Cpu, cpu_backstop(hard)),
        Limit::Cpu if with("cpu.max").is_some() => change.settings.push(cpu_setting(hard)),
        Limit::CpuWeight if with("cpu.weight").is_some() => {
            change.settings.push(format!("cpu.weight={hard}"));
        }
        Limit::IoWeight => {
            let files = ["io.weight", "io.bfq.weight"].into_iter();
            let file = files.filter(|file| with(file).is_some());
            change
                .settings
                .extend(file.map(|file| format!("{file}={}", weight(file, hard))));
        }
        Limit::MemoryHigh => {
            let most = above("memory.high");
            change
                .settings
                .extend(most.map(|most| format!("memory.high={most}")));
        }
        Limit::IoRead | Limit::IoWrite | Limit::IoReadOps | Limit::IoWriteOps => {
            let key = rate_key(limit).unwrap_or_default();
            let disks = settings(plan).filter_map(|setting| {
                let (disk, _) = setting.strip_prefix("io.max=")?.split_once(' ')?;
                Some(format!("io.max={disk} {key}={hard}"))
            });
            change.settings.extend(disks);
        }
        Limit::OpenFiles => {
            change.bound = Some((Resource::OpenFiles, to.soft.unwrap_or(hard), hard));
        }
        Limit::FileSize => change.bound = Some((Resource::FileSize, hard, hard)),
        Limit::Cpu | Limit::CpuWeight | Limit::Wall | Limit::Output | Limit::Disk => {}
    }
    change
}

fn settings(plan: &Plan) -> impl Iterator<Item = &str> {
    let all = plan.steps.iter().filter_map(|step| match step {
        Step::Cgroup { settings } => Some(settings),
        _ => None,
    });
    all.flatten()
        .filter_map(|setting| std::str::from_utf8(&setting.0).ok())
}

fn bound(plan: &Plan, wanted: Resource) -> Option<u64> {
    plan.steps.iter().find_map(|step| match step {
        Step::Rlimit { resource, hard, .. } if *resource == wanted => Some(*hard),
        _ => None,
    })
}

/// A bound that only stands behind the supervisor: it has to be out of the way of a
/// higher limit, and does no harm where it is above a lower one.
fn raised(plan: &Plan, resource: Resource, most: u64) -> Option<(Resource, u64, u64)> {
    bound(plan, resource)
        .filter(|has| *has < most)
        .map(|_| (resource, most, most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use belljar_plan::Bytes;

    fn changed(steps: Vec<belljar_plan::step::OwnedStep>, limit: Limit, hard: u64) -> Change {
        let planned = belljar_plan::plan::PlannedLimit {
            limit,
            soft: None,
            hard: Some(100),
            stop: false,
            origin: "test".to_owned(),
        };
        let plan = Plan {
            steps,
            limits: vec![planned],
            ..crate::why::tests::plan()
        };
        let to = Bound {
            soft: None,
            hard: Some(hard),
            stop: false,
        };
        change(&plan, limit, &to)
    }

    fn cgroup(settings: &[&str]) -> belljar_plan::step::OwnedStep {
        Step::Cgroup {
            settings: settings.iter().map(|text| Bytes::from(*text)).collect(),
        }
    }

    #[test]
    fn what_belljar_itself_has_in_a_jar_is_added_to_the_new_limit_too() {
        let step = cgroup(&["memory.max=160", "memory.swap.max=0"]);
        let change = changed(vec![step], Limit::Memory, 50);
        assert_eq!(change.settings, ["memory.max=110"]);
        assert_eq!(change.bound, None);
    }

    #[test]
    fn a_rate_is_written_for_each_disk_that_had_one_and_no_other_rate_with_it() {
        let step = cgroup(&["io.max=8:0 rbps=7 wbps=9", "io.max=8:16 rbps=7 wbps=9"]);
        let change = changed(vec![step], Limit::IoWrite, 5);
        assert_eq!(change.settings, ["io.max=8:0 wbps=5", "io.max=8:16 wbps=5"]);
    }

    #[test]
    fn a_weight_is_no_more_than_its_file_takes() {
        let to = |file: &str| {
            let step = cgroup(&[&format!("{file}=100")]);
            changed(vec![step], Limit::IoWeight, 5000).settings
        };
        assert_eq!(to("io.weight"), ["io.weight=5000"]);
        assert_eq!(to("io.bfq.weight"), ["io.bfq.weight=1000"]);
    }

    #[test]
    fn a_backstop_is_only_moved_out_of_the_way() {
        let step = || {
            vec![Step::Rlimit {
                resource: Resource::Cpu,
                soft: 5,
                hard: 5,
            }]
        };
        let second = 1_000_000_000;
        assert_eq!(changed(step(), Limit::CpuTime, second).bound, None);
        let higher = changed(step(), Limit::CpuTime, 9 * second);
        assert_eq!(higher.bound, Some((Resource::Cpu, 11, 11)));
    }
}
