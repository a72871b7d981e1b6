//! The calling process as it confines itself: first whatever can fail and leaves it as it
//! is, then what holds for good; landlock(7), seccomp(2), capabilities(7), prctl(2).

mod calls;
mod start;

use std::{
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
};

use belljar_plan::{Resource, Step, step::OwnedStep};
use belljar_policy::confine::{Held, HeldKind};
use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags},
    thread::CapabilitySet,
};

pub(crate) use self::start::Start;
use crate::confine::ConfineError;

/// What this process is, as far as confining it goes.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) threads: usize,
    /// Not all have the same number of filters.
    pub(crate) filtered_apart: bool,
    pub(crate) capabilities: bool,
    pub(crate) bounding: bool,
    pub(crate) held: Vec<Held>,
    /// A descriptor that it does not keep, and in whose place nothing can be put.
    pub(crate) beyond_limit: Option<RawFd>,
    /// Where a procfs is mounted.
    pub(crate) procs: Vec<String>,
    /// It has code that can be written, or is shared.
    pub(crate) writable_code: bool,
    /// Files that it has mapped as code.
    pub(crate) code: Vec<String>,
}

/// What is known of all its threads together.
#[derive(Debug, PartialEq, Eq)]
struct Threads {
    count: usize,
    filtered_apart: bool,
    /// One of them has a capability.
    capable: bool,
}

/// Looks at this process and the descriptors that it keeps.
pub(crate) fn look(kept: &[RawFd]) -> Result<Own, ConfineError> {
    let failed = |what| move |source| ConfineError::Look { what, source };
    let sets = rustix::thread::capabilities(None)
        .map_err(|errno| failed("its capabilities")(errno.into()))?;
    let threads = threads().map_err(failed("its threads, in /proc/self/task"))?;
    let mounts =
        fs::read("/proc/self/mountinfo").map_err(failed("its mounts, in /proc/self/mountinfo"))?;
    let maps = fs::read("/proc/self/maps").map_err(failed("its memory, in /proc/self/maps"))?;
    let (writable_code, code) = code_of(&String::from_utf8_lossy(&maps));
    let mut held = Vec::new();
    for number in [0, 1, 2].iter().chain(kept) {
        match self::held(*number) {
            Ok(kind) => held.push(Held {
                number: *number,
                kind,
            }),
            // A stream may be closed.
            Err(rustix::io::Errno::BADF) if *number <= 2 => {}
            Err(errno) => return Err(failed("a descriptor that it is to keep")(errno.into())),
        }
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let not_kept = calls::not_kept(kept).map_err(failed("its descriptors, in /proc/self/fd"))?;
    let beyond =
        |number: &RawFd| limit.is_some_and(|limit| u64::from(number.unsigned_abs()) >= limit);
    Ok(Own {
        threads: threads.count,
        filtered_apart: threads.filtered_apart,
        capabilities: threads.capable,
        bounding: sets.effective.contains(CapabilitySet::SETPCAP),
        held,
        beyond_limit: not_kept.into_iter().find(beyond),
        procs: procs(&String::from_utf8_lossy(&mounts)),
        writable_code,
        code,
    })
}

/// Whether any code can be written or is shared, and the files that code is of;
/// proc_pid_maps(5).
fn code_of(maps: &str) -> (bool, Vec<String>) {
    let (mut writable, mut files) = (false, Vec::new());
    for line in maps.lines() {
        let mut words = line.splitn(6, ' ');
        let rights = words.nth(1).unwrap_or_default();
        if !rights.contains('x') {
            continue;
        }
        writable |= rights.contains('w') || rights.contains('s');
        let path = words.nth(3).map(str::trim_start).unwrap_or_default();
        if path.starts_with('/') && files.last().map(String::as_str) != Some(path) {
            files.push(path.to_owned());
        }
    }
    (writable, files)
}

/// How many there are, and what they have; proc_pid_status(5).
fn threads() -> io::Result<Threads> {
    let mut all = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        all.push(fs::read_to_string(task?.path().join("status"))?);
    }
    match all.is_empty() {
        true => Err(io::ErrorKind::NotFound.into()),
        false => Ok(threads_of(&all)),
    }
}

