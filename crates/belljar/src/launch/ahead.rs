//! A child made ahead. While the host is still looking at the program, the
//! launcher makes a jar's namespaces: the network namespace is the dearest part
//! of a launch. While nobody waits, it also does what it may of the plan that
//! was launched last (docs/adr/0005-parked-child.md).

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use belljar_plan::{
    Bytes, Limit, Namespaces, Plan, Preset, Step,
    message::{Request, descriptors, request},
    plan::MachineIdentity,
};
use belljar_policy::{HostFacts, Policy, facts::JarCgroups};

use super::engine::{Engine, lock};
use crate::{
    facts,
    sys::{self, Lease, cgroup::EmptyCgroup},
};

/// What the next launch will most likely ask of its child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ahead {
    namespaces: Namespaces,
    uid: u32,
    gid: u32,
    machine: MachineIdentity,
    /// Where its cgroup will be made, where it has one.
    cgroup: Option<JarCgroups>,
}

/// The cgroup of a child that was asked for, until its launch takes it; with it goes the
/// child.
#[derive(Debug)]
pub(crate) struct Early {
    cgroup: Option<EmptyCgroup>,
    /// It is the only one.
    _only: Only,
}

/// There is one child made ahead at a time: another with a cgroup of its own would be in
/// its way.
#[derive(Debug)]
struct Only(Arc<AtomicBool>);

impl Only {
    fn take(early: &Arc<AtomicBool>) -> Option<Self> {
        (!early.swap(true, Relaxed)).then(|| Self(Arc::clone(early)))
    }
}

impl Drop for Only {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

impl Early {
    /// The cgroup, for the launch, which is asked for before this is dropped.
    pub(crate) fn take_cgroup(&mut self) -> Option<EmptyCgroup> {
        self.cgroup.take()
    }
}

impl Ahead {
    /// Before anything was looked at. A wrong guess costs a child that is let
    /// go; it decides nothing, since a child that does not fit is never used.
    pub(crate) fn guess(preset: Preset, policy: &Policy) -> Option<Self> {
        if policy.linux.namespaces.is_some() || !policy.plugins.is_empty() {
            return None;
        }
        let known = facts::jar_cgroups(preset);
        let time = policy.flags.limits.get(&Limit::CpuTime).copied();
        let cgroup = facts::will_have_one(&known, preset, time).then_some(known);
        if let Some(known) = &cgroup {
            // Of a scope nobody knows the place yet; in one of all jars, and with processors of
            // its own, it is not like the others.
            let other = known.scope
                || !policy.host.is_empty()
                || policy.linux.cpuset.is_some()
                || policy.flags.cpuset.is_some();
            if other {
                return None;
            }
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
            cgroup,
        })
    }

    /// The same as a launch that is planned.
    pub(crate) fn planned(plan: &Plan, facts: &HostFacts) -> Option<Self> {
        let settings = plan.steps.iter().find_map(|step| match step {
            Step::Cgroup { settings } => Some(settings),
            _ => None,
        });
        let Some(settings) = settings else {
            return Self::like(plan);
        };
        let of_processors = |setting: &Bytes| setting.0.starts_with(b"cpuset");
        let other = facts.jar_cgroups.scope
            || !plan.together.is_empty()
            || settings.iter().any(of_processors);
        (!other)
            .then(|| Self::with_namespaces(plan))?
            .map(|ahead| Self {
                cgroup: Some(facts.jar_cgroups.clone()),
                ..ahead
            })
    }

    /// The same as a launch that was made; none where it had a cgroup of its own, since a
    /// child that waits for long would be in one meanwhile.
    pub(crate) fn like(plan: &Plan) -> Option<Self> {
        let mut steps = plan.steps.iter();
        match steps.any(|step| matches!(step, Step::Cgroup { .. })) {
            true => None,
            false => Self::with_namespaces(plan),
        }
    }

    fn with_namespaces(plan: &Plan) -> Option<Self> {
        let namespaces = plan.steps.iter().find_map(|step| match step {
            Step::Clone { namespaces } => Some(*namespaces),
            _ => None,
        })?;
        Some(Self {
            namespaces,
            uid: plan.identity.uid,
            gid: plan.identity.gid,
            machine: plan.identity.machine,
            cgroup: None,
        })
    }

    /// What to ask the launcher for one launch, with what goes along and the child's cgroup.
    pub(crate) fn ask(self, engine: &Engine) -> Option<(Request, Vec<OwnedFd>, Option<Early>)> {
        let parked = &engine.parked;
        let Some(known) = self.cgroup.clone() else {
            return Some((self.request(parked)?, Vec::new(), None));
        };
        let only = Only::take(&engine.early)?;
        let cgroup = EmptyCgroup::make(Path::new(&known.place), &known.controllers).ok()?;
        let directory = cgroup.share().ok()?;
        let early = Early {
            cgroup: Some(cgroup),
            _only: only,
        };
        let asked = Request {
            descriptors: 1,
            carries: descriptors::CGROUP,
            ..self.request(parked)?
        };
        Some((asked, vec![directory], Some(early)))
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
