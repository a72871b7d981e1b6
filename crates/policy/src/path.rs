//! Absolute Unix paths in one normal form, so that comparing them means something.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An absolute path: UTF-8, no NUL, no `.`, no `..`, no doubled or trailing
/// slash. It says nothing about symbolic links: see [`crate::verified::Survey`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct UnixPath(String);

/// Why a text is no [`UnixPath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not start with a slash.
    #[error("path `{0}` is not absolute; write it from `/`")]
    Relative(String),
    /// It climbs by `..`, which means different things before and after links.
    #[error("path `{0}` contains `..`; write the path that you mean")]
    Climbs(String),
    /// It holds a NUL byte, which no path can.
    #[error("path `{0}` contains a NUL byte")]
    Nul(String),
    /// It is longer than `PATH_MAX` takes.
    #[error("path of {0} bytes is too long; the system takes at most 4095")]
    TooLong(usize),
}

impl UnixPath {
    /// The root, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Brings a path into the normal form.
    ///
    /// # Errors
    /// Where it is relative, climbs, holds a NUL or is too long.
    pub fn new(text: &str) -> Result<Self, PathError> {
        let shown = || text.escape_debug().to_string();
        if text.len() > 4095 {
            return Err(PathError::TooLong(text.len()));
        }
        if text.contains('\0') {
            return Err(PathError::Nul(shown()));
        }
        if !text.starts_with('/') {
            return Err(PathError::Relative(shown()));
        }
        let mut normal = String::with_capacity(text.len());
        for part in text
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
        {
            if part == ".." {
                return Err(PathError::Climbs(shown()));
            }
            normal.push('/');
            normal.push_str(part);
        }
        if normal.is_empty() {
            normal.push('/');
        }
        Ok(Self(normal))
    }

    /// The path as text, starting with a slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path without its leading slash, as steps of a plan want it.
    #[must_use]
    pub fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// This path is `other` or lies below it, component by component.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        other.0 == "/"
            || self
                .0
                .strip_prefix(&other.0)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The directory that holds it; none for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self.0.rfind('/')? {
            0 if self.0.len() == 1 => None,
            0 => Some(Self::root()),
            at => Some(Self(self.0[..at].to_owned())),
        }
    }

    /// Its last component; none for the root.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|name| !name.is_empty())
    }

    /// A path below this one.
    ///
    /// # Errors
    /// Where `rest` climbs, holds a NUL or makes it too long.
    pub fn join(&self, rest: &str) -> Result<Self, PathError> {
        Self::new(&format!("{}/{rest}", self.0))
    }

    /// The path that lies under `to` as this one lies under `from`; none where it
    /// does not lie there.
    pub(crate) fn rebased(&self, from: &Self, to: &Self) -> Option<Self> {
        if !self.is_within(from) {
            return None;
        }
        let rest = if from.0 == "/" {
            self.0.as_str()
        } else {
            &self.0[from.0.len()..]
        };
        to.join(rest).ok()
    }

    /// The root, then each directory on the way, then the path itself.
    pub fn ancestors_from_root(&self) -> impl Iterator<Item = Self> + '_ {
        std::iter::once(Self::root()).chain(
            self.0
                .match_indices('/')
                .skip(1)
                .map(|(at, _)| at)
                .chain((self.0.len() > 1).then_some(self.0.len()))
                .map(|end| Self(self.0[..end].to_owned())),
        )
    }
}

impl fmt::Display for UnixPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UnixPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl TryFrom<String> for UnixPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        Self::new(&text)
    }
}

impl From<UnixPath> for String {
    fn from(path: UnixPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> UnixPath {
        UnixPath::new(text).unwrap()
    }

    #[test]
    fn the_normal_form_is_one_per_path() {
        for text in ["/a/b", "//a/./b/", "/a//b/."] {
            assert_eq!(path(text).as_str(), "/a/b");
        }
        assert_eq!(path("//").as_str(), "/");
    }

    #[test]
    fn what_is_no_path_is_refused_with_its_reason() {
        assert!(matches!(UnixPath::new("a"), Err(PathError::Relative(_))));
        assert!(matches!(
            UnixPath::new("/a/../b"),
            Err(PathError::Climbs(_))
        ));
        assert!(matches!(UnixPath::new("/a\0b"), Err(PathError::Nul(_))));
        assert!(matches!(
            UnixPath::new(&format!("/{}", "a".repeat(5000))),
            Err(PathError::TooLong(5001))
        ));
    }

    #[test]
    fn within_compares_components_not_letters() {
        assert!(path("/a/b").is_within(&path("/a")));
        assert!(path("/a").is_within(&path("/a")));
        assert!(!path("/ab").is_within(&path("/a")));
        assert!(path("/ab").is_within(&UnixPath::root()));
    }

    #[test]
    fn ancestors_start_at_the_root_and_end_with_the_path() {
        let all: Vec<_> = path("/a/b/c")
            .ancestors_from_root()
            .map(String::from)
            .collect();
        assert_eq!(all, ["/", "/a", "/a/b", "/a/b/c"]);
        assert_eq!(UnixPath::root().ancestors_from_root().count(), 1);
        assert_eq!(path("/a/b").parent(), Some(path("/a")));
        assert_eq!(path("/a").parent(), Some(UnixPath::root()));
        assert_eq!(UnixPath::root().parent(), None);
    }
}
