//! The quota of a project while jars live that may write there, and that it is what it was
//! before once none does.
//!
//! A quota outlives the process that set it, and the machine's start as well. So what was
//! there before is noted first, in a directory of root's, beside a file for each jar that is
//! locked while the jar's host lives. Whoever comes next, of this host or another, reckons
//! anew from the files that are locked still.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::Path,
    time::{Duration, Instant},
};

use belljar_plan::{Bytes, plan::ProjectQuota};
use rustix::{
    fs::{Access, AtFlags, CWD, FlockOperation, Mode, OFlags, accessat},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{Bounds, Quota, UNIT, bound, keep, quota};
use crate::sys::Directory;

const PLACE: &str = "/var/lib/belljar/projects";

/// What was found before any jar.
const NOTE: &str = "before";

/// The same while it is written.
const NEXT: &str = "next";

/// What the files of jars begin with.
const JAR: &str = "jar-";

/// Others reckon for moments only.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many bounds are noted.
const MOST_SET: usize = 256;

/// A note or a jar's file is far shorter.
const LONGEST: u64 = 1 << 16;

/// A jar's part in the quota of a project; given up with this value.
#[derive(Debug)]
pub(crate) struct HeldProject {
    top: OwnedFd,
    id: u32,
    /// Bytes that it had at first.
    before: u64,
    /// What this jar leaves it.
    wants: Bounds,
    directory: String,
    file: String,
    /// Its file, locked.
    lock: Option<File>,
}

/// How much a project has grown, and whether that is as much as it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grown {
    pub(crate) bytes: u64,
    pub(crate) full: bool,
}

/// Where a project is, what its bounds were, and what Belljar made of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// A directory or file of its file system, and what that file system is.
    path: Bytes,
    file_system: u64,
    project: u32,
    before: Bounds,
    /// What they may be by Belljar's doing: each was found, was set, or was about to be.
    set: Vec<Bounds>,
}

