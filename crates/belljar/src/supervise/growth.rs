//! Watches how much granted directories grow, on a thread of its own: a file
//! system may keep a walk waiting, and must not keep all other jars waiting.

use std::{
    io,
    os::fd::OwnedFd,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    time::{Duration, Instant},
};

use belljar_plan::{Limit, Plan, Source, Step, plan::Slot};
use tokio::sync::mpsc;

use crate::sys;

/// A walk follows the last one after so long, and after ten times as long as that took.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// Granted directories as they were before the launch.
#[derive(Debug)]
pub(crate) struct Grants {
    tops: Vec<OwnedFd>,
    before: u64,
}

/// How much they have grown; `u64::MAX` where that could not be counted.
#[derive(Debug)]
pub(crate) struct Growth {
    pub(crate) seen: mpsc::UnboundedReceiver<u64>,
    /// Held until one last look is wanted.
    stop: Option<SyncSender<()>>,
}

impl Grants {
    /// Counts what the plan lets the guest write to; none where nothing is
    /// limited. Presets that are not strict limit scratch only.
    pub(crate) fn of_plan(plan: &Plan, slots: &[OwnedFd]) -> io::Result<Option<Self>> {
        let limit = plan
            .limit(Limit::Disk)
            .filter(|limit| limit.covers_grants(plan.preset));
        if limit.is_none() {
            return Ok(None);
        }
        let mut tops = Vec::new();
        for step in &plan.steps {
            let Step::Bind {
                source, attributes, ..
            } = step
            else {
                continue;
            };
            if attributes.read_only {
                continue;
            }
            match source {
                Source::Slot { slot } => {
                    if let Some(top) = slots.get(usize::from(*slot)) {
                        tops.push(top.try_clone()?);
                    }
                }
                Source::Path {
                    path,
                    device,
                    inode,
                } => tops.push(sys::open_slot(&Slot {
                    path: path.clone(),
                    device: *device,
                    inode: *inode,
                })?),
                Source::Scratch { .. } => {}
            }
        }
        // The machine's devices are bound too, and hold nothing.
        tops.retain(sys::holds_bytes);
        if tops.is_empty() {
            return Ok(None);
        }
        match sum(&tops) {
            u64::MAX => Err(io::Error::other(
                "a granted directory is too large or too deep to be watched",
            )),
            before => Ok(Some(Self { tops, before })),
        }
    }

    /// Watches them until [`Growth::last`].
    pub(crate) fn watch(self) -> io::Result<Growth> {
        let (sender, seen) = mpsc::unbounded_channel();
        let (stop, stopped) = sync_channel(0);
        std::thread::Builder::new()
            .name("belljar-grants".to_owned())
            .spawn(move || {
                sys::block_signals();
                let mut pause = INTERVAL;
                loop {
                    let last = stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
                    let begun = Instant::now();
                    let grown = match sum(&self.tops) {
                        u64::MAX => u64::MAX,
                        now => now.saturating_sub(self.before),
                    };
                    if sender.send(grown).is_err() || last {
                        return;
                    }
                    pause = INTERVAL.max(begun.elapsed() * 10);
                }
            })?;
        Ok(Growth {
            seen,
            stop: Some(stop),
        })
    }
}

impl Growth {
    /// The most that was seen, with one last look.
    pub(crate) async fn last(&mut self, patience: Duration) -> u64 {
        drop(self.stop.take());
        let mut most = 0;
        let rest = async {
            while let Some(grown) = self.seen.recv().await {
                most = most.max(grown);
            }
        };
        // A file system that hangs is not waited for.
        let _ = tokio::time::timeout(patience, rest).await;
        most
    }
}

fn sum(tops: &[OwnedFd]) -> u64 {
    let mut sum: u64 = 0;
    for top in tops {
        match sys::held(top) {
            Ok(held) if held.complete => sum = sum.saturating_add(held.bytes),
            _ => return u64::MAX,
        }
    }
    sum
}
