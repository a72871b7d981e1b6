//! The host's side of one call: hands the input over, hears the answer, and judges what
//! came of it.

use std::time::Duration;

use belljar_plan::{Limit, Outcome, Plan, Report};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
};

use super::{
    AnswerError, CallError,
    wire::{self, AROUND, Hello, Kind},
};
use crate::{
    error::LaunchError,
    launch::Engine,
    prepared::Start,
    supervise::{Control, Running},
};

/// The longest answer where no limit `output` says another.
const LONGEST: u64 = 64 << 20;

/// What is read at once.
const PIECE: usize = 64 * 1024;

/// Makes one call: the output as JSON, and how the jar ended.
pub(super) async fn once(
    start: Start,
    request: &[u8],
    patience: Duration,
) -> Result<(Vec<u8>, Report), CallError> {
    let mut running = start.launch().await?;
    let late = Late::kill_after(patience, running.control())?;
    let bound = longest(running.plan());
    let stdin = running.stdin();
    let stdout = running.stdout();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A guest that does not read it will not answer either.
            let _ = stdin.write_all(request).await;
        }
    };
    let hear = async {
        match stdout {
            Some(stdout) => hear(stdout, bound, late, &running).await,
            None => (Heard::default(), Some(late)),
        }
    };
    let ((), (heard, late)) = tokio::join!(feed, hear);
    // Whoever closes what it would have answered by is not waited for longer than others.
    let report = running.wait().await;
    drop(late);
    judge(heard, bound, report)
}

/// Ends a jar that does not begin to serve, unless it is let go before.
struct Late(JoinHandle<()>);

impl Late {
    /// By the clock of Belljar's own thread, so that it goes on any executor.
    fn kill_after(patience: Duration, control: Control) -> Result<Self, LaunchError> {
        let engine = Engine::get().map_err(|_| LaunchError::Unsupported)?;
        Ok(Self(engine.runtime.spawn(async move {
            tokio::time::sleep(patience).await;
            control.kill();
        })))
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The most bytes that a jar may say.
fn longest(plan: &Plan) -> u64 {
    plan.limit(Limit::Output)
        .and_then(|limit| limit.hard)
        .unwrap_or(LONGEST + AROUND)
}

/// What was heard of a jar.
#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    /// There was more.
    too_long: bool,
}

/// Hears a jar out, and ends it once it says what no answer begins with, or too much.
async fn hear(
    mut stdout: impl AsyncRead + Unpin,
    bound: u64,
    late: Late,
    running: &Running,
) -> (Heard, Option<Late>) {
    let mut heard = Heard::default();
    let mut late = Some(late);
    let mut piece = vec![0; PIECE];
    // What was read until an error is what there is.
    while let Ok(count @ 1..) = stdout.read(&mut piece).await {
        heard.bytes.extend_from_slice(&piece[..count]);
        match wire::is_hello(&heard.bytes) {
            Hello::NotYet => {}
            Hello::Said => drop(late.take()),
            Hello::Never => {
                running.kill();
                break;
            }
        }
        if heard.bytes.len() as u64 > bound {
            heard.too_long = true;
            running.kill();
            break;
        }
    }
    (heard, late)
}

/// What came of a call. An output counts only from a jar that ended as one does that has
/// answered: whatever a limit or a signal ended is told as that.
fn judge(heard: Heard, bound: u64, report: Report) -> Result<(Vec<u8>, Report), CallError> {
    let Heard { bytes, too_long } = heard;
    let report = Box::new(report);
    let by_itself = matches!(
        report.outcome,
        Outcome::Exited { .. } | Outcome::Signaled { .. }
    );
    let ended_here = matches!(report.outcome, Outcome::Stopped { .. });
    if too_long && ended_here {
        let source = AnswerError::TooLong { limit: bound };
        return Err(CallError::Answer { source, report });
    }
    if wire::is_hello(&bytes) != Hello::Said {
        // It was ended here, or has ended; a limit or a signal of its own says more.
        return Err(match report.outcome {
            Outcome::Exited { .. } | Outcome::Stopped { .. } => CallError::NotServed {
                said: wire::words(&bytes[..bytes.len().min(80)]),
                report,
            },
            _ => CallError::Ended { report },
        });
    }
    let answer = wire::answer(&bytes);
    let words = |bytes: &[u8]| wire::words(bytes);
    let source = match (answer, &report.outcome) {
        (Ok((Kind::Output, output)), Outcome::Exited { code: 0 }) => {
            return Ok((output.to_vec(), *report));
        }
        (Ok((Kind::Panicked, message)), _) if by_itself => {
            let message = words(message);
            return Err(CallError::Panicked { message, report });
        }
        (Ok((Kind::Input, message)), Outcome::Exited { .. }) => {
            let message = words(message);
            return Err(CallError::InputUnread { message, report });
        }
        (Ok((Kind::Unwritten, message)), Outcome::Exited { .. }) => AnswerError::Unwritten {
            message: words(message),
        },
        (Ok((Kind::Unknown, _)), Outcome::Exited { .. }) => AnswerError::Unknown,
        (Err(source), Outcome::Exited { code: 0 }) if bytes.len() > wire::HELLO.len() => source,
        _ => return Err(CallError::Ended { report }),
    };
    Err(CallError::Answer { source, report })
}
