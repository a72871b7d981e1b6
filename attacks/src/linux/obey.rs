//! A guest that does what it is told on its stdin, a line at a time, and answers with a
//! line: what its limits let it do at that moment.

use std::{
    fs::File,
    io::{self, BufRead, Write},
};

use crate::kernel::{Side, fork, leave};

/// `open N`: how many of N descriptors it gets. `hold N`: takes N MiB more of memory.
/// `fork N`: how many of N children it gets. `write N`: how many of N KiB a file takes.
pub(super) fn obey() -> io::Result<()> {
    let mut held: Vec<Vec<u8>> = Vec::new();
    say("ready")?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (word, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let number: usize = number.parse().map_err(io::Error::other)?;
        match word {
            "open" => {
                let files = (0..number).map_while(|_| File::open("/dev/null").ok());
                say(&files.collect::<Vec<_>>().len().to_string())?;
            }
            "hold" => {
                // Each page is written, since one that nobody has touched is none.
                held.push(vec![1; number << 20]);
                say(&held.iter().map(Vec::len).sum::<usize>().to_string())?;
            }
            "fork" => say(&children(number).to_string())?,
            "write" => say(&written(number).to_string())?,
            _ => return Err(io::Error::other("no such word")),
        }
    }
    Ok(())
}

fn say(word: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{word}")?;
    stdout.flush()
}

/// Children that live at once.
fn children(number: usize) -> usize {
    let mut pids = Vec::new();
    for _ in 0..number {
        match fork() {
            Ok(Side::Child) => {
                // SAFETY: it takes no pointers, and a signal that ends it is what it waits for.
                unsafe { libc::pause() };
                leave(0);
            }
            Ok(Side::Parent(pid)) => pids.push(pid),
            Err(_) => break,
        }
    }
    for pid in &pids {
        // SAFETY: it takes no pointers, and the child is this one's and not waited for yet.
        unsafe { libc::kill(*pid, libc::SIGKILL) };
        // SAFETY: a null pointer is allowed for the status.
        unsafe { libc::waitpid(*pid, std::ptr::null_mut(), 0) };
    }
    pids.len()
}

/// KiB that a new file takes.
fn written(number: usize) -> usize {
    // SAFETY: ignoring a signal runs no code of this program's.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let Ok(mut file) = File::create("/tmp/written") else {
        return 0;
    };
    (0..number)
        .take_while(|_| file.write_all(&[0; 1024]).is_ok())
        .count()
}
