//! What a jar's root shows, as places of a domain: as much may be done at each
//! as its mount lets through, and no more.

use std::collections::BTreeMap;

use belljar_plan::Attributes;

use super::{Access, Place};
use crate::{
    path::UnixPath,
    planner::{
        linux::{devices, proc_attributes},
        tree::{Mount, Node, Tree},
    },
};

/// Something in the jar's root.
struct Shown {
    path: UnixPath,
    /// What it is there for.
    needs: Access,
    /// What it may get besides, since nothing in it can make use of that.
    most: Access,
    optional: bool,
}

/// A terminal or a harmless device.
const CHARACTERS: Access = Access::READ.and(Access::WRITE).and(Access::DEVICE);

/// The places of a jar: one for each entry of its root, and one for whatever
/// needs more than that gives.
pub(super) fn of_jar(tree: &Tree, strict: bool, terminal: bool) -> Vec<Place> {
    let mut places = vec![Place {
        path: UnixPath::root(),
        // Files in the root itself are nobody's: the canary is one.
        access: Access::READ_DIR,
        optional: false,
    }];
    let mut own: BTreeMap<UnixPath, Vec<Shown>> = BTreeMap::new();
    let of_tree = tree.nodes().filter_map(|(path, node)| shown(path, node));
    for shown in of_tree.chain(made(strict, terminal)) {
        match directory_of_its_own(tree, &shown.path) {
            Some(top) => own.entry(top).or_default().push(shown),
            None => places.push(shown.place()),
        }
    }
    for (top, list) in own {
        let shared = shared(&list);
        let (covered, more): (Vec<Shown>, Vec<Shown>) = list
            .into_iter()
            .partition(|shown| shared.contains(shown.needs));
        if covered.len() < 2 {
            places.extend(covered.iter().map(Shown::place));
        } else {
            places.push(Place {
                path: top,
                access: shared,
                optional: false,
            });
        }
        places.extend(more.iter().map(Shown::place));
    }
    places
}

/// What every one of these may have and one of them needs: given to the
/// directory that they are in, it saves a rule for each. That directory is the
/// jar's own, sealed, and has nothing else in it; names in it stay as they are.
fn shared(list: &[Shown]) -> Access {
    let most = |all: Access, shown: &Shown| all.both(shown.most);
    let needs = |all: Access, shown: &Shown| all.and(shown.needs);
    list.iter()
        .fold(Access(u64::MAX), most)
        .both(list.iter().fold(Access::NONE, needs))
        .without(Access::ARRANGE)
}

/// The entry of the root below which a path lies in nothing but directories of
/// the jar's own.
fn directory_of_its_own(tree: &Tree, path: &UnixPath) -> Option<UnixPath> {
    let top = path
        .ancestors_from_root()
        .nth(1)
        .filter(|top| top != path)?;
    match tree.mount_over(&path.parent()?) {
        Some(_) => None,
        None => Some(top),
    }
}

impl Shown {
    fn place(&self) -> Place {
        Place {
            path: self.path.clone(),
            access: self.needs,
            optional: self.optional,
        }
    }
}

/// What there is to a node: a rule is about what can be opened, so directories
/// of the jar's own and links need none.
fn shown(path: &UnixPath, node: &Node) -> Option<Shown> {
    let file = |needs: Access| Shown {
        path: path.clone(),
        needs,
        // The root's own mount lets programs start, and has no devices.
        most: of_no_directory(Access::READ.and(Access::EXECUTE).and(Access::DEVICE)),
        optional: false,
    };
    match node {
        Node::Directory { .. } | Node::Link { .. } => None,
        Node::File { .. } => Some(file(Access::READ)),
        Node::PluginFile { mode, .. } => Some(file(match mode & 0o111 {
            0 => Access::READ,
            _ => Access::READ.and(Access::EXECUTE),
        })),
        Node::Mount(mount) => Some(mounted(path, mount)),
    }
}

fn mounted(path: &UnixPath, mount: &Mount) -> Shown {
    let device = !mount.attributes.no_dev;
    let mut needs = through(mount.attributes);
    if device {
        needs = needs.and(Access::DEVICE).both(CHARACTERS);
    }
    if !mount.directory {
        needs = needs.both(Access::OF_FILES);
    }
    let most = match device {
        true => needs,
        false => needs.and(Access::DEVICE),
    };
    Shown {
        path: path.clone(),
        needs,
        most: match mount.directory {
            true => most,
            false => of_no_directory(most),
        },
        optional: mount.optional,
    }
}

/// What a mount with these attributes lets through. Devices are made in none.
const fn through(attributes: Attributes) -> Access {
    let mut all = Access::READ.and(Access::READ_DIR);
    if !attributes.read_only {
        all = all
            .and(Access::WRITE)
            .and(Access::TRUNCATE)
            .and(Access::ARRANGE);
    }
    if !attributes.no_exec {
        all = all.and(Access::EXECUTE);
    }
    all
}

/// Rights to names mean nothing for what is no directory.
const fn of_no_directory(access: Access) -> Access {
    access.and(Access(u64::MAX).without(Access::OF_FILES))
}

/// What is made in the jar by steps of their own, and is in no tree.
fn made(strict: bool, terminal: bool) -> impl Iterator<Item = Shown> {
    let shown = |path: &str, needs: Access, most: Access| Shown {
        path: UnixPath::new(path).expect("a literal path is in the normal form"),
        needs,
        most,
        optional: false,
    };
    // Files of the kernel's own: written, where it may be, but never arranged.
    let proc = through(proc_attributes(strict)).without(Access::ARRANGE);
    let pts = CHARACTERS.and(Access::READ_DIR);
    let devices = devices(terminal).map(move |(name, ..)| {
        let path = format!("/dev/{name}");
        shown(&path, CHARACTERS, of_no_directory(CHARACTERS))
    });
    [shown("/proc", proc, proc), shown("/dev/pts", pts, pts)]
        .into_iter()
        .chain(devices)
}
