//! What the prober is asked to try, and what it answers: one argument of its
//! command line each, and one line of its stdout each. Both ends read this.
//!
//! The prober is a small program that `prove` starts in the place of the real
//! one. It decides nothing: it makes the calls that it is told of and says what
//! the kernel answered.

/// Makes [`Probe`] and both directions of its text from one list: a word, then
/// numbers, then at most one text, which is all that is left.
macro_rules! probes {
    (
        $(
            $(#[$meta:meta])*
            $word:literal $name:ident { $( $number:ident ),* } $( $text:ident )?
        )+
    ) => {
        /// One thing that the prober tries.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Probe<'a> {
            $(
                $(#[$meta])*
                #[allow(missing_docs, reason = "the variant's line tells of its fields")]
                $name { $( $number: u64, )* $( $text: &'a [u8], )? },
            )+
        }

        impl<'a> Probe<'a> {
            /// What an argument asks for; `None` where it is none of these.
            #[must_use]
            pub fn decode(argument: &'a [u8]) -> Option<Self> {
                let mut words = Words { rest: Some(argument) };
                let probe = match words.next()? {
                    $(
                        word if word == $word.as_bytes() => Self::$name {
                            $( $number: words.number()?, )*
                            $( $text: words.text()?, )?
                        },
                    )+
                    _ => return None,
                };
                words.rest.is_none().then_some(probe)
            }

            /// As an argument of the prober.
            #[cfg(feature = "host")]
            #[must_use]
            pub fn encode(&self) -> crate::Bytes {
                let mut argument = Vec::new();
                match self {
                    $(
                        Self::$name { $( $number, )* $( $text, )? } => {
                            argument.extend_from_slice($word.as_bytes());
                            $( argument.extend_from_slice(format!(" {}", $number).as_bytes()); )*
                            $(
                                argument.push(b' ');
                                argument.extend_from_slice($text);
                            )?
                        }
                    )+
                }
                crate::Bytes(argument)
            }
        }
    };
}

probes! {
    // ---- files ----

    /// Open `path` for reading: gives the bytes read, at most a few, or the entries of a directory.
    "read" Read {} path
    /// Open `path` for writing, and write nothing.
    "write" Write {} path
    /// Count the entries of the first path that are not among the names behind it; commas between.
    "unlisted" Unlisted {} path_and_names
    /// Write up to `most` bytes into a new file at `path`, which is removed; into a memfd where it is empty.
    "fill" Fill { most } path

    // ---- other tasks ----

    /// Send signal 0 to a task; to itself for 0.
    "signal" Signal { pid }
    /// Find a task whose command line has `word`: gives its number.
    "find" Find {} word
    /// Bear a word in the command line.
    "word" Word {} word
    /// Start a task in a session of its own that keeps the streams and sleeps: gives its number.
    "leave" Leave {}

    // ---- sockets and objects ----

    /// Connect to a TCP port of 127.0.0.1.
    "tcp" Tcp { port }
    /// Listen on 127.0.0.1 and connect to that.
    "loopback" Loopback {}
    /// Connect to a unix socket at a path.
    "unix" Unix {} path
    /// Connect to a unix socket by an abstract name.
    "abstract" Abstract {} name
    /// Make a pair of connected unix sockets and send a byte.
    "pair" Pair {}
    /// Attach a segment of shared memory by its id.
    "attach" Attach { id }
    /// Make a segment of its own, and remove it.
    "segment" Segment {}
    /// Make a segment that is gone with this process: gives its id.
    "hold_segment" HoldSegment {}

    // ---- the process itself ----

    /// Make one system call by number, in a child.
    "call" Call { number, a, b, c, d, e, f }
    /// Start the program at `path`, in a child.
    "exec" Exec {} path
    /// Map memory that is writable and executable.
    "map_code" MapCode {}
    /// Map memory that is writable, and make it executable.
    "make_code" MakeCode {}
    /// Write a new file at `path`, which is removed, and map it executable.
    "file_code" FileCode {} path
    /// Map memory that is writable.
    "map" Map {}
    /// Count descriptors that are open from `first` on, below `end`.
    "descriptors" Descriptors { first, end }
    /// Whether a descriptor is a terminal.
    "terminal" Terminal { descriptor }
    /// A digest of all variables, in order: see [`Digest`].
    "variables" Variables {}
    /// Whether there is a variable of this name.
    "variable" Variable {} name

    // ---- limits ----

    /// Touch so many bytes of memory, then sleep.
    "grow" Grow { bytes, milliseconds }
    /// Use so much processor time.
    "spin" Spin { milliseconds }
    /// Sleep.
    "sleep" Sleep { milliseconds }
    /// Write so many empty lines.
    "flood" Flood { bytes }
    /// Start up to `most` tasks at a time: gives how many there were.
    "tasks" Tasks { most }
    /// Open up to `most` descriptors more: gives how many there were.
    "files" Files { most }
    /// Compute for so long: gives the milliseconds of processor time that came of it.
    "share" Share { milliseconds }
    /// Read the first page of `path` so often past the page cache: gives the milliseconds that it took.
    "direct" Direct { most } path

    // ---- the order of things ----

    /// Wait for a line, or for the end of stdin.
    "wait" Wait {}
}

/// The words of an argument.
struct Words<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        match rest.iter().position(|byte| *byte == b' ') {
            Some(at) => {
                self.rest = rest.get(at + 1..);
                rest.get(..at)
            }
            None => {
                self.rest = None;
                Some(rest)
            }
        }
    }

    fn number(&mut self) -> Option<u64> {
        number(self.next()?)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        self.rest.take()
    }
}

/// Digits only, and no more than fit.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// The exit status of a prober that is asked for nothing: so does one tell that
/// it was started by another.
pub const STARTED: i32 = 99;

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It was done.
    Done,
    /// The kernel refused it, with this error; errno(3).
    Refused(u16),
    /// The child that tried it was ended by this signal; signal(7).
    Ended(u16),
    /// It was not tried: something on the way to it failed, with this error.
    NotTried(u16),
}

