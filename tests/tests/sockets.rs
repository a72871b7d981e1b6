//! Unix sockets: none of the machine's is reached but by grant, whatever
//! directory is granted, and a jar's own work as ever.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::ErrorKind,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
};

use belljar_plan::{Rule, Strength};
use belljar_tests::{Ended, Need, jar, need};
use tempfile::TempDir;

/// A directory with a socket of the machine on which somebody listens.
struct Machine {
    room: TempDir,
    listener: UnixListener,
}

impl Machine {
    fn new() -> Self {
        let room = tempfile::tempdir().expect("a directory");
        // The jar's user must get there, so that only Belljar is in the way.
        fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        let path = room.path().join("machine.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("its mode");
        listener.set_nonblocking(true).expect("a listener");
        Self { room, listener }
    }

    fn directory(&self) -> &Path {
        self.room.path()
    }

    fn socket(&self) -> PathBuf {
        self.room.path().join("machine.sock")
    }

    fn nobody_came(&self) {
        let came = self.listener.accept();
        assert!(
            came.as_ref()
                .is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
            "{came:?}"
        );
    }
}

const HELPERS: &str = "
import os, socket, struct, sys, threading, array
directory = sys.argv[1]
def connect(path, kind=socket.SOCK_STREAM):
    s = socket.socket(socket.AF_UNIX, kind)
    s.connect(path)
    return s
def attempt(name, what):
    try: what(); print(name, 'done')
    except OSError as error: print(name, error.strerror)
";

fn python(script: &str, machine: &Machine) -> belljar_tests::Jar {
    jar().program([
        "/usr/bin/python3".as_ref(),
        "-c".as_ref(),
        format!("{HELPERS}{script}").as_ref(),
        machine.directory().as_os_str(),
    ])
}

fn mechanism(ended: &Ended) -> &str {
    let rules = &ended.report().enforcement;
    let rule = rules.iter().find(|rule| rule.rule == Rule::Sockets);
    let rule = rule.expect("every rule is reported");
    assert_eq!(rule.applied, Strength::Kernel, "{rule:?}");
    &rule.planned.mechanism
}

#[test]
fn a_socket_of_the_machine_in_a_granted_directory_is_not_reached() {
    if !need(Need::Python) {
        return;
    }
    let machine = Machine::new();
    let script = "
target = directory + '/machine.sock'
attempt('stream', lambda: connect(target))
attempt('seqpacket', lambda: connect(target, socket.SOCK_SEQPACKET))
attempt('datagram', lambda: connect(target, socket.SOCK_DGRAM))
attempt('pair', lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
os.chdir(directory)
attempt('relative', lambda: connect('machine.sock'))
attempt('up and down', lambda: connect(directory + '/../' + os.path.basename(directory) + '/machine.sock'))
os.symlink(target, '/tmp/link')
attempt('link', lambda: connect('/tmp/link'))
one = socket.socket(socket.AF_UNIX)
two = os.dup(one.fileno())
one.setblocking(False)
attempt('not blocking', lambda: one.connect(target))
";
    for grant in ["--read", "--write"] {
        for preset in ["standard", "strict"] {
            let ended = python(script, &machine)
                .preset(preset)
                .flags([grant.as_ref(), machine.directory().as_os_str()])
                .end()
                .clean();
            let said: Vec<&str> = ended.stdout.lines().collect();
            assert_eq!(said.len(), 8, "{ended:#?}");
            assert!(
                said.iter()
                    .all(|line| line.ends_with("Operation not permitted")),
                "{ended:#?}"
            );
            assert!(
                mechanism(&ended).starts_with("notify+perform"),
                "{ended:#?}"
            );
            let rows = &ended.report().violations;
            let seen = rows
                .iter()
                .find(|row| row.syscall == "connect")
                .expect("a row");
            assert_eq!(seen.rule, Rule::Sockets);
            let path = format!("path={}", machine.socket().display());
            assert_eq!(seen.arguments, [path]);
            machine.nobody_came();
        }
    }
    // In minimal the machine's files can be seen, those made later too.
    let script = "
print('ready', flush=True)
sys.stdin.read()
attempt('hidden', lambda: connect(directory + '/machine.sock'))
attempt('made later', lambda: connect(directory + '/later.sock'))
";
    let mut started = python(script, &machine)
        .preset("minimal")
        .input_open()
        .start();
    started.wait_for("ready");
    let later = machine.directory().join("later.sock");
    let listener = UnixListener::bind(&later).expect("a socket");
    fs::set_permissions(&later, fs::Permissions::from_mode(0o777)).expect("its mode");
    listener.set_nonblocking(true).expect("a listener");
    started.close_input();
    let ended = started.end().clean();
    assert_eq!(
        ended.stdout, "ready\nhidden Connection refused\nmade later Operation not permitted\n",
        "{ended:#?}"
    );
    machine.nobody_came();
    assert!(listener.accept().is_err());
}

/// What a sibling thread does to the address meanwhile changes nothing: it is
/// copied once, and the socket that was found is the one that is connected to.
#[test]
fn an_address_that_is_flipped_meanwhile_never_leads_to_the_machine() {
    if !need(Need::Python) {
        return;
    }
    let machine = Machine::new();
    let script = "
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
own = socket.socket(socket.AF_UNIX); own.bind('/tmp/own.sock'); own.listen(4096)
def address(path): return struct.pack('H', 1) + path.encode().ljust(108, b'\\0')
good, bad = address('/tmp/own.sock'), address(directory + '/machine.sock')
memory = ctypes.create_string_buffer(110)
stop = False
def flip():
    while not stop:
        ctypes.memmove(memory, bad, 110)
        ctypes.memmove(memory, good, 110)
thread = threading.Thread(target=flip); thread.start()
done = denied = 0
for _ in range(2000):
    s = socket.socket(socket.AF_UNIX)
    if libc.connect(s.fileno(), memory, 110) == 0: done += 1
    else: denied += 1
    s.close()
stop = True; thread.join()
print(done > 0, denied > 0, done + denied)
";
    let ended = python(script, &machine)
        .flags(["--read".as_ref(), machine.directory().as_os_str()])
        .end()
        .clean();
    assert!(ended.stdout.ends_with(" 2000\n"), "{ended:#?}");
    machine.nobody_came();
}

/// A socket that was put where another was while the jar looks at a path.
#[test]
fn a_path_that_is_swapped_meanwhile_never_leads_to_the_machine() {
    if !need(Need::Python) {
        return;
    }
    let machine = Machine::new();
    let script = "
own = socket.socket(socket.AF_UNIX); own.bind('/tmp/own.sock'); own.listen(4096)
os.symlink('/tmp/own.sock', '/tmp/a'); os.symlink(directory + '/machine.sock', '/tmp/b')
import ctypes
libc = ctypes.CDLL(None)
stop = False
def swap():
    while not stop: libc.renameat2(-100, b'/tmp/a', -100, b'/tmp/b', 2)
thread = threading.Thread(target=swap); thread.start()
ends = set()
for _ in range(1000):
    try: connect('/tmp/a').close(); ends.add('done')
    except OSError as error: ends.add(error.strerror)
stop = True; thread.join()
print(sorted(ends))
";
    let ended = python(script, &machine)
        .flags(["--read".as_ref(), machine.directory().as_os_str()])
        .end()
        .clean();
    assert!(ended.stdout.contains("done"), "{ended:#?}");
    machine.nobody_came();
}

#[test]
fn a_jar_s_own_sockets_work_beside_a_granted_directory() {
    if !need(Need::Python) {
        return;
    }
    let machine = Machine::new();
    let script = "
server = socket.socket(socket.AF_UNIX); server.bind('/tmp/own.sock'); server.listen(1)
client = connect('/tmp/own.sock')
peer, _ = server.accept()
client.sendall(b'hello'); print(peer.recv(5))
# Who connects is the guest's own user, as if nobody stood between.
pid, uid, gid = struct.unpack('3i', peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
print((uid, gid) == (os.getuid(), os.getgid()))
named = socket.socket(socket.AF_UNIX); named.bind('\\0own'); named.listen(1); connect('\\0own')
attempt('nobody', lambda: connect('/tmp/nothing.sock'))
attempt('no socket', lambda: connect('/etc/passwd'))
attempt('no name', lambda: connect('\\0nothing'))
web = socket.socket(); web.bind(('127.0.0.1', 0)); web.listen(1)
socket.create_connection(web.getsockname())
attempt('refused', lambda: socket.create_connection(('127.0.0.1', 1)))
six = socket.socket(socket.AF_INET6); six.bind(('::1', 0)); six.listen(1)
socket.create_connection(six.getsockname()[:2])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.connect(('127.0.0.1', 9))
one, two = socket.socketpair()
attempt('again', lambda: one.connect('/tmp/own.sock'))
attempt('no descriptor', lambda: os.close(97))
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def raw(fd, address, length):
    return 0 if libc.connect(fd, address, length) == 0 else os.strerror(ctypes.get_errno())
print(raw(97, b'', 0), raw(0, b'ab', 2), raw(client.fileno(), None, 16), raw(client.fileno(), b'', -1))
";
    let ended = python(script, &machine)
        .flags(["--write".as_ref(), machine.directory().as_os_str()])
        .end()
        .clean();
    let expected = "b'hello'\nTrue\nnobody No such file or directory\nno socket Connection refused\n\
        no name Connection refused\nrefused Connection refused\n\
        again Transport endpoint is already connected\nno descriptor Bad file descriptor\n\
        Bad file descriptor Socket operation on non-socket Bad address Invalid argument\n";
    assert_eq!(ended.stdout, expected, "{ended:#?}");
}

#[test]
fn a_socket_that_is_granted_by_its_own_path_is_reached_as_the_guest() {
    if !need(Need::Python) {
        return;
    }
    let machine = Machine::new();
    let script = "connect(directory + '/machine.sock').sendall(b'hello')";
    let ended = python(script, &machine)
        .flags(["--write".as_ref(), machine.socket().as_os_str()])
        .end()
        .clean();
    assert!(mechanism(&ended).starts_with("notify+perform"));
    let (stream, _) = machine.listener.accept().expect("somebody came");
    let peer = rustix::net::sockopt::socket_peercred(&stream).expect("who came");
    // No right of the supervisor's is lent.
    if belljar_tests::is_root() {
        assert_ne!(peer.uid.as_raw(), 0, "{peer:?}");
    } else {
        assert_eq!(peer.uid, rustix::process::geteuid());
    }
}

/// The supervisor connects, so it is the peer: a guest must not hold it by that.
#[test]
fn whoever_connects_in_a_guest_s_stead_is_not_a_task_that_the_guest_can_hold() {
    if !need(Need::Python) {
        return;
    }
    let machine = Machine::new();
    let script = "
server = socket.socket(socket.AF_UNIX); server.bind('/tmp/own.sock'); server.listen(1)
client = connect('/tmp/own.sock')
peer, _ = server.accept()
attempt('peer', lambda: peer.getsockopt(socket.SOL_SOCKET, 77))
attempt('passed', lambda: peer.setsockopt(socket.SOL_SOCKET, 76, 1))
";
    for preset in ["standard", "strict"] {
        let ended = python(script, &machine)
            .preset(preset)
            .flags(["--read".as_ref(), machine.directory().as_os_str()])
            .end()
            .clean();
        let expected = "peer Protocol not available\npassed Protocol not available\n";
        assert_eq!(ended.stdout, expected, "{ended:#?}");
    }
}

#[test]
fn a_refused_connect_that_ends_the_jar_is_never_answered() {
    if !need(Need::Python) {
        return;
    }
    let machine = Machine::new();
    let script = "
attempt('own', lambda: connect('/tmp/nothing'))
sys.stdout.flush()
try: connect(directory + '/machine.sock')
finally: os.write(1, b'answered')
";
    let ended = python(script, &machine)
        .flags(["--end-on", "sockets", "--read"])
        .flags([machine.directory()])
        .end();
    let outcome = belljar_plan::Outcome::Violation {
        rule: Rule::Sockets,
    };
    assert_eq!(ended.outcome(), &outcome, "{ended:#?}");
    assert_eq!(ended.stdout, "own No such file or directory\n");
    machine.nobody_came();
}

/// Many that wait for one socket hold up none that does not wait.
#[test]
fn a_connect_that_does_not_wait_is_made_while_others_wait() {
    if !need(Need::Python) {
        return;
    }
    let machine = Machine::new();
    let script = "
import time
full = socket.socket(socket.AF_UNIX); full.bind('/tmp/full'); full.listen(0)
connect('/tmp/full')
for _ in range(40): threading.Thread(target=connect, args=['/tmp/full'], daemon=True).start()
time.sleep(0.5)
other = socket.socket(socket.AF_UNIX); other.bind('/tmp/other'); other.listen(1)
quick = socket.socket(socket.AF_UNIX); quick.setblocking(False)
attempt('quick', lambda: quick.connect('/tmp/other'))
attempt('full', lambda: quick.connect('/tmp/full'))
sys.stdout.flush()
os._exit(0)
";
    let ended = python(script, &machine)
        .flags(["--wall", "20s", "--read"])
        .flags([machine.directory()])
        .end()
        .clean();
    assert!(ended.stdout.starts_with("quick done\nfull "), "{ended:#?}");
}

#[test]
fn a_policy_that_lets_connect_through_gives_the_rule_up() {
    let machine = Machine::new();
    let room = tempfile::tempdir().expect("a directory");
    let policy = room.path().join("policy.toml");
    fs::write(&policy, "[seccomp]\nallow = ['connect']\n").expect("a policy");
    let ended = jar()
        .flags(["--policy".as_ref(), policy.as_os_str()])
        .flags(["--read".as_ref(), machine.directory().as_os_str()])
        .program(["true"])
        .end();
    let refused = matches!(ended.outcome(), belljar_plan::Outcome::Refused { .. });
    assert!(refused, "{ended:#?}");
    assert!(
        ended
            .stderr
            .contains("the policy's [seccomp] allow gives it up"),
        "{ended:#?}"
    );
}

#[test]
fn with_no_directory_granted_sockets_are_as_ever() {
    if !need(Need::Python) {
        return;
    }
    let machine = Machine::new();
    let script = "
one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
one.send(b'x'); print(two.recv(1))
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); server.bind('/tmp/own.sock')
client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); client.sendto(b'y', '/tmp/own.sock')
print(server.recv(1))
attempt('machine', lambda: connect(directory + '/machine.sock'))
";
    let ended = python(script, &machine).end().clean();
    assert_eq!(
        ended.stdout,
        "b'x'\nb'y'\nmachine No such file or directory\n"
    );
    assert!(mechanism(&ended).contains("no path is shown"), "{ended:#?}");
    machine.nobody_came();
}

/// The control: without Belljar in the way the very same script gets there.
#[test]
fn the_same_connect_reaches_the_machine_without_a_jar() {
    if !need(Need::Python) {
        return;
    }
    let machine = Machine::new();
    let output = belljar_tests::output(
        std::process::Command::new("/usr/bin/python3")
            .arg("-c")
            .arg(format!(
                "{HELPERS}attempt('stream', lambda: connect(directory + '/machine.sock'))"
            ))
            .arg(machine.directory()),
    );
    assert_eq!(output.stdout, b"stream done\n", "{output:?}");
    assert!(machine.listener.accept().is_ok());
}
