//! The key of a terminal that suspends, ^Z as a rule. In a jar's own terminal it sends
//! SIGTSTP to whatever has the foreground. A shell there has its jobs go on again; of the
//! session's own program nobody would, so that the kernel stops it for no such signal,
//! setpgid(2). There the key can be the host's.

use std::{
    fs::File,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::sync::Notify;

use crate::sys;

/// Whether it was pressed for the host.
#[derive(Debug, Default)]
pub(crate) struct Key {
    /// Nobody is kept from a key that the host does not ask for.
    wanted: AtomicBool,
    pressed: Notify,
}

impl Key {
    /// Takes it out of what was typed, where it would suspend nobody; gives how much is left.
    pub(super) fn take_out(&self, master: &File, typed: &mut [u8]) -> usize {
        if !self.wanted.load(Relaxed) {
            return typed.len();
        }
        let Some(key) = sys::key_for_nobody(master) else {
            return typed.len();
        };
        let mut left = 0;
        for at in 0..typed.len() {
            if typed[at] != key {
                typed[left] = typed[at];
                left += 1;
            }
        }
        if left < typed.len() {
            self.pressed.notify_one();
        }
        left
    }

    pub(super) async fn pressed(&self) {
        self.wanted.store(true, Relaxed);
        self.pressed.notified().await;
    }
}
