//! Which of its two forms a call of `belljar run` has: a bare program or a plugin.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use super::usage::Usage;

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A program of the machine.
    Program {
        /// As it was said.
        name: OsString,
        /// What follows it.
        arguments: Vec<OsString>,
    },
    /// A plugin's directory or manifest.
    Plugin {
        /// As it was said.
        path: PathBuf,
        /// What follows `--`.
        arguments: Vec<OsString>,
    },
}

/// Where the first word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// Before any `--`: it may be a plugin.
    BeforeDashes,
    /// After `--`: it is a program.
    AfterDashes,
}

impl Position {
    /// Finds out from the whole command line. Nothing is read as an option from
    /// the first of `words` on, so they are its last words, and what stands
    /// before them tells.
    pub(crate) fn of(words: &[OsString], command_line: &[OsString]) -> Self {
        let before = command_line
            .len()
            .checked_sub(words.len() + 1)
            .and_then(|at| command_line.get(at));
        if before.is_some_and(|word| word == "--") {
            Self::AfterDashes
        } else {
            Self::BeforeDashes
        }
    }
}

/// Tells a plugin from a program.
///
/// # Errors
/// Where nothing is named, or a plugin's arguments do not come after `--`.
pub(super) fn read(words: Vec<OsString>, position: Position) -> Result<Subject, Usage> {
    let mut words = words.into_iter();
    let first = words.next().ok_or(Usage::NothingToRun)?;
    if first.is_empty() {
        return Err(Usage::NothingToRun);
    }
    let mut arguments: Vec<_> = words.collect();
    if position == Position::AfterDashes || !is_plugin(Path::new(&first)) {
        return Ok(Subject::Program {
            name: first,
            arguments,
        });
    }
    match arguments.first() {
        None => {}
        Some(word) if word == "--" => {
            arguments.remove(0);
        }
        // Taken as the plugin's, a limit said here would bind nobody.
        Some(word) if is_option(word) => {
            return Err(Usage::OptionAfterPlugin {
                option: word.clone(),
                plugin: first,
            });
        }
        Some(word) => {
            return Err(Usage::ArgumentWithoutDashes {
                argument: word.clone(),
                plugin: first,
            });
        }
    }
    Ok(Subject::Plugin {
        path: first.into(),
        arguments,
    })
}

/// A directory, or a file that is named as a manifest. What is named so and is
/// not there counts too: the complaint is about the manifest, then.
fn is_plugin(path: &Path) -> bool {
    let named_so = path
        .extension()
        .is_some_and(|extension| extension == "toml" || extension == "json");
    named_so || path.is_dir()
}

fn is_option(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-") && word != "-"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    fn program(name: &str, arguments: &str) -> Subject {
        Subject::Program {
            name: name.into(),
            arguments: words(arguments),
        }
    }

    fn plugin(path: &str, arguments: &str) -> Subject {
        Subject::Plugin {
            path: path.into(),
            arguments: words(arguments),
        }
    }

    #[test]
    fn before_the_dashes_directories_and_manifests_are_plugins() {
        let cases = [
            ("true", program("true", "")),
            ("ls -l -- /", program("ls", "-l -- /")),
            ("/", plugin("/", "")),
            ("/ -- -l --", plugin("/", "-l --")),
            ("x.toml", plugin("x.toml", "")),
            ("no/such/x.json -- a", plugin("no/such/x.json", "a")),
        ];
        for (said, expected) in cases {
            assert_eq!(
                read(words(said), Position::BeforeDashes).unwrap(),
                expected,
                "{said}"
            );
        }
    }

    #[test]
    fn after_the_dashes_the_first_word_is_a_program_whatever_it_looks_like() {
        for name in ["true", "/", "x.toml", "-x"] {
            assert_eq!(
                read(words(name), Position::AfterDashes).unwrap(),
                program(name, "")
            );
        }
    }

    #[test]
    fn an_option_behind_a_plugin_is_never_taken_for_the_plugin_s() {
        assert!(matches!(
            read(words("/ --memory 1GiB"), Position::BeforeDashes),
            Err(Usage::OptionAfterPlugin { .. })
        ));
        assert!(matches!(
            read(words("/ file"), Position::BeforeDashes),
            Err(Usage::ArgumentWithoutDashes { .. })
        ));
    }

    #[test]
    fn no_word_and_an_empty_word_name_nothing() {
        assert!(matches!(
            read(Vec::new(), Position::BeforeDashes),
            Err(Usage::NothingToRun)
        ));
        assert!(matches!(
            read(vec![OsString::new()], Position::AfterDashes),
            Err(Usage::NothingToRun)
        ));
    }

    #[test]
    fn the_dashes_before_the_first_word_are_found_and_those_behind_it_are_not() {
        let cases = [
            ("belljar run -- ls", "ls", Position::AfterDashes),
            (
                "belljar run -v -- ls -- x",
                "ls -- x",
                Position::AfterDashes,
            ),
            ("belljar run ls -- x", "ls -- x", Position::BeforeDashes),
            ("belljar run ls", "ls", Position::BeforeDashes),
            ("belljar run --task=-- ls", "ls", Position::BeforeDashes),
        ];
        for (line, rest, expected) in cases {
            assert_eq!(Position::of(&words(rest), &words(line)), expected, "{line}");
        }
    }
}
