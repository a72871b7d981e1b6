//! Opening for writing, and making what is not there.

use belljar_plan::{Limit, Rule, landlock::Right};

use super::{Ask, is_of_task, nothing_in_proc};
use crate::why::{
    Finding, Verdict,
    grant::Grant,
    view::{ENTER, EntryKind, Shows, Spot, WRITE, What},
};

impl Ask<'_> {
    pub(super) fn writing(&self, spot: &Spot) -> Finding {
        if self.is_directory(spot) && !matches!(spot.what, What::Hidden | What::Inside) {
            return self.making(spot);
        }
        match &spot.what {
            What::Hidden => return self.hidden(&spot.path),
            What::Inside => return self.writing_inside(spot),
            What::Machine { path, entry } => match entry.kind {
                EntryKind::Socket => return self.socket(path),
                EntryKind::Device if self.no_devices(spot) => return self.no_device(path),
                _ => {}
            },
            What::File { .. } => return self.absent_or("EROFS", self.sealed()),
            What::Directory => {}
        }
        let device =
            matches!(&spot.what, What::Machine { entry, .. } if entry.kind == EntryKind::Device);
        if !self.view.may(spot, WRITE) {
            // A grant for writing may bring the owner's rights with it.
            return match self.is_read_only(spot) {
                true => self.read_only(spot),
                false => self.refused_by_mode(spot),
            };
        }
        // A device is written through a read-only mount too: nothing on the file system changes.
        if self.is_read_only(spot) && !device {
            return self.read_only(spot);
        }
        if !self.view.landlock_allows(spot, Right::WriteFile) {
            return self.refused_by_landlock(spot);
        }
        self.driven(spot, self.allowed(spot, "written"))
    }

    pub(super) fn writing_inside(&self, spot: &Spot) -> Finding {
        let mount = self.view.mount_of(spot);
        match mount.map(|mount| (&mount.shows, mount)) {
            Some((Shows::Scratch, _))
                if !self.has_parent(spot) && self.where_on_machine().is_some() =>
            {
                let there = self.where_on_machine();
                Finding::new(
                    Verdict::Depends,
                    Rule::Files,
                    "the jar has scratch of its own there, empty at first: the guest may make the directories above it, \
                     and what it writes is gone with the jar; the machine's own is not reached",
                )
                .with(there.and_then(|there| {
                    let place = (there != *self.path).then_some(self.path);
                    Grant::of_path(&there, place, true)
                }))
            }
            Some((Shows::Scratch, _)) => {
                let disk = self.plan.limit(Limit::Disk).and_then(|limit| limit.hard);
                let bound = disk.map_or_else(String::new, |bytes| {
                    format!(", {} of it", crate::units::format_value(Limit::Disk, bytes))
                });
                Finding::allowed(
                    Rule::Files,
                    format!("it is the jar's own scratch{bound}, gone with the jar"),
                )
            }
            Some((Shows::Proc, _))
                if !is_of_task(&spot.path)
                    && let Err(errno) = self.machine.entry(&spot.path) =>
            {
                nothing_in_proc(errno)
            }
            Some((Shows::Proc, mount)) if mount.attributes.read_only => Finding::denied(
                Rule::KernelInfo,
                "EROFS",
                match mount.made_read_only {
                    true => "this part of the jar's own /proc is read-only",
                    false => "the jar's own /proc is read-only",
                },
            ),
            Some((Shows::Proc, _)) => Finding::new(
                Verdict::Depends,
                Rule::KernelInfo,
                "the jar's own /proc: of its own tasks a guest may set what the kernel lets each of them set",
            ),
            Some((Shows::Terminals, _)) => self.terminal(spot),
            _ => Finding::allowed(Rule::Devices, "it is one of the jar's own devices"),
        }
    }

    /// Making something in a directory.
    pub(super) fn making(&self, parent: &Spot) -> Finding {
        match &parent.what {
            What::Hidden => return self.hidden(&parent.path),
            What::Inside => return self.writing_inside(parent),
            What::Directory if self.in_scratch(parent) => return self.writing_inside(parent),
            What::Directory => return self.absent_or("EROFS", self.sealed()),
            What::File { .. } => {
                return Finding::denied(Rule::Files, "ENOTDIR", "what is above it is no directory");
            }
            What::Machine { entry, .. } if entry.kind != EntryKind::Directory => {
                return Finding::denied(Rule::Files, "ENOTDIR", "what is above it is no directory");
            }
            What::Machine { .. } => {}
        }
        if self.is_read_only(parent) {
            return self.read_only(parent);
        }
        if !self.view.may(parent, WRITE | ENTER) {
            return self.refused_by_mode(parent);
        }
        if !self.view.landlock_allows(parent, Right::MakeReg) {
            return self.refused_by_landlock(parent);
        }
        self.allowed(parent, "written")
    }

    /// The directory above a place in scratch is there from the start.
    pub(super) fn has_parent(&self, spot: &Spot) -> bool {
        let Some(parent) = spot.path.parent() else {
            return true;
        };
        match self.view.walk(&parent, true) {
            Ok(above) => self.is_root_of_mount(&above) || matches!(above.what, What::Directory),
            Err(_) => false,
        }
    }
}
