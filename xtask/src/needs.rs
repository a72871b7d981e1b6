//! `BELLJAR_TEST_HAS`: what a machine is said to have. A test that needs one of
//! these and does not find it fails where the variable names it, and is skipped
//! where it does not. The tests' side is `belljar_tests::need`.

/// The variable.
pub(crate) const HAS: &str = "BELLJAR_TEST_HAS";

/// A file to which each skipped test adds one line: `test: need`.
pub(crate) const SKIPS: &str = "BELLJAR_TEST_SKIPS";

/// Set where the tests with virtual machines have been run already.
pub(crate) const MACHINES_DONE: &str = "BELLJAR_TEST_MACHINES_DONE";

/// Its words, as docs/testing.md tells them.
const WORDS: &[&str] = &[
    "root",
    "user",
    "userns",
    "idmap",
    "landlock",
    "rust",
    "vm",
    "linux-5.10",
    "linux-6.1",
    "linux-6.12",
    "linux-sid",
    "systemd",
    "cc",
    "python3",
    "perl",
    "bwrap",
    "bash",
    "busybox",
    "curl",
    "git",
    "go",
    "groff",
    "java",
    "javac",
    "make",
    "node",
    "openssl",
    "ps",
    "rsync",
    "sqlite3",
    "ssh-keygen",
    "xz",
];

/// Who runs the tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Root,
    User,
}

/// The words of the variable, checked.
pub(crate) fn said() -> Result<Vec<String>, String> {
    let words: Vec<String> = std::env::var(HAS)
        .unwrap_or_default()
        .split([',', ' '])
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    match words.iter().find(|word| !WORDS.contains(&word.as_str())) {
        Some(word) => Err(format!(
            "{HAS} has a word that nothing means: `{word}`; the words are {}",
            WORDS.join(", ")
        )),
        None => Ok(words),
    }
}

/// The variable for one run: of `root` and `user` only what `who` is, and
/// nothing that only root can have where `who` is not.
pub(crate) fn value_for(words: &[String], who: Who) -> String {
    let cannot: &[&str] = match who {
        Who::Root => &["user"],
        // Root's toolchain lies in root's home.
        Who::User => &["root", "idmap", "rust"],
    };
    words
        .iter()
        .map(String::as_str)
        .filter(|word| !cannot.contains(word))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_never_said_to_have_what_only_root_has() {
        let words = ["root", "user", "userns", "idmap", "rust"].map(str::to_owned);
        assert_eq!(value_for(&words, Who::User), "user,userns");
        assert_eq!(value_for(&words, Who::Root), "root,userns,idmap,rust");
    }
}
