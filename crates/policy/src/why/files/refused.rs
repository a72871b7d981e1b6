//! Why something is refused or not there, and the grant that would change it.

use belljar_plan::Rule;

use super::{Ask, home_inside};
use crate::{
    path::UnixPath,
    why::{
        Finding, Verdict,
        grant::Grant,
        view::{EntryKind, Spot, Stop, What},
    },
};

impl Ask<'_> {
    pub(super) fn stopped(&self, stop: Stop) -> Finding {
        match stop {
            Stop::Missing { path, parent, .. } => self.missing(&path, &parent),
            Stop::Closed(spot) => self.refused_by_mode(&spot),
            Stop::NoDirectory(at) => Finding::not_there(
                "ENOTDIR",
                format!("{at} is no directory, so nothing lies below it"),
            ),
            Stop::Circle => Finding::not_there("ELOOP", "its symbolic links lead in a circle"),
            Stop::Unknown { path, errno } => Finding::new(
                Verdict::Depends,
                Rule::Files,
                format!(
                    "you may not look at {path} on this machine (errno {errno}), so nothing can be said of it; ask as a user who may"
                ),
            ),
        }
    }

    pub(super) fn missing(&self, path: &UnixPath, parent: &Spot) -> Finding {
        let covered = match &parent.what {
            What::Hidden => Some(&parent.path),
            _ => None,
        };
        if let Some(covered) = covered {
            // What is empty has nothing below it.
            let directory = matches!(
                self.machine.entry(covered).map(|entry| entry.kind),
                Ok(EntryKind::Directory)
            );
            let errno = if directory { "ENOENT" } else { "ENOTDIR" };
            return Finding {
                errno: Some(errno),
                ..self.hidden(covered)
            };
        }
        // Where the machine is shown, what is not there is not there on the machine either.
        let shown = matches!(parent.what, What::Machine { .. });
        let not_there = match shown {
            true => format!("the machine has nothing at {path}"),
            false => format!(
                "neither the jar nor the machine has anything at {}",
                self.path
            ),
        };
        self.absent_or("ENOENT", Finding::not_there("ENOENT", not_there))
    }

    /// What the machine has and the jar does not show, answered so; else the other finding.
    pub(super) fn absent_or(&self, errno: &'static str, otherwise: Finding) -> Finding {
        let Some(there) = self.where_on_machine() else {
            return otherwise;
        };
        let at = self.path;
        let rule = match self.machine.entry(&there).map(|entry| entry.kind) {
            Ok(EntryKind::Socket) => Rule::Sockets,
            _ if at.as_str().starts_with("/dev/") => Rule::Devices,
            _ if at.as_str().starts_with("/sys/") || at.as_str() == "/sys" => Rule::KernelInfo,
            _ => Rule::Files,
        };
        let same = there == *self.path;
        let elsewhere = self.view.places_of(&there);
        let reason = match (elsewhere.first(), same) {
            (Some(place), _) if self.reachable(place) => {
                format!(
                    "the jar shows the machine's {there} at {place}, not at {}",
                    self.path
                )
            }
            (_, true) if self.own_scratch() => {
                "the machine has it, and the jar has scratch of its own there".to_owned()
            }
            (_, true) => "the machine has it, and the jar does not show it".to_owned(),
            (_, false) => format!(
                "the machine has {there}, which would be {} in the jar, and the jar does not show it",
                self.path
            ),
        };
        let place = (!same).then_some(self.path);
        Finding::denied(rule, errno, reason).with(Grant::of_path(&there, place, self.write))
    }

    /// The place that was asked for is the guest's to fill.
    pub(super) fn own_scratch(&self) -> bool {
        matches!(&self.view.walk(self.path, true), Ok(spot) if self.in_scratch(spot))
    }

    pub(super) fn reachable(&self, place: &UnixPath) -> bool {
        self.view.walk(place, true).is_ok()
    }

    /// Where the machine has what was asked for: at that very path, or in the
    /// caller's home what the guest looks for in its own. For writing, the nearest
    /// directory above it that is there.
    pub(super) fn where_on_machine(&self) -> Option<UnixPath> {
        let mut candidates = vec![self.path.clone()];
        if let (Some(home), Some(own)) = (&self.around.home, home_inside(self.plan))
            && let Some(there) = self.path.rebased(&own, home)
        {
            candidates.push(there);
        }
        candidates
            .into_iter()
            .find(|there| self.machine.entry(there).is_ok() && there.as_str() != "/")
    }

    pub(super) fn hidden(&self, path: &UnixPath) -> Finding {
        let said = self.plan.hidden.iter().find(|hidden| {
            UnixPath::new(&String::from_utf8_lossy(&hidden.path.0))
                .is_ok_and(|hidden| path.is_within(&hidden))
        });
        match said {
            Some(said) => {
                // It can be opened, and nothing is in it.
                let finding = Finding::new(
                    Verdict::Denied,
                    Rule::Files,
                    format!(
                        "it is hidden: something empty is in its place ({})",
                        said.origin
                    ),
                )
                .by(said.origin.clone());
                match said.origin.starts_with("a known secret") {
                    true => finding.with(Grant::of_path(self.path, None, self.write)),
                    // A policy's denial beats every grant.
                    false => finding,
                }
            }
            None => Finding::new(
                Verdict::Denied,
                Rule::KernelInfo,
                "it tells about the whole machine, so something empty is in its place",
            ),
        }
    }

    pub(super) fn refused_by_mode(&self, spot: &Spot) -> Finding {
        let What::Machine { path, entry } = &spot.what else {
            return Finding::denied(Rule::Files, "EACCES", "its own permissions refuse it");
        };
        let (owner, mode) = (entry.uid, entry.mode & 0o7777);
        let who = match self.plan.identity.machine {
            belljar_plan::plan::MachineIdentity::Caller { uid, .. } => format!("uid {uid}"),
            belljar_plan::plan::MachineIdentity::Own { .. } => "a uid of the jar's own".to_owned(),
        };
        let finding = Finding::denied(
            Rule::Identity,
            "EACCES",
            format!(
                "the permissions of {path} (owner {owner}, mode {mode:o}) refuse it to the guest, which the machine sees as {who}"
            ),
        );
        // Granted by root, its owner on disk is the jar's user in the jar.
        let owned = entry.mode >> 6 & if self.write { 0o6 } else { 0o4 };
        let mapped = matches!(
            self.plan.identity.machine,
            belljar_plan::plan::MachineIdentity::Own { .. }
        ) && owned != 0
            && !self.is_granted(path);
        finding.with(match mapped {
            true => Grant::of_path(path, None, self.write),
            false => None,
        })
    }

    pub(super) fn is_granted(&self, path: &UnixPath) -> bool {
        self.plan
            .grants
            .iter()
            .any(|grant| grant.write == self.write && grant.path.0 == path.as_str().as_bytes())
    }

    pub(super) fn refused_by_landlock(&self, spot: &Spot) -> Finding {
        let reason = match spot.what {
            What::Directory => "a directory of the jar's own, which Landlock does not let it list",
            _ if self.view.lower => "Landlock allows nothing there: it is not granted",
            _ => "Landlock allows nothing there",
        };
        let finding = Finding::denied(Rule::Files, "EACCES", reason);
        match &spot.what {
            What::Machine { path, .. } => finding.with(Grant::of_path(path, None, self.write)),
            _ => finding,
        }
    }

    pub(super) fn read_only(&self, spot: &Spot) -> Finding {
        let shown = self.allowed(spot, "read");
        let by = shown.decided_by;
        let reason = match &by {
            Some(origin) => format!("it is granted by {origin}, for reading only"),
            None => format!("preset {} shows it for reading only", self.plan.preset),
        };
        let mut finding = Finding::denied(Rule::Files, "EROFS", reason);
        if let Some(origin) = by {
            finding = finding.by(origin);
        }
        match &spot.what {
            What::Machine { path, .. } => {
                let place = (*path != spot.path).then_some(&spot.path);
                finding.with(Grant::of_path(path, place, true))
            }
            _ => finding,
        }
    }

    pub(super) fn sealed(&self) -> Finding {
        Finding::denied(
            Rule::Files,
            "EROFS",
            "it lies in the jar's own root, which is read-only",
        )
    }

    pub(super) fn socket(&self, path: &UnixPath) -> Finding {
        Finding::denied(
            Rule::Sockets,
            "ENXIO",
            format!("{path} is a socket: it is connected to, not opened"),
        )
    }

    pub(super) fn no_device(&self, path: &UnixPath) -> Finding {
        Finding::denied(
            Rule::Devices,
            "EACCES",
            "device files are inert here; grant the device by its own path",
        )
        .with(Grant::of_path(path, None, self.write))
    }
}
