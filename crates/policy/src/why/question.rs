//! What can be asked about a jar.

use std::fmt;

use belljar_plan::Bytes;

use crate::{
    parse::nearest,
    path::{PathError, UnixPath},
    seccomp::{CALLS, Call},
};

/// One attempt, as a guest would make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Opening a file for reading, or listing a directory: a path in the jar.
    Read(UnixPath),
    /// Writing a file, or making it where it is not there; making something in a
    /// directory: a path in the jar.
    Write(UnixPath),
    /// Starting a program: a path in the jar.
    Exec(UnixPath),
    /// Connecting to a port of a host.
    Connect {
        /// A name or an address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// Making a system call.
    Call {
        /// Its name, as in the tables.
        name: String,
        /// Its arguments as far as they are said; none at all asks about the call
        /// whatever its arguments are.
        arguments: Vec<u64>,
    },
}

/// Why words are no question. Each says what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// Nothing was asked.
    #[error(
        "nothing is asked; ask `read PATH`, `write PATH`, `exec PATH`, `connect NAME:PORT` or `call SYSCALL`"
    )]
    Nothing,
    /// The first word is none of those.
    #[error(
        "`{0}` is no question; ask `read PATH`, `write PATH`, `exec PATH`, `connect NAME:PORT` or `call SYSCALL`"
    )]
    Verb(String),
    /// It takes another number of words.
    #[error("`{verb}` asks about one thing: `{form}`")]
    Words {
        /// The first word.
        verb: &'static str,
        /// A right form.
        form: &'static str,
    },
    /// The path is none.
    #[error(transparent)]
    Path(#[from] PathError),
    /// No port, or none that TCP has.
    #[error("`{0}` is not NAME:PORT; write it like `api.example.com:443`, or `[::1]:443`")]
    Address(String),
    /// There is no such system call.
    #[error("there is no system call `{name}`{}", .nearest.as_ref().map_or_else(String::new, |near| format!("; did you mean `{near}`?")))]
    Call {
        /// As it was said.
        name: String,
        /// One that is called almost so.
        nearest: Option<String>,
    },
    /// An argument that is no number.
    #[error("`{0}` is no argument of a system call; write a number, such as `2` or `0x800`")]
    Argument(String),
}

impl Question {
    /// Reads a question: a verb and what it is about. A path is absolute, as in the jar.
    ///
    /// # Errors
    /// Where the words are no question.
    ///
    /// ```
    /// use belljar_policy::why::Question;
    /// let question = Question::parse(&["connect", "api.example.com:443"])?;
    /// assert_eq!(question.to_string(), "connect api.example.com:443");
    /// # Ok::<(), belljar_policy::why::QuestionError>(())
    /// ```
    pub fn parse(words: &[&str]) -> Result<Self, QuestionError> {
        let (verb, rest) = words.split_first().ok_or(QuestionError::Nothing)?;
        let one = |verb, form| match rest {
            [one] => Ok(*one),
            _ => Err(QuestionError::Words { verb, form }),
        };
        Ok(match *verb {
            "read" => Self::Read(UnixPath::new(one("read", "read PATH")?)?),
            "write" => Self::Write(UnixPath::new(one("write", "write PATH")?)?),
            "exec" => Self::Exec(UnixPath::new(one("exec", "exec PATH")?)?),
            "connect" => address(one("connect", "connect NAME:PORT")?)?,
            "call" => call(rest)?,
            other => return Err(QuestionError::Verb(Bytes::from(other).escaped())),
        })
    }
}

fn address(text: &str) -> Result<Question, QuestionError> {
    let wrong = || QuestionError::Address(Bytes::from(text).escaped());
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let fits = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .chars()
                    .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
        }
    };
    let port = port.parse::<u16>().ok().filter(|port| *port > 0 && fits);
    Ok(Question::Connect {
        host: host.to_owned(),
        port: port.ok_or_else(wrong)?,
    })
}

fn call(words: &[&str]) -> Result<Question, QuestionError> {
    let (name, arguments) = match words {
        [name, arguments @ ..] if arguments.len() <= 6 => (*name, arguments),
        _ => {
            return Err(QuestionError::Words {
                verb: "call",
                form: "call SYSCALL [ARGUMENT...]",
            });
        }
    };
    if Call::named(name).is_none() {
        return Err(QuestionError::Call {
            name: Bytes::from(name).escaped(),
            nearest: nearest(name, CALLS.iter().map(|call| call.name)),
        });
    }
    let arguments = arguments
        .iter()
        .map(|text| {
            number(text).ok_or_else(|| QuestionError::Argument(Bytes::from(*text).escaped()))
        })
        .collect::<Result<_, _>>()?;
    Ok(Question::Call {
        name: name.to_owned(),
        arguments,
    })
}

fn number(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return u64::from_str_radix(octal, 8).ok();
    }
    // As the register holds it, a number below zero is a large one.
    text.parse::<u64>()
        .ok()
        .or_else(|| text.parse::<i64>().ok().map(i64::cast_unsigned))
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: &UnixPath| Bytes::from(path.as_str()).escaped();
        match self {
            Self::Read(path) => write!(f, "read {}", shown(path)),
            Self::Write(path) => write!(f, "write {}", shown(path)),
            Self::Exec(path) => write!(f, "exec {}", shown(path)),
            Self::Connect { host, port } => write!(f, "connect {host}:{port}"),
            Self::Call { name, arguments } => {
                write!(f, "call {name}")?;
                arguments
                    .iter()
                    .try_for_each(|argument| write!(f, " {argument:#x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_reads_back_as_it_is_shown() {
        for text in [
            "read /etc/passwd",
            "write /data/x",
            "exec /bin/sh",
            "connect api.example.com:443",
            "connect [::1]:80",
            "call ptrace",
            "call socket 0x1 0x2",
        ] {
            let words: Vec<&str> = text.split(' ').collect();
            assert_eq!(Question::parse(&words).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_question_says_what_would_be_one() {
        for (words, expected) in [
            (&[][..], "nothing is asked; ask `read PATH`"),
            (&["peek", "/x"], "`peek` is no question"),
            (&["read"], "`read` asks about one thing: `read PATH`"),
            (&["read", "/a", "/b"], "`read` asks about one thing"),
            (&["read", "a"], "path `a` is not absolute"),
            (&["connect", "host"], "`host` is not NAME:PORT"),
            (&["connect", ":80"], "`:80` is not NAME:PORT"),
            (&["connect", "h:0"], "`h:0` is not NAME:PORT"),
            (&["connect", "h:70000"], "`h:70000` is not NAME:PORT"),
            (&["connect", "::1:80"], "`::1:80` is not NAME:PORT"),
            (
                &["call", "ptrac"],
                "there is no system call `ptrac`; did you mean `ptrace`?",
            ),
            (
                &["call", "socket", "x"],
                "`x` is no argument of a system call",
            ),
            (&["call"], "`call` asks about one thing"),
        ] {
            let error = Question::parse(words).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{words:?}: {error}");
        }
    }

    #[test]
    fn a_negative_argument_is_what_the_register_holds() {
        assert_eq!(number("-1"), Some(u64::MAX));
        assert_eq!(number("0x800"), Some(0x800));
        assert_eq!(number("0o10"), Some(8));
    }
}
