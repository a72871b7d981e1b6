//! Landlock's rights as numbers, and since which version of its interface each
//! can be held; landlock(7), `linux/landlock.h`.

use belljar_plan::landlock::Right;

/// What a bit is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// `LANDLOCK_ACCESS_FS_*`
    Files,
    /// `LANDLOCK_ACCESS_NET_*`
    Network,
    /// `LANDLOCK_SCOPE_*`
    Scopes,
}

/// What it is one of, its bit, and the first version that knows it.
const fn place(right: Right) -> (Of, u32, u32) {
    match right {
        Right::Execute => (Of::Files, 0, 1),
        Right::WriteFile => (Of::Files, 1, 1),
        Right::ReadFile => (Of::Files, 2, 1),
        Right::ReadDir => (Of::Files, 3, 1),
        Right::RemoveDir => (Of::Files, 4, 1),
        Right::RemoveFile => (Of::Files, 5, 1),
        Right::MakeChar => (Of::Files, 6, 1),
        Right::MakeDir => (Of::Files, 7, 1),
        Right::MakeReg => (Of::Files, 8, 1),
        Right::MakeSock => (Of::Files, 9, 1),
        Right::MakeFifo => (Of::Files, 10, 1),
        Right::MakeBlock => (Of::Files, 11, 1),
        Right::MakeSym => (Of::Files, 12, 1),
        Right::Refer => (Of::Files, 13, 2),
        Right::Truncate => (Of::Files, 14, 3),
        Right::IoctlDev => (Of::Files, 15, 5),
        Right::BindTcp => (Of::Network, 0, 4),
        Right::ConnectTcp => (Of::Network, 1, 4),
        Right::AbstractUnixSocket => (Of::Scopes, 0, 6),
        Right::Signal => (Of::Scopes, 1, 6),
    }
}

/// The first version of the interface that knows a right.
pub(super) const fn since(right: Right) -> u32 {
    place(right).2
}

/// Those of some rights that are of one kind, as the kernel's bits.
pub(super) fn bits(kind: Of, rights: &[Right]) -> u64 {
    rights
        .iter()
        .map(|right| place(*right))
        .filter(|(of, ..)| *of == kind)
        .fold(0, |all, (_, bit, _)| all | 1 << bit)
}

/// Rights to files, as the kernel's bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Access(pub(super) u64);

impl Access {
    pub(in super::super) const NONE: Self = Self(0);
    pub(in super::super) const READ_DIR: Self = Self::of(&[Right::ReadDir]);
    pub(in super::super) const EXECUTE: Self = Self::of(&[Right::Execute]);
    pub(in super::super) const DEVICE: Self = Self::of(&[Right::IoctlDev]);
    pub(in super::super) const READ: Self = Self::of(&[Right::ReadFile]);
    pub(in super::super) const WRITE: Self = Self::of(&[Right::WriteFile]);
    pub(in super::super) const TRUNCATE: Self = Self::of(&[Right::Truncate]);
    /// Whatever is done to names, but for making devices.
    pub(in super::super) const ARRANGE: Self = Self::of(&[
        Right::RemoveDir,
        Right::RemoveFile,
        Right::MakeDir,
        Right::MakeReg,
        Right::MakeSock,
        Right::MakeFifo,
        Right::MakeSym,
        Right::Refer,
    ]);
    /// What can be done to something that is no directory: the kernel takes a
    /// rule for it only with these.
    pub(in super::super) const OF_FILES: Self = Self::of(&[
        Right::Execute,
        Right::WriteFile,
        Right::ReadFile,
        Right::Truncate,
        Right::IoctlDev,
    ]);

    const fn of(rights: &[Right]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < rights.len() {
            bits |= 1 << place(rights[at]).1;
            at += 1;
        }
        Self(bits)
    }

    pub(in super::super) const fn and(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    pub(in super::super) const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(in super::super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(in super::super) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}