fn threads_of(all: &[String]) -> Threads {
    let capable = |status: &String| {
        status.lines().any(|line| {
            let set = ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"]
                .iter()
                .find_map(|name| line.strip_prefix(name));
            set.is_some_and(|set| set.trim().bytes().any(|digit| digit != b'0'))
        })
    };
    let filters = |status: &String| {
        let words = status.lines().filter(|line| line.starts_with("Seccomp"));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    Threads {
        count: all.len(),
        filtered_apart: all
            .windows(2)
            .any(|two| filters(&two[0]) != filters(&two[1])),
        capable: all.iter().any(capable),
    }
}

/// Where a procfs is mounted, whatever is mounted over it; proc_pid_mountinfo(5).
fn procs(mounts: &str) -> Vec<String> {
    let of_proc = |line: &&str| {
        let kind = line.split_once(" - ").map(|(_, after)| after);
        kind.is_some_and(|kind| kind.starts_with("proc "))
    };
    let points = mounts.lines().filter(of_proc);
    points
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescaped)
        .collect()
}

/// A name in a table of mounts, in which what would part words is written in octal.
fn unescaped(name: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(name.to_owned(), |name, (written, is)| {
        name.replace(written, is)
    })
}

fn held(number: RawFd) -> Result<HeldKind, rustix::io::Errno> {
    // SAFETY: it is only looked at; a number that is not open fails with EBADF.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let stat = rustix::fs::fstat(fd)?;
    let mode = rustix::fs::fcntl_getfl(fd)?;
    let writes = mode & OFlags::RWMODE;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        _ if mode.contains(OFlags::PATH) => HeldKind::Place,
        FileType::Directory => HeldKind::Place,
        FileType::RegularFile if writes == OFlags::RDWR => HeldKind::WrittenFile { read: true },
        FileType::RegularFile if writes == OFlags::WRONLY => HeldKind::WrittenFile { read: false },
        FileType::Socket if is_loose(fd) => HeldKind::LooseSocket,
        _ => HeldKind::Other,
    })
}

/// A unix socket that is neither connected for good nor listens: streams stay with the peer
/// they have, and datagrams go wherever they are sent; unix(7).
fn is_loose(fd: BorrowedFd<'_>) -> bool {
    use rustix::net::{AddressFamily, SocketType, getpeername, sockopt};
    let unix = sockopt::socket_domain(fd).is_ok_and(|family| family == AddressFamily::UNIX);
    let stays = sockopt::socket_type(fd)
        .is_ok_and(|kind| kind == SocketType::STREAM || kind == SocketType::SEQPACKET);
    let taken = || getpeername(fd).is_ok() || sockopt::socket_acceptconn(fd).unwrap_or(false);
    unix && !(stays && taken())
}

/// All that can fail is done, and nothing holds yet. Dropping it leaves the process as it was.
pub(crate) struct Prepared {
    ruleset: Option<OwnedFd>,
    null: OwnedFd,
    /// What holds for good, in order.
    rest: Vec<OwnedStep>,
    start: Option<Start>,
}

impl Prepared {
    /// Makes the set of Landlock's rules, and looks whether the rest can be done.
    pub(crate) fn new(steps: &[OwnedStep], start: Option<Start>) -> Result<Self, ConfineError> {
        let failed = |step: &OwnedStep| {
            let step = describe(step);
            move |source| ConfineError::Prepare { step, source }
        };
        let mut ruleset = None;
        let mut rest = Vec::new();
        for step in steps {
            match step {
                Step::Ruleset {
                    files,
                    network,
                    scopes,
                } => {
                    let set = calls::landlock_ruleset(*files, *network, *scopes);
                    ruleset = Some(set.map_err(failed(step))?);
                }
                Step::AllowPath {
                    path,
                    access,
                    optional,
                } => {
                    let allowed = match &ruleset {
                        Some(set) => allow(set, &path.0, *access),
                        None => Err(io::ErrorKind::InvalidInput.into()),
                    };
                    match allowed {
                        // It came to be no directory, or is gone: then nothing is allowed.
                        Err(_) if *optional => {}
                        allowed => allowed.map_err(failed(step))?,
                    }
                }
                Step::Filter { .. } => {
                    calls::seccomp_can_refuse().map_err(failed(step))?;
                    rest.push(step.clone());
                }
                step => rest.push(step.clone()),
            }
        }
        if ruleset.is_some() {
            // It shows afterwards that the domain holds.
            canary().map_err(|source| ConfineError::Prepare {
                step: "canary".to_owned(),
                source,
            })?;
        }
        let null = calls::null().map_err(|source| ConfineError::Prepare {
            step: "close_descriptors".to_owned(),
            source,
        })?;
        Ok(Self {
            ruleset,
            null,
            rest,
            start,
        })
    }

