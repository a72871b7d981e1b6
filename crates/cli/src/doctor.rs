//! `belljar doctor`: what this machine can enforce, what is missing, and what to
//! do about it; the library tries it, and nothing is decided here.

mod findings;
mod told;

use std::io;

use belljar::{HostFacts, Preset};
use clap::Args;

use self::findings::Findings;
use crate::{
    page::{Page, PrintError, print_json},
    words,
};

/// The strict preset cannot be met.
const UNMET: u8 = 1;

/// `belljar doctor`
#[derive(Args, Debug)]
#[command(after_help = "\
Each layer is tried as a launch would make it, up to a program that is not \
there; nothing is run and nothing is left behind.

Examples:
  belljar doctor
  belljar doctor --json > facts.json
  belljar explain --for-host facts.json plugins/resize

Exit status: 0 where the preset strict can be met, 1 where not, 125 where the \
answer cannot be given.")]
pub(crate) struct Options {
    /// Print the facts as JSON instead, of which plans can be made anywhere
    ///
    /// They name places of this machine (which of the known secret ones exist, too) and
    /// tell nothing of what is in them. `belljar schema facts` has their form.
    #[arg(long)]
    json: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum DoctorError {
    #[error("cannot begin")]
    Begin(#[source] io::Error),
    #[error(transparent)]
    Print(#[from] PrintError),
}

/// Tries the machine, tells of it, and gives the status to end with.
pub(crate) fn run(options: &Options) -> u8 {
    match tell(options) {
        Ok(status) => status,
        Err(error) => {
            words::complain(&error, None);
            words::BAD_USAGE
        }
    }
}

fn tell(options: &Options) -> Result<u8, DoctorError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(DoctorError::Begin)?;
    let facts = runtime.block_on(belljar::facts::tried());
    if options.json {
        print_json(&facts)?;
    } else {
        let mut page = Page::for_stdout();
        told::tell(&mut page, &facts, &Findings::of(&facts));
        page.print()?;
    }
    Ok(status(&facts))
}

fn status(facts: &HostFacts) -> u8 {
    match belljar::policy::trial::of_preset(Preset::Strict, facts) {
        Ok(_) => 0,
        Err(_) => UNMET,
    }
}
