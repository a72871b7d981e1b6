//! The key of a terminal that suspends, ^Z as a rule. In a jar's own terminal it sends
//! SIGTSTP to whatever has the foreground. A shell there has its jobs go on again; of the
//! session's own program nobody would, so that the kernel stops it for no such signal,
//! setpgid(2). There the key can be the host's.

use std::{
    fs::File,
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

use tokio::sync::Notify;

use crate::sys;

/// Whether it was pressed for the host.
#[derive(Debug, Default)]
pub(crate) struct Key {
    /// The host's own, 0 for none. A guest can say which is its terminal's, and would have
    /// any letter leave it for the host.
    wanted: AtomicU8,
    pressed: Notify,
}

impl Key {
    /// Takes it out of what was typed, where it would suspend nobody; gives how much is left.
    pub(super) fn take_out(&self, master: &File, typed: &mut [u8]) -> usize {
        let key = self.wanted.load(Relaxed);
        if key == 0 || !typed.contains(&key) || !sys::is_key_for_nobody(master, key) {
            return typed.len();
        }
        let mut left = 0;
        for at in 0..typed.len() {
            if typed[at] != key {
                typed[left] = typed[at];
                left += 1;
            }
        }
        self.pressed.notify_one();
        left
    }

    pub(super) fn want(&self, key: u8) {
        self.wanted.store(key, Relaxed);
    }

    pub(super) async fn pressed(&self) {
        self.pressed.notified().await;
    }
}
