//! Attacks on tasks outside a jar, and on its first process.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use crate::{
    Verdict,
    kernel::{self, Arg, Side, call},
};

fn number(args: &[String]) -> i32 {
    args[0].parse().expect("a process number")
}

/// `see_task PID [WORD]`: finds a task of the machine, by number or by a word
/// of its command line.
pub(crate) fn see_task(args: &[String]) -> Verdict {
    let pid = number(args);
    let mut tries = vec![
        (
            "status".to_owned(),
            fs::read_to_string(format!("/proc/{pid}/status")).map(|_| "read".to_owned()),
        ),
        (
            "kill 0".into(),
            kernel::kill(pid, 0).map(|()| "is there".into()),
        ),
        (
            "pidfd_open".into(),
            call(
                libc::SYS_pidfd_open,
                &mut [Arg::Number(pid.into()), Arg::Number(0)],
            )
            .map(|_| "opened".into()),
        ),
    ];
    if let Some(word) = args.get(1) {
        let own = std::process::id().to_string();
        let found = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name != own && name.parse::<u32>().is_ok()
            })
            .find(|entry| {
                fs::read(entry.path().join("cmdline"))
                    .is_ok_and(|line| String::from_utf8_lossy(&line).contains(word.as_str()))
            });
        tries.push((
            "command lines".into(),
            match found {
                Some(entry) => Ok(entry.path().display().to_string()),
                None => Err(io::ErrorKind::NotFound.into()),
            },
        ));
    }
    Verdict::of_tries(tries)
}

/// `kill_task PID`: ends a task of the machine, and all that it may.
pub(crate) fn kill_task(args: &[String]) -> Verdict {
    let pid = number(args);
    Verdict::of_tries([
        (
            "kill".into(),
            kernel::kill(pid, libc::SIGKILL).map(|()| "killed".into()),
        ),
        (
            "kill the group".into(),
            kernel::kill(-pid, libc::SIGKILL).map(|()| "killed".into()),
        ),
    ])
}

/// `trace_task PID`: attaches to a task.
pub(crate) fn trace_task(args: &[String]) -> Verdict {
    const PTRACE_SEIZE: i64 = 0x4206;
    Verdict::of_tries([(
        "PTRACE_SEIZE".into(),
        call(
            libc::SYS_ptrace,
            &mut [
                Arg::Number(PTRACE_SEIZE),
                Arg::Number(number(args).into()),
                Arg::Number(0),
                Arg::Number(0),
            ],
        )
        .map(|_| "attached".into()),
    )])
}

/// Reads some bytes of a task's memory where its maps say that there are any.
fn read_memory(pid: i32) -> io::Result<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let start = maps
        .lines()
        .find(|line| line.contains(" r"))
        .and_then(|line| u64::from_str_radix(line.split('-').next()?, 16).ok())
        .ok_or(io::ErrorKind::NotFound)?;
    let mut memory = fs::File::open(format!("/proc/{pid}/mem"))?;
    memory.seek(SeekFrom::Start(start))?;
    let mut bytes = [0_u8; 16];
    memory.read_exact(&mut bytes)?;
    Ok(format!("read memory at {start:x}"))
}

/// `read_task_memory PID`: by /proc/PID/mem and by process_vm_readv.
pub(crate) fn read_task_memory(args: &[String]) -> Verdict {
    let pid = number(args);
    Verdict::of_tries([
        ("mem".into(), read_memory(pid)),
        (
            "mem for writing".into(),
            OpenOptions::new()
                .write(true)
                .open(format!("/proc/{pid}/mem"))
                .map(|_| "opened".into()),
        ),
        ("process_vm_readv".into(), {
            // No bytes at all: the kernel still finds the task and checks the right to it.
            call(
                libc::SYS_process_vm_readv,
                &mut [
                    Arg::Number(pid.into()),
                    Arg::In(&[0; 16]),
                    Arg::Number(1),
                    Arg::In(&[0; 16]),
                    Arg::Number(1),
                    Arg::Number(0),
                ],
            )
            .and_then(|_| Err(io::Error::other("nothing was read")))
        }),
    ])
}

