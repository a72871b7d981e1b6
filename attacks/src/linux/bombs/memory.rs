//! Bombs of memory: of processes, of files in memory, of what lies in pipes and
//! sockets, and of what the kernel needs to keep account of it.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
};

use super::{Bytes, fill, keep};
use crate::kernel::{Arg, call, call_with};

const MIB: u64 = 1 << 20;
const GIB: i64 = 1 << 30;
const PAGE: u64 = 4096;

/// What one table of the lowest level covers; the kernel's mm/page_tables.rst.
const OF_ONE_TABLE: u64 = 2 * MIB;

/// mmap(2) of memory without a file.
fn map_memory(bytes: i64, access: i32, flags: i32) -> io::Result<i64> {
    let flags = flags | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    call_with(
        libc::SYS_mmap,
        &[0, bytes, access.into(), flags.into(), -1, 0],
    )
}

/// Writes to each page.
fn touch(at: i64, bytes: u64) {
    for page in 0..bytes / PAGE {
        let address = (at.unsigned_abs() + page * PAGE) as *mut u8;
        // SAFETY: the pages are the caller's own new mapping, and can be written.
        unsafe { address.write_volatile(7) };
    }
}

/// A MiB of memory that is written to.
fn mebibyte(flags: i32) -> io::Result<Bytes> {
    let at = map_memory(MIB.cast_signed(), libc::PROT_READ | libc::PROT_WRITE, flags)?;
    touch(at, MIB);
    Ok(MIB)
}

pub(super) fn private(_: u64) -> io::Result<Bytes> {
    mebibyte(libc::MAP_PRIVATE)
}

pub(super) fn shared(_: u64) -> io::Result<Bytes> {
    mebibyte(libc::MAP_SHARED)
}

/// One page that is not used, apart from its neighbours by what may be done with it:
/// what it takes is the kernel's note of it.
pub(super) fn map(number: u64) -> io::Result<Bytes> {
    let access = match number % 2 {
        0 => libc::PROT_NONE,
        _ => libc::PROT_READ,
    };
    map_memory(PAGE.cast_signed(), access, libc::MAP_PRIVATE).map(|_| 0)
}

/// A page that is only read, so that it is the kernel's own page of zeros, far from any
/// other: what it takes is a table of pages.
pub(super) fn page_table(number: u64) -> io::Result<Bytes> {
    thread_local!(static AT: RefCell<i64> = const { RefCell::new(0) });
    const TABLES: u64 = GIB.unsigned_abs() / OF_ONE_TABLE;
    AT.with_borrow_mut(|at| {
        if number.is_multiple_of(TABLES) {
            *at = map_memory(GIB, libc::PROT_READ, libc::MAP_PRIVATE)?;
            // A huge page would need no table.
            let advice = [*at, GIB, libc::MADV_NOHUGEPAGE.into()];
            drop(call_with(libc::SYS_madvise, &advice));
        }
        let address = (at.unsigned_abs() + number % TABLES * OF_ONE_TABLE) as *const u8;
        // SAFETY: it lies in this function's own mapping, which can be read.
        unsafe { address.read_volatile() };
        Ok(PAGE)
    })
}

/// A MiB that shall never be swapped out.
pub(super) fn locked(_: u64) -> io::Result<Bytes> {
    let length = MIB.cast_signed();
    let at = map_memory(
        length,
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE,
    )?;
    call_with(libc::SYS_mlock, &[at, length])?;
    Ok(MIB)
}

/// A file without a name, of a MiB; memfd_create(2).
pub(super) fn memory_file(_: u64) -> io::Result<Bytes> {
    let number = call(
        libc::SYS_memfd_create,
        &mut [Arg::Text(c"bomb"), Arg::Number(0)],
    )?;
    written(own(number).into(), MIB)
}

/// A segment of System V shared memory, of a MiB, which needs no descriptor and which nobody
/// has attached.
pub(super) fn segment(_: u64) -> io::Result<Bytes> {
    let create = i64::from(libc::IPC_CREAT | 0o600);
    let length = MIB.cast_signed();
    let id = call_with(
        libc::SYS_shmget,
        &[libc::IPC_PRIVATE.into(), length, create],
    )?;
    let at = call_with(libc::SYS_shmat, &[id, 0, 0])?;
    touch(at, MIB);
    call_with(libc::SYS_shmdt, &[at])?;
    Ok(MIB)
}

/// A MiB in the shared memory of POSIX.
pub(super) fn shm_file(number: u64) -> io::Result<Bytes> {
    written(File::create(format!("/dev/shm/bomb-{number}"))?, MIB)
}

