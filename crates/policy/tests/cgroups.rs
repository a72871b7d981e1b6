//! A cgroup of the jar's own: which limits it holds by which settings, and what becomes of
//! them where none can be had.

#[expect(dead_code, reason = "the planner's own tests use the rest")]
mod common;

use belljar_plan::{Limit, Plan, Preset, Resource, Rule, Step, Strength};
use belljar_policy::{
    HostFacts, Policy, Refusal,
    facts::{Ability, JarCgroups},
    manifest::Bound,
    policy::Format,
};
use common::{machine, rule, true_program};

fn with(controllers: &[&str], disks: &[&str]) -> HostFacts {
    let all = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    HostFacts {
        jar_cgroups: JarCgroups {
            can_be_made: Ability::Available,
            place: "/sys/fs/cgroup/given".into(),
            scope: false,
            controllers: all(controllers),
            disks: all(disks),
            disk_weights: String::new(),
            processors: "0-3".into(),
        },
        ..machine()
    }
}

fn limited(limits: &[(Limit, u64)]) -> Policy {
    limits
        .iter()
        .fold(Policy::of(Preset::Strict), |policy, (limit, hard)| {
            let bound = Bound {
                hard: Some(*hard),
                ..Bound::default()
            };
            policy.limit(*limit, bound).unwrap()
        })
}

fn planned(policy: &Policy, facts: &HostFacts) -> Result<Plan, Refusal> {
    belljar_policy::plan(&true_program(), policy, facts)
}

fn settings(plan: &Plan) -> Option<Vec<String>> {
    plan.steps.iter().find_map(|step| match step {
        Step::Cgroup { settings } => {
            Some(settings.iter().map(|setting| setting.escaped()).collect())
        }
        _ => None,
    })
}

fn bounds(plan: &Plan, wanted: Resource) -> bool {
    plan.steps
        .iter()
        .any(|step| matches!(step, Step::Rlimit { resource, .. } if *resource == wanted))
}

#[test]
fn each_controller_holds_its_limits_and_no_others() {
    let policy = limited(&[
        (Limit::Memory, 64 << 20),
        (Limit::Cpu, 500),
        (Limit::IoRead, 1 << 20),
        (Limit::IoWriteOps, 50),
    ]);
    let plan = planned(
        &policy,
        &with(&["memory", "pids", "cpu", "io"], &["8:0", "8:16"]),
    )
    .unwrap();
    let said = settings(&plan).expect("a cgroup");
    // With what the jar itself takes.
    let most: u64 = said[0]
        .strip_prefix("memory.max=")
        .unwrap()
        .parse()
        .unwrap();
    assert!((64 << 20..80 << 20).contains(&most), "{most}");
    assert_eq!(
        said[1..],
        [
            "memory.swap.max=0",
            "memory.oom.group=1",
            "pids.max=51",
            "cpu.max=50000 100000",
            "io.max=8:0 rbps=1048576 wiops=50",
            "io.max=8:16 rbps=1048576 wiops=50",
        ]
    );
    for held in [Rule::Memory, Rule::Processes, Rule::Cpu, Rule::Io] {
        let planned = rule(&plan, held);
        assert_eq!(planned.planned.strength, Strength::Kernel, "{planned:?}");
        let step = usize::from(planned.steps[0]);
        assert!(matches!(plan.steps[step], Step::Cgroup { .. }));
    }
    // It would be met first, or be in the way of what only reserves.
    assert!(!bounds(&plan, Resource::Data) && !bounds(&plan, Resource::Processes));

    let plan = planned(&limited(&[]), &with(&["pids"], &[])).unwrap();
    assert_eq!(settings(&plan).unwrap(), ["pids.max=51"]);
    assert_eq!(
        rule(&plan, Rule::Memory).planned.strength,
        Strength::Supervisor
    );
    assert!(bounds(&plan, Resource::Data));
}

