//! Opening for reading, and listing a directory.

use belljar_plan::{Rule, landlock::Right};

use super::{Ask, is_of_task, nothing_in_proc};
use crate::why::{
    Finding, Verdict,
    view::{EntryKind, READ, Shows, Spot, Terminal, What, terminal},
};

impl Ask<'_> {
    pub(super) fn reading(&self, spot: &Spot) -> Finding {
        let directory = self.is_directory(spot);
        let right = match directory {
            true => Right::ReadDir,
            false => Right::ReadFile,
        };
        match &spot.what {
            What::Hidden => return self.hidden(&spot.path),
            What::Inside => return self.reading_inside(spot),
            What::Machine { path, entry } => match entry.kind {
                EntryKind::Socket => return self.socket(path),
                EntryKind::Device if self.no_devices(spot) => return self.no_device(path),
                _ => {}
            },
            What::Directory | What::File { .. } => {}
        }
        if !self.view.may(spot, READ) {
            return self.refused_by_mode(spot);
        }
        if !self.view.landlock_allows(spot, right) {
            return self.refused_by_landlock(spot);
        }
        self.driven(spot, self.allowed(spot, "read"))
    }

    /// Something that only the kernel or the guest itself puts there.
    pub(super) fn reading_inside(&self, spot: &Spot) -> Finding {
        match self.view.mount_of(spot).map(|mount| &mount.shows) {
            Some(Shows::Scratch) if self.is_root_of_mount(spot) => {
                Finding::allowed(Rule::Files, "it is the jar's own scratch")
            }
            // What the guest did not put there itself, it looks for in vain.
            Some(Shows::Scratch) => self.absent_or(
                "ENOENT",
                Finding::allowed(
                    Rule::Files,
                    "it is the jar's own scratch: the guest finds there what it put there",
                ),
            ),
            Some(Shows::Proc) => self.of_proc(spot),
            Some(Shows::Terminals) if !self.is_root_of_mount(spot) => self.terminal(spot),
            _ => Finding::allowed(Rule::Devices, "it is one of the jar's own devices"),
        }
    }

    /// What the jar's own `/proc` has; proc(5).
    pub(super) fn of_proc(&self, spot: &Spot) -> Finding {
        if is_of_task(&spot.path) {
            return Finding::new(
                Verdict::Depends,
                Rule::Tasks,
                "the jar's own /proc shows its own tasks, each as the kernel lets them look at one another",
            );
        }
        match self.machine.entry(&spot.path) {
            Ok(entry) if entry.mode & READ != 0 => Finding::allowed(
                Rule::KernelInfo,
                "the jar's own /proc has it, and it is not hidden",
            ),
            Ok(_) => Finding::denied(
                Rule::KernelInfo,
                "EACCES",
                "only root may read it, and no jar is root",
            ),
            Err(errno) => nothing_in_proc(errno),
        }
    }

    /// A name among the jar's own terminals; pts(4).
    pub(super) fn terminal(&self, spot: &Spot) -> Finding {
        match terminal(&spot.path) {
            Terminal::Maker => {
                Finding::allowed(Rule::Devices, "it makes terminals of the jar's own")
            }
            Terminal::Made => Finding::new(
                Verdict::Depends,
                Rule::Devices,
                "it is there where the guest has made itself so many terminals",
            ),
            Terminal::Nothing if self.write => Finding::denied(
                Rule::Devices,
                "EACCES",
                "nobody makes files among the jar's terminals",
            ),
            Terminal::Nothing => Finding::not_there("ENOENT", "no terminal has such a name"),
        }
    }
}
