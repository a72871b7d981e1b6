//! The bytes in which a plan's steps travel to the launcher, in a sealed memfd.
//!
//! Little-endian, no padding: a [`MAGIC`], the number of steps as a `u16`, then
//! for each step a tag byte and its fields in order. A byte string is a `u32`
//! length, the bytes and one NUL that the length does not count, so that the
//! launcher can hand it to the kernel where it lies. A list of strings is a
//! `u32` count, a `u32` length, and the strings, each with its NUL.
//!
//! Reading checks everything: a length past the end, a miscounted list or a bit
//! without a meaning is [`Malformed`], never a panic.

use crate::step::{Attributes, Namespaces, Resource, Source, StepView};

/// How a plan's bytes begin; its last byte is the version of this form.
pub const MAGIC: [u8; 8] = *b"belljar\x01";

pub(crate) const EXEC: u8 = 255;

/// The bytes are no plan of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the bytes are no plan of this version")
    }
}

impl core::error::Error for Malformed {}

/// Writes the steps as the launcher reads them.
///
/// # Panics
/// Never for what a planner makes: it refuses more than 65,535 steps and
/// strings of 4 GiB.
#[cfg(feature = "host")]
#[must_use]
pub fn encode(steps: &[crate::step::OwnedStep]) -> Vec<u8> {
    let mut output = MAGIC.to_vec();
    let count = u16::try_from(steps.len()).expect("a plan has at most 65,535 steps");
    output.extend(count.to_le_bytes());
    for step in steps {
        step.encode(&mut output);
    }
    output
}

/// Reads steps one by one, in place.
#[derive(Clone, Debug)]
pub struct Steps<'a> {
    input: Input<'a>,
    left: u16,
}

impl<'a> Steps<'a> {
    /// Checks the head of a plan's bytes.
    ///
    /// # Errors
    /// [`Malformed`] where they are no plan of this version.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut input = Input(bytes);
        if input.bytes(MAGIC.len())? != MAGIC {
            return Err(Malformed);
        }
        let left = u16::take(&mut input)?;
        Ok(Self { input, left })
    }

    /// How many steps are left.
    #[must_use]
    pub const fn left(&self) -> u16 {
        self.left
    }
}

impl<'a> Iterator for Steps<'a> {
    type Item = Result<StepView<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return if self.input.0.is_empty() {
                None
            } else {
                self.input = Input(&[]);
                Some(Err(Malformed))
            };
        }
        self.left -= 1;
        let step = u8::take(&mut self.input).and_then(|tag| StepView::decode(tag, &mut self.input));
        if step.is_err() {
            self.left = 0;
            self.input = Input(&[]);
        }
        Some(step)
    }
}

/// A list of NUL-terminated strings, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strings<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Strings<'a> {
    /// How many.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count as usize
    }

    /// Each with its NUL.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.split_inclusive(|byte| *byte == 0)
    }
}

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = tail;
        Ok(head)
    }
}

/// A field as the launcher reads it.
pub(crate) trait Field<'a>: Sized {
    fn take(input: &mut Input<'a>) -> Result<Self, Malformed>;
}

/// A field as the parent writes it.
#[cfg(feature = "host")]
pub(crate) trait Put {
    fn put(&self, output: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($number:ty),+) => { $(
        impl<'a> Field<'a> for $number {
            fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
                let bytes = input.bytes(size_of::<Self>())?;
                bytes.try_into().map(Self::from_le_bytes).map_err(|_| Malformed)
            }
        }
        #[cfg(feature = "host")]
        impl Put for $number {
            fn put(&self, output: &mut Vec<u8>) { output.extend(self.to_le_bytes()); }
        }
    )+ };
}
numbers!(u8, u16, u32, u64);

macro_rules! coded {
    ($($name:ty: $write:expr, $read:expr;)+) => { $(
        impl<'a> Field<'a> for $name {
            fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
                u8::take(input).and_then(|code| $read(code).ok_or(Malformed))
            }
        }
        #[cfg(feature = "host")]
        impl Put for $name {
            fn put(&self, output: &mut Vec<u8>) { output.push($write(*self)); }
        }
    )+ };
}
coded! {
    bool: u8::from, |code| match code { 0 => Some(false), 1 => Some(true), _ => None };
    Namespaces: Namespaces::bits, Namespaces::from_bits;
    Attributes: Attributes::bits, Attributes::from_bits;
    Resource: Resource::number, |code| Resource::ALL.iter().copied().find(|r| r.number() == code);
}

impl<'a> Field<'a> for &'a [u8] {
    /// The string without its NUL, which lies right behind it.
    fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        let length = u32::take(input)? as usize;
        let bytes = input.bytes(length)?;
        let nul = u8::take(input)?;
        if nul == 0 { Ok(bytes) } else { Err(Malformed) }
    }
}

impl<'a> Field<'a> for Strings<'a> {
    fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        let count = u32::take(input)?;
        let length = u32::take(input)? as usize;
        let bytes = input.bytes(length)?;
        let nuls = bytes.iter().filter(|byte| **byte == 0).count();
        if nuls != count as usize || bytes.last().is_some_and(|last| *last != 0) {
            return Err(Malformed);
        }
        Ok(Self { count, bytes })
    }
}

impl<'a> Field<'a> for Source<&'a [u8]> {
    fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        Ok(match u8::take(input)? {
            0 => Self::Slot {
                slot: u16::take(input)?,
            },
            1 => Self::Path {
                path: <&[u8]>::take(input)?,
                device: u64::take(input)?,
                inode: u64::take(input)?,
            },
            2 => Self::Scratch {
                name: <&[u8]>::take(input)?,
            },
            _ => return Err(Malformed),
        })
    }
}

#[cfg(feature = "host")]
mod put {
    use super::{Put, Source};
    use crate::bytes::Bytes;

    fn length(bytes: usize) -> u32 {
        u32::try_from(bytes).expect("a string in a plan is under 4 GiB")
    }

    impl Put for Bytes {
        fn put(&self, output: &mut Vec<u8>) {
            length(self.0.len()).put(output);
            output.extend(&self.0);
            output.push(0);
        }
    }

    impl Put for Vec<Bytes> {
        fn put(&self, output: &mut Vec<u8>) {
            length(self.len()).put(output);
            length(self.iter().map(|string| string.0.len() + 1).sum()).put(output);
            for string in self {
                output.extend(&string.0);
                output.push(0);
            }
        }
    }

    impl Put for Source<Bytes> {
        fn put(&self, output: &mut Vec<u8>) {
            match self {
                Self::Slot { slot } => {
                    output.push(0);
                    slot.put(output);
                }
                Self::Path {
                    path,
                    device,
                    inode,
                } => {
                    output.push(1);
                    path.put(output);
                    device.put(output);
                    inode.put(output);
                }
                Self::Scratch { name } => {
                    output.push(2);
                    name.put(output);
                }
            }
        }
    }
}
