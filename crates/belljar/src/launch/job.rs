//! Everything that one attempt at a launch needs, opened and made: what is handed to the
//! launcher, and what stays with who supervises.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use belljar_plan::{
    Bytes, Limit, Step,
    message::{Request, descriptors, request},
    plan::MachineIdentity,
    wire,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Again, Decided, Engine, NoScope, before, lock, parking};
use crate::{
    events::Telling,
    report::Sink,
    streams::{Ends, Meter, Three},
    supervise::{Attempt, Failure, Grants, Half, Job},
    sys::{
        self, Lease,
        cgroup::{EmptyCgroup, OwnCgroup},
    },
    verify::Image,
};

impl Decided {
    /// The step that makes a cgroup of the jar's own.
    fn cgroup_step(&self) -> Option<(usize, &Vec<Bytes>)> {
        let mut steps = self.plan.steps.iter().enumerate();
        steps.find_map(|(index, step)| match step {
            Step::Cgroup { settings } => Some((index, settings)),
            _ => None,
        })
    }

    /// Where a cgroup for the jar is made, where it has one: systemd may have to be asked
    /// first.
    pub(super) async fn place(&self, engine: &Engine) -> Result<PathBuf, Failure> {
        const EACCES: i32 = 13;
        let known = &self.facts.jar_cgroups;
        match self.cgroup_step() {
            Some((index, _)) if known.scope => engine.scope().await.map_err(|why| match why {
                NoScope::Ended => Failure::Lost,
                NoScope::Refused(reason) => {
                    tracing::warn!(target: "belljar", reason, "there is no scope");
                    Failure::Step {
                        index,
                        errno: EACCES,
                    }
                }
            }),
            _ => Ok(PathBuf::from(&known.place)),
        }
    }

    /// Makes the jar's own cgroup, where the plan has one.
    fn cgroup(
        &self,
        place: &Path,
        early: Option<EmptyCgroup>,
    ) -> Result<Option<OwnCgroup>, Failure> {
        let Some((index, settings)) = self.cgroup_step() else {
            return Ok(None);
        };
        let known = &self.facts.jar_cgroups;
        let settings: Vec<&[u8]> = settings.iter().map(|bytes| bytes.0.as_slice()).collect();
        let together = belljar_policy::together(&self.plan);
        OwnCgroup::make(
            place,
            &known.controllers,
            &settings,
            &together,
            early,
        )
        .map(Some)
        .map_err(|error| {
            tracing::debug!(target: "belljar", place = %place.display(), %error, "cannot make a cgroup");
            // A scope goes with its launcher.
            if known.scope && !place.exists() {
                return Failure::Lost;
            }
            Failure::Step {
                index,
                errno: error.raw_os_error().unwrap_or(0),
            }
        })
    }

