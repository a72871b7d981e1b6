//! Attacks by doing something while Belljar does something else.

use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use belljar_plan::{Limit, Outcome};
use belljar_tests::{alive, bare, both_presets, command_line, guest, jar, kill, wait_until};
use rustix::process::Signal;

use crate::outside::{Canary, Companion};

/// Tasks of the machine with a word on their command line.
fn tasks_with(word: &str) -> Vec<i32> {
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| command_line(*pid).ends_with(&format!(" {word} ")) && alive(*pid))
        .collect()
}

#[test]
pub(crate) fn what_forks_on_is_gone() {
    let word = format!("fork-bare-{}", std::process::id());
    bare([
        "kill_by_group".as_ref(),
        guest().as_os_str(),
        "fork_away".as_ref(),
        "2".as_ref(),
        word.as_ref(),
    ])
    .escapes();
    both_presets(|preset| {
        let word = format!("fork-{preset}-{}", std::process::id());
        // By its first process, by belljar, and by a signal that belljar passes on.
        for way in ["first", "belljar", "signal"] {
            let started = jar()
                .preset(preset)
                .guest("fork_away", ["30", &word])
                .start();
            started.wait_for("ready");
            std::thread::sleep(Duration::from_millis(50));
            match way {
                "first" => kill(started.first(), Signal::KILL),
                "belljar" => kill(started.pid(), Signal::KILL),
                _ => started.signal(Signal::TERM),
            }
            let ended = started.end();
            assert!(!ended.stdout.contains("ESCAPED"), "{way}: {ended:#?}");
            wait_until("their end", || tasks_with(&word).is_empty().then_some(()));
            if way == "signal" {
                ended.held();
            }
        }
    });
}

/// A task that becomes another at every moment is stopped, continued and
/// signalled at any of them.
#[test]
pub(crate) fn starting_again_ends_at_wall() {
    bare(["start_again", "20"]).escapes();
    let started = jar()
        .preset("standard")
        .flags(["--wall", "1s"])
        .guest("start_again", ["1000000"])
        .start();
    let task = started.guest();
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        for signal in [Signal::STOP, Signal::CONT, Signal::WINCH] {
            kill(task, signal);
        }
    }
    kill(task, Signal::STOP);
    let ended = started.end();
    let limit = Limit::Wall;
    assert_eq!(ended.outcome(), &Outcome::Limit { limit }, "{ended:#?}");
    ended.held();
    jar().preset("strict").guest("start_again", ["200"]).stops();
}

/// A task of the machine that exchanges two names as fast as it can, until this
/// is finished; and how often it did.
struct Swapper(Companion);

impl Swapper {
    fn new(one: &str, other: &str) -> Self {
        Self(Companion::new(["swap_paths", one, other, "10000"]))
    }

    fn finish(self) -> u64 {
        let said = self.0.finish();
        let count = said.rsplit(' ').next().unwrap_or_default();
        count.trim().parse().unwrap_or_else(|_| panic!("{said:?}"))
    }
}

/// Below a directory that guests may write, somebody exchanges a granted place
/// for a link out of it, 10,000 times at least, while jars begin.
#[test]
fn place_that_is_swapped_while_jars_begin_shows_no_secret() {
    let canary = Canary::new();
    both_presets(|preset| {
        let room = tempfile::tempdir().expect("a directory");
        let [write, part, link] =
            ["", "part", "link"].map(|name| room.path().join(name).display().to_string());
        let write = write.trim_end_matches('/');
        fs::create_dir(&part).expect("a directory");
        fs::write(room.path().join("part/canary"), "the right one").expect("a file");
        symlink(canary.directory(), &link).expect("a link");
        let swapper = Swapper::new(&part, &link);
        // Whoever looks and then opens is led astray before long.
        bare(["check_then_read", &part, "canary", "sings"]).escapes();
        let (mut began, mut refused) = (0, 0);
        for _ in 0..40 {
            let ended = jar()
                .preset(preset)
                .flags(["--write", write, "--read", &part])
                .guest("read_marked", [&format!("{part}/canary"), "sings"])
                .end();
            assert!(!ended.stdout.contains("ESCAPED"), "{ended:#?}");
            match ended.status.code() {
                Some(0) => began += 1,
                Some(125) => refused += 1,
                _ => panic!("neither begun nor refused: {ended:#?}"),
            }
        }
        let swaps = swapper.finish();
        assert!(swaps >= 10_000, "{swaps} swaps");
        eprintln!("{began} began, {refused} refused, {swaps} swaps");
        canary.sings();
    });
}

/// The program that is started is the one that was looked at, or none.
#[test]
fn program_that_is_swapped_while_jars_begin_is_one_of_both() {
    both_presets(|preset| {
        let room = tempfile::tempdir().expect("a directory");
        let [one, other] =
            ["one", "other"].map(|name| room.path().join(name).display().to_string());
        fs::copy(guest(), &one).expect("a copy");
        fs::copy("/bin/false", &other).expect("a copy");
        let swapper = Swapper::new(&one, &other);
        for _ in 0..40 {
            let ended = jar()
                .preset(preset)
                .program([one.as_str(), "echo", "whole"])
                .end();
            match ended.status.code() {
                Some(0) => assert_eq!(ended.stdout, "whole", "{ended:#?}"),
                Some(1) => assert!(ended.stdout.is_empty(), "{ended:#?}"),
                Some(125..=127) => {}
                _ => panic!("neither of both: {ended:#?}"),
            }
        }
        assert!(swapper.finish() >= 10_000);
    });
}
