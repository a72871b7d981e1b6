//! The program `belljar`: reads a command line, asks the library, and says what
//! came of it. It decides nothing itself.
//!
//! Standard streams that are closed when it starts are opened on `/dev/null` by
//! Rust's runtime before `main`, so that no descriptor takes their number.

mod args;
mod ask;
mod completions;
mod confine;
mod doctor;
mod explain;
#[cfg(feature = "faults")]
mod faults;
mod job;
mod learn;
mod man;
mod page;
mod policy;
mod prove;
mod run;
mod schema;
mod terminal;
mod trace;
mod why;
mod words;

use std::process::ExitCode;

use args::Command;

fn main() -> ExitCode {
    // What cannot be written is said, and a jar is not lost for it.
    belljar::ignore_file_size_signal();
    let command_line: Vec<_> = std::env::args_os().collect();
    #[cfg(feature = "faults")]
    if command_line.get(1).is_some_and(|word| word == "--points") {
        return faults::list();
    }
    let status = match args::parse(&command_line) {
        Ok(cli) => match cli.command {
            Command::Run(options) => run::run(&options, &command_line),
            Command::Confine(options) => confine::run(&options),
            Command::Doctor(options) => doctor::run(&options),
            Command::Explain(options) => explain::run(&options, &command_line),
            Command::Learn(options) => learn::run(&options, &command_line),
            Command::Why(options) => why::run(&options, &command_line),
            Command::Policy(options) => policy::run(&options),
            Command::Prove(options) => prove::run(&options, &command_line),
            Command::Schema(options) => schema::run(&options),
            Command::Man(options) => man::run(&options),
            Command::Completions(options) => completions::run(options),
        },
        Err(status) => status,
    };
    status.into()
}
