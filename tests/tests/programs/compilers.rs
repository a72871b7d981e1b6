//! Compilers at work in a jar, and the programs that they made in another.

use std::path::PathBuf;

use belljar_tests::{Need, need, toolchain};

use crate::room::{Room, alone, programs, says};

/// What the programs in C print, part by part.
const C: &[(&str, &[&str])] = &[
    ("threads", &["pthreads: 80000", "semaphore: 0"]),
    (
        "children",
        &[
            "posix_spawn: 0",
            "vfork: 7",
            "popen: from popen",
            "pclose: 0",
            "system: 5",
            "shared map: 42",
        ],
    ),
    ("ipc", &["shm: sysv", "msg: queue", "mq: sent"]),
    (
        "descriptors",
        &[
            "inotify: 1",
            "timerfd: 1",
            "eventfd: 3",
            "signalfd: 1",
            "timer: 1",
            "memfd: sealed",
            "splice: 7",
            "passed descriptor: 1",
            "abstract datagram: d",
        ],
    ),
];

#[test]
fn gcc_compiles_and_every_way_to_start_tasks_works() {
    if !need(Need::Compiler) {
        return;
    }
    let room = Room::new(&[("work.c", include_str!("sources/work.c"))]);
    for (name, how) in [("dynamic", "-pie"), ("static", "-static")] {
        says(
            room.jar()
                .program(["/usr/bin/cc", "-O1", "-pthread", how, "-o", name, "work.c"])
                .end(),
            &[],
        );
        let parts = C.iter().map(|(part, _)| (*part).to_owned());
        let lines: Vec<&str> = C
            .iter()
            .flat_map(|(_, lines)| lines.iter().copied())
            .collect();
        // Where no directory of the machine is to be seen a program has all
        // sorts of unix sockets.
        says(
            alone()
                .program([room.at(name)].into_iter().chain(parts))
                .end(),
            &lines,
        );
    }
}

#[test]
fn make_runs_jobs_beside_one_another() {
    if !need(Need::Compiler) || !programs(&["make"]) {
        return;
    }
    let room = Room::new(&[("Makefile", include_str!("sources/Makefile"))]);
    says(
        room.jar().program(["/usr/bin/make", "-s", "-j", "4"]).end(),
        &["sum: 36"],
    );
    assert!(room.path("sum").exists());
}

#[test]
fn go_compiles_a_static_program_that_works() {
    if !programs(&["go"]) {
        return;
    }
    let room = Room::new(&[("work.go", include_str!("sources/work.go"))]);
    let environment = [
        // Without C a program of Go's is static.
        "CGO_ENABLED=0",
        "GO111MODULE=off",
        "GOFLAGS=",
        "GOTOOLCHAIN=local",
    ];
    says(
        room.jar()
            .flags(environment.iter().flat_map(|set| ["--env", set]))
            .program(["/usr/bin/go", "build", "-o", "work", "work.go"])
            .end(),
        &[],
    );
    says(
        alone().program([room.path("work")]).end(),
        &[
            "goroutines: 328350",
            "exec: through cat",
            "tcp: OVER LOOPBACK",
            "file: 100000",
            "signal: user defined signal 1",
            "sha256: f9cd1ac073f0b1b76b82d642f3bbe878239006836f1cba6b43d0136da1539d88",
            "interfaces: lo",
            "lookup: true",
        ],
    );
}

#[test]
fn rustc_compiles_a_static_program_that_works() {
    if !need(Need::Rust) {
        return;
    }
    let toolchain = toolchain().expect("it was seen just now");
    let room = Room::new(&[("work.rs", include_str!("sources/work.rs"))]);
    let rustc = toolchain.join("bin/rustc");
    let options = "-C target-feature=+crt-static -o work work.rs";
    says(
        room.jar()
            .flags(["--read".as_ref(), toolchain.as_os_str()])
            .program(
                [rustc]
                    .into_iter()
                    .chain(options.split(' ').map(PathBuf::from)),
            )
            .end(),
        &[],
    );
    let ended = says(
        alone().program([room.path("work")]).end(),
        &[
            "threads: 140",
            "command: through cat",
            "tcp: OVER LOOPBACK",
            "unix: pair",
            "copy: 100000",
            "entries: 2",
            "panic: true",
        ],
    );
    assert!(ended.stderr.contains("on purpose"), "{ended:#?}");
}

#[test]
fn cargo_builds_and_runs_a_crate_without_dependencies() {
    if !need(Need::Rust) {
        return;
    }
    let toolchain = toolchain().expect("it was seen just now");
    let room = Room::new(&[
        (
            "Cargo.toml",
            "[package]\nname = \"built\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[[bin]]\nname = \"built\"\npath = \"main.rs\"\n",
        ),
        (
            "build.rs",
            "fn main() { println!(\"cargo::rustc-env=FROM=a build script\"); }\n",
        ),
        (
            "main.rs",
            "fn main() { println!(\"built by {}\", env!(\"FROM\")); }\n",
        ),
    ]);
    let bin = toolchain.join("bin");
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let ended = room
        .jar_with_path(&path)
        .flags(["--read".as_ref(), toolchain.as_os_str()])
        .program([bin.join("cargo"), "run".into(), "--offline".into()])
        .end();
    says(ended, &["built by a build script"]);
    assert!(room.path("target/debug/built").exists());
    // The same program again, by itself.
    says(
        room.jar().program([room.path("target/debug/built")]).end(),
        &["built by a build script"],
    );
}
