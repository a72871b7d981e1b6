//! Signals to belljar: those that ask it to end, and those about the terminal.

use std::{
    fs::File,
    io::{self, Read as _},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// End, for the signal of this number.
    End(i32),
    /// The operator's terminal has another size.
    Resize,
    /// Belljar was stopped and goes on.
    Continue,
    /// Stop for a while, as ^Z asks for.
    Suspend,
    /// Say how it goes.
    Status,
}

/// Signals that are listened to, from before the launch on, so that none finds
/// a jar that nobody tells. ^Z is one of them: a belljar that is stopped watches no
/// limit, so that the jar, in a session of its own, has to stand still first.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
    resize: Option<Signal>,
    continued: Option<Signal>,
    suspend: Option<Signal>,
    status: Option<Signal>,
}

/// Whether the jar has a terminal that follows the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follow {
    /// It has.
    Terminal,
    /// It has none.
    Nothing,
}

impl Signals {
    /// Begins to listen. A signal that was ignored when belljar started stays
    /// ignored, as nohup(1) wants it.
    ///
    /// # Errors
    /// Where a handler cannot be installed.
    pub(crate) fn listen(follow: Follow) -> io::Result<Self> {
        let ignored = ignored();
        let unless_ignored = |kind: SignalKind| {
            (ignored >> (kind.as_raw_value() - 1) & 1 == 0)
                .then(|| signal(kind))
                .transpose()
        };
        let following = |kind| {
            (follow == Follow::Terminal)
                .then(|| signal(kind))
                .transpose()
        };
        Ok(Self {
            interrupt: unless_ignored(SignalKind::interrupt())?,
            terminate: unless_ignored(SignalKind::terminate())?,
            hangup: unless_ignored(SignalKind::hangup())?,
            resize: following(SignalKind::window_change())?,
            continued: Some(signal(SignalKind::from_raw(
                rustix::process::Signal::CONT.as_raw(),
            ))?),
            status: unless_ignored(SignalKind::user_defined1())?,
            suspend: unless_ignored(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()))?,
        })
    }

    /// Waits for the next. Nothing is lost when the wait is given up.
    pub(crate) async fn next(&mut self) -> Asked {
        let end = |kind: SignalKind| Asked::End(kind.as_raw_value());
        tokio::select! {
            () = received(&mut self.interrupt) => end(SignalKind::interrupt()),
            () = received(&mut self.terminate) => end(SignalKind::terminate()),
            () = received(&mut self.hangup) => end(SignalKind::hangup()),
            () = received(&mut self.resize) => Asked::Resize,
            () = received(&mut self.continued) => Asked::Continue,
            () = received(&mut self.suspend) => Asked::Suspend,
            () = received(&mut self.status) => Asked::Status,
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

/// Signals that were ignored at the start, as bits; none where `/proc` does not
/// tell; proc_pid_status(5).
fn ignored() -> u64 {
    // One read: the file is made anew for each, and is shorter than this.
    let mut status = [0; 8192];
    File::open("/proc/self/status")
        .and_then(|mut file| file.read(&mut status))
        .ok()
        .and_then(|length| ignored_in(&String::from_utf8_lossy(&status[..length])))
        .unwrap_or(0)
}

fn ignored_in(status: &str) -> Option<u64> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status_of_the_process() {
        let status = "Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t00000001\n";
        assert_eq!(ignored_in(status), Some(0x1001));
        assert_eq!(ignored_in("Name:\tx\n"), None);
    }
}
