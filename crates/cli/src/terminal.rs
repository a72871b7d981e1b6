//! The operator's own terminal under `--tty`: raw while the jar's terminal
//! stands in for it, and as it was afterwards, whatever happens.

use std::io;

use rustix::{
    stdio::stdin,
    termios::{
        OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetpgrp, tcgetwinsize,
        tcsetattr,
    },
};

use crate::job;

/// What a jar's terminal measures where the operator has none; a VT100's.
const USUAL: (u16, u16) = (24, 80);

/// Rows and columns of the operator's terminal.
pub(crate) fn size() -> (u16, u16) {
    match tcgetwinsize(stdin()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row, size.ws_col),
        _ => USUAL,
    }
}

/// The key that suspends in the operator's terminal; none where there is none.
pub(crate) fn suspend_key() -> Option<u8> {
    let modes = tcgetattr(stdin()).ok()?;
    let key = modes.special_codes[SpecialCodeIndex::VSUSP];
    // 0 is none; termios(3).
    (key != 0).then_some(key)
}

/// The operator's terminal in raw mode. Dropping it, also in a panic, restores it.
#[derive(Debug)]
pub(crate) struct Raw {
    /// As it was found.
    before: Termios,
}

/// How its mode is set. To wait until what was written is read would be to wait for
/// somebody who pressed ^S or reads no more, deaf to signals.
const AT_ONCE: OptionalActions = OptionalActions::Now;

impl Raw {
    /// Makes the terminal on stdin raw; none where stdin is no terminal.
    ///
    /// # Errors
    /// Where it is one and cannot be changed; termios(3).
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        if !isatty(stdin()) {
            return Ok(None);
        }
        let raw = Self {
            before: tcgetattr(stdin())?,
        };
        raw.again()?;
        Ok(Some(raw))
    }

    /// Puts it back as it was found, for whoever has it next.
    ///
    /// # Errors
    /// Where it cannot be changed.
    pub(crate) fn put_back(&self) -> io::Result<()> {
        set(&self.before)
    }

    /// Makes it raw once more: after a stop, the shell has put it back.
    ///
    /// # Errors
    /// Where it cannot be changed.
    pub(crate) fn again(&self) -> io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        set(&raw)
    }
}

/// Changes the terminal's mode from the foreground. From the background it would stop the
/// whole process, and nobody would hold the jar to its limits: there the terminal is
/// somebody else's, and belljar's turn comes when it goes on in the foreground.
fn set(mode: &Termios) -> io::Result<()> {
    match tcgetpgrp(stdin()) {
        Ok(foreground) if foreground.as_raw_pid() != job::group() => Ok(()),
        // Or it is no terminal that this process would be stopped for.
        _ => Ok(tcsetattr(stdin(), AT_ONCE, mode)?),
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Where the terminal is gone there is nothing to restore.
        let _ = self.put_back();
    }
}
