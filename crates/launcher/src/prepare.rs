//! The launcher's part of a plan: mounts made of the plan's slots, the child
//! with its namespaces, its ids.

use belljar_plan::Step;
use belljar_plan::message::{NO_STEP, Request, Task, descriptors};
use belljar_plan::step::StepView;
use belljar_plan::wire::Steps;
use rustix::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use rustix::io::{Errno, Result};

use crate::ahead;
use crate::calls;
use crate::channel::Descriptors;
use crate::clone::{self, Cgroup, Holder, Ids, Kind, Made};
use crate::jars::{Entry, Table, Use};
use crate::mapped::Mapped;
use crate::raw;
use crate::receipts::{self, Receipts};
use crate::steps::{attribute_bits, mounts};

/// A step's index, or [`NO_STEP`], and why it failed.
pub(crate) type Failure = (u16, Errno);

/// Where a launch's child came from.
pub(crate) enum Child {
    Fresh(Made),
    Parked(Made),
}

impl Child {
    pub(crate) const fn made(&self) -> &Made {
        match self {
            Self::Fresh(made) | Self::Parked(made) => made,
        }
    }
}

/// A launch whose rest is the child's.
pub(crate) struct Prepared {
    pub(crate) child: Child,
    pub(crate) task: Task,
    pub(crate) receipts: Receipts,
    /// A lock of the parent's that is held while the jar lives.
    pub(crate) lease: Option<OwnedFd>,
}

/// Runs the plan up to what is pid 1's. Afterwards `fds` are what the child gets.
pub(crate) fn prepare(
    launch: &Request,
    fds: &mut Descriptors,
    table: &mut Table,
) -> core::result::Result<Prepared, Failure> {
    let whole = |errno| (NO_STEP, errno);
    calls::at_step(NO_STEP);
    if fds.overflowed() {
        return Err((NO_STEP, Errno::MFILE));
    }
    if fds.count() != launch.descriptors as usize {
        return Err((NO_STEP, Errno::PROTO));
    }
    let carried = |bit| usize::from(launch.carries & bit != 0);
    let lease_at = descriptors::FIXED + carried(descriptors::IMAGE);
    let cgroup_at = lease_at + carried(descriptors::LEASE);
    let slots = cgroup_at + carried(descriptors::CGROUP);
    if fds.count() < slots {
        return Err((NO_STEP, Errno::PROTO));
    }
    let cgroup = match carried(descriptors::CGROUP) {
        0 => None,
        _ => fds.take(cgroup_at),
    };
    let lease = match carried(descriptors::LEASE) {
        0 => None,
        _ => fds.take(lease_at),
    };
    let progress = fds.at(descriptors::PROGRESS).map_err(whole)?.as_raw_fd();
    let plan = fds.at(descriptors::PLAN).map_err(whole)?;
    let plan = Mapped::new(plan, launch.plan_length).map_err(whole)?;
    let mut receipts = Receipts::new();
    let mut mappings = Mappings::default();
    let mut child = None;
    let mut joins = None;
    let steps = Steps::new(plan.bytes()).map_err(|_| (NO_STEP, Errno::BADMSG))?;
    let mut rest = steps.clone();
    for (at, step) in steps.enumerate() {
        let at = at as u16;
        calls::at_step(at);
        let failed = |errno| (at, errno);
        rest.next();
        match step.map_err(|_| (at, Errno::BADMSG))? {
            Step::Cgroup { .. } => {
                if cgroup.is_none() {
                    return Err((at, Errno::PROTO));
                }
                joins = Some(at);
            }
            Step::Clone { namespaces } => {
                if !namespaces.pid {
                    // Before there is anybody to become an orphan.
                    raw::adopt_orphans().map_err(failed)?;
                }
                // The ids are part of what makes a parked child fit.
                let ids = match rest.clone().next() {
                    Some(Ok(step)) => ids(&step, launch),
                    _ => None,
                };
                // A cgroup is joined at clone or not at all.
                let cgroup = cgroup.as_ref().map(OwnedFd::as_fd);
                let kind = Kind {
                    namespaces,
                    ids,
                    cgroup: cgroup.map(Cgroup::of).transpose().map_err(failed)?,
                };
                child = Some(match unpark(table, &kind, launch, fds) {
                    Some(parked) => Child::Parked(parked),
                    None => {
                        let made = clone::make(kind, cgroup);
                        Child::Fresh(made.map_err(|errno| (blame(errno, joins, at), errno))?)
                    }
                });
            }
            Step::MapIds { .. } => match &child {
                Some(Child::Fresh(Made { kind, pid, .. })) => {
                    let ids = kind.ids.ok_or((at, Errno::PROTO))?;
                    clone::map_ids(*pid, ids).map_err(failed)?;
                }
                // Mapped when it was parked.
                Some(Child::Parked(_)) => {}
                None => return Err((at, Errno::PROTO)),
            },
            step @ Step::Detach { slot, .. } => {
                let slot = slots + usize::from(slot);
                detach(&step, launch, fds, slot, &mut mappings, &mut table.holder)
                    .map_err(failed)?;
            }
            _ => break,
        }
        receipts.note(progress, at, 0).map_err(failed)?;
    }
    calls::at_step(NO_STEP);
    Ok(Prepared {
        child: child.ok_or((NO_STEP, Errno::PROTO))?,
        task: Task {
            plan_length: launch.plan_length,
            image_length: launch.image_length,
            descriptors: launch.descriptors
                - carried(descriptors::LEASE) as u32
                - carried(descriptors::CGROUP) as u32,
            carries: launch.carries & !(descriptors::LEASE | descriptors::CGROUP),
        },
        receipts,
        lease,
    })
}

