//! Archives that the kernel unpacks as its first file system: cpio in the form
//! `newc`, by the kernel's early-userspace/buffer-format.rst. One archive may
//! follow another.

use std::{collections::BTreeSet, path::Path};

/// An archive in the making.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    entries: u32,
}

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

impl Archive {
    /// Adds a directory, and those above it as they usually are.
    pub(super) fn directory(&mut self, at: &str, mode: u32) {
        if self.directories.insert(at.to_owned()) {
            self.parents(at);
            self.entry(at, DIRECTORY | mode, b"");
        }
    }

    /// Adds a file of root's.
    pub(super) fn file(&mut self, at: &str, mode: u32, content: &[u8]) {
        self.parents(at);
        self.entry(at, FILE | mode, content);
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, at: &str, target: &str) {
        self.parents(at);
        self.entry(at, LINK | 0o777, target.as_bytes());
    }

    /// Closes it.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("/TRAILER!!!", 0, b"");
        self.bytes
    }

    fn parents(&mut self, at: &str) {
        let above = Path::new(at).parent().and_then(Path::to_str);
        if let Some(above) = above.filter(|above| above.len() > 1) {
            self.directory(above, 0o755);
        }
    }

    fn entry(&mut self, at: &str, mode: u32, content: &[u8]) {
        let name = at
            .strip_prefix('/')
            .expect("paths of the machine are whole");
        let size = |count: usize| u32::try_from(count).expect("less than 4 GiB");
        self.entries += 1;
        let links = if mode & DIRECTORY == 0 { 1 } else { 2 };
        let fields = [
            self.entries,
            mode,
            0, // uid
            0, // gid
            links,
            0, // time of its last change
            size(content.len()),
            0, // device it is on, and device that it is: two numbers each
            0,
            0,
            0,
            size(name.len() + 1),
            0, // checksum, which this form leaves out
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_after_the_directories_above_it() {
        let mut archive = Archive::default();
        archive.file("/a/b/c", 0o644, b"12345");
        archive.file("/a/b/d", 0o755, b"");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let places: Vec<_> = [
            "\0a\0",
            "a/b\0",
            "a/b/c\0",
            "12345",
            "a/b/d\0",
            "TRAILER!!!\0",
        ]
        .iter()
        .map(|name| text.find(name.trim_start_matches('\0')).expect(name))
        .collect();
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(text.matches("070701").count(), 5);
    }
}
