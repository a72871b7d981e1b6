//! Attacks by timers: so many that the kernel runs out, or so fast that nobody
//! else gets to run. Each takes a bound of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    Verdict,
    kernel::{Arg, call, call_with},
};

/// `struct sigevent` of a timer: a signal.
fn signal_event(signal: i32) -> [u8; 64] {
    let mut event = [0; 64];
    // sigev_value, sigev_signo, sigev_notify: SIGEV_SIGNAL is 0.
    event[8..12].copy_from_slice(&signal.to_ne_bytes());
    event
}

fn make_timer() -> std::io::Result<i32> {
    let mut id = [0_u8; 4];
    call(
        libc::SYS_timer_create,
        &mut [
            Arg::Number(libc::CLOCK_MONOTONIC.into()),
            Arg::In(&signal_event(libc::SIGALRM)),
            Arg::Out(&mut id),
        ],
    )?;
    Ok(i32::from_ne_bytes(id))
}

/// `make_timers COUNT`: each is kept by the kernel.
pub(crate) fn make_timers(args: &[String]) -> Verdict {
    let count: u32 = args[0].parse().expect("a number");
    for made in 0..count {
        if let Err(error) = make_timer() {
            return Verdict::Stopped(format!("after {made}: {error}"));
        }
    }
    Verdict::Escaped(format!("made {count}"))
}

static TICKS: AtomicU64 = AtomicU64::new(0);

const SIGNALS: [libc::c_int; 3] = [libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF];

/// When the storm is over, in nanoseconds of the monotonic clock: the program
/// itself may not get to run any more.
static END: AtomicU64 = AtomicU64::new(u64::MAX);

fn now() -> u64 {
    // SAFETY: all zeros is a time.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: `time` lives through the call, which may be made in a signal handler.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

extern "C" fn tick(_: libc::c_int) {
    TICKS.fetch_add(1, Ordering::Relaxed);
    if now() > END.load(Ordering::Relaxed) {
        for signal in SIGNALS {
            // SAFETY: SIG_IGN runs no code, and signal may be called in a handler.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
}

/// `storm_of_signals SECONDS`: timers of every kind, as fast as they go, for
/// signals that it catches.
pub(crate) fn storm_of_signals(args: &[String]) -> Verdict {
    let seconds: u64 = args[0].parse().expect("seconds");
    let end = now() + seconds * 1_000_000_000;
    END.store(end, Ordering::Relaxed);
    let handler = tick as extern "C" fn(libc::c_int) as libc::sighandler_t;
    for signal in SIGNALS {
        // SAFETY: the handler counts, and makes calls that may be made in one.
        unsafe { libc::signal(signal, handler) };
    }
    // struct itimerval and itimerspec: an interval and a first value, each of two words.
    let microsecond = [0_u64, 1, 0, 1].map(u64::to_ne_bytes).concat();
    let nanoseconds = [0_u64, 1000, 0, 1000].map(u64::to_ne_bytes).concat();
    for kind in [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF] {
        drop(call(
            libc::SYS_setitimer,
            &mut [
                Arg::Number(kind.into()),
                Arg::In(&microsecond),
                Arg::Number(0),
            ],
        ));
    }
    for _ in 0..64 {
        if let Ok(id) = make_timer() {
            drop(call(
                libc::SYS_timer_settime,
                &mut [
                    Arg::Number(id.into()),
                    Arg::Number(0),
                    Arg::In(&nanoseconds),
                    Arg::Number(0),
                ],
            ));
        }
    }
    while now() < end {
        // Its own signals end each wait.
        drop(call_with(libc::SYS_sched_yield, &[]));
    }
    Verdict::Escaped(format!("{} ticks", TICKS.load(Ordering::Relaxed)))
}
