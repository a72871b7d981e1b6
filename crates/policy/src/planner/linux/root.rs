//! The jar's root for each preset: what is in it and where that comes from.

use belljar_plan::{Attributes, Bytes, Preset, Source, Step, plan::Slot, step::OwnedStep};

use super::super::{
    environment::HOME,
    program::expose,
    tree::{Mount, Node, Obstacle, Tree},
};
use crate::{
    effective::{Effective, Grant},
    facts::{HostFacts, Place, PlaceKind},
    path::UnixPath,
    refusal::Refusal,
    verified::{
        Executable, FileKind, Found, Library, PluginEntryKind, ProgramBytes, Subject, Verified,
    },
};

/// Where a plugin's files are in its jar.
pub(super) const PLUGIN: &str = "/plugin";

/// Where a program is that was copied into its jar.
const COPY: &str = "/.belljar-program";

/// Scratch for temporary files where `/tmp` is the machine's.
const MINIMAL_TMP: &str = "/run/tmp";

/// Runtime code and data of the system: read, executed, never written.
const SYSTEM: Attributes = Attributes {
    read_only: true,
    no_suid: true,
    no_dev: true,
    no_exec: false,
};

/// Private and writable.
const SCRATCH: Attributes = Attributes {
    read_only: false,
    no_suid: true,
    no_dev: true,
    no_exec: false,
};

/// Private and writable, with no program ever started from it.
const SCRATCH_DATA: Attributes = Attributes {
    no_exec: true,
    ..SCRATCH
};

/// Configuration of the system: read only.
const CONFIGURATION: Attributes = Attributes {
    no_exec: true,
    ..SYSTEM
};

/// The root as it is to be, and what has to be done outside for it.
#[derive(Debug, Default)]
pub(super) struct Root {
    pub(super) tree: Tree,
    /// Paths that enter by descriptor.
    pub(super) slots: Vec<Slot>,
    /// What turns those into mounts, before the jar exists.
    pub(super) detach: Vec<OwnedStep>,
    /// Where scratch for temporary files is.
    pub(super) tmp: &'static str,
}

impl Root {
    /// What the preset shows, before any grant.
    pub(super) fn new(effective: &Effective, verified: &Verified, facts: &HostFacts) -> Self {
        let mut root = Self {
            tmp: "/tmp",
            ..Self::default()
        };
        match effective.preset.value {
            Preset::Minimal => root.minimal(facts),
            Preset::Standard => root.standard(facts),
            Preset::Strict => root.strict(facts),
        }
        let (uid, gid) = effective.user;
        if effective.preset.value != Preset::Minimal {
            root.own_configuration(uid, gid, &effective.hostname);
        }
        root.devices();
        if let Subject::Plugin(plugin) = &verified.subject {
            root.directory(PLUGIN);
            for entry in &plugin.files {
                let Ok(path) = path(PLUGIN).join(&entry.path) else {
                    continue;
                };
                let node = match &entry.kind {
                    PluginEntryKind::Directory => Node::Directory { mode: 0o755 },
                    PluginEntryKind::File {
                        executable,
                        offset,
                        length,
                    } => Node::PluginFile {
                        mode: if *executable { 0o755 } else { 0o644 },
                        offset: *offset,
                        length: *length,
                    },
                    PluginEntryKind::Link { target } => Node::Link {
                        target: target.clone(),
                    },
                };
                root.tree.put(&path, node);
            }
        }
        root
    }

    fn minimal(&mut self, facts: &HostFacts) {
        self.tmp = MINIMAL_TMP;
        for place in &facts.layout.top {
            // Made fresh in every jar, or full of other programs' sockets.
            if !matches!(place.path.as_str(), "/proc" | "/dev" | "/run") {
                self.place(place, SYSTEM);
            }
        }
        self.directory("/run");
        self.scratch(MINIMAL_TMP, "tmp", SCRATCH);
    }

