//! One action of a launch. A plan is an ordered list of these; the launcher,
//! the report and `explain` all read the same list.
//!
//! Three actors run the list in turn. The launcher runs it up to
//! [`Step::Clone`]; the new pid 1 goes on up to [`Step::Fork`]; the guest's own
//! process runs the rest and ends with [`Step::Exec`]. [`Step::MapIds`] is the
//! launcher's part of what pid 1 waits for.
//!
//! A step is generic over how it holds bytes: `S` is a byte string and `L` a
//! list of them. The parent owns them ([`OwnedStep`]); the launcher borrows
//! them from the plan's bytes ([`StepView`]).

#[cfg(feature = "host")]
use crate::bytes::Bytes;
use crate::wire::Strings;

/// A step as the parent holds it.
#[cfg(feature = "host")]
pub type OwnedStep = Step<Bytes, Vec<Bytes>>;

/// A step as the launcher reads it from the plan's bytes.
pub type StepView<'a> = Step<&'a [u8], Strings<'a>>;

/// Makes a set of flags: a struct of bools for people, bits on the wire.
macro_rules! flags {
    (
        $(#[$meta:meta])*
        $name:ident: $repr:ty { $( $(#[$fmeta:meta])* $field:ident = $bit:literal ),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "host", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
        pub struct $name { $( $(#[$fmeta])* pub $field: bool ),+ }

        impl $name {
            /// Every flag set.
            pub const ALL: Self = Self { $( $field: true ),+ };

            /// The flags as bits, for the wire.
            #[must_use]
            pub const fn bits(self) -> $repr {
                0 $( | ((self.$field as $repr) << $bit) )+
            }

            /// The flags that `bits` stand for; `None` where a bit has no meaning.
            #[must_use]
            pub const fn from_bits(bits: $repr) -> Option<Self> {
                if bits & !Self::ALL.bits() != 0 {
                    return None;
                }
                Some(Self { $( $field: bits & (1 << $bit) != 0 ),+ })
            }
        }
    };
}

flags! {
    /// The namespaces that a jar gets of its own; namespaces(7).
    Namespaces: u8 {
        /// user_namespaces(7)
        user = 0,
        /// pid_namespaces(7)
        pid = 1,
        /// mount_namespaces(7)
        mount = 2,
        /// network_namespaces(7)
        network = 3,
        /// uts_namespaces(7)
        uts = 4,
        /// ipc_namespaces(7)
        ipc = 5,
        /// cgroup_namespaces(7)
        cgroup = 6,
    }
}

flags! {
    /// Attributes of a mount; mount_setattr(2).
    Attributes: u8 {
        /// Nothing can be written through it.
        read_only = 0,
        /// Set-id bits and file capabilities are inert.
        no_suid = 1,
        /// Device files are inert.
        no_dev = 2,
        /// Nothing can be executed from it.
        no_exec = 3,
    }
}

/// A resource that setrlimit(2) bounds for each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "host",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)
)]
#[cfg_attr(feature = "host", serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum Resource {
    /// Seconds of processor time.
    Cpu = 0,
    /// Bytes of each file written.
    FileSize = 1,
    /// Bytes of private writable memory.
    Data = 2,
    /// Bytes of stack.
    Stack = 3,
    /// Bytes of a core dump.
    Core = 4,
    /// Tasks of this user in this user namespace.
    Processes = 6,
    /// Descriptors.
    OpenFiles = 7,
    /// Bytes of locked memory.
    LockedMemory = 8,
    /// Pending signals.
    PendingSignals = 11,
    /// Bytes in POSIX message queues.
    MessageQueues = 12,
    /// Highest nice value to raise to.
    Nice = 13,
    /// Highest real-time priority.
    RealTimePriority = 14,
}

impl Resource {
    /// Every resource.
    pub const ALL: &'static [Self] = &[
        Self::Cpu,
        Self::FileSize,
        Self::Data,
        Self::Stack,
        Self::Core,
        Self::Processes,
        Self::OpenFiles,
        Self::LockedMemory,
        Self::PendingSignals,
        Self::MessageQueues,
        Self::Nice,
        Self::RealTimePriority,
    ];

    /// The number that Linux gives it (the same on x86_64 and aarch64).
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// Where a bind mount comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "host",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)
)]
#[cfg_attr(feature = "host", serde(tag = "from", rename_all = "snake_case"))]
pub enum Source<S> {
    /// A mount that [`Step::Detach`] made of the plan's slot.
    Slot {
        /// Index into the plan's slots.
        slot: u16,
    },
    /// A path of the machine, already free of symbolic links. The step fails
    /// where the path leads through one, or to another file than this.
    Path {
        /// Absolute.
        path: S,
        /// `st_dev` as the planner saw it.
        device: u64,
        /// `st_ino` as the planner saw it.
        inode: u64,
    },
    /// A directory of the jar's own sized scratch; made if it isn't there.
    Scratch {
        /// One component.
        name: S,
    },
}

/// Makes [`Step`], its wire form and its names from one list.
macro_rules! steps {
    (
        $(
            $(#[$meta:meta])*
            $tag:literal $word:literal $name:ident { $( $(#[$fmeta:meta])* $field:ident : $ty:ty ),* $(,)? }
        )+
    ) => {
        /// One action of a launch.
        ///
        /// Paths inside the jar are relative to its root, with no leading
        /// slash, and never lead out of it.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "host", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
        #[cfg_attr(feature = "host", serde(tag = "step"))]
        pub enum Step<S, L> {
            $(
                $(#[$meta])*
                #[cfg_attr(feature = "host", serde(rename = $word))]
                $name { $( $(#[$fmeta])* $field: $ty ),* },
            )+
            /// Start the program: the last step of the guest's process.
            #[cfg_attr(feature = "host", serde(rename = "exec"))]
            Exec {
                /// Absolute, inside the jar.
                path: S,
                /// The arguments, the program's own name first.
                arguments: L,
                /// `NAME=value`, exactly these.
                variables: L,
            },
        }

        impl<S, L> Step<S, L> {
            /// The step's name in plans, reports and errors.
            #[must_use]
            pub const fn word(&self) -> &'static str {
                match self {
                    $( Self::$name { .. } => $word, )+
                    Self::Exec { .. } => "exec",
                }
            }
        }

        impl<'a> StepView<'a> {
            pub(crate) fn decode(tag: u8, input: &mut crate::wire::Input<'a>) -> Result<Self, crate::wire::Malformed> {
                use crate::wire::Field;
                Ok(match tag {
                    $( $tag => Self::$name { $( $field: Field::take(input)? ),* }, )+
                    crate::wire::EXEC => Self::Exec {
                        path: Field::take(input)?,
                        arguments: Field::take(input)?,
                        variables: Field::take(input)?,
                    },
                    _ => return Err(crate::wire::Malformed),
                })
            }
        }

        #[cfg(feature = "host")]
        impl StepView<'_> {
            /// The step as the parent holds it.
            #[must_use]
            pub fn to_owned_step(&self) -> OwnedStep {
                use crate::wire::Own as _;
                match self {
                    $( Self::$name { $( $field ),* } => Step::$name { $( $field: $field.own() ),* }, )+
                    Self::Exec { path, arguments, variables } => Step::Exec {
                        path: path.own(),
                        arguments: arguments.own(),
                        variables: variables.own(),
                    },
                }
            }
        }

        #[cfg(feature = "host")]
        impl OwnedStep {
            pub(crate) fn encode(&self, output: &mut Vec<u8>) {
                use crate::wire::Put as _;
                match self {
                    $( Self::$name { $( $field ),* } => {
                        output.push($tag);
                        $( $field.put(output); )*
                    } )+
                    Self::Exec { path, arguments, variables } => {
                        output.push(crate::wire::EXEC);
                        path.put(output);
                        arguments.put(output);
                        variables.put(output);
                    }
                }
            }
        }
    };
}

steps! {
    // ---- the launcher, before the jar exists ----

    /// Turn the path descriptor in a slot into a mount of its own, with the
    /// disk's owner shown as the jar's user where `idmap` says so;
    /// open_tree(2), mount_setattr(2).
    1 "detach" Detach {
        /// Index into the plan's slots.
        slot: u16,
        /// Map the owner below to the jar's machine uid and gid.
        idmap: bool,
        /// Owner on disk.
        owner_uid: u32,
        /// Group on disk.
        owner_gid: u32,
        /// With everything that is mounted below.
        recursive: bool,
        /// Attributes of the new mount.
        attributes: Attributes,
    }
    /// A cgroup of the jar's own, which its first process is made in; the host makes
    /// it and the launcher joins it at clone; cgroups(7), clone3(2) `CLONE_INTO_CGROUP`.
    50 "cgroup" Cgroup {
        /// `FILE=VALUE`, written in this order and read back.
        settings: L,
    }
    /// Make pid 1 of the jar, in namespaces of its own; clone3(2).
    2 "clone" Clone {
        /// Which.
        namespaces: Namespaces,
    }
    /// Map one uid and one gid of the jar to the machine's, from outside;
    /// user_namespaces(7).
    3 "map_ids" MapIds {
        /// Inside.
        uid: u32,
        /// Inside.
        gid: u32,
        /// A user may map a gid only after giving up setgroups(2).
        deny_setgroups: bool,
    }

    // ---- pid 1 of the jar ----

    /// Leave every supplementary group; setgroups(2).
    4 "drop_groups" DropGroups {}
    /// Become the jar's user; setresgid(2), setresuid(2).
    5 "take_ids" TakeIds {
        /// Inside.
        uid: u32,
        /// Inside.
        gid: u32,
    }
    /// Be the first to go when the machine runs out of memory; proc_pid_oom_score_adj(5).
    6 "oom_score" OomScore {
        /// 0 to 1000.
        value: u16,
    }
    /// Nobody may attach to pid 1 or read it; PR_SET_DUMPABLE(2const).
    7 "undumpable" Undumpable {}
    /// Die when the launcher dies: PR_SET_PDEATHSIG(2const), then check that it lives.
    8 "die_with_launcher" DieWithLauncher {}
    /// No mount made here shows outside; mount(2), `MS_PRIVATE`.
    9 "private_mounts" PrivateMounts {}
    /// A root of the jar's own in memory, entered at once, the machine's kept
    /// at hand until [`Step::LeaveMachine`]; fsopen(2), pivot_root(2).
    10 "root" Root {
        /// Bytes.
        size: u64,
        /// Number of files.
        inodes: u64,
        /// A directory of the machine on which the root can be attached for a moment.
        stage: S,
    }
    /// Make a directory, where there is none.
    11 "directory" Directory {
        /// Inside.
        path: S,
        /// Permission bits.
        mode: u16,
    }
    /// Make a symbolic link, whatever it leads to.
    12 "symlink" Symlink {
        /// Inside.
        path: S,
        /// As it is written into the link.
        target: S,
    }
    /// Write a small file of Belljar's own.
    13 "file" File {
        /// Inside.
        path: S,
        /// Permission bits.
        mode: u16,
        /// The whole of it.
        content: S,
    }
    /// Write a file of the plugin, from the sealed image of what was verified.
    14 "plugin_file" PluginFile {
        /// Inside.
        path: S,
        /// Permission bits.
        mode: u16,
        /// Where it starts in the image.
        offset: u64,
        /// Bytes.
        length: u64,
    }
    /// A sized file system in memory for everything private that can be
    /// written; [`Source::Scratch`] names parts of it; tmpfs(5).
    15 "scratch" Scratch {
        /// Bytes.
        size: u64,
        /// Number of files.
        inodes: u64,
        /// Inside; a directory that is gone again once the binds are made.
        stage: S,
    }
    /// Show a file or directory at a place in the jar.
    16 "bind" Bind {
        /// Where from.
        source: Source<S>,
        /// Inside; it exists.
        target: S,
        /// With everything that is mounted below.
        recursive: bool,
        /// Attributes of the mount.
        attributes: Attributes,
        /// A grant that may fail: then it is skipped and reported.
        optional: bool,
    }
    /// Write settings of the jar's own namespaces, before its program could; proc_sys(5).
    51 "sysctls" Sysctls {
        /// `NAME=VALUE`, each name below `/proc/sys`. What this kernel does not have is
        /// passed over.
        settings: L,
    }
    /// The jar's own view of its tasks; proc(5).
    17 "proc" Proc {
        /// Inside; it exists.
        target: S,
        /// Attributes of the mount.
        attributes: Attributes,
    }
    /// The jar's own pseudo-terminals; devpts.
    18 "devpts" Devpts {
        /// Inside; it exists.
        target: S,
    }
    /// One of the machine's harmless character devices, checked by number.
    19 "device" Device {
        /// Its name in `/dev`.
        name: S,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    }
    /// Hide what is at a path behind something empty.
    20 "mask" Mask {
        /// Inside.
        path: S,
    }
    /// Make what is at a path read-only.
    21 "read_only" ReadOnly {
        /// Inside.
        path: S,
    }
    /// Let go of the machine's root: nothing of it can be reached from here on; umount2(2).
    22 "leave_machine" LeaveMachine {}
    /// Make the jar's root read-only.
    23 "seal_root" SealRoot {}
    /// Name the jar; sethostname(2).
    24 "hostname" Hostname {
        /// At most 64 bytes.
        name: S,
    }
    /// Bring up the jar's own loopback interface; netdevice(7).
    25 "loopback" Loopback {}
    /// Make a pseudo-terminal of the jar's own and hand its other end out; pty(7).
    26 "terminal" Terminal {
        /// Characters down.
        rows: u16,
        /// Characters across.
        columns: u16,
    }
    /// A keyring of the jar's own; keyctl(2).
    27 "keyring" Keyring {}
    /// No program that is started can gain privileges; PR_SET_NO_NEW_PRIVS(2const).
    28 "no_new_privs" NoNewPrivs {}
    /// Uid 0 means nothing here, for good; capabilities(7), securebits.
    29 "securebits" Securebits {}
    /// Empty all five capability sets but for what is kept, and read them back.
    30 "capabilities" Capabilities {
        /// Bit n is capability n: left in the bounding, permitted, effective and inheritable sets.
        keep: u64,
        /// Of these, also ambient.
        ambient: u64,
    }
    /// Make the guest's process; pid 1 stays behind and watches.
    31 "fork" Fork {}

    // ---- the guest's own process ----

    /// A session of its own; setsid(2).
    32 "session" Session {
        /// The pseudo-terminal becomes its terminal.
        terminal: bool,
    }
    /// The jar's own streams become 0, 1 and 2.
    33 "streams" Streams {}
    /// Close every other descriptor; close_range(2).
    34 "close_descriptors" CloseDescriptors {}
    /// Enter the working directory, inside the jar.
    35 "workdir" Workdir {
        /// Absolute.
        path: S,
    }
    /// umask(2)
    36 "umask" Umask {
        /// Permission bits taken away.
        mask: u16,
    }
    /// Bound a resource and read the bound back; setrlimit(2).
    37 "rlimit" Rlimit {
        /// Which.
        resource: Resource,
        /// Where errors start.
        soft: u64,
        /// What the guest cannot raise.
        hard: u64,
    }
    /// Every signal back to its default, none blocked; signal(7).
    38 "signals" Signals {}
    /// Install the system call filter, and see that it refuses: the last step
    /// before the program starts; seccomp(2).
    ///
    /// Where `secrets` says so, the launcher puts the argument lists of that
    /// start at addresses that nobody can guess, and writes those into the
    /// program: each number is the index of an instruction, 0 for none.
    39 "filter" Filter {
        /// `struct sock_filter`, in the machine's byte order.
        program: S,
        /// What it does not decide alone is asked of the supervisor, who gets
        /// the descriptor for it.
        listener: bool,
        /// Where the lower half of the arguments' address goes.
        arguments_low: u16,
        /// Its upper half.
        arguments_high: u16,
        /// Where the lower half of the variables' address goes.
        variables_low: u16,
        /// Its upper half.
        variables_high: u16,
    }
    /// No memory becomes executable that was writable; PR_SET_MDWE(2const).
    40 "fixed_code" FixedCode {}
    /// A file in the jar's root that nothing leads to, for [`Step::Restrict`] to
    /// try; pid 1 makes it.
    41 "canary" Canary {}
    /// Begin a set of Landlock rules; landlock_create_ruleset(2). Whatever is
    /// named here is denied but where a rule allows it.
    42 "ruleset" Ruleset {
        /// Bits `LANDLOCK_ACCESS_FS_*`.
        files: u64,
        /// Bits `LANDLOCK_ACCESS_NET_*`.
        network: u64,
        /// Bits `LANDLOCK_SCOPE_*`.
        scopes: u64,
    }
    /// Allow something at and below a path; landlock_add_rule(2).
    43 "allow_path" AllowPath {
        /// Inside; empty for the root itself.
        path: S,
        /// Bits `LANDLOCK_ACCESS_FS_*`: those of files alone where it is no
        /// directory.
        access: u64,
        /// It belongs to a grant that may fail: what is not there is skipped.
        optional: bool,
    }
    /// Hold this process and all that come of it to the rules, and see that the
    /// canary can be opened just before and no more just after, and where
    /// signals are held, that pid 1 can be signalled and then cannot;
    /// landlock_restrict_self(2).
    44 "restrict" Restrict {
        /// What this trial is refused is no line in the machine's audit log.
        quiet: bool,
    }
    /// Take over what the guest's tasks leave behind, and end it with the jar:
    /// PR_SET_CHILD_SUBREAPER(2const). For a jar without a pid namespace.
    45 "adopt" Adopt {}
    /// Die when the jar's first process dies: PR_SET_PDEATHSIG(2const).
    46 "die_with_first" DieWithFirst {}
    /// The machine's own root is the jar's, and what [`Step::Restrict`] tries: for
    /// a jar without a mount namespace.
    47 "machine_root" MachineRoot {}
    /// Get hold of the jar's own POSIX message queues: they lie in a mount that
    /// nobody sees, so that [`Step::AllowQueues`] could not name them;
    /// mq_overview(7). pid 1 does it, which may still.
    48 "queues" Queues {}
    /// Allow something of those; landlock_add_rule(2).
    49 "allow_queues" AllowQueues {
        /// Bits `LANDLOCK_ACCESS_FS_*`.
        access: u64,
    }
}
