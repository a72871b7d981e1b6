//! Attacks by unix sockets of the machine: a real one, of the test's own, lies in
//! a granted directory, and the test sees from outside whether anybody came.

use std::{
    io::Read,
    os::unix::net::{UnixDatagram, UnixListener},
    path::PathBuf,
    process::{Command, Stdio},
};

use belljar_tests::{bare, both_presets, guest, jar, spawn};
use tempfile::TempDir;

/// Sockets of the machine in a directory: `s` listens, `t` takes datagrams.
struct Sockets {
    room: TempDir,
    listener: UnixListener,
    receiver: UnixDatagram,
}

impl Sockets {
    fn new() -> Self {
        let room = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(room.path().join("s")).expect("a listener");
        let receiver = UnixDatagram::bind(room.path().join("t")).expect("a receiver");
        listener.set_nonblocking(true).expect("its mode");
        receiver.set_nonblocking(true).expect("its mode");
        Self {
            room,
            listener,
            receiver,
        }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// Whether anybody connected or sent anything.
    fn were_reached(&self) -> bool {
        self.listener.accept().is_ok() || self.receiver.recv(&mut [0]).is_ok()
    }
}

fn not_reached_in_a_grant(attack: &str, socket: &str) {
    let sockets = Sockets::new();
    both_presets(|preset| {
        for grant in ["--read", "--write"] {
            let ended = jar()
                .preset(preset)
                .flags([grant.as_ref(), sockets.room.path().as_os_str()])
                .guest(attack, [sockets.place(socket)])
                .end();
            assert!(!sockets.were_reached(), "{grant}: {ended:#?}");
            ended.stopped();
        }
    });
    bare([attack.as_ref(), sockets.place(socket).as_os_str()]).escapes();
    assert!(sockets.were_reached());
}

#[test]
pub(crate) fn socket_in_a_granted_directory_is_not_reached() {
    not_reached_in_a_grant("connect_pathname", "s");
}

#[test]
pub(crate) fn datagram_socket_in_a_granted_directory_gets_nothing() {
    not_reached_in_a_grant("send_to_pathname", "t");
}

#[test]
pub(crate) fn address_that_changes_reaches_nothing() {
    let sockets = Sockets::new();
    let place = sockets.room.path().to_string_lossy().into_owned();
    both_presets(|preset| {
        let ended = jar()
            .preset(preset)
            .flags(["--write", &place])
            .guest("race_pathname", [&place, "100000"])
            .end();
        assert!(!sockets.were_reached(), "{ended:#?}");
        ended.stopped();
    });
    bare(["race_pathname", &place, "100000"]).escapes();
    assert!(sockets.were_reached());
}

#[test]
pub(crate) fn abstract_names_with_a_nul_are_not_reached() {
    let name = format!("belljar-test-odd-{}", std::process::id());
    let mut holder = spawn(
        Command::new(guest())
            .args(["hold_odd_names", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped()),
    );
    let mut said = [0; 5];
    let stdout = holder.stdout.as_mut().expect("a pipe");
    stdout.read_exact(&mut said).expect("a word");
    both_presets(|preset| {
        jar()
            .preset(preset)
            .guest("connect_odd_abstract", [&name])
            .stops();
    });
    bare(["connect_odd_abstract", &name]).escapes();
    drop(holder.stdin.take());
    drop(holder.wait());
}
