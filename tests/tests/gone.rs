//! After a stop or a kill nothing of a jar is left, not even for a moment, whatever its
//! tasks do meanwhile.
#![cfg(target_os = "linux")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use belljar::{Jar, Policy, Report, ReportTo, Running, StoppedBy};
use belljar_tests::guest;

/// What there is of a jar, as seen from outside while it runs.
struct Traces {
    pid: i32,
    /// Its pid namespace. Once it is gone, another jar's can have its number.
    namespace: PathBuf,
    /// A variable that all its tasks have, and no other jar's.
    variable: String,
    /// Its own cgroup, where it has one.
    cgroup: Option<PathBuf>,
}

impl Traces {
    fn of(running: &Running, variable: &str) -> Self {
        let pid = running.pid();
        let has_cgroup = running
            .plan()
            .steps
            .iter()
            .any(|step| step.word() == "cgroup");
        Self {
            pid,
            variable: variable.to_owned(),
            namespace: fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap_or_default(),
            cgroup: has_cgroup.then(|| cgroup(pid)).flatten(),
        }
    }

    /// What is left of it.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        if Path::new(&format!("/proc/{}", self.pid)).exists() {
            left.push(format!("pid 1, {}", self.pid));
        }
        if let Some(cgroup) = self.cgroup.as_deref().filter(|cgroup| cgroup.exists()) {
            left.push(cgroup.display().to_string());
        }
        for process in fs::read_dir("/proc").expect("/proc").flatten() {
            let namespace = fs::read_link(process.path().join("ns/pid"));
            let environment = fs::read(process.path().join("environ")).unwrap_or_default();
            let is_its = environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == self.variable.as_bytes());
            if is_its && namespace.is_ok_and(|namespace| namespace == self.namespace) {
                left.push(format!("a task, {:?}", process.file_name()));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let ours = mounts.lines().filter(|line| line.contains("belljar"));
        left.extend(ours.map(str::to_owned));
        left
    }
}

fn cgroup(pid: i32) -> Option<PathBuf> {
    let of = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let below = of.lines().find_map(|line| line.strip_prefix("0::/"))?;
    ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .iter()
        .map(|mount| Path::new(mount).join(below))
        .find(|path| path.join("cgroup.procs").exists())
}

/// A number that differs from trial to trial, below a bound.
fn varied(trial: u32, bound: u32) -> u64 {
    u64::from(trial.wrapping_mul(2_654_435_761) >> 8) % u64::from(bound)
}

fn nothing_is_left(trials: u32) {
    let room = tempfile::tempdir().expect("a directory");
    let file = room.path().join("report.json");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut reasons = std::collections::BTreeMap::<String, u32>::new();
    for trial in 0..trials {
        let report = runtime.block_on(async {
            let policy = match trial % 4 {
                // Root has a cgroup for it where there is one.
                0 => Policy::strict(),
                _ => Policy::standard(),
            };
            let (name, value) = ("BELLJAR_TRIAL", format!("{}-{trial}", std::process::id()));
            let policy = policy.set_env(name, value.as_str()).expect("a variable");
            let mut running = Jar::program(guest())
                .args(["churn".to_owned(), varied(trial, 24).to_string()])
                .policy(policy)
                .report_to(ReportTo::File(file.clone()))
                .launch()
                .await
                .expect("a jar");
            let traces = Traces::of(&running, &format!("{name}={value}"));
            tokio::time::sleep(Duration::from_millis(varied(trial ^ 0x5555, 16))).await;
            let report = match trial % 3 {
                0 => running.kill_and_wait().await,
                1 => {
                    let grace = Duration::from_millis(varied(trial, 5));
                    running.stop_and_wait(StoppedBy::Host, 15, grace).await
                }
                _ => {
                    // It may have ended by itself.
                    let _ = running.pause(belljar::Wall::Runs).await;
                    running.kill_and_wait().await
                }
            };
            assert_eq!(traces.left(), Vec::<String>::new(), "trial {trial}");
            report
        });
        let written = fs::read(&file).expect("its report");
        let written: Report = serde_json::from_slice(&written).expect("a report");
        assert_eq!(written, report);
        // By a stop, or by itself.
        assert!(
            report.reason == "stopped: host" || report.reason == "exited",
            "trial {trial}: {report:#?}"
        );
        *reasons.entry(report.reason).or_default() += 1;
    }
    println!("{reasons:?}");
    // Both ends were met: whoever exits by itself is before whoever is killed, or behind.
    assert!(reasons["stopped: host"] > trials / 10, "{reasons:?}");
    assert_eq!(fs::read_dir(room.path()).expect("a list").count(), 1);
}

#[test]
fn whatever_its_tasks_do_nothing_is_left_of_a_thousand_jars() {
    nothing_is_left(1000);
}