    /// Opens and makes everything that one attempt needs.
    pub(super) fn job(
        &self,
        id: &str,
        task: Option<String>,
        (place, early): (&Path, Option<EmptyCgroup>),
        three: &Three,
        (sink, events): (&Sink, &Arc<Telling>),
        engine: &Engine,
    ) -> Result<(Job, Half, oneshot::Receiver<Attempt>), Failure> {
        let plan = &self.plan;
        let mut slots = Vec::with_capacity(plan.slots.len());
        for slot in &plan.slots {
            slots.push(sys::open_slot(slot).map_err(|error| {
                before(&format!("open {} as planned", slot.path.escaped()), &error)
            })?);
        }
        let grants = Grants::of_plan(plan)
            .map_err(|error| before("hold or count what granted directories take", &error))?;
        let (machine_uid, machine_gid, lease) = identity(plan.identity.machine, engine)
            .map_err(|error| before("lease a machine uid", &error))?;
        let owner = lease.as_ref().map(Lease::id);
        let Ends { guest, ours } = three
            .make(plan.terminal, owner)
            .map_err(|error| before("make the streams", &error))?;
        let steps = wire::encode(&plan.steps);
        let plan_length = steps.len() as u64;
        let steps =
            sys::seal("belljar-plan", &steps).map_err(|error| before("seal the plan", &error))?;
        let (progress, theirs) =
            sys::connected_packets().map_err(|error| before("make the set-up's socket", &error))?;
        let progress = engine
            .listen(progress)
            .map_err(|error| before("listen to the set-up", &error))?;
        let cgroup = self.cgroup(place, early)?;
        let extras = Extras {
            image: self.basis.image.as_ref(),
            lease: lease.as_ref(),
            cgroup: cgroup.as_ref(),
        };
        let (all, carries) = in_order(steps, theirs, guest, &extras, slots)
            .map_err(|error| before("hand over descriptors", &error))?;
        let asked = Request {
            kind: request::LAUNCH,
            machine_uid,
            machine_gid,
            plan_length,
            image_length: self.basis.image.as_ref().map_or(0, Image::length),
            descriptors: u32::try_from(all.len()).unwrap_or(u32::MAX),
            carries,
            ..Request::default()
        };
        // Without it the next jar's child only gets its namespaces.
        let again = parking().then(|| Again::of(&asked, &all).ok()).flatten();
        let output = plan.limit(Limit::Output);
        let meter = Meter::new(
            output.and_then(|limit| limit.soft),
            output.and_then(|limit| limit.hard),
        );
        let (control, asked_of) = mpsc::unbounded_channel();
        let (ended, report) = watch::channel(None);
        let (reply, waiter) = oneshot::channel();
        let job = Job {
            id: id.to_owned(),
            task,
            plan: Arc::clone(plan),
            digest: Arc::clone(&self.digest),
            request: asked,
            descriptors: all,
            again,
            progress: Some(progress),
            ours,
            three: Three::default(),
            meter: Arc::new(meter),
            sink: sink.clone(),
            lease,
            cgroup: cgroup.map(Arc::new),
            most: self
                .basis
                .policy
                .most(plan.plugin.as_ref().map(|plugin| plugin.name.as_str())),
            grants,
            parked: Arc::clone(&engine.parked),
            asked: asked_of,
            events: Arc::clone(events),
            ended,
            reply,
        };
        let half = Half {
            control,
            telling: Arc::clone(events),
            events: events.listen(),
            ended: report,
        };
        Ok((job, half, waiter))
    }
}

/// The machine's ids for a jar, and the lease on them. The parked child's are
/// taken first.
fn identity(machine: MachineIdentity, engine: &Engine) -> io::Result<(u32, u32, Option<Lease>)> {
    match machine {
        MachineIdentity::Caller { uid, gid } => Ok((uid, gid, None)),
        MachineIdentity::Own { first, count } => {
            let parked = lock(&engine.parked)
                .take_if(|lease| lease.id().checked_sub(first).is_some_and(|at| at < count));
            let lease = match parked {
                Some(lease) => lease,
                None => Lease::take(first, count)?,
            };
            Ok((lease.id(), lease.id(), Some(lease)))
        }
    }
}

struct Extras<'a> {
    image: Option<&'a Image>,
    lease: Option<&'a Lease>,
    cgroup: Option<&'a OwnCgroup>,
}

/// The descriptors in the order of [`descriptors`], and the bits that say
/// which of the optional ones are there.
fn in_order(
    plan: OwnedFd,
    progress: OwnedFd,
    streams: [OwnedFd; 3],
    extras: &Extras<'_>,
    slots: Vec<OwnedFd>,
) -> io::Result<(Vec<OwnedFd>, u32)> {
    let mut all = vec![plan, progress];
    all.extend(streams);
    debug_assert_eq!(all.len(), descriptors::FIXED, "the fixed ones come first");
    let mut carries = 0;
    if let Some(image) = extras.image {
        all.push(image.as_fd().try_clone_to_owned()?);
        carries |= descriptors::IMAGE;
    }
    if let Some(lease) = extras.lease {
        all.push(lease.share()?);
        carries |= descriptors::LEASE;
    }
    if let Some(cgroup) = extras.cgroup {
        all.push(cgroup.share()?);
        carries |= descriptors::CGROUP;
    }
    all.extend(slots);
    Ok((all, carries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_stand_in_the_agreed_order() {
        let fd = || sys::nowhere().unwrap();
        let name = |fd: &OwnedFd| format!("{fd:?}");
        let (plan, progress, slot) = (fd(), fd(), fd());
        let streams = [fd(), fd(), fd()];
        let mut expected = vec![name(&plan), name(&progress)];
        expected.extend(streams.iter().map(name));
        expected.push(name(&slot));
        let extras = Extras {
            image: None,
            lease: None,
            cgroup: None,
        };
        let (all, carries) = in_order(plan, progress, streams, &extras, vec![slot]).unwrap();
        assert_eq!(all.iter().map(name).collect::<Vec<_>>(), expected);
        assert_eq!(carries, 0);
    }
}
