//! Paths as they are said on the command line: relative to where the caller
//! stands, and `PATH:JAR` for a path that has another place in the jar.

use std::{
    ffi::OsStr,
    io,
    path::{Component, Path, PathBuf},
};

use belljar_policy::{
    UnixPath,
    group::{Group, GroupError},
    manifest::Place,
};

use super::usage::Usage;

/// What a flag grants.
#[derive(Debug)]
pub(super) enum Granted {
    /// A path.
    Path(Place),
    /// What a group stands for.
    Group(Group),
}

/// Where the caller stands, asked for once and only where a path needs it.
#[derive(Debug)]
pub(crate) struct Standpoint(io::Result<PathBuf>);

impl Standpoint {
    /// The working directory.
    pub(crate) fn here() -> Self {
        Self(std::env::current_dir())
    }

    /// Reads `PATH[:JAR]`. The place in the jar starts at the last `:/`, so
    /// that colons elsewhere in a name are part of it.
    ///
    /// # Errors
    /// Where it is no path of UTF-8 text, or cannot be made absolute.
    pub(super) fn place(&self, flag: &'static str, said: &OsStr) -> Result<Place, Usage> {
        let text = utf8(flag, said)?;
        let group = match Group::read(text) {
            Ok(group) => group.map(|group| GroupError::Write(group.word())),
            Err(unknown) => Some(unknown),
        };
        if let Some(cause) = group {
            return Err(Usage::Group { flag, cause });
        }
        let (path, at) = match text.rfind(":/") {
            Some(colon) if colon > 0 => (&text[..colon], Some(&text[colon + 1..])),
            _ => (text, None),
        };
        Ok(Place {
            path: self.path(flag, path)?,
            at: at.map(|at| absolute(flag, at)).transpose()?,
        })
    }

    /// Reads `PATH[:JAR]`, or the name of a group; `./group:x` is a path.
    ///
    /// # Errors
    /// As [`Standpoint::place`], and where there is no group of that name.
    pub(super) fn granted(&self, flag: &'static str, said: &OsStr) -> Result<Granted, Usage> {
        let group = Group::read(utf8(flag, said)?).map_err(|cause| Usage::Group { flag, cause })?;
        Ok(match group {
            Some(group) => Granted::Group(group),
            None => Granted::Path(self.place(flag, said)?),
        })
    }

    /// Reads a path. One that climbs by `..` means what it means to the kernel
    /// here and now: links before it are followed.
    ///
    /// # Errors
    /// Where it is empty, or cannot be made absolute.
    pub(crate) fn path(&self, flag: &'static str, text: &str) -> Result<UnixPath, Usage> {
        if text.is_empty() {
            return Err(Usage::EmptyPath { flag });
        }
        let mut path = PathBuf::from(text);
        if path.is_relative() {
            let here = self.0.as_ref().map_err(|error| Usage::NoStandpoint {
                flag,
                path: text.to_owned(),
                cause: io::Error::from(error.kind()),
            })?;
            path = here.join(path);
        }
        let path = climbed(&path).map_err(|cause| Usage::Unreachable {
            flag,
            path: text.to_owned(),
            cause,
        })?;
        absolute(flag, utf8(flag, path.as_os_str())?)
    }
}

/// Follows a path up to its last `..`, which leaves the rest as it was said.
fn climbed(path: &Path) -> io::Result<PathBuf> {
    let parts: Vec<_> = path.components().collect();
    let Some(last) = parts.iter().rposition(|part| *part == Component::ParentDir) else {
        return Ok(path.to_owned());
    };
    let start: PathBuf = parts[..=last].iter().collect();
    let rest: PathBuf = parts[last + 1..].iter().collect();
    Ok(start.canonicalize()?.join(rest))
}

fn absolute(flag: &'static str, text: &str) -> Result<UnixPath, Usage> {
    UnixPath::new(text).map_err(|cause| Usage::Path { flag, cause })
}

/// The text of a word, where it has one.
///
/// # Errors
/// Where its bytes are not UTF-8.
pub(super) fn utf8<'a>(flag: &'static str, said: &'a OsStr) -> Result<&'a str, Usage> {
    said.to_str().ok_or_else(|| Usage::NotUtf8 {
        flag,
        said: said.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(at: &str) -> Standpoint {
        Standpoint(Ok(at.into()))
    }

    fn place(said: &str) -> Result<(String, Option<String>), String> {
        standing("/work")
            .place("--read", OsStr::new(said))
            .map(|place| {
                (
                    place.path.as_str().to_owned(),
                    place.at.map(|at| at.as_str().to_owned()),
                )
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn paths_are_taken_from_where_the_caller_stands() {
        let cases = [
            ("/data", "/data", None),
            ("data", "/work/data", None),
            (".", "/work", None),
            ("./a/./b/", "/work/a/b", None),
            ("/", "/", None),
            ("/data:/in", "/data", Some("/in")),
            ("data:/in/", "/work/data", Some("/in")),
            ("/a:b", "/a:b", None),
            ("/a:b:/c", "/a:b", Some("/c")),
            ("/tmp/../etc", "/etc", None),
        ];
        for (said, path, at) in cases {
            assert_eq!(
                place(said),
                Ok((path.to_owned(), at.map(str::to_owned))),
                "{said}"
            );
        }
    }

    #[test]
    fn what_is_no_path_names_the_flag() {
        for (said, expected) in [
            ("", "--read: the path is empty"),
            ("/a:/b/../c", "--read: path `/b/../c` contains `..`"),
            (
                "/no-such-place/../x",
                "--read: cannot follow `/no-such-place/../x`",
            ),
        ] {
            let error = place(said).unwrap_err();
            assert!(error.starts_with(expected), "{said}: {error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf8_is_one_clear_error() {
        use std::os::unix::ffi::OsStrExt as _;
        let error = standing("/")
            .place("--write", OsStr::from_bytes(b"/a\xff"))
            .unwrap_err();
        assert_eq!(error.to_string(), "--write: `/a\\xff` is not UTF-8 text");
    }

    #[test]
    fn a_caller_whose_directory_is_gone_can_still_say_absolute_paths() {
        let nowhere = Standpoint(Err(io::ErrorKind::NotFound.into()));
        assert!(nowhere.place("--read", OsStr::new("/usr")).is_ok());
        assert!(matches!(
            nowhere.place("--read", OsStr::new("usr")),
            Err(Usage::NoStandpoint { .. })
        ));
    }
}
