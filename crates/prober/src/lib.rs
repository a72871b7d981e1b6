//! The program that `belljar prove` starts in the place of the real one: it
//! makes the calls that its arguments tell it to make, and writes what the kernel
//! answered, a line each.
//!
//! It decides nothing, and uses nothing of the system that it tries: no std, no
//! libc, no allocator. What must not change the prober itself is done by a child
//! of its own. Every wait is bounded.
//!
//! Form of arguments and lines: [`belljar_plan::probe`]. Only Linux on x86_64
//! and aarch64; for anything else this crate is empty.
#![cfg_attr(not(test), no_std)]
#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]

mod files;
mod itself;
mod limits;
mod others;
mod raw;
mod start;
mod text;

use belljar_plan::probe::{Answer, Came, Probe, STARTED};
use rustix::io::Errno;

pub use self::start::Stack;

/// What a trial gave: a number, or why not.
pub(crate) struct Outcome {
    came: Came,
    value: u64,
}

/// How trials that count nothing on the way end.
pub(crate) type Result = core::result::Result<u64, Errno>;

impl From<Result> for Outcome {
    fn from(result: Result) -> Self {
        match result {
            Ok(value) => Self {
                came: Came::Done,
                value,
            },
            Err(errno) => Self::refused(errno, 0),
        }
    }
}

impl Outcome {
    /// Refused, after so much was let through.
    pub(crate) fn refused(errno: Errno, value: u64) -> Self {
        Self {
            came: Came::Refused(code(errno)),
            value,
        }
    }

    /// Something on the way to the trial failed.
    pub(crate) fn not_tried(errno: Errno) -> Self {
        Self {
            came: Came::NotTried(code(errno)),
            value: 0,
        }
    }
}

fn code(errno: Errno) -> u16 {
    u16::try_from(errno.raw_os_error()).unwrap_or(u16::MAX)
}

/// Runs the prober with what the kernel put on its stack. Never returns.
pub fn main(stack: Stack) -> ! {
    if stack.arguments().count() <= 1 {
        raw::exit(STARTED);
    }
    // To be told that a file grew too long by an error.
    raw::ignore_file_size_signal();
    for (index, argument) in stack.arguments().skip(1).enumerate() {
        let outcome = match Probe::decode(argument.to_bytes()) {
            Some(probe) => attempt(probe, &stack),
            None => Outcome::not_tried(Errno::INVAL),
        };
        let answer = Answer {
            index: index as u64,
            came: outcome.came,
            value: outcome.value,
        };
        let mut line = [0; Answer::LONGEST];
        let length = answer.write(&mut line);
        if files::write_all(line.get(..length).unwrap_or(&[])).is_err() {
            raw::exit(1);
        }
    }
    raw::exit(0)
}

/// Ends the process at once; for the program's panic handler.
pub fn abort() -> ! {
    raw::exit(134)
}

fn attempt(probe: Probe<'_>, stack: &Stack) -> Outcome {
    match probe {
        Probe::Read { path } => files::read(path).into(),
        Probe::Write { path } => files::write(path).into(),
        Probe::Unlisted { path_and_names } => files::unlisted(path_and_names).into(),
        Probe::Fill { most, path } => files::fill(path, most),
        Probe::Signal { pid } => others::signal(pid).into(),
        Probe::Find { word } => others::find(word),
        Probe::Word { .. } => Ok(0).into(),
        Probe::Leave {} => others::leave(),
        Probe::Tcp { port } => others::tcp(port).into(),
        Probe::Loopback {} => others::loopback().into(),
        Probe::Unix { path } => others::unix(path).into(),
        Probe::Abstract { name } => others::abstract_name(name).into(),
        Probe::Pair {} => others::pair().into(),
        Probe::Attach { id } => others::attach(id).into(),
        Probe::Segment {} => others::segment().into(),
        Probe::HoldSegment {} => others::hold_segment().into(),
        Probe::Call {
            number,
            a,
            b,
            c,
            d,
            e,
            f,
        } => itself::call(number, [a, b, c, d, e, f]),
        Probe::Exec { path } => itself::exec(path),
        Probe::MapCode {} => itself::map_code().into(),
        Probe::MakeCode {} => itself::make_code().into(),
        Probe::FileCode { path } => itself::file_code(path),
        Probe::Map {} => itself::map().into(),
        Probe::Descriptors { first, end } => itself::descriptors(first, end).into(),
        Probe::Terminal { descriptor } => itself::terminal(descriptor).into(),
        Probe::Variables {} => itself::variables(stack).into(),
        Probe::Variable { name } => itself::variable(stack, name).into(),
        Probe::Grow {
            bytes,
            milliseconds,
        } => limits::grow(bytes, milliseconds).into(),
        Probe::Spin { milliseconds } => limits::spin(milliseconds).into(),
        Probe::Sleep { milliseconds } => limits::sleep(milliseconds).into(),
        Probe::Flood { bytes } => limits::flood(bytes).into(),
        Probe::Tasks { most } => limits::tasks(most),
        Probe::Files { most } => limits::files(most),
        Probe::Share { milliseconds } => limits::share(milliseconds).into(),
        Probe::Direct { most, path } => limits::direct(most, path).into(),
        Probe::Wait {} => limits::wait().into(),
    }
}
