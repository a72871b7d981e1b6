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
        unix::ffi::OsStrExt as _,
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

use super::{Bounds, Quota, UNIT, bound, quota};
use crate::sys::Directory;

const PLACE: &str = "/var/lib/belljar/projects";

/// What was found before any jar.
const NOTE: &str = "before";

/// What the files of jars begin with.
const JAR: &str = "jar-";

/// Others reckon for moments only.
const PATIENCE: Duration = Duration::from_secs(5);

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
    /// What they may be by Belljar's doing: one of them was set, or was about to be.
    set: Vec<Bounds>,
}

/// Notes can be taken, as far as a look tells: without them no quota is touched.
pub(super) fn can_be_noted() -> bool {
    let place = Path::new(PLACE);
    match Directory::private(place) {
        Ok(Some(_)) => true,
        Ok(None) => place
            .ancestors()
            .find(|above| above.exists())
            .is_some_and(|above| accessat(CWD, above, Access::WRITE_OK, AtFlags::EACCESS).is_ok()),
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
        let reckoned = reckon(&all, &held.directory, &own, Some((top, note)));
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
        let mut give_back = || -> io::Result<()> {
            let Some(all) = Directory::private(Path::new(PLACE))? else {
                return Ok(());
            };
            let alone = alone(&all, PATIENCE);
            // Whoever comes next finds it free, and does what is left.
            drop(self.lock.take());
            alone?;
            match all.private_in(&self.directory)? {
                Some(own) => reckon(&all, &self.directory, &own, None),
                None => Ok(()),
            }
        };
        if let Err(error) = give_back() {
            tracing::warn!(target: "belljar", project = self.id, file = self.file, %error, "the quota of a project is as it was set for a jar: the next launch sets it back");
        }
    }
}

/// Sets back what belljars left that were killed. It waits for nobody.
pub(crate) fn sweep() {
    if !crate::sys::facts::privileged() {
        return;
    }
    let Ok(Some(all)) = Directory::private(Path::new(PLACE)) else {
        return;
    };
    let Ok(_alone) = alone(&all, Duration::ZERO) else {
        return;
    };
    for name in all.names().unwrap_or_default() {
        if let Ok(Some(own)) = all.private_in(&name)
            && let Err(error) = reckon(&all, &name, &own, None)
        {
            tracing::debug!(target: "belljar", name, %error, "the quota of a project stays as it is");
        }
    }
}

/// Sets a project's bounds to what all jars that live leave it, or to what they were before
/// the first of them. `new` is the project as it is found by a jar that has a file already.
fn reckon(
    all: &Directory,
    name: &str,
    own: &Directory,
    new: Option<(&OwnedFd, Note)>,
) -> io::Result<()> {
    let noted = match own.read(NOTE, LONGEST) {
        Ok(bytes) => Some(serde_json::from_slice::<Note>(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
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
    let (top, note) = match (new, noted) {
        (Some((top, new)), noted) => {
            // Of another machine's start the number of the device may be another's.
            let same =
                |noted: &Note| (noted.file_system, noted.project) == (new.file_system, new.project);
            let note = noted.filter(same).unwrap_or(new);
            (top.try_clone()?, note)
        }
        (None, Some(noted)) => (found(&noted)?, noted),
        (None, None) => return forget(all, name, own),
    };
    let has = quota(&top, note.project)?.bounds;
    // An administrator may have set others meanwhile, which count.
    let before = match note.set.contains(&has) {
        true => note.before,
        false => has,
    };
    let Some(wanted) = wanted else {
        if has != before {
            bound(&top, note.project, before)?;
        }
        return forget(all, name, own);
    };
    let most = before.and(wanted);
    if has == most && note.before == before && note.set.contains(&most) {
        return Ok(());
    }
    let note = Note {
        before,
        set: vec![has, most],
        ..note
    };
    own.replace(NOTE, &self::name()?, &to_json(&note)?)?;
    own.keep(NOTE)?;
    bound(&top, note.project, most)
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

/// Nobody else reckons meanwhile; the lock goes with the descriptor.
fn alone(all: &Directory, patience: Duration) -> io::Result<OwnedFd> {
    let until = Instant::now() + patience;
    let directory = all.again()?;
    loop {
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(directory),
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
