//! `--events FILE|fd:N`: what happens in the jar, a line of JSON each, written as
//! it happens by a thread of its own, so that a reader who is slow holds up
//! nobody but itself.

use std::{
    fs::File,
    io::Write as _,
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    time::Duration,
};

use belljar::Events;

use super::record::{Target, inherited};
use crate::{ask::Usage, words};

/// A reader who does not read is waited for so long after the jar's end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Opens where events go. It has to be called before belljar opens anything
/// that could take a descriptor's number.
///
/// # Errors
/// Where nothing can be written there.
pub(super) fn open(target: Target) -> Result<File, Usage> {
    match target {
        Target::Descriptor(number) => inherited("--events", number).map(File::from),
        Target::File(file) => {
            File::create(&file).map_err(|cause| Usage::EventsFile { file, cause })
        }
    }
}

/// Events on their way to a file.
#[derive(Debug)]
pub(super) struct Writing(Receiver<()>);

/// Writes all that comes, until the jar has ended.
pub(super) fn write(mut events: Events, mut file: File) -> Option<Writing> {
    let (done, ended) = sync_channel(1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
    let begun = std::thread::Builder::new()
        .name("belljar-events".to_owned())
        .spawn(move || {
            while let Some(event) = runtime.block_on(events.next()) {
                let mut line = serde_json::to_vec(&event).unwrap_or_default();
                line.push(b'\n');
                if let Err(error) = file.write_all(&line) {
                    words::say(&format!("--events: cannot write: {error}"));
                    break;
                }
            }
            // Nobody waits where it took too long.
            let _ = done.send(());
        });
    begun.is_ok().then_some(Writing(ended))
}

impl Writing {
    /// Waits until all is written, for as long as a reader reads.
    pub(super) fn finish(self) {
        if self.0.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            words::say("--events: nobody reads them");
        }
    }
}
