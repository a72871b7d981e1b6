//! What only cgroups hold, in the machine whose cgroups are all of version 2: processor
//! time, memory, disks and tasks. Processor and disk once with the hog's limit and once
//! without, which shows that it is the limit.

use std::time::Duration;

use belljar_tests::{KernelName, VmCommand, VmResult, begun, on_each, vm};

/// A hog with these words, once it runs, and what is done beside it.
fn beside(hog: &str, work: &str) -> VmCommand {
    let script = format!(
        "(belljar run --no-record {hog}) > /tmp/hog 2>&1 & {}; sleep 2; \
         {work}; touch /tmp/enough; kill %1; grep 'limit reached' /tmp/hog >&2; wait; rm -rf /tmp/enough /disk/hog /disk/work; mkdir -p /disk/hog /disk/work; chmod 777 /disk/hog /disk/work",
        begun(1)
    );
    VmCommand::root(["sh", "-c", &script]).within(Duration::from_secs(120))
}

fn text(result: &VmResult) -> String {
    format!("{:?}", result)
}

fn number(result: &VmResult) -> f64 {
    let said = result.text();
    let last = said
        .lines()
        .last()
        .and_then(|line| line.trim().parse().ok());
    last.unwrap_or_else(|| panic!("{}", text(result)))
}

#[test]
fn processor_memory_disk_and_tasks_are_kept_from_a_hog() {
    on_each(&[KernelName::Bookworm61], kept_from_a_hog);
}

#[test]
#[ignore = "takes minutes: `cargo xtask long`"]
fn long_the_same_is_kept_from_a_hog_on_other_kernels() {
    on_each(
        &[KernelName::Backports612, KernelName::Sid],
        kept_from_a_hog,
    );
}

fn kept_from_a_hog(kernel: KernelName) {
    let spins = "-- sh -c 'for i in 1 2 3; do (while :; do :; done) & done; wait'";
    // Percent of the one processor that a neighbour had in four seconds.
    let share = "belljar run --no-record --report /tmp/r -- timeout 4 sh -c 'while :; do :; done'; \
                     used=$(grep -o '\"\\(user\\|system\\)_ns\": [0-9]*' /tmp/r | grep -o '[0-9]*$' | paste -sd+ | tr -d '\\n'); \
                     wall=$(grep -o '\"wall_ns\": [0-9]*' /tmp/r | head -n 1 | grep -o '[0-9]*$'); \
                     echo $(( ($used) * 100 / $wall ))";
    let grows = "sh -c 'x=1234567890123456; while :; do x=$x$x; done'";
    // How much of it a neighbour could hold, once a hog was ended for what it took.
    let holds = "until grep -q 'limit reached' /tmp/hog; do sleep 0.2; done; belljar run --no-record --memory 100MiB -- belljar-guest bomb memory=60 | grep -v 'so far' | cut -d' ' -f2";
    let forks = "-- sh -c 'while :; do sleep 100 & done'";
    let tasks = "belljar run --no-record --processes 200 -- belljar-guest bomb tasks=100 | grep -v 'so far' | cut -d' ' -f2";
    let writes = "--write /disk/hog -- sh -c 'while :; do dd if=/dev/zero of=/disk/hog/file bs=256k count=8 conv=fsync; done'";
    // Hundredths of a second that a neighbour's writes took.
    let write = "begun=$(cut -d' ' -f1 /proc/uptime); belljar run --no-record --write /disk/work -- \
                     dd if=/dev/zero of=/disk/work/file bs=64k count=16 conv=fsync 2> /dev/null; \
                     echo \"$(cut -d' ' -f1 /proc/uptime) $begun\" | awk '{ print $1 - $2 }'";
    let results = vm().on(kernel).memory(768).disk(64 << 20).run(&[
            VmCommand::root(["sh", "-c", "mkdir /disk/hog /disk/work; chmod 777 /disk/hog /disk/work"]),
            beside(&format!("--cpu 20% {spins}"), share),
            beside(spins, share),
            // It is ended again and again, and its neighbour is not.
            beside(
                &format!("--memory 48MiB -- sleep 1; until [ -e /tmp/enough ]; do belljar run --no-record --memory 48MiB -- {grows}; done"),
                holds,
            ),
            beside(&format!("--processes 30 {forks}"), tasks),
            beside(&format!("--io-write 256KiB/s {writes}"), write),
            beside(writes, write),
        ]);
    let (kept, taken) = (number(&results[1]), number(&results[2]));
    println!(
        "{}: share of the processor {kept}% beside --cpu 20%, {taken}% without",
        kernel.word()
    );
    // Of two jars that want it each has a half; beside a fifth at most there is more.
    assert!(kept > taken + 8.0 && kept > 55.0, "{}", text(&results[1]));
    let hog = String::from_utf8_lossy(&results[3].stderr).into_owned();
    assert!(hog.contains("limit reached: memory"), "{hog}");
    assert!(
        (number(&results[3]) - 60.0).abs() < 0.5,
        "{}",
        text(&results[3])
    );
    assert!(
        (number(&results[4]) - 100.0).abs() < 0.5,
        "{}",
        text(&results[4])
    );
    let (slow, fast) = (number(&results[5]), number(&results[6]));
    println!(
        "{}: a write took {slow} s beside --io-write 256KiB/s, {fast} s without",
        kernel.word()
    );
}