    fn standard(&mut self, facts: &HostFacts) {
        for place in &facts.layout.system {
            self.place(place, SYSTEM);
        }
        for place in &facts.layout.configuration {
            self.place(place, CONFIGURATION);
        }
        self.directory("/run");
        self.directory("/var");
        self.link("/var/run", "/run");
        self.link("/var/tmp", "/tmp");
        self.scratch("/tmp", "tmp", SCRATCH);
        self.scratch(HOME, "home", SCRATCH);
    }

    fn strict(&mut self, facts: &HostFacts) {
        // Other directories of programs and libraries come with what is in them.
        for name in ["bin", "lib", "lib64"] {
            self.directory(&format!("/usr/{name}"));
            self.link(&format!("/{name}"), &format!("usr/{name}"));
        }
        for place in &facts.layout.configuration {
            if matches!(place.path.as_str(), "/etc/ld.so.cache") {
                self.place(place, CONFIGURATION);
            }
        }
        self.scratch("/tmp", "tmp", SCRATCH_DATA);
        self.scratch(HOME, "home", SCRATCH_DATA);
        self.scratch("/workspace", "workspace", SCRATCH_DATA);
    }

    fn own_configuration(&mut self, uid: u32, gid: u32, hostname: &str) {
        let passwd = format!(
            "plugin:x:{uid}:{gid}:plugin:{HOME}:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
        );
        let files: [(&str, String); 6] = [
            ("/etc/passwd", passwd),
            ("/etc/group", format!("plugin:x:{gid}:\nnogroup:x:65534:\n")),
            (
                "/etc/hosts",
                format!("127.0.0.1 localhost {hostname}\n::1 localhost {hostname}\n"),
            ),
            ("/etc/hostname", format!("{hostname}\n")),
            (
                "/etc/nsswitch.conf",
                "passwd: files\ngroup: files\nhosts: files dns\n".to_owned(),
            ),
            ("/etc/resolv.conf", String::new()),
        ];
        for (at, content) in files {
            self.tree.put(
                &path(at),
                Node::File {
                    mode: 0o644,
                    content: content.into(),
                },
            );
        }
    }

    fn devices(&mut self) {
        for at in ["/dev", "/dev/pts", "/proc"] {
            self.directory(at);
        }
        self.scratch("/dev/shm", "shm", SCRATCH_DATA);
        for (at, target) in [
            ("/dev/fd", "/proc/self/fd"),
            ("/dev/stdin", "/proc/self/fd/0"),
            ("/dev/stdout", "/proc/self/fd/1"),
            ("/dev/stderr", "/proc/self/fd/2"),
            ("/dev/ptmx", "pts/ptmx"),
        ] {
            self.link(at, target);
        }
    }

    /// A bare program at its own path (in strict: among the jar's programs).
    ///
    /// # Errors
    /// Where its file system cannot show it to the jar's user.
    pub(super) fn program(
        &mut self,
        at: &UnixPath,
        executable: &Executable,
        effective: &Effective,
        facts: &HostFacts,
    ) -> Result<UnixPath, Refusal> {
        let found = &executable.file;
        if effective.preset.value == Preset::Strict && !in_system(found, facts) {
            let inside = path("/usr/bin")
                .join(at.name().unwrap_or("program"))
                .unwrap_or_else(|_| path("/usr/bin/program"));
            let mount = self.granted(found, false, effective, facts)?;
            self.tree.put(&inside, mount);
            return Ok(inside);
        }
        if !in_system(found, facts) && !self.tree.shows_itself(&found.path) {
            let mount = self.granted(found, false, effective, facts)?;
            self.tree.put(&found.path, mount);
        }
        expose(&mut self.tree, at, found, bound);
        Ok(at.clone())
    }

