//! Attacks on tasks outside, and on the jar's first process.

use belljar_tests::{
    Need, alive, bare, both_presets, command_line, is_root, jar, kill, need, unshared, wait_until,
};
use rustix::process::Signal;

use crate::outside::{Bystander, Canary};

/// Tasks of one user may trace each other here, without a jar.
fn tracing_is_free() -> bool {
    is_root()
        || std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope")
            .map_or(true, |scope| scope.trim() == "0")
}

#[test]
pub(crate) fn task_outside_is_not_seen() {
    let bystander = Bystander::new();
    let words = [bystander.pid(), Bystander::WORD.to_owned()];
    both_presets(|preset| {
        jar().preset(preset).guest("see_task", &words).stops();
        bystander.lives();
    });
    bare(["see_task", &words[0]]).escapes();
}

#[test]
pub(crate) fn task_outside_is_not_killed() {
    let bystander = Bystander::new();
    both_presets(|preset| {
        jar()
            .preset(preset)
            .guest("kill_task", [bystander.pid()])
            .stops();
        bystander.lives();
    });
    bare(["kill_task", &bystander.pid()]).escapes();
}

#[test]
pub(crate) fn task_outside_is_not_traced() {
    let bystander = Bystander::new();
    both_presets(|preset| {
        jar()
            .preset(preset)
            .guest("trace_task", [bystander.pid()])
            .stops();
        bystander.lives();
    });
    if tracing_is_free() {
        bare(["trace_task", &bystander.pid()]).escapes();
    }
}

#[test]
pub(crate) fn memory_of_the_supervisor_is_not_reached() {
    both_presets(|preset| {
        jar()
            .host(["telling_host"])
            .preset(preset)
            .guest("read_task_memory", ["@PID@"])
            .stops();
    });
    if tracing_is_free() {
        let bystander = Bystander::new();
        bare(["read_task_memory", &bystander.pid()]).escapes();
    }
}

#[test]
pub(crate) fn root_of_the_supervisor_is_not_reached() {
    let canary = Canary::new();
    let path = canary.path().to_string_lossy().into_owned();
    both_presets(|preset| {
        jar()
            .host(["telling_host"])
            .preset(preset)
            .guest("read_task_root", ["@PID@", &path])
            .stops();
        canary.sings();
    });
    let bystander = Bystander::new();
    bare(["read_task_root", &bystander.pid(), &path]).escapes();
}

#[test]
pub(crate) fn descriptors_of_the_supervisor_are_not_taken() {
    both_presets(|preset| {
        jar()
            .host(["telling_host"])
            .preset(preset)
            .guest("take_descriptor", ["@PID@"])
            .stops();
    });
    if tracing_is_free() {
        let bystander = Bystander::new();
        bare(["take_descriptor", &bystander.pid()]).escapes();
    }
}

#[test]
pub(crate) fn first_process_is_out_of_reach() {
    both_presets(|preset| {
        jar().preset(preset).guest("attack_first", [""; 0]).stops();
    });
    if need(Need::UserNamespaces) {
        unshared(&["-rpf", "--mount-proc"], ["attack_first"]).escapes();
    }
}

fn tasks_with(word: &str) -> Vec<i32> {
    std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| command_line(*pid).ends_with(&format!("stay_behind {word} ")))
        .filter(|pid| alive(*pid))
        .collect()
}

#[test]
pub(crate) fn daemonised_grandchildren_are_gone() {
    both_presets(|preset| {
        let word = format!("jar-{preset}-{}", std::process::id());
        let ended = jar().preset(preset).guest("stay_behind", [&word]).end();
        assert_eq!(ended.status.code(), Some(42), "{ended:#?}");
        assert_eq!(ended.stdout.matches("pid ").count(), 5, "{ended:#?}");
        assert_eq!(tasks_with(&word), [0; 0]);
        ended.held();
    });
    let word = format!("bare-{}", std::process::id());
    bare(["stay_behind", &word]).escapes();
    let left = tasks_with(&word);
    assert_eq!(left.len(), 5, "a control that leaves nothing behind");
    for pid in left {
        kill(pid, Signal::KILL);
    }
    wait_until("their end", || tasks_with(&word).is_empty().then_some(()));
}
