//! pid 1 of a jar: waits for its task, runs the plan's steps up to the fork (a
//! parked one some of them before its launch, see [`ahead`]) and stays behind to [`watch`](crate::watch); the guest's process runs the rest.
//!
//! Descriptors have fixed numbers: the launcher's socket, the lifeline, then
//! those of the task in their order.

use belljar_plan::Step;
use belljar_plan::message::{DESCRIPTORS_PER_PACKET, NO_STEP, Task, descriptors};
use belljar_plan::wire::Steps;
use rustix::fd::{BorrowedFd, IntoRawFd as _, OwnedFd, RawFd};
use rustix::io::{Errno, Result};

use crate::calls;
use crate::channel::{self, Descriptors, Wait};
use crate::mapped::Mapped;
use crate::receipts::{self, Receipts};
use crate::steps::{Jar, When};
use crate::{ahead, raw, watch};

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
    let mut at = At {
        step: NO_STEP,
        launched: task.carries & descriptors::AHEAD == 0,
    };
    let result = run_steps(task, &mut receipts, &mut at);
    if let (true, Err(errno)) = (at.launched, result) {
        let _ = receipts.send(PROGRESS);
        receipts::failed(PROGRESS, at.step, errno);
    }
    result
}

/// How far the plan was run.
struct At {
    /// The step that is run, or [`NO_STEP`].
    step: u16,
    /// Whether there is somebody to tell what went wrong.
    launched: bool,
}

/// Waits for a task, and checks that its descriptors got their numbers.
///
/// Never inlined: its buffers would stay on pid 1's stack for good.
#[inline(never)]
fn receive_task(receipts: &mut Receipts) -> Result<Task> {
    // SAFETY: the number was given to the socket by `set_up`.
    let control = unsafe { BorrowedFd::borrow_raw(CONTROL) };
    let mut bytes = [0; receipts::TASK_ROOM];
    let mut next = TASK;
    let length = receive_chunk(control, &mut bytes, &mut next)?;
    receipts.resume();
    let packet = bytes.get(..length).unwrap_or(&[]);
    let (task, launcher_s) = packet.split_at_checked(Task::LENGTH).ok_or(Errno::PIPE)?;
    let task = Task::from_bytes(task).ok_or(Errno::PROTO)?;
    let end = task_descriptor(task.descriptors as usize);
    while next < end {
        if receive_chunk(control, &mut [0], &mut next)? == 0 {
            return Err(Errno::PIPE);
        }
    }
    receipts.take_over(PROGRESS, launcher_s)?;
    match next == end {
        true => Ok(task),
        false => Err(Errno::PROTO),
    }
}

/// Keeps the numbers of the coming launch's descriptors from being given to
/// what is opened before it: `slots` of them behind those of every launch.
fn reserve(carries_image: bool, slots: usize) -> Result<usize> {
    let count = descriptors::FIXED + usize::from(carries_image) + slots;
    raw::close_from(TASK as u32)?;
    for index in 0..count {
        raw::dup_onto(LIFELINE, task_descriptor(index))?;
    }
    Ok(count)
}

/// Tells the launcher that all was done that may be, and waits for the launch.
/// The plan is the same: the launcher has compared them.
fn wait_for_launch(ahead: &Task, count: usize, receipts: &mut Receipts) -> Result<()> {
    raw::close_between(TASK as u32, task_descriptor(count) as u32 - 1)?;
    raw::write(CONTROL, &[1])?;
    let task = receive_task(receipts)?;
    let same = (task.plan_length, task.image_length) == (ahead.plan_length, ahead.image_length)
        && task.carries == ahead.carries & descriptors::IMAGE
        && task.descriptors as usize == count;
    match same {
        true => Ok(()),
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
fn run_steps(task: Task, receipts: &mut Receipts, at: &mut At) -> Result<()> {
    let carries_image = task.carries & descriptors::IMAGE != 0;
    let (image_at, when) = match at.launched {
        true => (descriptors::FIXED, When::Launched),
        false => (1, When::Ahead),
    };
    let plan = Mapped::new(borrow(descriptors::PLAN), task.plan_length)?;
    let image = match carries_image {
        true => Some(Mapped::new(borrow(image_at), task.image_length)?),
        false => None,
    };
    let count = match at.launched {
        true => task.descriptors as usize,
        false => reserve(carries_image, ahead::slots(plan.bytes())?)?,
    };
    let slots = descriptors::FIXED + usize::from(carries_image);
    let image_bytes = image.as_ref().map(Mapped::bytes);
    let mut jar = Jar::new(image_bytes, slots..count, when);
    let steps = Steps::new(plan.bytes()).map_err(|_| Errno::BADMSG)?;
    let mut rest = steps.clone();
    for (index, step) in steps.enumerate() {
        at.step = index as u16;
        calls::at_step(at.step);
        rest.next();
        let step = step.map_err(|_| Errno::BADMSG)?;
        let mut skipped = 0;
        let of_launcher = matches!(
            step,
            Step::Detach { .. } | Step::Cgroup { .. } | Step::Clone { .. } | Step::MapIds { .. }
        );
        if of_launcher {
            continue;
        }
        if jar.when() == When::Ahead && ahead::may_be_done(&step) && receipts.has_room() {
            let result = jar.apply(&step, &rest);
            if jar.when() == When::Ahead {
                receipts.note(PROGRESS, at.step, result?)?;
                continue;
            }
        }
        if !at.launched {
            wait_for_launch(&task, count, receipts)?;
            at.launched = true;
            jar.launched();
        }
        match step {
            Step::Fork {} => {
                jar.tell_scratch()?;
                match raw::fork()? {
                    0 => {}
                    main => {
                        // SAFETY: nothing returns from here, so nothing reads it again.
                        unsafe { plan.unmap_now() };
                        if let Some(image) = &image {
                            // SAFETY: as above.
                            unsafe { image.unmap_now() };
                        }
                        watch::watch(main, jar.adopts())
                    }
                }
            }
            Step::Exec {
                path,
                arguments,
                variables,
            } => {
                // To tell what was done is of no step.
                let exec = core::mem::replace(&mut at.step, NO_STEP);
                calls::at_step(NO_STEP);
                receipts.send(PROGRESS)?;
                at.step = exec;
                calls::at_step(exec);
                return Err(jar.exec(path, arguments, variables));
            }
            step => skipped = jar.apply(&step, &rest)?,
        }
        receipts.note(PROGRESS, at.step, skipped)?;
    }
    at.step = NO_STEP;
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
