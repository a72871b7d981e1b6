//! One manual page, in the form that man(1) reads: man(7).

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use crate::trace;

/// A name and what is said of it, for commands that something is true of.
struct Entry {
    name: &'static str,
    text: &'static str,
    concerns: fn(&Command) -> bool,
}

const ENVIRONMENT: &[Entry] = &[
    Entry {
        name: trace::VARIABLE,
        text: "Which of belljar's doings are told on stderr, in place of what -v selects: directives \
               such as `belljar=debug`, with commas between.",
        concerns: is_traced,
    },
    Entry {
        name: "PATH",
        text: "Where a program is searched under `minimal` and `standard`: the entries that can be \
               seen in the jar, then the system's. For the interpreter of a plugin it comes behind \
               the system's directories.",
        concerns: names_a_jar,
    },
    Entry {
        name: "LANG, TERM",
        text: "Passed into the jar under `minimal` and `standard`.",
        concerns: names_a_jar,
    },
    Entry {
        name: "XDG_STATE_HOME, HOME",
        text: "Where plans and reports of runs are kept: in `belljar` below the first, else below \
               `.local/state` of the second.",
        concerns: uses_records,
    },
    Entry {
        name: "NO_COLOR",
        text: "Set to anything, what is written to a terminal is without colour.",
        concerns: any,
    },
];

const FILES: &[Entry] = &[
    Entry {
        name: "DIR/belljar.toml, DIR/belljar.json",
        text: "The manifest of the plugin in DIR: what it is and what it asks for. `belljar schema \
               manifest` prints its form.",
        concerns: names_a_jar,
    },
    Entry {
        name: "FILE of --policy",
        text: "What the operator grants at most. No policy is read from a usual place: one is in \
               force where it is named. `belljar schema policy` prints its form.",
        concerns: names_a_jar,
    },
    Entry {
        name: "~/.local/state/belljar",
        text: "Plans and reports of the last runs, bounded in number and size. They may be removed \
               at any time.",
        concerns: uses_records,
    },
];

/// It keeps runs, or tells of those that were kept.
fn uses_records(command: &Command) -> bool {
    has(command, "no_record") || has(command, "last")
}

fn any(_: &Command) -> bool {
    true
}

fn names_a_jar(command: &Command) -> bool {
    has(command, "words") && has(command, "preset")
}

fn is_traced(command: &Command) -> bool {
    has(command, "verbose")
}

fn has(command: &Command, id: &str) -> bool {
    command
        .get_arguments()
        .any(|arg| arg.get_id().as_str() == id)
}

/// A command's name as its page's: `belljar-run`.
pub(super) fn name(command: &Command) -> &str {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
}

/// The page of `command`, which is `root` or below it; both are built.
pub(super) fn page(command: &Command, root: &Command) -> Vec<u8> {
    let program = format!(
        "{} {}",
        root.get_name(),
        root.get_version().unwrap_or_default()
    );
    let mut shown = command.clone();
    if shown.has_subcommands() {
        shown = shown.mut_subcommand("help", |help| help.hide(true));
    }
    let man = Man::new(shown)
        .title(name(command))
        // Empty and said so: the same definitions give the same page on any day.
        .date("\"\"")
        .source(program)
        .manual("Belljar");
    let notes = command
        .get_after_long_help()
        .or_else(|| command.get_after_help())
        .map(ToString::to_string)
        .unwrap_or_default();
    let notes = Notes::read(&notes);

    let mut text = Vec::new();
    let out = &mut text;
    // What is written to memory is not refused.
    let _ = man
        .render_title(out)
        .and_then(|()| man.render_name_section(out))
        .and_then(|()| man.render_synopsis_section(out))
        .and_then(|()| man.render_description_section(out))
        .and_then(|()| paragraphs(&notes.paragraphs).to_writer(out))
        .and_then(|()| man.render_options_section(out))
        .and_then(|()| match command.has_subcommands() {
            true => man.render_subcommands_section(out),
            false => Ok(()),
        })
        .and_then(|()| sections(&notes.sections).to_writer(out))
        .and_then(|()| entries("ENVIRONMENT", ENVIRONMENT, command).to_writer(out))
        .and_then(|()| entries("FILES", FILES, command).to_writer(out))
        .and_then(|()| see_also(command, root).to_writer(out));
    ascii(&String::from_utf8_lossy(&text)).into_bytes()
}

/// Other letters by their numbers, since which encoding a page is read in is
/// for the reader to say: groff_char(7).
fn ascii(text: &str) -> String {
    let mut page = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii() {
            page.push(letter);
        } else {
            page.push_str(&format!("\\[u{:04X}]", u32::from(letter)));
        }
    }
    page
}

