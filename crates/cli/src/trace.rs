//! `-v` and `BELLJAR_LOG`: what belljar does, line by line, on stderr. Without
//! either nothing is set up and nothing is paid.

use std::io;

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt::time::uptime};

use crate::words;

/// The variable that filters, in the form of tracing's directives, such as
/// `belljar=debug`.
pub(crate) const VARIABLE: &str = "BELLJAR_LOG";

/// Sets tracing up where `-v` was said, so many times, or the variable is set.
///
/// # Errors
/// Where the variable holds what is no filter.
pub(crate) fn begin(verbose: u8) -> Result<(), ParseError> {
    let filter = match (std::env::var(VARIABLE), verbose) {
        (Ok(directives), _) if !directives.is_empty() => EnvFilter::builder().parse(directives)?,
        (_, 0) => return Ok(()),
        (_, 1) => EnvFilter::new("belljar=info"),
        (_, 2) => EnvFilter::new("belljar=debug"),
        (_, _) => EnvFilter::new("trace"),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(uptime())
        .with_ansi(false)
        .with_writer(|| Voice)
        .init();
    Ok(())
}

/// Belljar's own words, as everywhere: the subscriber writes one event at a time.
struct Voice;

impl io::Write for Voice {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        words::say(&String::from_utf8_lossy(event));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
