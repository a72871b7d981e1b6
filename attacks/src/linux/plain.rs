//! Programs that the tests need and that attack nothing: guests that behave,
//! and careless hosts.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::{self, File},
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, IntoRawFd},
        linux::net::SocketAddrExt,
        unix::{
            net::{SocketAddr, UnixListener, UnixStream},
            process::CommandExt,
        },
    },
    path::Path,
    process::{Command, ExitCode},
    sync::atomic::{AtomicI32, Ordering},
    time::Duration,
};

use crate::{
    arch, bombs, endings, jars,
    kernel::{self, Arg, call},
    obey, races, rights, spend, spread, surroundings, tries, unix,
};

/// Runs the plain program of this name, if there is one.
pub(crate) fn run(name: &str, args: &[String]) -> Option<ExitCode> {
    let result = match name {
        "exit" => return Some(ExitCode::from(args[0].parse::<u8>().expect("a code"))),
        "raise" => raise(args),
        "cat" => cat(),
        "echo" => echo(args),
        "environment" => environment(),
        "effective_user" => effective_user(),
        "look" => look(args),
        "write" => fs::write(&args[0], &args[1]),
        "replace_by_link" => replace_by_link(args),
        "pause" => pause(args),
        "ignore_signals" => ignore_signals(args),
        "catch_signal" => catch_signal(args),
        "hold" => hold(args),
        "leaking_host" => leaking_host(args),
        "telling_host" => Err(telling_host(args)),
        "host_with_key" => host_with_key(args),
        "answered_host" => answered_host(args),
        "held_host" => held_host(args),
        "with_core_limit" => with_core_limit(args),
        "with_terminal" => with_terminal(args),
        "with_socket_input" => with_socket_input(args),
        "hold_odd_names" => hold_odd_names(args),
        "start_threads" => start_threads(),
        "start_programs" => start_programs(),
        "came_through" => kernel::leave(kernel::CAME_THROUGH),
        "offer" => jars::offer(args),
        "kill_by_group" => races::kill_by_group(args),
        "check_then_read" => races::check_then_read(args),
        "swap_paths" => races::swap_paths(args),
        "bomb" => bombs::bomb(args),
        "obey" => obey::obey(),
        "spend" => spend::spend(args),
        "spread" => spread::spread(),
        "churn" => spread::churn(args),
        "exec_on" => spread::exec_on(),
        "surroundings" => surroundings::surroundings(),
        "try_all" => tries::try_all(args),
        "become" => Err(become_program(args)),
        _ => endings::run(name, args)?,
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{name}: {error}");
            ExitCode::FAILURE
        }
    })
}

/// `pause MILLISECONDS`: sleeps so long since it began, and says when that is over.
fn pause(args: &[String]) -> io::Result<()> {
    let long = Duration::from_millis(args[0].parse().expect("milliseconds"));
    std::thread::sleep(long);
    println!("over");
    Ok(())
}

/// `raise SIGNAL`: ends itself by a signal.
fn raise(args: &[String]) -> io::Result<()> {
    let signal = args[0].parse().expect("a signal's number");
    kernel::default_action(signal);
    kernel::kill(i32::try_from(std::process::id()).expect("a pid"), signal)?;
    kernel::sleep_forever()
}

fn cat() -> io::Result<()> {
    io::copy(&mut io::stdin().lock(), &mut io::stdout().lock()).map(drop)
}

/// `echo TEXT [ERRORS]`: to standard output and to standard error.
fn echo(args: &[String]) -> io::Result<()> {
    io::stdout().write_all(args[0].as_bytes())?;
    io::stderr().write_all(args.get(1).map_or(b"", |text| text.as_bytes()))
}

/// Every variable, a line each.
fn environment() -> io::Result<()> {
    let all: BTreeMap<_, _> = std::env::vars_os().collect();
    for (name, value) in all {
        println!("{}={}", name.display(), value.display());
    }
    Ok(())
}

fn effective_user() -> io::Result<()> {
    // SAFETY: geteuid always succeeds.
    println!("{}", unsafe { libc::geteuid() });
    Ok(())
}

/// `look PATH…`: what can be seen of each place, a line each, after a line
/// for the working directory.
fn look(args: &[String]) -> io::Result<()> {
    println!("cwd={}", std::env::current_dir()?.display());
    for path in args {
        let what = match fs::metadata(path) {
            Err(error) => error.kind().to_string(),
            Ok(metadata) if metadata.is_dir() => match fs::read_dir(path) {
                Err(error) => error.kind().to_string(),
                Ok(entries) => {
                    let probe = format!("{path}/.belljar-probe");
                    let written = fs::write(&probe, "").map(|()| drop(fs::remove_file(&probe)));
                    let mut names: Vec<_> = entries
                        .flatten()
                        .map(|entry| entry.file_name().to_string_lossy().into_owned())
                        .collect();
                    names.sort();
                    let mode = if written.is_ok() { "rw" } else { "ro" };
                    format!("{mode} directory {}", names.join(","))
                }
            },
            Ok(metadata) => {
                let mode = if File::options().append(true).open(path).is_ok() {
                    "rw"
                } else if File::open(path).is_ok() {
                    "ro"
                } else {
                    "closed"
                };
                format!("{mode} file {}", metadata.len())
            }
        };
        println!("{path}: {what}");
    }
    Ok(())
}

