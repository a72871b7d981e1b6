//! Attacks by unix sockets of the machine: a real one, of the test's own, lies in
//! a granted directory, and the test sees from outside whether anybody came.

use std::{
    os::unix::net::{UnixDatagram, UnixListener},
    path::PathBuf,
};

use belljar_tests::{bare, both_presets, jar};
use tempfile::TempDir;

use crate::outside::Companion;

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

    /// Whether anybody connected or sent anything since this was last asked.
    fn were_reached(&self) -> bool {
        let mut reached = false;
        while self.listener.accept().is_ok() || self.receiver.recv(&mut [0]).is_ok() {
            reached = true;
        }
        reached
    }
}

fn not_reached_in_a_grant(attack: &str, socket: &str) {
    let sockets = Sockets::new();
    bare([attack.as_ref(), sockets.place(socket).as_os_str()]).escapes();
    assert!(sockets.were_reached());
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
    bare(["race_pathname", &place, "100000"]).escapes();
    assert!(sockets.were_reached());
    both_presets(|preset| {
        let ended = jar()
            .preset(preset)
            .flags(["--write", &place])
            .guest("race_pathname", [&place, "100000"])
            .end();
        assert!(!sockets.were_reached(), "{ended:#?}");
        ended.stopped();
    });
}

#[test]
pub(crate) fn abstract_names_with_a_nul_are_not_reached() {
    let name = format!("belljar-test-odd-{}", std::process::id());
    let _holder = Companion::new(["hold_odd_names", &name]);
    bare(["connect_odd_abstract", &name]).escapes();
    both_presets(|preset| {
        jar()
            .preset(preset)
            .guest("connect_odd_abstract", [&name])
            .stops();
    });
}
