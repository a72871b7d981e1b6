//! What each kernel of the lane was found to have, and what held a plugin there: recorded
//! in `tests/recorded`, of which `docs/enforcement.md` is made. Here it is seen that a
//! kernel still gives what was recorded of it.
//!
//! `BELLJAR_UPDATE=1` writes the records anew; `docs.rs` then wants the page anew.
#![cfg(target_os = "linux")]

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use belljar::{
    HostFacts, Preset, Rule, Strength,
    policy::{Refusal, trial},
};
use belljar_plan::{Outcome, Report};
use belljar_tests::{KernelName, Need, Vm, VmCommand, VmEnd, VmResult, need, source_tree, vm};
use serde_json::{Value, json};

/// A plugin that does nothing: `busybox true`.
const PLUGIN: &str = "mkdir -p /tmp/plugin && cd /tmp/plugin && \
    printf '[plugin]\\nname = \"one\"\\nversion = \"1.0.0\"\\nentry = \"busybox\"\\n' > belljar.toml && \
    cp /usr/bin/busybox busybox && chmod -R a+rX /tmp/plugin";

/// How often records are made anew at least.
const AGE: Duration = Duration::from_secs(200 * 24 * 3600);

/// Each way in which a kernel is booted, by its name on the page.
const BOOTS: [(&str, &[&str]); 3] = [
    ("", &[]),
    (
        "without user namespaces",
        &["sysctl.user.max_user_namespaces=0"],
    ),
    ("without Landlock", &["lsm=capability,yama,apparmor"]),
];

fn record_of(kernel: KernelName) -> PathBuf {
    let name = format!("tests/recorded/{}.json", kernel.word());
    source_tree().join(name)
}

fn booted(kernel: KernelName, parameters: &[&str]) -> Vm {
    parameters
        .iter()
        .fold(vm().on(kernel), |vm, parameter| vm.boot_with(parameter))
}

/// What root and a user find, and what holds them, in one way of booting.
fn looked_at(kernel: KernelName, (name, parameters): (&str, &[&str])) -> (String, Vec<Value>) {
    let runs = |preset: &Preset| {
        format!(
            "belljar run --no-record --preset {preset} --report /tmp/$$ /tmp/plugin -- true >&2; cat /tmp/$$; rm -f /tmp/$$"
        )
    };
    let runs: Vec<String> = Preset::ALL.iter().map(runs).collect();
    let runs = runs.join("; ");
    let (doctor, runs) = (["belljar", "doctor", "--json"], ["sh", "-c", &runs]);
    let within = Duration::from_secs(120);
    let results = booted(kernel, parameters).run(&[
        VmCommand::root(["uname", "-r"]),
        VmCommand::root(["sh", "-c", PLUGIN]),
        VmCommand::root(doctor).within(within),
        VmCommand::root(runs).within(within),
        VmCommand::user(doctor).within(within),
        VmCommand::user(runs).within(within),
    ]);
    assert_eq!(results[1].end, VmEnd::Exited(0), "{:?}", results[1]);
    let of = |who: &str, doctor: &VmResult, runs: &VmResult| {
        let facts: Value = serde_json::from_slice(&doctor.stdout).expect("facts");
        let observed = observed(runs);
        let name = match name {
            "" => who.to_owned(),
            name => format!("{who}, {name}"),
        };
        json!({ "name": name, "facts": facts, "observed": observed })
    };
    let machines = vec![
        of("root", &results[2], &results[3]),
        of("user", &results[4], &results[5]),
    ];
    (results[0].text().trim().to_owned(), machines)
}

/// What held the plugin under each preset, rule by rule; none where it was refused.
fn observed(runs: &VmResult) -> Value {
    let reports = serde_json::Deserializer::from_slice(&runs.stdout).into_iter::<Report>();
    let reports: Vec<Report> = reports
        .map(|report| report.unwrap_or_else(|error| panic!("{error}: {runs:?}")))
        .collect();
    assert_eq!(reports.len(), Preset::ALL.len(), "{runs:?}");
    let each = Preset::ALL.iter().zip(reports).map(|(preset, report)| {
        let applied = match &report.outcome {
            Outcome::Refused { .. } => Value::Null,
            Outcome::Exited { code: 0 } => {
                let rows = report.enforcement.iter();
                let rows: BTreeMap<String, String> = rows
                    .map(|row| (row.rule.to_string(), row.applied.to_string()))
                    .collect();
                json!(rows)
            }
            other => panic!("{preset}: {other:?} {runs:?}"),
        };
        (preset.to_string(), applied)
    });
    json!(each.collect::<BTreeMap<_, _>>())
}