/// `replace_by_link FILE TARGET`: a link, and then a directory of links, in
/// place of a file.
fn replace_by_link(args: &[String]) -> io::Result<()> {
    let file = Path::new(&args[0]);
    for entry in fs::read_dir(file.parent().expect("a file in a directory"))? {
        fs::remove_file(entry?.path())?;
    }
    std::os::unix::fs::symlink(&args[1], file)
}

/// `ignore_signals SECONDS`: says `ready`, then sleeps through what it may.
fn ignore_signals(args: &[String]) -> io::Result<()> {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        kernel::ignore(signal);
    }
    println!("ready");
    std::thread::sleep(Duration::from_secs(args[0].parse().expect("seconds")));
    Ok(())
}

/// `catch_signal SIGNAL [CODE]`: says `ready`, and exits, with 7 where nothing else is
/// said, when the signal comes.
fn catch_signal(args: &[String]) -> io::Result<()> {
    extern "C" fn leave(_: libc::c_int) {
        // SAFETY: _exit may be called in a signal handler.
        unsafe { libc::_exit(CODE.load(Ordering::Relaxed)) }
    }
    static CODE: AtomicI32 = AtomicI32::new(7);
    // Whoever says a word instead only wants to find this process by it.
    if let Some(Ok(code)) = args.get(1).map(|word| word.parse()) {
        CODE.store(code, Ordering::Relaxed);
    }
    let signal: i32 = args[0].parse().expect("a signal's number");
    let handler = leave as extern "C" fn(libc::c_int);
    // SAFETY: the handler only reads a number and calls _exit.
    unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    println!("ready");
    kernel::sleep_forever()
}

/// `hold KEY NAME`: makes System V and POSIX objects and an abstract socket,
/// says `ready`, and keeps them until its input ends.
fn hold(args: &[String]) -> io::Result<()> {
    let key: i64 = args[0].parse().expect("a key");
    let create = i64::from(libc::IPC_CREAT | 0o666);
    let shared = call(
        libc::SYS_shmget,
        &mut [Arg::Number(key), Arg::Number(4096), Arg::Number(create)],
    )?;
    let messages = call(
        libc::SYS_msgget,
        &mut [Arg::Number(key), Arg::Number(create)],
    )?;
    let semaphores = call(
        libc::SYS_semget,
        &mut [Arg::Number(key), Arg::Number(1), Arg::Number(create)],
    )?;
    let queue = CString::new(args[1].as_str()).expect("no NUL");
    // None may be made at all in a strict jar; mq_overview(7), RLIMIT_MSGQUEUE.
    let queued = call(
        libc::SYS_mq_open,
        &mut [
            Arg::Text(&queue),
            Arg::Number((libc::O_CREAT | libc::O_RDWR).into()),
            Arg::Number(0o666),
            Arg::Number(0),
        ],
    );
    let file = format!("/dev/shm/{}", args[1]);
    let posix = fs::write(&file, "shared").is_ok();
    let listener =
        SocketAddr::from_abstract_name(&args[1]).and_then(|at| UnixListener::bind_addr(&at))?;
    println!("ready shm={posix} queue={}", queued.is_ok());
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(listener);
    if posix {
        fs::remove_file(&file)?;
    }
    drop(call(libc::SYS_mq_unlink, &mut [Arg::Text(&queue)]));
    let remove = i64::from(libc::IPC_RMID);
    for (number, id) in [(libc::SYS_shmctl, shared), (libc::SYS_msgctl, messages)] {
        call(
            number,
            &mut [Arg::Number(id), Arg::Number(remove), Arg::Number(0)],
        )?;
    }
    call(
        libc::SYS_semctl,
        &mut [
            Arg::Number(semaphores),
            Arg::Number(0),
            Arg::Number(remove),
            Arg::Number(0),
        ],
    )
    .map(drop)
}

/// `hold_odd_names NAME`: listens on abstract sockets whose names have a NUL
/// within, says `ready`, and goes on until its input ends.
fn hold_odd_names(args: &[String]) -> io::Result<()> {
    let listeners = unix::odd_names(&args[0])
        .iter()
        .map(|name| {
            SocketAddr::from_abstract_name(name).and_then(|at| UnixListener::bind_addr(&at))
        })
        .collect::<io::Result<Vec<_>>>()?;
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(listeners);
    Ok(())
}

