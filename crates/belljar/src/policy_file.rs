//! A policy's file and those that it extends, from the disk.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use belljar_policy::{
    Policy,
    policy::{MOST_BYTES, PolicyError, ReadError, Source},
};

/// Why a policy cannot be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// The file cannot be read.
    #[error("cannot read policy `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is longer than any policy that a person could oversee.
    #[error("policy `{}` is larger than 1 MiB", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// It, or a file that it extends, is no policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// Reads a policy, or one table of a file that holds more, with all that it extends.
///
/// # Errors
/// Where a file cannot be read, or says what no policy can.
///
/// ```no_run
/// let policy = belljar::policy_file("/etc/app/plugins.toml", None)?;
/// # Ok::<(), belljar::PolicyFileError>(())
/// ```
pub fn policy_file(file: impl AsRef<Path>, table: Option<&str>) -> Result<Policy, PolicyFileError> {
    let file = file.as_ref();
    let failed = |source| PolicyFileError::Read {
        file: file.to_owned(),
        source,
    };
    let name = file.to_str().ok_or_else(|| {
        failed(io::Error::new(
            io::ErrorKind::InvalidInput,
            "its name is not UTF-8 text",
        ))
    })?;
    // Whoever starts it may give this one as a pipe; those that it names are files.
    let text = bounded(file)
        .map_err(failed)?
        .ok_or_else(|| PolicyFileError::TooLarge {
            file: file.to_owned(),
        })?;
    let text = String::from_utf8(text).map_err(|_| {
        failed(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is not UTF-8 text",
        ))
    })?;
    let top = Source {
        text,
        identity: identity(file).unwrap_or_else(|_| name.to_owned()),
    };
    Ok(Policy::load(top, name, table, &mut extended)?)
}

/// A file that another extends.
fn extended(name: &str) -> Result<Source, ReadError> {
    let system = |error: io::Error| ReadError::System(error.to_string());
    let path = Path::new(name);
    // Opening a pipe would wait for its writer.
    if !path.metadata().map_err(system)?.is_file() {
        return Err(ReadError::NotFile);
    }
    let text = bounded(path).map_err(system)?.ok_or(ReadError::TooLarge)?;
    Ok(Source {
        text: String::from_utf8(text).map_err(|_| ReadError::NotText)?,
        identity: identity(path).map_err(system)?,
    })
}

fn identity(path: &Path) -> io::Result<String> {
    Ok(path.canonicalize()?.to_string_lossy().into_owned())
}

/// All of a file; none where that is too much.
fn bounded(file: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    File::open(file)?
        .take(MOST_BYTES as u64 + 1)
        .read_to_end(&mut text)?;
    Ok((text.len() <= MOST_BYTES).then_some(text))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn causes(error: &dyn std::error::Error) -> String {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }

    #[test]
    fn files_are_taken_from_beside_the_one_that_extends_them() {
        let room = tempfile::tempdir().unwrap();
        fs::create_dir(room.path().join("sub")).unwrap();
        let write = |name: &str, text: &str| fs::write(room.path().join(name), text).unwrap();
        write("a.toml", "extends = ['sub/b.toml', 'c.json']\n");
        write(
            "sub/b.toml",
            "extends = ['d.toml#x']\nfilesystem.read = ['/b']\n",
        );
        write("sub/d.toml", "[x]\nfilesystem.read = ['/d']\n");
        write("c.json", r#"{"filesystem": {"read": ["/c"]}}"#);
        let policy = policy_file(room.path().join("a.toml"), None).unwrap();
        let read = policy.ceilings.unwrap().read;
        let paths: Vec<&str> = read.iter().map(|said| said.value.as_str()).collect();
        assert_eq!(paths, ["/d", "/b", "/c"]);
        assert!(
            read[0].origin.contains("sub/d.toml line 2, extended at "),
            "{}",
            read[0].origin
        );
    }

    #[test]
    fn a_circle_through_a_link_is_seen() {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        fs::write(at("a.toml"), "extends = ['b.toml']").unwrap();
        symlink("a.toml", at("b.toml")).unwrap();
        let text = causes(&policy_file(at("a.toml"), None).unwrap_err());
        assert!(
            text.contains("it would extend itself: ") && text.contains("b.toml"),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_file_or_too_much_is_not_extended() {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        fs::write(at("large"), vec![b'#'; MOST_BYTES + 1]).unwrap();
        fs::write(at("bytes"), [0xff, 0xfe]).unwrap();
        let fifo = rustix::fs::CWD;
        rustix::fs::mknodat(
            fifo,
            at("pipe"),
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        for (name, wanted) in [
            ("none", "No such file"),
            ("large", "larger than 1 MiB"),
            ("bytes", "not UTF-8"),
            ("/dev/zero", "no regular file"),
            ("pipe", "no regular file"),
            (".", "no regular file"),
        ] {
            fs::write(at("a.toml"), format!("\nextends = ['{name}']")).unwrap();
            let text = causes(&policy_file(at("a.toml"), None).unwrap_err());
            assert!(
                text.contains("a.toml line 2: cannot extend `") && text.contains(wanted),
                "{text}"
            );
        }
    }
}
