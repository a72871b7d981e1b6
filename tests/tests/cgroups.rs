//! Limits by a cgroup of the jar's own, on a machine that has version 2 of them and
//! nothing else: the kernel holds them, they are told as that, and nothing is left.
#![cfg(target_os = "linux")]

#[path = "cgroups/beside.rs"]
mod beside;
#[path = "cgroups/bombs.rs"]
mod bombs;

#[path = "cgroups/hogs.rs"]
mod hogs;

use std::time::Duration;

use belljar_tests::{KernelName, VmCommand, VmEnd, VmResult, begun, broken_belljar, on_each, vm};
use serde_json::Value;

/// What is left of jars, which should be nothing.
const LEFT: &str = "find /sys/fs/cgroup -name 'belljar-jar-*'";

fn shell(script: &str) -> VmCommand {
    VmCommand::root(["sh", "-c", script]).within(Duration::from_secs(120))
}

/// `belljar run` with a report on stdout, behind whatever the program wrote.
fn run(words: &str) -> String {
    format!(
        "belljar run --no-record --report /tmp/report {words}; echo \"status $?\"; cat /tmp/report; rm -f /tmp/report; {LEFT}"
    )
}

/// What [`run`] told.
#[derive(Debug)]
struct Told {
    stderr: String,
    status: u8,
    report: Value,
}

fn told(result: &VmResult) -> Told {
    assert_eq!(result.end, VmEnd::Exited(0), "{result:?}");
    let text = result.text();
    let (_, rest) = text.split_once("status ").expect("a status");
    let (status, rest) = rest.split_once('\n').expect("a report");
    let mut reports = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let report = reports.next().expect("a report").expect("JSON");
    let left = &rest[reports.byte_offset()..];
    assert_eq!(left.trim(), "", "nothing is left");
    Told {
        stderr: String::from_utf8_lossy(&result.stderr).into_owned(),
        status: status.parse().expect("a number"),
        report,
    }
}

impl Told {
    fn rule(&self, rule: &str) -> (&str, &str) {
        let rows = self.report["enforcement"].as_array().expect("a list");
        let row = rows.iter().find(|row| row["rule"] == rule).expect("a row");
        (
            row["planned"]["mechanism"].as_str().expect("text"),
            row["applied"].as_str().expect("text"),
        )
    }

    fn hit(&self, limit: &str) -> bool {
        let hits = self.report["limits_hit"].as_array().expect("a list");
        hits.iter()
            .any(|hit| hit["limit"] == limit && hit["at"] == "hard")
    }

    /// Of a limit that was set.
    fn used(&self, limit: &str) -> u64 {
        let rows = self.report["limits"].as_array().expect("a list");
        let row = rows
            .iter()
            .find(|row| row["limit"] == limit)
            .expect("a row");
        row["used"].as_u64().expect("a number")
    }

    fn usage(&self, name: &str) -> u64 {
        self.report["usage"][name].as_u64().expect("a number")
    }
}

const MIB: u64 = 1 << 20;

/// What `cargo xtask test` has; the rest is for `cargo xtask long`.
const USUAL: [KernelName; 2] = [KernelName::Bookworm61, KernelName::Backports612];
const FIRST: [KernelName; 1] = [KernelName::Bookworm61];
const OTHERS: [KernelName; 2] = [KernelName::Backports612, KernelName::Sid];

#[test]
fn the_kernel_holds_memory_in_every_form_and_a_jar_at_its_limit_ends_for_that() {
    on_each(&USUAL, memory);
}

#[test]
fn tasks_are_counted_by_the_kernel_and_time_of_all_that_ever_were() {
    on_each(&FIRST, tasks);
}

#[test]
fn a_jar_is_slowed_to_its_part_of_a_processor_and_prove_sees_it() {
    on_each(&FIRST, share);
}

#[test]
fn beside_others_a_jar_has_its_weight_its_processors_and_is_slowed_above_some_memory() {
    on_each(&FIRST, beside::beside);
}

#[test]
fn beside_others_a_jar_reads_by_its_weight() {
    on_each(&FIRST, beside::read);
}

#[test]
fn a_user_has_what_is_delegated_and_without_that_is_told_what_would_help() {
    on_each(&FIRST, delegated);
}

#[test]
fn what_a_killed_belljar_left_is_swept_and_what_is_another_s_is_not() {
    on_each(&FIRST, leftovers);
}

#[test]
#[ignore = "takes minutes: `cargo xtask long`"]
fn long_every_kernel_holds_the_same_limits() {
    for test in [
        memory,
        least,
        tasks,
        share,
        disk,
        beside::beside,
        beside::read,
        delegated,
        leftovers,
    ] {
        on_each(&OTHERS, test);
    }
}

