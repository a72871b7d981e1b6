//! Limits on a machine whose first process is systemd: where nothing is delegated, it is
//! asked for a scope, in which the launcher is and below which jars are.
#![cfg(target_os = "linux")]

#[path = "systemd/refusals.rs"]
mod refusals;

use std::time::Duration;

use belljar_tests::{KernelName, Need, VmCommand, VmEnd, VmResult, begun, need, vm};
use serde_json::Value;

const USUAL: [KernelName; 1] = [KernelName::Bookworm61];
const OTHERS: [KernelName; 2] = [KernelName::Backports612, KernelName::Sid];

/// A guest that takes memory without end.
const GROWS: &str = "sh -c 'x=1234567890123456; while :; do x=$x$x; done'";

/// Units and cgroups of jars that are left. systemd takes a moment for an empty one.
const LEFT: &str = "for i in $(seq 60); do left=$(find /sys/fs/cgroup -name 'belljar-*'); \
                    [ -n \"$left\" ] || break; sleep 0.5; done; echo \"left: $left\"";

/// `belljar run`, its report, and what is left.
fn run(words: &str) -> String {
    format!(
        "belljar run --no-record --report /tmp/$$ {words} >&2; cat /tmp/$$; rm -f /tmp/$$; {LEFT}"
    )
}

fn root(script: &str) -> VmCommand {
    VmCommand::root(["sh", "-c", script]).within(Duration::from_secs(180))
}

fn user(script: &str) -> VmCommand {
    VmCommand::user(["sh", "-c", script]).within(Duration::from_secs(180))
}

/// The report, where nothing is left.
fn report(result: &VmResult) -> Value {
    assert_eq!(result.end, VmEnd::Exited(0), "{result:?}");
    let text = result.text();
    let (report, left) = text.split_once("left: ").expect("what is left");
    assert_eq!(left.trim(), "", "{result:?}");
    serde_json::from_str(report).unwrap_or_else(|_| panic!("{result:?}"))
}

fn ended_for_memory_by_the_kernel(result: &VmResult) -> Value {
    let report = report(result);
    assert_eq!(report["outcome"]["limit"], "memory", "{result:?}");
    assert_eq!(rule(&report, "memory")["applied"], "kernel", "{result:?}");
    report
}

fn rule<'a>(report: &'a Value, rule: &str) -> &'a Value {
    let rows = report["enforcement"].as_array().expect("a list");
    rows.iter().find(|row| row["rule"] == rule).expect("a row")
}

fn tells_of_the_scope(report: &Value) -> bool {
    report["notes"].to_string().contains("a scope that systemd")
}

fn on_each(kernels: &[KernelName], test: impl Fn(KernelName)) {
    if need(Need::Systemd) {
        belljar_tests::on_each(kernels, test);
    }
}

#[test]
fn what_systemd_has_not_delegated_it_is_asked_for() {
    on_each(&USUAL, asked_for);
}

#[test]
#[ignore = "takes minutes: `cargo xtask long`"]
fn long_other_kernels_are_asked_for_by_way_of_systemd_too() {
    on_each(&OTHERS, asked_for);
}

