//! A child made ahead: the launcher makes a jar's namespaces while the host is
//! still looking at the program, or while nobody waits. The network namespace
//! is the dearest part of a launch.

use std::sync::Mutex;

use belljar_plan::{
    Namespaces, Plan, Preset, Step,
    message::{Request, request},
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