#[test]
fn what_is_written_to_a_disk_is_slowed_to_its_rate() {
    on_each(&FIRST, disk);
}

fn disk(kernel: KernelName) {
    // Each a file of its own: what was written first stays with the cgroup that wrote it.
    let timed = |at: &str, flags: &str| {
        let write = format!("dd if=/dev/zero of={at}/file bs=256k count=12 conv=fsync 2>/dev/null");
        shell(&format!(
            "mkdir {at} && chmod 777 {at}; begun=$(cut -d' ' -f1 /proc/uptime);
             belljar run --no-record {flags} --write {at} -- sh -c '{write}' >&2;
             echo \"$? $begun $(cut -d' ' -f1 /proc/uptime)\"; {LEFT}"
        ))
    };
    let results = vm().on(kernel).disk(64 << 20).run(&[
        timed("/disk/slow", "--io-write 512KiB/s"),
        timed("/disk/fast", "--io-write 1GiB/s"),
        shell("belljar explain --io-read 1MiB/s -- true | cat"),
    ]);
    let took = |result: &VmResult| {
        let text = result.text();
        let numbers: Vec<f64> = text
            .split_whitespace()
            .map(|number| number.parse().unwrap_or_else(|_| panic!("{result:?}")))
            .collect();
        assert_eq!(numbers.len(), 3, "{result:?}");
        assert!(numbers[0] == 0.0, "{result:?}");
        numbers[2] - numbers[1]
    };
    // 3 MiB take 6 seconds, of which the kernel lets a slice through at once.
    let (slowed, free) = (took(&results[0]), took(&results[1]));
    assert!(
        slowed > 4.5 && slowed > free,
        "{slowed} s, and {free} s without"
    );
    let planned = results[2].text();
    assert!(planned.contains("io.max"), "{planned}");
}

fn memory(kernel: KernelName) {
    // Of the second and the third no task's own memory tells.
    let grown = [
        "sh -c 'x=1234567890123456; while :; do x=$x$x; done'",
        "sh -c 'dd if=/dev/zero of=/tmp/large bs=1M count=200; sleep 60'",
        "sh -c 'for i in $(seq 100); do dd if=/dev/zero of=/dev/shm/$i bs=1M count=4; done; sleep 60'",
    ];
    let mut commands = Vec::new();
    commands.extend(grown.map(|program| shell(&run(&format!("--memory 32MiB -- {program}")))));
    // What Belljar itself puts there is not the guest's.
    commands.push(shell(
        "mkdir -p /tmp/p && cd /tmp/p && dd if=/dev/zero of=data bs=1M count=40 2>/dev/null &&
         printf '[plugin]\\nname = \"p\"\\nversion = \"1.0.0\"\\nentry = \"p\"\\n' > belljar.toml &&
         cp /bin/busybox p && chmod 755 p && belljar run --no-record --memory 32MiB --report /tmp/report . -- true;
         echo \"status $?\"; cat /tmp/report; rm -rf /tmp/report /tmp/p",
    ));
    // Whoever ends as the kernel would end it forges nothing.
    commands.push(shell(&run("--memory 32MiB -- sh -c 'kill -9 $$'")));
    commands.push(shell(&run("--memory 32MiB -- sh -c 'exit 137'")));
    let results = vm().on(kernel).run(&commands);
    for result in &results[..3] {
        let told = told(result);
        assert_eq!(told.report["outcome"]["limit"], "memory", "{told:?}");
        assert_eq!(told.status, 124);
        assert!(told.hit("memory"));
        let (mechanism, strength) = told.rule("memory");
        assert!(mechanism.contains("memory.max"), "{mechanism}");
        assert_eq!(strength, "kernel");
        // With what the jar itself takes of it.
        assert!(told.usage("memory_peak") <= 40 * MIB, "{told:?}");
        assert!(told.stderr.contains("limit reached: memory"), "{told:?}");
    }
    let large = told(&results[3]);
    assert_eq!(large.report["outcome"]["kind"], "exited", "{large:?}");
    let killed = told(&results[4]);
    assert_eq!(killed.report["outcome"]["kind"], "signaled", "{killed:?}");
    assert!(!killed.hit("memory"));
    assert_eq!(told(&results[5]).report["outcome"]["kind"], "exited");
}

/// The least that is taken is told as what it is too. The kernel tries for half a
/// minute to find memory.
fn least(kernel: KernelName) {
    let tiny = run("--memory 256KiB -- sh -c 'x=1234567890123456; while :; do x=$x$x; done'");
    let results = vm().on(kernel).run(&[shell(&tiny)]);
    let least = told(&results[0]);
    assert_eq!(least.report["outcome"]["limit"], "memory", "{least:?}");
    assert_eq!(least.status, 124);
}

