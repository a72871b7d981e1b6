//! `belljar completions`: what a shell reads to complete belljar's words, made
//! from the command line's own definition.

mod besides;

use std::io::{self, Write as _};

use belljar_policy::{
    data::{Rule, Strength},
    group::Group,
    policy::Right,
};
use clap::{Arg, Args, Command, CommandFactory as _, ValueHint, builder::PossibleValuesParser};
use clap_complete::aot::{Shell, generate};

use crate::{args::Cli, words};

const NOTES: &str = "\
Examples:
  dir=~/.local/share/bash-completion/completions
  mkdir -p $dir && belljar completions bash > $dir/belljar
  belljar completions zsh > ~/.zfunc/_belljar    # in a directory of $fpath
  belljar completions fish > ~/.config/fish/completions/belljar.fish

Exit status:
  0    it was printed
  125  bad usage, or stdout takes no more";

/// `belljar completions`
#[derive(Args, Clone, Copy, Debug)]
#[command(after_help = NOTES)]
pub(crate) struct Options {
    /// Which shell
    shell: Shell,
}

/// Prints the script for a shell, and gives the status to end with.
pub(crate) fn run(options: Options) -> u8 {
    match io::stdout().write_all(&script(options.shell)) {
        // A reader that went away has what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            words::complain(&CompletionsError(error), None);
            words::BAD_USAGE
        }
        _ => 0,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write the completions to stdout")]
struct CompletionsError(#[source] io::Error);

fn script(shell: Shell) -> Vec<u8> {
    let mut command = with_values(Cli::command());
    let names: Vec<&str> = command
        .get_subcommands()
        .map(|subcommand| lasting(subcommand.get_name().to_owned()))
        .collect();
    command = command.mut_subcommand("man", |man| {
        man.mut_arg("names", |arg| one_of(arg, names.into_iter()))
    });
    let mut text = Vec::new();
    generate(shell, &mut command, "belljar", &mut text);
    besides::told(shell, &String::from_utf8_lossy(&text)).into_bytes()
}

/// The command line, with the values of its options where there is a list of
/// them. `belljar run` reads those itself, for complaints of its own, so its
/// definition does not have them.
fn with_values(command: Command) -> Command {
    command.mut_args(with_value).mut_subcommands(with_values)
}

fn with_value(arg: Arg) -> Arg {
    let arg = named(arg);
    match arg.get_id().as_str() {
        "best_effort" | "end_on" => one_of(arg, Rule::ALL.iter().map(|rule| rule.word())),
        "require" => one_of(arg, demands()),
        "allow" => one_of(arg, Right::ALL.iter().map(|right| right.word())),
        // Of `belljar policy groups`.
        "name" => one_of(arg, Group::ALL.iter().map(|group| group.word())),
        "for_host" | "policy" | "report" | "events" | "read" | "write" | "update" | "out" => {
            arg.value_hint(ValueHint::AnyPath)
        }
        "workdir" => arg.value_hint(ValueHint::DirPath),
        "words" => arg.value_hint(ValueHint::CommandWithArguments),
        _ => arg,
    }
}

/// For zsh the name of a value ends at a colon.
fn named(arg: Arg) -> Arg {
    let name = arg.get_value_names().and_then(|names| names.first());
    match name.and_then(|name| name.split_once(['[', '|', ':'])) {
        Some((name, _)) => {
            let name = lasting(name.to_owned());
            arg.value_name(name)
        }
        None => arg,
    }
}

fn one_of(arg: Arg, values: impl Iterator<Item = &'static str>) -> Arg {
    arg.value_parser(PossibleValuesParser::new(values))
}

/// What can be demanded of a rule; that nothing holds it need not be.
fn demands() -> impl Iterator<Item = &'static str> {
    Rule::ALL.iter().flat_map(|rule| {
        [Strength::Supervisor, Strength::Kernel]
            .map(|strength| lasting(format!("{rule}={strength}")))
    })
}

/// A definition's words live as long as the process, which ends behind it.
fn lasting(word: String) -> &'static str {
    word.leak()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_is_told_every_subcommand_and_option_of_run() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for shell in Shell::value_variants() {
            let text = String::from_utf8(script(*shell)).unwrap();
            for name in command.get_subcommands().map(Command::get_name) {
                assert!(text.contains(name), "{shell}: {name}");
            }
            for name in run.get_arguments().filter_map(Arg::get_long) {
                assert!(text.contains(name), "{shell}: --{name}");
            }
            // These two complete no values.
            if matches!(shell, Shell::Elvish | Shell::PowerShell) {
                continue;
            }
            for value in [
                "locked-down",
                "writable_code",
                "subprocesses",
                "group:git",
                "read write exec connect call",
            ] {
                assert!(text.contains(value), "{shell}: {value}");
            }
        }
    }
}