/// What stands behind the options in a command's help.
#[derive(Debug, Default, PartialEq, Eq)]
struct Notes {
    /// Paragraphs of sentences.
    paragraphs: Vec<String>,
    sections: Vec<(String, Text)>,
}

/// What stands under a heading.
#[derive(Debug, PartialEq, Eq)]
enum Text {
    /// Lines below it, which were indented.
    Lines(Vec<String>),
    /// Sentences behind it.
    Sentences(String),
}

impl Notes {
    fn read(text: &str) -> Self {
        let mut notes = Self::default();
        for paragraph in text.split("\n\n").map(str::trim_end) {
            let mut lines = paragraph.lines();
            let first = lines.next().unwrap_or_default();
            let rest: Vec<&str> = lines.collect();
            let heading = first
                .strip_suffix(':')
                .filter(|_| !rest.is_empty() && rest.iter().all(|line| line.starts_with("  ")));
            let sentences = paragraph.strip_prefix("Exit status: ");
            match (heading, sentences) {
                (Some(heading), _) => notes.sections.push((
                    heading.to_uppercase(),
                    Text::Lines(rest.iter().map(|line| line[2..].to_owned()).collect()),
                )),
                (None, Some(sentences)) => notes.sections.push((
                    "EXIT STATUS".to_owned(),
                    Text::Sentences(sentences.replace('\n', " ")),
                )),
                (None, None) if paragraph.is_empty() => {}
                (None, None) => notes.paragraphs.push(paragraph.replace('\n', " ")),
            }
        }
        notes
    }
}

fn paragraphs(paragraphs: &[String]) -> Roff {
    let mut roff = Roff::new();
    for paragraph in paragraphs {
        roff.control("PP", []);
        roff.text([roman(paragraph)]);
    }
    roff
}

/// Lines stay as they are: examples, and statuses with what they mean.
fn sections(sections: &[(String, Text)]) -> Roff {
    let mut roff = Roff::new();
    for (heading, text) in sections {
        roff.control("SH", [heading.as_str()]);
        match text {
            Text::Lines(lines) => {
                roff.control("nf", []);
                for line in lines {
                    roff.text([roman(line)]);
                }
                roff.control("fi", []);
            }
            Text::Sentences(sentences) => {
                roff.text([roman(sentences)]);
            }
        }
    }
    roff
}

fn entries(heading: &str, entries: &[Entry], command: &Command) -> Roff {
    let mut roff = Roff::new();
    let mut entries = entries
        .iter()
        .filter(|entry| (entry.concerns)(command))
        .peekable();
    if entries.peek().is_some() {
        roff.control("SH", [heading]);
    }
    for entry in entries {
        roff.control("TP", []);
        roff.text([bold(entry.name)]);
        roff.text([roman(entry.text)]);
    }
    roff
}

/// The other pages of belljar's, and the system's about what a jar is made of.
fn see_also(command: &Command, root: &Command) -> Roff {
    let own = name(command);
    let mut pages: Vec<String> = super::with_page(root)
        .into_iter()
        .map(name)
        .filter(|name| *name != own)
        .map(|name| format!("{name}(1)"))
        .collect();
    if names_a_jar(command) || own == root.get_name() {
        pages.extend(
            [
                "seccomp(2)",
                "capabilities(7)",
                "landlock(7)",
                "namespaces(7)",
            ]
            .map(str::to_owned),
        );
    }
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (at, page) in pages.iter().enumerate() {
        let (name, section) = page.split_once('(').unwrap_or((page, ""));
        line.push(bold(name));
        let comma = if at + 1 < pages.len() { ", " } else { "" };
        line.push(roman(format!("({section}{comma}")));
    }
    roff.text(line);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_ascii() {
        assert_eq!(ascii("jar-… \\fBon\\fR"), "jar-\\[u2026] \\fBon\\fR");
    }

    #[test]
    fn notes_are_sentences_and_sections() {
        let notes = Notes::read(
            "One sentence\nover two lines.\n\nExamples:\n  belljar one\n    more of it\n\nNot one:\n\n\
             Files:\n  a file\n\nExit status: 0, and\n1.",
        );
        assert_eq!(
            notes,
            Notes {
                paragraphs: vec!["One sentence over two lines.".into(), "Not one:".into()],
                sections: vec![
                    (
                        "EXAMPLES".into(),
                        Text::Lines(vec!["belljar one".into(), "  more of it".into()])
                    ),
                    ("FILES".into(), Text::Lines(vec!["a file".into()])),
                    ("EXIT STATUS".into(), Text::Sentences("0, and 1.".into())),
                ],
            }
        );
    }
}