fn tasks(kernel: KernelName) {
    let many = "for i in $(seq 30); do sleep 2 & done; wait";
    let orphans = "for i in 1 2 3; do ( ( i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done ) & ) ; done; sleep 4";
    let results = vm().on(kernel).run(&[
        shell(&run(&format!("--processes 10 -- sh -c '{many}'"))),
        shell(&run("--processes 10 -- sh -c 'sleep 0.1 & wait'")),
        shell(&run(&format!("--cpu-time 100s -- sh -c '{orphans}'"))),
    ]);
    let bounded = told(&results[0]);
    assert!(bounded.hit("processes"), "{bounded:?}");
    assert!(bounded.usage("tasks_peak") <= 11);
    let (mechanism, strength) = bounded.rule("processes");
    assert!(mechanism.contains("pids.max"), "{mechanism}");
    assert_eq!(strength, "kernel");
    assert!(!told(&results[1]).hit("processes"));
    let orphans = told(&results[2]);
    let (mechanism, _) = orphans.rule("cpu_time");
    assert!(mechanism.contains("cpu.stat"), "{mechanism}");
    let used = orphans.usage("user_ns") + orphans.usage("system_ns");
    assert!(used > 100_000_000, "{orphans:?}");
}

fn share(kernel: KernelName) {
    let spin = "for i in 1 2; do (while :; do :; done) & done; sleep 4; kill $(jobs -p)";
    // All of its files are in memory, and a program with all that a debugger wants is large.
    let machine = vm()
        .on(kernel)
        .memory(1536)
        .program("/usr/bin/belljar-broken", broken_belljar());
    let results = machine.run(&[
        shell(&run(&format!("--cpu 20% -- sh -c '{spin}'"))),
        shell(&run(&format!("-- sh -c '{spin}'"))),
        shell("belljar prove --json --cpu 50% -- sh"),
        shell("belljar run --cpu 0 -- true; belljar run --cpu 2 -- true; belljar run --io-read 3 -- true"),
        shell("belljar run --io-read 1MiB/s -- true"),
        shell("BELLJAR_BREAK=cpu belljar-broken prove --json --cpu 50% -- sh; echo >&2"),
    ]);
    let share = |told: &Told| {
        let used = told.usage("user_ns") + told.usage("system_ns");
        used * 100 / told.usage("wall_ns")
    };
    let slowed = told(&results[0]);
    assert_eq!(slowed.rule("cpu").1, "kernel", "{slowed:?}");
    // It was kept from the processor, and wanted it.
    assert!(slowed.usage("throttled_ns") > 1_000_000_000, "{slowed:?}");
    assert!(
        slowed.usage("cpu_pressure_ns") > 1_000_000_000,
        "{slowed:?}"
    );
    let free = told(&results[1]);
    assert_eq!(free.rule("cpu").1, "none");
    assert_ne!(
        free.report["usage"]["throttled_ns"],
        slowed.report["usage"]["throttled_ns"]
    );
    assert!(share(&slowed) <= 30, "{}% {slowed:?}", share(&slowed));
    assert!(share(&free) > 2 * share(&slowed), "{free:?}");

    // And that nothing slows one whose plan only claims that.
    for (proved, verdict) in [(2, "held"), (5, "broken")] {
        let proof: Value = serde_json::from_slice(&results[proved].stdout).expect("JSON");
        let rules = proof["rules"].as_array().expect("a list");
        let mut rows = rules.iter();
        let cpu = rows.find(|row| row["rule"] == "cpu").expect("a row");
        assert_eq!(cpu["verdict"], verdict, "{cpu}");
    }

    for words in ["`--cpu 50%`", "`--io-read 10MiB/s`"] {
        let said = String::from_utf8_lossy(&results[3].stderr).into_owned();
        assert!(said.contains(words), "{said}");
    }
    let refused = String::from_utf8_lossy(&results[4].stderr).into_owned();
    assert!(refused.contains("no disk that io.max bounds"), "{refused}");
    assert!(refused.contains("--best-effort io"), "{refused}");
}