    /// A bare program that is copied into the jar: where it is there.
    pub(super) fn copy(&mut self, at: &UnixPath, length: u64) -> UnixPath {
        let inside = at.name().and_then(|name| path(COPY).join(name).ok());
        let inside = inside.unwrap_or_else(|| path(COPY).join("program").expect("it is a name"));
        // Whatever the machine has there.
        self.tree.put(&path(COPY), Node::Directory { mode: 0o755 });
        self.tree.put(
            &inside,
            Node::PluginFile {
                mode: 0o755,
                offset: 0,
                length,
            },
        );
        inside
    }

    /// Loaders, libraries, interpreters and their runtime directories. Only
    /// those of the system's own directories, or what is granted besides: a
    /// program names its libraries itself and must not open a door by it.
    pub(super) fn needed(&mut self, needs: &[Library], facts: &HostFacts) {
        for need in needs {
            if in_system(&need.file, facts) {
                expose(&mut self.tree, &need.path, &need.file, bound);
            }
        }
    }

    /// What a runtime keeps outside of the system's directories. These places
    /// are known of it by its name, so that no program opens a door by them.
    pub(super) fn needed_elsewhere(&mut self, places: &[Library]) {
        for place in places {
            expose(&mut self.tree, &place.path, &place.file, bound);
        }
    }

    /// A path that the operator granted.
    ///
    /// # Errors
    /// Where the path is not there, or cannot be shown to the jar's user.
    pub(super) fn grant(
        &mut self,
        grant: &Grant,
        verified: &Verified,
        effective: &Effective,
        facts: &HostFacts,
    ) -> Result<(), Refusal> {
        let found = verified.survey.find(&grant.path).map_err(|errno| Refusal::Invalid {
            reason: format!(
                "{}: {} cannot be opened (errno {errno}): name a path that exists and that you may open",
                grant.origin, grant.path
            ),
        })?;
        let at = grant.at.as_ref().unwrap_or(&found.path);
        if at.as_str() == "/" {
            return Err(Refusal::Invalid {
                reason: format!(
                    "{}: the jar's root itself can't be granted; name a directory below it",
                    grant.origin
                ),
            });
        }
        if let Some(reason) = reserved(at, &verified.subject) {
            return Err(Refusal::Invalid {
                reason: format!(
                    "{}: {at} in the jar {reason}; name another place, as in `{}:/mnt`",
                    grant.origin, grant.path
                ),
            });
        }
        if let Some(written) = led_astray(grant, found, verified, effective) {
            return Err(Refusal::Invalid {
                reason: format!(
                    "{}: {} lies in {written}, which the guest may write, and a symbolic link there leads out of it, to {}: \
                     a guest could have put it there; if you mean that place, grant it by its own path",
                    grant.origin, grant.path, found.path
                ),
            });
        }
        if let Some(reason) = self.no_place(at, found, verified) {
            return Err(Refusal::Invalid {
                reason: format!("{}: {reason}", grant.origin),
            });
        }
        if is_terminal(found) {
            return Err(Refusal::Invalid {
                reason: format!(
                    "{}: {} is a terminal of the machine: say `--tty` to give the jar one of its own",
                    grant.origin, grant.path
                ),
            });
        }
        let mut node = self.granted(found, grant.write, effective, facts)?;
        if let Node::Mount(mount) = &mut node {
            mount.optional = grant.optional;
        }
        self.tree.put(at, node);
        if grant.at.is_none()
            && grant.path != found.path
            && !self.tree.shows(&grant.path, &found.path)
        {
            self.tree.put_new(
                &grant.path,
                Node::Link {
                    target: found.path.as_str().into(),
                },
            );
        }
        Ok(())
    }

    /// Why nothing can be mounted at a place of the jar, where that is so.
    fn no_place(&self, at: &UnixPath, found: &Found, verified: &Verified) -> Option<String> {
        match self.tree.obstacle(at)? {
            Obstacle::File(above) => Some(format!(
                "{at} in the jar lies below {above}, which is no directory; name another place"
            )),
            // What the machine has at its own path is there.
            Obstacle::Machine { shows, .. } if shows == found.path => None,
            Obstacle::Machine { mount, shows } => {
                verified.survey.find(&shows).is_err().then(|| {
                    format!(
                        "{at} in the jar lies in {mount}, where the machine's {shows} would have to be there to mount over; \
                         name a place outside of {mount}"
                    )
                })
            }
        }
    }

