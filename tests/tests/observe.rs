//! A jar that is observed: what its calls name is told, and nothing else is
//! different, whatever the guest does meanwhile.
#![cfg(target_os = "linux")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use belljar_plan::{
    Limit, Outcome,
    observation::{Intent, Observation, Observations},
};
use belljar_tests::{Ended, Need, is_root, jar, need};

/// Makes calls that a python program would not.
const CALLS: &str = "
import ctypes, errno, os, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        return errno.errorcode[ctypes.get_errno()]
    return 'done'
OPEN, CHMOD, UNSHARE, BPF, IO_URING, CLONE3, OPENAT2 = 2, 90, 272, 321, 425, 435, 437
";

fn python(script: &str) -> belljar_tests::Jar {
    jar().program(["/usr/bin/python3", "-c", &format!("{CALLS}{script}")])
}

fn observed(ended: &Ended) -> &Observations {
    let observations = ended.report().observations.as_ref();
    observations.unwrap_or_else(|| panic!("not observed: {ended:#?}"))
}

fn row<'a>(ended: &'a Ended, intent: Intent, name: &str) -> &'a Observation {
    let rows = &observed(ended).rows;
    rows.iter()
        .find(|row| row.intent == intent && row.name.0 == name.as_bytes())
        .unwrap_or_else(|| panic!("no {intent:?} of {name}: {rows:#?}"))
}

#[test]
fn what_a_program_names_is_told_with_what_it_was_for() {
    if !need(Need::Python) {
        return;
    }
    let script = "
os.path.exists('/etc/nowhere')
os.chdir('/tmp')
open('made', 'w').close()
open('made').close()
os.rename('made', './other')
os.unlink('/tmp//other')
directory = os.open('/usr/bin', os.O_RDONLY)
try: os.open('env', os.O_WRONLY, dir_fd=directory)
except OSError: pass
os.spawnv(os.P_WAIT, '/usr/bin/true', ['true'])
try: socket.create_connection(('192.0.2.1', 443), 1)
except OSError: pass
try: socket.socket(socket.AF_UNIX).connect(b'\\0bus')
except OSError: pass
try: os.listdir(b'/a\\n\\xff')
except OSError: pass
";
    let ended = python(script).flags(["--observe"]).end().clean();
    for (intent, name, count) in [
        (Intent::Look, "/etc/nowhere", 1),
        (Intent::Create, "/tmp/made", 1),
        (Intent::Read, "/tmp/made", 1),
        (Intent::Remove, "/tmp/made", 1),
        (Intent::Create, "/tmp/other", 1),
        (Intent::Remove, "/tmp/other", 1),
        (Intent::Write, "/usr/bin/env", 1),
        (Intent::Execute, "/usr/bin/true", 1),
        (Intent::Connect, "192.0.2.1:443", 1),
        (Intent::Connect, "unix:@bus", 1),
    ] {
        let row = row(&ended, intent, name);
        assert_eq!((row.count, &row.answer), (count, &None), "{row:?}");
        assert!(row.pid > 0);
    }
    // Whatever bytes a name has, it stays what it is and forges nothing.
    let odd = observed(&ended)
        .rows
        .iter()
        .find(|row| row.name.0 == b"/a\n\xff");
    assert!(odd.is_some(), "{ended:#?}");
    let report = ended.report();
    assert!(
        report.notes.iter().any(|note| note.contains("--observe")),
        "{:?}",
        report.notes
    );
    assert!(report.weakenings.is_empty(), "{:?}", report.weakenings);
    assert_eq!(observed(&ended).unlisted, 0);
}

