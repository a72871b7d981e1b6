//! All jars of this process, to be ended by one call.

use std::{sync::Arc, time::Duration};

use belljar_plan::{Report, outcome::StoppedBy};
use tokio::sync::{mpsc::WeakUnboundedSender, watch as latest};

use super::{Asked, Control, Half};
use crate::launch::Engine;

/// One jar that runs, as far as it takes to end it.
#[derive(Clone, Debug)]
struct One {
    /// Whoever holds the jar keeps its end; a jar that is let go of ends by that.
    control: WeakUnboundedSender<Asked>,
    ended: latest::Receiver<Option<Arc<Report>>>,
}

/// Jars that were launched and, as far as is known, have not ended.
#[derive(Debug, Default)]
pub(crate) struct All {
    jars: Vec<One>,
    /// Those that have ended are forgotten when there are so many.
    forget_at: usize,
}

impl All {
    /// Takes in a jar that runs.
    pub(crate) fn add(&mut self, half: &Half) {
        if self.jars.len() >= self.forget_at {
            self.jars.retain(One::lives);
            // So that each is looked at twice, however many there are.
            self.forget_at = 2 * self.jars.len() + 16;
        }
        self.jars.push(One {
            control: half.control.downgrade(),
            ended: half.ended.clone(),
        });
    }

    fn living(&mut self) -> Vec<One> {
        self.jars.retain(One::lives);
        self.jars.clone()
    }
}

impl One {
    fn lives(&self) -> bool {
        self.ended.borrow().is_none() && self.ended.has_changed().is_ok()
    }
}

/// Stops every jar that this process has launched, as [`Control::stop`] does, and waits until
/// nothing of them is left. Gives how many there were. A launch that is under way meanwhile
/// is none of them.
pub async fn stop_all(by: StoppedBy, signal: i32, grace: Duration) -> usize {
    all(|control| control.stop(by, signal, grace)).await
}

/// The same at once, as [`Control::kill`].
pub async fn kill_all() -> usize {
    all(Control::kill).await
}

async fn all(end: impl Fn(&Control)) -> usize {
    let Some(engine) = Engine::started() else {
        return 0;
    };
    let jars = engine.all().living();
    for jar in &jars {
        if let Some(control) = jar.control.upgrade() {
            end(&Control(control));
        }
    }
    let count = jars.len();
    for mut jar in jars {
        // Where its supervision is gone, so is the jar.
        let _ = jar.ended.wait_for(Option::is_some).await;
    }
    count
}