    /// The mount of something that does not belong to the system.
    fn granted(
        &mut self,
        found: &Found,
        write: bool,
        effective: &Effective,
        facts: &HostFacts,
    ) -> Result<Node, Refusal> {
        let device = matches!(found.kind, FileKind::CharacterDevice { .. });
        let attributes = Attributes {
            read_only: !write,
            no_suid: true,
            no_dev: !device,
            // Strict keeps every writable mount free of programs.
            no_exec: write && effective.preset.value == Preset::Strict,
        };
        if !facts.privileged {
            return Ok(Node::Mount(Mount {
                attributes,
                ..mount(found)
            }));
        }
        let idmap = found.idmap && facts.idmap.is_available() && !open_to_all(found, write);
        if !idmap && !others_may(found, write) {
            let (word, bits) = match (write, found.kind) {
                (false, _) => ("read", "o+rX"),
                (true, FileKind::Directory) => ("write", "o+rwX"),
                (true, _) => ("write", "o+rw"),
            };
            let user = match found.uid {
                0 => "a user who may open it".to_owned(),
                uid => format!("uid {uid}"),
            };
            return Err(Refusal::Invalid {
                reason: format!(
                    "{}: its file system takes no idmapped mounts, so the jar's own user cannot {word} what belongs to uid {}: \
                     make it open to others (chmod {bits}), or start belljar as {user}",
                    found.path, found.uid
                ),
            });
        }
        let slot = u16::try_from(self.slots.len()).map_err(|_| Refusal::Invalid {
            reason: "more than 65,535 paths are granted: grant their directories".to_owned(),
        })?;
        self.slots.push(Slot {
            path: found.path.as_str().into(),
            device: found.device,
            inode: found.inode,
        });
        self.detach.push(Step::Detach {
            slot,
            idmap,
            owner_uid: found.uid,
            owner_gid: found.gid,
            // An idmapped tree must be idmappable in all its parts.
            recursive: !idmap,
            attributes,
        });
        Ok(Node::Mount(Mount {
            source: Source::Slot { slot },
            attributes,
            ..mount(found)
        }))
    }

    /// A place of the machine, as it is: a link stays a link.
    fn place(&mut self, place: &Place, attributes: Attributes) {
        let (device, inode, directory) = match &place.kind {
            PlaceKind::Link { target } => return self.link(place.path.as_str(), target),
            PlaceKind::Directory { device, inode } => (*device, *inode, true),
            PlaceKind::File { device, inode } => (*device, *inode, false),
        };
        self.tree.put_new(
            &place.path,
            Node::Mount(Mount {
                source: Source::Path {
                    path: place.path.as_str().into(),
                    device,
                    inode,
                },
                shows: Some(place.path.clone()),
                directory,
                recursive: directory,
                attributes,
                optional: false,
            }),
        );
    }

    fn scratch(&mut self, at: &str, name: &str, attributes: Attributes) {
        self.tree.put(
            &path(at),
            Node::Mount(Mount {
                source: Source::Scratch { name: name.into() },
                shows: None,
                directory: true,
                recursive: false,
                attributes,
                optional: false,
            }),
        );
    }

    fn directory(&mut self, at: &str) {
        self.tree
            .put_new(&path(at), Node::Directory { mode: 0o755 });
    }

    fn link(&mut self, at: &str, target: &str) {
        self.tree.put_new(
            &path(at),
            Node::Link {
                target: Bytes::from(target),
            },
        );
    }
}

/// A single file that anybody may read, and run if anybody may run it: an
/// idmapped mount, which takes a user namespace to make, would add nothing.
fn open_to_all(found: &Found, write: bool) -> bool {
    let runs = found.mode & 0o111 == 0 || found.mode & 0o1 != 0;
    found.kind == FileKind::File && !write && runs && others_may(found, false)
}

