//! The jar's tree as a plan's steps make it, walked as the kernel walks it:
//! mounts over one another, links followed inside, permissions on the way.

mod access;
mod walk;

use std::collections::BTreeMap;

use belljar_plan::{Attributes, Bytes, Plan, Source, Step, plan::Identity, step::OwnedStep};

use crate::path::UnixPath;

/// As many links as the kernel follows; path_resolution(7).
const LINKS_FOLLOWED: usize = 40;

/// What the machine has at paths: asked by whoever can look.
pub trait Machine {
    /// What is at a path, its last link not followed.
    ///
    /// # Errors
    /// errno(3) where nothing is there, or it can't be looked at.
    fn entry(&self, path: &UnixPath) -> Result<Entry, i32>;

    /// What starts the file at a path.
    fn start(&self, path: &UnixPath) -> Start;
}

/// What the kernel starts when it is given a file; execve(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The file itself: a static program.
    Itself,
    /// The loader that an ELF file names, or the interpreter of a `#!` line.
    By(UnixPath),
    /// Nothing: it is no program.
    Nothing,
}

/// What is at a path of the machine, links not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// `st_dev`
    pub device: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u16,
}

/// The type of a file; inode(7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link, as it is written.
    Link(Bytes),
    /// A character or block device.
    Device,
    /// A unix socket.
    Socket,
    /// A FIFO or anything else.
    Other,
}

/// What a mount of the jar shows.
#[derive(Clone, Debug)]
pub(super) enum Shows {
    /// Something of the machine, from this path on.
    Machine {
        path: UnixPath,
        /// `st_dev` of what is mounted, where other file systems below are left out.
        alone: Option<u64>,
        /// The owner on disk that is the jar's user here.
        owner: Option<(u32, u32)>,
    },
    /// The jar's own, written by the guest.
    Scratch,
    /// The jar's own view of its tasks.
    Proc,
    /// Its terminals.
    Terminals,
    /// A harmless device.
    Device,
    /// Nothing: what was there is hidden.
    Nothing,
}

/// One mount of the jar.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    pub(super) at: UnixPath,
    pub(super) shows: Shows,
    pub(super) attributes: Attributes,
    /// A step of its own made this part of another mount read-only.
    pub(super) made_read_only: bool,
}

/// What the jar's own root has at a path.
#[derive(Clone, Debug)]
enum Own {
    Directory,
    Link(Bytes),
    File { mode: u16 },
}

/// The jar as its plan makes it.
pub(super) struct View<'a> {
    own: BTreeMap<UnixPath, Own>,
    mounts: Vec<Mount>,
    /// What Landlock handles, as the kernel's bits; none where the plan is without it.
    handled: Option<u64>,
    /// Its rules: where, the same on the machine, and what is allowed there.
    rules: Vec<(UnixPath, Option<UnixPath>, u64)>,
    who: &'a Identity,
    machine: &'a dyn Machine,
    /// The machine's own root is the jar's: the lower tier.
    pub(super) lower: bool,
}

/// Where a path leads in the jar.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    /// Free of links, in the jar.
    pub(super) path: UnixPath,
    pub(super) what: What,
    /// Which mount it is in; none for the jar's own root.
    pub(super) mount: Option<usize>,
}

/// What is there.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A directory of the jar's own root.
    Directory,
    /// A file of it, with these permissions for its owner, the guest.
    File { mode: u16 },
    /// Of the machine: where there, and what it is.
    Machine { path: UnixPath, entry: Entry },
    /// Whatever a mount of the jar's own holds: the guest's or the kernel's to say.
    Inside,
    /// Something is there, and hidden.
    Hidden,
}

/// Why a path leads nowhere.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    /// Nothing is at `path`, which has `after` behind it; in the directory `parent`.
    Missing {
        path: UnixPath,
        last: bool,
        parent: Box<Spot>,
    },
    /// This directory may not be passed through.
    Closed(Box<Spot>),
    /// This is no directory.
    NoDirectory(UnixPath),
    /// More links than the kernel follows.
    Circle,
    /// Whoever looks for us may not look there.
    Unknown { path: UnixPath, errno: i32 },
}

