//! What can be said of a process that confines itself: less than of a run, since it has
//! no root, no environment and no supervisor of its own.

use std::ffi::OsString;

use belljar_policy::{
    Flags, Policy,
    data::Limit,
    units::{Whose, flag, parse_bound},
};
use clap::Args;

use super::{Demands, Standpoint, Usage, policy_file, request};

const POLICY: &str = "Policy";
const GRANTS: &str = "Grants";
const LIMITS: &str = "Limits";

/// What is confined, and to what.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Confining {
    #[arg(long, value_name = "PRESET", value_parser = ["minimal", "standard", "strict", "locked-down"], hide_possible_values = true, help_heading = POLICY, help = "Where policy starts: minimal, or strict, which it is where nobody says it")]
    preset: Option<String>,

    /// Grant at most what FILE (TOML or JSON) says; with #TABLE, what that table in it says
    #[arg(long, value_name = "FILE[#TABLE]", help_heading = POLICY)]
    policy: Option<OsString>,

    /// Demand that RULE holds at least so: none, cooperative, supervisor, kernel
    #[arg(long, value_name = "RULE=STRENGTH", help_heading = POLICY)]
    require: Vec<String>,

    /// Start it even where this machine holds RULE less well, and report it
    #[arg(long, value_name = "RULE", help_heading = POLICY)]
    best_effort: Vec<String>,

    /// Let it start other programs (subprocesses), or make code while it runs (jit); for `strict`
    #[arg(long, value_name = "RIGHT", help_heading = GRANTS)]
    allow: Vec<String>,

    /// Let PATH be read, or what a group such as toolchain:node stands for
    #[arg(long, value_name = "PATH", help_heading = GRANTS)]
    read: Vec<OsString>,

    /// Let PATH be read and written
    #[arg(long, value_name = "PATH", help_heading = GRANTS)]
    write: Vec<OsString>,

    /// Open descriptors of each process
    #[arg(long, value_name = "COUNT", help_heading = LIMITS)]
    open_files: Option<String>,

    /// Each file that it writes, such as 16MiB
    #[arg(long, value_name = "SIZE", help_heading = LIMITS)]
    file_size: Option<String>,
}

impl Confining {
    /// The operator's whole policy for this process.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn policy(&self) -> Result<Policy, Usage> {
        let mut policy = match &self.policy {
            Some(said) => policy_file::read("--policy", said)?,
            None => Policy::default(),
        };
        let mut flags = Flags {
            preset: self.preset.as_deref().map(request::preset),
            ..Flags::default()
        };
        request::grants(
            &mut flags,
            &Standpoint::here(),
            &self.allow,
            &self.read,
            &self.write,
        )?;
        for (limit, said) in [
            (Limit::OpenFiles, &self.open_files),
            (Limit::FileSize, &self.file_size),
        ] {
            if let Some(said) = said {
                let bound = parse_bound(limit, said, Whose::Flag(flag(limit)))?;
                flags.limits.insert(limit, bound);
            }
        }
        policy.flags = flags;
        let demands = Demands {
            require: self.require.clone(),
            best_effort: self.best_effort.clone(),
            end_on: Vec::new(),
        };
        request::demand(&mut policy, &demands)?;
        Ok(policy)
    }
}
