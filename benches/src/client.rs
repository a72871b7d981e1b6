//! A host with nothing of the library but the launcher's program: it speaks
//! `belljar_plan::message` itself, so what a launch costs without the library's
//! own work can be told from what it costs with it, step by step.

use std::{
    fs::File,
    io::{IoSlice, IoSliceMut, Write as _},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use belljar_plan::{
    Namespaces, Plan, Step,
    message::{Done, Event, Progress, Request, event, progress, request},
    wire,
};
use rustix::{
    fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create, open},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
    pipe::{PipeFlags, pipe_with},
    process::{PidfdFlags, getpid, pidfd_open},
};

use crate::floor::{PARKED, Start, machine_ids};

/// A launcher and a plan that is ready to be launched, again and again.
pub(crate) struct Client {
    process: Child,
    socket: Option<OwnedFd>,
    plan: OwnedFd,
    plan_length: u64,
    slots: Vec<OwnedFd>,
    machine: (u32, u32),
    /// What a parked child has to fit: namespaces, uid, gid, setgroups denied.
    park: Request,
    jars: u64,
}

/// What one launch took.
pub(crate) struct Launched {
    /// From the first thing done for it to the guest's exec.
    pub(crate) exec: Duration,
    /// To its end being reported.
    pub(crate) reported: Duration,
    /// Each step's receipt.
    pub(crate) steps: Vec<Done>,
}

impl Client {
    pub(crate) fn start(launcher: &Path, plan: &Plan) -> Result<Self, String> {
        Self::try_start(launcher, plan).map_err(|error| format!("cannot start a launcher: {error}"))
    }

    fn try_start(launcher: &Path, plan: &Plan) -> std::io::Result<Self> {
        let (ours, theirs) = seqpacket()?;
        let process = Command::new(launcher)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let own = pidfd_open(getpid(), PidfdFlags::empty())?;
        let hello = Request {
            kind: request::HELLO,
            descriptors: 1,
            ..Request::default()
        };
        tell(ours.as_fd(), &hello.to_bytes(), &[own.as_fd()])?;
        let bytes = wire::encode(&plan.steps);
        let slots = plan
            .slots
            .iter()
            .map(|slot| {
                open(
                    slot.path.0.as_slice(),
                    OFlags::PATH | OFlags::CLOEXEC,
                    Mode::empty(),
                )
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            process,
            socket: Some(ours),
            plan_length: bytes.len() as u64,
            plan: sealed(&bytes)?,
            slots,
            machine: machine_ids(plan),
            park: park_request(plan),
            jars: 0,
        })
    }

    /// Launches one jar.
    pub(crate) fn launch(&mut self, start: Start) -> Result<Launched, String> {
        self.try_launch(start)
            .map_err(|error| format!("the launcher: {error}"))
    }

    fn try_launch(&mut self, start: Start) -> std::io::Result<Launched> {
        if start == Start::Parked {
            let park = Request {
                machine_uid: self.machine.0,
                machine_gid: self.machine.1,
                plan_length: self.plan_length,
                descriptors: 1,
                ..self.park
            };
            tell(self.socket(), &park.to_bytes(), &[self.plan.as_fd()])?;
            // It has no answer; the next launch must not find it half made.
            std::thread::sleep(PARKED);
        }
        self.jars += 1;
        let before = Instant::now();
        let (ours, theirs) = seqpacket()?;
        let (stdin, _input) = pipe_with(PipeFlags::CLOEXEC)?;
        let (_output, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (_errors, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut descriptors = vec![
            self.plan.as_fd(),
            theirs.as_fd(),
            stdin.as_fd(),
            stdout.as_fd(),
            stderr.as_fd(),
        ];
        descriptors.extend(self.slots.iter().map(AsFd::as_fd));
        let launch = Request {
            kind: request::LAUNCH,
            jar: self.jars,
            machine_uid: self.machine.0,
            machine_gid: self.machine.1,
            plan_length: self.plan_length,
            descriptors: u32::try_from(descriptors.len()).expect("a few"),
            ..Request::default()
        };
        tell(self.socket(), &launch.to_bytes(), &descriptors)?;
        drop(descriptors);
        drop((theirs, stdin, stdout, stderr));
        let mut steps = Vec::new();
        let mut packet = vec![0; 1 << 13];
        loop {
            let length = hear(ours.as_fd(), &mut packet)?;
            if length == 0 {
                break;
            }
            steps.extend(receipts(&packet[..length])?);
        }
        let exec = before.elapsed();
        loop {
            let event = self.event(&mut packet)?;
            match event.kind {
                event::ENDED if event.has_main == 1 && event.main_status == 0 => break,
                event::STARTED => {}
                _ => return Err(std::io::Error::other(format!("{event:?}"))),
            }
        }
        Ok(Launched {
            exec,
            reported: before.elapsed(),
            steps,
        })
    }

    fn event(&self, packet: &mut [u8]) -> std::io::Result<Event> {
        let length = hear(self.socket(), packet)?;
        Event::from_bytes(&packet[..length])
            .ok_or_else(|| std::io::Error::other("it is gone, or speaks otherwise"))
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket
            .as_ref()
            .expect("it is there until the drop")
            .as_fd()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.socket = None;
        // It ends with this process at the latest; nothing is lost before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn seqpacket() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
}

fn sealed(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(
        "plan",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
    )?);
    file.write_all(bytes)?;
    let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, all)?;
    Ok(file.into())
}

fn park_request(plan: &Plan) -> Request {
    let mut park = Request {
        kind: request::PARK,
        value: u32::from(Namespaces::ALL.bits()),
        ..Request::default()
    };
    for step in &plan.steps {
        match step {
            Step::Clone { namespaces } => park.value = u32::from(namespaces.bits()),
            Step::MapIds {
                uid,
                gid,
                deny_setgroups,
            } => {
                (park.uid, park.gid, park.flag) = (*uid, *gid, u32::from(*deny_setgroups));
            }
            _ => {}
        }
    }
    park
}

fn tell(to: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOMANYREFS);
    }
    sendmsg(
        to,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// One packet; descriptors in it are closed at once.
fn hear(from: BorrowedFd<'_>, packet: &mut [u8]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(
        from,
        &mut [IoSliceMut::new(packet)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    Ok(message.bytes)
}

fn receipts(packet: &[u8]) -> std::io::Result<Vec<Done>> {
    let (head, records) = packet
        .split_at_checked(Progress::LENGTH)
        .unwrap_or((packet, &[]));
    let head =
        Progress::from_bytes(head).ok_or_else(|| std::io::Error::other("no progress record"))?;
    match head.kind {
        progress::FAILED => Err(std::io::Error::other(format!(
            "step {} failed: {}",
            head.step,
            std::io::Error::from_raw_os_error(head.errno)
        ))),
        progress::STEPS => Ok(records
            .chunks_exact(Done::LENGTH)
            .filter_map(Done::from_bytes)
            .collect()),
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_read_from_behind_the_head() {
        let head = Progress {
            kind: progress::STEPS,
            count: 2,
            ..Progress::default()
        };
        let done = |step| Done {
            step,
            errno: 0,
            nanoseconds: 7,
        };
        let packet = [
            head.to_bytes().as_slice(),
            &done(3).to_bytes(),
            &done(4).to_bytes(),
        ]
        .concat();
        assert_eq!(receipts(&packet).unwrap(), [done(3), done(4)]);
        let failed = Progress {
            kind: progress::FAILED,
            step: 9,
            errno: 1,
            count: 0,
        };
        assert!(receipts(&failed.to_bytes()).is_err());
    }
}