/// What a file system of terminals has by a name; pts(4).
pub(super) enum Terminal {
    /// The one that makes others.
    Maker,
    /// One of them, where the guest has made it.
    Made,
    /// Nothing, ever.
    Nothing,
}

/// What the file of this path can be, right among the terminals.
pub(super) fn terminal(path: &UnixPath) -> Terminal {
    match path.name() {
        Some("ptmx") => Terminal::Maker,
        Some(name) if name.bytes().all(|byte| byte.is_ascii_digit()) => Terminal::Made,
        _ => Terminal::Nothing,
    }
}

/// What [`Step::Detach`] makes of a slot.
struct Detached {
    slot: u16,
    /// The owner on disk, where the mount is idmapped.
    owner: Option<(u32, u32)>,
    attributes: Attributes,
}

impl Detached {
    fn of(step: &OwnedStep) -> Option<Self> {
        match step {
            Step::Detach {
                slot,
                idmap,
                owner_uid,
                owner_gid,
                attributes,
                ..
            } => Some(Self {
                slot: *slot,
                owner: idmap.then_some((*owner_uid, *owner_gid)),
                attributes: *attributes,
            }),
            _ => None,
        }
    }
}

/// What is wanted of a file; bits of its mode for others.
pub(super) const READ: u16 = 0o4;
pub(super) const WRITE: u16 = 0o2;
pub(super) const ENTER: u16 = 0o1;

impl<'a> View<'a> {
    pub(super) fn of(plan: &'a Plan, machine: &'a dyn Machine) -> Self {
        let mut view = Self {
            own: BTreeMap::new(),
            mounts: Vec::new(),
            handled: None,
            rules: Vec::new(),
            who: &plan.identity,
            machine,
            lower: false,
        };
        let detached: Vec<Detached> = plan.steps.iter().filter_map(Detached::of).collect();
        let mut allowed = Vec::new();
        for step in &plan.steps {
            view.add(plan, step, &detached);
            match step {
                Step::Ruleset { files, .. } => view.handled = Some(*files),
                Step::AllowPath { path, access, .. } => allowed.push((inside(path), *access)),
                _ => {}
            }
        }
        view.rules = allowed
            .into_iter()
            .filter_map(|(path, access)| {
                let path = path?;
                // The rule is about the file that is there, wherever it is shown.
                let there = match view.walk(&path, false) {
                    Ok(Spot {
                        what: What::Machine { path, .. },
                        ..
                    }) => Some(path),
                    _ => None,
                };
                Some((path, there, access))
            })
            .collect();
        view
    }

    fn add(&mut self, plan: &Plan, step: &OwnedStep, detached: &[Detached]) {
        match step {
            Step::MachineRoot {} => {
                self.lower = true;
                self.mount(
                    UnixPath::root(),
                    of_machine("/", None, None),
                    Attributes::default(),
                );
            }
            Step::Directory { path, .. } => self.put(path, Own::Directory),
            Step::Symlink { path, target } => self.put(path, Own::Link(target.clone())),
            Step::File { path, mode, .. } | Step::PluginFile { path, mode, .. } => {
                self.put(path, Own::File { mode: *mode });
            }
            Step::Bind {
                source,
                target,
                recursive,
                attributes,
                ..
            } => {
                let Some(at) = inside(target) else { return };
                let (shows, more) = match source {
                    Source::Scratch { .. } => (Shows::Scratch, Attributes::default()),
                    Source::Path { path, device, .. } => {
                        let path = String::from_utf8_lossy(&path.0);
                        (
                            of_machine(&path, (!recursive).then_some(*device), None),
                            Attributes::default(),
                        )
                    }
                    Source::Slot { slot } => {
                        let Some(known) = plan.slots.get(usize::from(*slot)) else {
                            return;
                        };
                        let detached = detached.iter().find(|detached| detached.slot == *slot);
                        let owner = detached.and_then(|detached| detached.owner);
                        let path = String::from_utf8_lossy(&known.path.0);
                        // An idmapped mount is without those below it.
                        let alone = owner.is_some().then_some(known.device);
                        let attributes =
                            detached.map_or(Attributes::default(), |detached| detached.attributes);
                        (of_machine(&path, alone, owner), attributes)
                    }
                };
                self.mount(at, shows, both(*attributes, more));
            }
            Step::Proc { target, attributes } => {
                self.mount_at(target, Shows::Proc, *attributes);
            }
            Step::Devpts { target } => {
                let attributes = Attributes {
                    no_suid: true,
                    no_exec: true,
                    ..Attributes::default()
                };
                self.mount_at(target, Shows::Terminals, attributes);
            }
            Step::Device { name, .. } => {
                let path = Bytes([b"dev/", name.0.as_slice()].concat());
                let attributes = Attributes {
                    no_suid: true,
                    no_exec: true,
                    ..Attributes::default()
                };
                self.mount_at(&path, Shows::Device, attributes);
            }
            Step::Mask { path } => self.mount_at(path, Shows::Nothing, Attributes::ALL),
            Step::ReadOnly { path } => {
                if let Some(at) = inside(path)
                    && let Some(index) = self.mount_over(&at)
                {
                    let over = &self.mounts[index];
                    let mount = Mount {
                        shows: shown_at(over, &at),
                        attributes: Attributes {
                            read_only: true,
                            ..over.attributes
                        },
                        at,
                        made_read_only: true,
                    };
                    self.mounts.push(mount);
                }
            }
            _ => {}
        }
    }

