//! Watches how much granted directories grow, on a thread of its own: a file
//! system may keep a walk waiting, and must not keep all other jars waiting.

use std::{
    io,
    os::fd::OwnedFd,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    time::{Duration, Instant},
};

use belljar_plan::{Limit, Plan, plan::Slot};
use tokio::sync::mpsc;

use crate::sys::{self, Grown, HeldProject};

/// A look follows the last one after so long, and after ten times as long as that took.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// Something in a granted project is another's: EXDEV.
const ANOTHER_S: i32 = 18;

/// A granted directory is too large, or too deep, to be counted: EOVERFLOW.
const TOO_MUCH: i32 = 75;

/// Granted directories as they were before the launch.
#[derive(Debug)]
pub(crate) enum Grants {
    /// What they hold is counted by walks.
    Walked { tops: Vec<OwnedFd>, before: u64 },
    /// They are a project, whose quota holds it, and which the kernel counts.
    Held(HeldProject),
}

/// How much they have grown; `u64::MAX` bytes where that could not be counted.
#[derive(Debug)]
pub(crate) struct Growth {
    pub(crate) seen: mpsc::UnboundedReceiver<Grown>,
    /// Held until one last look is wanted.
    stop: Option<SyncSender<()>>,
}

/// What a plan lets the guest write to, opened; nothing where that is not limited, since
/// presets that are not strict limit scratch only.
fn limited(plan: &Plan) -> io::Result<Vec<(OwnedFd, Slot)>> {
    let limit = plan.limit(Limit::Disk);
    if !limit.is_some_and(|limit| limit.covers_grants(plan.preset)) {
        return Ok(Vec::new());
    }
    let mut tops = Vec::new();
    for slot in plan.writable() {
        tops.push((sys::open_slot(&slot)?, slot));
    }
    // The machine's devices are bound too, and hold nothing.
    tops.retain(|(top, _)| sys::holds_bytes(top));
    Ok(tops)
}

/// The one project of a file system that everything is in which a plan lets the guest write
/// to and limits, where its quota can be set.
pub(crate) fn project(plan: &Plan) -> Option<u32> {
    if !sys::facts::privileged() {
        return None;
    }
    let tops = limited(plan).ok()?;
    let ((first, slot), others) = tops.split_first()?;
    let project = sys::project(first)?;
    let same = others
        .iter()
        .all(|(top, other)| other.device == slot.device && sys::project(top) == Some(project));
    (same && tops.iter().all(|(top, _)| sys::is_all_of(top, project))).then_some(project)
}

impl Grants {
    /// Has what the plan lets the guest write to held, or counts it; none where nothing is
    /// limited.
    pub(crate) fn of_plan(plan: &Plan) -> io::Result<Option<Self>> {
        let tops = limited(plan)?;
        let Some((top, slot)) = tops.first() else {
            return Ok(None);
        };
        if let Some(quota) = plan.quota {
            // What came meanwhile from another project would be held by nothing.
            if project(plan) != Some(quota.project) {
                return Err(io::Error::from_raw_os_error(ANOTHER_S));
            }
            return HeldProject::hold(top, &slot.path, quota).map(|held| Some(Self::Held(held)));
        }
        let tops: Vec<OwnedFd> = tops.into_iter().map(|(top, _)| top).collect();
        match sum(&tops) {
            u64::MAX => Err(io::Error::from_raw_os_error(TOO_MUCH)),
            before => Ok(Some(Self::Walked { tops, before })),
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
                    if sender.send(self.grown()).is_err() || last {
                        break;
                    }
                    pause = INTERVAL.max(begun.elapsed() * 10);
                }
                // Whoever waits for the last look finds the quota as it was.
                drop(self);
                drop(sender);
            })?;
        Ok(Growth {
            seen,
            stop: Some(stop),
        })
    }

    fn grown(&self) -> Grown {
        let unknown = Grown {
            bytes: u64::MAX,
            full: false,
        };
        match self {
            Self::Walked { tops, before } => match sum(tops) {
                u64::MAX => unknown,
                now => Grown {
                    bytes: now.saturating_sub(*before),
                    full: false,
                },
            },
            Self::Held(held) => held.grown().unwrap_or(unknown),
        }
    }
}

impl Growth {
    /// The most that was seen, with one last look.
    pub(crate) async fn last(&mut self, patience: Duration) -> Grown {
        drop(self.stop.take());
        let mut most = Grown::default();
        let rest = async {
            while let Some(grown) = self.seen.recv().await {
                most.bytes = most.bytes.max(grown.bytes);
                most.full |= grown.full;
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
