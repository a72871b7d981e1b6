//! The jar's side: serves the one call and ends the process.

use std::{
    any::Any,
    io::{self, Read as _, Write as _},
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    process::exit,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{
    Entry, FUNCTIONS, Served,
    wire::{self, Kind, Request},
};
use crate::sys;

/// The argument by which a program is started to serve. A program that does not know it
/// most likely refuses it, as clap and Rust's test harness do.
pub(super) const ARGUMENT: &str = "--belljar-isolated";

/// A variable that every jar has, and that nobody but Belljar sets.
const TOLD: &str = "SANDBOX_POLICY";

/// What a Rust program ends with after a panic.
const PANICKED: i32 = 101;

/// What Belljar itself ends with where it failed.
const FAILED: i32 = 125;

/// This program's `main` serves where it is asked to.
static SERVES: AtomicBool = AtomicBool::new(false);

/// The last panic's words, which its payload lacks: where it was.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// In a jar that was made for a call, serves that call and ends the process. Elsewhere it
/// only notes that this program can: [`call`](super::IsolatedJar::call) refuses to launch a
/// program whose `main` has not called it.
///
/// The first thing that `main` does: what comes before it is done in each jar again.
pub fn init() {
    if asked() {
        serve();
    }
    SERVES.store(true, Relaxed);
}

/// Whether this process's `main` has called [`init`].
pub(super) fn serves() -> bool {
    SERVES.load(Relaxed)
}

/// It is started as for a call, and in a jar: whoever can give a program arguments cannot
/// make it serve elsewhere, even a service that has no new privileges either.
fn asked() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().is_some_and(|first| first == ARGUMENT)
        && arguments.next().is_none()
        && std::env::var_os(TOLD).is_some()
        && sys::is_confined()
}

fn serve() -> ! {
    let answered = sys::take_stdout().and_then(|mut answer| {
        answer.write_all(wire::HELLO)?;
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes)?;
        let aborts = cfg!(panic = "abort")
            .then(|| answer.try_clone())
            .transpose()?;
        listen(aborts);
        let (kind, bytes) = run(&bytes);
        wire::write(&answer, kind, &bytes)?;
        Ok(kind)
    });
    match answered {
        Ok(Kind::Output) => exit(0),
        Ok(Kind::Panicked) => exit(PANICKED),
        Ok(_) => exit(FAILED),
        Err(error) => {
            // Where nobody reads that either, the status says it.
            let _ = writeln!(io::stderr(), "belljar: cannot serve the call: {error}");
            exit(FAILED)
        }
    }
}

fn run(request: &[u8]) -> (Kind, Vec<u8>) {
    let Some((entry, input)) = find(request) else {
        return (Kind::Unknown, Vec::new());
    };
    match panic::catch_unwind(AssertUnwindSafe(|| (entry.serve)(input))) {
        Ok(Served::Output(bytes)) => (Kind::Output, bytes),
        Ok(Served::Input(reason)) => (Kind::Input, reason.into_bytes()),
        Ok(Served::Unwritten(reason)) => (Kind::Unwritten, reason.into_bytes()),
        Err(payload) => {
            let place = LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner);
            (Kind::Panicked, said(&*payload, &place).into_bytes())
        }
    }
}

fn find(request: &[u8]) -> Option<(&'static Entry, &[u8])> {
    let request = Request::from_bytes(request)?;
    let entry = FUNCTIONS.get(usize::try_from(request.place).ok()?)?;
    (entry.name == request.name).then_some((entry, request.input))
}

/// Keeps where a panic was. Where a panic ends the process at once, it is answered now.
fn listen(aborts: Option<std::fs::File>) {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        if let Some(answer) = &aborts {
            // The process ends by SIGABRT, which tells it too.
            let _ = wire::write(
                answer,
                Kind::Panicked,
                said(info.payload(), &place).as_bytes(),
            );
        }
        *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = place;
        usual(info);
    }));
}

fn said(payload: &(dyn Any + Send), place: &str) -> String {
    let words = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with a value that is no text");
    match place {
        "" => words.to_owned(),
        place => format!("{words}, at {place}"),
    }
}
