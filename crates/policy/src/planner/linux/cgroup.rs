//! What a cgroup of the jar's own holds, where the machine lets one be made;
//! cgroups(7), the kernel's admin-guide/cgroup-v2.rst.

use belljar_plan::{
    Bytes, Limit, Rule, Step,
    plan::{Dropped, PlannedLimit},
    step::OwnedStep,
};

use crate::{
    effective::Effective,
    facts::{HostFacts, JarCgroups},
    processors::Processors,
    refusal::Refusal,
    units::format_value,
    verified::{Subject, Verified},
};

/// What the kernel holds for a jar before its program runs: tables, namespaces,
/// mounts, the first pages of its first process.
pub(super) const KERNEL: u64 = 4 << 20;

/// Microseconds in which the processor is shared out.
const PERIOD: u64 = 100_000;

/// The keys of io.max.
const RATES: [(Limit, &str); 4] = [
    (Limit::IoRead, "rbps"),
    (Limit::IoWrite, "wbps"),
    (Limit::IoReadOps, "riops"),
    (Limit::IoWriteOps, "wiops"),
];

/// The share of a processor, in thousandths, as the kernel wants it.
pub(super) fn cpu_setting(thousandths: u64) -> String {
    // Microseconds of each tenth of a second, and the kernel takes no less than one thousand.
    let quota = thousandths.saturating_mul(PERIOD / 1000).max(1000);
    format!("cpu.max={quota} {PERIOD}")
}

/// The key of io.max that a limit is.
pub(super) fn rate_key(limit: Limit) -> Option<&'static str> {
    let row = RATES.iter().find(|(of, _)| *of == limit);
    row.map(|(_, key)| *key)
}

/// The processors that a jar may run on, where somebody said it.
pub(super) fn cpuset<'a>(
    effective: &'a Effective,
    facts: &HostFacts,
) -> Result<Option<&'a Processors>, Refusal> {
    let Some(said) = &effective.cpuset else {
        return Ok(None);
    };
    let has = &facts.jar_cgroups.processors;
    match has.parse() {
        Ok(has) if !said.value.are_in(&has) => Err(Refusal::Invalid {
            reason: format!(
                "{}: a jar here cannot have the processors {}; it can have {has}",
                said.origin, said.value
            ),
        }),
        // Where nothing tells, nothing holds it either, which is told elsewhere.
        _ => Ok(Some(&said.value)),
    }
}

/// For people, where somebody else is asked for something.
pub(super) fn note(cgroup: &Cgroup, facts: &HostFacts) -> Vec<String> {
    let scope = (facts.jar_cgroups.scope && cgroup.step().is_some()).then(|| {
        "the jar's cgroup is in a scope that systemd is asked for, as is Belljar's launcher"
            .to_owned()
    });
    let weight = cgroup.lowered.map(|weight| {
        format!("io_weight {weight} is {BFQ} here: the scheduler bfq knows no more, beside 100 of others")
    });
    scope.into_iter().chain(weight).collect()
}

/// Most that the scheduler bfq takes.
const BFQ: u64 = 1000;

/// A weight as its file takes it.
pub(super) fn weight(file: &str, weight: u64) -> u64 {
    match file {
        "io.bfq.weight" => weight.min(BFQ),
        _ => weight,
    }
}

/// The settings of a jar's cgroup, and which limits they hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Cgroup {
    settings: Vec<Bytes>,
    /// memory.max
    pub(super) memory: bool,
    /// pids.max
    pub(super) tasks: bool,
    /// All that is asked for of processors: cpu.max, cpu.weight, cpuset.cpus.
    pub(super) cpu: bool,
    /// All that is asked for of disks: io.max, io.weight.
    pub(super) io: bool,
    /// cpu.stat, which every task that ever was in it is counted in.
    pub(super) time: bool,
    /// A weight that is more than the disks' scheduler takes.
    lowered: Option<u64>,
    /// It is below one that holds what all jars have together.
    below: bool,
}

impl Cgroup {
    /// What of the limits a cgroup here would hold. `own` is how many bytes Belljar
    /// itself puts into the jar's memory.
    /// All jars of the host have what is in `together`.
    pub(super) fn planned(
        limits: &[PlannedLimit],
        together: &[PlannedLimit],
        cpuset: Option<&Processors>,
        facts: &HostFacts,
        own: u64,
    ) -> Self {
        let mut cgroup = Self {
            below: !together.is_empty(),
            ..Self::default()
        };
        let known = &facts.jar_cgroups;
        if !known.can_be_made.is_available() {
            return cgroup;
        }
        let has = |name: &str| known.controllers.iter().any(|known| known == name);
        let find = |limit: Limit| limits.iter().find(|planned| planned.limit == limit);
        let hard = |limit: Limit| find(limit).and_then(|planned| planned.hard);
        if let Some(memory) = hard(Limit::Memory).filter(|_| has("memory")) {
            let most = memory.saturating_add(own).saturating_add(KERNEL);
            cgroup.say("memory.max", most);
            cgroup.say("memory.swap.max", 0);
            cgroup.say("memory.oom.group", 1);
            if let Some(high) = hard(Limit::MemoryHigh).filter(|high| *high < memory) {
                cgroup.say("memory.high", high.saturating_add(most - memory));
            }
            cgroup.memory = true;
        } else if together
            .iter()
            .any(|planned| planned.limit == Limit::Memory)
        {
            // What the kernel ends for all of them, it ends whole.
            cgroup.say("memory.oom.group", 1);
        }
        if let Some(tasks) = hard(Limit::Processes).filter(|_| has("pids")) {
            // pid 1 of the jar is one of them.
            cgroup.say("pids.max", tasks.saturating_add(1));
            cgroup.tasks = true;
        }
        cgroup.cpu = cgroup.processors(hard(Limit::Cpu), hard(Limit::CpuWeight), cpuset, &has);
        let rates: Vec<String> = RATES
            .iter()
            .filter_map(|(limit, key)| Some(format!("{key}={}", hard(*limit)?)))
            .collect();
        cgroup.io = cgroup.of_disks(&rates.join(" "), hard(Limit::IoWeight), known);
        // Every cgroup has that file, without any controller.
        let timed = |planned: &PlannedLimit| planned.hard.is_some() || planned.soft.is_some();
        cgroup.time = find(Limit::CpuTime).is_some_and(timed) || cgroup.memory || cgroup.tasks;
        cgroup
    }

