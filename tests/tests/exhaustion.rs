//! Bombs of what there is only so much of, each against the limit that bounds it, in
//! numbers of what was made. Each stops by itself at some times its limit.
#![cfg(target_os = "linux")]

use belljar_plan::{Limit, Outcome, Rule};
use belljar_tests::{bare, both_presets, jar};

/// How far one bomb came, and the error that stopped it, 0 where none did.
#[derive(Debug)]
struct Came {
    made: u64,
    bytes: u64,
    errno: i32,
}

fn came(stdout: &str, kind: &str) -> Came {
    let line = stdout
        .lines()
        .find(|line| line.starts_with(&format!("{kind} ")) && !line.ends_with("so far"))
        .unwrap_or_else(|| panic!("no line of {kind}: {stdout}"));
    let numbers: Vec<i64> = line
        .split(' ')
        .skip(1)
        .map(|word| word.parse().expect("a number"))
        .collect();
    Came {
        made: numbers[0].unsigned_abs(),
        bytes: numbers[1].unsigned_abs(),
        errno: i32::try_from(numbers[2]).expect("an error's number"),
    }
}

const PERM: i32 = 1;
const AGAIN: i32 = 11;
const MFILE: i32 = 24;
const NOSPC: i32 = 28;
const NOMEM: i32 = 12;
const NOSYS: i32 = 38;
const TOOMANYREFS: i32 = 109;

/// Kind, how many are tried, the most that may be made under the flags of [`bounded`], and
/// how the next one fails.
const BOUNDED: &[(&str, u64, u64, i32)] = &[
    // processes
    ("tasks", 200, 20, AGAIN),
    ("zombies", 200, 20, AGAIN),
    ("threads", 200, 20, AGAIN),
    // open_files, of one process and of what lies in its user's sockets
    ("descriptors", 400, 64, MFILE),
    ("eventfds", 400, 64, MFILE),
    ("timerfds", 400, 64, MFILE),
    ("epolls", 400, 64, MFILE),
    ("inotifies", 400, 64, MFILE),
    ("pipes", 400, 32, MFILE),
    ("passed_descriptors", 800, 66, TOOMANYREFS),
    // RLIMIT_SIGPENDING
    ("timers", 3000, 1024, AGAIN),
    ("signals", 3000, 1024, AGAIN),
    // RLIMIT_MEMLOCK, in MiB
    ("locked_memory", 30, 8, NOMEM),
    // disk, in MiB and in files; both places are one scratch
    ("shm_files", 100, 16, NOSPC),
    ("files", 20_000, 1024, NOSPC),
    // seccomp
    ("keys", 10, 0, PERM),
    ("fault_handlers", 10, 0, PERM),
    ("rings", 10, 0, NOSYS),
    ("namespaces", 1, 0, PERM),
    ("mounts", 1, 0, PERM),
];

/// Of these `strict` has none; the others have as many as RLIMIT_MSGQUEUE holds.
const NOT_IN_STRICT: &[(&str, i32)] = &[
    ("posix_queues", PERM),
    ("semaphores", PERM),
    ("message_queues", PERM),
    ("segments", PERM),
    ("memory_files", PERM),
    ("shared_maps", PERM),
    ("contexts", NOSYS),
];

#[test]
fn each_bomb_is_stopped_by_its_limit() {
    both_presets(|preset| {
        let strict = preset == "strict";
        let asked: Vec<String> = BOUNDED
            .iter()
            .map(|(kind, tried, ..)| format!("{kind}={tried}"))
            .chain(NOT_IN_STRICT.iter().map(|(kind, _)| format!("{kind}=60")))
            .collect();
        let ended = jar()
            .preset(preset)
            .flags(["--processes", "20", "--open-files", "64"])
            .flags(["--disk", "16MiB", "--memory", "512MiB"])
            .guest("bomb", asked)
            .end();
        for (kind, _, most, errno) in BOUNDED {
            let came = came(&ended.stdout, kind);
            assert!(
                came.made <= *most && came.errno == *errno,
                "{kind}: {came:?}"
            );
            eprintln!("{preset} {kind}: {} of {most}", came.made);
        }
        for (kind, errno) in NOT_IN_STRICT {
            let came = came(&ended.stdout, kind);
            if strict {
                assert!(came.made == 0 && came.errno == *errno, "{kind}: {came:?}");
            } else if *kind == "posix_queues" {
                assert!(came.made < 60 && came.errno == MFILE, "{came:?}");
            }
        }
    });
}

/// `strict` leaves the buffers of sockets as large as the machine makes them where nobody asks.
#[test]
fn buffers_of_sockets_are_not_enlarged_in_strict() {
    let ended = jar()
        .preset("strict")
        .flags(["--open-files", "64", "--memory", "512MiB"])
        .guest("bomb", ["socket_pairs=400"])
        .end();
    let came = came(&ended.stdout, "socket_pairs");
    let size = std::fs::read_to_string("/proc/sys/net/core/wmem_default").expect("a size");
    let size: u64 = size.trim().parse().expect("a number");
    assert_eq!(came.errno, MFILE, "{came:?}");
    // Each end takes one write more than fits.
    assert!(came.bytes <= came.made * 4 * size, "{came:?}");
}

