//! Each rule that a process can lay upon itself: one harmless thing that it may do before,
//! and not afterwards.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, Write as _},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::{UnixDatagram, UnixListener, UnixStream},
        process::CommandExt as _,
    },
    process::Command,
    sync::mpsc,
};

use belljar::{
    Limit, Policy, Rule, Strength,
    confine::{Confine, Status, confine},
    policy::{confine::NOT_IN_CONFINE, policy::Right},
};

use crate::{
    Test,
    acts::{
        applied, bound, code, confined, errno, for_threads, ignore_too_large, in_child, is_root,
        keeping, limited, namespace, number, personality, status,
    },
};

pub(crate) const TESTS: &[Test] = &[
    ("a_file_is_read_only_where_it_is_granted", files),
    ("what_a_file_is_to_others_stays", attributes),
    ("a_unix_socket_is_made_only_as_a_pair", sockets),
    ("a_rare_call_is_refused", syscalls),
    ("no_namespace_is_made", nesting),
    ("no_program_is_started", exec),
    ("nothing_becomes_code", writable_code),
    ("no_privilege_is_left", privileges),
    ("descriptors_lead_nowhere_and_can_be_closed", descriptors),
    ("what_is_kept_is_kept_with_the_streams", kept),
    ("a_program_that_is_started_has_what_is_kept", started),
    ("so_many_descriptors_and_no_more", open_files),
    ("so_large_a_file_and_no_larger", file_size),
    ("children_are_held_the_same", children),
    ("a_thread_from_before_is_held_by_the_filter", threads),
    ("a_program_that_cannot_be_read_is_confined", unreadable),
    (
        "what_a_thread_has_of_its_own_is_not_told_as_held",
        thread_apart,
    ),
    ("every_rule_is_told_with_what_holds_it", report),
];

const UNGRANTED: &str = "/etc/passwd";

fn files() {
    let room = tempfile::tempdir().unwrap();
    let [read, written] = ["read", "written"].map(|name| room.path().join(name));
    for path in [&read, &written] {
        fs::write(path, "x").unwrap();
    }
    let other = room.path().join("other");
    let policy = Policy::strict()
        .allow_read(read.to_str().unwrap())
        .and_then(|policy| policy.allow_path_prefix(written.to_str().unwrap()))
        .unwrap();
    fs::read(UNGRANTED).unwrap();
    fs::write(&other, "before").unwrap();
    confined(&policy);
    errno(fs::read(UNGRANTED), libc::EACCES);
    errno(fs::read(&other), libc::EACCES);
    errno(fs::read_dir(room.path()).map(drop), libc::EACCES);
    errno(fs::write(room.path().join("new"), "x"), libc::EACCES);
    errno(fs::remove_file(&other), libc::EACCES);
    errno(fs::rename(&other, &written), libc::EACCES);
    errno(fs::write(&read, "y"), libc::EACCES);
    assert_eq!(fs::read(&read).unwrap(), b"x");
    fs::write(&written, "y").unwrap();
    assert_eq!(fs::read(&written).unwrap(), b"y");
    // What the promise leaves out, as the report says: that it is there can be seen.
    assert_eq!(fs::metadata(&other).unwrap().len(), 6);
}

fn attributes() {
    let room = tempfile::tempdir().unwrap();
    let file = room.path().join("f");
    fs::write(&file, "x").unwrap();
    let policy = Policy::strict()
        .allow_path_prefix(file.to_str().unwrap())
        .unwrap();
    let open = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode));
    let owner = fs::metadata(&file).map(|found| std::os::unix::fs::MetadataExt::uid(&found));
    let own = owner.unwrap();
    open(0o600).unwrap();
    chown(&file, Some(own), None).unwrap();
    confined(&policy);
    errno(open(0o666), libc::EPERM);
    errno(chown(&file, Some(own), None), libc::EPERM);
    fs::write(&file, "still written").unwrap();
}

fn sockets() {
    let room = tempfile::tempdir().unwrap();
    let at = room.path().join("s");
    let policy = Policy::strict()
        .allow_path_prefix(room.path().to_str().unwrap())
        .unwrap();
    let listener = UnixListener::bind(&at).unwrap();
    UnixStream::connect(&at).unwrap();
    UnixDatagram::unbound().unwrap();
    let kept = keeping(&policy, &listener);
    applied(kept.apply());
    errno(UnixStream::connect(&at), libc::EPERM);
    errno(UnixDatagram::unbound(), libc::EPERM);
    errno(UnixDatagram::pair(), libc::EPERM);
    let (mut one, mut other) = UnixStream::pair().unwrap();
    one.write_all(b"x").unwrap();
    other.read_exact(&mut [0]).unwrap();
}

fn syscalls() {
    personality().unwrap();
    confined(&Policy::strict());
    errno(personality(), libc::EPERM);
}

fn nesting() {
    if let Err(error) = namespace() {
        println!("this machine refuses user namespaces to this user: {error}");
        return;
    }
    confined(&Policy::strict());
    errno(namespace(), libc::EPERM);
}

