//! Bombs: each makes one kind of thing until it is refused, or until a bound of its
//! own, and tells how far it came. They are plain programs: what is too much is
//! for the test to say.

mod memory;
mod objects;
mod tasks;

use std::{
    io::{self, Read, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use crate::kernel::{self, Side, call_with};

/// Bytes that one more of a kind took, as far as the guest itself can tell; 0 where
/// what it takes is the kernel's alone.
type Bytes = u64;

/// Makes one more; `number` counts from 0. What it makes stays until the process ends.
type Make = fn(number: u64) -> io::Result<Bytes>;

/// Every kind, by its name.
const KINDS: &[(&str, Make)] = &[
    ("tasks", tasks::sleeper),
    ("zombies", tasks::zombie),
    ("threads", tasks::thread),
    ("descriptors", objects::descriptor),
    ("passed_descriptors", objects::passed_descriptors),
    ("eventfds", objects::eventfd),
    ("timerfds", objects::timerfd),
    ("epolls", objects::epoll),
    ("watched_by_epoll", objects::watched_by_epoll),
    ("inotifies", objects::inotify),
    ("watches", objects::watch),
    ("terminals", objects::terminal),
    ("timers", objects::timer),
    ("signals", objects::signal),
    ("keys", objects::key),
    ("semaphores", objects::semaphores),
    ("message_queues", objects::message_queue),
    ("posix_queues", objects::posix_queue),
    ("locks", objects::lock),
    ("names", objects::name_that_is_not),
    ("contexts", objects::context),
    ("rings", objects::ring),
    ("fault_handlers", objects::fault_handler),
    ("namespaces", objects::namespace),
    ("mounts", objects::mount),
    ("memory", memory::private),
    ("shared_maps", memory::shared),
    ("maps", memory::map),
    ("page_tables", memory::page_table),
    ("locked_memory", memory::locked),
    ("memory_files", memory::memory_file),
    ("segments", memory::segment),
    ("shm_files", memory::shm_file),
    ("scratch", memory::scratch),
    ("files", memory::file),
    ("pipes", memory::pipe),
    ("socket_pairs", memory::socket_pair),
    ("datagrams", memory::datagrams),
    ("connections", memory::connection),
];

/// `bomb [hold] KIND=MOST…`: each kind in a process of its own, one after another, which ends
/// with all that it made; a line for each: the kind, how many were made, bytes that are known
/// of, and the error's number, or 0 where it came to MOST. With `hold` each waits
/// for a byte of the input before it ends, so that others can look.
pub(crate) fn bomb(args: &[String]) -> io::Result<()> {
    let (holds, kinds) = match args.split_first() {
        Some((first, rest)) if first == "hold" => (true, rest),
        _ => (false, args),
    };
    for asked in kinds {
        let (kind, most) = asked.split_once('=').expect("KIND=MOST");
        let most = most.parse().expect("a number");
        let (_, make) = KINDS
            .iter()
            .find(|(name, _)| *name == kind)
            .unwrap_or_else(|| panic!("no bomb `{kind}`"));
        // Where not even one child may be made, this process does.
        match kernel::fork() {
            Ok(Side::Child) => {
                explode(kind, *make, most, holds)?;
                tasks::end_all();
                kernel::leave(0);
            }
            Ok(Side::Parent(pid)) => kernel::wait_for(pid)?,
            Err(_) => explode(kind, *make, most, holds)?,
        }
    }
    Ok(())
}

fn explode(kind: &str, make: Make, most: u64, holds: bool) -> io::Result<()> {
    crate::resources::raise_descriptors();
    let (mut made, mut bytes, mut errno) = (0, 0, 0);
    while made < most {
        match make(made) {
            Ok(more) => bytes += more,
            Err(error) => {
                errno = error.raw_os_error().unwrap_or(-1);
                break;
            }
        }
        made += 1;
        // Whoever is ended for it has told how far it came.
        if bytes > 0 && made % 16 == 0 {
            println!("{kind} {made} {bytes} so far");
        }
    }
    println!("{kind} {made} {bytes} {errno}");
    io::stdout().flush()?;
    if holds {
        io::stdin().read_exact(&mut [0])?;
    }
    Ok(())
}

/// Writes into a descriptor that does not wait, until it would.
fn fill(descriptor: &impl AsFd, block: usize) -> Bytes {
    static BLOCK: [u8; 1 << 20] = [7; 1 << 20];
    let mut filled = 0;
    let number = descriptor.as_fd().as_raw_fd().into();
    let mut block = block.min(BLOCK.len());
    while block > 0 {
        let words = [
            kernel::Arg::Number(number),
            kernel::Arg::In(&BLOCK[..block]),
            kernel::Arg::Number(i64::try_from(block).unwrap_or(0)),
        ];
        match kernel::call(libc::SYS_write, &mut { words }) {
            Ok(count) => filled += count.unsigned_abs(),
            // The last gaps are filled by smaller blocks.
            Err(_) => block /= 16,
        }
    }
    filled
}

/// Leaves a descriptor open for as long as the process lives.
fn keep(descriptor: impl Into<OwnedFd>) {
    std::mem::forget(descriptor.into());
}

/// A call of numbers only, of which one that opens a descriptor leaves it open.
fn kept(number: libc::c_long, args: &[i64]) -> io::Result<Bytes> {
    call_with(number, args).map(|_| 0)
}
