//! Why a text cannot be read.

use std::fmt;

use serde::de::{self, Unexpected};

use super::{MOST_BYTES, hint, nearest, tame};

/// Why a text cannot be read as what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is too long to be looked at.
    #[error("{file}: {size} bytes are too many; at most {MOST_BYTES} are read")]
    TooLarge {
        /// The file.
        file: String,
        /// Its length.
        size: usize,
    },
    /// It is no TOML or no JSON.
    #[error("{origin}: {reason}")]
    Syntax {
        /// The file and line.
        origin: String,
        /// What is the matter.
        reason: String,
    },
    /// The table that was asked for is not in it.
    #[error("{file}: there is no table `{table}`")]
    NoTable {
        /// The file.
        file: String,
        /// The table's dotted name.
        table: String,
    },
    /// A key that means nothing there.
    #[error("{origin}: unknown key `{key}`{}", hint(nearest.as_deref(), known))]
    UnknownKey {
        /// The place.
        origin: String,
        /// As it was written, shortened and escaped.
        key: String,
        /// What was probably meant.
        nearest: Option<String>,
        /// Every key that there is.
        known: Vec<String>,
    },
    /// A value of the wrong kind, or none where one must be.
    #[error("{origin}: {reason}")]
    Shape {
        /// The place.
        origin: String,
        /// What is the matter.
        reason: String,
    },
}

impl ParseError {
    /// Names the place, where none is named yet.
    pub(super) fn placed(mut self, place: impl FnOnce() -> String) -> Self {
        if let Self::UnknownKey { origin, .. } | Self::Shape { origin, .. } = &mut self
            && origin.is_empty()
        {
            *origin = place();
        }
        self
    }

    fn shape(reason: String) -> Self {
        Self::Shape {
            origin: String::new(),
            reason,
        }
    }
}

impl de::Error for ParseError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::shape(tame(&message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a number",
            Unexpected::Str(_) => "a text",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a table",
            Unexpected::Other(what) if !what.starts_with("integer") => what,
            _ => "a number",
        };
        let expected = match expected.to_string() {
            table if table.starts_with("struct ") || table == "a map" => "a table".to_owned(),
            list if list == "a sequence" => "a list".to_owned(),
            text if text == "a string" => "a text".to_owned(),
            flag if flag == "a boolean" => "true or false".to_owned(),
            other => other,
        };
        Self::shape(format!("expected {expected}, found {found}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::shape(format!("`{field}` is missing"))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownKey {
            origin: String::new(),
            key: tame(field),
            nearest: nearest(field, known.iter().copied()),
            known: known.iter().map(|known| (*known).to_owned()).collect(),
        }
    }
}