fn exec() {
    let run = || Command::new("/bin/true").status();
    assert!(run().unwrap().success());
    confined(&Policy::strict().allow_read("/usr").unwrap());
    errno(run(), libc::EPERM);
}

fn writable_code() {
    let file = File::open("/bin/true").unwrap();
    code(None).unwrap();
    code(Some(&file)).unwrap();
    applied(keeping(&Policy::strict(), &file).apply());
    errno(code(None), libc::EPERM);
    errno(code(Some(&file)), libc::EPERM);
}

fn privileges() {
    let empty = "0000000000000000";
    assert_eq!(status("NoNewPrivs:"), "0");
    let room = tempfile::tempdir().unwrap();
    let file = room.path().join("f");
    fs::write(&file, "x").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if is_root() {
        assert_ne!(status("CapEff:"), empty);
        // Somebody else's, which only a capability opens.
        chown(&file, Some(54_321), Some(54_321)).unwrap();
        fs::read(&file).unwrap();
    }
    // /proc is closed afterwards, and what was opened still tells.
    let mut told = File::open("/proc/thread-self/status").unwrap();
    let policy = Policy::strict().allow_read(file.to_str().unwrap()).unwrap();
    applied(keeping(&policy, &told).apply());
    errno(fs::read(&file), libc::EACCES);
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    let line = |word: &str| {
        let mut lines = text.lines();
        lines
            .find_map(|line| line.strip_prefix(word))
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(line("NoNewPrivs:"), "1");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(line(set), empty, "{set}");
    }
    if is_root() {
        assert_eq!(line("CapBnd:"), empty);
    }
}

fn descriptors() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("f");
    fs::write(&path, "secret").unwrap();
    let mut open = File::open(&path).unwrap();
    let directory = File::open(room.path()).unwrap();
    let (mut stream, mut peer) = UnixStream::pair().unwrap();
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "secret");
    confined(&Policy::strict());
    text.clear();
    drop(open.rewind());
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
    errno(stream.write_all(b"x"), libc::ENOTSOCK);
    errno(peer.read(&mut [0]), libc::ENOTSOCK);
    // Whoever owns one may close it, and nothing else took its number.
    let numbers = [number(&open), number(&directory), number(&stream)];
    drop((open, directory, stream, peer));
    let next = File::open("/dev/null").unwrap();
    assert!(numbers.contains(&number(&next)), "{numbers:?}");
}

fn kept() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"kept").unwrap();
    let policy = Policy::strict();
    let report = applied(keeping(&policy, &reader).apply());
    assert_eq!(report.kept, [number(&reader)]);
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"kept");
    // The other end was not, and what it had is gone with it.
    writer.write_all(b"lost").unwrap();
    assert_eq!(reader.read(&mut bytes).unwrap(), 0);
    println!("stdout is still there");
    for number in 0..3 {
        // SAFETY: it takes numbers, and asks alone.
        assert_ne!(unsafe { libc::fcntl(number, libc::F_GETFD) }, -1);
    }
}

fn started() {
    let start = |keep: bool| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"kept\n").unwrap();
        let script = format!("read x <&{} && test $x = kept", number(&reader));
        in_child(|| {
            let confine = match keep {
                true => keeping(&Policy::minimal(), &reader),
                false => Confine::by(&Policy::minimal()),
            };
            let came = confine.start("/bin/sh", ["-c", &script], |_, _| {});
            Err(std::io::Error::other(format!("{came:?}")))
        })
    };
    start(true).unwrap();
    assert!(start(false).is_err());
}

/// How many descriptors are to be had, of 64.
fn opened() -> usize {
    let files: Vec<File> = (0..64)
        .map_while(|_| File::open("/dev/null").ok())
        .collect();
    files.len()
}

fn open_files() {
    assert_eq!(opened(), 64);
    confined(&limited(Limit::OpenFiles, 40));
    let got = opened();
    assert!((20..=37).contains(&got), "{got}");
    let raised = rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: Some(64),
            maximum: Some(64),
        },
    );
    assert!(raised.is_err());
}

fn file_size() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("f");
    let policy = limited(Limit::FileSize, 4096)
        .allow_path_prefix(room.path().to_str().unwrap())
        .unwrap();
    ignore_too_large();
    fs::write(&path, vec![1; 8192]).unwrap();
    confined(&policy);
    errno(fs::write(&path, vec![1; 8192]), libc::EFBIG);
    assert_eq!(fs::metadata(&path).unwrap().len(), 4096);
}

