//! What was found about a program and the paths that its launch mentions,
//! before anything is decided: data that `belljar`'s verify stage fills by
//! looking, and that tests fill by hand.

use std::collections::{BTreeMap, BTreeSet};

use belljar_plan::Bytes;

use crate::{manifest::Manifest, path::UnixPath};

/// A program or plugin that was looked at, with everything that planning needs
/// to know about it. Only a verify stage should make one for a real launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What is run.
    pub subject: Subject,
    /// Who asks.
    pub caller: Caller,
    /// What each path that the request, the policy and the subject mention leads to.
    pub survey: Survey,
    /// Programs among those paths that ask for memory that is writable and
    /// executable when they are started, by where they are.
    pub writable_code: BTreeSet<UnixPath>,
    /// The project of a file system that everything granted for writing is in, with all
    /// that comes into it, where its quota can be set.
    pub project: Option<u32>,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A bare program of the machine.
    Program(Program),
    /// A plugin with a manifest.
    Plugin(Box<Plugin>),
}

/// A bare program, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// As it was asked for.
    pub asked: Bytes,
    /// The arguments after its name.
    pub arguments: Vec<Bytes>,
    /// Where it may be, in order: one place for a name with a slash, else one
    /// for each entry of the caller's PATH and then of the system's.
    pub candidates: Vec<Candidate>,
    /// Which bytes are run.
    pub bytes: ProgramBytes,
}

/// Which bytes a bare program is run from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProgramBytes {
    /// Whatever file of the machine is at its path.
    #[default]
    AtPath,
    /// The file that was seen at its path, or none: the caller runs from it itself.
    Caller,
    /// A copy of the file that the caller runs from, in the image: it is no longer at its path.
    CallerImage {
        /// SHA-256 of the image, in hexadecimal.
        digest: String,
        /// Bytes.
        length: u64,
    },
}

/// One place where a program was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The place, before links are followed.
    pub path: UnixPath,
    /// What is there; errno(3) where nothing that can be opened is.
    pub found: Result<Executable, i32>,
}

/// A plugin, read once: the image holds the bytes that were verified and that
/// will be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Where it came from, for messages.
    pub directory: UnixPath,
    /// Arguments after those of the manifest.
    pub arguments: Vec<Bytes>,
    /// Every file, directory and link of it, parents before children.
    pub files: Vec<PluginEntry>,
    /// SHA-256 of the image, in hexadecimal.
    pub image: String,
    /// What its entry is; errno(3) where it can't be read as a program.
    pub entry: Result<Executable, i32>,
    /// The first of its programs that asks for memory that is writable and
    /// executable when it is started.
    pub writable_code: Option<String>,
}

/// One entry of a plugin's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginEntry {
    /// Relative to the plugin's directory, no leading slash.
    pub path: String,
    /// What it is.
    pub kind: PluginEntryKind,
}

/// What an entry of a plugin's directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginEntryKind {
    /// A directory.
    Directory,
    /// A regular file; its bytes lie in the image.
    File {
        /// Somebody may execute it.
        executable: bool,
        /// Where its bytes start in the image.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// A symbolic link. It is copied as it is and leads, if anywhere, within the jar.
    Link {
        /// As it is written in the link.
        target: Bytes,
    },
}

/// A file that can be executed, and what the kernel will ask for when it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// The file.
    pub file: Found,
    /// What kind of program it is.
    pub kind: ExecutableKind,
}

/// What kind of program a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecutableKind {
    /// An ELF file; elf(5).
    Elf {
        /// The dynamic loader that it names; none for a static one.
        loader: Option<Library>,
        /// Every library that it needs, and those need, as the loader will find them.
        libraries: Vec<Library>,
        /// Names that were not found in any of the loader's places.
        missing: Vec<String>,
        /// Directories and files that the runtime reads besides, such as
        /// `/usr/lib/python3.11`, with their libraries in `libraries`.
        runtime: Vec<Library>,
        /// It, or its loader, asks the kernel for memory that is writable and
        /// executable when it is started: an executable stack, or such a segment.
        writable_code: bool,
        /// Go linked it, so that it reads Go's own variables.
        go: bool,
        /// What the runtime keeps outside of the system's directories, such as
        /// `/etc/java-17-openjdk`. It is known of the runtime by its name: no
        /// program can add to it.
        elsewhere: Vec<Library>,
    },
    /// A script: `#!` names the program that runs it.
    Script {
        /// The interpreter's name as `argv[0]` sees it, then the argument of
        /// the `#!` line, if any. `/usr/bin/env X` is already resolved to X.
        arguments: Vec<Bytes>,
        /// Where the interpreter was found, before links are followed.
        path: UnixPath,
        /// The interpreter; never a script itself.
        interpreter: Box<Executable>,
    },
    /// Anything else; the kernel will say `ENOEXEC` unless a handler is registered.
    Unknown,
}

impl Executable {
    /// The program that the kernel loads asks for memory that is writable and
    /// executable.
    #[must_use]
    pub fn wants_writable_code(&self) -> bool {
        match &self.kind {
            ExecutableKind::Elf { writable_code, .. } => *writable_code,
            ExecutableKind::Script { interpreter, .. } => interpreter.wants_writable_code(),
            ExecutableKind::Unknown => false,
        }
    }
}

/// A file or directory that has to be seen at a place for a program to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// The place where it is looked for, before links are followed.
    pub path: UnixPath,
    /// What is there.
    pub file: Found,
}

/// Who asks for a launch, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The caller's environment.
    pub environment: Vec<(Bytes, Bytes)>,
    /// The caller's working directory, free of links; none where it has no
    /// path that is UTF-8.
    pub workdir: Option<UnixPath>,
    /// Home directories of the machine's users, for the secrets in them.
    pub homes: Vec<UnixPath>,
}

impl Caller {
    /// The caller's own home, by the variable `HOME`; none where that is not
    /// said, no absolute path, or the root.
    #[must_use]
    pub fn home(&self) -> Option<UnixPath> {
        let (_, value) = self
            .environment
            .iter()
            .find(|(name, _)| name.0 == b"HOME")?;
        UnixPath::new(std::str::from_utf8(&value.0).ok()?)
            .ok()
            .filter(|path| path.as_str() != "/")
    }
}

/// What every path that matters leads to. A path that is not in it was not
/// looked at, and planning refuses it rather than guess.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey(pub BTreeMap<UnixPath, Result<Found, i32>>);

impl Survey {
    /// What a path leads to: errno(3) where nothing, `ENOENT` also where it was not looked at.
    ///
    /// # Errors
    /// The errno of opening it.
    pub fn find(&self, path: &UnixPath) -> Result<&Found, i32> {
        const ENOENT: i32 = 2;
        self.0
            .get(path)
            .map_or(Err(ENOENT), |found| found.as_ref().map_err(|errno| *errno))
    }
}

/// A file of the machine, links followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The path that is left when every symbolic link is followed.
    pub path: UnixPath,
    /// What it is.
    pub kind: FileKind,
    /// `st_dev`
    pub device: u64,
    /// `st_ino`
    pub inode: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits, set-id and sticky bits.
    pub mode: u16,
    /// Its file system takes idmapped mounts, where that was tried.
    pub idmap: bool,
}

/// The type of a file; inode(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A unix socket.
    Socket,
    /// A character device.
    CharacterDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device, FIFO or anything else.
    Other,
}
