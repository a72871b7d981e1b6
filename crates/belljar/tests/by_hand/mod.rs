//! A host as small as it can be, which asks the launcher's program by its
//! protocol alone, and plans written by hand: no other part of Belljar takes part.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use belljar_plan::message::{
    Done, Event, Progress, Request, descriptors, event, progress, request,
};
use belljar_plan::step::OwnedStep;
use belljar_plan::{Attributes, Bytes, Namespaces, Resource, Source, Step, wire};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::{IoSlice, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::{PidfdFlags, Signal};

pub(crate) static LAUNCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/launcher.bin"));

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

// ---- a host, as small as it can be ----

pub(crate) struct Host {
    pub(crate) socket: OwnedFd,
    pub(crate) launcher: Child,
}

/// A jar that was asked for.
pub(crate) struct Launch {
    pub(crate) progress: OwnedFd,
    pub(crate) stdin: Option<File>,
    pub(crate) stdout: File,
    /// When the request was sent, everything else being ready.
    pub(crate) asked: Instant,
}

/// What the jar's processes told until the program ran or they failed.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) done: Vec<Done>,
    pub(crate) failed: Option<(u32, i32)>,
    pub(crate) fds: Vec<(u32, OwnedFd)>,
}

pub(crate) fn socketpair() -> (OwnedFd, OwnedFd) {
    rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap()
}

pub(crate) fn sealed(bytes: &[u8]) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("plan", flags).unwrap();
    let mut file = File::from(file);
    file.write_all(bytes).unwrap();
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals).unwrap();
    file.into()
}

pub(crate) fn send(socket: &OwnedFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    }
    let data = [IoSlice::new(bytes)];
    rustix::net::sendmsg(socket, &data, &mut control, SendFlags::NOSIGNAL).unwrap();
}