/// The step that a failed clone is the fault of: these are what clone3(2) answers for a
/// cgroup that cannot be joined.
fn blame(errno: Errno, joins: Option<u16>, clone: u16) -> u16 {
    match (errno, joins) {
        (
            Errno::ACCESS
            | Errno::BUSY
            | Errno::NODEV
            | Errno::NOENT
            | Errno::OPNOTSUPP
            | Errno::BADF,
            Some(joins),
        ) => joins,
        _ => clone,
    }
}

fn ids(step: &StepView<'_>, launch: &Request) -> Option<Ids> {
    match *step {
        Step::MapIds {
            uid,
            gid,
            deny_setgroups,
        } => Some(Ids {
            uid,
            gid,
            machine_uid: launch.machine_uid,
            machine_gid: launch.machine_gid,
            deny_setgroups,
        }),
        _ => None,
    }
}

/// The parked child, where it fits; one that doesn't is let go.
fn unpark(table: &mut Table, kind: &Kind, launch: &Request, fds: &Descriptors) -> Option<Made> {
    let index = table.parked()?;
    let Entry { made, purpose } = table.at(index)?;
    let fits = match purpose {
        Use::Parked(None) => made.kind == *kind,
        Use::Parked(Some(ahead)) => {
            made.kind == *kind && ahead.fits(launch, fds).unwrap_or(false) && ahead::is_ready(made)
        }
        Use::Jar { .. } | Use::Discarded => false,
    };
    if !fits {
        table.discard(index);
        return None;
    }
    // Its pidfd stays in the epoll set under the old index until this launch
    // changes that; no event is taken in between.
    let Entry { mut made, .. } = table.take(index)?;
    // The jar's time begins with its launch.
    made.started = receipts::now();
    Some(made)
}

/// Turns the path descriptor in a slot into a mount of its own.
fn detach(
    step: &StepView<'_>,
    launch: &Request,
    fds: &mut Descriptors,
    slot: usize,
    mappings: &mut Mappings,
    holder: &mut Option<Holder>,
) -> Result<()> {
    let Step::Detach {
        idmap,
        owner_uid,
        owner_gid,
        recursive,
        attributes,
        ..
    } = *step
    else {
        return Err(Errno::PROTO);
    };
    let owner = Owner {
        uid: (owner_uid, launch.machine_uid),
        gid: (owner_gid, launch.machine_gid),
    };
    let mapping = match idmap {
        true => Some(mappings.of(owner, holder)?),
        false => None,
    };
    let bits = attribute_bits(attributes);
    let mount = mounts::detached(fds.at(slot)?, recursive, bits, mapping)?;
    fds.replace(slot, mount)
}

/// Ids on disk, and what they are mapped to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Owner {
    uid: (u32, u32),
    gid: (u32, u32),
}

/// The last user namespace made for an id mapping: grants of one owner share it.
#[derive(Default)]
struct Mappings(Option<(Owner, OwnedFd)>);

impl Mappings {
    fn of(&mut self, owner: Owner, holder: &mut Option<Holder>) -> Result<&OwnedFd> {
        let made = match self.0.take() {
            Some((known, fd)) if known == owner => fd,
            _ => clone::mapping(owner.uid, owner.gid, holder)?,
        };
        Ok(&self.0.insert((owner, made)).1)
    }
}