/// One line of the prober's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which of the arguments, from 0.
    pub index: u64,
    /// What came of it.
    pub came: Came,
    /// What it counted, as far as it got.
    pub value: u64,
}

impl Answer {
    /// No line is longer.
    pub const LONGEST: usize = 64;

    /// As a line, with its newline; gives its length.
    pub fn write(&self, line: &mut [u8; Self::LONGEST]) -> usize {
        let (word, errno) = match self.came {
            Came::Done => (b'd', 0),
            Came::Refused(errno) => (b'r', errno),
            Came::Ended(signal) => (b's', signal),
            Came::NotTried(errno) => (b'n', errno),
        };
        let mut length = 0;
        let mut put = |byte: u8| {
            if let Some(place) = line.get_mut(length) {
                *place = byte;
                length += 1;
            }
        };
        digits(self.index, &mut put);
        put(b' ');
        put(word);
        put(b' ');
        digits(u64::from(errno), &mut put);
        put(b' ');
        digits(self.value, &mut put);
        put(b'\n');
        length
    }

    /// What a line says, without its newline; `None` where it is none of the prober's.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        let mut words = Words { rest: Some(line) };
        let index = words.number()?;
        let word = words.next()?;
        let code = u16::try_from(words.number()?).ok()?;
        let value = words.number()?;
        let came = match (word, code) {
            (b"d", 0) => Came::Done,
            (b"r", 1..) => Came::Refused(code),
            (b"s", 1..) => Came::Ended(code),
            (b"n", _) => Came::NotTried(code),
            _ => return None,
        };
        words.rest.is_none().then_some(Self { index, came, value })
    }
}

fn digits(mut number: u64, put: &mut impl FnMut(u8)) {
    let mut digits = [0_u8; 20];
    let mut count = 0;
    for digit in &mut digits {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        count += 1;
        if number == 0 {
            break;
        }
    }
    for digit in digits.iter().take(count).rev() {
        put(*digit);
    }
}

/// A digest by which both ends compare lists of strings that neither wants to
/// send: FNV-1a of 64 bits, a NUL behind each string. Nobody who could choose
/// the strings gains by a collision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// With one string more.
    #[must_use]
    pub fn with(self, string: &[u8]) -> Self {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        Self(step(string.iter().fold(self.0, step), &0))
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

#[cfg(all(test, feature = "host"))]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_read_as_it_was_written() {
        for probe in [
            Probe::Pair {},
            Probe::Read { path: b"/a b/c" },
            Probe::Read { path: b"" },
            Probe::Fill {
                most: u64::MAX,
                path: b" /x",
            },
            Probe::Call {
                number: 272,
                a: 1 << 28,
                b: 0,
                c: 0,
                d: 0,
                e: 0,
                f: u64::MAX,
            },
        ] {
            assert_eq!(Probe::decode(&probe.encode().0), Some(probe));
        }
    }

    #[test]
    fn what_is_no_probe_is_none() {
        for argument in [
            "",
            "read",
            "pair ",
            "pair 1",
            "tcp",
            "tcp x",
            "tcp -1",
            "tcp 99999999999999999999",
            "fill /x",
            "unknown",
        ] {
            assert_eq!(Probe::decode(argument.as_bytes()), None, "{argument}");
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for came in [
            Came::Done,
            Came::Refused(13),
            Came::Ended(31),
            Came::NotTried(0),
        ] {
            let answer = Answer {
                index: 7,
                came,
                value: u64::MAX,
            };
            let mut line = [0; Answer::LONGEST];
            let length = answer.write(&mut line);
            assert_eq!(line[length - 1], b'\n');
            assert_eq!(Answer::read(&line[..length - 1]), Some(answer));
        }
    }

    #[test]
    fn what_is_no_line_of_the_prober_s_is_none() {
        for line in [
            "",
            "1",
            "1 d",
            "1 d 0",
            "1 d 1 0",
            "1 r 0 0",
            "1 x 0 0",
            "1 d 0 0 ",
            "1 d 0 0 0",
            " 1 d 0 0",
            "1 r 70000 0",
            "-1 d 0 0",
            "1\td 0 0",
        ] {
            assert_eq!(Answer::read(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_digest_tells_where_one_string_ends() {
        let of = |strings: &[&str]| {
            let all = Digest::default();
            strings
                .iter()
                .fold(all, |all, string| all.with(string.as_bytes()))
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", "b"]), of(&["b", "a"]));
        assert_ne!(of(&[]), of(&[""]));
    }
}
