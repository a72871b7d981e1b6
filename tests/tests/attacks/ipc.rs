//! Attacks on what tasks share, between a jar and the machine. Between two
//! jars: see `siblings`.

use std::{io::Write, net::TcpListener};

use belljar_tests::{bare, both_presets, guest, jar};

use crate::outside::Companion;

/// A task of the machine that holds objects of every kind.
pub(crate) struct Holder {
    _companion: Companion,
    pub(crate) key: String,
    pub(crate) name: String,
}

impl Holder {
    pub(crate) fn new(number: u32) -> Self {
        let (key, name) = names(number);
        Self {
            _companion: Companion::new(["hold", &key, &name]),
            key,
            name,
        }
    }
}

/// A key and a name that no other test uses, in this or another process.
pub(crate) fn names(number: u32) -> (String, String) {
    let own = std::process::id() % 100_000;
    (
        (726_200_000 + own)
            .wrapping_add(number * 100_000)
            .to_string(),
        format!("belljar-test-{own}-{number}"),
    )
}

#[test]
pub(crate) fn sysv_objects_are_not_found() {
    let holder = Holder::new(1);
    both_presets(|preset| {
        jar()
            .preset(preset)
            .guest("find_sysv", [&holder.key])
            .stops();
    });
    bare(["find_sysv", &holder.key]).escapes();
}

#[test]
pub(crate) fn message_queue_is_not_found() {
    let holder = Holder::new(2);
    both_presets(|preset| {
        jar()
            .preset(preset)
            .guest("find_queue", [&holder.name])
            .stops();
    });
    bare(["find_queue", &holder.name]).escapes();
}

#[test]
pub(crate) fn shared_memory_is_not_found() {
    let holder = Holder::new(3);
    both_presets(|preset| {
        jar()
            .preset(preset)
            .guest("find_shared_memory", [&holder.name])
            .stops();
    });
    bare(["find_shared_memory", &holder.name]).escapes();
}

#[test]
pub(crate) fn keyring_is_not_searched() {
    let description = format!("belljar-test-{}", std::process::id());
    both_presets(|preset| {
        jar()
            .host(["host_with_key", &description])
            .preset(preset)
            .guest("find_key", [&description])
            .stops();
    });
    bare([
        "host_with_key".as_ref(),
        description.as_ref(),
        guest().as_os_str(),
        "find_key".as_ref(),
        description.as_ref(),
    ])
    .escapes();
}

#[test]
pub(crate) fn abstract_socket_is_not_reached() {
    let holder = Holder::new(4);
    both_presets(|preset| {
        jar()
            .preset(preset)
            .guest("connect_abstract", [&holder.name])
            .stops();
    });
    bare(["connect_abstract", &holder.name]).escapes();
}

#[test]
pub(crate) fn machine_s_network_is_not_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream.and_then(|mut stream| stream.write_all(b"hello")));
        }
    });
    let port = address.port();
    let ways = [
        format!("127.0.0.1:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("0.0.0.0:{port}"),
        format!("[::1]:{port}"),
        "1.1.1.1:53".to_owned(),
        "169.254.169.254:80".to_owned(),
    ];
    both_presets(|preset| {
        jar().preset(preset).guest("connect_tcp", &ways).stops();
    });
    bare(["connect_tcp", &ways[0]]).escapes();
}
