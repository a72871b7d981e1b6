//! The Debian packages that tests and benches need, and how to have them.

use std::{path::Path, process::Command};

use crate::cache;

/// A Debian package and why it is needed.
pub(crate) struct Package {
    /// Its name in Debian 12.
    pub(crate) name: &'static str,
    /// Paths of which one is there when the package is.
    probes: &'static [&'static str],
    /// Who needs it.
    reason: &'static str,
    /// What it is for.
    lane: Lane,
}

/// What cannot run without a package.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Test,
    Program,
    Machine,
    Bench,
}

/// Every package.
pub(crate) const ALL: &[Package] = &[
    Package {
        name: "gcc",
        probes: &["/usr/bin/gcc"],
        reason: "links every program; compiles the C guests and the C floor of the benches",
        lane: Lane::Test,
    },
    Package {
        name: "libc6-dev",
        probes: &["/usr/include/stdio.h"],
        reason: "headers and start files for the same",
        lane: Lane::Test,
    },
    Package {
        name: "python3",
        probes: &["/usr/bin/python3"],
        reason: "a guest with an interpreter, modules and threads",
        lane: Lane::Test,
    },
    Package {
        name: "perl-base",
        probes: &["/usr/bin/perl"],
        reason: "a guest with an interpreter; plugins by `#!`",
        lane: Lane::Test,
    },
    Package {
        name: "util-linux",
        probes: &["/usr/bin/unshare"],
        reason: "unshare(1): throw-away namespaces where an attack is shown to succeed; a peer of the benches",
        lane: Lane::Test,
    },
    Package {
        name: "nodejs",
        probes: &["/usr/bin/node"],
        reason: "a program that makes code while it runs, with workers and children",
        lane: Lane::Program,
    },
    Package {
        name: "openjdk-17-jdk-headless",
        probes: &["/usr/bin/javac"],
        reason: "the same, and its compiler; of the headless ones the smallest that has one",
        lane: Lane::Program,
    },
    Package {
        name: "golang-go",
        probes: &["/usr/bin/go"],
        reason: "static programs that make system calls without a libc",
        lane: Lane::Program,
    },
    Package {
        name: "git",
        probes: &["/usr/bin/git"],
        reason: "a program of many small processes, links and locks",
        lane: Lane::Program,
    },
    Package {
        name: "make",
        probes: &["/usr/bin/make"],
        reason: "jobs beside one another, with pipes between them",
        lane: Lane::Program,
    },
    Package {
        name: "sqlite3",
        probes: &["/usr/bin/sqlite3"],
        reason: "two processes with locks and shared maps of one file",
        lane: Lane::Program,
    },
    Package {
        name: "curl",
        probes: &["/usr/bin/curl"],
        reason: "a program that needs a network and has none",
        lane: Lane::Program,
    },
    Package {
        name: "rsync",
        probes: &["/usr/bin/rsync"],
        reason: "copies with all that a file has",
        lane: Lane::Program,
    },
    Package {
        name: "openssl",
        probes: &["/usr/bin/openssl"],
        reason: "keys and digests",
        lane: Lane::Program,
    },
    Package {
        name: "openssh-client",
        probes: &["/usr/bin/ssh-keygen"],
        reason: "keys in files of their own",
        lane: Lane::Program,
    },
    Package {
        name: "procps",
        probes: &["/usr/bin/ps"],
        reason: "a reader of /proc",
        lane: Lane::Program,
    },
    Package {
        name: "groff-base",
        probes: &["/usr/bin/groff"],
        reason: "sets the manual pages, and says what is wrong with them",
        lane: Lane::Program,
    },
    Package {
        name: "qemu-system-x86",
        probes: &["/usr/bin/qemu-system-x86_64"],
        reason: "the virtual machine for attacks that need another kernel or may do harm",
        lane: Lane::Machine,
    },
    Package {
        name: "busybox-static",
        probes: &["/bin/busybox"],
        reason: "the programs inside that machine; a shell and tools without a loader",
        lane: Lane::Machine,
    },
    Package {
        name: "xz-utils",
        probes: &["/usr/bin/xz"],
        reason: "unpacks its kernels and their modules once, which an emulated processor would take seconds for at each boot",
        lane: Lane::Machine,
    },
    Package {
        name: "zstd",
        probes: &["/usr/bin/zstd"],
        reason: "the same for kernels since 6.12",
        lane: Lane::Machine,
    },
    Package {
        name: "e2fsprogs",
        probes: &["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"],
        reason: "makes its disk, whose file system counts what a project holds",
        lane: Lane::Machine,
    },
    Package {
        name: "systemd",
        probes: &["/lib/systemd/systemd"],
        reason: "the first process of that machine, where it is asked for scopes; nothing of it runs here",
        lane: Lane::Machine,
    },
    Package {
        name: "dbus-daemon",
        probes: &["/usr/bin/dbus-daemon"],
        reason: "the bus by which it is asked",
        lane: Lane::Machine,
    },
    Package {
        name: "bubblewrap",
        probes: &["/usr/bin/bwrap"],
        reason: "the peer that the benches measure against",
        lane: Lane::Bench,
    },
    Package {
        name: "libseccomp-dev",
        probes: &["/usr/include/seccomp.h"],
        reason: "makes the filters that the benches measure Belljar's against, in a program of their own",
        lane: Lane::Bench,
    },
    Package {
        name: "runsc",
        probes: &["/usr/bin/runsc"],
        reason: "gVisor: a peer of the benches for what system calls take",
        lane: Lane::Bench,
    },
];

/// The packages without which tests cannot run.
pub(crate) fn for_tests() -> impl Iterator<Item = &'static Package> {
    ALL.iter().filter(|package| package.lane == Lane::Test)
}

/// Programs that are tried in jars, or that read what Belljar makes: without one
/// its tests are skipped.
pub(crate) fn for_programs() -> impl Iterator<Item = &'static Package> {
    ALL.iter().filter(|package| package.lane == Lane::Program)
}

/// The packages without which tests that need a virtual machine are skipped.
pub(crate) fn for_machine() -> impl Iterator<Item = &'static Package> {
    ALL.iter().filter(|package| package.lane == Lane::Machine)
}

/// The peers of the benches, which leave out those that are not there.
pub(crate) fn for_benches() -> impl Iterator<Item = &'static Package> {
    ALL.iter().filter(|package| package.lane == Lane::Bench)
}

impl Package {
    fn is_there(&self) -> bool {
        self.probes.iter().any(|probe| Path::new(probe).exists())
    }
}

/// Sees that all of `wanted` is there: installs what is missing as root, and
/// otherwise fails with the command that does.
pub(crate) fn install<'a>(wanted: impl IntoIterator<Item = &'a Package>) -> Result<(), String> {
    let missing: Vec<&Package> = wanted
        .into_iter()
        .filter(|package| !package.is_there())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        eprintln!("xtask: missing: {} ({})", package.name, package.reason);
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let command = command_for(&names);
    if !cache::is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return Err(format!(
            "packages are missing; this installs them:\n\n    {command}\n"
        ));
    }
    if apt(&["update", "-q"])
        && apt(&[
            &["install", "-q", "-y", "--no-install-recommends"],
            &names[..],
        ]
        .concat())
    {
        return Ok(());
    }
    Err(format!(
        "packages could not be installed with:\n\n    {command}\n"
    ))
}

/// The one command that makes this machine ready, for people.
pub(crate) fn command_for(names: &[&str]) -> String {
    format!(
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends {}",
        names.join(" ")
    )
}

fn apt(args: &[&str]) -> bool {
    Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .is_ok_and(|status| status.success())
}
