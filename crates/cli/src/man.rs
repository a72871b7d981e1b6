//! `belljar man`: the manual pages, made from the same definitions as `--help`.
//!
//! What stands behind the options in a subcommand's help is taken apart: a line
//! at the margin that ends with a colon, and indented lines below it, are a
//! section of that name, and so is a paragraph that begins with `Exit status:`;
//! the rest is description.

mod page;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, Command, CommandFactory as _};

use crate::{args::Cli, words};

const USAGE: &str = "belljar man [SUBCOMMAND]...
       belljar man --out DIR";

const NOTES: &str = "\
Examples:
  belljar man run | man -l -
  belljar man --out /usr/local/share/man/man1

Exit status:
  0    it was printed or written
  125  bad usage, or a page cannot be written";

/// `belljar man`
#[derive(Args, Debug)]
#[command(override_usage = USAGE, after_help = NOTES)]
pub(crate) struct Options {
    /// Whose page to print, such as `run`; without one, belljar's own
    #[arg(value_name = "SUBCOMMAND", conflicts_with = "out")]
    names: Vec<String>,

    /// Write every page into DIR, as belljar.1, belljar-run.1 and so on
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Why a page is not there.
#[derive(Debug, thiserror::Error)]
enum ManError {
    #[error("there is no subcommand `{name}`")]
    NoSuchPage { name: String },
    #[error("cannot write the page to stdout")]
    Stdout(#[source] io::Error),
    #[error("cannot write `{}`", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// Prints or writes pages, and gives the status to end with.
pub(crate) fn run(options: &Options) -> u8 {
    let done = match &options.out {
        Some(directory) => write(directory),
        None => print(&options.names),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            words::complain(&error, error.remedy());
            words::BAD_USAGE
        }
    }
}

impl ManError {
    fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::NoSuchPage { .. } => Some("`belljar help` lists them"),
            Self::Stdout(_) => None,
            Self::File { .. } => Some("name a directory that you may write to"),
        }
    }
}

/// The whole command line with every name in it.
fn built() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

fn print(names: &[String]) -> Result<(), ManError> {
    let root = built();
    let mut command = &root;
    for name in names {
        command = command
            .find_subcommand(name)
            .ok_or_else(|| ManError::NoSuchPage { name: name.clone() })?;
    }
    match io::stdout().write_all(&page::page(command, &root)) {
        // A reader that went away has what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(ManError::Stdout(error)),
        _ => Ok(()),
    }
}

fn write(directory: &Path) -> Result<(), ManError> {
    let root = built();
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| ManError::File { path, cause }
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    for command in with_page(&root) {
        let path = directory.join(format!("{}.1", page::name(command)));
        fs::write(&path, page::page(command, &root)).map_err(failed(&path))?;
    }
    Ok(())
}

/// Every command that has a page, the whole one first. `help` is clap's.
fn with_page(command: &Command) -> Vec<&Command> {
    let mut all = vec![command];
    let own = command
        .get_subcommands()
        .filter(|command| command.get_name() != "help" && !command.is_hide_set());
    for command in own {
        all.extend(with_page(command));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(command: &Command, root: &Command) -> String {
        String::from_utf8(page::page(command, root)).unwrap()
    }

    #[test]
    fn every_page_tells_its_exit_status_and_gives_examples() {
        let root = built();
        let pages = with_page(&root);
        assert!(pages.len() > 4);
        for command in pages {
            // One that only holds others leaves it to them.
            if command.has_subcommands() && command.get_name() != root.get_name() {
                continue;
            }
            let text = text(command, &root);
            for heading in [
                "NAME",
                "SYNOPSIS",
                "EXAMPLES",
                "\"EXIT STATUS\"",
                "\"SEE ALSO\"",
            ] {
                assert!(
                    text.lines().any(|line| line == format!(".SH {heading}")),
                    "{} has no {heading}: its `after_help` needs an `Examples:` and an `Exit status:`\n{text}",
                    page::name(command)
                );
            }
        }
    }

    #[test]
    fn a_page_has_every_option_that_help_has() {
        let root = built();
        for command in with_page(&root) {
            let text = text(command, &root);
            for long in command.get_arguments().filter_map(clap::Arg::get_long) {
                let word = format!("\\-\\-{}", long.replace('-', "\\-"));
                assert!(text.contains(&word), "{}: --{long}", page::name(command));
            }
        }
    }
}
