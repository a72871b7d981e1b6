//! What a jar has beside others: weights, processors of its own, memory that it is
//! slowed above.

use belljar_tests::{KernelName, vm};

use super::{Told, run, shell, told};

/// Where the jar's cgroup is while it runs, seen from outside.
const JAR: &str = "/sys/fs/cgroup/belljar-jar-*";

pub(super) fn beside(kernel: KernelName) {
    // Both want the one processor that both may have, all the time.
    let spin = "timeout 6 sh -c 'while :; do :; done'";
    let both = |heavy: u32, light: u32| {
        let one = |at: &str, weight: u32| {
            format!(
                "belljar run --no-record --report /tmp/{at} --cpuset 0 --cpu-weight {weight} -- {spin}"
            )
        };
        shell(&format!(
            "{} & {}; wait; cat /tmp/heavy /tmp/light",
            one("heavy", heavy),
            one("light", light)
        ))
    };
    let rest = [
        run(
            "--cpuset 1 -- sh -c 'grep Cpus_allowed_list /proc/self/status >&2; taskset 1 true || echo kept >&2'",
        ),
        "belljar run --cpuset 0-99 -- true; belljar run --cpuset x -- true".to_owned(),
        format!(
            "belljar run --no-record --memory 200MiB --memory-high 24MiB --wall 10s -- sh -c 'x=1234567890123456; while :; do x=$x$x; done' & \
             sleep 6; cat {JAR}/memory.high; grep '^high' {JAR}/memory.events; wait"
        ),
        format!(
            "belljar run --io-weight 20 -- true; for disk in /sys/block/*; do [ \"$(basename $disk)\" = vda ] || continue; \
             echo \"$(cat $disk/dev) enable=1\" > /sys/fs/cgroup/io.cost.qos; done; \
             belljar run --no-record --io-weight 20 -- sleep 5 & sleep 3; cat {JAR}/io.weight; wait"
        ),
    ];
    let mut commands = vec![both(800, 50), both(100, 100)];
    commands.extend(rest.iter().map(|script| shell(script)));
    let results = vm().on(kernel).processors(2).disk(16 << 20).run(&commands);

    let parts = |at: usize| {
        let reports: Vec<Told> = super::reports(&results[at]);
        let used = |told: &Told| told.usage("user_ns") + told.usage("system_ns");
        assert_eq!(reports[0].rule("cpu").1, "kernel", "{reports:?}");
        used(&reports[0]) * 100 / used(&reports[1])
    };
    let (weighed, alike) = (parts(0), parts(1));
    eprintln!("{weighed}% beside 800 to 50, {alike}% beside 100 to 100");
    // Sixteen to one, but for the time in which one of them is alone.
    assert!(weighed > 200 && weighed > 2 * alike, "{weighed}% {alike}%");

    let kept = told(&results[2]);
    assert!(kept.stderr.contains("Cpus_allowed_list:\t1\n"), "{kept:?}");
    assert!(kept.stderr.contains("kept\n"), "{kept:?}");
    let refused = String::from_utf8_lossy(&results[3].stderr).into_owned();
    assert!(
        refused.contains("cannot have the processors 0-99"),
        "{refused}"
    );
    assert!(refused.contains("--cpuset 0-3,6"), "{refused}");

    let text = results[4].text();
    let mut lines = text.lines();
    let high: u64 = lines.next().expect("a line").parse().expect(&text);
    assert!((24 << 20..40 << 20).contains(&high), "{text}");
    let count = lines.next().and_then(|line| line.strip_prefix("high "));
    assert_ne!(count, Some("0"), "{text}");
    assert!(count.is_some(), "{text}");

    let refused = String::from_utf8_lossy(&results[5].stderr).into_owned();
    assert!(
        refused.contains("share themselves out by weight"),
        "{refused}"
    );
    assert_eq!(results[5].text(), "default 20\n", "{refused}");
}
