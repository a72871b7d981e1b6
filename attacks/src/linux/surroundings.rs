//! Tells all that a program can see of what holds it, a line each and always in the
//! same order: two jars of one plan tell the same.

use std::{
    ffi::CString,
    fs::{self, OpenOptions},
    io,
    net::{TcpListener, TcpStream},
};

use crate::kernel::{Arg, call, call_with, kill};

/// What stands in `/proc/self/status` of rights and signals.
const STATUS: [&str; 14] = [
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "NSpid",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
];

/// `surroundings`: prints them.
pub(crate) fn surroundings() -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines() {
        let name = line.split(':').next().unwrap_or("");
        if STATUS.contains(&name) || name.starts_with("Seccomp") {
            println!("{line}");
        }
    }
    for line in mounts() {
        println!("mount {line}");
    }
    for name in ["limits", "cgroup", "oom_score_adj"] {
        let text = fs::read_to_string(format!("/proc/self/{name}"));
        println!("{name}: {}", text.unwrap_or_else(|error| error.to_string()));
    }
    for folder in [
        "/",
        "/dev",
        "/etc",
        "/tmp",
        "/workspace",
        "/home",
        "/proc/self/fd",
        "/proc/acpi",
        "/dev/pts",
    ] {
        println!("{folder}: {}", names(folder));
    }
    for file in [
        "/etc/passwd",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/domainname",
    ] {
        println!("{file}: {:?}", fs::read_to_string(file).map_err(why));
    }
    println!("in {:?}", std::env::current_dir().map_err(why));
    let mut variables: Vec<_> = std::env::vars_os().collect();
    variables.sort();
    println!("{variables:?}");
    println!("arguments {:?}", std::env::args_os().collect::<Vec<_>>());
    ids();
    tries();
    Ok(())
}

fn why(error: io::Error) -> Option<i32> {
    error.raw_os_error()
}

fn names(folder: &str) -> String {
    match fs::read_dir(folder) {
        Ok(entries) => {
            let mut all: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
            all.sort();
            format!("{all:?}")
        }
        Err(error) => format!("{:?}", why(error)),
    }
}

/// Mounts without what differs from one jar to the next: their numbers, and their devices'.
fn mounts() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines()
        .map(|line| line.split(' ').skip(3).collect::<Vec<_>>().join(" "))
        .collect()
}

/// Who and where it is, in numbers that are its own namespace's.
fn ids() {
    let pid = i64::from(std::process::id());
    let session = call_with(libc::SYS_getsid, &[0]).map_err(why);
    let group = call_with(libc::SYS_getpgid, &[0]).map_err(why);
    println!("leads its session {}", session == Ok(pid));
    println!("leads its group {}", group == Ok(pid));
    let option =
        |option: i32| call_with(libc::SYS_prctl, &[option.into(), 0, 0, 0, 0]).map_err(why);
    println!("securebits {:?}", option(libc::PR_GET_SECUREBITS));
    println!("dumpable {:?}", option(libc::PR_GET_DUMPABLE));
    const PR_GET_MDWE: i32 = 66;
    println!("fixed code {:?}", option(PR_GET_MDWE));
}

/// What is refused, and how.
fn tries() {
    let made = |name: &str, number, arguments: &[i64]| {
        println!("{name}: {:?}", call_with(number, arguments).map_err(why));
    };
    made("unshare", libc::SYS_unshare, &[libc::CLONE_NEWUSER.into()]);
    made("clone3", libc::SYS_clone3, &[0, 0]);
    made("keyctl", libc::SYS_keyctl, &[0, -3, 0]);
    made("bpf", libc::SYS_bpf, &[0, 0, 0]);
    made("io_uring", libc::SYS_io_uring_setup, &[1, 0]);
    made("userfaultfd", libc::SYS_userfaultfd, &[1]);
    let root = CString::new("/").expect("no NUL");
    let mut words = [Arg::Text(&root), Arg::Text(&root), Arg::Number(0)];
    println!(
        "chroot: {:?}",
        call(libc::SYS_chroot, &mut words[..1]).map_err(why)
    );
    println!("signal to the first: {:?}", kill(1, 0).map_err(why));
    for path in [
        "/proc/1/maps",
        "/proc/1/environ",
        "/proc/kcore",
        "/etc/shadow",
        "/root",
    ] {
        println!("reads {path}: {:?}", fs::read(path).map(drop).map_err(why));
    }
    for path in [
        "/new",
        "/etc/new",
        "/proc/sys/kernel/hostname",
        "/usr/new",
        "/dev/new",
    ] {
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        println!("writes {path}: {:?}", opened.map(drop).map_err(why));
    }
    let looped = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| TcpStream::connect(listener.local_addr()?));
    println!("talks to itself: {:?}", looped.map(drop).map_err(why));
}
