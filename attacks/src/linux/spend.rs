//! A plain program that uses exactly what it is told to, so that what is said of it can be
//! held against that.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::AsRawFd,
    time::Duration,
};

use crate::kernel::{self, Side};

const MIB: usize = 1 << 20;

/// `spend WORD=AMOUNT…`, one after the other: `cpu=MILLISECONDS,PROCESSES` burns so much
/// processor time in all, shared out over processes; `orphans=MILLISECONDS` burns it in a
/// process that nobody waits for; `touch=MIB` takes memory and keeps it; `writes=FILE,MIB`
/// writes to a disk and waits for it; `prints=BYTES` to stdout; `switches=TIMES` gives up the
/// processor to a process and back; `stay=MILLISECONDS` sleeps. It says `ready` before it
/// stays.
pub(crate) fn spend(args: &[String]) -> io::Result<()> {
    let mut kept = Vec::new();
    for word in args {
        let (verb, amount) = word.split_once('=').expect("a word and an amount");
        let number = |text: &str| text.parse::<usize>().expect("a number");
        let pair = || amount.split_once(',').expect("two amounts");
        match verb {
            "cpu" => {
                let (time, processes) = pair();
                burn_in(milliseconds(number(time)), number(processes))?;
            }
            "orphans" => orphan(milliseconds(number(amount)))?,
            "touch" => kept.push(touched(number(amount) * MIB)),
            "writes" => {
                let (file, size) = pair();
                write_out(file, number(size) * MIB)?;
            }
            "prints" => io::stdout().write_all(&vec![b'x'; number(amount)])?,
            "switches" => switch(number(amount))?,
            "stay" => {
                println!("ready");
                std::thread::sleep(milliseconds(number(amount)));
            }
            other => panic!("no such word: {other}"),
        }
    }
    std::hint::black_box(kept);
    Ok(())
}

fn milliseconds(count: usize) -> Duration {
    Duration::from_millis(u64::try_from(count).expect("a time"))
}

/// Processor time of this thread.
fn used() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one such struct.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "a clock that is always there");
    let seconds = u64::try_from(time.tv_sec).expect("no time before its start");
    let nanoseconds = u32::try_from(time.tv_nsec).expect("less than a second");
    Duration::new(seconds, nanoseconds)
}

fn burn(time: Duration) {
    let end = used() + time;
    while used() < end {
        for number in 0..100_000_u32 {
            std::hint::black_box(number);
        }
    }
}

/// They begin once all are there, so that a slow machine has all of them at a time.
fn burn_in(time: Duration, processes: usize) -> io::Result<()> {
    let (mut begin, hold) = io::pipe()?;
    let each = time / u32::try_from(processes).expect("few processes");
    let mut children = Vec::new();
    for _ in 0..processes {
        match kernel::fork()? {
            Side::Child => {
                // SAFETY: the copy that this process has of it, used for nothing else.
                unsafe { libc::close(hold.as_raw_fd()) };
                let _ = begin.read(&mut [0]);
                burn(each);
                kernel::leave(0);
            }
            Side::Parent(child) => children.push(child),
        }
    }
    drop(hold);
    children.into_iter().try_for_each(kernel::wait_for)
}

/// Its parent ends at once, and pid 1 adopts it. It is waited for by the end of a pipe.
fn orphan(time: Duration) -> io::Result<()> {
    let (mut read, write) = io::pipe()?;
    match kernel::fork()? {
        Side::Child => {
            if let Side::Child = kernel::fork()? {
                burn(time);
            }
            kernel::leave(0);
        }
        Side::Parent(child) => {
            kernel::wait_for(child)?;
            drop(write);
            read.read_to_end(&mut Vec::new()).map(drop)
        }
    }
}

/// Page by page, however large the kernel would make them.
fn touched(size: usize) -> Vec<u8> {
    // SAFETY: the request takes numbers, and only says how memory is given later.
    let _ = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    let mut bytes = vec![0; size];
    for page in bytes.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(bytes)
}

fn write_out(file: &str, size: usize) -> io::Result<()> {
    let mut file = File::create(file)?;
    let bytes = vec![b'x'; MIB];
    for _ in 0..size / MIB {
        file.write_all(&bytes)?;
    }
    file.sync_all()
}

fn switch(times: usize) -> io::Result<()> {
    let (mut read, mut write) = io::pipe()?;
    let (mut back, mut answer) = io::pipe()?;
    match kernel::fork()? {
        Side::Child => {
            for _ in 0..times {
                read.read_exact(&mut [0])?;
                answer.write_all(&[1])?;
            }
            kernel::leave(0);
        }
        Side::Parent(child) => {
            for _ in 0..times {
                write.write_all(&[1])?;
                back.read_exact(&mut [0])?;
            }
            kernel::wait_for(child)
        }
    }
}
