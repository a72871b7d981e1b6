//! A page in Markdown, as far as the tests need to understand one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use belljar_tests::source_tree;

/// A heading with what stands below it, up to the next heading of any level.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) level: usize,
    pub(crate) title: String,
    pub(crate) text: String,
}

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// What stands behind the fence, such as `toml`.
    pub(crate) language: String,
    /// A comment in the line before, such as `<!-- run -->`.
    pub(crate) mark: Option<String>,
    pub(crate) text: String,
    /// Of its fence.
    pub(crate) line: usize,
}

/// The text of a page, by its path in the tree.
pub(crate) fn read(page: &str) -> String {
    fs::read_to_string(source_tree().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// The pages for people: those beside the README and all below `docs`.
pub(crate) fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    find(source_tree(), false, &mut pages);
    find(&source_tree().join("docs"), true, &mut pages);
    pages.sort();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

fn find(directory: &Path, deep: bool, pages: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if deep {
                find(&path, deep, pages);
            }
        } else if path.extension().is_some_and(|ending| ending == "md") {
            pages.push(path);
        }
    }
}

/// The lines of a page, and whether each is part of a fenced block.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut fenced = false;
    text.lines().map(move |line| {
        let fence = line.trim_start().starts_with("```");
        let inside = fenced || fence;
        fenced ^= fence;
        (line, inside)
    })
}

pub(crate) fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for (line, fenced) in lines(text) {
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        if !fenced && level > 0 && line[level..].starts_with(' ') {
            sections.push(Section {
                level,
                title: line[level..].trim().to_owned(),
                text: String::new(),
            });
        } else if let Some(section) = sections.last_mut() {
            section.text.push_str(line);
            section.text.push('\n');
        }
    }
    sections
}

pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut before = "";
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let inside: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != "```")
                .collect();
            blocks.push(Block {
                language: language.to_owned(),
                mark: before.starts_with("<!--").then(|| before.to_owned()),
                text: inside.join("\n"),
                line: at + 1,
            });
        }
        before = line;
    }
    blocks
}

/// A text without what a page changes of it: line ends, quotes of code.
pub(crate) fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}
