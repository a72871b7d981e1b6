//! The kernel's form of a filter: classic BPF over `struct seccomp_data`; seccomp(2).

use super::Verdict;

/// An instruction: `struct sock_filter` in `<linux/filter.h>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// Instructions skipped where a test holds.
    pub if_true: u8,
    /// Instructions skipped where it does not.
    pub if_false: u8,
    /// A number.
    pub k: u32,
}

/// `BPF_LD | BPF_W | BPF_ABS`
pub(super) const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`
pub(super) const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`
pub(super) const JUMP: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`
pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGE | BPF_K`
pub(super) const JUMP_IF_AT_LEAST: u16 = 0x35;
/// `BPF_JMP | BPF_JSET | BPF_K`
pub(super) const JUMP_IF_ANY_BIT: u16 = 0x45;
/// `BPF_RET | BPF_K`
pub(super) const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
pub(super) const ARGUMENTS: u32 = 16;

/// `SECCOMP_RET_ALLOW`
pub(super) const ALLOW: u32 = 0x7fff_0000;
/// `SECCOMP_RET_USER_NOTIF`
pub(super) const NOTIFY: u32 = 0x7fc0_0000;
/// `SECCOMP_RET_ERRNO`
pub(super) const ERRNO: u32 = 0x0005_0000;

/// What the supervisor hears of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ear {
    /// No denial.
    #[default]
    Deaf,
    /// Denials that are told of.
    Told,
    /// Quiet ones as well.
    Quiet,
}

/// What the kernel is told to do with a call.
pub(super) fn action(verdict: Verdict, ear: Ear) -> u32 {
    use super::Seen;
    let heard = |seen| match seen {
        Seen::Told => ear != Ear::Deaf,
        Seen::Quiet => ear == Ear::Quiet,
        Seen::Never => false,
    };
    match verdict {
        Verdict::Allow => ALLOW,
        Verdict::Perform | Verdict::Observe => NOTIFY,
        Verdict::Deny(denial) if heard(denial.seen) => NOTIFY,
        Verdict::Deny(denial) => ERRNO | u32::from(denial.errno.number()),
    }
}

/// A filter as the kernel takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// In order.
    pub instructions: Vec<Instruction>,
    /// Which instructions compare with the launcher's secret addresses: the
    /// lower and the upper half of that of the arguments, then of that of the
    /// variables. None where no start of a program is let through by them.
    pub secrets: Option<[u16; 4]>,
}

impl Program {
    /// Its bytes, in the byte order of both architectures.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size_of::<Instruction>() * self.instructions.len());
        for instruction in &self.instructions {
            bytes.extend(instruction.code.to_le_bytes());
            bytes.extend([instruction.if_true, instruction.if_false]);
            bytes.extend(instruction.k.to_le_bytes());
        }
        bytes
    }
}

#[cfg(test)]
pub(super) mod machine {
    //! Runs a program as the kernel does.

    use super::*;
    use crate::seccomp::{Attempt, Secrets};

    impl Program {
        /// The program with the launcher's addresses put in.
        pub(in crate::seccomp) fn with(&self, secrets: Secrets) -> Self {
            let mut program = self.clone();
            if let Some(places) = self.secrets {
                let halves = [
                    secrets.arguments as u32,
                    (secrets.arguments >> 32) as u32,
                    secrets.variables as u32,
                    (secrets.variables >> 32) as u32,
                ];
                for (place, half) in places.into_iter().zip(halves) {
                    program.instructions[usize::from(place)].k = half;
                }
            }
            program
        }

        /// What the kernel would do, and after how many instructions.
        pub(in crate::seccomp) fn run(&self, attempt: &Attempt) -> (u32, usize) {
            let (mut at, mut value, mut steps) = (0, 0, 0);
            loop {
                let Instruction {
                    code,
                    if_true,
                    if_false,
                    k,
                } = self.instructions[at];
                let test = |holds: bool| usize::from(if holds { if_true } else { if_false });
                at += 1;
                steps += 1;
                match code {
                    LOAD => {
                        value = match k {
                            NUMBER => attempt.number,
                            ARCHITECTURE => attempt.audit,
                            k => {
                                let argument = attempt.arguments[((k - ARGUMENTS) / 8) as usize];
                                match (k - ARGUMENTS) % 8 {
                                    0 => argument as u32,
                                    4 => (argument >> 32) as u32,
                                    other => panic!("offset {other}"),
                                }
                            }
                        }
                    }
                    AND => value &= k,
                    JUMP => at += k as usize,
                    JUMP_IF_EQUAL => at += test(value == k),
                    JUMP_IF_AT_LEAST => at += test(value >= k),
                    JUMP_IF_ANY_BIT => at += test(value & k != 0),
                    RETURN => return (k, steps),
                    other => panic!("code {other:#x}"),
                }
            }
        }
    }
}