#[test]
fn weights_processors_and_throttling_are_settings_of_their_own() {
    let mut policy = limited(&[
        (Limit::Memory, 64 << 20),
        (Limit::MemoryHigh, 48 << 20),
        (Limit::CpuWeight, 20),
        (Limit::IoWeight, 2000),
    ]);
    policy.flags.cpuset = Some("2,1".parse().unwrap());
    let mut facts = with(&["memory", "pids", "cpu", "io", "cpuset"], &["8:0"]);
    for (file, written) in [("io.weight", 2000), ("io.bfq.weight", 1000)] {
        facts.jar_cgroups.disk_weights = file.into();
        let plan = planned(&policy, &facts).unwrap();
        let said = settings(&plan).unwrap();
        let number = |prefix: &str| -> u64 {
            let mut values = said.iter().filter_map(|said| said.strip_prefix(prefix));
            values.next().unwrap().parse().unwrap()
        };
        // Both with what the jar itself takes.
        assert_eq!(number("memory.max=") - number("memory.high="), 16 << 20);
        assert_eq!(number("cpu.weight="), 20);
        assert_eq!(number(&format!("{file}=")), written);
        let told = plan
            .notes
            .iter()
            .any(|note| note.contains("io_weight 2000"));
        assert_eq!(told, written < 2000, "{:?}", plan.notes);
        assert!(said.contains(&"cpuset.cpus=1-2".to_owned()), "{said:?}");
        for (held, words) in [(Rule::Cpu, "cpuset.cpus"), (Rule::Io, "weight")] {
            let planned = &rule(&plan, held).planned;
            assert_eq!(planned.strength, Strength::Kernel);
            assert!(planned.mechanism.contains(words), "{planned:?}");
            assert!(!planned.mechanism.contains("max"), "{planned:?}");
        }
    }

    // What has less anyway is not throttled, and what has no end is refused.
    let plan = planned(&limited(&[(Limit::Memory, 48 << 20)]), &facts).unwrap();
    assert!(!settings(&plan).unwrap().join(" ").contains("memory.high"));
    let mut endless = limited(&[(Limit::MemoryHigh, 48 << 20)]);
    endless.flags.limits.insert(Limit::Memory, Bound::default());
    let Err(Refusal::Invalid { reason }) = planned(&endless, &facts) else {
        panic!("it has no end");
    };
    assert!(
        reason.contains("a hard limit `memory` above it"),
        "{reason}"
    );

    policy.flags.cpuset = Some("3-4".parse().unwrap());
    let Err(Refusal::Invalid { reason }) = planned(&policy, &facts) else {
        panic!("there is no processor 4");
    };
    assert_eq!(
        reason,
        "--cpuset: a jar here cannot have the processors 3-4; it can have 0-3"
    );
}

#[test]
fn without_controllers_a_cgroup_counts_time_and_where_none_can_be_made_there_is_no_step() {
    let plan = planned(&limited(&[]), &with(&[], &[])).unwrap();
    assert!(settings(&plan).unwrap().is_empty());
    let mechanism = &rule(&plan, Rule::CpuTime).planned.mechanism;
    assert!(mechanism.contains("cpu.stat"), "{mechanism}");
    // Nothing of it would be looked at.
    let mut without = limited(&[]);
    without
        .flags
        .limits
        .insert(Limit::CpuTime, Bound::default());
    assert_eq!(settings(&planned(&without, &with(&[], &[])).unwrap()), None);
    let standard = planned(&Policy::of(Preset::Standard), &with(&[], &[])).unwrap();
    assert_eq!(settings(&standard), None);
    assert_eq!(settings(&planned(&limited(&[]), &machine()).unwrap()), None);
}

#[test]
fn a_rate_that_nothing_holds_is_refused_with_the_way_to_it_or_accepted() {
    for (limit, name, facts, words) in [
        (
            Limit::Cpu,
            Rule::Cpu,
            machine(),
            "no cgroup for jars can be made",
        ),
        (
            Limit::Cpu,
            Rule::Cpu,
            with(&["memory"], &[]),
            "lack the controller `cpu`",
        ),
        (
            Limit::IoRead,
            Rule::Io,
            with(&["io"], &[]),
            "no disk that io.max bounds",
        ),
        (
            Limit::CpuWeight,
            Rule::Cpu,
            with(&["memory"], &[]),
            "lack the controller `cpu`",
        ),
        (
            Limit::IoWeight,
            Rule::Io,
            with(&["io"], &["8:0"]),
            "share themselves out by weight",
        ),
    ] {
        let policy = limited(&[(limit, 1000)]);
        let Err(Refusal::Unmet { unmet }) = planned(&policy, &facts) else {
            panic!("{limit} is held by nothing");
        };
        assert_eq!(unmet.len(), 1);
        assert_eq!(unmet[0].rule, name);
        assert!(unmet[0].reason.contains(words), "{}", unmet[0].reason);
        let accept = format!("--best-effort {name}");
        assert!(unmet[0].remedy.contains(&accept), "{}", unmet[0].remedy);
        let plan = planned(&policy.best_effort(name), &facts).unwrap();
        assert_eq!(rule(&plan, name).planned.strength, Strength::None);
    }
}

