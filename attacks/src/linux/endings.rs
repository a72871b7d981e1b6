//! Plain programs that end in some way, or make others wonder how they did.

use std::{
    fs::File,
    io::{self, Write},
    sync::atomic::{AtomicI32, Ordering},
    time::{Duration, Instant},
};

use crate::kernel::{self, Side};

/// Runs the program of this name, if it is one of these.
pub(crate) fn run(name: &str, args: &[String]) -> Option<io::Result<()>> {
    Some(match name {
        "leave_by_thread" => leave_by_thread(args),
        "leave_main" => leave_main(args),
        "leave_child" => leave_child(),
        "survive_signal" => survive_signal(args),
        "fault_without_core" => fault_without_core(),
        "lose_child" => lose_child(args),
        "die_on_signal" => die_on_signal(args),
        "flood_on_signal" => wait_for_signal(args).map(|()| flood()),
        "take_on_signal" => wait_for_signal(args).map(|()| take()),
        "burn_on_signal" => wait_for_signal(args).map(|()| spin(60_000)),
        "stop_itself" => stop_itself(),
        "wait_in_vfork" => wait_in_vfork(),
        "say" => say(args),
        "flood_on" => flood(),
        "burn" => burn(args),
        "burn_here" => spin(number(args, 0)),
        "burn_orphans" => burn_orphans(args),
        "hold_memory" => hold_memory(args),
        "hold_memory_in_child" => in_child(|| hold_memory(args)),
        "hold_children" => hold_children(args),
        "fill_file" => fill_file(args),
        _ => return None,
    })
}

fn number<T: std::str::FromStr>(args: &[String], at: usize) -> T {
    match args.get(at).map(|arg| arg.parse()) {
        Some(Ok(number)) => number,
        _ => panic!("argument {at} is a number: {args:?}"),
    }
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).expect("a pid")
}

/// `leave_by_thread CODE`: a thread ends the process while its main thread waits.
fn leave_by_thread(args: &[String]) -> io::Result<()> {
    let code = number(args, 0);
    let thread = std::thread::spawn(move || std::process::exit(code));
    thread.join().expect("it does not come back");
    Ok(())
}

/// `leave_main CODE`: the main thread ends, and another goes on and ends the process.
fn leave_main(args: &[String]) -> io::Result<()> {
    let code = number(args, 0);
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        std::process::exit(code)
    });
    kernel::call_with(libc::SYS_exit, &[0]).map(drop)
}

/// `leave_child`: ends while a child in a session of its own goes on, which would write.
fn leave_child() -> io::Result<()> {
    if let Side::Child = kernel::fork()? {
        kernel::setsid()?;
        std::thread::sleep(Duration::from_secs(3));
        println!("late");
        kernel::sleep_forever()
    }
    Ok(())
}

extern "C" fn note(signal: libc::c_int) {
    SEEN.store(signal, Ordering::SeqCst);
}
static SEEN: AtomicI32 = AtomicI32::new(0);

fn handle(signal: i32, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: the handlers of this file store a number, or make one system call.
    unsafe { libc::signal(signal, handler as libc::sighandler_t) };
}

/// `survive_signal SIGNAL CODE`: raises a signal that it handles, and exits.
fn survive_signal(args: &[String]) -> io::Result<()> {
    let signal = number(args, 0);
    handle(signal, note);
    kernel::kill(own_pid(), signal)?;
    while SEEN.load(Ordering::SeqCst) != signal {
        std::hint::spin_loop();
    }
    kernel::leave(number(args, 1))
}

/// `fault_without_core`: says that it wants no core, which the kernel takes for less than one
/// byte of one, and faults; core(5).
fn fault_without_core() -> io::Result<()> {
    let bound = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `bound` lives through the call. Where it fails, the bound stays.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const bound) };
    kernel::default_action(libc::SIGSEGV);
    kernel::kill(own_pid(), libc::SIGSEGV)
}

/// `lose_child SIGNAL`: a child ends itself by a signal, and this program well.
fn lose_child(args: &[String]) -> io::Result<()> {
    let signal = number(args, 0);
    in_child(|| {
        kernel::default_action(signal);
        kernel::kill(own_pid(), signal)
    })
}

extern "C" fn die(_: libc::c_int) {
    // SAFETY: getpid may be called in a signal handler.
    let own = unsafe { libc::getpid() };
    // SAFETY: kill may be called in a signal handler.
    unsafe { libc::kill(own, libc::SIGKILL) };
}

/// `die_on_signal SIGNAL`: says `ready`, and kills itself by SIGKILL when that comes.
fn die_on_signal(args: &[String]) -> io::Result<()> {
    handle(number(args, 0), die);
    println!("ready");
    kernel::sleep_forever()
}

