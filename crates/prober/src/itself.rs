//! Probes of what a process may do with itself.

use belljar_plan::probe::{Came, Digest, STARTED};
use rustix::io::{Errno, write};

use crate::raw::{self, Ended};
use crate::text::Text;
use crate::{Outcome, Result, Stack, files};

/// A child's exit status where the call was done: no error has this number.
const DONE: i32 = 200;

/// Has a child do something that ends with one of these numbers.
fn in_child(act: impl FnOnce() -> i32) -> Outcome {
    match raw::fork() {
        Ok(0) => raw::exit(act()),
        Ok(child) => match raw::wait(child) {
            Ended::By(DONE | STARTED) => Ok(0).into(),
            Ended::By(errno) => Outcome::refused(Errno::from_raw_os_error(errno), 0),
            Ended::Signal(signal) => Outcome {
                came: Came::Ended(signal),
                value: 0,
            },
            Ended::Unknown(errno) => Outcome::not_tried(errno),
        },
        Err(errno) => Outcome::not_tried(errno),
    }
}

pub(crate) fn call(number: u64, arguments: [u64; 6]) -> Outcome {
    in_child(|| match raw::call(number, arguments) {
        Ok(()) => DONE,
        Err(errno) => errno.raw_os_error(),
    })
}

pub(crate) fn exec(path: &[u8]) -> Outcome {
    let path = match Text::of(&[path]) {
        Ok(path) => path,
        Err(errno) => return Outcome::not_tried(errno),
    };
    in_child(|| match path.c() {
        Ok(path) => raw::exec(path).raw_os_error(),
        Err(errno) => errno.raw_os_error(),
    })
}

pub(crate) fn map() -> Result {
    raw::map(raw::WRITABLE).and_then(|memory| memory.write())
}

pub(crate) fn map_code() -> Result {
    raw::map(raw::WRITABLE_CODE).and_then(|memory| memory.write())
}

pub(crate) fn make_code() -> Result {
    let memory = raw::map(raw::WRITABLE)?;
    memory.write()?;
    memory.make_code()
}

pub(crate) fn file_code(path: &[u8]) -> Outcome {
    let made = files::make(path, 0o700).and_then(|file| {
        write(&file, &[0xc3; files::PIECE])?;
        Ok(file)
    });
    match made {
        Ok(file) => raw::map_file_code(&file).map(|()| 0).into(),
        Err(errno) => Outcome::not_tried(errno),
    }
}

/// How many descriptors are open; none is a refusal, so that a number that is
/// no descriptor answers as it does everywhere.
pub(crate) fn descriptors(first: u64, end: u64) -> Result {
    let open = |number: &u64| i32::try_from(*number).is_ok_and(raw::is_open);
    match (first..end).filter(open).count() {
        0 => Err(Errno::BADF),
        count => Ok(count as u64),
    }
}

pub(crate) fn terminal(descriptor: u64) -> Result {
    let number = i32::try_from(descriptor).map_err(|_| Errno::BADF)?;
    match raw::is_terminal(number) {
        true => Ok(1),
        false => Err(Errno::NOTTY),
    }
}

pub(crate) fn variables(stack: &Stack) -> Result {
    let all = stack.variables().fold(Digest::default(), |all, variable| {
        all.with(variable.to_bytes())
    });
    Ok(all.value())
}

pub(crate) fn variable(stack: &Stack, name: &[u8]) -> Result {
    let has = |variable: &[u8]| {
        variable
            .strip_prefix(name)
            .is_some_and(|rest| rest.first() == Some(&b'='))
    };
    match stack.variables().any(|variable| has(variable.to_bytes())) {
        true => Ok(1),
        false => Err(Errno::NOENT),
    }
}
