//! The fixed records that the parent, the launcher and pid 1 exchange over
//! `SOCK_SEQPACKET` sockets; unix(7).
//!
//! ```text
//! parent --Request--> launcher --Task--> pid 1        (and descriptors)
//! parent <--Event---- launcher <--Record- pid 1       (how it ended)
//! parent <----------Progress------------- pid 1, guest (how far it came)
//! ```
//!
//! All numbers are little-endian and each record has one fixed length, so a
//! short or long packet is no record. Nothing in them was written by a plugin.

/// The most descriptors that one packet may carry: `SCM_MAX_FD` in unix(7).
pub const DESCRIPTORS_PER_PACKET: usize = 253;

/// The most [`Done`] records in one packet.
pub const DONE_PER_PACKET: usize = 512;

/// Makes a record: a struct of integers with one fixed form on the wire.
macro_rules! record {
    (
        $(#[$meta:meta])*
        $name:ident { $( $(#[$fmeta:meta])* $field:ident : $ty:ty ),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name { $( $(#[$fmeta])* pub $field: $ty ),+ }

        impl $name {
            /// Length of the record in bytes.
            pub const LENGTH: usize = 0 $( + size_of::<$ty>() )+;

            /// The record's bytes.
            #[must_use]
            pub fn to_bytes(self) -> [u8; Self::LENGTH] {
                let mut bytes = [0; Self::LENGTH];
                let mut rest = &mut bytes[..];
                $(
                    let (field, tail) = rest.split_at_mut(size_of::<$ty>());
                    field.copy_from_slice(&self.$field.to_le_bytes());
                    rest = tail;
                )+
                let _ = rest;
                bytes
            }

            /// The record that the bytes are; `None` for any other length.
            #[must_use]
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                let mut rest = <&[u8; Self::LENGTH]>::try_from(bytes).ok()?.as_slice();
                $(
                    let (field, tail) = rest.split_at(size_of::<$ty>());
                    let $field = <$ty>::from_le_bytes(field.try_into().ok()?);
                    rest = tail;
                )+
                let _ = rest;
                Some(Self { $( $field ),+ })
            }
        }
    };
}

/// What a [`Request`] asks.
pub mod request {
    /// The first packet: carries the parent's own pidfd, whose end ends the launcher.
    pub const HELLO: u32 = 1;
    /// Launch a jar. The packet carries the first descriptors, further
    /// [`MORE`] packets the rest, in the order of [`super::descriptors`].
    pub const LAUNCH: u32 = 2;
    /// More descriptors of the launch just asked for.
    pub const MORE: u32 = 3;
    /// Send a signal to the guest's main process, its process group, or all of the jar.
    pub const SIGNAL: u32 = 4;
    /// Keep one child ready for the next launch that fits: with its namespaces
    /// made, and, where the packet carries a plan (and its image, where the
    /// plan has one), with what it may do of that plan done. Where it carries a cgroup,
    /// it carries no plan, and the child is for the launch that carries the same one.
    pub const PARK: u32 = 5;
    /// Kill a jar, of which nobody else has hold.
    pub const END: u32 = 6;
}

/// Who gets a signal.
pub mod signal {
    /// The guest's main process.
    pub const MAIN: u32 = 0;
    /// Its process group.
    pub const GROUP: u32 = 1;
    /// Every process of the jar but pid 1, where it has a pid namespace; kill(2), -1.
    pub const ALL: u32 = 2;
}

/// The order of a launch's descriptors; the plan's slots come last.
///
/// Those marked optional are there where the request's `carries` has the bit.
pub mod descriptors {
    /// The sealed plan; memfd_create(2), `F_SEAL_WRITE`.
    pub const PLAN: usize = 0;
    /// Where pid 1 and the guest write [`super::Progress`].
    pub const PROGRESS: usize = 1;
    /// The guest's stdin (unless a pseudo-terminal is made inside).
    pub const STDIN: usize = 2;
    /// The guest's stdout.
    pub const STDOUT: usize = 3;
    /// The guest's stderr.
    pub const STDERR: usize = 4;
    /// How many descriptors are always there.
    pub const FIXED: usize = 5;
    /// Bit of `carries`: next comes the sealed image of the plugin's files.
    pub const IMAGE: u32 = 1;
    /// Bit of `carries`: next comes a lock that the launcher holds while the jar lives.
    pub const LEASE: u32 = 2;
    /// Bit of `carries`: next comes the directory of the jar's own cgroup.
    pub const CGROUP: u32 = 8;
    /// Bit of a [`super::Task`]'s `carries`: it is given ahead of its launch,
    /// with the plan and the image and nothing else.
    pub const AHEAD: u32 = 4;
}

record! {
    /// What the parent asks of the launcher.
    Request {
        /// One of [`request`].
        kind: u32,
        /// The parent's number for the jar.
        jar: u64,
        /// Machine uid that the jar's user is mapped to.
        machine_uid: u32,
        /// Machine gid that the jar's group is mapped to.
        machine_gid: u32,
        /// Length of the plan in bytes.
        plan_length: u64,
        /// Length of the image in bytes.
        image_length: u64,
        /// All descriptors of the launch, in this packet and those that follow.
        descriptors: u32,
        /// Bits of [`descriptors`].
        carries: u32,
        /// For [`request::SIGNAL`]: its number.
        /// For [`request::PARK`]: the namespaces' bits.
        value: u32,
        /// For [`request::SIGNAL`]: who gets it, one of [`signal`].
        /// For [`request::PARK`]: 1 to deny setgroups(2).
        flag: u32,
        /// For [`request::PARK`]: uid inside.
        uid: u32,
        /// For [`request::PARK`]: gid inside.
        gid: u32,
    }
}

/// In place of a step's index: what failed is of the launch, and of none of its steps.
pub const NO_STEP: u16 = u16::MAX;

/// What an [`Event`] tells.
pub mod event {
    /// The jar's pid 1 exists; carries its pidfd.
    pub const STARTED: u32 = 1;
    /// The launcher could not make it: `step` and `errno` say why.
    pub const FAILED: u32 = 2;
    /// Everything in the jar is gone; the records say how it ended.
    pub const ENDED: u32 = 3;
}

record! {
    /// What the launcher tells the parent about a jar.
    Event {
        /// One of [`event`].
        kind: u32,
        /// The parent's number for the jar.
        jar: u64,
        /// pid 1 of the jar, as the machine numbers it.
        pid: i32,
        /// Index of the step that failed, or [`NO_STEP`].
        step: u32,
        /// Why; errno(3).
        errno: i32,
        /// 1 where `main` was sent by pid 1; 0 where the record is missing.
        has_main: u32,
        /// `si_code` of the main child: `CLD_EXITED`, `CLD_KILLED`, `CLD_DUMPED`; waitid(2).
        main_code: i32,
        /// Its exit status or signal.
        main_status: i32,
        /// Microseconds of user time of the main child and what it waited for.
        main_user: u64,
        /// Microseconds of system time.
        main_system: u64,
        /// Its largest resident set, KiB.
        main_peak: u64,
        /// pid 1's own status, as wait4(2) gives it.
        init_status: i32,
        /// Microseconds of user time of pid 1 and everything it waited for.
        init_user: u64,
        /// Microseconds of system time.
        init_system: u64,
        /// Largest resident set of any of them, KiB.
        init_peak: u64,
        /// Page faults of pid 1 and everything it waited for that took no disk; getrusage(2).
        init_minor_faults: u64,
        /// Those that waited for a disk.
        init_major_faults: u64,
        /// Blocks of 512 bytes that they had read from disks.
        init_blocks_read: u64,
        /// Blocks that they had to be written to disks.
        init_blocks_written: u64,
        /// How often one of them gave up its processor to wait.
        init_voluntary: u64,
        /// How often one of them was made to.
        init_involuntary: u64,
        /// `CLOCK_MONOTONIC` when pid 1 was started, nanoseconds; 0 where unknown.
        started: u64,
    }
}

record! {
    /// How the main child ended, from pid 1 to the launcher: the only packet
    /// that pid 1 sends there, and no other task has the socket.
    Record {
        /// `si_code`; waitid(2).
        code: i32,
        /// Exit status or signal.
        status: i32,
        /// Microseconds of user time of the main child and what it waited for.
        user: u64,
        /// Microseconds of system time.
        system: u64,
        /// Its largest resident set, KiB.
        peak: u64,
    }
}

/// What a [`Progress`] tells.
pub mod progress {
    /// Steps that were done, by pid 1 or the guest: [`super::Done`] records
    /// follow in the same packet.
    pub const STEPS: u32 = 1;
    /// A step failed; nothing more comes.
    pub const FAILED: u32 = 2;
    /// Carries the jar's scratch, opened with `O_PATH`, for statfs(2).
    pub const SCRATCH: u32 = 3;
    /// Carries the master end of the jar's pseudo-terminal.
    pub const TERMINAL: u32 = 4;
    /// Carries the descriptor by which denied calls are heard and answered;
    /// seccomp_unotify(2).
    pub const LISTENER: u32 = 5;
}

record! {
    /// How far pid 1 or the guest has come. The socket is closed on exec, so
    /// its end without [`progress::FAILED`] means that the program started.
    Progress {
        /// One of [`progress`].
        kind: u32,
        /// For [`progress::FAILED`]: index of the step, or [`NO_STEP`].
        step: u32,
        /// For [`progress::FAILED`]: why; errno(3).
        errno: i32,
        /// For [`progress::STEPS`]: how many [`Done`] records follow.
        count: u32,
    }
}

record! {
    /// One step that was done, or skipped where it may be.
    Done {
        /// Index of the step in the plan.
        step: u16,
        /// 0 where done, else why it was skipped; errno(3).
        errno: u16,
        /// Nanoseconds that it took.
        nanoseconds: u32,
    }
}

record! {
    /// What the launcher hands to a child that is (or was) waiting, together
    /// with the launch's descriptors. [`Done`] records of the launcher's own
    /// steps follow in the first packet; the child sends them on with its own.
    ///
    /// A child that is parked with a plan gets two: one with
    /// [`descriptors::AHEAD`], which it answers with one byte once it has done
    /// what it may, and that of the launch.
    Task {
        /// Length of the plan in bytes.
        plan_length: u64,
        /// Length of the image in bytes.
        image_length: u64,
        /// All descriptors, in this packet and those that follow.
        descriptors: u32,
        /// Bits of [`descriptors`].
        carries: u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_written_and_no_other_length_does() {
        let record = Record {
            code: 1,
            status: -2,
            user: 3,
            system: u64::MAX,
            peak: 5,
        };
        let bytes = record.to_bytes();
        assert_eq!(Record::from_bytes(&bytes), Some(record));
        assert_eq!(Record::from_bytes(&bytes[1..]), None);
        assert_eq!(Record::from_bytes(&[bytes.as_slice(), &[0]].concat()), None);
    }
}
