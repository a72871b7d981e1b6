//! What was done so far, gathered for the parent: one record a step. Each actor
//! hands what it noted to the next, so that few packets are sent and the parent
//! is seldom woken: one when the program starts or a step fails, more only for
//! plans of more than 512 steps. They are sent with write(2), the call that
//! every filter lets through.

use crate::text::Text;
use belljar_plan::message::{DONE_PER_PACKET, Done, Progress, Task, progress};
use rustix::fd::RawFd;
use rustix::io::{Errno, Result};
use rustix::time::{ClockId, clock_gettime};

use crate::raw;

const ROOM: usize = Progress::LENGTH + DONE_PER_PACKET * Done::LENGTH;

/// `CLOCK_MONOTONIC` in nanoseconds.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    (time.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(time.tv_nsec as u64)
}

/// Receipts that were not sent yet.
pub(crate) struct Receipts {
    bytes: [u8; ROOM],
    count: usize,
    /// When the last step ended.
    last: u64,
}

impl Receipts {
    pub(crate) fn new() -> Self {
        Self {
            bytes: [0; ROOM],
            count: 0,
            last: now(),
        }
    }

    /// Notes that a step ended: done (`errno` 0) or skipped.
    pub(crate) fn note(&mut self, socket: RawFd, step: u16, errno: u16) -> Result<()> {
        if self.count == DONE_PER_PACKET {
            self.send(socket)?;
        }
        let now = now();
        let done = Done {
            step,
            errno,
            nanoseconds: u32::try_from(now.saturating_sub(self.last)).unwrap_or(u32::MAX),
        };
        self.last = now;
        let at = Progress::LENGTH + self.count * Done::LENGTH;
        if let Some(room) = self.bytes.get_mut(at..at + Done::LENGTH) {
            room.copy_from_slice(&done.to_bytes());
        }
        self.count += 1;
        Ok(())
    }

    /// Begins to count time anew: what a parked child waited belongs to no step.
    pub(crate) fn resume(&mut self) {
        self.last = now();
    }

    /// Whether a child that has nobody to tell yet can note another step.
    pub(crate) const fn has_room(&self) -> bool {
        self.count < DONE_PER_PACKET
    }

    /// Takes over what the actor before noted but did not send.
    pub(crate) fn take_over(&mut self, socket: RawFd, records: &[u8]) -> Result<()> {
        if self.count + records.len() / Done::LENGTH > DONE_PER_PACKET {
            self.send(socket)?;
        }
        let at = Progress::LENGTH + self.count * Done::LENGTH;
        let room = self.bytes.get_mut(at..at + records.len());
        room.ok_or(Errno::PROTO)?.copy_from_slice(records);
        self.count += records.len() / Done::LENGTH;
        Ok(())
    }

    /// What was noted and not sent, as records.
    pub(crate) fn unsent(&self) -> &[u8] {
        let end = Progress::LENGTH + self.count * Done::LENGTH;
        self.bytes.get(Progress::LENGTH..end).unwrap_or(&[])
    }

    /// Sends what was noted.
    pub(crate) fn send(&mut self, socket: RawFd) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let head = Progress {
            kind: progress::STEPS,
            count: self.count as u32,
            ..Progress::default()
        };
        if let Some(room) = self.bytes.get_mut(..Progress::LENGTH) {
            room.copy_from_slice(&head.to_bytes());
        }
        let end = Progress::LENGTH + self.count * Done::LENGTH;
        self.count = 0;
        let packet = self.bytes.get(..end).ok_or(Errno::INVAL)?;
        raw::write(socket, packet).map(drop)
    }
}

/// The packet that hands a task to pid 1: the task, then the launcher's receipts.
pub(crate) type TaskPacket = Text<{ TASK_ROOM + 1 }>;

/// The longest such packet.
pub(crate) const TASK_ROOM: usize = Task::LENGTH + DONE_PER_PACKET * Done::LENGTH;

/// Puts it together.
pub(crate) fn task_packet(task: &Task, receipts: &Receipts) -> Result<TaskPacket> {
    Text::new().add(&task.to_bytes())?.add(receipts.unsent())
}

/// Tells that a step failed; nothing more comes.
pub(crate) fn failed(socket: RawFd, step: u16, errno: Errno) {
    let record = Progress {
        kind: progress::FAILED,
        step: u32::from(step),
        errno: errno.raw_os_error(),
        count: 0,
    };
    // Nobody is left to tell if the parent is gone.
    let _ = raw::write(socket, &record.to_bytes());
}