/// Why nothing of the machine may be shown at a place of the jar.
fn reserved(at: &UnixPath, subject: &Subject) -> Option<&'static str> {
    if matches!(subject, Subject::Plugin(_)) && at.is_within(&path(PLUGIN)) {
        return Some("is where the plugin's own, verified files are");
    }
    if let Subject::Program(program) = subject
        && matches!(program.bytes, ProgramBytes::CallerImage { .. })
        && at.is_within(&path(COPY))
    {
        return Some("is where the program's copy is");
    }
    let build = [
        "/.scratch",
        "/.belljar-empty-file",
        "/.belljar-empty-folder",
    ];
    if build.iter().any(|name| at.is_within(&path(name))) {
        return Some("is a name that Belljar uses while it makes the jar");
    }
    let devices = [
        "null", "zero", "full", "random", "urandom", "tty", "pts", "ptmx", "fd", "stdin", "stdout",
        "stderr",
    ];
    let within = at.as_str().strip_prefix("/dev/").unwrap_or_default();
    let first = within.split('/').next().unwrap_or_default();
    (at.as_str() == "/dev" || devices.contains(&first)).then_some("is one of the jar's own devices")
}

/// A terminal on which somebody may work; a serial line is none. Numbers of
/// the kernel's `devices.txt`.
const fn is_terminal(found: &Found) -> bool {
    match found.kind {
        FileKind::CharacterDevice { major, minor } => {
            matches!(
                (major, minor),
                (4, 0..=63) | (5, 0..=2) | (7 | 136..=143, _)
            )
        }
        _ => false,
    }
}

/// The granted directory that the guest may write, and out of which a link
/// leads from a path granted inside it. A former run may have made that link.
pub(super) fn led_astray<'a>(
    grant: &Grant,
    found: &Found,
    verified: &Verified,
    effective: &'a Effective,
) -> Option<&'a UnixPath> {
    let find = |path: &UnixPath| verified.survey.find(path).ok().map(|found| &found.path);
    effective
        .grants
        .iter()
        .filter(|other| other.write && other.path != grant.path)
        .map(|other| (&other.path, find(&other.path)))
        .find(|(said, real)| {
            let inside = |path: &UnixPath| {
                path.is_within(said) || real.is_some_and(|real| path.is_within(real))
            };
            let passes = grant
                .path
                .ancestors_from_root()
                .any(|above| inside(&above) || find(&above).is_some_and(inside));
            // Where both lead to one place, neither leads out of it.
            passes && !inside(&found.path)
        })
        .map(|(said, _)| said)
}

/// A path that is written in this file.
fn path(text: &str) -> UnixPath {
    UnixPath::new(text).expect("a literal path is in the normal form")
}

/// It lies in one of the system's runtime directories.
pub(super) fn in_system(found: &Found, facts: &HostFacts) -> bool {
    facts.layout.system.iter().any(|place| {
        matches!(place.kind, PlaceKind::Directory { .. }) && found.path.is_within(&place.path)
    })
}

fn mount(found: &Found) -> Mount {
    let directory = found.kind == FileKind::Directory;
    Mount {
        source: Source::Path {
            path: found.path.as_str().into(),
            device: found.device,
            inode: found.inode,
        },
        shows: Some(found.path.clone()),
        directory,
        recursive: directory,
        attributes: SYSTEM,
        optional: false,
    }
}

/// A read-only mount of something that belongs to the system.
fn bound(found: &Found) -> Node {
    Node::Mount(mount(found))
}

fn others_may(found: &Found, write: bool) -> bool {
    let wanted = match (found.kind, write) {
        (FileKind::Directory, false) => 0o5,
        (FileKind::Directory, true) => 0o7,
        (_, false) => 0o4,
        (_, true) => 0o6,
    };
    found.mode & wanted == wanted
}
