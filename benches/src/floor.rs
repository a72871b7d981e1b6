//! The C floor: the steps of a plan written out for it, and the client of its
//! server. What it does stands in `floor.c`; the list of what to do is the
//! planner's own, so the two can't drift apart.

use std::{
    fmt::Write as _,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use belljar_plan::{Bytes, Namespaces, Plan, Source, Step, plan::MachineIdentity};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg,
        socketpair,
    },
    pipe::{PipeFlags, pipe_with},
};

/// The steps of a plan, a line each, as `floor.c` reads them.
///
/// # Errors
/// The name of a step that the floor cannot do.
pub(crate) fn list(plan: &Plan) -> Result<String, String> {
    let mut lines = String::new();
    let (uid, gid) = machine_ids(plan);
    line(&mut lines, format_args!("machine {uid} {gid}"));
    for step in &plan.steps {
        let word = step.word();
        match step {
            Step::Clone { namespaces } => line(
                &mut lines,
                format_args!("{word} {}", clone_flags(*namespaces)),
            ),
            Step::Detach {
                slot,
                idmap,
                owner_uid,
                owner_gid,
                recursive,
                attributes,
            } => {
                let path = &plan.slots[usize::from(*slot)].path;
                line(
                    &mut lines,
                    format_args!(
                        "{word} {slot} {} {owner_uid} {owner_gid} {} {} {}",
                        u8::from(*idmap),
                        u8::from(*recursive),
                        attributes.bits(),
                        hex(path)
                    ),
                );
            }
            Step::MapIds {
                uid,
                gid,
                deny_setgroups,
            } => {
                line(
                    &mut lines,
                    format_args!("{word} {uid} {gid} {}", u8::from(*deny_setgroups)),
                );
            }
            Step::TakeIds { uid, gid } => line(&mut lines, format_args!("{word} {uid} {gid}")),
            Step::OomScore { value } => line(&mut lines, format_args!("{word} {value}")),
            Step::Root {
                size,
                inodes,
                stage,
            }
            | Step::Scratch {
                size,
                inodes,
                stage,
            } => {
                line(
                    &mut lines,
                    format_args!("{word} {size} {inodes} {}", hex(stage)),
                );
            }
            Step::Directory { path, mode } => {
                line(&mut lines, format_args!("{word} {mode} {}", hex(path)))
            }
            Step::Symlink { path, target } => line(
                &mut lines,
                format_args!("{word} {} {}", hex(path), hex(target)),
            ),
            Step::File {
                path,
                mode,
                content,
            } => {
                line(
                    &mut lines,
                    format_args!("{word} {mode} {} {}", hex(path), hex(content)),
                );
            }
            Step::Bind {
                source,
                target,
                recursive,
                attributes,
                ..
            } => {
                let (kind, source) = match source {
                    Source::Path { path, .. } => ("path", hex(path)),
                    Source::Scratch { name } => ("scratch", hex(name)),
                    Source::Slot { slot } => ("slot", slot.to_string()),
                };
                line(
                    &mut lines,
                    format_args!(
                        "bind_{kind} {source} {} {} {}",
                        hex(target),
                        u8::from(*recursive),
                        attributes.bits()
                    ),
                );
            }
            // It writes no settings, which take 55 us here by their own receipt.
            Step::Sysctls { .. } => {}
            Step::Proc { target, attributes } => line(
                &mut lines,
                format_args!("{word} {} {}", attributes.bits(), hex(target)),
            ),
            Step::Devpts { target } => line(&mut lines, format_args!("{word} {}", hex(target))),
            Step::Device { name, .. } | Step::Hostname { name } => {
                line(&mut lines, format_args!("{word} {}", hex(name)))
            }
            Step::Mask { path } | Step::ReadOnly { path } | Step::Workdir { path } => {
                line(&mut lines, format_args!("{word} {}", hex(path)));
            }
            Step::Capabilities { keep: 0, .. } => line(&mut lines, format_args!("{word}")),
            Step::Umask { mask } => line(&mut lines, format_args!("{word} {mask}")),
            Step::Rlimit {
                resource,
                soft,
                hard,
            } => {
                line(
                    &mut lines,
                    format_args!("{word} {} {soft} {hard}", resource.number()),
                );
            }
            Step::Filter {
                program,
                listener,
                arguments_low,
                arguments_high,
                variables_low,
                variables_high,
            } => {
                line(
                    &mut lines,
                    format_args!(
                        "{word} {} {} {arguments_low} {arguments_high} {variables_low} {variables_high}",
                        hex(program),
                        u8::from(*listener)
                    ),
                );
            }
            Step::Ruleset {
                files,
                network,
                scopes,
            } => line(
                &mut lines,
                format_args!("{word} {files} {network} {scopes}"),
            ),
            Step::AllowQueues { access } => line(&mut lines, format_args!("{word} {access}")),
            Step::AllowPath {
                path,
                access,
                optional,
            } => {
                // By then the working directory is the guest's.
                let path = Bytes([b"/", path.0.as_slice()].concat());
                let optional = u8::from(*optional);
                line(
                    &mut lines,
                    format_args!("{word} {} {access} {optional}", hex(&path)),
                );
            }
            Step::DropGroups {}
            | Step::Undumpable {}
            | Step::DieWithLauncher {}
            | Step::PrivateMounts {}
            | Step::LeaveMachine {}
            | Step::SealRoot {}
            | Step::Loopback {}
            | Step::Keyring {}
            | Step::NoNewPrivs {}
            | Step::Securebits {}
            | Step::Fork {}
            | Step::Session { terminal: false }
            | Step::Streams {}
            | Step::CloseDescriptors {}
            | Step::Signals {}
            | Step::FixedCode {}
            | Step::Canary {}
            | Step::Queues {}
            | Step::Restrict { .. } => line(&mut lines, format_args!("{word}")),
            Step::Exec {
                path,
                arguments,
                variables,
            } => {
                line(
                    &mut lines,
                    format_args!(
                        "{word} {} {} {}",
                        hex(path),
                        hexes(arguments),
                        hexes(variables)
                    ),
                );
            }
            _ => return Err(format!("the floor cannot do {word}")),
        }
    }
    Ok(lines)
}

