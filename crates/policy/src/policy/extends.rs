//! `extends`: a policy's file over others. Who reads them is the caller's to say.

use super::{Policy, PolicyError, Said, file};
use crate::parse::{Format, tame};

/// The most files that one policy is made of.
pub const MOST_FILES: usize = 32;

/// The most files under one another.
pub const MOST_DEEP: usize = 8;

/// A file as its reader found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// All of it, at most [`MOST_BYTES`](super::MOST_BYTES).
    pub text: String,
    /// What tells it from every other file, whatever name it was read by: its
    /// canonical path.
    pub identity: String,
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is longer than [`MOST_BYTES`](super::MOST_BYTES).
    #[error("it is larger than 1 MiB")]
    TooLarge,
    /// It is not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
    /// It is a directory, a device, a pipe.
    #[error("it is no regular file")]
    NotFile,
    /// The system's word.
    #[error("{0}")]
    System(String),
}

/// Why a file cannot be extended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtendsError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is the file itself, or one on the way to it.
    #[error("it would extend itself: {0}")]
    Cycle(String),
    /// There are too many files under one another.
    #[error("more than {MOST_DEEP} files are under one another: {0}")]
    TooDeep(String),
    /// There are too many files.
    #[error("the policy is made of more than {MOST_FILES} files")]
    TooMany,
    /// The name is empty.
    #[error("it names no file")]
    Nameless,
}

/// One file on the way from the first.
struct Stop {
    /// Its name for messages, with its table.
    shown: String,
    identity: String,
    table: Option<String>,
    /// Where it is extended; none for the first.
    origin: Option<String>,
}

struct Loader<'a> {
    read: &'a mut dyn FnMut(&str) -> Result<Source, ReadError>,
    way: Vec<Stop>,
    files: usize,
}

pub(super) fn load(
    top: Source,
    file: &str,
    table: Option<&str>,
    read: &mut dyn FnMut(&str) -> Result<Source, ReadError>,
) -> Result<Policy, PolicyError> {
    let mut loader = Loader {
        read,
        way: Vec::new(),
        files: 1,
    };
    loader.whole(top, file, table, None)
}

impl Loader<'_> {
    /// A file over those that it extends.
    fn whole(
        &mut self,
        Source { text, identity }: Source,
        file: &str,
        table: Option<&str>,
        origin: Option<String>,
    ) -> Result<Policy, PolicyError> {
        let mut parsed = file::parse(&text, Format::of_name(file), file, table)?;
        self.way.push(Stop {
            shown: shown(file, table),
            identity,
            table: table.map(str::to_owned),
            origin,
        });
        let through = self.through();
        let mut under: Option<Policy> = None;
        for said in std::mem::take(&mut parsed.extends) {
            let next = self.extended(file, &said)?;
            under = Some(match under {
                None => next,
                Some(under) => under.extended_by(next)?,
            });
        }
        self.way.pop();
        let mut own = parsed.policy;
        if let Some(through) = through {
            own.each_origin(&mut |origin| {
                origin.push_str(", extended at ");
                origin.push_str(&through);
            });
        }
        match under {
            None => Ok(own),
            Some(under) => under.extended_by(own),
        }
    }

    /// A file that another extends, with all that is under it.
    fn extended(&mut self, by: &str, said: &Said<String>) -> Result<Policy, PolicyError> {
        let (name, table) = match said.value.split_once('#') {
            Some((name, table)) => (name, Some(table)),
            None => (said.value.as_str(), None),
        };
        let file = beside(by, name);
        // The place, with those that lead to its file.
        let place = match self.through() {
            Some(through) => format!("{}, extended at {through}", said.origin),
            None => said.origin.clone(),
        };
        let refuse = |source| PolicyError::Extends {
            origin: match source {
                // They tell the whole way themselves.
                ExtendsError::Cycle(_) | ExtendsError::TooDeep(_) => said.origin.clone(),
                _ => place.clone(),
            },
            file: tame(&shown(&file, table)),
            source,
        };
        if name.is_empty() {
            return Err(refuse(ExtendsError::Nameless));
        }
        self.files += 1;
        if self.files > MOST_FILES {
            return Err(refuse(ExtendsError::TooMany));
        }
        let source = (self.read)(&file).map_err(|error| refuse(error.into()))?;
        let way = || {
            let stops = self.way.iter().map(|stop| stop.shown.as_str());
            let names: Vec<String> = stops
                .chain([shown(&file, table).as_str()])
                .map(tame)
                .collect();
            names.join(" -> ")
        };
        if self
            .way
            .iter()
            .any(|stop| stop.identity == source.identity && stop.table.as_deref() == table)
        {
            return Err(refuse(ExtendsError::Cycle(way())));
        }
        if self.way.len() >= MOST_DEEP {
            return Err(refuse(ExtendsError::TooDeep(way())));
        }
        self.whole(source, &file, table, Some(said.origin.clone()))
            .map_err(|error| match error {
                // Those have said it already.
                PolicyError::Extends { .. } | PolicyError::Extended { .. } => error,
                error => PolicyError::Extended {
                    file: tame(&shown(&file, table)),
                    origin: place.clone(),
                    source: Box::new(error),
                },
            })
    }

    /// The places that lead to the file that is read now, the nearest first.
    fn through(&self) -> Option<String> {
        let origins: Vec<&str> = self
            .way
            .iter()
            .rev()
            .filter_map(|stop| stop.origin.as_deref())
            .collect();
        (!origins.is_empty()).then(|| origins.join(", "))
    }
}

fn shown(file: &str, table: Option<&str>) -> String {
    match table {
        Some(table) => format!("{file}#{table}"),
        None => file.to_owned(),
    }
}

/// A name as it is meant by the file that says it.
fn beside(file: &str, name: &str) -> String {
    if name.starts_with('/') {
        return name.to_owned();
    }
    let name = name.strip_prefix("./").unwrap_or(name);
    match file.rfind('/') {
        Some(end) => format!("{}{name}", &file[..=end]),
        None => name.to_owned(),
    }
}
