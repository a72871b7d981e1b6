//! Denied calls: answered, told of, counted, and never a way to hold up others.
#![cfg(target_os = "linux")]

use std::{fs, os::unix::fs::PermissionsExt};

use belljar_plan::{
    Event, Outcome, Rule,
    event::{Termination, What},
    report::Violation,
};
use belljar_tests::{Ended, Need, jar, need};

/// Makes a call of a python program's own.
const CALLS: &str = "
import ctypes, errno, os, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        return errno.errorcode[ctypes.get_errno()]
    return 'done'
UNSHARE, BPF, KEYCTL, IO_URING, CLONE3 = 272, 321, 250, 425, 435
";

fn python(script: &str) -> belljar_tests::Jar {
    jar().program(["/usr/bin/python3", "-c", &format!("{CALLS}{script}")])
}

fn row<'a>(ended: &'a Ended, syscall: &str) -> &'a Violation {
    let rows = &ended.report().violations;
    rows.iter()
        .find(|row| row.syscall == syscall)
        .unwrap_or_else(|| panic!("no row for {syscall}: {ended:#?}"))
}

#[test]
fn a_denied_call_is_an_event_with_everything_named() {
    if !need(Need::Python) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    let file = room.path().join("events");
    for preset in ["minimal", "standard", "strict"] {
        let ended =
            python("print(call(UNSHARE, 0x10000000), call(BPF, 0, 0, 0), call(IO_URING, 1, 0))")
                .preset(preset)
                .flags(["--events".as_ref(), file.as_os_str()])
                .end()
                .clean();
        assert_eq!(ended.stdout, "EPERM EPERM ENOSYS\n");
        let report = ended.report();
        let unshare = row(&ended, "unshare");
        assert_eq!(unshare.rule, Rule::Nesting);
        assert_eq!(unshare.arguments, ["flags=CLONE_NEWUSER"]);
        assert_eq!((unshare.answer.as_str(), unshare.count), ("EPERM", 1));
        assert_eq!(row(&ended, "bpf").rule, Rule::Syscalls);
        // What libcs probe for is no event.
        assert_eq!(report.violations.len(), 2, "{ended:#?}");
        assert_eq!(report.denials.told, 2);

        let lines = fs::read_to_string(&file).expect("the events");
        let events: Vec<Event> = lines
            .lines()
            .map(|line| serde_json::from_str::<Event>(line).expect("an event"))
            // What a busy machine has in store for any jar.
            .filter(|event| !matches!(event.what, What::Pressure { .. }))
            .collect();
        assert_eq!(events.len(), 3, "{lines}");
        let What::Violation(violation) = &events[0].what else {
            panic!("{lines}");
        };
        assert_eq!(events[0].count, 1);
        assert_eq!(events[0].jar, report.jar);
        assert_eq!(events[0].task, report.task);
        assert_eq!(events[0].plugin, None);
        assert_eq!(violation.rule, Rule::Nesting);
        assert_eq!(violation.action, "a new namespace");
        assert_eq!(violation.syscall, "unshare");
        assert_eq!(violation.pid, unshare.pid);
        assert!(lines.starts_with(r#"{"id":1,"jar":"jar-"#), "{lines}");
        assert!(lines.contains(r#""event":"sandbox.violation","#));
        let What::Terminated(last) = &events[2].what else {
            panic!("{lines}");
        };
        assert_eq!(**last, Termination::of(report));
    }
}

#[test]
fn a_violation_ends_the_jar_where_the_policy_says_so_and_no_other_does() {
    if !need(Need::Python) {
        return;
    }
    let script = "print(call(BPF, 0, 0, 0), flush=True); print(call(UNSHARE, 0x20000))";
    let ended = python(script).flags(["--end-on", "nesting"]).end();
    assert_eq!(
        ended.outcome(),
        &Outcome::Violation {
            rule: Rule::Nesting
        }
    );
    assert_eq!(ended.status.code(), Some(124));
    // The first was answered, the second never.
    assert_eq!(ended.stdout, "EPERM\n");
    assert!(
        ended
            .stderr
            .contains("ended for a violation of the rule nesting: a new namespace"),
        "{ended:#?}"
    );
}

#[test]
fn what_is_never_seen_cannot_end_a_jar() {
    let ended = jar().flags(["--end-on", "wall"]).program(["true"]).end();
    assert!(matches!(ended.outcome(), Outcome::Refused { .. }));
    assert!(
        ended.stderr.contains("a violation of wall is not seen"),
        "{ended:#?}"
    );
}

#[test]
fn a_flood_of_denied_calls_is_answered_to_its_end_and_counted() {
    if !need(Need::Python) {
        return;
    }
    const EACH: u64 = 1500;
    let script = format!(
        "
def flood():
    for _ in range({EACH}): assert call(BPF, 0, 0, 0) == 'EPERM'
threads = [threading.Thread(target=flood) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"
    );
    let room = tempfile::tempdir().expect("a directory");
    let file = room.path().join("events");
    let flags = ["--events".as_ref(), file.as_os_str()];
    let ended = python(&script).flags(flags).end().clean();
    let bpf = row(&ended, "bpf");
    assert_eq!(bpf.count, 2 * EACH);
    // A file of events does not grow as fast, and says all the same how many there were.
    let events: Vec<Event> = fs::read_to_string(&file)
        .expect("the events")
        .lines()
        .map(|line| serde_json::from_str::<Event>(line).expect("an event"))
        .filter(|event| matches!(event.what, What::Violation(_)))
        .collect();
    let counts = events.iter().map(|event| event.count);
    assert_eq!(counts.sum::<u64>(), 2 * EACH);
    assert!((257..1500).contains(&events.len()), "{}", events.len());
    assert_eq!(ended.report().violations.len(), 1);
    let denials = ended.report().denials;
    assert_eq!((denials.told, denials.unlisted), (2 * EACH, 0));
    assert!(denials.late > 0, "{denials:?}");
}

#[test]
fn rows_of_the_report_are_bounded_whatever_a_guest_tries() {
    if !need(Need::Python) {
        return;
    }
    // Numbers of the x32 convention have a name each.
    let script = "for number in range(300): call(0x40000000 | number)";
    let ended = python(script).end().clean();
    let report = ended.report();
    assert_eq!(report.denials.told, 300);
    assert_eq!(report.violations.len(), 64);
    assert_eq!(report.denials.unlisted, 300 - 64);
}

#[test]
fn a_flooding_jar_is_stopped_and_killed_like_any_other() {
    if !need(Need::Python) {
        return;
    }
    let script = "
def flood():
    while True: call(BPF, 0, 0, 0)
for _ in range(8): threading.Thread(target=flood).start()
print('ready', flush=True)
";
    for kill in [false, true] {
        let started = python(script).flags(["--grace", "0"]).start();
        started.wait_for("ready");
        if kill {
            // The supervisor is gone: whoever waits for an answer goes with it.
            started.signal(rustix::process::Signal::KILL);
            let ended = started.end();
            assert_eq!(ended.report().outcome, Outcome::Lost);
        } else {
            started.signal(rustix::process::Signal::TERM);
            let ended = started.end();
            assert!(
                matches!(ended.outcome(), Outcome::Stopped { .. }),
                "{ended:#?}"
            );
        }
    }
}

/// Somebody around belljar listens already: the kernel allows one in a tree.
#[test]
fn where_an_outer_sandbox_listens_denials_hold_and_the_plan_says_that_nobody_hears() {
    if !need(Need::Python) {
        return;
    }
    let outer = format!(
        "{CALLS}
import struct
program = (ctypes.c_uint8 * 8)(*struct.pack('HBBI', 6, 0, 0, 0x7fff0000))
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
whole = Program(1, ctypes.addressof(program))
libc.prctl(38, 1, 0, 0, 0)
listener = libc.syscall(317, 1, 8, ctypes.byref(whole))
assert listener >= 0, ctypes.get_errno()
os.set_inheritable(listener, True)
os.execv(sys.argv[1], sys.argv[1:])
"
    );
    let under = ["/usr/bin/python3", "-c", &outer];
    // What cannot be looked at is not said to be.
    let observed = jar()
        .program(["true"])
        .flags(["--observe"])
        .under(under)
        .end();
    assert!(matches!(observed.outcome(), Outcome::Refused { .. }));
    assert!(
        observed.stderr.contains(
            "--observe: calls cannot be looked at here: something around this process listens"
        ),
        "{observed:#?}"
    );
    let ended = python("print(call(UNSHARE, 0x10000000), call(CLONE3, 0, 0))")
        .under(under)
        .end()
        .clean();
    assert_eq!(ended.stdout, "EPERM ENOSYS\n");
    let report = ended.report();
    assert_eq!(report.violations, []);
    let syscalls = report
        .enforcement
        .iter()
        .find(|rule| rule.rule == Rule::Syscalls)
        .expect("every rule");
    assert_eq!(syscalls.applied, belljar_plan::Strength::Kernel);
    assert!(
        syscalls
            .planned
            .mechanism
            .contains("no events: something around this process listens"),
        "{}",
        syscalls.planned.mechanism
    );
}

#[test]
fn a_program_that_asks_for_an_executable_stack_is_refused_in_strict() {
    if !need(Need::Compiler) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    let source = room.path().join("main.c");
    let program = room.path().join("program");
    fs::write(&source, "int main(void) { return 0; }").expect("a source");
    let made = belljar_tests::output(
        std::process::Command::new("/usr/bin/cc")
            .args(["-z", "execstack", "-o"])
            .args([&program, &source]),
    );
    assert!(made.status.success(), "{made:?}");
    let run = |flags: &[&str]| {
        jar()
            .preset("strict")
            .flags(flags)
            .program([&program])
            .end()
    };
    let refused = run(&[]);
    assert!(
        matches!(refused.outcome(), Outcome::Refused { .. }),
        "{refused:#?}"
    );
    assert!(
        refused.stderr.contains("rule writable_code"),
        "{refused:#?}"
    );
    assert!(refused.stderr.contains("--allow jit"), "{refused:#?}");
    let _ = run(&["--allow", "jit"]).clean();
}

/// What is written to a file is code where that file can be mapped so, at
/// whatever place of the jar.
#[test]
fn a_directory_that_is_written_at_one_place_and_run_from_another_is_refused_in_strict() {
    if !need(Need::Python) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    let written = room.path().join("written");
    fs::create_dir(&written).expect("a directory");
    for directory in [room.path(), &written] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("a mode");
    }
    let script = "
import mmap
with open('/written/code', 'wb') as file: file.write(b'\\xc3' * 4096)
with open('/run/code', 'rb') as file:
    mmap.mmap(file.fileno(), 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC)
print('mapped')
";
    let grant = |at: &str| format!("{}:{at}", written.display());
    let run = |flags: &[&str]| {
        let (read, write) = (grant("/run"), grant("/written"));
        python(script)
            .preset("strict")
            .flags(["--read", &read, "--write", &write])
            .flags(flags)
            .end()
    };
    let refused = run(&[]);
    let outcome = refused.outcome();
    assert!(matches!(outcome, Outcome::Refused { .. }), "{refused:#?}");
    let said = "what is written to /written in the jar can be run from /run";
    assert!(refused.stderr.contains(said), "{refused:#?}");
    // The control: whoever accepts that sees that it is so.
    let accepted = run(&["--best-effort", "writable_code"]).clean();
    assert_eq!(accepted.stdout, "mapped\n");
    // Where each is at its own place, what is written covers what is run.
    let read = room.path().display().to_string();
    let ended = python("print(5)")
        .preset("strict")
        .flags(["--read", &read, "--write", &written.display().to_string()])
        .end()
        .clean();
    assert_eq!(ended.stdout, "5\n");
}

#[test]
fn a_strict_program_that_lacks_a_right_is_told_which_and_runs_with_it() {
    if !need(Need::Python) {
        return;
    }
    let script =
        "import subprocess; subprocess.run([sys.executable, '-c', 'print(5)'], check=True)";
    let run = |flags: &[&str]| python(script).preset("strict").flags(flags).end();
    let failed = run(&[]);
    assert_eq!(failed.status.code(), Some(1), "{failed:#?}");
    assert!(
        failed.stderr.contains("belljar: rule exec refused"),
        "{failed:#?}"
    );
    assert!(
        failed.stderr.contains("--allow subprocesses"),
        "{failed:#?}"
    );
    let ended = run(&["--allow", "subprocesses"]).clean();
    assert_eq!(ended.stdout, "5\n");
}
