//! Following a path: links, mounts, and directories that may be passed through.

use std::collections::VecDeque;

use super::{
    ENTER, Entry, EntryKind, LINKS_FOLLOWED, Own, Shows, Spot, Stop, Terminal, View, What, terminal,
};
use crate::path::UnixPath;

impl View<'_> {
    /// Follows a path as the guest's kernel would.
    pub(in crate::why) fn walk(&self, path: &UnixPath, follow_last: bool) -> Result<Spot, Stop> {
        let mut here = self.spot(&UnixPath::root())?.unwrap_or(Spot {
            path: UnixPath::root(),
            what: What::Directory,
            mount: None,
        });
        let mut rest: VecDeque<String> = parts(path.as_str());
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                let up = here.path.parent().unwrap_or_else(UnixPath::root);
                here = self.walk(&up, false)?;
                continue;
            }
            if let What::Machine { entry, .. } = &here.what {
                if entry.kind != EntryKind::Directory {
                    return Err(Stop::NoDirectory(here.path));
                }
                if !self.may(&here, ENTER) {
                    return Err(Stop::Closed(Box::new(here)));
                }
            }
            if matches!(here.what, What::File { .. }) || self.is_own_device(&here) {
                return Err(Stop::NoDirectory(here.path));
            }
            let Ok(next) = here.path.join(&name) else {
                return Err(Stop::Missing {
                    path: here.path.clone(),
                    last: false,
                    parent: Box::new(here),
                });
            };
            let last = rest.is_empty();
            let found = self.spot(&next)?;
            let Some(found) = found else {
                return Err(Stop::Missing {
                    path: next,
                    last,
                    parent: Box::new(here),
                });
            };
            let target = match &found.what {
                What::Machine {
                    entry:
                        Entry {
                            kind: EntryKind::Link(target),
                            ..
                        },
                    ..
                } => Some(target.clone()),
                What::Directory => match self.own.get(&next) {
                    Some(Own::Link(target)) => Some(target.clone()),
                    _ => None,
                },
                _ => None,
            };
            if let Some(target) = target
                && (follow_last || !last)
            {
                links += 1;
                if links > LINKS_FOLLOWED {
                    return Err(Stop::Circle);
                }
                let target = String::from_utf8_lossy(&target.0).into_owned();
                if target.starts_with('/') {
                    here = self.walk(&UnixPath::root(), false)?;
                }
                for part in parts(&target).into_iter().rev() {
                    rest.push_front(part);
                }
                continue;
            }
            here = found;
        }
        Ok(here)
    }

    /// One of the jar's own devices or terminals, which has nothing below it.
    fn is_own_device(&self, spot: &Spot) -> bool {
        match self.mount_of(spot) {
            Some(mount) => match mount.shows {
                Shows::Device => true,
                Shows::Terminals => {
                    mount.at != spot.path && !matches!(terminal(&spot.path), Terminal::Nothing)
                }
                _ => false,
            },
            None => false,
        }
    }

    /// What is at a path whose parents are free of links; none where nothing is.
    fn spot(&self, path: &UnixPath) -> Result<Option<Spot>, Stop> {
        let mount = self.mount_over(path);
        let spot = |what| {
            Ok(Some(Spot {
                path: path.clone(),
                what,
                mount,
            }))
        };
        let deeper = self.own.keys().any(|own| own.is_within(path))
            || self.mounts.iter().any(|mount| mount.at.is_within(path));
        let Some(index) = mount else {
            return match self.own.get(path) {
                Some(Own::File { mode }) => spot(What::File { mode: *mode }),
                Some(Own::Directory | Own::Link(_)) => spot(What::Directory),
                None if deeper || path.as_str() == "/" => spot(What::Directory),
                None => Ok(None),
            };
        };
        let over = &self.mounts[index];
        match &over.shows {
            Shows::Scratch if deeper && over.at != *path => spot(What::Directory),
            Shows::Scratch | Shows::Proc | Shows::Terminals | Shows::Device => spot(What::Inside),
            Shows::Nothing if over.at == *path => spot(What::Hidden),
            Shows::Nothing => Ok(None),
            Shows::Machine {
                path: shown, alone, ..
            } => {
                let Some(there) = path.rebased(&over.at, shown) else {
                    return Ok(None);
                };
                match self.machine.entry(&there) {
                    // Another file system is mounted there, and not in the jar.
                    Ok(entry) if alone.is_some_and(|device| device != entry.device) => {
                        match over.at == *path {
                            true => spot(What::Machine { path: there, entry }),
                            false => Ok(None),
                        }
                    }
                    Ok(entry) => spot(What::Machine { path: there, entry }),
                    Err(2 | 20) => Ok(None),
                    Err(errno) => Err(Stop::Unknown { path: there, errno }),
                }
            }
        }
    }
}

fn parts(text: &str) -> VecDeque<String> {
    text.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(str::to_owned)
        .collect()
}