#[test]
fn memory_is_throttled_by_the_kernel_or_the_launch_is_refused() {
    let policy = limited(&[(Limit::MemoryHigh, 48 << 20)]);
    let Err(Refusal::Unmet { unmet }) = planned(&policy, &with(&["cpu"], &[])) else {
        panic!("nothing throttles it");
    };
    assert_eq!(unmet[0].rule, Rule::Memory);
    assert!(unmet[0].reason.contains("no memory controller"));
    assert!(unmet[0].remedy.contains("without `memory_high`"));
    let plan = planned(&policy.best_effort(Rule::Memory), &with(&["cpu"], &[])).unwrap();
    let held = rule(&plan, Rule::Memory).planned.strength;
    assert_eq!(held, Strength::Supervisor);
}

#[test]
fn the_kernel_takes_no_less_than_a_hundredth_of_a_processor() {
    for (share, quota) in [(10, 1000), (15, 1500), (2500, 250_000)] {
        let plan = planned(&limited(&[(Limit::Cpu, share)]), &with(&["cpu"], &[])).unwrap();
        let expected = format!("cpu.max={quota} 100000");
        assert_eq!(settings(&plan).unwrap(), [expected]);
    }
}

#[test]
fn what_all_jars_have_together_is_held_above_or_refused() {
    let policy = Policy::parse(
        "host.memory = \"2GiB\"\nhost.cpu = \"150%\"",
        Format::Toml,
        "host.toml",
        None,
    )
    .unwrap();
    let facts = with(&["memory", "cpu"], &[]);
    let plan = planned(&policy, &facts).unwrap();
    let above: Vec<String> = belljar_policy::together(&plan)
        .into_iter()
        .flat_map(|(_, _, settings)| settings)
        .map(|setting| setting.escaped())
        .collect();
    assert_eq!(
        above,
        [
            "memory.max=2147483648",
            "memory.swap.max=0",
            "cpu.max=150000 100000"
        ]
    );
    let note = "no more than memory 2 GiB (host.toml line 1), cpu 150% (host.toml line 2)";
    assert!(
        plan.notes.iter().any(|said| said.ends_with(note)),
        "{:?}",
        plan.notes
    );
    // A jar without any limit of its own has a cgroup all the same.
    let free = Policy {
        flags: belljar_policy::Flags {
            limits: [(Limit::Memory, Bound::default())].into(),
            preset: Some(Preset::Minimal),
            ..Default::default()
        },
        ..policy.clone()
    };
    let settings = settings(&planned(&free, &facts).unwrap()).expect("a cgroup");
    assert!(settings.contains(&"memory.oom.group=1".to_owned()));

    for (facts, words) in [
        (with(&["memory"], &[]), "has the controller `cpu`"),
        (machine(), "`[host] memory` (host.toml line 1)"),
    ] {
        let Err(Refusal::Unmet { unmet }) = planned(&policy, &facts) else {
            panic!("nothing holds it");
        };
        assert!(
            unmet.iter().any(|unmet| unmet.reason.contains(words)),
            "{unmet:?}"
        );
    }
}

#[test]
fn no_override_and_no_other_limit_is_for_all_jars() {
    for (text, words) in [
        (
            "[plugins.a]\nhost.memory = \"1GiB\"",
            "p line 2: an override cannot say what all jars have together",
        ),
        ("host.wall = \"5s\"", "wall"),
        ("host.memory = 5", "p line 1"),
        ("host.processes = 0", "p line 1"),
    ] {
        let error = Policy::parse(text, Format::Toml, "p", None).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let two = "host.memory = \"2GiB\"\nhost.cpu = \"50%\"";
    let policy = Policy::parse(two, Format::Toml, "p", None).unwrap();
    assert_eq!(policy.host[&Limit::Cpu].value, 500);
    assert!(Policy::strict().together(Limit::Wall, 5).is_err());
}