/// `read_task_root PID PATH`: a file through the root, the working directory
/// or a descriptor of a task.
pub(crate) fn read_task_root(args: &[String]) -> Verdict {
    let pid = number(args);
    let below = args[1].trim_start_matches('/');
    Verdict::of_tries(["root", "cwd", "fd/0", "fd/3", "task"].map(|way| {
        let path = Path::new("/proc")
            .join(pid.to_string())
            .join(way)
            .join(below);
        (way.to_owned(), fs::read(&path).map(|_| "read".to_owned()))
    }))
}

/// `take_descriptor PID`: takes descriptor 0 of a task by pidfd_getfd.
pub(crate) fn take_descriptor(args: &[String]) -> Verdict {
    let taken = call(
        libc::SYS_pidfd_open,
        &mut [Arg::Number(number(args).into()), Arg::Number(0)],
    )
    .and_then(|pidfd| {
        call(
            libc::SYS_pidfd_getfd,
            &mut [Arg::Number(pidfd), Arg::Number(0), Arg::Number(0)],
        )
    });
    Verdict::of_tries([("pidfd_getfd".into(), taken.map(|_| "taken".into()))])
}

/// `attack_first`: reads, writes, attaches to and kills process 1.
pub(crate) fn attack_first(_: &[String]) -> Verdict {
    let first = ["1".to_owned()];
    for attack in [read_task_memory, trace_task, take_descriptor] {
        if let Verdict::Escaped(what) = attack(&first) {
            return Verdict::Escaped(what);
        }
    }
    let mut tries = Vec::new();
    for name in ["environ", "maps", "auxv", "stack", "syscall"] {
        let read = fs::read(format!("/proc/1/{name}"));
        tries.push((
            name.to_owned(),
            match read {
                Ok(bytes) if bytes.is_empty() => Err(io::Error::other("empty")),
                other => other.map(|_| "read".to_owned()),
            },
        ));
    }
    for name in ["exe", "cwd", "root", "ns/mnt"] {
        tries.push((
            name.to_owned(),
            fs::read_link(format!("/proc/1/{name}")).map(|path| path.display().to_string()),
        ));
    }
    tries.push((
        "fd".into(),
        fs::read_dir("/proc/1/fd").map(|_| "listed".into()),
    ));
    // These may be sent, and must not do anything: that this guest goes on is the proof.
    for signal in [
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGHUP,
        libc::SIGUSR1,
        libc::SIGSEGV,
        libc::SIGSYS,
        libc::SIGSTOP,
        libc::SIGKILL,
        libc::SIGCHLD,
    ] {
        drop(kernel::kill(1, signal));
    }
    std::thread::sleep(Duration::from_millis(200));
    Verdict::of_tries(tries)
}

/// `stay_behind WORD`: leaves grandchildren in sessions of their own that
/// ignore every signal they may; prints their numbers.
pub(crate) fn stay_behind(args: &[String]) -> Verdict {
    for _ in 0..5 {
        match kernel::fork() {
            Err(error) => return Verdict::Stopped(error.to_string()),
            Ok(Side::Parent(_)) => {}
            Ok(Side::Child) => {
                for signal in 1..32 {
                    kernel::ignore(signal);
                }
                drop(kernel::setsid());
                if let Ok(Side::Child) = kernel::fork() {
                    drop(kernel::setsid());
                    println!("pid {} {}", std::process::id(), args[0]);
                    // The streams are closed, so that nobody waits for their end.
                    for descriptor in 0..3 {
                        drop(call(libc::SYS_close, &mut [Arg::Number(descriptor)]));
                    }
                    kernel::sleep_forever();
                }
                std::process::exit(0);
            }
        }
    }
    std::thread::sleep(Duration::from_millis(200));
    Verdict::Escaped("left grandchildren behind, as long as they live".into())
}
