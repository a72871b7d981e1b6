//! What is to be run and with what: the words that `run` shares with every
//! subcommand that tells about a run instead.

mod options;
mod place;
mod policy_file;
mod request;
mod subject;
mod usage;

use std::ffi::OsString;

use belljar::Jar;

use self::subject::{Position, Subject};
pub(crate) use self::{options::Options, usage::Usage};

impl Options {
    /// From words to a jar that can be launched or told about. Nothing is made
    /// yet. The command line as a whole tells where `--` stood; `terminal` is what
    /// a jar's own measures, where it gets one.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn jar(
        &self,
        command_line: &[OsString],
        terminal: Option<(u16, u16)>,
    ) -> Result<Jar, Usage> {
        let policy = request::policy(self, terminal)?;
        let position = Position::of(&self.words, command_line);
        let jar = match subject::read(self.words.clone(), position)? {
            Subject::Program { name, arguments } => Jar::program(name).args(arguments),
            Subject::Plugin { path, arguments } => Jar::plugin(path).args(arguments),
        };
        Ok(jar.policy(policy))
    }
}