fn asked_for(kernel: KernelName) {
    let bounded = run(&format!("--memory 32MiB --cpu 50% -- {GROWS}"));
    // The service's own cgroup stays as it is; what the launcher is in has another name.
    let where_all_are = format!(
        "belljar run --no-record --memory 32MiB -- sleep 100 & {}; cat /proc/self/cgroup; \
             for pid in $(cat /proc/*/task/*/children); do cat /proc/$pid/cgroup; done | grep belljar | sort -u; kill $!; wait",
        begun(1)
    );
    let service = "systemd-run --quiet --wait --pipe --collect -p Delegate=yes";
    let delegated = format!(
        "{service} belljar run --no-record --report /tmp/report --memory 32MiB -- {GROWS} >&2; cat /tmp/report; {LEFT}"
    );
    // With a shell beside it, nothing there can be handed on.
    let crowded = format!("{service} sh -c {}", shell_word(&bounded));
    // A user's program that a service of the machine's runs is not below the user's
    // own manager.
    let outside = format!(
        "/usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups sh -c {}",
        shell_word(&run(&format!("--memory 32MiB -- {GROWS}")))
    );
    let killed = format!(
        "belljar run --no-record --memory 32MiB -- sleep 100 & {}; \
             find /sys/fs/cgroup -name 'belljar-*.scope' | wc -l; kill -9 $!; {LEFT}; \
             for i in $(seq 60); do units=$(systemctl list-units --all 'belljar-*' --no-legend); \
             [ -n \"$units\" ] || break; sleep 0.5; done; echo \"units: $units\"",
        begun(1)
    );
    let results = vm().on(kernel).with_systemd().run(&[
        root(&bounded),
        user(&bounded),
        root(&where_all_are),
        root(&delegated),
        root(&crowded),
        root(&outside),
        root(&killed),
        user("belljar doctor | grep -A1 'for jars'"),
    ]);
    for result in &results[..2] {
        let report = ended_for_memory_by_the_kernel(result);
        assert_eq!(rule(&report, "cpu")["applied"], "kernel", "{result:?}");
        assert!(tells_of_the_scope(&report), "{result:?}");
    }
    let text = results[2].text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "0::/system.slice/command-2.service", "{text}");
    // The launcher, and the jar.
    assert_eq!(lines.len(), 3, "{text}");
    for line in &lines[1..] {
        let (_, below) = line.split_once("/system.slice/belljar-").expect("a scope");
        let (_, below) = below.split_once(".scope/").expect("a scope");
        assert!(
            below == "belljar-host" || below.starts_with("belljar-jar-"),
            "{text}"
        );
    }
    // What is delegated is used, and nobody asked.
    let delegated = ended_for_memory_by_the_kernel(&results[3]);
    assert!(!tells_of_the_scope(&delegated), "{:?}", results[3]);
    let crowded = ended_for_memory_by_the_kernel(&results[4]);
    assert!(tells_of_the_scope(&crowded), "{:?}", results[4]);
    ended_for_memory_by_the_kernel(&results[5]);
    assert_eq!(
        results[6].text(),
        "1\nleft: \nunits: \n",
        "{:?}",
        results[6]
    );
    let doctor = results[7].text();
    assert!(
        doctor.contains("a scope that systemd is asked for"),
        "{doctor}"
    );
}

fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// By systemd-run, also where no bus is there that could be asked, and by a unit's file.
#[test]
fn what_a_user_s_unit_was_delegated_is_used_and_nobody_is_asked() {
    on_each(&USUAL, |kernel| {
        let delegated = |script: &str| {
            format!(
                "systemd-run --user --quiet --scope -p Delegate=yes sh -c {}",
                shell_word(script)
            )
        };
        let run = "belljar run --no-record --memory 32MiB --cpu 50%";
        let bounded = delegated(&format!(
            "mv /run/user/1000/bus /run/user/1000/away; exec {run} --report /tmp/report -- {GROWS}"
        ));
        let units = "systemctl --user list-units --all 'belljar-*' --no-legend";
        let where_jars_are = format!(
            "{}; find /sys/fs/cgroup -name 'belljar-*' | sort; wait; {LEFT}; {units}",
            begun(1)
        );
        let file = "[Unit]\\nDefaultDependencies=no\\n[Service]\\nType=oneshot\\nDelegate=memory cpu\\n\
             ExecStart=/usr/bin/belljar run --no-record --memory 32MiB --cpu 50%%%% -- /usr/bin/sleep 8";
        let results = vm().on(kernel).with_systemd().run(&[
            user(&format!(
                "{bounded} >&2; mv /run/user/1000/away /run/user/1000/bus; \
                 cat /tmp/report; {LEFT}; {units}"
            )),
            user(&format!(
                "{} & {where_jars_are}",
                delegated(&format!("exec {run} -- sleep 8"))
            )),
            user(&format!(
                "at=$HOME/.config/systemd/user; mkdir -p $at; printf '{file}' > $at/host.service; \
                 systemctl --user start host & {where_jars_are}"
            )),
        ]);
        let report = ended_for_memory_by_the_kernel(&results[0]);
        let cpu = rule(&report, "cpu");
        assert_eq!(cpu["applied"], "kernel", "{:?}", results[0]);
        assert!(!tells_of_the_scope(&report), "{:?}", results[0]);
        for (result, unit) in results[1..].iter().zip(["run-", "host.service"]) {
            let text = result.text();
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines.len(), 3, "{result:?}");
            for (line, name) in lines.iter().zip(["belljar-host", "belljar-jar-"]) {
                let (_, below) = line.split_once("/app.slice/").expect("a unit");
                let (of, cgroup) = below.split_once('/').expect("one below it");
                assert!(of.starts_with(unit) && cgroup.starts_with(name), "{text}");
            }
            assert_eq!(lines[2], "left: ", "{result:?}");
        }
    });
}

