//! Attacks on what there is only so much of. Each takes a bound of its own, so
//! that it ends where nothing else stops it.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    Verdict,
    kernel::{self, Side},
};

fn amount(args: &[String]) -> u64 {
    args[0].parse().expect("a number")
}

fn scratch() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| "/tmp".into(), PathBuf::from)
}

/// `take_memory MIB`: memory that is written to, a MiB at a time.
pub(crate) fn take_memory(args: &[String]) -> Verdict {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for mib in 0..amount(args) {
        let mut block = Vec::new();
        if let Err(error) = block.try_reserve_exact(1 << 20) {
            return Verdict::Stopped(format!("after {mib} MiB: {error}"));
        }
        block.resize(1 << 20, mib as u8);
        kept.push(block);
        if mib % 16 == 0 {
            // Slow enough for sampling to see it grow.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    Verdict::Escaped(format!("took {} MiB", kept.len()))
}

/// `fork COUNT`: as many tasks at once.
pub(crate) fn fork(args: &[String]) -> Verdict {
    let mut children = Vec::new();
    let mut verdict = None;
    for count in 0..amount(args) {
        match kernel::fork() {
            Ok(Side::Child) => kernel::sleep_forever(),
            Ok(Side::Parent(pid)) => children.push(pid),
            Err(error) => {
                verdict = Some(Verdict::Stopped(format!("after {count}: {error}")));
                break;
            }
        }
    }
    let verdict = verdict.unwrap_or_else(|| Verdict::Escaped(format!("{} tasks", children.len())));
    for pid in children {
        drop(kernel::kill(pid, libc::SIGKILL));
    }
    verdict
}

/// `flood BYTES`: output as fast as it is taken.
pub(crate) fn flood(args: &[String]) -> Verdict {
    let mut left = amount(args);
    let block = [b'x'; 65536];
    let mut out = io::stdout().lock();
    kernel::ignore(libc::SIGPIPE);
    while left > 0 {
        let part = left.min(65536);
        if let Err(error) = out.write_all(&block[..part as usize]) {
            return Verdict::Stopped(error.to_string());
        }
        left -= part;
    }
    Verdict::Escaped("all was taken".into())
}

/// `spin SECONDS`: processor time, in two processes, where children may be made.
pub(crate) fn spin(args: &[String]) -> Verdict {
    let end = Instant::now() + Duration::from_secs(amount(args));
    let child = match kernel::fork() {
        Ok(Side::Child) => None,
        Ok(Side::Parent(pid)) => Some(pid),
        Err(_) => Some(0),
    };
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    if child.is_none() {
        std::process::exit(0);
    }
    Verdict::Escaped("ran to its end".into())
}

/// `sleep SECONDS`
pub(crate) fn sleep(args: &[String]) -> Verdict {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGALRM] {
        kernel::ignore(signal);
    }
    std::thread::sleep(Duration::from_secs(amount(args)));
    Verdict::Escaped("slept to its end".into())
}

/// `make_files COUNT`: empty files, which cost the kernel memory though they hold none.
pub(crate) fn make_files(args: &[String]) -> Verdict {
    let place = scratch().join("many");
    let made = (|| {
        fs::create_dir_all(&place)?;
        for count in 0..amount(args) {
            File::create(place.join(count.to_string()))
                .map_err(|error| io::Error::other(format!("after {count}: {error}")))?;
        }
        Ok::<_, io::Error>(())
    })();
    drop(fs::remove_dir_all(&place));
    match made {
        Ok(()) => Verdict::Escaped(format!("made {}", args[0])),
        Err(error) => Verdict::Stopped(error.to_string()),
    }
}

/// `fill_disk MIB [DIRECTORY…]`: bytes in every place that can be written.
pub(crate) fn fill_disk(args: &[String]) -> Verdict {
    let mut places: Vec<PathBuf> = args[1..].iter().map(PathBuf::from).collect();
    places.push(scratch());
    let block = vec![7_u8; 1 << 20];
    let mut written = 0;
    let mut refused = Vec::new();
    let mut kept = Vec::new();
    for place in places {
        let path = place.join("filled");
        match File::create(&path) {
            Err(error) => refused.push(format!("{}: {error}", place.display())),
            Ok(mut file) => {
                while written < amount(args) {
                    if let Err(error) = file.write_all(&block) {
                        refused.push(format!("{}: {error}", place.display()));
                        break;
                    }
                    written += 1;
                }
                kept.push(path);
            }
        }
    }
    for path in kept {
        drop(fs::remove_file(path));
    }
    if written >= amount(args) {
        Verdict::Escaped(format!("wrote {written} MiB"))
    } else {
        Verdict::Stopped(format!("after {written} MiB: {}", refused.join("; ")))
    }
}

/// `open_many COUNT`: descriptors, with the soft bound raised to the hard one.
pub(crate) fn open_many(args: &[String]) -> Verdict {
    let bound = libc::rlimit {
        rlim_cur: amount(args) + 16,
        rlim_max: amount(args) + 16,
    };
    // SAFETY: `bound` lives through the call.
    let raised = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const bound) };
    let mut kept = Vec::new();
    for count in 0..amount(args) {
        match File::open("/dev/null") {
            Ok(file) => kept.push(file),
            Err(error) => {
                return Verdict::Stopped(format!("after {count}: {error}; setrlimit {raised}"));
            }
        }
    }
    Verdict::Escaped(format!("opened {}", kept.len()))
}

/// Raises the soft bound of descriptors to the hard one.
pub(crate) fn raise_descriptors() {
    let mut bound = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `bound` lives through the call.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut bound) };
    bound.rlim_cur = bound.rlim_max;
    // SAFETY: `bound` lives through the call. Where it fails, the bound stays.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const bound) };
}

/// `fill_buffers MIB`: memory of the kernel's, in sockets that nobody reads: no
/// task's own memory grows.
pub(crate) fn fill_buffers(args: &[String]) -> Verdict {
    raise_descriptors();
    let wanted = amount(args) << 20;
    let block = [7_u8; 65536];
    let (mut kept, mut filled) = (Vec::new(), 0);
    while filled < wanted {
        let pair = UnixStream::pair().and_then(|(one, other)| {
            one.set_nonblocking(true)?;
            other.set_nonblocking(true)?;
            Ok([one, other])
        });
        let mut pair = match pair {
            Ok(pair) => pair,
            Err(error) => {
                return Verdict::Stopped(format!("after {} MiB: {error}", filled >> 20));
            }
        };
        for end in &mut pair {
            while let Ok(count) = end.write(&block) {
                filled += count as u64;
            }
        }
        kept.push(pair);
    }
    Verdict::Escaped(format!("filled {} MiB", filled >> 20))
}

/// `dump_core`: crashes with a core dump asked for.
pub(crate) fn dump_core(_: &[String]) -> Verdict {
    let bound = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: `bound` lives through the call. Where it fails, the bound stays.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const bound) };
    kernel::default_action(libc::SIGABRT);
    std::process::abort()
}
