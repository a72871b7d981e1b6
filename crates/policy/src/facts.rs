//! What a machine can enforce: found out once by trying, and data from then on,
//! so that planning for another machine is a test.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::path::UnixPath;

mod examined;

pub use self::examined::{Cgroups, Examined, Hierarchy, IdRange, Idmapped, Switch};

/// What a machine can enforce for the user who asks. `belljar doctor --json`
/// writes it, and a plan can be made of it anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostFacts {
    /// Which system it is.
    pub os: Os,
    /// `uname -r`, for people only: nothing is decided by it.
    pub release: String,
    /// Processor architecture as `uname -m` says it.
    pub machine: String,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// May write any id map and make idmapped mounts: root with `CAP_SETUID`,
    /// `CAP_SETGID` and `CAP_SYS_ADMIN` in the machine's own user namespace.
    pub privileged: bool,
    /// Uid 0 here is another uid on the machine: this user namespace maps it
    /// elsewhere, as rootless containers do.
    #[serde(default)]
    pub mapped_root: bool,
    /// Namespaces of a jar's own; user_namespaces(7).
    pub namespaces: Ability,
    /// A root of a jar's own: fsopen(2), move_mount(2), mount_setattr(2), openat2(2).
    pub mounts: Ability,
    /// A fresh `/proc` in a jar; proc(5).
    pub proc: Ability,
    /// Idmapped mounts; mount_setattr(2).
    pub idmap: Ability,
    /// clone3(2), pidfd_open(2), close_range(2).
    pub tasks: Ability,
    /// seccomp(2) filters.
    pub seccomp: Ability,
    /// A descriptor by which denied calls are heard: one in a tree of tasks, so
    /// not where an outer sandbox has one; seccomp_unotify(2).
    pub listener: Ability,
    /// `PR_SET_MDWE`, by which memory that was written never becomes executable.
    pub fixed_code: bool,
    /// Landlock.
    pub landlock: Ability,
    /// The version of Landlock's interface, 0 where there is none; landlock(7).
    pub landlock_abi: u32,
    /// Tasks are counted by user and user namespace (Linux 5.14); getrlimit(2).
    pub processes_counted: Ability,
    /// Cgroups of version 2 that a jar can have of its own; cgroups(7).
    #[serde(default)]
    pub jar_cgroups: JarCgroups,
    /// Bytes that a socket buffers each way where nobody says otherwise: the larger of
    /// `net.core.rmem_default` and `wmem_default`; socket(7).
    #[serde(default = "socket_buffer", skip_serializing_if = "is_usual_buffer")]
    pub socket_buffer: u64,
    /// What a jar's tasks use is shown to whoever started it; proc(5), `hidepid`.
    #[serde(default, skip_serializing_if = "Ability::is_available")]
    pub tasks_seen: Ability,
    /// Hard bounds of the caller that a jar cannot exceed, by name; getrlimit(2).
    pub bounds: Bounds,
    /// What there is on this machine's disk and in its `/proc`.
    pub layout: Layout,
    /// What was tried and read besides by `belljar doctor`; a launch looks for none of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examined: Option<Examined>,
}

impl HostFacts {
    /// Root on the machine, without the means to be anybody else in a jar.
    #[must_use]
    pub const fn is_root_of_machine(&self) -> bool {
        self.uid == 0 && !self.privileged && !self.mapped_root
    }
}

/// An operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Os {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
    /// macOS.
    Macos,
    /// OpenBSD.
    Openbsd,
    /// FreeBSD.
    Freebsd,
}

/// Whether something can be done here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Ability {
    /// It was done, or nothing speaks against it; the launch is the proof, and
    /// fails closed.
    #[default]
    Available,
    /// It was tried and refused.
    Unavailable {
        /// The true cause, in one sentence.
        cause: String,
        /// What an administrator can do about it.
        remedy: String,
    },
}

