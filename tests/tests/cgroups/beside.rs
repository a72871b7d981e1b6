//! What a jar has beside others: weights, processors of its own, memory that it is
//! slowed above.

use belljar_tests::{KernelName, begun, vm};

use super::{run, shell, told};

/// Where the jar's cgroup is while it runs, seen from outside.
const JAR: &str = "/sys/fs/cgroup/belljar-jar-*";

pub(super) fn beside(kernel: KernelName) {
    // Both want the one processor that both may have, all the time; looked at while both run.
    let spin = "sh -c 'while :; do :; done'";
    let both = |heavy: u32, light: u32| {
        let one = |weight: u32| {
            format!("belljar run --no-record --cpuset 0 --cpu-weight {weight} -- {spin}")
        };
        let look = format!(
            "for at in {JAR}; do echo $(cat $at/cpu.weight) $(grep usage_usec $at/cpu.stat); done"
        );
        shell(&format!(
            "{} & one=$!; {} & two=$!; {}; sleep 2; {look}; sleep 4; {look}; kill $one $two; wait",
            one(heavy),
            one(light),
            begun(2),
        ))
    };
    let rest = [
        run(
            "--cpuset 1 -- sh -c 'grep Cpus_allowed_list /proc/self/status >&2; taskset 1 true || echo kept >&2'",
        ),
        "belljar run --cpuset 0-99 -- true; belljar run --cpuset x -- true".to_owned(),
        format!(
            "belljar run --no-record --memory 200MiB --memory-high 24MiB --wall 60s -- sh -c 'x=1234567890123456; while :; do x=$x$x; done' & \
             until grep -q '^high [1-9]' {JAR}/memory.events; do sleep 0.2; done; \
             cat {JAR}/memory.high; grep '^high' {JAR}/memory.events; kill $!; wait"
        ),
        format!(
            "belljar run --io-weight 20 -- true; for disk in /sys/block/*; do [ \"$(basename $disk)\" = vda ] || continue; \
             echo \"$(cat $disk/dev) enable=1\" > /sys/fs/cgroup/io.cost.qos; done; \
             belljar run --no-record --io-weight 20 -- sleep 100 & {}; cat {JAR}/io.weight; kill $!; wait",
            begun(1)
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

/// What two jars read of one disk that is busy with them. The kernel's own model of the disk
/// is set to less than it has, so that it is the weights that decide; the kernel's
/// cgroup-v2.rst, io.cost.model.
pub(super) fn read(kernel: KernelName) {
    let costs = "for disk in /sys/block/vda; do disk=$(cat $disk/dev); \
                 echo \"$disk ctrl=user model=linear rbps=4194304 rseqiops=400 rrandiops=400 wbps=4194304 wseqiops=400 wrandiops=400\" > /sys/fs/cgroup/io.cost.model; \
                 echo \"$disk enable=1 ctrl=user rpct=0 wpct=0 min=100 max=100\" > /sys/fs/cgroup/io.cost.qos; done; \
                 for at in one two; do mkdir /disk/$at; dd if=/dev/zero of=/disk/$at/file bs=64k count=64 conv=fsync 2> /dev/null; done; chmod -R a+rX /disk";
    let both = |heavy: u32, light: u32| {
        let one = |weight: u32, at: &str| {
            format!(
                "belljar run --no-record --wall 30s --io-weight {weight} --read /disk/{at} -- \
                 sh -c 'while :; do dd if=/disk/{at}/file of=/dev/null bs=64k iflag=direct 2> /dev/null || exit 9; done'"
            )
        };
        let look = format!(
            "for at in {JAR}; do echo $(cat $at/io.weight) $(grep -o 'rbytes=[0-9]*' $at/io.stat); done"
        );
        shell(&format!(
            "{} & one=$!; {} & two=$!; {}; sleep 3; {look}; sleep 5; {look}; kill $one $two; wait",
            one(heavy, "one"),
            one(light, "two"),
            begun(2),
        ))
    };
    let results = vm().on(kernel).processors(2).disk(32 << 20).run(&[
        shell(costs),
        both(800, 100),
        both(100, 100),
    ]);
    // Percent of the lighter one's bytes that the heavier one had, between two looks.
    let part = |at: usize| {
        let text = results[at].text();
        let looks: Vec<(u64, u64)> = text
            .lines()
            .filter_map(|line| {
                let (weight, read) = line.strip_prefix("default ")?.split_once(" rbytes=")?;
                Some((weight.parse().ok()?, read.parse().ok()?))
            })
            .collect();
        assert_eq!(looks.len(), 4, "{:?}", results[at]);
        let mut read: Vec<(u64, u64)> = (0..2)
            .map(|jar| (looks[jar].0, looks[jar + 2].1 - looks[jar].1))
            .collect();
        read.sort_unstable();
        read[1].1 * 100 / read[0].1.max(1)
    };
    let (weighed, alike) = (part(1), part(2));
    eprintln!("{weighed}% read beside 800 to 100, {alike}% beside 100 to 100");
    assert!(weighed > 250, "{weighed}%");
    assert!((50..200).contains(&alike), "{alike}%");
}