/// One packet, or `None` where nothing comes in time.
pub(crate) fn receive(socket: &OwnedFd, patience: Duration) -> Option<(Vec<u8>, Vec<OwnedFd>)> {
    let timeout = Timespec::try_from(patience).unwrap();
    let mut waiting = [PollFd::new(socket, PollFlags::IN)];
    if poll(&mut waiting, Some(&timeout)).unwrap() == 0 {
        return None;
    }
    let mut bytes = vec![0; 8192];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut data = [IoSliceMut::new(&mut bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let length = match rustix::net::recvmsg(socket, &mut data, &mut control, flags) {
        Ok(received) => received.bytes,
        Err(rustix::io::Errno::CONNRESET) => 0,
        Err(errno) => panic!("{errno}"),
    };
    bytes.truncate(length);
    let fds = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let fds = fds.collect();
    Some((bytes, fds))
}

pub(crate) fn own_pidfd() -> OwnedFd {
    rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).unwrap()
}

impl Host {
    pub(crate) fn start() -> Self {
        Self::start_for(&own_pidfd())
    }

    /// Starts a launcher that lives as long as the process of the pidfd.
    pub(crate) fn start_for(host: &OwnedFd) -> Self {
        let program = sealed(LAUNCHER);
        let (socket, theirs) = socketpair();
        let launcher = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let hello = Request {
            kind: request::HELLO,
            ..Request::default()
        };
        send(&socket, &hello.to_bytes(), &[host.as_fd()]);
        Self { socket, launcher }
    }

    pub(crate) fn launch(&self, jar: u64, steps: &[OwnedStep]) -> Launch {
        self.launch_with(jar, steps, &[], b"")
    }

    pub(crate) fn launch_with(
        &self,
        jar: u64,
        steps: &[OwnedStep],
        slots: &[OwnedFd],
        image: &[u8],
    ) -> Launch {
        self.launch_in(jar, steps, slots, image, None)
    }

    /// The same in this cgroup.
    pub(crate) fn launch_in(
        &self,
        jar: u64,
        steps: &[OwnedStep],
        slots: &[OwnedFd],
        image: &[u8],
        cgroup: Option<BorrowedFd<'_>>,
    ) -> Launch {
        let plan = wire::encode(steps);
        let plan_fd = sealed(&plan);
        let image_fd = sealed(image);
        let (progress, theirs) = socketpair();
        let (input, stdin) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let (stdout, output) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let mut fds = vec![
            plan_fd.as_fd(),
            theirs.as_fd(),
            input.as_fd(),
            output.as_fd(),
            output.as_fd(),
        ];
        let mut carries = 0;
        if !image.is_empty() {
            fds.push(image_fd.as_fd());
            carries |= descriptors::IMAGE;
        }
        if let Some(cgroup) = cgroup {
            fds.push(cgroup);
            carries |= descriptors::CGROUP;
        }
        fds.extend(slots.iter().map(OwnedFd::as_fd));
        let (machine_uid, machine_gid) = machine_ids();
        let launch = Request {
            kind: request::LAUNCH,
            jar,
            machine_uid,
            machine_gid,
            plan_length: plan.len() as u64,
            image_length: image.len() as u64,
            descriptors: u32::try_from(fds.len()).unwrap(),
            carries,
            ..Request::default()
        };
        let more = Request {
            kind: request::MORE,
            ..launch
        };
        let asked = Instant::now();
        for (index, chunk) in fds.chunks(253).enumerate() {
            let head = if index == 0 { &launch } else { &more };
            send(&self.socket, &head.to_bytes(), chunk);
        }
        Launch {
            progress,
            stdin: Some(stdin.into()),
            stdout: stdout.into(),
            asked,
        }
    }

    pub(crate) fn park(&self, namespaces: Namespaces) {
        self.park_in(namespaces, None);
    }

    /// The same in this cgroup.
    pub(crate) fn park_in(&self, namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>) {
        let (machine_uid, machine_gid) = machine_ids();
        let park = Request {
            kind: request::PARK,
            value: u32::from(namespaces.bits()),
            flag: u32::from(!is_root()),
            uid: 1000,
            gid: 1000,
            machine_uid,
            machine_gid,
            descriptors: u32::from(cgroup.is_some()),
            carries: cgroup.map_or(0, |_| descriptors::CGROUP),
            ..Request::default()
        };
        let fds: Vec<_> = cgroup.into_iter().collect();
        send(&self.socket, &park.to_bytes(), &fds);
    }

    /// Parks a child that does ahead what it may of a plan, and gives its pid.
    pub(crate) fn park_with(&self, steps: &[OwnedStep], image: &[u8]) -> i32 {
        let (machine_uid, machine_gid) = machine_ids();
        let plan = wire::encode(steps);
        let mut fds = vec![sealed(&plan)];
        if !image.is_empty() {
            fds.push(sealed(image));
        }
        let park = Request {
            kind: request::PARK,
            value: u32::from(Namespaces::ALL.bits()),
            flag: u32::from(!is_root()),
            uid: 1000,
            gid: 1000,
            machine_uid,
            machine_gid,
            plan_length: plan.len() as u64,
            image_length: image.len() as u64,
            descriptors: u32::try_from(fds.len()).unwrap(),
            carries: if image.is_empty() {
                0
            } else {
                descriptors::IMAGE
            },
            ..Request::default()
        };
        let fds: Vec<_> = fds.iter().map(OwnedFd::as_fd).collect();
        send(&self.socket, &park.to_bytes(), &fds);
        self.settled().last().copied().unwrap_or(0)
    }

    /// Its children, once neither it nor they had anything to do for a while: a child is
    /// parked without an answer, and a slow machine takes its time for it.
    pub(crate) fn settled(&self) -> Vec<i32> {
        let idle = |pid: i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('S'))
        };
        let launcher = i32::try_from(self.launcher.id()).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut quiet = 0;
        while quiet < 6 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(25));
            let all = self.children().into_iter().chain([launcher]).all(idle);
            quiet = if all { quiet + 1 } else { 0 };
        }
        self.children()
    }

    pub(crate) fn children(&self) -> Vec<i32> {
        let list = format!("/proc/{0}/task/{0}/children", self.launcher.id());
        let children = fs::read_to_string(list).unwrap();
        let pids = children.split_whitespace();
        pids.map(|pid| pid.parse().unwrap()).collect()
    }

    pub(crate) fn signal(&self, jar: u64, signal: Signal) {
        let ask = Request {
            kind: request::SIGNAL,
            jar,
            value: u32::try_from(signal.as_raw()).unwrap(),
            ..Request::default()
        };
        send(&self.socket, &ask.to_bytes(), &[]);
    }

    pub(crate) fn end(&self, jar: u64) {
        let ask = Request {
            kind: request::END,
            jar,
            ..Request::default()
        };
        send(&self.socket, &ask.to_bytes(), &[]);
    }

    pub(crate) fn event(&self) -> (Event, Vec<OwnedFd>) {
        let (bytes, fds) = receive(&self.socket, PATIENCE).expect("an event comes");
        (Event::from_bytes(&bytes).expect("an event"), fds)
    }

    pub(crate) fn started(&self) -> (Event, OwnedFd) {
        let (event, mut fds) = self.event();
        assert_eq!(event.kind, event::STARTED, "{event:?}");
        (event, fds.pop().expect("a pidfd"))
    }

    pub(crate) fn ended(&self) -> Event {
        let (event, _) = self.event();
        assert_eq!(event.kind, event::ENDED, "{event:?}");
        event
    }

    /// Launches, and waits for the end.
    pub(crate) fn run(&self, steps: &[OwnedStep]) -> (Told, Event, String) {
        let mut launch = self.launch(1, steps);
        let (started, _pidfd) = self.started();
        assert_eq!(started.jar, 1);
        let told = launch.told();
        drop(launch.stdin.take());
        let output = launch.output();
        (told, self.ended(), output)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.launcher.kill();
        let _ = self.launcher.wait();
    }
}

