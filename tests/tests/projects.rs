//! What is granted for writing is a project of its file system: the kernel holds what it
//! grows by, nothing gets out of it, and its quota is what it was once the jar has ended.
#![cfg(target_os = "linux")]

use std::time::Duration;

use belljar_tests::{KernelName, VmCommand, VmEnd, VmResult, begun, on_each, vm};
use serde_json::Value;

/// Makes a directory of a project of its own, 7, and tells the quota of that.
const MAKE: &str =
    "mkdir /disk/own && chmod 777 /disk/own && belljar-guest try_all project=/disk/own,7";

/// Its quota in KiB and files, and what Belljar has noted of any.
const QUOTA: &str =
    "belljar-guest try_all quota=/disk,7; echo notes: $(ls /var/lib/belljar/projects)";

fn root(script: &str) -> VmCommand {
    VmCommand::root(["sh", "-c", script]).within(Duration::from_secs(60))
}

fn said(result: &VmResult) -> String {
    assert_eq!(result.end, VmEnd::Exited(0), "{result:?}");
    result.text()
}

/// `belljar run`, and its report behind what the command says of itself.
fn run(words: &str) -> String {
    format!("belljar run --no-record --report /tmp/report {words}; cat /tmp/report; rm /tmp/report")
}

fn report(text: &str) -> Value {
    let at = text.find('{').unwrap_or_else(|| panic!("{text}"));
    serde_json::from_str(&text[at..]).unwrap_or_else(|_| panic!("{text}"))
}

fn plan_of(result: &VmResult) -> Value {
    let mut explained: Value = serde_json::from_str(&said(result)).expect("a plan");
    explained["plan"].take()
}

fn disk(rows: &Value) -> &Value {
    let rows = rows.as_array().expect("a list");
    rows.iter().find(|row| row["rule"] == "disk").expect("it")
}

#[test]
fn granted_projects_grow_as_far_as_the_limit_and_no_further() {
    on_each(&[KernelName::Bookworm61], grows);
}

#[test]
fn quotas_are_what_they_were_after_every_end() {
    on_each(&[KernelName::Bookworm61], as_before);
}

#[test]
#[ignore = "takes minutes: `cargo xtask long`"]
fn long_projects_are_held_on_other_kernels() {
    let others = [KernelName::Backports612, KernelName::Sid];
    on_each(&others, grows);
    on_each(&others, as_before);
}

fn grows(kernel: KernelName) {
    let write = |to: &str| {
        run(&format!(
            "--disk 4MiB --write {to} -- dd if=/dev/zero of={to}/file bs=64k count=128"
        ))
    };
    let touch = "--disk 1MiB --write /disk/own -- sh -c 'i=0; while [ $i -lt 3000 ]; do true > /disk/own/$i || break; i=$((i+1)); done; echo made $i'";
    let leave = "--disk 4MiB --write /disk/own -- belljar-guest try_all project=/disk/own/file,0 project=/disk/own,0 quota=/disk/own,7,0";
    let results = vm().on(kernel).disk(64 << 20).run(&[
        root(&format!("{MAKE}; mkdir /disk/plain; chmod 777 /disk/plain")),
        root("belljar explain --json --disk 4MiB --write /disk/own -- true"),
        root(&write("/disk/own")),
        root("stat -c %s /disk/own/file; rm /disk/own/file"),
        // The same without a project: it is more before anybody looks.
        root(&write("/disk/plain")),
        root("stat -c %s /disk/plain/file"),
        root(&run(touch)),
        root("rm -f /disk/own/*; : > /disk/own/file; chmod 666 /disk/own/file"),
        root(&run(leave)),
        // Who owns a file and is in no jar takes it out.
        VmCommand::user([
            "sh",
            "-c",
            ": > /disk/own/mine; belljar-guest try_all project=/disk/own/mine,0 project=/disk/own/mine",
        ]),
        // What is in no project is not held, so that nothing is said to be.
        root("belljar explain --json --disk 4MiB --write /disk/own -- true"),
        root("belljar run --require disk=kernel --disk 4MiB --write /disk/own -- true 2>&1; echo $?"),
        root("rm /disk/own/mine; belljar run --no-record --require disk=kernel --disk 4MiB --write /disk/own -- echo ran 2>&1"),
        root("belljar run --no-record --require disk=kernel --disk 4MiB --write /disk/own --write /disk/plain -- echo ran 2>&1; echo $?"),
        // Nor is what is mounted in it.
        root("mkdir /disk/own/sub /disk/plain/sub; belljar-guest try_all project=/disk/own/sub; mount -o bind /disk/plain/sub /disk/own/sub; \
              belljar explain --json --disk 4MiB --write /disk/own -- true > /tmp/plan; umount /disk/own/sub; \
              grep -c quota /tmp/plan; belljar explain --json --disk 4MiB --write /disk/own -- true | grep -c '\"quota\"'"),
        root(QUOTA),
    ]);
    assert!(said(&results[0]).contains("ok 7"), "{:?}", results[0]);

    let plan = plan_of(&results[1]);
    assert_eq!(plan["quota"]["project"], 7, "{plan}");
    assert_eq!(plan["quota"]["bytes"], 4 << 20);
    assert_eq!(disk(&plan["rules"])["planned"]["strength"], "kernel");

    let held = report(&said(&results[2]));
    assert_eq!(held["outcome"]["kind"], "exited", "{held}");
    let stderr = String::from_utf8_lossy(&results[2].stderr).into_owned();
    assert!(stderr.to_lowercase().contains("quota exceeded"), "{stderr}");
    assert_eq!(disk(&held["enforcement"])["applied"], "kernel", "{held}");
    let hits = held["limits_hit"].to_string();
    assert!(hits.contains("disk") && hits.contains("hard"), "{hits}");
    let size = |result: &VmResult| -> u64 { said(result).trim().parse().expect("a size") };
    let (held, plain) = (size(&results[3]), size(&results[5]));
    assert!(held <= 4 << 20 && held > 3 << 20, "{held}");
    assert!(plain > 4 << 20, "{plain}");
    let watched = report(&said(&results[4]));
    assert_eq!(disk(&watched["enforcement"])["applied"], "supervisor");

    let many = said(&results[6]);
    let made = many
        .split_whitespace()
        .skip_while(|word| *word != "made")
        .nth(1)
        .and_then(|count| count.parse::<u32>().ok());
    assert!(
        made.is_some_and(|made| (900..=1024).contains(&made)),
        "{many}"
    );

    let stays = said(&results[8]);
    let answers: Vec<&str> = stays.lines().take(3).collect();
    assert!(
        answers.iter().all(|answer| answer.starts_with("errno ")),
        "{stays}"
    );
    assert_eq!(said(&results[9]), "ok 0\nok 0\n");
    let plan = plan_of(&results[10]);
    assert_eq!(plan["quota"], Value::Null, "{plan}");
    assert_eq!(disk(&plan["rules"])["planned"]["strength"], "supervisor");
    let refused = said(&results[11]);
    assert!(
        refused.contains("disk") && refused.ends_with("125\n"),
        "{refused}"
    );
    assert!(said(&results[12]).contains("ran"), "{:?}", results[12]);
    let two = said(&results[13]);
    assert!(!two.contains("ran") && two.ends_with("125\n"), "{two}");
    assert_eq!(said(&results[14]), "ok 7\n0\n1\n");
    assert_eq!(said(&results[15]), "ok 0 0\nnotes:\n");
}

