//! ^Z: the jar stands still, and then belljar stops too, as its shell expects; `fg` has
//! both go on.

use std::time::Duration;

use belljar::{Control, Preset, Wall, event::Freezer};
use rustix::process::{Signal, getpid, kill_process};
use tokio::time::timeout;

use super::signals::{Asked, Signals};
use crate::{job, terminal::Raw, words};

/// The answer where a belljar that stops would leave the jar to itself.
const STAYS: &str = "without a cgroup of its own belljar stays to watch it";
/// The answer where nobody would have a belljar that stops go on again.
const ALONE: &str = "no shell is there to have belljar go on, so it stays";

/// Whether the jar is paused while belljar stays.
#[derive(Debug)]
pub(super) struct Suspended {
    preset: Preset,
    stays: bool,
}

impl Suspended {
    pub(super) fn new(preset: Preset) -> Self {
        Self {
            preset,
            stays: false,
        }
    }

    /// Has the jar stand still with its limit of time, then stops until somebody has belljar
    /// go on. Gives a signal that came meanwhile and asks for something else.
    pub(super) async fn toggle(
        &mut self,
        control: &Control,
        signals: &mut Signals,
        raw: Option<&Raw>,
    ) -> Option<Asked> {
        if self.stays {
            self.stays = false;
            // Where the jar has ended meanwhile, its outcome is on the way; here and below.
            let _ = control.resume().await;
            words::say("the jar goes on");
            return None;
        }
        let paused = tokio::select! {
            paused = control.pause(Wall::Stops) => paused,
            // Whoever changes their mind does not wait.
            asked = other(signals) => {
                let _ = control.resume().await;
                return Some(asked);
            }
        };
        match paused {
            // A plugin can have prepared a timer that lets it go on, and then nobody
            // would hold it to its limits.
            Ok(Freezer::Signals) if self.preset == Preset::Strict => {
                self.stay(STAYS, raw);
            }
            Ok(_) if !job::has_shell() => {
                self.stay(ALONE, raw);
            }
            Ok(_) => {
                // One that came before the stop would be lost in it.
                let early = timeout(Duration::ZERO, other(signals)).await.ok();
                if early.is_none() {
                    stop(raw);
                }
                let _ = control.resume().await;
                return early;
            }
            Err(error) => words::say(&format!(
                "{error}; belljar goes on and watches its limits; ^C ends it"
            )),
        }
        None
    }

    /// Says why, and what to do.
    fn stay(&mut self, why: &str, raw: Option<&Raw>) {
        self.stays = true;
        // What is typed into a raw terminal waits for the jar.
        let end = match raw {
            Some(_) => "SIGTERM to belljar",
            None => "^C",
        };
        words::say(&format!(
            "the jar is paused; {why}: ^Z once more has it go on, {end} ends it"
        ));
    }
}

/// Stops belljar until it is sent SIGCONT.
fn stop(raw: Option<&Raw>) {
    if let Some(raw) = raw {
        // Where the terminal is gone, a hang-up says so, here and below.
        let _ = raw.put_back();
    }
    if let Err(error) = kill_process(getpid(), Signal::STOP) {
        words::say(&format!("cannot stop: {error}"));
    }
    if let Some(raw) = raw {
        let _ = raw.again();
    }
}

/// What asks for something else than to stop.
async fn other(signals: &mut Signals) -> Asked {
    loop {
        match signals.next().await {
            asked @ (Asked::End(_) | Asked::Continue) => return asked,
            Asked::Resize | Asked::Suspend | Asked::Status => {}
        }
    }
}
