//! What to do about errors of the library that every subcommand may meet.

use belljar::{LaunchError, verify::VerifyError};
use belljar_policy::effective::NOT_HERE;

use crate::words;

/// Of a launch that did not begin.
pub(crate) fn of_launch(error: &LaunchError) -> Option<String> {
    Some(match error {
        LaunchError::Verify { source } => return of_verify(source),
        LaunchError::Report { .. } => "name a file in a directory that you may write to".to_owned(),
        LaunchError::Invalid { reason } if reason.contains(NOT_HERE) => {
            "make it before the jar is started, or leave it out: what is granted has to be there"
                .to_owned()
        }
        _ => return None,
    })
}

/// Of what was to be run and cannot be looked at.
pub(crate) fn of_verify(error: &VerifyError) -> Option<String> {
    match error {
        VerifyError::Descriptors(_) => Some(crate::words::MORE_FILES.to_owned()),
        VerifyError::NoManifest { directory } => Some(format!(
            "give it one (a `[plugin]` with name, version and entry), or say \
             `belljar {} -- PROGRAM` with a program of {directory}",
            words::subcommand()
        )),
        _ => None,
    }
}
