//! The words that flags, manifests, plans and reports share: presets, rules,
//! strengths and limits. Each is a closed list with one spelling.

/// Makes a closed list with one spelling, which is also its form in JSON,
/// TOML and on the command line.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $word:literal ),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "host", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
        pub enum $name {
            $( $(#[$vmeta])* #[cfg_attr(feature = "host", serde(rename = $word))] $variant ),+
        }

        impl $name {
            /// Every value, in the order of the contract.
            pub const ALL: &'static [Self] = &[ $( Self::$variant ),+ ];

            /// The one spelling.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $( Self::$variant => $word ),+ }
            }

            /// The value that is spelled `word`, if there is one.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word() == word)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

#[cfg(feature = "host")]
pub(crate) use words;

words! {
    /// A named starting point of policy.
    Preset {
        /// Everything but secrets can be read; the machine's network.
        Minimal = "minimal",
        /// System runtime directories only, no network; the default of a bare program.
        Standard = "standard",
        /// The plugin and what it needs to start, small limits; the default of a plugin.
        Strict = "strict",
    }
}

words! {
    /// How hard it is to get past what enforces a rule, weakest first.
    Strength {
        /// Nothing enforces it.
        None = "none",
        /// The plugin is told, by its environment; nothing stops it.
        Cooperative = "cooperative",
        /// The supervisor notices afterwards and ends the jar.
        Supervisor = "supervisor",
        /// The operating system refuses.
        Kernel = "kernel",
    }
}

words! {
    /// One promise about a jar. `docs/contract.md` gives each its exact meaning.
    Rule {
        /// Only granted paths can be seen, and written only where granted.
        Files = "files",
        /// Nothing is reachable but what is granted.
        Network = "network",
        /// No unix socket of the machine but those granted.
        Sockets = "sockets",
        /// No task outside the jar can be seen, signalled or traced.
        Tasks = "tasks",
        /// No System V or POSIX IPC, keyring or shared memory of the machine.
        Ipc = "ipc",
        /// The guest is never root on the machine, nor another jar's user.
        Identity = "identity",
        /// No new privileges; every capability set empty.
        Privileges = "privileges",
        /// The preset's list of system calls, nothing else.
        Syscalls = "syscalls",
        /// No new namespaces, no mounts.
        Nesting = "nesting",
        /// A minimal `/dev`.
        Devices = "devices",
        /// `/proc` and `/sys` masked or read-only.
        KernelInfo = "kernel_info",
        /// No access to the operator's terminal.
        Terminal = "terminal",
        /// No inherited descriptor but the granted.
        Descriptors = "descriptors",
        /// Exactly the granted variables.
        Environment = "environment",
        /// No program but the plugin itself is started.
        Exec = "exec",
        /// No memory is writable and executable.
        WritableCode = "writable_code",
        /// Nothing of the jar outlives it.
        Cleanup = "cleanup",
        /// Memory of all tasks.
        Memory = "memory",
        /// Processor time of all tasks.
        CpuTime = "cpu_time",
        /// Time since launch.
        Wall = "wall",
        /// Bytes written to stdout and stderr.
        Output = "output",
        /// Bytes and inodes in private scratch; growth of granted directories.
        Disk = "disk",
        /// Tasks (threads count).
        Processes = "processes",
        /// Open descriptors of each process.
        OpenFiles = "open_files",
        /// Size of each file written.
        FileSize = "file_size",
        /// Share of processors.
        Cpu = "cpu",
        /// Block I/O rate.
        Io = "io",
    }
}

words! {
    /// A quantity that is bounded. Flag, manifest key, rule and outcome share the word.
    Limit {
        /// Bytes of memory of all tasks, with swap.
        Memory = "memory",
        /// Nanoseconds of processor time of all tasks.
        CpuTime = "cpu_time",
        /// Nanoseconds since launch.
        Wall = "wall",
        /// Bytes written to stdout and stderr together.
        Output = "output",
        /// Number of tasks; threads count.
        Processes = "processes",
        /// Descriptors of each process.
        OpenFiles = "open_files",
        /// Bytes of each file written.
        FileSize = "file_size",
        /// Bytes in private scratch.
        Disk = "disk",
        /// Thousandths of one processor that all tasks together may take.
        Cpu = "cpu",
        /// Bytes a second read from disks.
        IoRead = "io_read",
        /// Bytes a second written to disks.
        IoWrite = "io_write",
        /// Reads a second from disks.
        IoReadOps = "io_read_ops",
        /// Writes a second to disks.
        IoWriteOps = "io_write_ops",
        /// Part of the processors beside others that want them; theirs is 100.
        CpuWeight = "cpu_weight",
        /// Part of the disks beside others that want them; theirs is 100.
        IoWeight = "io_weight",
        /// Bytes of memory beyond which the kernel slows all tasks and takes back what it can.
        MemoryHigh = "memory_high",
    }
}

impl Limit {
    /// The rule that bears this limit's name, or of which it is a part.
    #[must_use]
    pub const fn rule(self) -> Rule {
        match self {
            Self::Memory | Self::MemoryHigh => Rule::Memory,
            Self::CpuTime => Rule::CpuTime,
            Self::Wall => Rule::Wall,
            Self::Output => Rule::Output,
            Self::Processes => Rule::Processes,
            Self::OpenFiles => Rule::OpenFiles,
            Self::FileSize => Rule::FileSize,
            Self::Disk => Rule::Disk,
            Self::Cpu | Self::CpuWeight => Rule::Cpu,
            Self::IoRead | Self::IoWrite | Self::IoReadOps | Self::IoWriteOps | Self::IoWeight => {
                Rule::Io
            }
        }
    }

    /// What goes beyond it is slowed, and nothing is counted or refused.
    #[must_use]
    pub const fn slows(self) -> bool {
        matches!(self.rule(), Rule::Cpu | Rule::Io) || matches!(self, Self::MemoryHigh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_its_value() {
        for rule in Rule::ALL {
            assert_eq!(Rule::from_word(rule.word()), Some(*rule));
        }
        assert_eq!(Rule::from_word("Files"), None);
    }

    #[test]
    fn a_limit_and_its_rule_share_one_word() {
        for limit in Limit::ALL {
            // Of what slows a jar there are several and one rule.
            let word = match limit.slows() {
                true => limit.word().split('_').next(),
                false => Some(limit.word()),
            };
            assert_eq!(word, Some(limit.rule().word()));
        }
    }

    #[test]
    fn strengths_are_ordered_from_none_to_kernel() {
        assert!(Strength::ALL.is_sorted());
        assert!(Strength::Kernel > Strength::Supervisor);
    }
}
