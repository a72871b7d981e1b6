//! pid 1 of a jar: waits for its task, runs the plan's steps up to the fork and
//! stays behind to [`watch`](crate::watch); the guest's process runs the rest.
//!
//! Descriptors have fixed numbers: the launcher's socket, the lifeline, then
//! those of the task in their order.

use belljar_plan::Step;
use belljar_plan::message::{DESCRIPTORS_PER_PACKET, Task, descriptors};
use belljar_plan::wire::Steps;
use rustix::fd::{BorrowedFd, IntoRawFd as _, OwnedFd, RawFd};
use rustix::io::{Errno, Result};

use crate::channel::{self, Descriptors, Wait};
use crate::mapped::Mapped;
use crate::receipts::{self, Receipts};
use crate::steps::Jar;
use crate::{raw, watch};

/// The socket to the launcher.
pub(crate) const CONTROL: RawFd = 0;
/// The pipe whose only writer is the launcher; the launcher itself keeps it
/// under this number too.
pub(crate) const LIFELINE: RawFd = 1;
/// The first descriptor of the task.
const TASK: RawFd = 2;
/// Where receipts go.
pub(crate) const PROGRESS: RawFd = TASK + descriptors::PROGRESS as RawFd;

/// The number of a descriptor of the task.
pub(crate) const fn task_descriptor(index: usize) -> RawFd {
    TASK + index as RawFd
}

/// The child's life, from clone3(2) on.
pub(crate) fn run(control: RawFd) -> ! {
    let code = match set_up(control) {
        Ok(()) => 0,
        Err(errno) => errno.raw_os_error(),
    };
    raw::exit_group(code)
}

fn set_up(control: RawFd) -> Result<()> {
    raw::dup_onto(control, CONTROL)?;
    raw::close_from(TASK as u32)?;
    let mut receipts = Receipts::new();
    let task = receive_task(&mut receipts)?;
    // From here on there is somebody to tell what went wrong.
    let mut at = 0;
    let result = run_steps(&task, &mut receipts, &mut at);
    if let Err(errno) = result {
        let _ = receipts.send(PROGRESS);
        receipts::failed(PROGRESS, at, errno);
    }
    result
}

/// Waits for the task, and checks that its descriptors got their numbers.
fn receive_task(receipts: &mut Receipts) -> Result<Task> {
    // SAFETY: the number was given to the socket by `set_up`.
    let control = unsafe { BorrowedFd::borrow_raw(CONTROL) };
    let mut bytes = [0; receipts::TASK_ROOM];
    let mut next = TASK;
    let length = receive_chunk(control, &mut bytes, &mut next)?;
    // The time that a parked child waited belongs to no step.
    *receipts = Receipts::new();
    let packet = bytes.get(..length).unwrap_or(&[]);
    let (task, launcher_s) = packet.split_at_checked(Task::LENGTH).ok_or(Errno::PIPE)?;
    receipts.take_over(launcher_s)?;
    let task = Task::from_bytes(task).ok_or(Errno::PROTO)?;
    let end = task_descriptor(task.descriptors as usize);
    while next < end {
        if receive_chunk(control, &mut [0], &mut next)? == 0 {
            return Err(Errno::PIPE);
        }
    }
    match next == end {
        true => Ok(task),
        false => Err(Errno::PROTO),
    }
}

/// Takes one packet and lets its descriptors live under their numbers.
fn receive_chunk(control: BorrowedFd<'_>, bytes: &mut [u8], next: &mut RawFd) -> Result<usize> {
    const { assert!(DESCRIPTORS_PER_PACKET <= channel::MOST) };
    let mut fds = Descriptors::new();
    let length = channel::receive(control, bytes, &mut fds, Wait::Yes)?;
    for index in 0..fds.count() {
        let number = fds.take(index).map(OwnedFd::into_raw_fd);
        // The lowest free number is always the next: everything else was closed.
        if number != Some(*next) {
            return Err(Errno::BADF);
        }
        *next += 1;
    }
    Ok(length)
}

/// Runs the plan, first as pid 1 and after the fork as the guest's process.
fn run_steps(task: &Task, receipts: &mut Receipts, at: &mut u16) -> Result<()> {
    let carries_image = task.carries & descriptors::IMAGE != 0;
    let plan = Mapped::new(borrow(descriptors::PLAN), task.plan_length)?;
    let image = match carries_image {
        true => Some(Mapped::new(borrow(descriptors::FIXED), task.image_length)?),
        false => None,
    };
    let slots = descriptors::FIXED + usize::from(carries_image);
    let image_bytes = image.as_ref().map(Mapped::bytes);
    let mut jar = Jar::new(image_bytes, slots..task.descriptors as usize);
    let steps = Steps::new(plan.bytes()).map_err(|_| Errno::BADMSG)?;
    let mut rest = steps.clone();
    for (index, step) in steps.enumerate() {
        *at = index as u16;
        rest.next();
        let mut skipped = 0;
        match step.map_err(|_| Errno::BADMSG)? {
            // Done by the launcher.
            Step::Detach { .. } | Step::Clone { .. } | Step::MapIds { .. } => continue,
            Step::Fork {} => {
                match raw::fork()? {
                    0 => {}
                    main => {
                        // SAFETY: nothing returns from here, so nothing reads it again.
                        unsafe { plan.unmap_now() };
                        if let Some(image) = &image {
                            // SAFETY: as above.
                            unsafe { image.unmap_now() };
                        }
                        watch::watch(main)
                    }
                }
            }
            Step::Exec {
                path,
                arguments,
                variables,
            } => {
                receipts.send(PROGRESS)?;
                return Err(crate::steps::exec::exec(path, arguments, variables));
            }
            step => skipped = jar.apply(&step, &rest)?,
        }
        receipts.note(PROGRESS, *at, skipped)?;
    }
    // A plan without a program.
    Err(Errno::BADMSG)
}

/// A descriptor of the task.
pub(crate) fn borrow(index: usize) -> BorrowedFd<'static> {
    // SAFETY: `receive_task` saw to it that the task's descriptors are open
    // under these numbers; nothing owns them, so nothing closes them before
    // the step `close_descriptors`.
    unsafe { BorrowedFd::borrow_raw(task_descriptor(index)) }
}
