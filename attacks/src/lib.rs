//! Hostile guests, one misbehaviour each, in one program that starts fast.
//!
//! Run with the words of [`guests!`]. A guest prints `stopped: …` and exits 0
//! when its attack failed, and prints `ESCAPED: …` and exits 42 when it came
//! through. It never tries what would hurt a machine where nothing stops it:
//! bombs are bounded by an argument, and targets are named by the test.

mod list;

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::Verdict;
#[cfg(target_os = "linux")]
use linux::*;

/// Whether a stopped attack is a violation in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is.
    Told,
    /// It need not be: what is refused often, or fails by itself, is no event.
    Quiet,
}

impl Event {
    /// As the list and the table spell it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Quiet => "quiet",
        }
    }
}

/// A line of the list.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// Its room, and that of its test.
    pub room: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its test.
    pub test: &'static str,
    /// What stops it.
    pub layer: &'static str,
    /// Whether the report tells of it.
    pub event: Event,
    /// The one preset that stops it; none where every preset for untrusted programs does.
    pub only: Option<&'static str>,
    /// What it tries.
    pub tries: &'static str,
    #[cfg(target_os = "linux")]
    program: fn(&[String]) -> Verdict,
}

macro_rules! event {
    (told) => {
        Event::Told
    };
    (quiet) => {
        Event::Quiet
    };
}

macro_rules! only {
    () => {
        None
    };
    ($preset:ident) => {
        Some(stringify!($preset))
    };
}

macro_rules! table {
    ($(
        #[doc = $tries:literal]
        $room:ident :: $guest:ident => $test:ident : $layer:literal, $event:ident $(in $only:ident)?;
    )+) => {
        /// Every guest, in the order of the list.
        pub const GUESTS: &[Guest] = &[$(Guest {
            room: stringify!($room),
            name: stringify!($guest),
            test: stringify!($test),
            layer: $layer,
            event: event!($event),
            only: only!($($only)?),
            tries: $tries.trim_ascii(),
            #[cfg(target_os = "linux")]
            program: $room::$guest,
        }),+];
    };
}
guests!(table);

impl Guest {
    /// The guest of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        GUESTS.iter().find(|guest| guest.name == name)
    }

    /// Whether it is stopped under this preset.
    #[must_use]
    pub fn is_stopped_in(&self, preset: &str) -> bool {
        self.only.is_none_or(|only| only == preset)
    }
}

/// Prints the list for `cargo xtask attacks`, a line each, with tabs between.
#[cfg(target_os = "linux")]
fn list_all() {
    for guest in GUESTS {
        let test = format!("{}::{}", guest.room, guest.test);
        let words = [
            guest.name,
            &test,
            guest.layer,
            guest.event.word(),
            guest.only.unwrap_or("-"),
            guest.tries,
        ];
        println!("{}", words.join("\t"));
    }
}

/// The version of the kernel's Landlock; 0 where there is none, or it is off.
#[cfg(target_os = "linux")]
#[must_use]
pub fn landlock_version() -> i64 {
    use kernel::{Arg, call};
    const VERSION: i64 = 1;
    let mut asked = [Arg::Number(0), Arg::Number(0), Arg::Number(VERSION)];
    call(libc::SYS_landlock_create_ruleset, &mut asked).unwrap_or(0)
}

/// Runs the guest or plain program of this name, and says how to exit.
#[cfg(target_os = "linux")]
#[must_use]
pub fn run(name: &str, args: &[String]) -> std::process::ExitCode {
    use std::process::ExitCode;

    if name == "list" {
        list_all();
        return ExitCode::SUCCESS;
    }
    if let Some(guest) = Guest::named(name) {
        return match (guest.program)(args) {
            Verdict::Stopped(how) => {
                println!("stopped: {how}");
                ExitCode::SUCCESS
            }
            Verdict::Escaped(where_to) => {
                println!("ESCAPED: {where_to}");
                ExitCode::from(42)
            }
        };
    }
    plain::run(name, args).unwrap_or_else(|| {
        eprintln!("no guest `{name}`");
        ExitCode::from(2)
    })
}
