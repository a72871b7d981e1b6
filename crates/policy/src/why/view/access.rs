//! Whether what is there lets itself be used: a file's own permissions, as the
//! mount's owners make them, and Landlock's rules.

use belljar_plan::{landlock::Right, plan::MachineIdentity};

use super::{Entry, Shows, Spot, View, WRITE, What};
use crate::planner::file_bit;

impl View<'_> {
    /// Whether a file's permissions let the guest do something; path_resolution(7).
    pub(in crate::why) fn may(&self, spot: &Spot, wanted: u16) -> bool {
        match &spot.what {
            What::Machine { entry, .. } => {
                let owner = match self.mount_of(spot).map(|mount| &mount.shows) {
                    Some(Shows::Machine { owner, .. }) => *owner,
                    _ => None,
                };
                self.mode_allows(entry, owner, wanted)
            }
            What::File { mode } => mode >> 6 & wanted == wanted,
            What::Directory | What::Inside | What::Hidden => true,
        }
    }

    fn mode_allows(&self, entry: &Entry, owner: Option<(u32, u32)>, wanted: u16) -> bool {
        let (is_owner, in_group) = match (owner, self.who.machine) {
            (Some((uid, gid)), _) => {
                // What belongs to anybody else has no owner here, and is never written.
                if wanted & WRITE != 0 && (entry.uid, entry.gid) != (uid, gid) {
                    return false;
                }
                (entry.uid == uid, entry.gid == gid)
            }
            (None, MachineIdentity::Caller { uid, gid }) => (
                entry.uid == uid,
                entry.gid == gid || self.who.groups_kept.contains(&entry.gid),
            ),
            // Nothing on disk belongs to a uid that a jar takes for its life.
            (None, MachineIdentity::Own { .. }) => (false, false),
        };
        let bits = match (is_owner, in_group) {
            (true, _) => entry.mode >> 6,
            (false, true) => entry.mode >> 3,
            (false, false) => entry.mode,
        };
        bits & wanted == wanted
    }

    /// Whether Landlock lets the guest do something at a place; landlock(7).
    pub(in crate::why) fn landlock_allows(&self, spot: &Spot, right: Right) -> bool {
        let Some(handled) = self.handled else {
            return true;
        };
        let bit = file_bit(right);
        if handled & bit == 0 {
            return true;
        }
        let (there, root) = match (&spot.what, self.mount_of(spot).map(|mount| &mount.shows)) {
            (What::Machine { path, .. }, Some(Shows::Machine { path: root, .. })) => {
                (Some(path), Some(root))
            }
            _ => (None, None),
        };
        self.rules.iter().any(|(at, machine, access)| {
            let by_place = spot.path.is_within(at);
            // A rule is about a file, and the file may be shown at two places.
            let by_file = match (machine, there, root) {
                (Some(machine), Some(there), Some(root)) => {
                    there.is_within(machine) && machine.is_within(root)
                }
                _ => false,
            };
            access & bit != 0 && (by_place || by_file)
        })
    }
}
