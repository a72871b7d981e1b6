//! Makes on the machine what is to be granted and is not there yet.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path},
};

use belljar::learn::{Change, Make, Proposal};
use rustix::{
    fs::{CWD, Mode, OFlags, mkdirat, openat},
    io::Errno,
};

/// Something that is to be granted cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make {0}, which is to be granted")]
pub(super) struct MakeError(String, #[source] io::Error);

/// Makes what is to be granted and is not there: empty, and for nobody else.
pub(super) fn make(taken: &[&Proposal]) -> Result<Vec<String>, MakeError> {
    let mut made = Vec::new();
    for proposal in taken {
        let (Some(make), Change::Path { path, .. }) = (proposal.make, &proposal.change) else {
            continue;
        };
        match make_at(Path::new(path.as_str()), make) {
            Ok(()) => made.push(path.to_string()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(MakeError(path.to_string(), errno.into())),
        }
    }
    Ok(made)
}

/// Makes one thing, with the directories above it. No link is followed, which a guest
/// that writes there may have put in the way meanwhile.
fn make_at(path: &Path, make: Make) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(0o700);
    let (above, name) = match (path.parent(), path.file_name()) {
        (Some(above), Some(name)) => (above, name),
        _ => return Err(Errno::EXIST),
    };
    let mut directory = open_directory(CWD, Path::new("/"))?;
    for part in above.components() {
        let Component::Normal(part) = part else {
            continue;
        };
        let part = Path::new(part);
        directory = match open_directory(&directory, part) {
            Err(Errno::NOENT) => {
                mkdirat(&directory, part, mode)?;
                open_directory(&directory, part)?
            }
            other => other?,
        };
    }
    match make {
        Make::Directory => mkdirat(&directory, name, mode),
        Make::File => {
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(&directory, name, flags, Mode::from_raw_mode(0o600)).map(drop)
        }
    }
}

fn open_directory(above: impl AsFd, name: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(above, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn what_is_made_is_for_nobody_else_and_no_link_is_followed_on_the_way() {
        let room = tempfile::tempdir().unwrap();
        let root = room.path().canonicalize().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        make_at(&root.join("a/b"), Make::Directory).unwrap();
        make_at(&root.join("a/c/file"), Make::File).unwrap();
        for (name, expected) in [
            ("a", 0o700),
            ("a/b", 0o700),
            ("a/c", 0o700),
            ("a/c/file", 0o600),
        ] {
            assert_eq!(mode(&root.join(name)), expected, "{name}");
        }
        assert_eq!(
            make_at(&root.join("a/b"), Make::Directory),
            Err(Errno::EXIST)
        );

        symlink(root.join("a/b"), root.join("link")).unwrap();
        assert!(make_at(&root.join("link/new"), Make::Directory).is_err());
        symlink(root.join("a/b/target"), root.join("dangling")).unwrap();
        assert_eq!(
            make_at(&root.join("dangling"), Make::File),
            Err(Errno::EXIST)
        );
        assert!(root.join("a/b").read_dir().unwrap().next().is_none());
    }
}
