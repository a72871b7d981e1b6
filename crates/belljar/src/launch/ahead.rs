//! A child made ahead. While the host is still looking at the program, the
//! launcher makes a jar's namespaces: the network namespace is the dearest part
//! of a launch. While nobody waits, it also does what it may of the plan that
//! was launched last (docs/adr/0005-parked-child.md).

use std::{io, os::fd::OwnedFd, sync::Mutex};

use belljar_plan::{
    Namespaces, Plan, Preset, Step,
    message::{Request, descriptors, request},
    plan::MachineIdentity,
};
use belljar_policy::Policy;

use super::engine::lock;
use crate::sys::{self, Lease};

/// What the next launch will most likely ask of its child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ahead {
    namespaces: Namespaces,
    uid: u32,
    gid: u32,
    machine: MachineIdentity,
}

impl Ahead {
    /// Before anything was looked at. A wrong guess costs a child that is let
    /// go; it decides nothing, since a child that does not fit is never used.
    pub(crate) fn guess(preset: Preset, policy: &Policy) -> Option<Self> {
        if policy.linux.namespaces.is_some() || !policy.plugins.is_empty() {
            return None;
        }
        // A jar's first process is made in its cgroup, and not before there is one.
        if crate::facts::has_cgroups(preset) {
            return None;
        }
        let (uid, gid) = policy.flags.user.unwrap_or(belljar_policy::effective::USER);
        let range = policy.linux.uid_range.as_ref().map(|said| said.value);
        let (first, count) = range.unwrap_or(belljar_policy::effective::UID_RANGE);
        Some(Self {
            namespaces: Namespaces {
                network: preset != Preset::Minimal,
                ..Namespaces::ALL
            },
            uid,
            gid,
            machine: sys::machine_identity(first, count)?,
        })
    }

    /// The same as a launch that was made.
    pub(crate) fn like(plan: &Plan) -> Option<Self> {
        if plan
            .steps
            .iter()
            .any(|step| matches!(step, Step::Cgroup { .. }))
        {
            return None;
        }
        let namespaces = plan.steps.iter().find_map(|step| match step {
            Step::Clone { namespaces } => Some(*namespaces),
            _ => None,
        })?;
        Some(Self {
            namespaces,
            uid: plan.identity.uid,
            gid: plan.identity.gid,
            machine: plan.identity.machine,
        })
    }

    /// What to ask the launcher. The lease that the child's ids are under is
    /// kept for the launch that takes the child.
    pub(crate) fn request(self, parked: &Mutex<Option<Lease>>) -> Option<Request> {
        let (machine_uid, machine_gid, deny_setgroups) = match self.machine {
            MachineIdentity::Caller { uid, gid } => (uid, gid, true),
            MachineIdentity::Own { first, count } => {
                let mut parked = lock(parked);
                let lease = match parked.take() {
                    Some(lease) => lease,
                    None => Lease::take(first, count).ok()?,
                };
                let id = parked.insert(lease).id();
                (id, id, false)
            }
        };
        Some(Request {
            kind: request::PARK,
            machine_uid,
            machine_gid,
            value: u32::from(self.namespaces.bits()),
            flag: u32::from(deny_setgroups),
            uid: self.uid,
            gid: self.gid,
            ..Request::default()
        })
    }
}

/// The descriptors that the launch of the same plan will share with one that is
/// made now: the sealed plan and image.
#[derive(Debug)]
pub(crate) struct Again {
    request: Request,
    descriptors: Vec<OwnedFd>,
}

impl Again {
    /// Copies them.
    pub(crate) fn of(launch: &Request, all: &[OwnedFd]) -> io::Result<Self> {
        let carries = launch.carries & descriptors::IMAGE;
        let image = (carries != 0).then_some(descriptors::FIXED);
        let copied = [Some(descriptors::PLAN), image]
            .into_iter()
            .flatten()
            .filter_map(|index| all.get(index))
            .map(OwnedFd::try_clone)
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            request: Request {
                plan_length: launch.plan_length,
                image_length: launch.image_length,
                descriptors: u32::try_from(copied.len()).unwrap_or(u32::MAX),
                carries,
                ..Request::default()
            },
            descriptors: copied,
        })
    }

    /// Has a child that is asked for begin with the plan.
    pub(crate) fn begin(self, asked: Request) -> (Request, Vec<OwnedFd>) {
        let asked = Request {
            plan_length: self.request.plan_length,
            image_length: self.request.image_length,
            descriptors: self.request.descriptors,
            carries: self.request.carries,
            ..asked
        };
        (asked, self.descriptors)
    }
}