/// The same by the planner, from facts.
fn planned(facts: &Value) -> Value {
    let facts: HostFacts = serde_json::from_value(facts.clone()).expect("facts of this version");
    let each = Preset::ALL.iter().map(|preset| {
        let plan = match trial::of_preset(*preset, &facts) {
            Ok(plan) => plan,
            Err(Refusal::Unmet { .. }) => return (preset.to_string(), Value::Null),
            Err(refusal) => panic!("{preset}: {refusal}"),
        };
        let rows: BTreeMap<Rule, Strength> = plan
            .rules
            .iter()
            .map(|row| (row.rule, row.planned.strength))
            .collect();
        (preset.to_string(), json!(rows))
    });
    json!(each.collect::<BTreeMap<_, _>>())
}

fn today() -> String {
    let now = belljar_tests::output(std::process::Command::new("date").args(["-u", "+%F"]));
    String::from_utf8(now.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

fn recorded(kernel: KernelName) -> Value {
    let path = record_of(kernel);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

/// Looks at a kernel in each of these ways; writes that down, or holds it to what is
/// written. Plans are compared and not facts, of which some are of the moment.
fn compare(kernel: KernelName, boots: &[(&str, &[&str])]) {
    if !need(Need::Kernel(kernel)) {
        return;
    }
    let update = std::env::var_os("BELLJAR_UPDATE").is_some();
    let boots = if update { &BOOTS[..] } else { boots };
    let (mut release, mut machines) = (String::new(), Vec::new());
    for boot in boots {
        let (booted, looked) = looked_at(kernel, *boot);
        release = booted;
        machines.extend(looked);
    }
    if update {
        let record = json!({ "recorded": today(), "release": release, "machines": machines });
        let text = serde_json::to_string_pretty(&record).expect("JSON");
        fs::write(record_of(kernel), text + "\n").expect("the record");
        return;
    }
    let record = recorded(kernel);
    for machine in &machines {
        let name = &machine["name"];
        let known = record["machines"].as_array().expect("a list");
        let was = known
            .iter()
            .find(|was| was["name"] == *name)
            .unwrap_or_else(|| panic!("{name} is not recorded"));
        let anew = "BELLJAR_UPDATE=1 cargo test -p belljar-tests --test enforcement";
        assert_eq!(machine["observed"], was["observed"], "{name}: {anew}");
        assert_eq!(
            planned(&machine["facts"]),
            planned(&was["facts"]),
            "{name}: {anew}"
        );
    }
}

#[test]
fn a_kernel_holds_what_was_recorded_of_it() {
    compare(KernelName::Bookworm61, &BOOTS[..1]);
}

#[test]
#[ignore = "long: every kernel in every way"]
fn long_every_kernel_holds_what_was_recorded_of_it_and_records_are_not_old() {
    for kernel in [
        KernelName::Bullseye510,
        KernelName::Bookworm61,
        KernelName::Backports612,
        KernelName::Sid,
    ] {
        compare(kernel, &BOOTS);
        if !need(Need::Kernel(kernel)) {
            continue;
        }
        let record = recorded(kernel);
        let booted = vm().on(kernel).run(&[VmCommand::root(["uname", "-r"])]);
        assert_eq!(booted[0].text().trim(), record["release"], "another kernel");
        let made = record["recorded"].as_str().expect("a date").to_owned();
        let oldest = SystemTime::now() - AGE;
        let oldest = oldest
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970");
        let oldest = format!("@{}", oldest.as_secs());
        let oldest = std::process::Command::new("date")
            .args(["-u", "+%F", "-d", &oldest])
            .output()
            .expect("a date");
        let oldest = String::from_utf8(oldest.stdout).expect("text");
        // Dates of this form are in order as text is.
        assert!(made.as_str() >= oldest.trim(), "recorded on {made}");
    }
}