impl Ability {
    /// It can be done.
    #[must_use]
    pub const fn is_available(&self) -> bool {
        matches!(self, Self::Available)
    }
}

/// Where a jar can have a cgroup of its own, and what one holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JarCgroups {
    /// One can be made.
    pub can_be_made: Ability,
    /// The directory of the cgroup in which they are made; empty where none can.
    pub place: String,
    /// They are made in a scope that systemd is asked for at the first launch, so that
    /// `place` is not known before.
    #[serde(default, skip_serializing_if = "is_false")]
    pub scope: bool,
    /// Controllers that each has, by the kernel's names.
    pub controllers: Vec<String>,
    /// The machine's disks, `MAJOR:MINOR`, where the controller `io` bounds them.
    #[serde(default)]
    pub disks: Vec<String>,
    /// The file by which all of these disks share themselves out by weight; empty where
    /// none does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub disk_weights: String,
    /// The processors that each may have, such as `0-3`; empty where nothing tells.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub processors: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_false(is: &bool) -> bool {
    !*is
}

/// What a kernel has by itself.
const fn socket_buffer() -> u64 {
    212_992
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_usual_buffer(bytes: &u64) -> bool {
    *bytes == socket_buffer()
}

impl Default for JarCgroups {
    /// What facts tell that were recorded before cgroups were looked for.
    fn default() -> Self {
        Self {
            can_be_made: Ability::Unavailable {
                cause: "these facts do not tell of cgroups for jars".to_owned(),
                remedy: "record them anew by `belljar doctor --json`".to_owned(),
            },
            place: String::new(),
            scope: false,
            controllers: Vec::new(),
            disks: Vec::new(),
            disk_weights: String::new(),
            processors: String::new(),
        }
    }
}

/// The caller's own hard limits; `u64::MAX` is none. getrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// `RLIMIT_NOFILE`
    pub open_files: u64,
    /// `RLIMIT_FSIZE`
    pub file_size: u64,
    /// `RLIMIT_DATA`
    pub data: u64,
    /// `RLIMIT_CPU`, seconds.
    pub cpu: u64,
    /// `RLIMIT_NPROC`
    pub processes: u64,
    /// `RLIMIT_STACK`
    pub stack: u64,
    /// `RLIMIT_CORE`
    pub core: u64,
    /// `RLIMIT_MEMLOCK`
    pub locked_memory: u64,
    /// `RLIMIT_SIGPENDING`
    pub pending_signals: u64,
    /// `RLIMIT_MSGQUEUE`
    pub message_queues: u64,
}

/// What there is of a machine's usual places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// System runtime directories and their links, such as `/usr` and `/bin -> usr/bin`.
    pub system: Vec<Place>,
    /// Entries of `/etc` without secrets that programs read, such as `/etc/ssl/certs`.
    pub configuration: Vec<Place>,
    /// Every entry of `/`, for the preset that shows them.
    pub top: Vec<Place>,
    /// Places known to hold secrets that exist here, for the same.
    pub secrets: Vec<Place>,
    /// Entries of `/proc` that exist and are hidden, relative to it.
    pub proc_hidden: Vec<String>,
    /// Entries of `/proc` that exist and are made read-only, relative to it.
    pub proc_read_only: Vec<String>,
    /// Unix sockets that somebody has bound in one of the two, at the moment.
    #[serde(default)]
    pub sockets: Vec<UnixPath>,
    /// A directory on which a new root can be attached for a moment.
    pub stage: String,
}

/// One place of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Where.
    pub path: UnixPath,
    /// What is there.
    pub kind: PlaceKind,
}

/// What is at a place, links not followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum PlaceKind {
    /// A directory.
    Directory {
        /// `st_dev`
        device: u64,
        /// `st_ino`
        inode: u64,
    },
    /// A file of any other kind.
    File {
        /// `st_dev`
        device: u64,
        /// `st_ino`
        inode: u64,
    },
    /// A symbolic link.
    Link {
        /// As it is written in the link.
        target: String,
    },
}
