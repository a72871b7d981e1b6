//! `cargo xtask`: builds, checks and tests the project, and installs what that
//! needs. Nothing here is part of Belljar itself.

mod apt;
mod attacks;
mod cache;
mod deny;
mod kernels;
mod needs;
mod packages;
mod schema;
mod stage;
mod test;
mod user;
mod vm;

use std::{ffi::OsString, process::ExitCode};

const HELP: &str = "\
cargo xtask COMMAND

  test      everything that must hold before a change is taken: format, lints,
            documentation, licences and advisories, all tests as this user and,
            where this user is root, again as an unprivileged one
  long      the tests that take too long for every change: those ignored whose
            names begin with `long_`
  bench     measurements with their peers; arguments are passed on
  attacks   runs every attack as each user and shows what stopped it; with
            `--write` writes docs/attacks.md
  vm        runs the tests whose outcome is a kernel's in virtual machines of the
            kernels 6.1 and 6.12, or with `--all` of every one, or of those
            named by `--kernel`: 5.10, 6.1, 6.12, sid
  schema    writes docs/schemas anew from the types
  packages  installs the Debian packages that tests and benches need, as root;
            otherwise prints the command that does; and gets the kernels of the
            tests' virtual machine
  help      this text

Build output goes to $CARGO_TARGET_DIR, else to a cache outside the clone.
docs/testing.md tells more.
";

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let command = args.next().unwrap_or_else(|| "help".into());
    let rest: Vec<OsString> = args.collect();
    let done = match command.to_str() {
        Some("test") => test::test(&rest),
        Some("long") => test::long(&rest),
        Some("bench") => test::bench(&rest),
        Some("attacks") => attacks::run(&rest),
        Some("vm") => vm::run(&rest),
        Some("schema") => schema::run(&rest),
        Some("packages") => packages::install(packages::ALL)
            .and_then(|()| kernels::prepare(&kernels::USUAL))
            .map(|prepared| {
                for note in prepared.notes {
                    eprintln!("xtask: {note}");
                }
                ExitCode::SUCCESS
            }),
        // The runner that cargo starts test programs through; not for people.
        Some(user::RUNNER) => Err(user::become_user_and_run(&rest)),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(format!(
            "no such command: {}\n\n{HELP}",
            command.to_string_lossy()
        )),
    };
    done.unwrap_or_else(|message| {
        eprintln!("xtask: {message}");
        ExitCode::FAILURE
    })
}