    /// Does the rest, which cannot be taken back. Gives what starts the program.
    pub(crate) fn apply(mut self, kept: &[RawFd]) -> Result<Option<Start>, ConfineError> {
        let mut applied: Vec<String> = Vec::new();
        let rest = std::mem::take(&mut self.rest);
        for step in &rest {
            if let Err(source) = self.one(step, kept) {
                let step = describe(step);
                return Err(match applied.is_empty() {
                    true => ConfineError::Prepare { step, source },
                    false => ConfineError::HalfApplied {
                        step,
                        applied,
                        source,
                    },
                });
            }
            applied.push(describe(step));
        }
        Ok(self.start)
    }

    fn one(&mut self, step: &OwnedStep, kept: &[RawFd]) -> io::Result<()> {
        match step {
            Step::NoNewPrivs {} => calls::no_new_privs(),
            Step::CloseDescriptors {} => {
                let ruleset = self.ruleset.iter().map(|set| set.as_raw_fd());
                let kept: Vec<RawFd> = ruleset.chain(kept.iter().copied()).collect();
                calls::lead_nowhere(&self.null, &kept)
            }
            Step::Securebits {} => calls::lock_securebits(),
            Step::Capabilities { .. } => calls::empty_capabilities(),
            Step::Restrict { quiet } => self.restrict(*quiet),
            Step::Rlimit {
                resource,
                soft,
                hard,
            } => calls::bound(*resource, *soft, *hard),
            Step::FixedCode {} => calls::fix_code(),
            Step::Filter {
                program,
                arguments_low,
                arguments_high,
                variables_low,
                variables_high,
                ..
            } => {
                let places = [
                    *arguments_low,
                    *arguments_high,
                    *variables_low,
                    *variables_high,
                ];
                let mut program = program.0.clone();
                match (&self.start, places.iter().any(|place| *place != 0)) {
                    (Some(start), true) => start.put_into(&mut program, places)?,
                    (None, true) => return Err(io::ErrorKind::InvalidInput.into()),
                    (_, false) => {}
                }
                calls::filter_all_threads(&program)
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Enters the domain, and sees that it holds.
    fn restrict(&mut self, quiet: bool) -> io::Result<()> {
        let set = self.ruleset.take().ok_or(io::ErrorKind::InvalidInput)?;
        calls::landlock_restrict(&set, quiet)?;
        match canary() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(io::Error::other(
                "the domain is there and does not hold: what it does not allow could be opened",
            )),
        }
    }
}

/// Opens for writing what this process may and no domain of ours lets it: nothing is written.
/// A thread's is its process's own also where the program's file cannot be read, and all
/// else in /proc is root's.
fn canary() -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/proc/thread-self/comm", flags, Mode::empty()).map(drop)?)
}

fn allow(set: &OwnedFd, path: &[u8], access: u64) -> io::Result<()> {
    let whole = [b"/", path].concat();
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let place = rustix::fs::openat2(
        rustix::fs::CWD,
        whole.as_slice(),
        flags,
        Mode::empty(),
        ResolveFlags::NO_MAGICLINKS,
    )?;
    calls::landlock_allow(set, &place, access)
}

/// A step for people.
fn describe(step: &OwnedStep) -> String {
    match step {
        Step::AllowPath { path, .. } => format!("{} /{}", step.word(), path.escaped()),
        Step::Rlimit { resource, .. } => {
            format!("{} {}", step.word(), resource_word(*resource))
        }
        _ => step.word().to_owned(),
    }
}

fn resource_word(resource: Resource) -> String {
    format!("{resource:?}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;

    fn kind(fd: &impl std::os::fd::AsRawFd) -> HeldKind {
        held(fd.as_raw_fd()).unwrap()
    }

    #[test]
    fn code_is_found_among_what_is_mapped() {
        let maps = "55e-55f r-xp 00001000 fe:00 7   /opt/a tool\n\
            7f0-7f1 rw-p 00000000 00:00 0 \n\
            7f1-7f2 r-xp 00000000 00:00 0          [vdso]\n\
            7f2-7f3 r-xp 00000000 fe:00 9          /opt/lib.so\n";
        let files = vec!["/opt/a tool".to_owned(), "/opt/lib.so".to_owned()];
        assert_eq!(code_of(maps), (false, files));
        for rights in ["rwxp", "r-xs"] {
            let maps = format!("7f0-7f1 {rights} 00000000 00:00 0 \n");
            assert_eq!(code_of(&maps), (true, Vec::new()));
        }
    }

    #[test]
    fn a_unix_socket_that_could_reach_others_is_told_from_one_that_cannot() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let room = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(room.path().join("s")).unwrap();
        let (datagram, _peer) = UnixDatagram::pair().unwrap();
        let loose = rustix::net::socket(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            None,
        )
        .unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(kind(&stream), HeldKind::Other);
        assert_eq!(kind(&listener), HeldKind::Other);
        assert_eq!(kind(&tcp), HeldKind::Other);
        assert_eq!(kind(&datagram), HeldKind::LooseSocket);
        assert_eq!(kind(&loose), HeldKind::LooseSocket);
        // And it does reach them: so it is one.
        let bound = UnixDatagram::bind(room.path().join("d")).unwrap();
        datagram.send_to(b"out", room.path().join("d")).unwrap();
        let mut got = [0; 3];
        bound.recv(&mut got).unwrap();
        assert_eq!(&got, b"out");
    }

    #[test]
    fn a_descriptor_is_what_it_was_opened_for() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("f");
        let written = fs::File::create(&file).unwrap();
        let both = fs::File::options().read(true).write(true).open(&file);
        let path = rustix::fs::open(&file, OFlags::PATH, Mode::empty()).unwrap();
        assert_eq!(kind(&written), HeldKind::WrittenFile { read: false });
        assert_eq!(kind(&both.unwrap()), HeldKind::WrittenFile { read: true });
        assert_eq!(kind(&fs::File::open(&file).unwrap()), HeldKind::Other);
        assert_eq!(kind(&fs::File::open(room.path()).unwrap()), HeldKind::Place);
        assert_eq!(kind(&path), HeldKind::Place);
    }

    #[test]
    fn every_procfs_is_found_by_its_place() {
        let mounts = "1 2 0:21 / /proc rw,nosuid shared:5 - proc proc rw\n\
            3 2 0:22 / /sys rw - sysfs sysfs rw\n\
            4 2 0:23 / /srv/a\\040jar/proc rw - proc none rw\n\
            5 2 0:24 / /proc/sys/fs/binfmt_misc rw - binfmt_misc proc rw\n";
        assert_eq!(procs(mounts), ["/proc", "/srv/a jar/proc"]);
    }

    #[test]
    fn a_thread_with_a_filter_or_a_capability_of_its_own_is_seen() {
        let status = |caps: &str, filters: &str| {
            format!(
                "Name:\tx\nCapEff:\t{caps}\nCapBnd:\tff\nSeccomp:\t0\nSeccomp_filters:\t{filters}\n"
            )
        };
        let plain = status("0000", "0");
        let of = |other: &str| threads_of(&[plain.clone(), other.to_owned()]);
        let alike = of(&plain);
        assert!(!alike.filtered_apart && !alike.capable && alike.count == 2);
        assert!(of(&status("0000", "1")).filtered_apart);
        assert!(of(&status("0400", "0")).capable);
    }
}