#[test]
fn an_observed_run_is_allowed_and_denied_what_an_unobserved_one_is() {
    if !need(Need::Python) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    let script = format!(
        "
made = ctypes.c_char_p(b'/tmp/made')
secret = ctypes.c_char_p(b'{0}/secret')
print(call(UNSHARE, 0x10000000), call(BPF, 0, 0, 0), call(IO_URING, 1, 0))
print(call(CLONE3, 0, 0), call(OPENAT2, 0, 0, 0, 0), call(999))
print(call(OPEN, made, 0o102, 0o644), call(OPEN, secret, 0), call(CHMOD, made, 0o4755))
print(call(OPEN, made, 0o102, 0o4755), call(OPEN, ctypes.c_void_p(8), 0))
try: print(os.fork() and os.wait()[1])
except OSError as error: print(error.errno)
for family, kind in (1, 1), (1, 2), (2, 1), (2, 3), (38, 5):
    try: print(socket.socket(family, kind) and 'a socket')
    except OSError as error: print(error.errno)
try: print(os.spawnv(os.P_WAIT, '/usr/bin/true', ['true']))
except OSError as error: print(error.errno)
",
        room.path().display()
    );
    fs::write(room.path().join("secret"), "of the machine").expect("a file");
    for preset in ["minimal", "standard", "strict"] {
        let run = |flags: &[&str]| python(&script).preset(preset).flags(flags).end();
        let (with, without) = (run(&["--observe"]), run(&[]));
        assert_eq!(with.stdout, without.stdout, "{preset}");
        assert_eq!(with.outcome(), without.outcome(), "{preset}");
        let told = |ended: &Ended| {
            let rows = ended.report().violations.iter();
            rows.map(|row| (row.rule, row.syscall.clone(), row.answer.clone(), row.count))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&with), told(&without), "{preset}");
        assert_eq!(with.report().denials.told, without.report().denials.told);
        assert_eq!(
            with.report().enforcement,
            without.report().enforcement,
            "{preset}"
        );
        assert_eq!(without.report().observations, None);
        // What fails without an event is noted by its name and answer.
        let quiet = row(&with, Intent::Call, "io_uring_setup");
        assert_eq!(quiet.answer.as_deref(), Some("ENOSYS"));
        assert_eq!(
            row(&with, Intent::Call, "syscall_999").answer.as_deref(),
            Some("ENOSYS")
        );
        assert!(observed(&with).unread >= 1, "{preset}");
        if preset == "strict" {
            let refused = row(&with, Intent::Execute, "/usr/bin/true");
            assert_eq!(refused.answer.as_deref(), Some("EPERM"));
        }
    }
}

#[test]
fn a_guest_that_flips_a_path_meanwhile_gets_only_what_the_kernel_gives() {
    if !need(Need::Python) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    let secret = room.path().join("secret");
    fs::write(&secret, "of the machine").expect("a file");
    let harmless = format!("/tmp/{}", "x".repeat(secret.as_os_str().len() - 5));
    let script = format!(
        "
harmless, secret = b'{harmless}', b'{}'
open(harmless, 'w').close()
path = ctypes.create_string_buffer(harmless)
ended = False
def flip():
    while not ended:
        ctypes.memmove(path, secret, len(secret))
        ctypes.memmove(path, harmless, len(harmless))
flipper = threading.Thread(target=flip)
flipper.start()
results = {{}}
libc.open.argtypes = [ctypes.c_void_p, ctypes.c_int]
for _ in range(3000):
    fd = libc.open(ctypes.addressof(path), 0)
    if fd < 0: found = errno.errorcode[ctypes.get_errno()]
    else:
        found = os.read(fd, 100)
        os.close(fd)
    results[found] = results.get(found, 0) + 1
ended = True
flipper.join()
print(results)
",
        secret.display()
    );
    let ended = python(&script).flags(["--observe"]).end().clean();
    // The harmless one is empty, and the other is not there.
    assert!(ended.stdout.contains("b''"), "{ended:#?}");
    assert!(!ended.stdout.contains("machine"), "{ended:#?}");
    let known: u64 = observed(&ended)
        .rows
        .iter()
        .filter(|row| row.syscall == "open" || row.syscall == "openat")
        .map(|row| row.count)
        .sum();
    assert!(known >= 3000, "{ended:#?}");
}

#[test]
fn a_flood_of_names_is_bounded_in_the_report_and_holds_up_no_limit() {
    if !need(Need::Python) {
        return;
    }
    let script = "
print('begun', flush=True)
at = 0
def flood(number):
    at = 0
    while True:
        try: os.stat('/' + str(number) + '/' + str(at) + 'x' * (at % 3000))
        except OSError: pass
        at += 1
for number in range(4): threading.Thread(target=flood, args=[number], daemon=True).start()
while True: call(BPF, 0, 0, 0)
";
    let begun = Instant::now();
    let ended = python(script).flags(["--observe", "--wall", "3s"]).end();
    let took = begun.elapsed();
    assert_eq!(ended.outcome(), &Outcome::Limit { limit: Limit::Wall });
    assert!(took < Duration::from_secs(20), "{took:?}");
    let seen = observed(&ended);
    assert!(seen.rows.len() <= 4096, "{}", seen.rows.len());
    let bytes: usize = seen.rows.iter().map(|row| row.name.0.len()).sum();
    assert!(bytes <= 1 << 20, "{bytes}");
    assert!(seen.unlisted > 0, "{ended:#?}");
    // Denied calls have their turn as well.
    assert!(ended.report().denials.told > 100, "{ended:#?}");
}

