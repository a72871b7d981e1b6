//! The jar's file tree as it is to be: what is at each path, and where that
//! comes from. Built by the planner, then turned into steps in an order in
//! which every parent is there before its children.

use std::collections::BTreeMap;

use belljar_plan::{Attributes, Bytes, Source, Step, step::OwnedStep};

use crate::path::UnixPath;

/// As many links as the kernel follows; path_resolution(7).
const LINKS_FOLLOWED: usize = 40;

/// What is to be at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A directory of the jar's own.
    Directory { mode: u16 },
    /// A symbolic link, as it is written.
    Link { target: Bytes },
    /// A file of Belljar's own.
    File { mode: u16, content: Bytes },
    /// A file of the plugin, in the image.
    PluginFile { mode: u16, offset: u64, length: u64 },
    /// A mount.
    Mount(Mount),
}

/// A mount in the jar's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where from.
    pub(super) source: Source<Bytes>,
    /// The machine's path that it shows; none for scratch.
    pub(super) shows: Option<UnixPath>,
    /// A directory, or a single file.
    pub(super) directory: bool,
    /// With what is mounted below.
    pub(super) recursive: bool,
    /// Its attributes.
    pub(super) attributes: Attributes,
    /// A grant that may fail.
    pub(super) optional: bool,
}

impl Mount {
    const fn is_scratch(&self) -> bool {
        matches!(self.source, Source::Scratch { .. })
    }
}

/// What is in the way of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// This is no directory.
    File(UnixPath),
    /// The place lies in a mount of the machine, where it must be there already.
    Machine {
        /// Where the mount is.
        mount: UnixPath,
        /// What the machine has to have there.
        shows: UnixPath,
    },
}

/// The jar's file tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<UnixPath, Node>,
}

/// The steps of a tree, by when they are to run.
#[derive(Debug, Default)]
pub(super) struct TreeSteps {
    /// On the jar's own root.
    pub(super) own: Vec<OwnedStep>,
    /// Binds of scratch.
    pub(super) scratch: Vec<OwnedStep>,
    /// Mount points inside scratch.
    pub(super) inside_scratch: Vec<OwnedStep>,
    /// All other binds.
    pub(super) binds: Vec<OwnedStep>,
}

impl Tree {
    /// Puts something at a path; what was there is replaced. Links of the tree
    /// that lead to its directory are followed.
    pub(super) fn put(&mut self, path: &UnixPath, node: Node) {
        let path = self.through_links(path);
        if path.as_str() != "/" {
            self.nodes.insert(path, node);
        }
    }

    /// Puts something at a path unless something is there already.
    pub(super) fn put_new(&mut self, path: &UnixPath, node: Node) {
        if !self.nodes.contains_key(&self.through_links(path)) {
            self.put(path, node);
        }
    }

