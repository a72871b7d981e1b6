//! What is to be run and with what: the words that `run` shares with every
//! subcommand that tells about a run instead.

mod confine;
mod options;
mod place;
pub(crate) mod policy_file;
pub(crate) mod remedy;
mod request;
mod subject;
mod usage;

use std::ffi::OsString;

use belljar::Jar;

use self::subject::Subject;
pub(crate) use self::{
    confine::Confining,
    options::{Demands, Options},
    place::Standpoint,
    request::demand,
    subject::Position,
    usage::Usage,
};
use crate::terminal;

impl Options {
    /// From words to a jar that can be launched or told about. Nothing is made
    /// yet. The command line as a whole tells where `--` stood.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn jar(&self, command_line: &[OsString]) -> Result<Jar, Usage> {
        let position = Position::of(&self.words, command_line);
        self.jar_of(self.words.clone(), position)
    }

    /// A plugin is named, and no bare program.
    pub(crate) fn is_plugin(&self, command_line: &[OsString]) -> bool {
        let position = Position::of(&self.words, command_line);
        matches!(
            subject::read(self.words.clone(), position),
            Ok(Subject::Plugin { .. })
        )
    }

    /// The same for other words than its own.
    ///
    /// # Errors
    /// As for [`jar`](Self::jar).
    pub(crate) fn jar_of(&self, words: Vec<OsString>, position: Position) -> Result<Jar, Usage> {
        let policy = request::policy(self, self.tty.then(terminal::size))?;
        let jar = match subject::read(words, position)? {
            Subject::Program { name, arguments } => Jar::program(name).args(arguments),
            Subject::Plugin { path, arguments } => Jar::plugin(path).args(arguments),
        };
        Ok(jar.policy(policy))
    }
}