/// Threads, and children by fork(2) and vfork(2): as libcs start them where
/// there is no clone3(2).
fn start_threads() -> io::Result<()> {
    let sum: u32 = (0..8)
        .map(|number| std::thread::spawn(move || number))
        .map(|thread| thread.join().expect("a thread"))
        .sum();
    kernel::in_child(|| Ok(()))?;
    let child = arch::vfork()?;
    kernel::call_with(libc::SYS_wait4, &[child.into(), 0, 0, 0])?;
    println!("threads {sum}, fork, vfork");
    Ok(())
}

/// Itself by posix_spawn(3), and by fork and exec.
fn start_programs() -> io::Result<()> {
    let own = std::env::current_exe()?;
    let spawned = Command::new(&own).args(["exit", "7"]).status()?;
    let mut forked = Command::new(&own);
    forked.args(["exit", "8"]);
    // SAFETY: nothing is done between fork and exec; its being there makes std fork.
    unsafe { forked.pre_exec(|| Ok(())) };
    let forked = forked.status()?;
    println!("{:?} {:?}", spawned.code(), forked.code());
    Ok(())
}

/// `with_socket_input DIRECTORY PROGRAM ARGS…`: runs a program whose standard
/// input is a socket, on which a descriptor of DIRECTORY waits.
fn with_socket_input(args: &[String]) -> io::Result<()> {
    let (mut near, far) = UnixStream::pair()?;
    let directory = File::open(&args[0])?;
    rights::send(near.as_raw_fd(), directory.as_raw_fd())?;
    near.write_all(b"and words")?;
    let status = Command::new(&args[1])
        .args(&args[2..])
        .stdin(std::os::fd::OwnedFd::from(far))
        .status()?;
    std::process::exit(status.code().unwrap_or(99))
}

/// Turns this process into another program; comes back only on failure.
fn become_program(words: &[String]) -> io::Error {
    Command::new(&words[0]).args(&words[1..]).exec()
}

/// `telling_host PROGRAM ARGS…`: a host that gives away its own process number,
/// in place of every `@PID@`.
fn telling_host(args: &[String]) -> io::Error {
    let pid = std::process::id().to_string();
    let words: Vec<_> = args
        .iter()
        .map(|word| word.replace("@PID@", &pid))
        .collect();
    become_program(&words)
}

/// `leaking_host DIRECTORY PROGRAM ARGS…`: a host that holds a directory, a
/// place without access, a file and a socket, none of them close-on-exec.
fn leaking_host(args: &[String]) -> io::Result<()> {
    let directory = CString::new(args[0].as_str()).expect("no NUL");
    for flags in [
        libc::O_DIRECTORY,
        libc::O_PATH | libc::O_DIRECTORY,
        libc::O_DIRECTORY,
    ] {
        call(
            libc::SYS_openat,
            &mut [
                Arg::Number(libc::AT_FDCWD.into()),
                Arg::Text(&directory),
                Arg::Number(flags.into()),
                Arg::Number(0),
            ],
        )?;
    }
    let socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(format!(
        "leak-{}",
        std::process::id()
    ))?)?;
    let high = File::open(&args[0])?;
    // Without flags the copies are not close-on-exec.
    for (descriptor, number) in [(socket.as_raw_fd(), 40), (high.as_raw_fd(), 200)] {
        call(
            libc::SYS_dup3,
            &mut [
                Arg::Number(descriptor.into()),
                Arg::Number(number),
                Arg::Number(0),
            ],
        )?;
    }
    Err(become_program(&args[1..]))
}

/// `host_with_key DESCRIPTION PROGRAM ARGS…`: a host with a key in the session
/// keyring of its own and in that of its user.
fn host_with_key(args: &[String]) -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: i64 = 1;
    let description = CString::new(args[0].as_str()).expect("no NUL");
    call(
        libc::SYS_keyctl,
        &mut [Arg::Number(KEYCTL_JOIN_SESSION_KEYRING), Arg::Number(0)],
    )?;
    call(
        libc::SYS_add_key,
        &mut [
            Arg::Text(c"user"),
            Arg::Text(&description),
            Arg::In(b"secret"),
            Arg::Number(6),
            Arg::Number(-3),
        ],
    )?;
    Err(become_program(&args[1..]))
}

