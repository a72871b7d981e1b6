//! `belljar policy`: what policy files say, what they give away, and what their
//! groups of paths stand for. Nothing is launched.

pub(crate) mod check;
pub(crate) mod groups;
mod show;

use std::ffi::OsString;

use belljar::verify::VerifyError;
use belljar_policy::group::GroupError;
use clap::{Args, Subcommand};

use crate::{ask::Usage, page::PrintError, words};

/// `belljar policy`
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// List the groups of paths that may stand where a path may be read, or explain one
    #[command(after_help = GROUPS)]
    Groups(groups::Options),
    /// Read a policy file and tell which of its lines give away what a jar protects
    #[command(after_help = CHECK)]
    Check(check::Options),
    /// Print what a policy comes to with all that it extends, each line with its place
    #[command(after_help = SHOW)]
    Show(show::Options),
}

const GROUPS: &str = "\
Examples:
  belljar policy groups
  belljar policy groups toolchain:node

Exit status: 0, and 125 where there is no such group.";

const SHOW: &str = "\
Examples:
  belljar policy show --policy policy.toml
  belljar policy show --policy policy.toml --plugin resize

Exit status: 0, and 125 where it is no policy.";

const CHECK: &str = "\
Examples:
  belljar policy check policy.toml
  belljar policy check --strict app.toml#security

Exit status: 0 where it is a policy, 125 where it is none. With --strict, 1 where a line gives away \
something of high or critical worth.";

#[derive(Debug, thiserror::Error)]
enum PolicyCommandError {
    #[error(transparent)]
    Usage(#[from] Usage),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Look(#[from] VerifyError),
    #[error("--plugin: there is no `[plugins.{name}]` in the policy")]
    NoPlugin { name: String },
    #[error(transparent)]
    Print(#[from] PrintError),
}

/// Does what was asked for, and gives the status to end with.
pub(crate) fn run(options: &Options) -> u8 {
    let done = match &options.what {
        What::Groups(options) => groups::run(options).map(|()| 0),
        What::Check(options) => check::run(options),
        What::Show(options) => show::run(options).map(|()| 0),
    };
    done.unwrap_or_else(|error| {
        words::complain(&error, error.remedy().as_deref());
        words::BAD_USAGE
    })
}

impl PolicyCommandError {
    fn remedy(&self) -> Option<String> {
        match self {
            Self::Usage(usage) => usage.remedy(),
            Self::Group(_) => Some("`belljar policy groups` lists them".to_owned()),
            Self::NoPlugin { .. } => {
                Some("leave --plugin out: the policy is the same for every other".to_owned())
            }
            Self::Look(_) | Self::Print(_) => None,
        }
    }
}

/// A policy's file as all of these take it.
fn read(flag: &'static str, said: &OsString) -> Result<belljar_policy::Policy, Usage> {
    crate::ask::policy_file::read(flag, said)
}
