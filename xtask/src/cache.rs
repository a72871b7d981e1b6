//! Where build output and tools stay between clones.

use std::path::{Path, PathBuf};

/// The clone that this xtask was built from.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a directory of the workspace")
        .to_owned()
}

/// Whether this process has root's user id; credentials(7).
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `$XDG_CACHE_HOME/belljar`, else `~/.cache/belljar`.
pub(crate) fn home() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("belljar")
}

/// The cache for this user. Root's is under `/var/cache`: an unprivileged user
/// runs the test programs from it, and cannot enter `/root`.
pub(crate) fn dir() -> PathBuf {
    if is_root() {
        PathBuf::from("/var/cache/belljar")
    } else {
        home()
    }
}

/// Where cargo builds: `$CARGO_TARGET_DIR`, else `target` in the cache.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(path) if !path.is_empty() => {
            std::path::absolute(&path).unwrap_or_else(|_| path.into())
        }
        _ => dir().join("target"),
    }
}