/// Whom the machine sees in a jar of the bench's own.
pub(crate) fn machine_ids(plan: &Plan) -> (u32, u32) {
    match plan.identity.machine {
        MachineIdentity::Caller { uid, gid } => (uid, gid),
        // The last of the range: Belljar leases the first ones meanwhile.
        MachineIdentity::Own { first, count } => (first + count - 1, first + count - 1),
    }
}

fn line(lines: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(lines, "{line}").expect("a String takes everything");
}

fn hex(bytes: &Bytes) -> String {
    bytes.0.iter().fold("x".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

fn hexes(list: &[Bytes]) -> String {
    list.iter().fold(list.len().to_string(), |text, bytes| {
        format!("{text} {}", hex(bytes))
    })
}

/// The flags of clone(2) for namespaces.
fn clone_flags(namespaces: Namespaces) -> u64 {
    let Namespaces {
        user,
        pid,
        mount,
        network,
        uts,
        ipc,
        cgroup,
    } = namespaces;
    [
        (user, 0x1000_0000),
        (pid, 0x2000_0000),
        (mount, 0x0002_0000),
        (network, 0x4000_0000),
        (uts, 0x0400_0000),
        (ipc, 0x0800_0000),
        (cgroup, 0x0200_0000),
    ]
    .iter()
    .map(|(wanted, flag)| u64::from(*wanted) * flag)
    .sum()
}

/// How long a child is given to be made and parked where nobody says that it is.
pub(crate) const PARKED: Duration = Duration::from_millis(4);

/// A running floor server. It ends when its socket is closed.
pub(crate) struct Server {
    process: Child,
    socket: Option<OwnedFd>,
}

/// Whether a launch finds a child with its namespaces made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Fresh,
    Parked,
}

impl Server {
    pub(crate) fn start(floor: &Path, list: &Path) -> Result<Self, String> {
        let told = |error: std::io::Error| format!("cannot start the floor: {error}");
        let (ours, theirs) = seqpacket().map_err(|error| told(error.into()))?;
        let process = Command::new(floor)
            .arg("serve")
            .arg(list)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(told)?;
        Ok(Self {
            process,
            socket: Some(ours),
        })
    }

    /// Launches one jar: the time to its exec and to its end being reported.
    pub(crate) fn launch(&self, child: Start) -> Result<Vec<Duration>, String> {
        self.talk(child)
            .map_err(|error| format!("the floor: {error}"))?
    }

    fn talk(&self, child: Start) -> Result<Result<Vec<Duration>, String>, Errno> {
        let socket = self
            .socket
            .as_ref()
            .expect("it is there until the drop")
            .as_fd();
        let mut answer = [0_u8; 4];
        if child == Start::Parked {
            send(socket, b"P", SendFlags::NOSIGNAL)?;
            recv(socket, &mut answer, RecvFlags::empty())?;
        }
        let before = Instant::now();
        let (started, exec) = seqpacket()?;
        let (stdin, _input) = pipe_with(PipeFlags::CLOEXEC)?;
        let (_output, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (_errors, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        let descriptors = [exec.as_fd(), stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(
            socket,
            &[IoSlice::new(b"L")],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )?;
        drop((exec, stdin, stdout, stderr));
        let listener = until_exec(started.as_fd())?;
        let exec = before.elapsed();
        recv(socket, &mut answer, RecvFlags::empty())?;
        let reported = before.elapsed();
        drop(listener);
        let status = i32::from_ne_bytes(answer);
        Ok(if status == 0 {
            Ok(vec![exec, reported])
        } else {
            Err(format!(
                "the floor's guest ended with wait status {status:#x}"
            ))
        })
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

/// Waits for the end of a socket that only the guest's process holds; gives the
/// listener of its filter, which comes before where it has one.
fn until_exec(started: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    let mut listener = None;
    loop {
        let mut packet = [0; 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let message = recvmsg(
            started,
            &mut [IoSliceMut::new(&mut packet)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if message.bytes == 0 {
            return Ok(listener);
        }
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                listener = descriptors.last().or(listener);
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.socket = None;
        // Nothing is lost if it can't be waited for: it ends with this process at the latest.
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_namespaces_are_all_seven_flags() {
        assert_eq!(clone_flags(Namespaces::ALL), 0x7e02_0000);
        assert_eq!(clone_flags(Namespaces::default()), 0);
    }

    #[test]
    fn strings_are_written_so_that_no_byte_can_break_a_line() {
        assert_eq!(hex(&Bytes::from("a b\n")), "x6120620a");
        assert_eq!(hexes(&[Bytes::from(""), Bytes::from("a")]), "2 x x61");
    }
}