/// Whoever has a socket there in its place is no bus.
#[test]
fn where_systemd_gives_no_scope_what_needs_one_is_refused_with_the_cause() {
    on_each(&USUAL, |kernel| {
        let with = |prepared: &str, words: &str| {
            let bus = "/run/dbus/system_bus_socket";
            root(&format!(
                "mv {bus} /run/bus; {prepared}; {}; belljar run --no-record --cpu 50% -- true; echo \"status $?\" >&2; \
                 rm -f {bus}; mv /run/bus {bus}",
                run(words)
            ))
        };
        let results = vm().on(kernel).with_systemd().run(&[
            with("true", "-- true"),
            with(": > /run/dbus/system_bus_socket", "-- true"),
        ]);
        for (result, cause) in results.iter().zip([
            "is systemd's, which has not delegated it",
            "nobody answers at /run/dbus/system_bus_socket",
        ]) {
            let report = report(result);
            assert_eq!(report["outcome"]["kind"], "exited", "{result:?}");
            assert_eq!(
                rule(&report, "memory")["applied"],
                "supervisor",
                "{result:?}"
            );
            let said = String::from_utf8_lossy(&result.stderr).into_owned();
            assert!(said.contains(cause), "{said}");
            assert!(
                said.contains("systemd-run --scope -p Delegate=yes"),
                "{said}"
            );
            assert!(said.contains("status 125"), "{said}");
        }
    });
}

/// systemd puts a launcher that has just ended into a scope that nobody leaves then: here a
/// child that nobody waits for stands for it. The next belljar has that stopped, and no scope
/// that somebody is in.
#[test]
fn scopes_that_nobody_is_in_are_stopped_by_the_next_belljar() {
    on_each(&USUAL, |kernel| {
        let scope = |of: &str, name: &str, pid: &str| {
            format!(
                "busctl {of} call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager \
                 StartTransientUnit 'ssa(sv)a(sa(sv))' {name} fail 1 PIDs au 1 {pid} 0 > /dev/null"
            )
        };
        let script = |of: &str| {
            let units = format!(
                "echo $(systemctl {of} list-units --all 'belljar-*' --no-legend --plain | awk '{{ print $1, $3 }}')"
            );
            format!(
                "sh -c 'sleep 0.1 & exec sleep 150' & parent=$!; child=; \
                 until grep -q '^State:.Z' /proc/$child/status 2> /dev/null; do sleep 0.2; child=$(echo $(cat /proc/$parent/task/$parent/children)); done; \
                 sleep 150 & other=$!; {}; {}; sleep 12; {units}; \
                 belljar run --no-record --require memory=kernel --memory 32MiB -- sleep 2; \
                 for i in $(seq 60); do [ \"$({units})\" != \"belljar-other.scope active\" ] || break; sleep 0.5; done; \
                 {units}; kill $other $parent",
                scope(of, "belljar-left.scope", "$child"),
                scope(of, "belljar-other.scope", "$other"),
            )
        };
        let results = vm()
            .on(kernel)
            .with_systemd()
            .run(&[root(&script("--system")), user(&script("--user"))]);
        for result in &results {
            let text = result.text();
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(
                lines,
                [
                    "belljar-left.scope active belljar-other.scope active",
                    "belljar-other.scope active"
                ],
                "{result:?}"
            );
        }
    });
}

/// How long many runs take at once, each with a scope and a cgroup of its own, beside as many
/// scopes of systemd's with the same limit: printed, since it is a matter of the machine.
/// None of them fails, and nothing is left. Of more at once on an emulated processor some go
/// without a scope, since the bus takes longer than they wait.
#[test]
#[ignore = "takes minutes: `cargo xtask long`"]
fn long_many_runs_at_once_have_their_scopes_and_leave_none() {
    on_each(&USUAL, |kernel| {
        let many = |run: &str| {
            root(&format!(
                "begun=$(cut -d' ' -f1 /proc/uptime); for i in $(seq 16); do ({run} || echo failed) & done; wait; \
                 echo \"$(cut -d' ' -f1 /proc/uptime) $begun\" | awk '{{ print $1 - $2 \" s\" }}'; {LEFT}"
            ))
            .within(Duration::from_secs(300))
        };
        let results = vm()
            .on(kernel)
            .processors(2)
            .memory(1024)
            .with_systemd()
            .run(&[
                many("belljar run --no-record --require memory=kernel --memory 32MiB -- true"),
                many("systemd-run --quiet --scope --collect -p MemoryMax=32M true"),
            ]);
        for (who, result) in ["belljar run", "systemd-run --scope"].iter().zip(&results) {
            let text = result.text();
            assert!(!text.contains("failed"), "{result:?}");
            assert!(text.ends_with("left: \n"), "{result:?}");
            println!(
                "16 of `{who}` at once: {}",
                text.lines().next().unwrap_or_default()
            );
        }
    });
}
