//! What calls have in common: why a group is let through or refused, in which
//! presets, and what a refused call answers.

use belljar_plan::{Preset, Rule};

use super::{Denial, Errno, Seen};

/// Makes the closed list of groups with everything that is said of each.
macro_rules! groups {
    ($( $name:ident $word:literal $presets:ident ($errno:ident, $seen:ident, $rule:ident) $reason:literal )+) => {
        /// A group of system calls. Each call is in one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Group {
            $( #[doc = $reason] $name ),+
        }

        impl Group {
            /// Every group, those that are let through first.
            pub const ALL: &'static [Self] = &[ $( Self::$name ),+ ];

            /// Its name in a policy's `[seccomp]` and in `docs/syscalls.md`.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $( Self::$name => $word ),+ }
            }

            /// Why it is let through or refused.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $( Self::$name => $reason ),+ }
            }

            const fn presets(self) -> Presets {
                match self { $( Self::$name => Presets::$presets ),+ }
            }

            /// What a call of this group answers where it is refused as a whole.
            #[must_use]
            pub const fn denial(self) -> Denial {
                match self {
                    $( Self::$name => Denial {
                        errno: Errno::$errno,
                        seen: Seen::$seen,
                        rule: Rule::$rule,
                        what: $word,
                    } ),+
                }
            }
        }
    };
}

/// In which presets a group is let through.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presets {
    All,
    /// All but `strict`.
    Loose,
    None,
}

impl Group {
    /// Whether a preset lets its calls through, as far as their arguments do.
    #[must_use]
    pub const fn allowed(self, preset: Preset) -> bool {
        match self.presets() {
            Presets::All => true,
            Presets::Loose => !matches!(preset, Preset::Strict),
            Presets::None => false,
        }
    }
}

groups! {
    Files "files" All (Perm, Told, Syscalls)
        "reading, writing and arranging files that can be seen; which those are is for mounts and Landlock"
    Memory "memory" All (Perm, Told, Syscalls)
        "every program's own memory"
    Tasks "tasks" All (Perm, Told, Syscalls)
        "processes, threads and what they wait on, inside the jar"
    Exec "exec" All (Perm, Told, Exec)
        "starting programs; without the grant `subprocesses`, `strict` lets exactly one start through"
    Signals "signals" All (Perm, Told, Syscalls)
        "signals inside the jar; no other task has a number there"
    Time "time" All (Perm, Told, Syscalls)
        "reading clocks, sleeping, timers"
    Polling "polling" All (Perm, Told, Syscalls)
        "waiting for descriptors and for changes of files"
    Sockets "sockets" All (Perm, Told, Syscalls)
        "sockets of the families unix, inet, inet6 and netlink's route; what they reach is for the network namespace"
    Scheduling "scheduling" All (Perm, Told, Syscalls)
        "a fair share of the processors; no real-time policy"
    Information "information" All (Perm, Told, Syscalls)
        "what programs ask about the machine and themselves, and random numbers"
    OwnSandbox "own_sandbox" All (Perm, Told, Syscalls)
        "a program may confine itself further by Landlock"
    OwnFilter "own_filter" Loose (Perm, Told, Syscalls)
        "a program may install filters of its own, which can hide its denied calls from Belljar's events, but never allow one: a filter's refusal outranks any other's notification; `strict` has none"
    SharedObjects "shared_objects" Loose (Perm, Told, Ipc)
        "System V and POSIX shared memory, semaphores and queues, in the jar's own namespace; in `strict` they would be memory that no limit sees"
    MemoryFiles "memory_files" Loose (Perm, Told, WritableCode)
        "files in anonymous memory: programs that were never on a disk, and memory that no limit sees; in `strict` only with the grant `jit`"
    Asynchronous "asynchronous" Loose (Nosys, Quiet, Syscalls)
        "the old asynchronous input and output, which few programs use and all do without"
    Placement "placement" Loose (Nosys, Quiet, Syscalls)
        "placing memory on nodes and moving pages; runtimes ask and do without"
    Unreadable "unreadable" None (Nosys, Never, Nesting)
        "their flags lie in memory, where a filter cannot read them; libcs take the answer for an older kernel's and use `clone` and `openat`"
    Rings "io_uring" None (Nosys, Quiet, Syscalls)
        "io_uring makes calls that no filter sees, and has been a way out of many sandboxes; libraries probe for it and do without"
    KernelPrograms "kernel_programs" None (Perm, Told, Syscalls)
        "programs and faults run inside the kernel: bpf, perf events, userfaultfd; each has been used to take over kernels"
    Keyrings "keyrings" None (Perm, Told, Ipc)
        "a key belongs to a machine user, not to a namespace: a guest could use those of whoever started it"
    Tracing "tracing" None (Perm, Told, Tasks)
        "reading, steering and comparing other tasks, and taking their descriptors"
    Mounts "mounts" None (Perm, Told, Nesting)
        "changing what the jar sees, by the old interface and the new one"
    Namespaces "namespaces" None (Perm, Told, Nesting)
        "new namespaces and other roots: a user namespace gives back every capability inside, and with them most of the kernel"
    Handles "handles" None (Perm, Told, Files)
        "opening files by number, past every directory that hides them"
    Machine "machine" None (Perm, Told, Syscalls)
        "the machine's own: modules, kexec, restart, swap, accounting, quotas, ports, names, its log"
    Clock "clock" None (Perm, Told, Syscalls)
        "setting the machine's clock"
    Rare "rare" None (Nosys, Quiet, Syscalls)
        "calls that ordinary programs do without, each more kernel to attack: new ones that take structures, fanotify, file handles by name, segments, secret memory"
    Gone "gone" None (Nosys, Quiet, Syscalls)
        "calls of former kernels, which today's answer with `ENOSYS` or not at all"
}