/// Notes can be taken, as far as a look tells: without them no quota is touched.
pub(super) fn can_be_noted() -> bool {
    let place = Path::new(PLACE);
    match Directory::private(place) {
        Ok(Some(_)) => true,
        Ok(None) => place
            .ancestors()
            .find_map(|above| Some((above, std::fs::metadata(above).ok()?)))
            .is_some_and(|(above, found)| {
                found.uid() == 0 && accessat(CWD, above, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
            }),
        Err(_) => false,
    }
}

impl HeldProject {
    /// Bounds a project for a jar, from what it has now. `top` was opened with `O_PATH`.
    pub(crate) fn hold(top: &OwnedFd, path: &Bytes, held: ProjectQuota) -> io::Result<Self> {
        let all = Directory::make_private(Path::new(PLACE))?;
        let alone = alone(&all, PATIENCE)?;
        let id = held.project;
        let has = quota(top, id)?;
        let wants = Bounds {
            space: has.bytes.saturating_add(held.bytes) / UNIT,
            inodes: has.inodes.saturating_add(held.inodes),
        };
        let file_system = file_system(top)?;
        let device = rustix::fs::fstat(top)?.st_dev;
        let directory = format!("{device:x}-{id}");
        let own = all.make_private_in(&directory)?;
        let file = format!("{JAR}{}", name()?);
        own.make_file(&file, &to_json(&wants)?, 0o600)?;
        let lock = own.open_file(&file)?;
        if !lock_it(&lock) {
            return Err(Errno::BUSY.into());
        }
        let held = Self {
            top: top.try_clone()?,
            id,
            before: has.bytes,
            wants,
            directory,
            file,
            lock: Some(lock),
        };
        let note = Note {
            path: path.clone(),
            file_system,
            project: id,
            before: has.bounds,
            set: Vec::new(),
        };
        sweep_all(&all, Some(&held.directory));
        let reckoned = reckon(&all, &held.directory, &own, Whose::Comes(top, note));
        // What was made so far goes with the value where that failed, which reckons again.
        drop(alone);
        reckoned.map(|()| held)
    }

    /// How much it has grown by now.
    pub(crate) fn grown(&self) -> io::Result<Grown> {
        let has = quota(&self.top, self.id)?;
        Ok(Grown {
            bytes: has.bytes.saturating_sub(self.before),
            full: is_full(has, self.wants),
        })
    }
}

/// There is no room for one more block, or file.
fn is_full(has: Quota, most: Bounds) -> bool {
    const BLOCK: u64 = 4096;
    has.bytes.saturating_add(BLOCK) > most.space.saturating_mul(UNIT) || has.inodes >= most.inodes
}

impl Drop for HeldProject {
    fn drop(&mut self) {
        if let Err(error) = self.give_back() {
            tracing::warn!(target: "belljar", project = self.id, file = self.file, %error, "the quota of a project is as it was set for a jar: the next launch of root's with one sets it back");
        }
    }
}

impl HeldProject {
    fn give_back(&mut self) -> io::Result<()> {
        let Some(all) = Directory::private(Path::new(PLACE))? else {
            return Ok(());
        };
        let alone = alone(&all, PATIENCE);
        // Whoever comes next finds it free, and does what is left. A fork of this process may
        // have the descriptor too.
        if let Some(lock) = self.lock.take() {
            let _ = rustix::fs::flock(lock.as_fd(), FlockOperation::Unlock);
        }
        let _alone = alone?;
        match all.private_in(&self.directory)? {
            Some(own) => {
                own.remove(&self.file);
                reckon(&all, &self.directory, &own, Whose::Leaves(&self.top))
            }
            None => Ok(()),
        }
    }
}

/// Sets back what belljars left that were killed. It is not waited for long: a path of
/// somebody's that hangs keeps nobody from launching.
pub(crate) fn sweep() {
    const LONGEST: Duration = Duration::from_millis(500);
    if !crate::sys::facts::privileged() {
        return;
    }
    let Ok(Some(all)) = Directory::private(Path::new(PLACE)) else {
        return;
    };
    let (done, waiter) = std::sync::mpsc::sync_channel(1);
    let swept = std::thread::Builder::new().spawn(move || {
        crate::sys::block_signals();
        if let Ok(_alone) = alone(&all, Duration::ZERO) {
            sweep_all(&all, None);
        }
        // Nobody waits any more where it took long.
        let _ = done.send(());
    });
    if swept.is_ok() {
        let _ = waiter.recv_timeout(LONGEST);
    }
}

/// The same by whoever reckons anyway, but for one project.
fn sweep_all(all: &Directory, but: Option<&str>) {
    for name in all.names().unwrap_or_default() {
        if but != Some(name.as_str())
            && let Ok(Some(own)) = all.private_in(&name)
            && let Err(error) = reckon(all, &name, &own, Whose::Left)
        {
            tracing::debug!(target: "belljar", name, %error, "the quota of a project stays as it is");
        }
    }
}

/// For whom a project is reckoned.
enum Whose<'a> {
    /// A jar that has a file already; the project as it is found.
    Comes(&'a OwnedFd, Note),
    /// One that has none any more.
    Leaves(&'a OwnedFd),
    /// Whoever was killed.
    Left,
}

/// Sets a project's bounds to what all jars that live leave it, or to what they were before
/// the first of them.
fn reckon(all: &Directory, name: &str, own: &Directory, whose: Whose<'_>) -> io::Result<()> {
    let noted = match own.read(NOTE, LONGEST) {
        Ok(bytes) => Some(serde_json::from_slice::<Note>(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let wanted = wanted(own)?;
    let (top, note) = match (whose, noted) {
        (Whose::Comes(top, new), None) => (top.try_clone()?, new),
        (Whose::Comes(top, new), Some(noted)) => {
            // After a start the number of the device may be another's, who is not there to
            // be set back.
            if (noted.file_system, noted.project) != (new.file_system, new.project) {
                return Err(Errno::EXIST.into());
            }
            (top.try_clone()?, noted)
        }
        (Whose::Leaves(top), Some(noted)) => (top.try_clone()?, noted),
        (Whose::Left, Some(noted)) => (found(&noted)?, noted),
        (_, None) => return forget(all, name, own),
    };
    let has = quota(&top, note.project)?.bounds;
    // An administrator may have set another one of them meanwhile, which counts.
    let before = note.before_it_was(has);
    let Some(wanted) = wanted else {
        if has != before {
            bound(&top, note.project, before)?;
        }
        // The note is of use until the disk has it so.
        keep(&top)?;
        return forget(all, name, own);
    };
    let most = before.and(wanted);
    if has == most && note.before == before && note.set.contains(&most) {
        return Ok(());
    }
    let mut note = Note { before, ..note };
    for bounds in [has, most] {
        if !note.set.contains(&bounds) {
            note.set.push(bounds);
        }
    }
    // What was set long ago is on no disk any more.
    if note.set.len() > MOST_SET {
        note.set.drain(..MOST_SET / 2);
    }
    // Whole and on the disk before anything is set.
    own.remove(NEXT);
    own.make_file(NEXT, &to_json(&note)?, 0o600)?;
    own.keep(NEXT)?;
    own.rename(NEXT, NOTE)?;
    own.keep(NOTE)?;
    all.keep_itself()?;
    bound(&top, note.project, most)
}

impl Note {
    /// What the bounds were before Belljar, where they are these now.
    fn before_it_was(&self, now: Bounds) -> Bounds {
        let is_ours = |of: fn(&Bounds) -> u64| self.set.iter().any(|set| of(set) == of(&now));
        Bounds {
            space: match is_ours(|bounds| bounds.space) {
                true => self.before.space,
                false => now.space,
            },
            inodes: match is_ours(|bounds| bounds.inodes) {
                true => self.before.inodes,
                false => now.inodes,
            },
        }
    }
}

/// What all jars that live leave; none where none does.
fn wanted(own: &Directory) -> io::Result<Option<Bounds>> {
    let mut wanted = None;
    for file in own.names()? {
        if !file.starts_with(JAR) {
            continue;
        }
        if lock_it(&own.open_file(&file)?) {
            own.remove(&file);
            continue;
        }
        let wants: Bounds = serde_json::from_slice(&own.read(&file, LONGEST)?)?;
        wanted = Some(wanted.map_or(wants, |others: Bounds| others.and(wants)));
    }
    Ok(wanted)
}

/// Something of the noted file system: what was granted, or what is above it.
fn found(note: &Note) -> io::Result<OwnedFd> {
    let path = Path::new(std::ffi::OsStr::from_bytes(&note.path.0));
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    path.ancestors()
        .filter_map(|at| rustix::fs::open(at, flags, Mode::empty()).ok())
        .find(|at| file_system(at).is_ok_and(|here| here == note.file_system))
        .ok_or_else(|| Errno::NODEV.into())
}

/// What a file system calls itself; statvfs(3). The number of its device may change from
/// one start of the machine to the next.
fn file_system(at: &OwnedFd) -> io::Result<u64> {
    Ok(rustix::fs::fstatvfs(at)?.f_fsid)
}

fn forget(all: &Directory, name: &str, own: &Directory) -> io::Result<()> {
    for file in own.names()? {
        own.remove(&file);
    }
    all.remove_empty(name)
}

/// Nobody else reckons meanwhile.
struct Alone(OwnedFd);

impl Drop for Alone {
    fn drop(&mut self) {
        // A fork of this process may have the descriptor too.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

fn alone(all: &Directory, patience: Duration) -> io::Result<Alone> {
    let until = Instant::now() + patience;
    let directory = all.again()?;
    loop {
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Alone(directory)),
            Err(Errno::WOULDBLOCK) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn lock_it(file: &File) -> bool {
    rustix::fs::flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive).is_ok()
}

fn name() -> io::Result<String> {
    Ok(format!("{:x}", u128::from_le_bytes(crate::sys::random()?)))
}

fn to_json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_has_set_stays_and_what_belljar_has_set_does_not() {
        let bounds = |space, inodes| Bounds { space, inodes };
        let note = Note {
            path: "/srv".into(),
            file_system: 1,
            project: 7,
            before: bounds(0, 100),
            set: vec![bounds(0, 100), bounds(50, 20), bounds(40, 20)],
        };
        assert_eq!(note.before_it_was(bounds(50, 20)), bounds(0, 100));
        assert_eq!(note.before_it_was(bounds(40, 20)), bounds(0, 100));
        // Of the two each counts for itself.
        assert_eq!(note.before_it_was(bounds(60, 20)), bounds(60, 100));
        assert_eq!(note.before_it_was(bounds(50, 30)), bounds(0, 30));
    }
}