    /// Everything that was put, by where it is.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&UnixPath, &Node)> {
        self.nodes.iter()
    }

    /// The nearest mount at or above a path, and where it is.
    pub(super) fn mount_over(&self, path: &UnixPath) -> Option<(UnixPath, &Mount)> {
        let path = self.resolve(path);
        let above: Vec<_> = path.ancestors_from_root().collect();
        above
            .into_iter()
            .rev()
            .find_map(|at| match self.nodes.get(&at) {
                Some(Node::Mount(mount)) => Some((at, mount)),
                _ => None,
            })
    }

    /// What the machine has at `found`, free of links, is seen at `path` in the jar.
    pub(super) fn shows(&self, path: &UnixPath, found: &UnixPath) -> bool {
        let path = self.through_links(path);
        // A link of the jar's own at the path itself leads straight to what was found.
        let path = match self.nodes.get(&path) {
            Some(Node::Link { target }) => follow(&path, target, &path).unwrap_or(path),
            _ => path,
        };
        match self.source_of(&path) {
            // Below a mount the machine's own links decide where `path` leads:
            // to `found`, which must then be visible itself.
            Some(source) => source == *found || self.shows_itself(found),
            None => false,
        }
    }

    /// What the machine has at a path, free of links, is seen at that very path.
    pub(super) fn shows_itself(&self, found: &UnixPath) -> bool {
        self.source_of(found).is_some_and(|source| source == *found)
    }

    /// The machine's path that is shown at a path of the jar; none for the jar's own.
    pub(super) fn source_of(&self, path: &UnixPath) -> Option<UnixPath> {
        let path = self.resolve(path);
        let (at, mount) = self.mount_over(&path)?;
        path.rebased(&at, mount.shows.as_ref()?)
    }

    /// Every place at which something of the machine at or below `hidden` is
    /// shown, as paths in the jar.
    pub(super) fn places_of(&self, hidden: &UnixPath) -> Vec<UnixPath> {
        self.nodes
            .iter()
            .filter_map(|(at, node)| match node {
                Node::Mount(Mount {
                    shows: Some(shows), ..
                }) => {
                    if shows.is_within(hidden) {
                        Some(at.clone())
                    } else if hidden.is_within(shows) {
                        let place = hidden.rebased(shows, at)?;
                        // A deeper mount over that place shows something else there.
                        (self.mount_over(&place)?.0 == *at).then_some(place)
                    } else {
                        None
                    }
                }
                _ => None,
            })
            .collect()
    }

    /// Something of the machine that can be written at one place of the jar and
    /// run at another, or at the same one: where to write, and where to run.
    pub(super) fn written_and_run(&self) -> Option<(UnixPath, UnixPath)> {
        let shown = || {
            self.nodes.iter().filter_map(|(at, node)| match node {
                Node::Mount(mount) => Some((at, mount, mount.shows.as_ref()?)),
                _ => None,
            })
        };
        let written = shown().filter(|(_, mount, _)| !mount.attributes.read_only);
        written
            .flat_map(|(_, _, written)| {
                let run = shown().filter(|(_, mount, _)| !mount.attributes.no_exec);
                run.filter_map(move |(_, _, run)| {
                    let both = if run.is_within(written) { run } else { written };
                    (both.is_within(written) && both.is_within(run)).then_some(both)
                })
            })
            .find_map(|both| {
                let places = self.places_of(both).into_iter();
                let places: Vec<_> = places
                    .filter(|place| self.source_of(place).as_ref() == Some(both))
                    .filter_map(|place| {
                        let (_, mount) = self.mount_over(&place)?;
                        Some((place, mount.attributes))
                    })
                    .collect();
                let place = |wanted: fn(&Attributes) -> bool| {
                    let found = places.iter().find(|(_, attributes)| wanted(attributes));
                    found.map(|(place, _)| place.clone())
                };
                Some((place(|is| !is.read_only)?, place(|is| !is.no_exec)?))
            })
    }

    /// What is in the way of a mount at a path: a file above it, or a mount of
    /// the machine, in which nothing can be made.
    pub(super) fn obstacle(&self, path: &UnixPath) -> Option<Obstacle> {
        let path = self.through_links(path);
        let parent = path.parent()?;
        for above in parent.ancestors_from_root() {
            let file = match self.nodes.get(&above) {
                Some(Node::File { .. } | Node::PluginFile { .. } | Node::Link { .. }) => true,
                Some(Node::Mount(mount)) => !mount.directory,
                Some(Node::Directory { .. }) | None => false,
            };
            if file {
                return Some(Obstacle::File(above));
            }
        }
        let (at, mount) = self.mount_over(&parent)?;
        let shows = path.rebased(&at, mount.shows.as_ref()?)?;
        Some(Obstacle::Machine { mount: at, shows })
    }

    /// Whether a directory can be entered at a path.
    pub(super) fn has_directory(&self, path: &UnixPath) -> bool {
        let path = self.resolve(path);
        path.as_str() == "/"
            || match self.nodes.get(&path) {
                Some(Node::Directory { .. }) => true,
                Some(Node::Mount(mount)) => mount.directory,
                Some(_) => false,
                None => self.nodes.keys().any(|other| other.is_within(&path)),
            }
    }

    /// The tree as steps, parents before children.
    pub(super) fn steps(&self) -> TreeSteps {
        let mut steps = TreeSteps::default();
        let mut made = std::collections::BTreeSet::from([UnixPath::root()]);
        for (path, node) in &self.nodes {
            let parent = path.parent().unwrap_or_else(UnixPath::root);
            let inside = self.mount_over(&parent);
            let scratch = inside.as_ref().is_some_and(|(_, mount)| mount.is_scratch());
            // Inside a mount of the machine nothing is made: what is mounted
            // over must be there.
            let make = inside.is_none() || scratch;
            if make {
                let list = if scratch {
                    &mut steps.inside_scratch
                } else {
                    &mut steps.own
                };
                for directory in parent.ancestors_from_root() {
                    let there = inside
                        .as_ref()
                        .is_some_and(|(at, _)| at.is_within(&directory));
                    if !there
                        && !self.nodes.contains_key(&directory)
                        && made.insert(directory.clone())
                    {
                        list.push(Step::Directory {
                            path: directory.relative().into(),
                            mode: 0o755,
                        });
                    }
                }
                if made.insert(path.clone()) {
                    list.push(mount_point_or_file(path, node));
                }
            }
            if let Node::Mount(mount) = node {
                let list = if mount.is_scratch() {
                    &mut steps.scratch
                } else {
                    &mut steps.binds
                };
                list.push(Step::Bind {
                    source: mount.source.clone(),
                    target: path.relative().into(),
                    recursive: mount.recursive,
                    attributes: mount.attributes,
                    optional: mount.optional,
                });
            }
        }
        steps
    }

    /// The path with every link of the tree followed, itself included.
    fn resolve(&self, path: &UnixPath) -> UnixPath {
        let mut path = self.through_links(path);
        for _ in 0..LINKS_FOLLOWED {
            let Some(Node::Link { target }) = self.nodes.get(&path) else {
                break;
            };
            let Some(followed) = follow(&path, target, &path) else {
                break;
            };
            path = self.through_links(&followed);
        }
        path
    }

    /// The path with the links of the tree above it followed.
    fn through_links(&self, path: &UnixPath) -> UnixPath {
        let mut path = path.clone();
        for _ in 0..LINKS_FOLLOWED {
            let parent = path.parent().unwrap_or_else(UnixPath::root);
            let link = parent
                .ancestors_from_root()
                .find_map(|at| match self.nodes.get(&at) {
                    Some(Node::Link { target }) => Some((at, target.clone())),
                    _ => None,
                });
            let Some((at, target)) = link else { break };
            let Some(followed) = follow(&at, &target, &path) else {
                break;
            };
            path = followed;
        }
        path
    }
}

