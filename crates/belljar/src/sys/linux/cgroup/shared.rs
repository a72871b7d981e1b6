//! The cgroup that jars of one host are in together, where a policy bounds what all of
//! them may have.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use belljar_plan::{Bytes, Limit};

use super::{made::Made, own::enable};

/// What such a cgroup's name begins with.
pub(super) const SHARED: &str = "belljar-all-";

/// What all may have together: each limit with its value, and what is written for it.
pub(super) type Together = [(Limit, u64, Vec<Bytes>)];

/// It is there as long as a jar is in it.
#[derive(Debug)]
pub(super) struct Shared {
    place: PathBuf,
    made: Made,
    /// The lowest that any policy of this host said, and the files that hold it.
    holds: Mutex<BTreeMap<Limit, (u64, Vec<String>)>>,
}

static ALL: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

impl Shared {
    /// The one in this place, made where there is none yet, and lowered to these values.
    pub(super) fn get(
        place: &Path,
        parent: OwnedFd,
        controllers: &[String],
        together: &Together,
    ) -> io::Result<Arc<Self>> {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|shared| shared.strong_count() > 0);
        let known = all
            .iter()
            .filter_map(Weak::upgrade)
            .find(|shared| shared.place == place);
        let shared = match known {
            Some(shared) => {
                // One that is asked for seldom may not be there yet.
                enable(&shared.path(), controllers)?;
                shared
            }
            None => {
                let made = Made::new(parent, SHARED)?;
                enable(&place.join(made.name()), controllers)?;
                let shared = Arc::new(Self {
                    place: place.to_owned(),
                    made,
                    holds: Mutex::default(),
                });
                all.push(Arc::downgrade(&shared));
                shared
            }
        };
        shared.lower(together)?;
        Ok(shared)
    }

    fn lower(&self, together: &Together) -> io::Result<()> {
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        for (limit, value, settings) in together {
            if holds.get(limit).is_some_and(|(holds, _)| holds <= value) {
                continue;
            }
            let mut files = Vec::new();
            for setting in settings {
                files.extend(self.made.set(&setting.0)?.map(str::to_owned));
            }
            holds.insert(*limit, (*value, files));
        }
        Ok(())
    }

    /// Where jars are made.
    pub(super) fn path(&self) -> PathBuf {
        self.place.join(self.made.name())
    }

    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        self.made.share()
    }

    /// One of its limits holds no more: its controller was taken back.
    pub(super) fn has_lost_a_limit(&self) -> bool {
        let holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        holds
            .values()
            .any(|(_, files)| files.iter().any(|file| !self.made.has(file)))
    }

    /// All of them came to what they may have together.
    pub(super) fn out_of_memory(&self) -> bool {
        self.made.has_counted("memory.events.local", "oom") == Some(true)
    }
}
