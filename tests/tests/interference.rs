//! One jar at its limit beside another: what the other gets is what it gets alone, in
//! counts, wherever a mechanism guarantees that. How long it takes is printed and not judged.
//! Two jars of one host are in `neighbours.rs`, since their launcher is this process's,
//! and what only cgroups hold is in `cgroups/hogs.rs`.
#![cfg(target_os = "linux")]

use belljar_tests::{Ended, Jar, both_presets, jar};

/// Kind, and how many are tried.
const KINDS: &[(&str, u64)] = &[
    // pids
    ("tasks", 60),
    ("threads", 60),
    // descriptors and what hangs on them
    ("descriptors", 200),
    ("pipes", 200),
    ("socket_pairs", 200),
    ("connections", 20),
    ("inotifies", 200),
    ("watches", 500),
    ("timers", 3000),
    ("signals", 3000),
    ("locked_memory", 30),
    // disk, in MiB and in inodes
    ("scratch", 40),
    ("files", 5000),
];

fn bounded(preset: &str) -> Jar {
    jar()
        .preset(preset)
        .flags(["--processes", "20", "--open-files", "64"])
        .flags(["--disk", "16MiB", "--memory", "256MiB"])
}

/// How many were made, and the error that stopped it. Bytes are the kernel's to choose: it
/// makes buffers of TCP larger by itself.
fn came(stdout: &str, kind: &str) -> (u64, i32) {
    let line = stdout
        .lines()
        .find(|line| line.starts_with(&format!("{kind} ")) && !line.ends_with("so far"))
        .unwrap_or_else(|| panic!("no line of {kind}: {stdout}"));
    let words: Vec<&str> = line.split(' ').collect();
    let number = |at: usize| words[at].parse::<i64>().expect("a number");
    let errno = i32::try_from(number(3)).expect("an error's number");
    (number(1).unsigned_abs(), errno)
}

/// Times of a whole run, for people.
fn wall(ended: &Ended) -> String {
    let wall = ended.report().usage.wall_ns.expect("it ran");
    format!("{} ms", wall / 1_000_000)
}

#[test]
fn a_jar_at_its_limit_leaves_its_neighbour_all_that_it_has_alone() {
    both_presets(|preset| {
        for (kind, tried) in KINDS {
            let asked = format!("{kind}={tried}");
            let alone = bounded(preset).guest("bomb", [asked.as_str()]).end();
            let hog = bounded(preset)
                .guest("bomb", ["hold", asked.as_str()])
                .input_open()
                .start();
            // The hog's own last line: it has all that it can have, and keeps it.
            let (made, errno) = came(&alone.stdout, kind);
            hog.wait_for(&format!("{kind} {made} "));
            let beside = bounded(preset).guest("bomb", [asked.as_str()]).end();
            assert_eq!(
                came(&beside.stdout, kind),
                came(&alone.stdout, kind),
                "{preset} {kind}: {beside:#?}"
            );
            let mut hog = hog;
            hog.close_input();
            let hog = hog.end();
            assert_eq!(came(&hog.stdout, kind), came(&alone.stdout, kind));
            println!(
                "{preset} {kind}: {made} until {errno}; alone {}, beside {}",
                wall(&alone),
                wall(&beside)
            );
        }
    });
}
