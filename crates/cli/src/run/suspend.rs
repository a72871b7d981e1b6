//! ^Z: the jar stands still, and then belljar stops too, as its shell expects; `fg` has
//! both go on.

use belljar::{Control, Preset, Wall, event::Freezer};
use rustix::process::{Signal, getpid, kill_process};

use crate::{terminal::Raw, words};

/// The answer where a belljar that stops would leave the jar to itself.
const STAYS: &str = "the jar is paused; without a cgroup of its own belljar stays to watch it: ^Z once more has it go on, ^C ends it";

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
    /// go on.
    pub(super) async fn toggle(&mut self, control: &Control, raw: Option<&Raw>) {
        if self.stays {
            self.stays = false;
            // Where the jar has ended meanwhile, its outcome is on the way.
            let _ = control.resume().await;
            return words::say("the jar goes on");
        }
        match control.pause(Wall::Stops).await {
            // A plugin can have prepared a timer that lets it go on, and then nobody
            // would hold it to its limits.
            Ok(Freezer::Signals) if self.preset == Preset::Strict => {
                self.stays = true;
                words::say(STAYS);
            }
            Ok(_) => {
                if let Some(raw) = raw {
                    // Where the terminal is gone, a hang-up says so, here and below.
                    let _ = raw.put_back();
                }
                // It returns once somebody has sent SIGCONT.
                let stopped = kill_process(getpid(), Signal::STOP);
                if let Some(raw) = raw {
                    let _ = raw.again();
                }
                let _ = control.resume().await;
                if let Err(error) = stopped {
                    words::say(&format!("cannot stop: {error}"));
                }
            }
            Err(error) => words::say(&format!(
                "{error}; belljar goes on and watches its limits; ^C ends it"
            )),
        }
    }
}
