//! The child that has done part of a plan before its launch was asked for:
//! which launch it fits, and which steps it may do so early.
//!
//! It may do what depends on the plan's bytes alone, and of what it saw of the
//! machine only what cannot mean anything else when the launch comes: an inode
//! that the plan names, but no path in a mount that others change.

use belljar_plan::message::{Request, Task, descriptors};
use belljar_plan::step::StepView;
use belljar_plan::wire::Steps;
use belljar_plan::{Source, Step};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::net::RecvFlags;

use crate::calls::{self, open, poll};
use crate::channel::{self, Descriptors, Wait};
use crate::clone::Made;
use crate::mapped::Mapped;
use crate::receipts;

/// How long a child may be parked with a part of a plan done, in nanoseconds:
/// the kernel's view of what it hid in `/proc` may have changed, as when a
/// driver was loaded anew.
const LONGEST: u64 = 300 * 1_000_000_000;

/// How long a launch waits for a child that is still at it: less than a fresh
/// one takes.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 1_000_000,
};

/// What a parked child has been told to do.
pub(crate) struct Ahead {
    plan: OwnedFd,
    plan_length: u64,
    /// The sealed image and its length.
    image: Option<(OwnedFd, u64)>,
    /// How many descriptors its launch will have, the lease not counted.
    descriptors: usize,
    /// `CLOCK_MONOTONIC` when it was parked, nanoseconds.
    since: u64,
    /// The machine's table of mounts, which tells when it changes: what the
    /// child shows of it would be another than a fresh one's; proc(5).
    pub(crate) mounts: OwnedFd,
}

impl Ahead {
    /// Takes the plan out of a request to park; `None` where it has none.
    pub(crate) fn take(request: &Request, fds: &mut Descriptors) -> Result<Option<Self>> {
        if request.descriptors == 0 || request.carries == descriptors::CGROUP {
            return Ok(None);
        }
        let carries_image = request.carries == descriptors::IMAGE;
        let expected = 1 + usize::from(carries_image);
        let known = carries_image || request.carries == 0;
        if !known || fds.overflowed() || fds.count() != expected {
            return Err(Errno::PROTO);
        }
        let plan = fds.take(descriptors::PLAN).ok_or(Errno::PROTO)?;
        let image = match carries_image {
            true => fds.take(1).map(|fd| (fd, request.image_length)),
            false => None,
        };
        let mapped = Mapped::new(plan.as_fd(), request.plan_length)?;
        let slots = slots(mapped.bytes())?;
        drop(mapped);
        Ok(Some(Self {
            descriptors: descriptors::FIXED + usize::from(image.is_some()) + slots,
            plan_length: request.plan_length,
            plan,
            image,
            since: receipts::now(),
            mounts: open(
                c"/proc/self/mounts",
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            )?,
        }))
    }

    /// Has a child begin, whose ids are mapped.
    pub(crate) fn begin(&self, made: &Made) -> Result<()> {
        let image = self.image.as_ref();
        let task = Task {
            plan_length: self.plan_length,
            image_length: image.map_or(0, |(_, length)| *length),
            descriptors: 1 + u32::from(image.is_some()),
            carries: descriptors::AHEAD | image.map_or(0, |_| descriptors::IMAGE),
        };
        let plan = self.plan.as_fd();
        let both = [plan, image.map_or(plan, |(fd, _)| fd.as_fd())];
        let fds = both.get(..task.descriptors as usize).unwrap_or(&[]);
        channel::send(made.control.as_fd(), &task.to_bytes(), fds, Wait::No)
    }

    /// Whether it was made for this very plan and image, not too long ago.
    pub(crate) fn fits(&self, launch: &Request, fds: &Descriptors) -> Result<bool> {
        let bit = |bit| usize::from(launch.carries & bit != 0);
        let count = fds.count() - bit(descriptors::LEASE) - bit(descriptors::CGROUP);
        let image_length = self.image.as_ref().map(|(_, length)| *length);
        let launch_s = (bit(descriptors::IMAGE) == 1).then_some(launch.image_length);
        if self.left() == 0
            || self.mounts_changed()?
            || (count, launch.plan_length) != (self.descriptors, self.plan_length)
            || launch_s != image_length
            || !Mapped::equal(
                self.plan.as_fd(),
                fds.at(descriptors::PLAN)?,
                self.plan_length,
            )?
        {
            return Ok(false);
        }
        match &self.image {
            Some((image, length)) => {
                Mapped::equal(image.as_fd(), fds.at(descriptors::FIXED)?, *length)
            }
            None => Ok(true),
        }
    }