    fn put(&mut self, path: &Bytes, own: Own) {
        if let Some(path) = inside(path) {
            self.own.insert(path, own);
        }
    }

    fn mount_at(&mut self, path: &Bytes, shows: Shows, attributes: Attributes) {
        if let Some(at) = inside(path) {
            self.mount(at, shows, attributes);
        }
    }

    fn mount(&mut self, at: UnixPath, shows: Shows, attributes: Attributes) {
        // A mount covers what was mounted below its place before.
        self.mounts
            .retain(|other| other.at == at || !other.at.is_within(&at));
        self.mounts.push(Mount {
            at,
            shows,
            attributes,
            made_read_only: false,
        });
    }

    /// The mount that a path is in: the deepest, and of those at one place the last.
    fn mount_over(&self, path: &UnixPath) -> Option<usize> {
        (0..self.mounts.len())
            .filter(|index| path.is_within(&self.mounts[*index].at))
            .max_by_key(|index| (self.mounts[*index].at.as_str().len(), *index))
    }

    pub(super) fn mount_of(&self, spot: &Spot) -> Option<&Mount> {
        self.mounts.get(spot.mount?)
    }

    /// Every place in the jar at which a path of the machine is shown.
    pub(super) fn places_of(&self, machine: &UnixPath) -> Vec<UnixPath> {
        self.mounts
            .iter()
            .filter_map(|mount| match &mount.shows {
                Shows::Machine { path, .. } if machine.is_within(path) => {
                    let place = machine.rebased(path, &mount.at)?;
                    let over = self.mount_over(&place)?;
                    (self.mounts[over].at == mount.at).then_some(place)
                }
                _ => None,
            })
            .collect()
    }
}

/// A path in the jar as a step has it.
fn inside(path: &Bytes) -> Option<UnixPath> {
    UnixPath::new(&format!("/{}", std::str::from_utf8(&path.0).ok()?)).ok()
}

fn of_machine(path: &str, alone: Option<u64>, owner: Option<(u32, u32)>) -> Shows {
    match UnixPath::new(path) {
        Ok(path) => Shows::Machine { path, alone, owner },
        // A plan has no such path; shown as nothing, it is never said to be allowed.
        Err(_) => Shows::Nothing,
    }
}

/// What a mount shows from a place inside of it on.
fn shown_at(mount: &Mount, at: &UnixPath) -> Shows {
    match &mount.shows {
        Shows::Machine { path, alone, owner } => match at.rebased(&mount.at, path) {
            Some(path) => Shows::Machine {
                path,
                alone: *alone,
                owner: *owner,
            },
            None => Shows::Nothing,
        },
        other => other.clone(),
    }
}

fn both(one: Attributes, other: Attributes) -> Attributes {
    Attributes::from_bits(one.bits() | other.bits()).unwrap_or(Attributes::ALL)
}