/// Where `path` leads when the link at `at`, above it, is followed.
fn follow(at: &UnixPath, target: &Bytes, path: &UnixPath) -> Option<UnixPath> {
    let target = std::str::from_utf8(&target.0).ok()?;
    let rest = path.as_str().strip_prefix(at.as_str())?;
    let mut parts: Vec<&str> = Vec::new();
    let base = if target.starts_with('/') {
        String::new()
    } else {
        at.parent()?.as_str().to_owned()
    };
    let whole = format!("{base}/{target}{rest}");
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    UnixPath::new(&format!("/{}", parts.join("/"))).ok()
}

fn mount_point_or_file(path: &UnixPath, node: &Node) -> OwnedStep {
    let path: Bytes = path.relative().into();
    match node {
        Node::Directory { mode } => Step::Directory { path, mode: *mode },
        Node::Link { target } => Step::Symlink {
            path,
            target: target.clone(),
        },
        Node::File { mode, content } => Step::File {
            path,
            mode: *mode,
            content: content.clone(),
        },
        Node::PluginFile {
            mode,
            offset,
            length,
        } => Step::PluginFile {
            path,
            mode: *mode,
            offset: *offset,
            length: *length,
        },
        Node::Mount(mount) if mount.directory => Step::Directory { path, mode: 0o755 },
        Node::Mount(_) => Step::File {
            path,
            mode: 0o644,
            content: Bytes::default(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> UnixPath {
        UnixPath::new(text).unwrap()
    }

    fn mount(shows: &str) -> Node {
        Node::Mount(Mount {
            source: Source::Path {
                path: shows.into(),
                device: 1,
                inode: 2,
            },
            shows: Some(path(shows)),
            directory: true,
            recursive: true,
            attributes: Attributes::default(),
            optional: false,
        })
    }

    fn link(target: &str) -> Node {
        Node::Link {
            target: target.into(),
        }
    }

    fn merged() -> Tree {
        let mut tree = Tree::default();
        tree.put(&path("/usr"), mount("/usr"));
        tree.put(&path("/bin"), link("usr/bin"));
        tree
    }

    #[test]
    fn links_of_the_tree_lead_to_what_mounts_show() {
        let tree = merged();
        assert!(tree.shows(&path("/bin/sh"), &path("/usr/bin/sh")));
        assert!(tree.shows(&path("/bin/sh"), &path("/usr/bin/dash")));
        assert!(!tree.shows(&path("/bin/x"), &path("/home/me/x")));
        assert!(!tree.shows(&path("/opt/x"), &path("/opt/x")));
    }

    #[test]
    fn what_is_hidden_is_found_wherever_it_is_shown() {
        let mut tree = merged();
        tree.put(&path("/copy"), mount("/usr/share"));
        assert_eq!(
            tree.places_of(&path("/usr/share/doc")),
            [path("/copy/doc"), path("/usr/share/doc")]
        );
        assert_eq!(tree.places_of(&path("/usr")), [path("/copy"), path("/usr")]);
        assert!(tree.places_of(&path("/etc")).is_empty());
    }

    #[test]
    fn parents_are_made_once_and_before_their_children() {
        let mut tree = merged();
        tree.put(&path("/a/b/c"), mount("/x"));
        tree.put(&path("/a/b-d"), mount("/y"));
        let steps = tree.steps();
        let made: Vec<_> = steps.own.iter().map(|step| format!("{step:?}")).collect();
        let at = |what: &str| made.iter().position(|step| step.contains(what)).unwrap();
        assert!(at("\"a\"") < at("\"a/b\"") && at("\"a/b\"") < at("\"a/b/c\""));
        assert_eq!(
            made.iter()
                .filter(|step| step.contains("path: \"a\""))
                .count(),
            1
        );
        assert_eq!(steps.binds.len(), 3);
    }

    #[test]
    fn inside_a_mount_of_the_machine_nothing_is_made() {
        let mut tree = merged();
        tree.put(&path("/usr/local/x"), mount("/x"));
        assert!(
            tree.steps()
                .own
                .iter()
                .all(|step| !format!("{step:?}").contains("local"))
        );
    }

    #[test]
    fn a_link_to_what_a_mount_shows_shows_it() {
        let mut tree = Tree::default();
        tree.put(&path("/usr/bin/dash"), mount("/usr/bin/dash"));
        tree.put(&path("/bin"), link("usr/bin"));
        tree.put(&path("/bin/sh"), link("/usr/bin/dash"));
        assert!(tree.shows(&path("/bin/sh"), &path("/usr/bin/dash")));
    }

    #[test]
    fn a_link_through_itself_ends() {
        let mut tree = Tree::default();
        tree.put(&path("/a"), link("a"));
        assert!(!tree.shows(&path("/a/b"), &path("/b")));
    }
}
