//! Attacks by doing something while the supervisor does something else.

use std::{
    io,
    os::unix::process::CommandExt,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    Verdict,
    kernel::{self, Side, fork, leave},
};

/// `fork_away SECONDS WORD`: chains of processes, each of which leaves the
/// session and ends as soon as it has a child, so that whoever looks for them
/// sees those that are gone.
pub(crate) fn fork_away(args: &[String]) -> Verdict {
    let end = Instant::now() + Duration::from_secs(args[0].parse().expect("seconds"));
    for _ in 0..4 {
        match fork() {
            Ok(Side::Child) => run_away(end),
            Ok(Side::Parent(_)) => {}
            Err(error) => return Verdict::Stopped(error.to_string()),
        }
    }
    println!("ready");
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
    Verdict::Escaped("they ran to their end".into())
}

fn run_away(end: Instant) -> ! {
    while Instant::now() < end {
        match fork() {
            Ok(Side::Parent(_)) => leave(0),
            Ok(Side::Child) => drop(kernel::setsid()),
            Err(_) => {}
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    leave(0)
}

/// `start_again COUNT`: becomes itself, again and again.
pub(crate) fn start_again(args: &[String]) -> Verdict {
    let count: u64 = args[0].parse().expect("a number");
    if count == 0 {
        return Verdict::Escaped("started to the last".into());
    }
    let own = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let error = Command::new(own)
        .arg("start_again")
        .arg((count - 1).to_string())
        .args(&args[1..])
        .exec();
    Verdict::Stopped(format!("with {count} to go: {error}"))
}

/// A careless host: `kill_by_group PROGRAM ARGS…` runs it in a process group of
/// its own, and after a while ends that group; 42 where something lives on.
pub(crate) fn kill_by_group(args: &[String]) -> io::Result<()> {
    kernel::call_with(
        libc::SYS_prctl,
        &[libc::PR_SET_CHILD_SUBREAPER.into(), 1, 0, 0, 0],
    )?;
    let mut child = Command::new(&args[0])
        .args(&args[1..])
        .process_group(0)
        .spawn()?;
    std::thread::sleep(Duration::from_millis(300));
    kernel::kill(-child.id().cast_signed(), libc::SIGKILL)?;
    child.wait()?;
    std::thread::sleep(Duration::from_millis(100));
    // Whatever was orphaned is now this task's: wait4(2).
    let reap = |options: i32| kernel::call_with(libc::SYS_wait4, &[-1, 0, options.into(), 0]);
    let lives_on = loop {
        match reap(libc::WNOHANG) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(_) => break false,
        }
    };
    while reap(0).is_ok() {}
    if lives_on {
        println!("ESCAPED: it lived on");
        std::process::exit(42);
    }
    Ok(())
}

/// `swap_paths ONE OTHER COUNT`: exchanges two names, again and again; says
/// `ready` at the first time and goes on until COUNT is reached and its input ends.
pub(crate) fn swap_paths(args: &[String]) -> io::Result<()> {
    use std::sync::atomic::{AtomicBool, Ordering};
    static OVER: AtomicBool = AtomicBool::new(false);
    let names =
        [&args[0], &args[1]].map(|name| std::ffi::CString::new(name.as_str()).expect("no NUL"));
    let count: u64 = args[2].parse().expect("a number");
    let here = i64::from(libc::AT_FDCWD);
    std::thread::spawn(|| {
        drop(io::copy(&mut io::stdin().lock(), &mut io::sink()));
        OVER.store(true, Ordering::Relaxed);
    });
    println!("ready");
    let mut done = 0;
    while done < count || !OVER.load(Ordering::Relaxed) {
        kernel::call_with(
            libc::SYS_renameat2,
            &[
                here,
                names[0].as_ptr() as i64,
                here,
                names[1].as_ptr() as i64,
                libc::RENAME_EXCHANGE.into(),
            ],
        )?;
        done += 1;
    }
    println!("swapped {done}");
    Ok(())
}

/// A careless host: `check_then_read DIRECTORY NAME MARK` looks whether DIRECTORY
/// is one and no link, and then reads NAME in it; 42 where that has MARK.
pub(crate) fn check_then_read(args: &[String]) -> io::Result<()> {
    let directory = std::path::Path::new(&args[0]);
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        if std::fs::symlink_metadata(directory)?.is_dir()
            && std::fs::read_to_string(directory.join(&args[1]))
                .is_ok_and(|text| text.contains(&args[2]))
        {
            println!("ESCAPED: it was swapped in between");
            std::process::exit(42);
        }
    }
    Ok(())
}
