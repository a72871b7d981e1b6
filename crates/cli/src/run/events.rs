//! `--events FILE|fd:N`: what happens in the jar, a line of JSON each, written as
//! it happens on the library's thread for events, so that a reader who is slow holds up
//! nobody but itself.

use std::{
    fs::File,
    io::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use belljar::{Event, EventSink, event::What};

use super::record::{Target, inherited};
use crate::{ask::Usage, words};

/// A reader who does not read is waited for so long after the jar's end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Opens where events go. It has to be called before belljar opens anything
/// that could take a descriptor's number.
///
/// # Errors
/// Where nothing can be written there.
pub(super) fn open(target: Target) -> Result<(Lines, Writing), Usage> {
    let file = match target {
        Target::Descriptor(number) => inherited("--events", number).map(File::from)?,
        Target::File(file) => {
            File::create(&file).map_err(|cause| Usage::EventsFile { file, cause })?
        }
    };
    let (done, written) = channel();
    let lines = Lines(Mutex::new(Some((file, done))));
    Ok((lines, Writing(written)))
}

/// Writes events as lines, until one cannot be written.
#[derive(Debug)]
pub(super) struct Lines(Mutex<Option<(File, Sender<()>)>>);

impl EventSink for Lines {
    fn event(&self, event: &Event) {
        let mut writing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((file, _)) = &mut *writing else {
            return;
        };
        let mut line = serde_json::to_vec(event).unwrap_or_default();
        line.push(b'\n');
        let written = file.write_all(&line);
        if let Err(error) = &written {
            words::say(&format!("--events: cannot write: {error}"));
        }
        if written.is_err() || matches!(event.what, What::Terminated(_)) {
            // With it goes the file, and whoever waits for that learns of it.
            *writing = None;
        }
    }
}

/// Events on their way to a file.
#[derive(Debug)]
pub(super) struct Writing(Receiver<()>);

impl Writing {
    /// Waits until all is written, for as long as a reader reads.
    pub(super) fn finish(self) {
        if self.0.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            words::say("--events: nobody reads them");
        }
    }
}

impl Lines {
    /// To be told to a jar.
    pub(super) fn shared(self) -> Arc<dyn EventSink> {
        Arc::new(self)
    }
}