    /// What is asked for of processors; false where something of it is not held.
    fn processors(
        &mut self,
        thousandths: Option<u64>,
        weight: Option<u64>,
        cpuset: Option<&Processors>,
        has: &dyn Fn(&str) -> bool,
    ) -> bool {
        let settings = [
            thousandths.map(|thousandths| ("cpu", cpu_setting(thousandths))),
            weight.map(|weight| ("cpu", format!("cpu.weight={weight}"))),
            cpuset.map(|set| ("cpuset", format!("cpuset.cpus={set}"))),
        ];
        let asked: Vec<_> = settings.into_iter().flatten().collect();
        let all = asked.iter().all(|(controller, _)| has(controller));
        let held = asked.into_iter().filter(|(controller, _)| has(controller));
        self.settings
            .extend(held.map(|(_, setting)| setting.into()));
        all
    }

    /// The same of disks.
    fn of_disks(&mut self, rates: &str, weight: Option<u64>, known: &JarCgroups) -> bool {
        let has = known.controllers.iter().any(|name| name == "io") && !known.disks.is_empty();
        if has && !rates.is_empty() {
            let each = known.disks.iter();
            self.settings
                .extend(each.map(|disk| format!("io.max={disk} {rates}").into()));
        }
        let weighs = has && !known.disk_weights.is_empty();
        if let Some(weight) = weight.filter(|_| weighs) {
            let written = self::weight(&known.disk_weights, weight);
            self.lowered = (written < weight).then_some(weight);
            self.say(&known.disk_weights, written);
        }
        (rates.is_empty() || has) && (weight.is_none() || weighs)
    }

    /// Takes out rates that nothing holds here and that a manifest alone asks for as
    /// optional; gives them as dropped.
    pub(super) fn without_optional(
        &self,
        limits: &mut Vec<PlannedLimit>,
        verified: &Verified,
    ) -> Vec<Dropped> {
        let Subject::Plugin(plugin) = &verified.subject else {
            return Vec::new();
        };
        let mut dropped = Vec::new();
        limits.retain(|planned| {
            let held = match planned.limit.rule() {
                Rule::Cpu => self.cpu,
                Rule::Io => self.io,
                Rule::Memory if planned.limit == Limit::MemoryHigh => self.memory,
                _ => true,
            };
            let asked = plugin.manifest.limits.get(&planned.limit);
            let optional =
                asked.is_some_and(|asked| asked.optional && asked.origin == planned.origin);
            if held || !optional {
                return true;
            }
            let value = planned
                .hard
                .map(|hard| format!(" {}", format_value(planned.limit, hard)));
            dropped.push(Dropped {
                request: format!("limits.{}{}", planned.limit, value.unwrap_or_default()),
                reason: "no cgroup here slows a jar so".to_owned(),
            });
            false
        });
        dropped
    }

    /// How it slows a jar, of these ways.
    pub(super) fn slows(&self, ways: &[(&str, &str)]) -> String {
        let mut rest: Vec<&Bytes> = self.settings.iter().collect();
        let mut words = Vec::new();
        for (prefix, way) in ways {
            let before = rest.len();
            rest.retain(|setting| !setting.0.starts_with(prefix.as_bytes()));
            if rest.len() < before {
                words.push(*way);
            }
        }
        format!("the jar's own cgroup: {}", words.join("; "))
    }

    fn say(&mut self, file: &str, value: u64) {
        self.settings.push(format!("{file}={value}").into());
    }

    /// The step that has it made, where it holds anything, and the rules that it serves.
    pub(super) fn step(&self) -> Option<(OwnedStep, Vec<Rule>)> {
        let sets = |prefix: &str| {
            let mut settings = self.settings.iter();
            settings.any(|setting| setting.0.starts_with(prefix.as_bytes()))
        };
        let rules: Vec<Rule> = [
            (self.memory, Rule::Memory),
            (self.tasks, Rule::Processes),
            (sets("cpu"), Rule::Cpu),
            (sets("io."), Rule::Io),
            (self.time, Rule::CpuTime),
        ]
        .into_iter()
        .filter_map(|(holds, rule)| holds.then_some(rule))
        .collect();
        (self.below || !rules.is_empty()).then(|| {
            let settings = self.settings.clone();
            (Step::Cgroup { settings }, rules)
        })
    }
}