/// Says `ready`, and comes back when the signal has come; for `flood_on_signal SIGNAL`,
/// `burn_on_signal SIGNAL` and `take_on_signal SIGNAL`.
fn wait_for_signal(args: &[String]) -> io::Result<()> {
    let signal = number(args, 0);
    handle(signal, note);
    println!("ready");
    while SEEN.load(Ordering::SeqCst) != signal {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// `flood_on`: writes as long as somebody reads, and then waits.
fn flood() -> ! {
    while io::stdout().write_all(&[b'x'; 4096]).is_ok() {}
    kernel::sleep_forever()
}

/// `stop_itself`: stands still, as by SIGSTOP.
fn stop_itself() -> io::Result<()> {
    kernel::kill(own_pid(), libc::SIGSTOP)?;
    kernel::sleep_forever()
}

/// `wait_in_vfork`: is kept from running by a child that does not exec, and deaf to all
/// that a signal can do meanwhile but end it.
fn wait_in_vfork() -> io::Result<()> {
    let flags = i64::from(libc::CLONE_VFORK | libc::SIGCHLD);
    if kernel::call_with(libc::SYS_clone, &[flags, 0, 0, 0, 0])? == 0 {
        std::thread::sleep(Duration::from_secs(60));
        kernel::leave(0);
    }
    Ok(())
}

/// `say OUT ERRORS [SIGNAL]`: so many bytes to each stream, and ends, by that signal
/// where it is told one.
fn say(args: &[String]) -> io::Result<()> {
    io::stdout().write_all(&vec![b'o'; number(args, 0)])?;
    io::stdout().flush()?;
    io::stderr().write_all(&vec![b'e'; number(args, 1)])?;
    if args.len() > 2 {
        let signal = number(args, 2);
        kernel::default_action(signal);
        kernel::kill(own_pid(), signal)?;
    }
    Ok(())
}

/// As `burn_here MILLISECONDS`: this process keeps a processor busy so long.
fn spin(milliseconds: u64) -> ! {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    kernel::leave(0)
}

/// `burn COUNT MILLISECONDS`: so many children keep processors busy so long, and each is
/// waited for.
fn burn(args: &[String]) -> io::Result<()> {
    let mut children = Vec::new();
    for _ in 0..number(args, 0) {
        match kernel::fork()? {
            Side::Child => spin(number(args, 1)),
            Side::Parent(pid) => children.push(pid),
        }
    }
    children.into_iter().try_for_each(kernel::wait_for)
}

/// `burn_orphans COUNT MILLISECONDS`: the same, one after another, by grandchildren whose
/// parents have gone, so that this process never learns of their time.
fn burn_orphans(args: &[String]) -> io::Result<()> {
    for _ in 0..number(args, 0) {
        match kernel::fork()? {
            Side::Child => match kernel::fork()? {
                Side::Child => spin(number(args, 1)),
                Side::Parent(_) => kernel::leave(0),
            },
            Side::Parent(pid) => kernel::wait_for(pid)?,
        }
        std::thread::sleep(Duration::from_millis(number(args, 1)));
    }
    Ok(())
}

/// `hold_memory MIB MILLISECONDS`: so much that was written to, for so long.
fn hold_memory(args: &[String]) -> io::Result<()> {
    let mut held = Vec::new();
    for _ in 0..number::<usize>(args, 0) {
        held.push(vec![1_u8; 1 << 20]);
    }
    std::thread::sleep(Duration::from_millis(number(args, 1)));
    std::hint::black_box(held);
    Ok(())
}

/// Takes 200 MiB of memory, and waits.
fn take() -> ! {
    let held = vec![1_u8; 200 << 20];
    std::hint::black_box(held);
    kernel::sleep_forever()
}

/// Does something in a child, and waits for it, however it ends.
fn in_child(work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    match kernel::fork()? {
        Side::Child => kernel::leave(i32::from(work().is_err())),
        Side::Parent(pid) => kernel::wait_for(pid),
    }
}

/// `hold_children COUNT MILLISECONDS`: as many children as it gets, for so long.
fn hold_children(args: &[String]) -> io::Result<()> {
    let mut children = Vec::new();
    for _ in 0..number(args, 0) {
        match kernel::fork() {
            Ok(Side::Child) => kernel::sleep_forever(),
            Ok(Side::Parent(pid)) => children.push(pid),
            Err(_) => break,
        }
    }
    std::thread::sleep(Duration::from_millis(number(args, 1)));
    for pid in children {
        kernel::kill(pid, libc::SIGKILL)?;
        kernel::wait_for(pid)?;
    }
    Ok(())
}

/// `fill_file PATH MIB MILLISECONDS`: writes so much into a file, which it leaves there, and
/// then waits. Exits 3 where less was taken. SIGXFSZ does not end it.
fn fill_file(args: &[String]) -> io::Result<()> {
    kernel::ignore(libc::SIGXFSZ);
    let mut file = File::create(&args[0])?;
    let block = vec![7_u8; 1 << 20];
    let taken = (0..number::<u64>(args, 1)).all(|_| file.write_all(&block).is_ok());
    std::thread::sleep(Duration::from_millis(number(args, 2)));
    kernel::leave(if taken { 0 } else { 3 })
}
