//! The virtual machine of the tests: what is told of it can be believed, jars
//! work in it, and it has what this machine's kernel may lack.
#![cfg(target_os = "linux")]

use std::{path::Path, process::Command, time::Duration};

use belljar_tests::{Need, VmCommand, VmEnd, VmResult, need, vm};

fn exited(status: u8, stdout: &[u8], stderr: &[u8]) -> VmResult {
    VmResult {
        end: VmEnd::Exited(status),
        stdout: stdout.to_vec(),
        stderr: stderr.to_vec(),
    }
}

fn ends(results: &[VmResult]) -> Vec<VmEnd> {
    results.iter().map(|result| result.end).collect()
}

#[test]
fn commands_in_the_machine_are_told_of_as_they_were() {
    if !need(Need::Vm) {
        return;
    }
    let shell = |script: &str| VmCommand::root(["sh", "-c", script]);
    let every_byte: String = (0..=255).map(|byte| format!("\\{byte:03o}")).collect();
    let forger = "for port in /dev/ttyS1 /dev/stdout; do
        printf '\\n0123 end 0 0 0 0\\nbegin 2\\n0123 begin 3\\n' > $port; done";
    let results = vm().run(&[
        VmCommand::root(["uname", "-sr"]),
        VmCommand::user(["sh", "-c", "id -u; id -G; echo wrong >&2; exit 7"]),
        VmCommand::root(["printf", &every_byte]),
        shell(forger),
        shell("kill -11 $$"),
        shell("sleep 1000 & echo left"),
        shell("ps | grep -c '[s]leep 1000'"),
        shell("echo begun; sleep 1000").within(Duration::from_secs(2)),
        shell("head -c 2000000 /dev/zero"),
        VmCommand::user(["cat", "/machine/commands.sh"]),
        VmCommand::root(["no such program"]),
        VmCommand::root(["printf", "%s", "it's $HOME\n"]),
    ]);
    let bytes: Vec<u8> = (0..=255).collect();
    let kernel = results[0].text();
    assert!(kernel.starts_with("Linux 6."), "{kernel}");
    assert_eq!(results[1], exited(7, b"1000\n1000\n", b"wrong\n"));
    assert_eq!(results[2], exited(0, &bytes, b""));
    let forged = b"\n0123 end 0 0 0 0\nbegin 2\n0123 begin 3\n";
    assert_eq!(results[3], exited(0, forged, b""));
    assert_eq!(results[4], exited(128 + 11, b"", b""));
    assert_eq!(results[5], exited(0, b"left\n", b""));
    assert_eq!(results[6], exited(1, b"0\n", b""), "it is gone");
    assert_eq!(results[7].end, VmEnd::OutOfTime);
    assert_eq!(results[7].text(), "begun\n");
    assert_eq!(results[8].end, VmEnd::Exited(1), "no space is left");
    assert!(results[8].stdout.len() > 500_000);
    assert_eq!(results[9].end, VmEnd::Exited(1), "{:?}", results[9]);
    assert_eq!(results[10].end, VmEnd::Exited(127), "{:?}", results[10]);
    assert_eq!(results[11], exited(0, b"it's $HOME\n", b""));
}

#[test]
fn machine_that_a_command_ends_is_told_as_that_and_replaced() {
    if !need(Need::Vm) {
        return;
    }
    let results = vm().run(&[
        VmCommand::root(["touch", "/tmp/first"]),
        VmCommand::user(["reboot", "-f"]),
        VmCommand::root(["reboot", "-f"]),
        VmCommand::root(["ls", "/tmp"]),
        VmCommand::root(["sh", "-c", "echo c > /proc/sysrq-trigger"]),
        VmCommand::root(["poweroff", "-f"]),
    ]);
    assert_eq!(
        ends(&results),
        [
            VmEnd::Exited(0),
            VmEnd::Exited(1),
            VmEnd::Rebooted,
            VmEnd::Exited(0),
            VmEnd::Panicked,
            VmEnd::PoweredOff,
        ]
    );
    assert_eq!(
        results[3].text(),
        "",
        "a new machine has nothing of the old"
    );
}

#[test]
fn machine_of_which_nothing_is_heard_is_ended_and_replaced() {
    if !need(Need::Vm) {
        return;
    }
    // It kills its watchdog first.
    let silent = "kill -9 -1; while :; do sleep 1000; done";
    let results = vm().run(&[
        VmCommand::root(["sh", "-c", silent]).within(Duration::from_secs(1)),
        VmCommand::root(["true"]),
    ]);
    assert_eq!(ends(&results), [VmEnd::Hung, VmEnd::Exited(0)]);
}

#[test]
fn jars_work_on_the_machine_s_kernel() {
    if !need(Need::Vm) {
        return;
    }
    let jar = ["belljar", "run", "--", "/bin/busybox", "true"];
    let shows = ["belljar", "run", "--", "busybox", "id", "-u"];
    let strict = [
        "belljar",
        "run",
        "--preset",
        "strict",
        "--",
        "belljar-guest",
        "effective_user",
    ];
    let jars = [&jar[..], &shows, &strict];
    let commands: Vec<VmCommand> = jars
        .iter()
        .flat_map(|words| [VmCommand::root(*words), VmCommand::user(*words)])
        .collect();
    let results = vm().run(&commands);
    assert_eq!(
        results,
        [
            exited(0, b"", b""),
            exited(0, b"", b""),
            exited(0, b"1000\n", b""),
            exited(0, b"1000\n", b""),
            exited(0, b"1000\n", b""),
            exited(0, b"1000\n", b""),
        ]
    );
}

#[test]
fn the_machine_has_what_attacks_need() {
    if !need(Need::Vm) || !need(Need::Compiler) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    let probe = room.path().join("probe");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machine/probe.c");
    let built = belljar_tests::output(Command::new("cc").arg("-o").arg(&probe).arg(&source));
    assert!(built.status.success(), "{built:#?}");
    let results = vm().program("/usr/bin/probe", &probe).run(&[
        VmCommand::user(["probe", "hash"]),
        VmCommand::root(["probe", "key"]),
        VmCommand::user(["probe", "vsock"]),
        VmCommand::user(["probe", "x32"]),
    ]);
    // FIPS 180-2, appendix B.1
    let sum = b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
    assert_eq!(
        results,
        [
            exited(0, sum, b""),
            exited(0, b"a socket of keys\n", b""),
            exited(0, b"a socket between machines\n", b""),
            exited(0, b"its own number\n", b""),
        ]
    );
}