#[test]
fn a_guest_that_dies_while_it_is_looked_at_leaves_nothing_and_takes_nothing_along() {
    if !need(Need::Python) {
        return;
    }
    let script = "
import signal
for round in range(150):
    child = os.fork()
    if child == 0:
        for _ in range(3): threading.Thread(target=lambda: [os.stat('/tmp') for _ in iter(int, 1)]).start()
        for at in iter(int, 1): os.stat('/tmp')
    if round % 2: time.sleep(0.003)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
# One thread waits while another ends them all.
for _ in range(100):
    child = os.fork()
    if child == 0:
        threading.Thread(target=lambda: [os.stat('/tmp') for _ in iter(int, 1)], daemon=True).start()
        os.stat('/tmp')
        os._exit(0)
    os.waitpid(child, 0)
print('done')
";
    let ended = python(script).flags(["--observe"]).end().clean();
    assert_eq!(ended.stdout, "done\n");
    assert_eq!(ended.outcome(), &Outcome::Exited { code: 0 });
}

/// What may be connected to is looked at twice: once to be told, and once by
/// the one who connects.
#[test]
fn a_performed_connect_is_told_and_performed_the_same() {
    if !need(Need::Python) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o777)).expect("a mode");
    let path = room.path().join("socket");
    let _listening = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("a mode");
    let script = format!(
        "
def connect(path):
    try: socket.socket(socket.AF_UNIX).connect(path)
    except OSError as error: return errno.errorcode[error.errno]
    return 'done'
print(connect('{0}'), connect('/tmp/nowhere'))
",
        path.display()
    );
    let granted = path.to_str().expect("text").to_owned();
    let directory = room.path().to_str().expect("text").to_owned();
    for (grant, answers) in [(granted, "done ENOENT\n"), (directory, "EPERM ENOENT\n")] {
        let ended = python(&script)
            .flags(["--observe", "--read", &grant])
            .end()
            .clean();
        assert_eq!(ended.stdout, answers, "{ended:#?}");
        let name = format!("unix:{}", path.display());
        assert_eq!(row(&ended, Intent::Connect, &name).count, 1);
    }
}

#[test]
fn a_plugin_is_observed_from_its_first_call_as_root_and_as_a_user() {
    if !need(Need::Python) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::write(
        room.path().join("belljar.toml"),
        "[plugin]\nname = \"it\"\nversion = \"1.0.0\"\nentry = \"it.py\"\n",
    )
    .expect("a manifest");
    let entry = room.path().join("it.py");
    let script = "#!/usr/bin/python3\nopen('/home/plugin/.it.conf')\n";
    fs::write(&entry, script).expect("a script");
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o755)).expect("a mode");
    let ended = jar().plugin(room.path(), &[]).flags(["--observe"]).end();
    assert_eq!(
        ended.outcome(),
        &Outcome::Exited { code: 1 },
        "root: {}",
        is_root()
    );
    row(&ended, Intent::Read, "/home/plugin/.it.conf");
    assert!(
        observed(&ended)
            .rows
            .iter()
            .any(|row| row.name.0.ends_with(b"/libc.so.6")),
        "{ended:#?}"
    );
}

#[test]
fn a_flood_of_denied_calls_hides_no_violation_from_who_ends_the_jar() {
    if !need(Need::Python) {
        return;
    }
    // Those who asked are gone before anybody answers; what comes after them must
    // not wait behind them.
    let script = "
def hammer():
    for _ in range(3): libc.sethostname(b'x', 1)
until = time.time() + 4
while time.time() < until:
    if os.fork() == 0:
        try:
            for _ in range(100): threading.Thread(target=hammer, daemon=True).start()
        except RuntimeError: pass
        os._exit(0)
    os.wait()
threading.Thread(target=lambda: libc.ptrace(0, 0, 0, 0), daemon=True).start()
time.sleep(3)
os._exit(0)
";
    let ended = python(script)
        .flags(["--observe", "--end-on", "tasks"])
        .end();
    let outcome = &ended.report().outcome;
    assert_eq!(
        *outcome,
        Outcome::Violation {
            rule: belljar_plan::Rule::Tasks
        }
    );
}