fn children() {
    let read = || in_child(|| fs::read(UNGRANTED).map(drop));
    let connect = || in_child(|| UnixDatagram::unbound().map(drop));
    let shell = || Command::new("/bin/cat").arg(UNGRANTED).output().unwrap();
    read().unwrap();
    connect().unwrap();
    assert!(shell().status.success());
    let policy = Policy::strict()
        .allow(Right::Subprocesses)
        // Some program in it may ask for more.
        .best_effort(Rule::WritableCode)
        .allow_read("/usr")
        .and_then(|policy| policy.allow_read("/etc/ld.so.cache"))
        .unwrap();
    confined(&policy);
    errno(read(), libc::EACCES);
    errno(connect(), libc::EPERM);
    let said = shell();
    assert!(!said.status.success());
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("Permission denied"), "{said}");
}

fn threads() {
    let (ask, asked) = mpsc::channel::<()>();
    let (answer, answers) = mpsc::channel();
    std::thread::spawn(move || {
        while asked.recv().is_ok() {
            let kind = UnixDatagram::unbound().map(drop);
            let told = ["NoNewPrivs:", "Seccomp:"].map(status);
            answer.send((kind, told)).unwrap();
        }
    });
    ask.send(()).unwrap();
    let (before, told) = answers.recv().unwrap();
    before.unwrap();
    assert_eq!(told, ["0", "0"]);
    let policy = for_threads();
    let report = confined(&policy);
    ask.send(()).unwrap();
    let (after, told) = answers.recv().unwrap();
    errno(after, libc::EPERM);
    assert_eq!(told, ["1", "2"]);
    let strength = |rule| {
        let found = report.enforcement.iter().find(|row| row.rule == rule);
        found.unwrap().applied
    };
    assert_eq!(strength(Rule::Syscalls), Strength::Kernel);
    for rule in [Rule::Files, Rule::Descriptors, Rule::WritableCode] {
        assert_eq!(strength(rule), Strength::None, "{rule}");
    }
    // It is as the report says: files are not held, its own memory among them.
    fs::read(UNGRANTED).unwrap();
    let mut memory = File::options();
    memory.write(true).open("/proc/self/mem").unwrap();
}

/// A thread with descriptors of its own connects after all, so that no report says else.
fn thread_apart() {
    let room = tempfile::tempdir().unwrap();
    let at = room.path().join("s");
    let _listener = UnixListener::bind(&at).unwrap();
    let (go, gone) = mpsc::channel::<()>();
    let (answer, answers) = mpsc::channel();
    std::thread::spawn(move || {
        // SAFETY: it takes a number, and this thread owns no descriptor of the others.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            None,
        );
        answer.send(Ok(())).unwrap();
        gone.recv().unwrap();
        let address = rustix::net::SocketAddrUnix::new(&at).unwrap();
        let connected = rustix::net::connect(socket.unwrap(), &address);
        answer.send(connected).unwrap();
    });
    answers.recv().unwrap().unwrap();
    let report = confined(&for_threads());
    go.send(()).unwrap();
    answers.recv().unwrap().unwrap();
    let sockets = report.enforcement.iter();
    let mut sockets = sockets.filter(|row| row.rule == Rule::Sockets);
    assert_eq!(sockets.next().unwrap().applied, Strength::None);
}

/// To whoever may not read what he runs, most of /proc/self is root's.
fn unreadable() {
    let own = std::env::current_exe().unwrap();
    if File::open(&own).is_err() {
        fs::read(UNGRANTED).unwrap();
        confined(&Policy::strict());
        errno(fs::read(UNGRANTED), libc::EACCES);
        return;
    }
    let room = tempfile::tempdir().unwrap();
    let copy = room.path().join("own");
    fs::copy(&own, &copy).unwrap();
    for (path, mode) in [
        (copy.as_path(), 0o111),
        (room.path(), 0o755),
        (&std::env::temp_dir(), 0o755),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut again = Command::new(&copy);
    again.args([
        "--in-this-process",
        "a_program_that_cannot_be_read_is_confined",
    ]);
    if is_root() {
        again.uid(54_321).gid(54_321);
    }
    let out = again.output().unwrap();
    assert!(out.status.success(), "{out:?}");
}

fn report() {
    let policy = Policy::strict()
        .limit(Limit::FileSize, bound(1 << 20))
        .and_then(|policy| policy.allow_read("/usr/share"))
        .unwrap();
    let report = confined(&policy);
    let told: Vec<Rule> = report.enforcement.iter().map(|row| row.rule).collect();
    assert_eq!(told, Rule::ALL);
    for row in &report.enforcement {
        assert_eq!(row.applied, row.planned.strength, "{row:?}");
        let in_confine = row.planned.mechanism != NOT_IN_CONFINE;
        assert_eq!(in_confine, row.applied == Strength::Kernel, "{row:?}");
        assert_eq!(in_confine, row.requested == Strength::Kernel, "{row:?}");
    }
    let landlock = report.landlock.unwrap();
    assert_eq!(landlock.applied, landlock.planned);
    assert_eq!(report.grants[0].path.escaped(), "/usr/share");
    // Once more it cannot be: the process no longer sees what it is.
    let again = confine(&policy);
    assert!(!matches!(again, Ok(Status::Applied(_))), "{again:?}");
}
