//! What a jar has beside others: weights, processors of its own, memory that it is
//! slowed above.

use belljar_tests::{KernelName, vm};

use super::{run, shell, told};

/// Where the jar's cgroup is while it runs, seen from outside.
const JAR: &str = "/sys/fs/cgroup/belljar-jar-*";

pub(super) fn beside(kernel: KernelName) {
    // Both want the one processor that both may have, all the time; looked at while both run.
    let spin = "timeout 12 sh -c 'while :; do :; done'";
    let both = |heavy: u32, light: u32| {
        let one = |weight: u32| {
            format!("belljar run --no-record --cpuset 0 --cpu-weight {weight} -- {spin}")
        };
        let look = format!(
            "for at in {JAR}; do echo $(cat $at/cpu.weight) $(grep usage_usec $at/cpu.stat); done"
        );
        shell(&format!(
            "{} & {} & until [ $(ls -d {JAR} | wc -l) = 2 ]; do sleep 0.2; done; sleep 2; {look}; sleep 4; {look}; wait",
            one(heavy),
            one(light),
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

    // Percent of the lighter one's time that the heavier one had, between two looks at both.
    let part = |at: usize| {
        let text = results[at].text();
        let mut looks: Vec<(u64, u64)> = text
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let number = |at: usize| words[at].parse().unwrap_or_else(|_| panic!("{text}"));
                (number(0), number(2))
            })
            .collect();
        assert_eq!(looks.len(), 4, "{:?}", results[at]);
        // Names are drawn, and in the same order at each look.
        let (after, before) = (looks.split_off(2), looks);
        let mut used: Vec<(u64, u64)> = before
            .iter()
            .zip(after)
            .map(|(before, after)| (before.0, after.1 - before.1))
            .collect();
        used.sort_unstable();
        used[1].1 * 100 / used[0].1.max(1)
    };
    let (weighed, alike) = (part(0), part(1));
    eprintln!("{weighed}% beside 800 to 50, {alike}% beside 100 to 100");
    // Sixteen to one, of what is looked at in steps.
    assert!(weighed > 500, "{weighed}%");
    assert!((50..250).contains(&alike), "{alike}%");

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