/// A MiB of the scratch.
pub(super) fn scratch(number: u64) -> io::Result<Bytes> {
    written(File::create(place()?.join(number.to_string()))?, MIB)
}

/// An empty file.
pub(super) fn file(number: u64) -> io::Result<Bytes> {
    File::create(place()?.join(number.to_string())).map(|_| 0)
}

/// A directory of its own in the scratch.
pub(super) fn place() -> io::Result<PathBuf> {
    let scratch = std::env::var_os("TMPDIR").map_or_else(|| "/tmp".into(), PathBuf::from);
    let place = scratch.join(format!("bomb-{}", std::process::id()));
    fs::create_dir_all(&place)?;
    Ok(place)
}

/// Writes so much, which names in memory hold on to.
fn written(mut file: File, bytes: u64) -> io::Result<Bytes> {
    let block = vec![7; usize::try_from(bytes).unwrap_or(0)];
    file.write_all(&block)?;
    // A file that has a name needs no descriptor.
    if file.metadata()?.is_file() && std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) == 0 {
        keep(file);
    }
    Ok(bytes)
}

/// A full pipe, as large as one may be made.
pub(super) fn pipe(_: u64) -> io::Result<Bytes> {
    let mut ends = [0_u8; 8];
    call(
        libc::SYS_pipe2,
        &mut [Arg::Out(&mut ends), Arg::Number(libc::O_NONBLOCK.into())],
    )?;
    let [reader, writer] = [0, 4].map(|at| {
        let number = i32::from_ne_bytes(ends[at..at + 4].try_into().expect("four bytes"));
        own(number.into())
    });
    let writer_number = writer.as_raw_fd().into();
    for size in [MIB, MIB / 4] {
        let larger = [writer_number, libc::F_SETPIPE_SZ.into(), size.cast_signed()];
        if call_with(libc::SYS_fcntl, &larger).is_ok() {
            break;
        }
    }
    let filled = fill(&writer, 1 << 20);
    keep(reader);
    keep(writer);
    Ok(filled)
}

/// Asks for the largest buffers that there are.
fn enlarge(socket: &impl AsRawFd) {
    for option in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
        let most = (1_i32 << 29).to_ne_bytes();
        let words = &mut [
            Arg::Number(socket.as_raw_fd().into()),
            Arg::Number(libc::SOL_SOCKET.into()),
            Arg::Number(option.into()),
            Arg::In(&most),
            Arg::Number(4),
        ];
        // Where it is refused, they stay as they are.
        drop(call(libc::SYS_setsockopt, words));
    }
}

/// Two sockets, each full of what the other does not read.
pub(super) fn socket_pair(_: u64) -> io::Result<Bytes> {
    let (one, other) = UnixStream::pair()?;
    let mut filled = 0;
    for end in [&one, &other] {
        end.set_nonblocking(true)?;
        enlarge(end);
    }
    for end in [&one, &other] {
        filled += fill(end, 1 << 20);
    }
    keep(one);
    keep(other);
    Ok(filled)
}

/// A socket full of what it sent to itself.
pub(super) fn datagrams(_: u64) -> io::Result<Bytes> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    enlarge(&socket);
    socket.connect(socket.local_addr()?)?;
    socket.set_nonblocking(true)?;
    // What does not fit is lost without a word, so that the guest cannot tell when.
    for _ in 0..200 {
        drop(socket.send(&[7; 8192]));
    }
    keep(socket);
    Ok(0)
}

/// A connection that is full in both directions, after its buffers were made to grow by
/// much that was read.
pub(super) fn connection(_: u64) -> io::Result<Bytes> {
    const ROUNDS: u32 = 8;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut one = TcpStream::connect(listener.local_addr()?)?;
    let (mut other, _) = listener.accept()?;
    one.set_nonblocking(true)?;
    other.set_nonblocking(true)?;
    let mut block = vec![0; 1 << 20];
    for _ in 0..ROUNDS {
        fill(&one, 1 << 20);
        while other.read(&mut block).is_ok_and(|count| count > 0) {}
        fill(&other, 1 << 20);
        while one.read(&mut block).is_ok_and(|count| count > 0) {}
    }
    let filled = fill(&one, 1 << 20) + fill(&other, 1 << 20);
    keep(one);
    keep(other);
    Ok(filled)
}

fn own(number: i64) -> OwnedFd {
    let number = i32::try_from(number).expect("a descriptor");
    // SAFETY: the kernel gave it just now, and nothing else has it.
    unsafe { OwnedFd::from_raw_fd(number) }
}