fn as_before(kernel: KernelName) {
    let jar = |limit: &str, seconds: u32| {
        format!("belljar run --no-record --disk {limit} --write /disk/own -- sleep {seconds} &")
    };
    let two = format!(
        "{} one=$!; {} {}; {QUOTA}; wait $!; {QUOTA}; wait $one; {QUOTA}",
        jar("8MiB", 40),
        jar("2MiB", 10),
        begun(2)
    );
    // Whoever takes a bound of its own meanwhile keeps it.
    let taken = format!(
        "{} {}; belljar-guest try_all quota=/disk,7,3000; wait; {QUOTA}",
        jar("8MiB", 10),
        begun(1)
    );
    let killed = format!(
        "{} {}; kill -9 $!; sleep 1; belljar-guest try_all quota=/disk,7; ls /var/lib/belljar/projects | wc -l; \
         belljar run --no-record -- true; {QUOTA}",
        jar("8MiB", 60),
        begun(1)
    );
    let results = vm().on(kernel).disk(64 << 20).run(&[
        root(MAKE),
        root(&two),
        root("belljar-guest try_all quota=/disk,7,1024"),
        root(&format!(
            "{} {}; {QUOTA}; wait; {QUOTA}",
            jar("8MiB", 10),
            begun(1)
        )),
        root(&taken),
        root(&killed),
        // A launch that fails after it was set.
        root(&format!(
            "belljar run --no-record --disk 8MiB --write /disk/own -- /etc/passwd; {QUOTA}"
        )),
    ]);
    let spaces = |result: &VmResult| -> Vec<u64> {
        said(result)
            .lines()
            .filter_map(|line| line.strip_prefix("ok ")?.split(' ').next()?.parse().ok())
            .collect()
    };
    // The directory itself takes a block of 1 KiB on a disk so small.
    let both = spaces(&results[1]);
    assert_eq!(both, [2 * 1024 + 1, 8 * 1024 + 1, 0], "{:?}", results[1]);
    assert!(said(&results[1]).ends_with("notes:\n"), "{:?}", results[1]);
    assert_eq!(spaces(&results[3]), [1024, 1024], "{:?}", results[3]);
    assert_eq!(spaces(&results[4]), [3000, 3000], "{:?}", results[4]);
    assert_eq!(spaces(&results[5]), [3000, 3000], "{:?}", results[5]);
    assert!(said(&results[5]).ends_with("notes:\n"), "{:?}", results[5]);
    assert_eq!(spaces(&results[6]), [3000], "{:?}", results[6]);
    assert!(said(&results[6]).ends_with("notes:\n"), "{:?}", results[6]);
}
