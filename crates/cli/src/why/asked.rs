//! What the words behind `belljar why` ask for.

use std::ffi::OsString;

use belljar::why::Question;

use super::WhyError;
use crate::{
    ask::{Position, Standpoint},
    words,
};

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// About a run that was kept, or one row of its report.
    Denial {
        /// The jar's id, or how it begins.
        jar: String,
        /// The row, as it was said.
        row: Option<String>,
    },
    /// About a run that might be.
    Question {
        /// What would be run.
        subject: Subject,
        /// What is asked of it.
        question: Question,
    },
}

/// What would be run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Nothing was named.
    Nothing,
    /// The words before the question.
    Said {
        words: Vec<OsString>,
        position: Position,
    },
}

/// Tells a denial's id from a question: that stands behind the last `--`.
///
/// # Errors
/// Where there is neither.
pub(super) fn read(words: &[OsString], position: Position) -> Result<Asked, WhyError> {
    if let ([id], Position::BeforeDashes) = (words, position)
        && let Some(id) = id.to_str().filter(|id| id.starts_with("jar-"))
    {
        let (jar, row) = match id.split_once('.') {
            Some((jar, row)) => (jar, Some(row.to_owned())),
            None => (id, None),
        };
        return Ok(Asked::Denial {
            jar: jar.to_owned(),
            row,
        });
    }
    let dashes = words.iter().rposition(|word| word == "--");
    let (subject, question) = match (dashes, position) {
        (Some(at), _) => {
            let subject = Subject::Said {
                words: words[..at].to_vec(),
                position,
            };
            (subject, &words[at + 1..])
        }
        (None, Position::AfterDashes) => (Subject::Nothing, words),
        (None, Position::BeforeDashes) => {
            let said = words.iter().map(|word| word.to_string_lossy());
            return Err(match said.collect::<Vec<_>>().join(" ") {
                nothing if nothing.is_empty() => WhyError::Missing,
                said => WhyError::NoQuestion(words::one_line(&said)),
            });
        }
    };
    Ok(Asked::Question {
        subject,
        question: self::question(question)?,
    })
}

/// A question, with its path taken from where the caller stands.
fn question(words: &[OsString]) -> Result<Question, WhyError> {
    let mut texts: Vec<String> = words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    if let [verb, path] = texts.as_mut_slice() {
        let flag = match verb.as_str() {
            "read" => "read",
            "write" => "write",
            "exec" => "exec",
            _ => "",
        };
        if !flag.is_empty() && !path.starts_with('/') {
            *path = Standpoint::here().path(flag, path)?.to_string();
        }
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    Ok(Question::parse(&texts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str, position: Position) -> Result<Asked, String> {
        let words: Vec<OsString> = text.split_whitespace().map(OsString::from).collect();
        read(&words, position).map_err(|error| error.to_string())
    }

    #[test]
    fn an_id_is_that_of_a_run_or_of_one_of_its_denials() {
        let denial = |jar: &str, row: Option<&str>| Asked::Denial {
            jar: jar.into(),
            row: row.map(str::to_owned),
        };
        for (text, expected) in [
            ("jar-ab", denial("jar-ab", None)),
            ("jar-ab.3", denial("jar-ab", Some("3"))),
        ] {
            assert_eq!(asked(text, Position::BeforeDashes).unwrap(), expected);
        }
    }

    #[test]
    fn the_question_stands_behind_the_last_dashes() {
        let read_x = Question::parse(&["read", "/x"]).unwrap();
        let subject = |text| match asked(text, Position::BeforeDashes).unwrap() {
            Asked::Question { subject, question } => {
                assert_eq!(question, read_x);
                subject
            }
            other => panic!("{other:?}"),
        };
        let said = |text: &str| Subject::Said {
            words: text.split_whitespace().map(OsString::from).collect(),
            position: Position::BeforeDashes,
        };
        assert_eq!(subject("ls -l -- read /x"), said("ls -l"));
        assert_eq!(subject("dir -- a -- read /x"), said("dir -- a"));
        assert!(matches!(
            asked("read /x", Position::AfterDashes).unwrap(),
            Asked::Question {
                subject: Subject::Nothing,
                ..
            }
        ));
    }

    #[test]
    fn what_asks_nothing_says_what_is_missing() {
        for (text, position, expected) in [
            ("", Position::BeforeDashes, "what is asked is missing"),
            (
                "ls",
                Position::BeforeDashes,
                "`ls` is not the id of a run or of a denial, and no question",
            ),
            ("ls --", Position::BeforeDashes, "nothing is asked"),
            ("peek /x", Position::AfterDashes, "`peek` is no question"),
        ] {
            let error = asked(text, position).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
