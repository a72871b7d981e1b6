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
pub const MAGIC: [u8; 8] = *b"belljar\x03";

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

/// A field as the parent holds it, made of one that was read.
#[cfg(feature = "host")]
pub(crate) trait Own {
    type Owned;
    fn own(&self) -> Self::Owned;
}

#[cfg(feature = "host")]
mod own {
    use super::{Attributes, Namespaces, Own, Resource, Source, Strings};
    use crate::bytes::Bytes;

    macro_rules! copied {
        ($($ty:ty),+) => { $(
            impl Own for $ty {
                type Owned = Self;
                fn own(&self) -> Self { *self }
            }
        )+ };
    }
    copied!(u16, u32, u64, bool, Attributes, Namespaces, Resource);

    impl Own for &[u8] {
        type Owned = Bytes;
        fn own(&self) -> Bytes {
            Bytes(self.to_vec())
        }
    }

    impl Own for Strings<'_> {
        type Owned = Vec<Bytes>;
        fn own(&self) -> Vec<Bytes> {
            let unended = |string: &[u8]| string.split_last().map_or(Vec::new(), |s| s.1.to_vec());
            self.iter().map(unended).map(Bytes).collect()
        }
    }

    impl Own for Source<&[u8]> {
        type Owned = Source<Bytes>;
        fn own(&self) -> Source<Bytes> {
            match *self {
                Source::Slot { slot } => Source::Slot { slot },
                Source::Path {
                    path,
                    device,
                    inode,
                } => Source::Path {
                    path: path.own(),
                    device,
                    inode,
                },
                Source::Scratch { name } => Source::Scratch { name: name.own() },
            }
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bytes::Bytes;
    use crate::step::{OwnedStep, Step};

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes)
    }

    /// As a path, an argument or a variable is: without NUL.
    fn string() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(1..=u8::MAX, 0..40).prop_map(Bytes)
    }

    fn strings() -> impl Strategy<Value = Vec<Bytes>> {
        prop::collection::vec(string(), 0..6)
    }

    fn attributes() -> impl Strategy<Value = Attributes> {
        (0..=Attributes::ALL.bits()).prop_filter_map("bits", Attributes::from_bits)
    }

    fn namespaces() -> impl Strategy<Value = Namespaces> {
        (0..=Namespaces::ALL.bits()).prop_filter_map("bits", Namespaces::from_bits)
    }

    fn source() -> impl Strategy<Value = Source<Bytes>> {
        prop_oneof![
            any::<u16>().prop_map(|slot| Source::Slot { slot }),
            (string(), any::<u64>(), any::<u64>()).prop_map(|(path, device, inode)| {
                Source::Path {
                    path,
                    device,
                    inode,
                }
            }),
            string().prop_map(|name| Source::Scratch { name }),
        ]
    }

    /// Makes a strategy for a step from a strategy for each of its fields.
    macro_rules! step {
        ($name:ident { $( $field:ident : $strategy:expr ),* $(,)? }) => {
            ( $( $strategy, )* Just(()), )
                .prop_map(|( $( $field, )* (), )| Step::$name { $( $field ),* })
                .boxed()
        };
    }

    fn any_step() -> impl Strategy<Value = OwnedStep> {
        let mode = || any::<u16>();
        prop::strategy::Union::new([
            step!(Detach {
                slot: any::<u16>(),
                idmap: any::<bool>(),
                owner_uid: any::<u32>(),
                owner_gid: any::<u32>(),
                recursive: any::<bool>(),
                attributes: attributes(),
            }),
            step!(Clone {
                namespaces: namespaces()
            }),
            step!(MapIds {
                uid: any::<u32>(),
                gid: any::<u32>(),
                deny_setgroups: any::<bool>(),
            }),
            step!(DropGroups {}),
            step!(TakeIds {
                uid: any::<u32>(),
                gid: any::<u32>()
            }),
            step!(OomScore {
                value: any::<u16>()
            }),
            step!(Undumpable {}),
            step!(DieWithLauncher {}),
            step!(PrivateMounts {}),
            step!(Root {
                size: any::<u64>(),
                inodes: any::<u64>(),
                stage: string()
            }),
            step!(Directory {
                path: string(),
                mode: mode()
            }),
            step!(Symlink {
                path: string(),
                target: string()
            }),
            step!(File {
                path: string(),
                mode: mode(),
                content: bytes()
            }),
            step!(PluginFile {
                path: string(),
                mode: mode(),
                offset: any::<u64>(),
                length: any::<u64>(),
            }),
            step!(Scratch {
                size: any::<u64>(),
                inodes: any::<u64>(),
                stage: string()
            }),
            step!(Bind {
                source: source(),
                target: string(),
                recursive: any::<bool>(),
                attributes: attributes(),
                optional: any::<bool>(),
            }),
            step!(Proc {
                target: string(),
                attributes: attributes()
            }),
            step!(Devpts { target: string() }),
            step!(Device {
                name: string(),
                major: any::<u32>(),
                minor: any::<u32>()
            }),
            step!(Mask { path: string() }),
            step!(ReadOnly { path: string() }),
            step!(LeaveMachine {}),
            step!(SealRoot {}),
            step!(Sysctls {
                settings: strings()
            }),
            step!(Cgroup {
                settings: strings()
            }),
            step!(Hostname { name: string() }),
            step!(Loopback {}),
            step!(Terminal {
                rows: any::<u16>(),
                columns: any::<u16>()
            }),
            step!(Keyring {}),
            step!(NoNewPrivs {}),
            step!(Securebits {}),
            step!(Capabilities {
                keep: any::<u64>(),
                ambient: any::<u64>()
            }),
            step!(Fork {}),
            step!(Session {
                terminal: any::<bool>()
            }),
            step!(Streams {}),
            step!(CloseDescriptors {}),
            step!(Workdir { path: string() }),
            step!(Umask { mask: mode() }),
            step!(Rlimit {
                resource: prop::sample::select(Resource::ALL),
                soft: any::<u64>(),
                hard: any::<u64>()
            }),
            step!(Signals {}),
            step!(Filter {
                program: bytes(),
                listener: any::<bool>(),
                arguments_low: any::<u16>(),
                arguments_high: any::<u16>(),
                variables_low: any::<u16>(),
                variables_high: any::<u16>(),
            }),
            step!(FixedCode {}),
            step!(Canary {}),
            step!(Ruleset {
                files: any::<u64>(),
                network: any::<u64>(),
                scopes: any::<u64>()
            }),
            step!(AllowPath {
                path: string(),
                access: any::<u64>(),
                optional: any::<bool>(),
            }),
            step!(Restrict {
                quiet: any::<bool>()
            }),
            step!(Adopt {}),
            step!(DieWithFirst {}),
            step!(MachineRoot {}),
            step!(Queues {}),
            step!(AllowQueues {
                access: any::<u64>()
            }),
            step!(Exec {
                path: string(),
                arguments: strings(),
                variables: strings()
            }),
        ])
    }

    proptest! {
        #[test]
        fn steps_read_back_as_written(steps in prop::collection::vec(any_step(), 0..20)) {
            let encoded = encode(&steps);
            let read = Steps::new(&encoded).unwrap().map(|step| step.unwrap().to_owned_step());
            prop_assert_eq!(read.collect::<Vec<_>>(), steps);
        }

        #[test]
        fn bytes_that_are_no_plan_never_panic(noise in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(steps) = Steps::new(&noise) {
                steps.for_each(drop);
            }
            let mut plausible = MAGIC.to_vec();
            plausible.extend([200, 0]);
            plausible.extend(noise);
            Steps::new(&plausible).unwrap().for_each(drop);
        }

        #[test]
        fn a_plan_cut_or_changed_anywhere_never_panics(
            steps in prop::collection::vec(any_step(), 1..8),
            at in any::<prop::sample::Index>(),
            with in any::<u8>(),
        ) {
            let encoded = encode(&steps);
            let cut = at.index(encoded.len());
            let complete = Steps::new(&encoded[..cut]).is_ok_and(|mut steps| steps.all(|s| s.is_ok()));
            prop_assert!(!complete, "a plan cut at {} of {} was read", cut, encoded.len());
            let mut changed = encoded;
            changed[cut] = with;
            if let Ok(steps) = Steps::new(&changed) {
                steps.for_each(drop);
            }
        }
    }

    #[test]
    fn bytes_behind_the_last_step_are_an_error() {
        let mut encoded = encode(&[Step::Fork {}]);
        encoded.push(0);
        let read: Vec<_> = Steps::new(&encoded).unwrap().collect();
        assert_eq!(read, [Ok(Step::Fork {}), Err(Malformed)]);
    }

    #[test]
    fn every_string_of_a_list_ends_with_its_nul() {
        let arguments = vec![Bytes::from("a"), Bytes::default(), Bytes::from("bc")];
        let encoded = encode(&[Step::Exec {
            path: Bytes::from("/bin/a"),
            arguments,
            variables: Vec::new(),
        }]);
        let step = Steps::new(&encoded).unwrap().next().unwrap().unwrap();
        let Step::Exec {
            arguments,
            variables,
            ..
        } = step
        else {
            panic!("the step is exec");
        };
        assert_eq!(arguments.count(), 3);
        assert!(arguments.iter().eq([&b"a\0"[..], b"\0", b"bc\0"]));
        assert_eq!((variables.count(), variables.iter().count()), (0, 0));
    }
}