impl Launch {
    /// Reads until the program runs, or the set-up has failed.
    pub(crate) fn told(&self) -> Told {
        let mut told = Told::default();
        loop {
            let (bytes, fds) = receive(&self.progress, PATIENCE).expect("progress");
            if bytes.is_empty() {
                return told;
            }
            let (head, rest) = bytes.split_at(Progress::LENGTH);
            let head = Progress::from_bytes(head).unwrap();
            match head.kind {
                progress::STEPS => told.done.extend(
                    rest.chunks(Done::LENGTH)
                        .map(|d| Done::from_bytes(d).unwrap()),
                ),
                progress::FAILED => told.failed = Some((head.step, head.errno)),
                kind => told.fds.extend(fds.into_iter().map(|fd| (kind, fd))),
            }
        }
    }

    pub(crate) fn output(mut self) -> String {
        let mut output = String::new();
        self.stdout.read_to_string(&mut output).unwrap();
        output
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn machine_ids() -> (u32, u32) {
    match is_root() {
        true => (2_000_000_123, 2_000_000_123),
        false => (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        ),
    }
}

// ---- plans ----

pub(crate) const READ_ONLY: Attributes = Attributes {
    read_only: true,
    no_suid: true,
    no_dev: true,
    no_exec: false,
};

pub(crate) const SCRATCH: Attributes = Attributes {
    read_only: false,
    no_suid: true,
    no_dev: true,
    no_exec: true,
};

pub(crate) fn b(text: &str) -> Bytes {
    Bytes::from(text)
}

pub(crate) fn directory(path: &str) -> OwnedStep {
    Step::Directory {
        path: b(path),
        mode: 0o755,
    }
}

pub(crate) fn symlink(path: &str, target: &str) -> OwnedStep {
    Step::Symlink {
        path: b(path),
        target: b(target),
    }
}

pub(crate) fn bind(path: &str, target: &str) -> OwnedStep {
    let stat = fs::metadata(path).unwrap();
    Step::Bind {
        source: Source::Path {
            path: b(path),
            device: stat.dev(),
            inode: stat.ino(),
        },
        target: b(target),
        recursive: true,
        attributes: READ_ONLY,
        optional: false,
    }
}

pub(crate) fn scratch(name: &str, target: &str) -> OwnedStep {
    Step::Bind {
        source: Source::Scratch { name: b(name) },
        target: b(target),
        recursive: false,
        attributes: SCRATCH,
        optional: false,
    }
}

pub(crate) fn device(name: &str, minor: u32) -> OwnedStep {
    Step::Device {
        name: b(name),
        major: 1,
        minor,
    }
}

/// A plan like that of a strict jar, with the machine's `/usr`.
pub(crate) fn jar(program: &str, arguments: &[&str]) -> Vec<OwnedStep> {
    jar_with(Vec::new(), program, arguments)
}

/// The same, with steps put in before the machine is let go of.
pub(crate) fn jar_with(extra: Vec<OwnedStep>, program: &str, arguments: &[&str]) -> Vec<OwnedStep> {
    let mut steps = vec![
        Step::Clone {
            namespaces: Namespaces::ALL,
        },
        Step::MapIds {
            uid: 1000,
            gid: 1000,
            deny_setgroups: !is_root(),
        },
    ];
    if is_root() {
        steps.push(Step::DropGroups {});
    }
    steps.extend([
        Step::TakeIds {
            uid: 1000,
            gid: 1000,
        },
        Step::OomScore { value: 1000 },
        Step::Undumpable {},
        Step::DieWithLauncher {},
        Step::PrivateMounts {},
        Step::Root {
            size: 1 << 20,
            inodes: 500,
            stage: b("/tmp"),
        },
    ]);
    let folders = [
        "usr",
        "tmp",
        "proc",
        "dev",
        "dev/pts",
        "etc",
        "home",
        "home/plugin",
        "workspace",
    ];
    steps.extend(folders.map(directory));
    steps.extend([
        symlink("bin", "usr/bin"),
        symlink("lib", "usr/lib"),
        symlink("lib64", "usr/lib64"),
        symlink("dev/ptmx", "pts/ptmx"),
        symlink("dev/fd", "/proc/self/fd"),
        Step::File {
            path: b("etc/passwd"),
            mode: 0o444,
            content: b("plugin:x:1000:1000::/home/plugin:/bin/sh\n"),
        },
        Step::Scratch {
            size: 64 << 20,
            inodes: 5000,
            stage: b(".scratch"),
        },
        bind("/usr", "usr"),
        scratch("tmp", "tmp"),
        scratch("home", "home/plugin"),
        scratch("workspace", "workspace"),
        Step::Proc {
            target: b("proc"),
            attributes: SCRATCH,
        },
        Step::Devpts {
            target: b("dev/pts"),
        },
        device("null", 3),
        device("zero", 5),
        device("full", 7),
        device("random", 8),
        device("urandom", 9),
    ]);
    steps.extend(extra);
    for path in ["proc/kcore", "proc/version", "proc/acpi", "proc/timer_list"] {
        steps.push(Step::Mask { path: b(path) });
    }
    for path in ["proc/sys", "proc/sysrq-trigger", "proc/irq"] {
        steps.push(Step::ReadOnly { path: b(path) });
    }
    steps.extend([
        Step::LeaveMachine {},
        Step::SealRoot {},
        Step::Hostname { name: b("jar") },
        Step::Loopback {},
        Step::Keyring {},
        Step::NoNewPrivs {},
        Step::Securebits {},
        Step::Capabilities {
            keep: 0,
            ambient: 0,
        },
        Step::Fork {},
        Step::Session { terminal: false },
        Step::Streams {},
        Step::CloseDescriptors {},
        Step::Workdir {
            path: b("/workspace"),
        },
        Step::Umask { mask: 0o022 },
    ]);
    for (resource, bound) in [
        (Resource::Core, 0),
        (Resource::Cpu, 60),
        (Resource::OpenFiles, 64),
        (Resource::Processes, 50),
        (Resource::FileSize, 64 << 20),
    ] {
        steps.push(Step::Rlimit {
            resource,
            soft: bound,
            hard: bound,
        });
    }
    steps.push(Step::Signals {});
    let mut argv = vec![b(program)];
    argv.extend(arguments.iter().copied().map(b));
    steps.push(Step::Exec {
        path: b(program),
        arguments: argv,
        variables: vec![b("PATH=/bin"), b("HOME=/home/plugin")],
    });
    steps
}

pub(crate) fn shell(script: &str) -> Vec<OwnedStep> {
    jar("/bin/sh", &["-c", script])
}

pub(crate) fn position(steps: &[OwnedStep], word: &str) -> u32 {
    let at = steps.iter().position(|step| step.word() == word).unwrap();
    u32::try_from(at).unwrap()
}

/// Whether the process of the pidfd ends in time.
pub(crate) fn ends(pidfd: &OwnedFd) -> bool {
    let timeout = Timespec::try_from(PATIENCE).unwrap();
    let mut waiting = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut waiting, Some(&timeout)).unwrap() == 1
}

pub(crate) const EXITED: i32 = 1;
pub(crate) const KILLED: i32 = 2;