    /// Whether anything was mounted or unmounted on the machine since. Asked
    /// once: asking forgets it.
    fn mounts_changed(&self) -> Result<bool> {
        let mut waiting = [PollFd::new(&self.mounts, PollFlags::PRI)];
        poll(&mut waiting, Some(&Timespec::default())).map(|changed| changed != 0)
    }

    /// Whether another would do the same.
    pub(crate) fn equals(&self, other: &Self) -> Result<bool> {
        let length = |ahead: &Self| ahead.image.as_ref().map(|(_, length)| *length);
        if self.plan_length != other.plan_length
            || length(self) != length(other)
            || !Mapped::equal(self.plan.as_fd(), other.plan.as_fd(), self.plan_length)?
        {
            return Ok(false);
        }
        match (&self.image, &other.image) {
            (Some((one, length)), Some((two, _))) => {
                Mapped::equal(one.as_fd(), two.as_fd(), *length)
            }
            _ => Ok(true),
        }
    }

    /// Nanoseconds for which it is still of use.
    pub(crate) fn left(&self) -> u64 {
        LONGEST.saturating_sub(receipts::now().saturating_sub(self.since))
    }
}

/// Whether a child has done what it may, and lives.
pub(crate) fn is_ready(made: &Made) -> bool {
    let mut waiting = [PollFd::new(&made.control, PollFlags::IN)];
    let there = poll(&mut waiting, Some(&PATIENCE)) == Ok(1);
    let [answer] = waiting;
    if !there || answer.revents() != PollFlags::IN {
        return false;
    }
    let received = calls::recv(&made.control, &mut [0; 2][..], RecvFlags::DONTWAIT);
    matches!(received, Ok((1, 1)))
}

/// How many slots a plan has.
pub(crate) fn slots(plan: &[u8]) -> Result<usize> {
    let mut count = 0;
    for step in Steps::new(plan).map_err(|_| Errno::BADMSG)? {
        let slot = match step.map_err(|_| Errno::BADMSG)? {
            Step::Detach { slot, .. }
            | Step::Bind {
                source: Source::Slot { slot },
                ..
            } => usize::from(slot) + 1,
            _ => 0,
        };
        count = count.max(slot);
    }
    match count < channel::MOST - descriptors::FIXED {
        true => Ok(count),
        false => Err(Errno::MFILE),
    }
}

/// Whether pid 1 may do a step before the launch: one that needs no descriptor
/// of the launch, nor looks at paths that others may change meanwhile.
pub(crate) fn may_be_done(step: &StepView<'_>) -> bool {
    match step {
        Step::Bind { source, .. } => !matches!(source, Source::Slot { .. }),
        // In the jar's own /proc only the kernel makes files.
        Step::Mask { path } | Step::ReadOnly { path } => path.starts_with(b"proc/"),
        Step::DropGroups {}
        | Step::TakeIds { .. }
        | Step::OomScore { .. }
        | Step::Undumpable {}
        | Step::DieWithLauncher {}
        | Step::PrivateMounts {}
        | Step::Root { .. }
        | Step::Directory { .. }
        | Step::Symlink { .. }
        | Step::File { .. }
        | Step::PluginFile { .. }
        | Step::Scratch { .. }
        | Step::Sysctls { .. }
        | Step::Proc { .. }
        | Step::Devpts { .. }
        | Step::Device { .. }
        | Step::LeaveMachine {}
        | Step::SealRoot {}
        | Step::Hostname { .. }
        | Step::Loopback {}
        | Step::Keyring {}
        | Step::NoNewPrivs {}
        | Step::Securebits {}
        | Step::Capabilities { .. }
        | Step::Canary {}
        | Step::Queues {} => true,
        Step::Detach { .. }
        | Step::Cgroup { .. }
        | Step::Clone { .. }
        | Step::MapIds { .. }
        | Step::Terminal { .. }
        | Step::Fork {}
        | Step::Session { .. }
        | Step::Streams {}
        | Step::CloseDescriptors {}
        | Step::Workdir { .. }
        | Step::Umask { .. }
        | Step::Rlimit { .. }
        | Step::Signals {}
        | Step::Filter { .. }
        | Step::FixedCode {}
        | Step::Ruleset { .. }
        | Step::AllowPath { .. }
        | Step::AllowQueues { .. }
        | Step::Restrict { .. }
        | Step::Adopt {}
        | Step::DieWithFirst {}
        | Step::MachineRoot {}
        | Step::Exec { .. } => false,
    }
}
