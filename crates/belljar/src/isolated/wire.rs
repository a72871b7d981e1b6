//! What a host and its jar say to each other about one call. The request comes from the
//! host and is believed; the answer comes from a guest, and nothing in it is.
//!
//! ```text
//! request: function's place u32 | its name: length u32, bytes | input to the end, as JSON
//! answer:  HELLO | kind u8 | length u64 | so many bytes, and no more
//! ```
//!
//! Numbers are little-endian. Input and output are JSON: what serde_json reads takes a byte
//! for each value that it makes, and no more than 128 levels, so that hostile bytes can
//! neither overflow a stack nor name more than they bring; a compact form such as postcard
//! promises neither.

use std::io::{self, Write};

use belljar_plan::Bytes;

use super::AnswerError;

/// The first bytes of a jar that serves: whoever did not mean to serve does not say them.
pub(super) const HELLO: &[u8; 16] = b"belljar serves1\n";

/// Kind and length of an answer.
const HEADER: usize = 9;

/// What an answer has besides its own bytes.
pub(super) const AROUND: u64 = (HELLO.len() + HEADER) as u64;

/// The most of a guest's words that is kept.
const WORDS: usize = 4096;

/// One call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// Where the function is in the list.
    pub(super) place: u32,
    /// Its name, which has to be the one there.
    pub(super) name: &'a str,
    /// JSON.
    pub(super) input: &'a [u8],
}

impl<'a> Request<'a> {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.name.len()).unwrap_or(u32::MAX);
        [
            &self.place.to_le_bytes()[..],
            &length.to_le_bytes(),
            self.name.as_bytes(),
            self.input,
        ]
        .concat()
    }

    pub(super) fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let (place, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (name, input) = rest.split_at_checked(length)?;
        Some(Self {
            place: u32::from_le_bytes(*place),
            name: std::str::from_utf8(name).ok()?,
            input,
        })
    }
}

/// What a jar answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// JSON.
    Output = 1,
    /// The panic's words.
    Panicked = 2,
    /// Why the input cannot be read there.
    Input = 3,
    /// Why the output cannot be written.
    Unwritten = 4,
    /// The function is not in its list.
    Unknown = 5,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [
            Self::Output,
            Self::Panicked,
            Self::Input,
            Self::Unwritten,
            Self::Unknown,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// Writes an answer after the hello.
pub(super) fn write(mut to: impl Write, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&[kind as u8])?;
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(bytes)
}

/// What of a guest's first bytes is wrong already, before they are all there.
pub(super) fn is_hello(bytes: &[u8]) -> Hello {
    let length = bytes.len().min(HELLO.len());
    match bytes[..length] == HELLO[..length] {
        false => Hello::Never,
        true if length == HELLO.len() => Hello::Said,
        true => Hello::NotYet,
    }
}

/// How far a guest is with its hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// As far as it goes it is one.
    NotYet,
    /// It serves.
    Said,
    /// This is something else.
    Never,
}

/// Everything that a guest wrote, as the answer that it has to be.
pub(super) fn answer(bytes: &[u8]) -> Result<(Kind, &[u8]), AnswerError> {
    let rest = bytes.strip_prefix(HELLO).ok_or(AnswerError::Form)?;
    let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else {
        return Err(AnswerError::Cut);
    };
    let [kind, length @ ..] = *header;
    let kind = Kind::of(kind).ok_or(AnswerError::Form)?;
    let length = u64::from_le_bytes(length);
    match (rest.len() as u64).cmp(&length) {
        std::cmp::Ordering::Less => Err(AnswerError::Cut),
        std::cmp::Ordering::Greater => Err(AnswerError::Trailing),
        std::cmp::Ordering::Equal => Ok((kind, rest)),
    }
}

/// A guest's words for people: bounded, and free of what steers a terminal.
pub(super) fn words(bytes: &[u8]) -> String {
    let cut = bytes.len() > WORDS;
    let kept = &bytes[..bytes.len().min(WORDS)];
    let mut text = Bytes(kept.to_vec()).escaped();
    if cut {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(kind: Kind, bytes: &[u8]) -> Vec<u8> {
        let mut all = HELLO.to_vec();
        write(&mut all, kind, bytes).unwrap();
        all
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let request = Request {
            place: 7,
            name: "a::b",
            input: b"[1]",
        };
        let bytes = request.to_bytes();
        assert_eq!(Request::from_bytes(&bytes), Some(request));
        for length in 0..bytes.len() - 3 {
            assert_eq!(Request::from_bytes(&bytes[..length]), None, "{length}");
        }
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_or_followed_by_anything_is_none() {
        let mut bytes = whole(Kind::Output, b"\"x\"");
        assert!(matches!(answer(&bytes), Ok((Kind::Output, b"\"x\""))));
        for length in HELLO.len()..bytes.len() {
            assert!(matches!(answer(&bytes[..length]), Err(AnswerError::Cut)));
        }
        bytes.push(b' ');
        assert!(matches!(answer(&bytes), Err(AnswerError::Trailing)));
    }

    #[test]
    fn an_answer_that_says_to_be_longer_than_memory_takes_none() {
        let mut bytes = HELLO.to_vec();
        bytes.push(Kind::Output as u8);
        bytes.extend(u64::MAX.to_le_bytes());
        bytes.extend(b"1");
        assert!(matches!(answer(&bytes), Err(AnswerError::Cut)));
    }

    #[test]
    fn an_unknown_kind_of_answer_is_refused() {
        let mut bytes = whole(Kind::Output, b"1");
        bytes[HELLO.len()] = 0;
        assert!(matches!(answer(&bytes), Err(AnswerError::Form)));
        bytes[HELLO.len()] = 6;
        assert!(matches!(answer(&bytes), Err(AnswerError::Form)));
    }

    #[test]
    fn a_hello_is_known_by_each_of_its_bytes() {
        assert_eq!(is_hello(b""), Hello::NotYet);
        assert_eq!(is_hello(&HELLO[..5]), Hello::NotYet);
        assert_eq!(is_hello(HELLO), Hello::Said);
        assert_eq!(is_hello(&whole(Kind::Output, b"1")), Hello::Said);
        for at in 0..HELLO.len() {
            let mut other = *HELLO;
            other[at] ^= 1;
            assert_eq!(is_hello(&other), Hello::Never);
        }
    }

    #[test]
    fn a_guest_s_words_are_short_and_steer_nothing() {
        let said = words(&[b"\x1b[2J".as_slice(), &[b'x'; 10_000]].concat());
        assert!(
            said.starts_with("\\u{1b}[2J") && said.ends_with('…'),
            "{said}"
        );
        assert!(said.len() < WORDS + 100);
    }
}
