//! What can be wrong with what is said of a run, and what to do about it.

use std::{ffi::OsString, io, path::PathBuf};

use belljar_policy::{
    data::{Rule, Strength},
    group::GroupError,
    path::PathError,
    policy::{ExtendsError, PolicyError, ReadError},
};

use crate::words;

/// Bad usage: no launch begins, and there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Usage {
    #[error("nothing to run: a program, a plugin's directory or its manifest is missing")]
    NothingToRun,
    #[error(
        "option `{}` stands behind the plugin `{}`",
        shown(option),
        shown(plugin)
    )]
    OptionAfterPlugin { option: OsString, plugin: OsString },
    #[error(
        "argument `{}` of the plugin `{}` does not come after `--`",
        shown(argument),
        shown(plugin)
    )]
    ArgumentWithoutDashes {
        argument: OsString,
        plugin: OsString,
    },
    #[error("{flag}: `{}` is not UTF-8 text", shown(said))]
    NotUtf8 { flag: &'static str, said: OsString },
    #[error("{flag}: the path is empty")]
    EmptyPath { flag: &'static str },
    #[error("{flag}: {cause}")]
    Path {
        flag: &'static str,
        cause: PathError,
    },
    #[error("{flag}: {cause}")]
    Group {
        flag: &'static str,
        cause: GroupError,
    },
    #[error("{flag}: `{path}` is relative, and the working directory has no path")]
    NoStandpoint {
        flag: &'static str,
        path: String,
        #[source]
        cause: io::Error,
    },
    #[error("{flag}: cannot follow `{path}`")]
    Unreachable {
        flag: &'static str,
        path: String,
        #[source]
        cause: io::Error,
    },
    #[error("{flag}: `{said}` is not {form}")]
    Form {
        flag: &'static str,
        said: String,
        form: &'static str,
        example: &'static str,
    },
    #[error("{flag}: there is no rule `{said}`")]
    NoSuchRule {
        flag: &'static str,
        said: String,
        remedy: String,
    },
    #[error("{flag}: there is no strength `{said}`")]
    NoSuchStrength { flag: &'static str, said: String },
    #[error("{flag}: `{name}` is said twice")]
    Twice { flag: &'static str, name: String },
    #[error(transparent)]
    Units(#[from] belljar_policy::units::UnitError),
    #[error("cannot read policy `{}`", file.display())]
    PolicyFile {
        file: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("policy `{}` is larger than 1 MiB", file.display())]
    PolicyTooLarge { file: PathBuf },
    #[error(transparent)]
    Policy(PolicyError),
    #[error("{flag}: the policy requires {rule} at {required}: {origin}")]
    AgainstPolicy {
        flag: String,
        rule: Rule,
        required: Strength,
        origin: String,
    },
    #[error("--events: cannot write `{}`", file.display())]
    EventsFile {
        file: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{flag}: cannot use descriptor {number}")]
    Descriptor {
        flag: &'static str,
        number: u32,
        #[source]
        cause: io::Error,
    },
}

impl Usage {
    /// What to do about it, where the error does not say so itself.
    pub(crate) fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NothingToRun => {
                let this = words::subcommand();
                if this == "confine" {
                    return Some(
                        "name one: `belljar confine -- PROGRAM`; `belljar help confine` tells more"
                            .to_owned(),
                    );
                }
                format!(
                    "name one: `belljar {this} -- PROGRAM`, or `belljar {this} DIR`; \
                     `belljar help {this}` tells more"
                )
            }
            Self::OptionAfterPlugin { plugin, .. } | Self::ArgumentWithoutDashes { plugin, .. } => {
                let plugin = shown(plugin);
                format!(
                    "belljar's options come before the plugin, its arguments after `--`: \
                     `belljar {} [OPTIONS] {plugin} -- [ARGS]`",
                    words::subcommand()
                )
            }
            Self::NotUtf8 { .. } => "paths and names must be UTF-8 text here; rename it, or reach it by a link with such a name".to_owned(),
            Self::EmptyPath { flag } => format!("name a path: `{flag} /data`"),
            Self::NoStandpoint { .. } => "say the path from `/`, or go to a directory that exists".to_owned(),
            Self::Unreachable { .. } => "say a path that exists, from `/` and without `..`".to_owned(),
            Self::Form { example, .. } => format!("write `{example}`"),
            Self::NoSuchRule { remedy, .. } => remedy.clone(),
            Self::NoSuchStrength { .. } => "a strength is none, cooperative, supervisor or kernel".to_owned(),
            Self::Twice { .. } => "say it once".to_owned(),
            Self::PolicyFile { .. } => "name a readable TOML or JSON file; `#TABLE` behind it reads one table of it".to_owned(),
            Self::PolicyTooLarge { .. } => "name the policy, not the data that it protects".to_owned(),
            Self::Descriptor { flag, number, .. } => format!(
                "open it for writing before belljar starts: `belljar {} {flag} fd:{number} … {number}>file`",
                words::subcommand()
            ),
            Self::EventsFile { .. } => {
                "name a file in a directory that you may write to".to_owned()
            }
            Self::AgainstPolicy { .. } => "a policy file wins over a flag that is weaker: change the policy, or leave the flag out".to_owned(),
            Self::Group { .. } => "`belljar policy groups` lists them; `./` before the name makes it a path".to_owned(),
            Self::Policy(error) => return of_policy(error).map(str::to_owned),
            Self::Path { .. } | Self::Units(_) => return None,
        })
    }
}

/// What to do about a file that cannot be extended; of other errors of a policy the
/// message itself says what would be right.
fn of_policy(error: &PolicyError) -> Option<&'static str> {
    let cause = match error {
        PolicyError::Extends { source, .. } => source,
        PolicyError::Extended { source, .. } => return of_policy(source),
        _ => return None,
    };
    Some(match cause {
        ExtendsError::Read(ReadError::System(_) | ReadError::NotFile) | ExtendsError::Nameless => {
            "name a file that is there and that you may read; names are taken from the directory of the file that says them"
        }
        ExtendsError::Read(ReadError::TooLarge | ReadError::NotText) => {
            "name a policy: TOML or JSON, in UTF-8"
        }
        ExtendsError::Cycle(_) => {
            "take one `extends` out, and put what both files need into a third"
        }
        ExtendsError::TooDeep(_) => "extend the lowest of them from the first",
        ExtendsError::TooMany => "put some of them together",
    })
}

/// A word of the command line, for people.
fn shown(word: &OsString) -> String {
    match word.to_str() {
        Some(text) => words::one_line(text),
        None => word.as_encoded_bytes().escape_ascii().to_string(),
    }
}