fn delegated(kernel: KernelName) {
    let delegate = "mkdir /sys/fs/cgroup/given && echo '+memory +pids +cpu' > /sys/fs/cgroup/cgroup.subtree_control &&
        chown 1000:1000 /sys/fs/cgroup/given /sys/fs/cgroup/given/cgroup.procs /sys/fs/cgroup/given/cgroup.subtree_control &&
        echo ready";
    // The shell is in it too, which has to make way.
    let inside = |words: &str| {
        let script = format!(
            "mkdir -p /sys/fs/cgroup/given/shell; chown 1000:1000 /sys/fs/cgroup/given/shell /sys/fs/cgroup/given/shell/cgroup.procs;
             echo $$ > /sys/fs/cgroup/given/shell/cgroup.procs; cd /tmp; exec setpriv-as-user sh -c {}",
            shell_word(words)
        );
        shell(&script.replace(
            "setpriv-as-user",
            "su user -s /bin/sh -c 'exec \"$0\" \"$@\"' --",
        ))
    };
    let results = vm().on(kernel).run(&[
        shell(delegate),
        inside(&run(
            "--memory 32MiB --cpu 50% -- sh -c 'x=1234567890123456; while :; do x=$x$x; done'",
        )),
        VmCommand::user(["sh", "-c", &run("--memory 32MiB -- true")]),
        VmCommand::user(["belljar", "run", "--cpu", "50%", "--", "true"]),
    ]);
    assert_eq!(results[0].text(), "ready\n", "{results:?}");
    let given = told(&results[1]);
    assert_eq!(given.report["outcome"]["limit"], "memory", "{given:?}");
    assert_eq!(given.rule("memory").1, "kernel");
    let without = told(&results[2]);
    assert_eq!(without.rule("memory").1, "supervisor");
    let refused = String::from_utf8_lossy(&results[3].stderr).into_owned();
    assert!(refused.contains("belongs to somebody else"), "{refused}");
    assert!(refused.contains("Delegate=yes"), "{refused}");
}

fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn leftovers(kernel: KernelName) {
    let killed = format!(
        "mkdir /sys/fs/cgroup/other; belljar run --no-record -- sleep 100 & {}; kill -9 $!; \
         until [ -z \"$(cat $({LEFT})/cgroup.procs)\" ]; do sleep 0.2; done; {LEFT} | wc -l;
         belljar run --no-record -- true; {LEFT} | wc -l; ls -d /sys/fs/cgroup/other",
        begun(1)
    );
    let beside = format!(
        "belljar run --no-record -- sleep 100 & {}; belljar run --no-record -- true; {LEFT} | wc -l; kill $!; wait; {LEFT} | wc -l",
        begun(1)
    );
    // A child is made in a cgroup ahead, which goes where the launch does not come.
    let refused = format!(
        "for words in '-- /nonexistent' '--require wall=kernel -- true' '--read /nonexistent -- true' '--bad'; do \
         belljar run --no-record $words 2> /dev/null; echo $?; done; {LEFT} | wc -l; ls /proc | grep -c '^[0-9]'; \
         belljar run --no-record -- true; ls /proc | grep -c '^[0-9]'"
    );
    let read_only = format!(
        "mount -o remount,ro /sys/fs/cgroup; belljar run --no-record --cpu 50% -- true; {}; mount -o remount,rw /sys/fs/cgroup",
        run("-- true")
    );
    // A controller that its owner takes back holds nothing any more.
    let takes_back = |controller: &str, words: &str| {
        let all = "/sys/fs/cgroup/belljar-all-*/cgroup.subtree_control /sys/fs/cgroup/cgroup.subtree_control";
        shell(&format!(
            "printf '[host]\\nmemory = \"1GiB\"\\n' > /tmp/all.toml;
             ({}; for at in {all}; do echo -{controller} > $at || echo kept >&2; done) & {}; echo +{controller} > /sys/fs/cgroup/cgroup.subtree_control",
            begun(1),
            run(words)
        ))
    };
    let results = vm().on(kernel).run(&[
        shell(&killed),
        shell(&beside),
        shell(&refused),
        shell(&read_only),
        takes_back("memory", "-- sleep 100"),
        takes_back("cpu", "--cpu 50% -- sleep 100"),
        takes_back(
            "memory",
            "--policy /tmp/all.toml --memory none -- sleep 100",
        ),
    ]);
    assert_eq!(
        results[0].text(),
        "1\n0\n/sys/fs/cgroup/other\n",
        "{results:?}"
    );
    assert_eq!(results[1].text(), "1\n0\n", "{results:?}");
    let refused = results[2].text();
    let refused: Vec<&str> = refused.split_whitespace().collect();
    assert_eq!(
        refused[..5],
        ["127", "125", "125", "125", "0"],
        "{results:?}"
    );
    // No process stays either.
    assert_eq!(refused[5], refused[6], "{results:?}");
    let without = told(&results[3]);
    assert_eq!(without.rule("memory").1, "supervisor");
    assert!(without.stderr.contains("read-only"), "{without:?}");
    for taken_back in &results[4..] {
        let taken_back = told(taken_back);
        assert_eq!(
            taken_back.report["outcome"]["kind"], "lost",
            "{taken_back:?}"
        );
    }
}