/// Nor do those of TCP grow by themselves; and watches are counted where the jar's own
/// user namespace does.
#[test]
fn buffers_and_watches_of_a_strict_jar_are_bounded_by_its_own_namespaces() {
    let ended = jar()
        .preset("strict")
        .flags(["--open-files", "64", "--memory", "512MiB"])
        .guest("bomb", ["connections=20", "watches=3000"])
        .end();
    let connections = came(&ended.stdout, "connections");
    assert_eq!(connections.made, 20, "{connections:?}");
    // Two ends of one, each with two buffers, counted with what the kernel adds.
    assert!(connections.bytes <= 20 * 4 * 212_992, "{connections:?}");
    let watches = came(&ended.stdout, "watches");
    assert!(
        watches.made <= 1024 && watches.errno == NOSPC,
        "{watches:?}"
    );
}

/// What the plan says that no sample sees is more than a jar gets of all that is known to
/// escape, at the same time.
#[test]
fn what_escapes_the_sample_in_strict_is_less_than_the_plan_says() {
    let flags = ["--processes", "6", "--open-files", "64", "--disk", "1MiB"];
    let asked = [
        "socket_pairs=400",
        "connections=400",
        "pipes=400",
        "scratch=9",
    ];
    let ended = jar()
        .preset("strict")
        .flags(flags)
        .flags(["--memory", "64MiB", "--best-effort", "cpu_time"])
        .guest("bomb", asked)
        .end();
    let report = ended.report();
    let memory = report
        .enforcement
        .iter()
        .find(|row| row.rule == Rule::Memory)
        .expect("a row");
    let mechanism = &memory.planned.mechanism;
    let Some((_, said)) = mechanism.split_once("comes to ") else {
        // A cgroup holds all of it.
        assert!(mechanism.contains("memory.max"), "{mechanism}");
        return;
    };
    let most: u64 = said
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .expect(said);
    let most = most << 20;
    let mut all = 0;
    for kind in ["socket_pairs", "connections", "pipes", "scratch"] {
        let came = came(&ended.stdout, kind);
        eprintln!("{kind}: {} bytes of {most}", came.bytes);
        // One of six processes did this.
        all += came.bytes;
        assert!(came.bytes * 6 <= most, "{kind}: {came:?} of {most}");
    }
    // It is no number out of reach.
    assert!(all * 6 * 20 > most, "{all} of {most}");
}

/// Pages that are only read take no memory but their tables', which is the process's too.
#[test]
fn tables_of_pages_count_as_memory() {
    both_presets(|preset| {
        let ended = jar()
            .preset(preset)
            .flags(["--memory", "64MiB", "--wall", "30s"])
            .guest("bomb", ["hold", "page_tables=60000"])
            .input_open()
            .end();
        let memory = Outcome::Limit {
            limit: Limit::Memory,
        };
        assert_eq!(ended.outcome(), &memory, "{ended:#?}");
    });
}

/// How far beyond its limit a guest comes that takes memory as fast as it can, before it is
/// ended: printed, since that is a matter of the machine. What one process may
/// reserve is as much as the kernel lets it have in any case.
#[test]
fn a_guest_that_takes_memory_as_fast_as_it_can_is_ended_within_what_it_may_reserve() {
    both_presets(|preset| {
        for kind in ["memory=3000", "page_tables=300000"] {
            let mut most = 0;
            for _ in 0..3 {
                let ended = jar()
                    .preset(preset)
                    .flags(["--memory", "64MiB", "--processes", "20", "--wall", "60s"])
                    .guest("bomb", ["hold", kind])
                    .input_open()
                    .end();
                let memory = Outcome::Limit {
                    limit: Limit::Memory,
                };
                assert_eq!(ended.outcome(), &memory, "{ended:#?}");
                most = most.max(ended.report().usage.memory_peak.expect("it was seen"));
            }
            println!("{preset} {kind}: {} KiB of 65536", most >> 10);
            // 256 MiB, and the stacks of as many threads as may be, on top of the limit.
            assert!(most <= (64 + 256 + 20 * 8) << 20, "{most}");
        }
    });
}

/// Without a jar the same bombs come to their own ends.
#[test]
fn each_bomb_goes_on_where_nothing_stops_it() {
    let harmless = ["tasks", "zombies", "threads", "eventfds", "epolls", "files"];
    let asked = harmless.map(|kind| format!("{kind}=100"));
    let control = bare(["bomb".to_owned()].into_iter().chain(asked));
    for kind in harmless {
        let came = came(&control.stdout, kind);
        assert!(came.made == 100 && came.errno == 0, "{kind}: {came:?}");
    }
}