/// `answered_host CALL ERRNO PROGRAM ARGS…`: a filter around it answers for the
/// kernel, with that error, or with a success that is none where ERRNO is 0.
fn answered_host(args: &[String]) -> io::Result<()> {
    const SECCOMP_SET_MODE_FILTER: i64 = 1;
    let number = |arg: &String| arg.parse::<u32>().expect("a number");
    let instruction = |code: u16, if_true: u8, if_false: u8, k: u32| libc::sock_filter {
        code,
        jt: if_true,
        jf: if_false,
        k,
    };
    let mut filter = [
        instruction(0x20, 0, 0, 0),
        instruction(0x15, 0, 1, number(&args[0])),
        instruction(0x06, 0, 0, libc::SECCOMP_RET_ERRNO | number(&args[1])),
        instruction(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = [filter.len(), filter.as_mut_ptr() as usize];
    let program: Vec<u8> = program.into_iter().flat_map(usize::to_ne_bytes).collect();
    no_new_privs()?;
    call(
        libc::SYS_seccomp,
        &mut [
            Arg::Number(SECCOMP_SET_MODE_FILTER),
            Arg::Number(0),
            Arg::In(&program),
        ],
    )?;
    Err(become_program(&args[2..]))
}

/// `held_host COUNT PROGRAM ARGS…`: so many Landlock domains lie around it, which
/// keep it from connecting by TCP alone.
fn held_host(args: &[String]) -> io::Result<()> {
    /// `struct landlock_ruleset_attr`: `LANDLOCK_ACCESS_NET_CONNECT_TCP`.
    const HANDLED: [u64; 2] = [0, 2];
    let count: usize = args[0].parse().expect("a number");
    let handled: Vec<u8> = HANDLED.into_iter().flat_map(u64::to_ne_bytes).collect();
    no_new_privs()?;
    for _ in 0..count {
        let set = call(
            libc::SYS_landlock_create_ruleset,
            &mut [Arg::In(&handled), Arg::Number(16), Arg::Number(0)],
        )?;
        call(
            libc::SYS_landlock_restrict_self,
            &mut [Arg::Number(set), Arg::Number(0)],
        )?;
    }
    Err(become_program(&args[1..]))
}

fn no_new_privs() -> io::Result<()> {
    let option = i64::from(libc::PR_SET_NO_NEW_PRIVS);
    call(
        libc::SYS_prctl,
        &mut [
            Arg::Number(option),
            Arg::Number(1),
            Arg::Number(0),
            Arg::Number(0),
            Arg::Number(0),
        ],
    )
    .map(drop)
}

/// `with_core_limit PROGRAM ARGS…`: cores as large as they come.
fn with_core_limit(args: &[String]) -> io::Result<()> {
    let bound = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: `bound` lives through the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const bound) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Err(become_program(args))
}

/// `with_terminal PROGRAM ARGS…`: runs a program with a new terminal as its
/// streams and as its controlling terminal, and copies what it says.
fn with_terminal(args: &[String]) -> io::Result<()> {
    let (mut master, mut slave) = (0, 0);
    // SAFETY: both places live through the call, and none of the rest is asked for.
    let opened = unsafe {
        libc::openpty(
            &raw mut master,
            &raw mut slave,
            std::ptr::null_mut(),
            std::ptr::null(),
            std::ptr::null(),
        )
    };
    if opened < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut terminal = File::from(adopt(master));
    let slave = File::from(adopt(slave));
    let mut command = Command::new(&args[0]);
    command
        .args(&args[1..])
        .stdin(slave.try_clone()?)
        .stdout(slave.try_clone()?)
        .stderr(slave);
    // SAFETY: only two system calls are made between fork and exec.
    unsafe {
        command.pre_exec(|| {
            kernel::setsid()?;
            call(
                libc::SYS_ioctl,
                &mut [
                    Arg::Number(0),
                    Arg::Number(libc::TIOCSCTTY as i64),
                    Arg::Number(0),
                ],
            )
            .map(drop)
        });
    }
    let mut child = command.spawn()?;
    // The command keeps its ends of the terminal open.
    drop(command);
    let mut said = Vec::new();
    // When the last holder of the other end is gone, reading fails with EIO.
    drop(terminal.read_to_end(&mut said));
    io::stdout().write_all(&said)?;
    io::stdout().flush()?;
    let status = child.wait()?;
    std::process::exit(status.code().unwrap_or(99))
}

fn adopt(descriptor: i32) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: it was just opened and nobody else owns it.
    let owned = unsafe { std::os::fd::OwnedFd::from_raw_fd(descriptor) };
    // Not to be inherited but as a stream.
    let raw = owned.into_raw_fd();
    drop(call(
        libc::SYS_fcntl,
        &mut [
            Arg::Number(raw.into()),
            Arg::Number(libc::F_SETFD.into()),
            Arg::Number(libc::FD_CLOEXEC.into()),
        ],
    ));
    // SAFETY: into_raw_fd gave it up one line above.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(raw) }
}
